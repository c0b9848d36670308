// `baton cluster takeover`: one of two servers without a third vote goes on although the other is not reached. Shows what that
// means, asks, and says what still waits. docs/operations.md.
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <thread>

#include "src/cli/commands.h"

namespace baton::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr milliseconds kLookAgain{200};
constexpr milliseconds kPatience{30000};

/// The person types the server's name: a "y" comes too easily.
Status ask_person(const Context& context, const json& offer) {
  const std::string server = text_of(offer, "server");
  fmt::print(stderr, "{} would go on alone:\n", server);
  for (const std::string& fact : texts_of(offer, "facts")) fmt::print(stderr, "{}", wrap_text("- " + fact + ".", 2));
  if (context.json || !isatty(STDIN_FILENO))
    return fail_as(ErrorCode::kInvalid, "nothing was changed: nobody can be asked here; if the other server is off, or stays cut "
                                        "off, say --yes");
  fmt::print(stderr, "Type this server's name ({}) to go on: ", server);
  std::string typed;
  std::getline(std::cin, typed);
  if (typed != server) return fail("nothing was changed");
  return {};
}

/// Does the server work, with all that it can start? What cannot start says why.
bool settled(const json& status, const std::string& server, std::vector<std::string>& waits) {
  waits.clear();
  if (!flag_of(object_of(status, "database"), "serving")) return false;
  for (const json& group : list_of(status, "groups")) {
    if (!flag_of(group, "wanted")) continue;
    const std::string phase = text_of(group, "phase");
    if (phase == "started" && text_of(group, "owner") == server) continue;
    const std::string waiting = text_of(group, "waiting");
    if (waiting.empty()) return false;
    waits.push_back(fmt::format("group {} waits: {}", text_of(group, "name"), waiting));
  }
  return true;
}

}  // namespace

Status take_over_cluster(const Context& context, bool yes) {
  auto offer = context.api.post("/v1/cluster/takeover", json{{"author", author()}}.dump());
  if (!offer) return pass(offer);
  if (!yes)
    if (auto asked = ask_person(context, *offer); !asked) return asked;
  auto done = context.api.post("/v1/cluster/takeover",
                               json{{"author", author()}, {"version", number_of(*offer, "version")}}.dump());
  if (!done) return pass(done);
  const std::string server = text_of(*offer, "server");
  if (!context.json) print(fmt::format("{} decides alone now\n", server));
  std::vector<std::string> waits{"the groups have not been looked at yet"};
  const auto begin = Clock::now();
  for (bool all = false; !all && Clock::now() - begin < kPatience;) {
    std::this_thread::sleep_for(kLookAgain);
    const auto status = context.api.get("/v1/status", milliseconds(5000));
    all = status && settled(*status, server, waits);
  }
  if (context.json) {
    print_json({{"server", server}, {"facts", (*offer)["facts"]}, {"waiting", waits}});
    return {};
  }
  for (const std::string& wait : waits) print(wrap_text(wait, 2));
  if (!waits.empty() && flag_of(*offer, "loses"))
    print(wrap_text("A copy that lacks something is taken for the data by your word only: baton group stop GROUP, baton mirror force "
                    "MIRROR " + server + ", baton group start GROUP", 0));
  return {};
}

}  // namespace baton::cli
