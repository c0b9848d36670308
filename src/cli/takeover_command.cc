// `baton cluster takeover`: one of two servers without a third vote goes on although the other is not reached. Shows what that
// means, asks, and says what still waits. docs/operations.md.
#include <chrono>
#include <thread>

#include "src/cli/commands.h"

namespace baton::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr milliseconds kLookAgain{200};
constexpr milliseconds kPatience{30000};

Status ask_person(const Context& context, const json& offer) {
  const std::string server = text_of(offer, "server");
  std::string question = server + " would go on alone:\n";
  for (const std::string& fact : texts_of(offer, "facts")) question += wrap_text("- " + fact + ".", 2);
  question.pop_back();  // the newline
  return ask_for_name(question, server, "if the other server is off, or stays cut off, say --yes", context.json);
}

/// Does the server work, with all that it can start? What cannot start says why.
bool settled(const json& status, const std::string& server, std::vector<std::string>& waits) {
  waits.clear();
  const json database = object_of(status, "database");
  if (!flag_of(database, "serving")) {
    waits.push_back("the cluster database does not serve: " + text_of(database, "waiting"));
    return false;
  }
  bool all = true;
  for (const json& group : list_of(status, "groups")) {
    if (!flag_of(group, "wanted")) continue;
    const std::string phase = text_of(group, "phase");
    if (phase == "started" && text_of(group, "owner") == server) continue;
    const std::string waiting = text_of(group, "waiting");
    all = all && !waiting.empty();
    waits.push_back(waiting.empty() ? fmt::format("group {} is still {}: baton status --watch", text_of(group, "name"), phase)
                                    : fmt::format("group {} waits: {}", text_of(group, "name"), waiting));
  }
  return all;
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

Status prepare_np_disk(const Context& context, const std::string& device, bool overwrite) {
  if (overwrite) {
    const std::string question = wrap_text("- whatever " + device + " holds is lost; if it decided between the servers, it forgets whom it names: "
                                           "both must be up and members", 2);
    if (auto asked = ask_for_name(question.substr(0, question.size() - 1), device, "prepare it without --overwrite", context.json); !asked)
      return asked;
  }
  auto done = context.api.post("/v1/cluster/np-disk", json{{"author", author()}, {"device", device}, {"overwrite", overwrite}}.dump());
  if (!done) return pass(done);
  if (context.json) print_json(*done);
  else print(wrap_text(device + " is prepared. When both servers reach it by this name: np = \"disk\", np_disk = \"" + device + "\" in "
                       "[cluster], then baton apply", 0));
  return {};
}

}  // namespace baton::cli
