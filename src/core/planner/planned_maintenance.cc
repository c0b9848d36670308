// See planned_maintenance.h.
#include "src/core/planner/planned_maintenance.h"

#include <algorithm>

#include "src/base/planted.h"
#include "src/core/planner/candidate.h"
#include "src/core/planner/choice.h"
#include "src/core/planner/standing.h"
#include "src/model/breaker.h"
#include "src/model/command_rules.h"
#include "src/model/configuration_toml.h"

namespace baton::planner {
namespace {

using command_rules::is_down;

constexpr Duration kKillTime = 15s;  // of a resource that did not stop: a kill with its second try

std::string describe_suspension(const Input& input, const Suspension& suspension) {
  std::string text = fmt::format("suspended by {}", suspension.author);
  if (!suspension.reason.empty()) text += fmt::format(" ({})", suspension.reason);
  if (suspension.until_ms == 0) return text;
  const uint64_t left = suspension.until_ms > input.clock_ms ? suspension.until_ms - input.clock_ms : 0;
  return text + fmt::format(", {} left", format_duration(milliseconds((left + 999) / 1000 * 1000)));
}

}  // namespace

const Suspension* suspension_of(const ClusterState& state, const GroupState& group) {
  if (group.suspension) return &*group.suspension;
  if (state.suspension) return &*state.suspension;
  if (group.owner == ServerId{}) return nullptr;
  const ServerState& owner = state.server(group.owner);
  return owner.suspension ? &*owner.suspension : nullptr;
}

std::string why_not_now(const Input& input, const GroupConfiguration& group, const GroupState& state) {
  if (input.state.shutdown)
    return fmt::format("the cluster is being shut down by {}: it starts again with the cluster", input.state.shutdown->author);
  if (state.asked) return "";  // an operator's own word goes before what was arranged for the ordinary case
  if (const Suspension* suspension = suspension_of(input.state, state))
    return fmt::format("{}: it is neither started nor moved. What helps: resume it; or: baton group move {}",
                       describe_suspension(input, *suspension), group.name);
  if (state.parked != ServerId{}) {
    const ServerState& parked = input.state.server(state.parked);
    const std::string name = input.configuration.server_name(state.parked);
    if (parked.shutdown && !parked.shutdown->move)
      return fmt::format("it was stopped along with {} and starts again with it. What helps: start {}; or: baton group start {}",
                         name, name, group.name);
  }
  return input.starting;
}

bool has_step(const Plan& plan, const std::string& group) {
  return std::any_of(plan.steps.begin(), plan.steps.end(), [&](const PlannedStep& step) { return step.group == group; });
}

bool something_moves(const Input& input, const Plan& plan) {
  const bool planned = std::any_of(plan.steps.begin(), plan.steps.end(), [](const PlannedStep& step) {
    const auto* wish = std::get_if<WishGroup>(&step.command);
    return wish != nullptr && wish->target != ServerId{};
  });
  return planned || std::any_of(input.state.groups.begin(), input.state.groups.end(), [&](const auto& one) {
    const GroupState& group = one.second;
    if (!group.asked) return false;
    if (is_down(group.phase)) return group.wanted && !plan.waiting.contains(one.first);
    return group.target != ServerId{} || group.phase == GroupPhase::kStarting;
  });
}

std::string why_stay(const Input& input, const std::string& name, const std::string& cause) {
  const GroupConfiguration* group = input.configuration.group(name);
  const GroupState* state = state_of(input, name);
  if (group == nullptr || state == nullptr) return "";
  if (const auto why = breaker_verdict(input.state, input.configuration, {name, cause, input.clock_ms}); !why.empty())
    return fmt::format("the breaker: {}. What helps: remove the cause; or let it go: baton group release {}", why, name);
  std::vector<Candidate> others = judge_candidates(input, placement_of(input), *group);
  std::erase_if(others, [&](const Candidate& candidate) { return candidate.server == state->owner; });
  if (choose(others, ServerId{}) != nullptr || planted(Plant::kLastOwnerStopped)) return "";
  if (others.empty()) return "no other server is among its servers";
  return explain_waiting(*group, others);
}

namespace {

/// One group of a server that is to end: where it would go, it is from now on.
std::optional<Obstacle> why_homeless(const Input& input, Placement& placement, const GroupConfiguration& group, ServerId server) {
  const GroupState* state = state_of(input, group.name);
  if (state == nullptr || !state->wanted) return std::nullopt;
  const bool here = state->owner == server;
  if (!here && state->owner != ServerId{} && view_of(input, state->owner).present) return std::nullopt;
  if (const Suspension* suspension = suspension_of(input.state, *state); here && suspension != nullptr)
    return Obstacle{fmt::format("group {} is {}", group.name, describe_suspension(input, *suspension)), "", false};
  std::vector<Candidate> others = judge_candidates(input, placement, group);
  const Candidate* present = find_candidate(others, server);
  if (!here && (present == nullptr || !present->possible)) return std::nullopt;  // nothing is lost to it
  std::erase_if(others, [&](const Candidate& candidate) { return candidate.server == server; });
  const Candidate* chosen = choose(others, ServerId{});
  if (chosen != nullptr && !chosen->refused()) {
    placement.give(group, chosen->server);
    return std::nullopt;
  }
  const bool soon = std::any_of(others.begin(), others.end(), [](const auto& one) { return one.could_come; });
  return Obstacle{fmt::format("group {} could run nowhere else: {}", group.name,
                              others.empty() ? "no other server is among its servers" : explain_waiting(group, others)), "", soon};
}

}  // namespace

std::optional<Obstacle> why_not_empty(const Input& input, ServerId server) {
  Placement placement = placement_of(input);
  // What others are to be with has its place first.
  for (const bool follows : {false, true})
    for (const GroupConfiguration& group : input.configuration.groups) {
      if (follows == (group.start_after.empty() && group.with.empty())) continue;
      if (auto why = why_homeless(input, placement, group, server)) return why;
    }
  return std::nullopt;
}

namespace {

/// The groups of one server that is to be empty.
class Departure {
 public:
  Departure(const Input& input, Placement& placement, ServerId from, Plan& plan)
      : input_(input), placement_(placement), from_(from), record_(input.state.server(from)), plan_(plan) {
    why_ = record_.shutdown
               ? fmt::format("{} is being shut down by {}", input.configuration.server_name(from), record_.shutdown->author)
               : fmt::format("{} is being drained by {}", input.configuration.server_name(from), record_.drain->author);
  }

