// See standing.h.
#include "src/core/planner/standing.h"

#include <algorithm>

#include "src/base/planted.h"
#include "src/core/planner/candidate.h"
#include "src/core/planner/planned_maintenance.h"
#include "src/model/configuration_toml.h"

namespace baton::planner {
namespace {

constexpr uint64_t kLongestHoldMs = 3600'000;

std::string time_left(const Input& input, uint64_t until_ms) {
  const uint64_t left = until_ms > input.clock_ms ? until_ms - input.clock_ms : 0;
  return format_duration(milliseconds((left + 999) / 1000 * 1000));
}

std::string return_help(const Input& input, ServerId server) {
  return fmt::format("baton server return {}", input.configuration.server_name(server));
}

/// How long a server that was lost this often is held: twice as long each time.
uint64_t hold_ms(const FlappingConfiguration& flapping, size_t losses) {
  uint64_t hold = static_cast<uint64_t>(flapping.hold.count());
  for (size_t more = losses; more > static_cast<size_t>(flapping.losses) && hold < kLongestHoldMs; --more) hold *= 2;
  return std::min(hold, std::max(kLongestHoldMs, static_cast<uint64_t>(flapping.hold.count())));
}

/// A server that was down is there again.
Standing after_return(const Input& input, ServerId server) {
  const ServerState& record = input.state.server(server);
  const FlappingConfiguration& flapping = input.configuration.flapping;
  const auto window = static_cast<uint64_t>(flapping.window.count());
  const auto losses = static_cast<size_t>(
      std::count_if(record.losses.begin(), record.losses.end(), [&](uint64_t at) { return at + window > input.clock_ms; }));
  const auto* configured = input.configuration.server(server);
  Standing standing;
  standing.reason = "it was down and is back";
  if (configured == nullptr || configured->role == ServerRole::kWitness) return standing;
  if (input.configuration.return_policy_of(server) == ReturnPolicy::kManual) {
    standing.standing = ServerStanding::kIsolated;
    standing.reason = "it was down and is back, and returns to the cluster by hand only";
  } else if (flapping.losses > 0 && losses >= static_cast<size_t>(flapping.losses)) {
    standing.standing = ServerStanding::kIsolated;
    standing.hold_until_ms = input.clock_ms + hold_ms(flapping, losses);
    standing.reason = fmt::format("it was lost {} times within {}, and is held for {}", losses,
                                  format_duration(flapping.window), time_left(input, standing.hold_until_ms));
  }
  return standing;
}

Standing recorded(const ServerState& record) {
  Standing standing;
  standing.standing = record.standing;
  standing.reason = record.reason;
  standing.hold_until_ms = record.hold_until_ms;
  return standing;
}

/// What the record will be in a moment, by what is seen of a server that is there.
Standing present_standing(const Input& input, ServerId server) {
  const ServerState& record = input.state.server(server);
  const ServerView view = view_of(input, server);
  if (!view.present) return recorded(record);
  if (record.standing == ServerStanding::kDown) return after_return(input, server);
  if (record.standing == ServerStanding::kStopped && view.life != 0 && view.life != record.life) {
    Standing back;
    back.reason = "it was stopped in order and is back";
    return back;
  }
  if (record.standing != ServerStanding::kIsolated) return recorded(record);
  Standing returned;
  if (record.hold_until_ms != 0) {
    if (input.clock_ms < record.hold_until_ms) return recorded(record);
    returned.reason = "the time for which it was held is over";
    return returned;
  }
  if (input.configuration.return_policy_of(server) == ReturnPolicy::kManual) return recorded(record);
  returned.reason = "the configuration says that it returns by itself";
  return returned;
}

}  // namespace

Standing standing_of(const Input& input, ServerId server) {
  const ServerState& record = input.state.server(server);
  const std::string name = input.configuration.server_name(server);
  Standing standing = present_standing(input, server);
  if (standing.standing == ServerStanding::kStopped ||
      (record.shutdown && record.standing != ServerStanding::kStopped && !planted(Plant::kShutdownIgnored))) {
    standing.bar = "is being shut down";
    standing.help = fmt::format("wait until it is started again; or: baton server shutdown {} --cancel", name);
  } else if (standing.standing == ServerStanding::kIsolated) {
    // Not even then where a person wants none to come.
    standing.last_resort = standing.hold_until_ms != 0 && !record.drain && !record.suspension;
    standing.bar = fmt::format("is isolated (Od): {}", standing.reason);
    if (standing.hold_until_ms != 0) standing.bar += fmt::format(" ({} left)", time_left(input, standing.hold_until_ms));
    standing.help = return_help(input, server);
  } else if (record.standing == ServerStanding::kStopped ||
             (record.standing == ServerStanding::kIsolated && record.hold_until_ms == 0)) {
    standing.bar = "returns to the cluster in a moment";
    standing.soon = true;
  } else if (record.drain && !planted(Plant::kDrainIgnored)) {
    standing.bar = fmt::format("is being drained by {}", record.drain->author);
    standing.help = fmt::format("baton server undrain {}", name);
  } else if (record.suspension) {
    standing.bar = fmt::format("is suspended by {}", record.suspension->author);
    standing.help = fmt::format("baton server resume {}", name);
  }
  return standing;
}

namespace {

bool owns_a_group(const ClusterState& state, ServerId server) {
  return std::any_of(state.groups.begin(), state.groups.end(),
                     [&](const auto& group) { return group.second.owner == server; });
}

/// Groups that leave it are to run elsewhere before it ends, as long as its time allows.
bool is_waited_for(const Input& input, const ServerState& record, const Plan& plan) {
  if (!record.shutdown->move || input.clock_ms >= record.shutdown->deadline_ms) return false;
  return std::any_of(input.state.groups.begin(), input.state.groups.end(), [&](const auto& one) {
    const GroupState& group = one.second;
    if (!group.asked || !group.wanted || plan.waiting.contains(one.first)) return false;
    return group.phase == GroupPhase::kStarting || group.phase == GroupPhase::kStopped;
  });
}

/// SAFETY: W3. Of two that decide together again in a moment none ends before that: the one that stays could not know that it has
/// everything. One that is there and does not catch up is waited for as long as moves are.
bool is_reunited_first(const Input& input, ServerId server, const ServerState& record) {
  if (input.state.voters.joint()) return true;
  if (input.state.taken_over != server || input.clock_ms >= record.shutdown->deadline_ms) return false;
  return std::any_of(input.configuration.servers.begin(), input.configuration.servers.end(),
                     [&](const auto& other) { return other.id != server && view_of(input, other.id).present; });
}

/// It has started anew since it was to be shut down: that has come about in another way.
bool restarted_meanwhile(const ServerState& record, ServerId server, const ServerView& view) {
  if (!record.shutdown || record.standing == ServerStanding::kStopped || view.life == 0) return false;
  const auto before = record.shutdown->lives.find(server);
  return before != record.shutdown->lives.end() && before->second != view.life;
}

void plan_one(const Input& input, ServerId server, Plan& plan) {
  const ServerState& record = input.state.server(server);
  const ServerView view = view_of(input, server);
  if (view.present && restarted_meanwhile(record, server, view)) {
    SetShutdown cancel{server, record.version, SetShutdown::Step::kCancel, true, Afterwards::kNothing,
                       kOwnAuthor, "it has been started again meanwhile", input.clock_ms, 0, {}, false};
    plan.cluster_steps.push_back({fmt::format("server {}", server), cancel});
    return;
  }
  if (const std::string why = why_given_up(input, server); view.present && !why.empty() && record.standing != ServerStanding::kStopped) {
    SetShutdown cancel{server, record.version, SetShutdown::Step::kCancel, true, Afterwards::kNothing,
                       kOwnAuthor, why, input.clock_ms, 0, {}, true};
    plan.cluster_steps.push_back({fmt::format("server {}", server), cancel});
    return;
  }
  SetStanding step;
  step.server = server;
  step.expected_version = record.version;
  step.clock_ms = input.clock_ms;
  step.standing = record.standing;
  if (!view.present) {
    const bool was_there = record.standing == ServerStanding::kNormal || record.standing == ServerStanding::kIsolated;
    // While a cluster starts, those that have not come yet are waited for, and not lost.
    // Nor is one lost that has never been there: a new server votes only once it has come.
    const auto& voters = input.state.voters.now;
    const bool has_come = voters.empty() || voters.contains(server);
    if (!was_there || !has_come || !view.lease_over || !input.starting.empty()) return;
    step.standing = ServerStanding::kDown;
    step.reason = view.why_absent;
  } else if (record.shutdown && record.standing != ServerStanding::kStopped) {
    if (owns_a_group(input.state, server) || view.life == 0 || record.standing == ServerStanding::kDown) return;
    if (is_waited_for(input, record, plan) || is_reunited_first(input, server, record)) return;
    step.standing = ServerStanding::kStopped;
    step.life = view.life;
    step.reason = fmt::format("shut down by {}{}", record.shutdown->author,
                              record.shutdown->reason.empty() ? "" : ": " + record.shutdown->reason);
  } else {
    const Standing now = present_standing(input, server);
    step.standing = now.standing;
    step.reason = now.reason;
    step.hold_until_ms = now.hold_until_ms;
  }
  if (step.standing == record.standing) return;
  plan.cluster_steps.push_back({fmt::format("server {}", server), step});
}

}  // namespace

void plan_standings(const Input& input, Plan& plan) {
  for (const auto& server : input.configuration.servers) plan_one(input, server.id, plan);
}

void plan_format_level(const Input& input, Plan& plan) {
  uint32_t level = kFormatLevel;
  for (const auto& server : input.configuration.servers) level = std::min(level, view_of(input, server.id).format_level);
  if (level > input.state.format_level) plan.cluster_steps.push_back({"level", RaiseFormatLevel{level}});
}

}  // namespace baton::planner
