// See api_maintenance.h.
#include "src/daemon/api_maintenance.h"

#include "src/core/node/maintenance_wish.h"
#include "src/daemon/api_answers.h"

namespace baton {

using nlohmann::json;

namespace {

constexpr int64_t kLongestMs = 366LL * 24 * 3600 * 1000;

Result<Duration> duration_member(const json& body, const char* name, Duration otherwise) {
  if (!body.contains(name)) return otherwise;
  if (!body[name].is_number_integer() || body[name].get<int64_t>() < 0 || body[name].get<int64_t>() > kLongestMs)
    return fail_as(ErrorCode::kInvalid, "\"{}\" is no whole number of milliseconds, at most a year", name);
  return Duration(milliseconds(body[name].get<int64_t>()));
}

Result<node::MaintenanceWish> read_wish(const json& body, const MaintenanceCall& call) {
  node::MaintenanceWish wish;
  wish.scope = call.scope;
  wish.name = call.name;
  wish.verb = call.verb;
  wish.author = author_of(body);
  wish.reason = text_member(body, "reason");
  wish.move = !flag_member(body, "stop");
  const auto lasts = duration_member(body, "for_ms", Duration{0});
  if (!lasts) return pass(lasts);
  wish.lasts = *lasts;
  const auto limit = duration_member(body, "limit_ms", wish.limit);
  if (!limit) return pass(limit);
  wish.limit = *limit;
  const std::string afterwards = text_member(body, "afterwards");
  if (afterwards == "reboot") wish.afterwards = Afterwards::kReboot;
  else if (afterwards == "poweroff") wish.afterwards = Afterwards::kPowerOff;
  else if (!afterwards.empty())
    return fail_as(ErrorCode::kInvalid, "\"afterwards\" is \"{}\": use \"reboot\" or \"poweroff\"", afterwards);
  return wish;
}

}  // namespace

void post_maintenance(Daemon& daemon, const HttpRequest& request, const MaintenanceCall& call,
                      const HttpRespond& respond) {
  const auto body = read_body(request);
  if (!body) return refuse(respond, body.error());
  const auto wish = read_wish(*body, call);
  if (!wish) return refuse(respond, wish.error());
  const auto command = node::make_maintenance(daemon.node(), EventLoop::now(), *wish);
  if (!command) return refuse(respond, command.error());
  commit(daemon, *command, respond, [&daemon] { return daemon.node().standing().committed; });
}

}  // namespace baton