  void run() {
    busy_ = something_moves(input_, plan_);
    // What others follow goes first: they are stopped for that anyway.
    for (const bool follows : {false, true})
      for (const GroupConfiguration& group : input_.configuration.groups)
        if (follows == !(group.start_after.empty() && group.with.empty())) run(group);
  }

 private:
  void run(const GroupConfiguration& group) {
    const GroupState* state = state_of(input_, group.name);
    if (state == nullptr || state->owner != from_) return;
    if (state->phase == GroupPhase::kStopping || !state->wanted || state->target != ServerId{} || state->parked != ServerId{}) {
      stays(group, "it is being stopped");
    } else if (must_stop_now()) {
      park(group, *state);
    } else if (state->phase == GroupPhase::kStarting) {
      stays(group, "it is starting, and goes then");
    } else {
      leave(group, *state);
    }
  }

  bool must_stop_now() const {
    return record_.shutdown && (!record_.shutdown->move || input_.clock_ms >= record_.shutdown->deadline_ms);
  }

  void leave(const GroupConfiguration& group, const GroupState& state) {
    if (const Suspension* suspension = suspension_of(input_.state, state)) {
      if (record_.shutdown) return park(group, state);
      return stays(group, describe_suspension(input_, *suspension));
    }
    std::vector<Candidate> others = judge_candidates(input_, placement_, group);
    std::erase_if(others, [&](const Candidate& candidate) { return candidate.server == from_; });
    const Candidate* chosen = choose(others, ServerId{});
    if (chosen == nullptr || chosen->refused()) {
      const bool soon = std::any_of(others.begin(), others.end(), [](const auto& one) { return one.could_come; });
      if (record_.shutdown && !soon) return park(group, state);
      return stays(group, others.empty() ? "no other server is among its servers" : explain_waiting(group, others));
    }
    if (busy_) return stays(group, "another group is on its way first");
    busy_ = true;
    placement_.expect(group, chosen->server);
    stays(group, fmt::format("it moves to {}", chosen->name));
    WishGroup wish{group.name, state.version, true, chosen->server, why_ + ": it moves to " + chosen->name, kOwnAuthor, {}};
    plan_.steps.push_back({group.name, wish, wish.reason});
  }

  void park(const GroupConfiguration& group, const GroupState& state) {
    stays(group, "it is being stopped");
    WishGroup wish{group.name, state.version, true, ServerId{}, why_ + ": it stops with it", kOwnAuthor, from_};
    plan_.steps.push_back({group.name, wish, wish.reason});
  }

  void stays(const GroupConfiguration& group, const std::string& why) { plan_.staying[from_][group.name] = why; }

