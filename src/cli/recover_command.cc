// `baton cluster recover`: after a majority is lost for good a survivor goes on, when a person who has seen what may be missing
// says so. docs/operations.md; docs/protocol.md, "Recovery".
#include <fmt/ranges.h>

#include <chrono>
#include <set>
#include <thread>

#include "src/cli/commands.h"
#include "src/cli/terminal.h"

namespace baton::cli {
namespace {

constexpr auto kServeLimit = std::chrono::seconds(60);

int64_t wall_ms() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
}

std::string describe_age(int64_t written_ms) {
  if (written_ms == 0) return "";
  const int64_t seconds = std::max<int64_t>(0, (wall_ms() - written_ms) / 1000);
  const auto [amount, unit] = seconds < 120 ? std::pair{seconds, "s"} : seconds < 7200 ? std::pair{seconds / 60, "min"}
                                                                                     : std::pair{seconds / 3600, "h"};
  return fmt::format(", the newest of {} ({} {} ago by this clock)", format_time(written_ms).substr(0, 19), amount, unit);
}

std::string describe_survivors(const json& facts) {
  std::string text;
  for (const json& survivor : list_of(facts, "survivors")) {
    const json last = object_of(survivor, "last");
    text += wrap_text(fmt::format("{}: log up to entry {} of epoch {}{}{}", text_of(survivor, "server"), number_of(last, "index"),
                                  number_of(last, "epoch"), describe_age(number_of(survivor, "written_ms")),
                                  flag_of(survivor, "counts") ? "" : "; does not count: its database was lost"), 2);
  }
  return text;
}

std::string describe_facts(const json& facts) {
  std::string text = fmt::format("Cluster {}. Not here: {}\n", text_of(facts, "cluster"), fmt::join(texts_of(facts, "lost"), ", "));
  text += describe_survivors(facts);
  for (const json& group : list_of(facts, "groups"))
    text += wrap_text(fmt::format("group {}: {}{}, {}", text_of(group, "name"), text_of(group, "phase"),
                                  text_of(group, "owner").empty() ? "" : " on " + text_of(group, "owner"),
                                  flag_of(group, "wanted") ? "wanted" : "not wanted"), 2);
  for (const json& mirror : list_of(facts, "mirrors")) {
    text += wrap_text(fmt::format("mirror {}: {}", text_of(mirror, "name"), text_of(mirror, "text")), 2);
    for (const json& copy : list_of(mirror, "copies"))
      text += wrap_text(fmt::format("  copy of {}: {}, generation {}{}", text_of(copy, "server"),
                                    flag_of(copy, "consistent") ? "consistent" : "NOT consistent", text_of(copy, "generation"),
                                    flag_of(copy, "incarnation_in_sync") ? ", in sync" : ""), 4);
  }
  return text;
}

std::string loss_of(const json& facts) {
  std::string text = fmt::format("May be missing: whatever {} committed after the last entry above",
                                 fmt::join(texts_of(facts, "lost"), ", "));
  for (const json& mirror : list_of(facts, "mirrors"))
    if (!flag_of(mirror, "survives"))
      text += fmt::format("; of mirror {} what was written since a survivor was in sync", text_of(mirror, "name"));
  return wrap_text(text + ".", 0);
}

/// The cluster's name: a "y" comes too easily.
Status ask_person(const Context& context, const json& facts) {
  const std::string question = describe_facts(facts) + loss_of(facts) +
      wrap_text(fmt::format("{} would be given up for good. See that each of them is OFF, and stays off: one that runs, or comes back "
                            "where it does not hear this server, could serve the old cluster beside this one.",
                            fmt::join(texts_of(facts, "lost"), ", ")), 0);
  std::string instead = "if the loss is accepted, say --yes";
  for (const std::string& name : texts_of(facts, "lost")) instead += " --give-up " + name;
  return ask_for_name(question.substr(0, question.size() - 1), text_of(facts, "cluster"), instead, context.json);
}

/// Whoever says --yes has to name them: who is away may have changed since he looked.
Status check_named(const json& facts, const RecoverOptions& options) {
  const auto lost = texts_of(facts, "lost");
  const std::set<std::string> named(options.given_up.begin(), options.given_up.end());
  if (options.given_up.empty() && !options.yes) return {};
  if (named == std::set<std::string>(lost.begin(), lost.end())) return {};
  return fail_as(ErrorCode::kInvalid, "nothing was changed: given up would be {}, and --give-up names {}", fmt::join(lost, ", "),
                 named.empty() ? "nobody" : fmt::format("{}", fmt::join(named, ", ")));
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

Status recover_cluster(const Context& context, const RecoverOptions& options) {
  const auto facts = context.api.get("/v1/recovery");
  if (!facts) return pass(facts);
  const bool possible = flag_of(*facts, "possible");
  if (options.only_show) {
    if (context.json) print_json(*facts);
    else print(describe_facts(*facts) + (possible ? loss_of(*facts) : wrap_text("Recovery is refused: " + text_of(*facts, "why_not"), 0)));
    return {};
  }
  if (!possible) return fail_as(ErrorCode::kConflict, "nothing was changed: {}", text_of(*facts, "why_not"));
  if (auto named = check_named(*facts, options); !named) return named;
  if (!options.yes)
    if (auto asked = ask_person(context, *facts); !asked) return asked;
  const json body{{"last", object_of(*facts, "last")}, {"give_up", (*facts)["lost"]}, {"author", author()}};
  if (const auto done = context.api.post("/v1/recovery", body.dump()); !done) return pass(done);
  if (auto serving = wait_until_serving(context); !serving) return serving;
  const auto lost = texts_of(*facts, "lost");
  if (context.json) {
    print_json({{"recovered", true}, {"server", text_of(*facts, "server")}, {"given_up", lost}});
  } else {
    print(wrap_text(fmt::format("the cluster database serves, by {} alone until others have caught up; given up: {}. See `baton status`",
                                text_of(*facts, "server"), fmt::join(lost, ", ")), 0));
  }
  return {};
}

}  // namespace baton::cli
