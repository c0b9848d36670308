// The ping targets of two servers (np = "ping"): do they answer this one now? And what everybody should know of that kind.
#include <sys/socket.h>

#include <fmt/format.h>

#include "src/survey/icmp_socket.h"
#include "src/survey/preflight.h"

namespace baton::survey {

namespace {
constexpr size_t kEchoBytes = 24;
constexpr milliseconds kPatience{1000};
}  // namespace

void check_np_ping(const PreflightOptions& options, Findings& findings) {
  const auto* self = options.configuration->server(options.self);
  if (options.configuration->np != NpKind::kPing || self == nullptr) return;
  findings.push_back({"np-ping", "np", Verdict::kWarning, warning_of(NpKind::kPing), "add a witness, or give both servers a disk in common"});
  for (const std::string& target : options.configuration->ping_targets) {
    const auto add = [&](Verdict verdict, const std::string& text, const std::string& remedy) {
      findings.push_back({"np-ping", target, verdict, text, remedy});
    };
    if (try_port(SOCK_DGRAM, target, 0) == 0) {
      add(Verdict::kProblem, "is an address of this server itself: it answers whatever is cut, so this server would never find itself cut off",
          "name a machine that outlives both servers");
      continue;
    }
    IcmpSocket socket(target);
    if (!socket.good()) add(Verdict::kWarning, "it cannot be asked (no raw socket: this needs root)", "run it as root");
    else if (socket.echo(kEchoBytes, kPatience)) add(Verdict::kOk, "answers", "");
    else add(Verdict::kWarning, fmt::format("does not answer within {} s", kPatience / seconds(1)),
             "name a machine that answers ICMP echoes from both servers, or open the way to it");
  }
}

}  // namespace baton::survey