  const Input& input_;
  Placement& placement_;
  ServerId from_;
  const ServerState& record_;
  Plan& plan_;
  std::string why_;
  bool busy_ = false;  // a group is on its way: one after the other
};

}  // namespace

namespace {

/// The longest that a group takes to stop: each resource its own time-out, and what did not stop is killed. Groups that come
/// after it stop first.
Duration longest_stop(const Input& input, const std::string& name) {
  Duration sum{};
  const GroupConfiguration* group = input.configuration.group(name);
  if (group == nullptr) return sum;
  for (const std::string& after : group->started_before) sum = std::max(sum, longest_stop(input, after));
  for (const auto& resource : group->resources) sum += resource.stop_timeout + kKillTime;
  return sum;
}

std::string describe_left(const Input& input, const std::string& name, const GroupState& group) {
  const std::string owner = input.configuration.server_name(group.owner);
  const bool there = view_of(input, group.owner).present;
  return fmt::format("group {} is {} on {}{}", name, to_string(group.phase), owner,
                     there ? "" : ", which " + describe_absence(view_of(input, group.owner)));
}

}  // namespace

std::string why_given_up(const Input& input, ServerId server) {
  const bool cluster = server == ServerId{};
  const std::optional<Shutdown>& shutdown = cluster ? input.state.shutdown : input.state.server(server).shutdown;
  if (!shutdown) return "";
  std::string left;
  Duration stops{};
  for (const auto& [name, group] : input.state.groups) {
    if (is_down(group.phase) || (!cluster && group.owner != server)) continue;
    left += (left.empty() ? "" : ", ") + describe_left(input, name, group);
    // A server's time is for moves: what is left then is stopped, which takes its own.
    if (!cluster) stops = std::max(stops, longest_stop(input, name));
  }
  if (left.empty() || input.clock_ms < shutdown->deadline_ms + static_cast<uint64_t>(to_ms(stops))) return "";
  return fmt::format("it was not through within {}: {}", format_duration(milliseconds(input.clock_ms - shutdown->since_ms) / 1000 * 1000),
                     left);
}

void plan_departures(const Input& input, Placement& placement, Plan& plan) {
  if (input.state.shutdown) return;  // the owners stop everything
  for (const auto& [server, record] : input.state.servers) {
    if (!record.drain && !record.shutdown) continue;
    if (view_of(input, server).present && record.standing != ServerStanding::kStopped) Departure(input, placement, server, plan).run();
  }
}

namespace {

bool is_over(const Input& input, const std::optional<Suspension>& suspension) {
  return suspension && suspension->until_ms != 0 && input.clock_ms >= suspension->until_ms;
}

SetSuspension end_of_suspension(const Input& input, uint64_t version) {
  SetSuspension step;
  step.expected_version = version;
  step.author = kOwnAuthor;
  step.reason = "the time is over";
  step.clock_ms = input.clock_ms;
  return step;
}

void plan_suspensions(const Input& input, Plan& plan) {
  if (is_over(input, input.state.suspension))
    plan.cluster_steps.push_back({"maintenance", end_of_suspension(input, input.state.maintenance_version)});
  for (const auto& [server, record] : input.state.servers) {
    if (!is_over(input, record.suspension)) continue;
    SetSuspension step = end_of_suspension(input, record.version);
    step.server = server;
    plan.cluster_steps.push_back({fmt::format("server {}", server), step});
  }
  for (const auto& [name, group] : input.state.groups) {
    if (!is_over(input, group.suspension)) continue;
    SetSuspension step = end_of_suspension(input, group.version);
    step.group = name;
    plan.cluster_steps.push_back({"group " + name, step});
  }
}

/// The servers that are there now, by their present starts.
std::map<ServerId, uint64_t> lives_of(const Input& input) {
  std::map<ServerId, uint64_t> lives;
  for (const auto& server : input.configuration.servers) {
    const ServerView view = view_of(input, server.id);
    if (server.role == ServerRole::kServer && view.present && view.life != 0) lives[server.id] = view.life;
  }
  return lives;
}

/// One that was there when the shutdown was asked for, and of which it is not known whether it has started since: its
/// batond has not been heard in this view yet, or hesitates.
bool some_may_be_left(const Input& input) {
  const auto& asked = input.state.shutdown->lives;
  return std::any_of(input.configuration.servers.begin(), input.configuration.servers.end(), [&](const auto& server) {
    const ServerView view = view_of(input, server.id);
    if (server.role != ServerRole::kServer || !asked.contains(server.id)) return false;
    return view.present ? view.life == 0 : view.member && !view.lease_over;
  });
}

void plan_cluster_shutdown(const Input& input, Plan& plan) {
  const ClusterState& state = input.state;
  if (!state.shutdown) return;
  SetShutdown step;
  step.expected_version = state.maintenance_version;
  step.clock_ms = input.clock_ms;
  const auto lives = lives_of(input);
  const bool none_is_left = std::none_of(lives.begin(), lives.end(), [&](const auto& one) {
    const auto before = state.shutdown->lives.find(one.first);
    return before != state.shutdown->lives.end() && before->second == one.second;
  });
  if (none_is_left) {
    // All of them have started since: the shutdown has come about, whatever its record says.
    if (lives.empty() || some_may_be_left(input)) return;
    step.step = SetShutdown::Step::kStarted;
  } else if (state.shut_down) {
    return;
  } else {
    const bool all_down = std::all_of(state.groups.begin(), state.groups.end(),
                                      [](const auto& group) { return is_down(group.second.phase); });
    const std::string why = why_given_up(input, ServerId{});
    if (!all_down && why.empty()) return;
    step.step = all_down ? SetShutdown::Step::kEnd : SetShutdown::Step::kCancel;
    if (all_down) {
      step.lives = lives;
    } else {
      step.author = kOwnAuthor;
      step.reason = why;
      step.given_up = true;
    }
  }
  plan.cluster_steps.push_back({"maintenance", step});
}

}  // namespace

void plan_maintenance(const Input& input, Plan& plan) {
  plan_suspensions(input, plan);
  plan_cluster_shutdown(input, plan);
}

}  // namespace baton::planner
