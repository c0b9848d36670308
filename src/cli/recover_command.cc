// `baton cluster recover`: after a majority is lost for good a survivor goes on, when a person who has seen what may be missing
// says so. docs/operations.md; docs/protocol.md, "Recovery".
#include <fmt/ranges.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <thread>

#include "src/cli/commands.h"
#include "src/cli/terminal.h"

namespace baton::cli {
namespace {

constexpr auto kServeLimit = std::chrono::seconds(60);

std::vector<std::string> lost_in(const json& facts) {
  std::vector<std::string> names;
  for (const json& name : list_of(facts, "lost")) names.push_back(name.get<std::string>());
  return names;
}

std::string describe_facts(const json& facts) {
  std::string text = fmt::format("Cluster {}. Not here: {}\n", text_of(facts, "cluster"), fmt::join(lost_in(facts), ", "));
  for (const json& survivor : list_of(facts, "survivors")) {
    const json& last = object_of(survivor, "last");
    text += fmt::format("{:<16} log up to entry {} of epoch {}{}\n", text_of(survivor, "server"), number_of(last, "index"), number_of(last, "epoch"),
                        flag_of(survivor, "counts") ? "" : "; does not count: its database was lost");
  }
  for (const json& group : list_of(facts, "groups"))
    text += fmt::format("group {}: {}{}, {}\n", text_of(group, "name"), text_of(group, "phase"),
                        text_of(group, "owner").empty() ? "" : " on " + text_of(group, "owner"), flag_of(group, "wanted") ? "wanted" : "not wanted");
  for (const json& mirror : list_of(facts, "mirrors")) {
    text += fmt::format("mirror {}: {}\n", text_of(mirror, "name"), text_of(mirror, "text"));
    for (const json& copy : list_of(mirror, "copies"))
      text += fmt::format("  copy of {}: {}, generation {}{}\n", text_of(copy, "server"), flag_of(copy, "consistent") ? "consistent" : "NOT consistent",
                          text_of(copy, "generation"), flag_of(copy, "incarnation_in_sync") ? ", in sync" : "");
  }
  return text;
}

std::string loss_of(const json& facts) {
  std::string text = fmt::format("May be missing: whatever {} committed after the last entry above", fmt::join(lost_in(facts), ", "));
  for (const json& mirror : list_of(facts, "mirrors"))
    if (!flag_of(mirror, "survives")) text += fmt::format("; of mirror {} what was written since a survivor was in sync", text_of(mirror, "name"));
  return text + ".\n";
}

/// The cluster's name: a "y" comes too easily.
Status ask_person(const json& facts) {
  fmt::print(stderr, "{}{}The others are given up for good. See that each of them is OFF: one that runs, or that comes back where it does\n"
             "not hear this server, could serve the old cluster beside this one.\n", describe_facts(facts), loss_of(facts));
  if (!isatty(STDIN_FILENO)) return fail_as(ErrorCode::kInvalid, "nothing was changed: nobody can be asked here; if the loss is accepted, say --yes");
  fmt::print(stderr, "Type the cluster's name ({}) to go on: ", text_of(facts, "cluster"));
  std::string typed;
  std::getline(std::cin, typed);
  if (typed != text_of(facts, "cluster")) return fail_as(ErrorCode::kInvalid, "nothing was changed");
  return {};
}

Status wait_until_serving(const Context& context) {
  const auto until = std::chrono::steady_clock::now() + kServeLimit;
  std::string last = "batond does not answer";
  while (std::chrono::steady_clock::now() < until) {
    const auto facts = context.api.get("/v1/recovery", milliseconds(5000));
    const auto status = context.api.get("/v1/status", milliseconds(5000));
    if (facts && status) {
      const json& database = object_of(*status, "database");
      if (number_of(*facts, "recovered") != 0 && flag_of(database, "serving")) return {};
      last = text_of(database, "waiting");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return fail_as(ErrorCode::kTimeout, "the database does not serve after {} s: {}", kServeLimit.count(), last);
}

}  // namespace

Status recover_cluster(const Context& context, bool only_show, bool yes) {
  const auto facts = context.api.get("/v1/recovery");
  if (!facts) return pass(facts);
  const bool possible = flag_of(*facts, "possible");
  if (only_show) {
    if (context.json) print_json(*facts);
    if (!context.json) print(describe_facts(*facts) + (possible ? loss_of(*facts) : "Recovery is refused: " + text_of(*facts, "why_not") + "\n"));
    return {};
  }
  if (!possible) return fail_as(ErrorCode::kConflict, "nothing was changed: {}", text_of(*facts, "why_not"));
  if (!yes)
    if (auto asked = ask_person(*facts); !asked) return asked;
  const json body{{"last", object_of(*facts, "last")}, {"author", author()}};
  if (const auto done = context.api.post("/v1/recovery", body.dump()); !done) return pass(done);
  if (auto serving = wait_until_serving(context); !serving) return serving;
  if (context.json) {
    print_json({{"recovered", true}, {"server", text_of(*facts, "server")}, {"given_up", lost_in(*facts)}});
  } else {
    print(fmt::format("the cluster database serves, by {} alone until others have caught up; given up: {}. See `baton status`\n",
                      text_of(*facts, "server"), fmt::join(lost_in(*facts), ", ")));
  }
  return {};
}

}  // namespace baton::cli
