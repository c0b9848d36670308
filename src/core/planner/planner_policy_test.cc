// The failover policy over random clusters, faults and wishes, with the commands judged and applied as every voter does: what
// must hold at each step, and that the moves come to an end.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <set>

#include "src/core/planner/planner.h"
#include "src/model/command_rules.h"
#include "src/model/configuration_toml.h"

namespace baton::planner {
namespace {

using command_rules::is_down;

constexpr uint64_t kRoundMs = 20'000;  // longer than the pause after a first failure
constexpr int kQuietRounds = 40;
constexpr int kClusters = 400;  // each is a hundred plans: fewer than the other properties have cases

uint32_t below(uint32_t bound) { return *rc::gen::inRange<uint32_t>(0, bound); }
bool one_in(uint32_t bound) { return below(bound) == 0; }

/// "key = [...]" of groups before this one, so that there is no circle.
std::string name_some(const char* key, uint32_t number, uint32_t chance) {
  std::string list;
  for (uint32_t other = 0; other < number; ++other)
    if (one_in(chance)) list += fmt::format("{}\"group{}\"", list.empty() ? "" : ", ", other);
  return list.empty() ? "" : fmt::format("{} = [{}]\n", key, list);
}

std::string draw_group(uint32_t number, uint32_t servers) {
  const uint32_t first = below(servers), count = 1 + below(servers);
  std::string policy;
  for (uint32_t place = 0; place < count; ++place)
    policy += fmt::format("{}\"server{}\"", policy.empty() ? "" : ", ", (first + place) % servers + 1);
  std::string text = fmt::format("[group.group{}]\nservers = [{}]\n", number, policy);
  static constexpr const char* kFailback[] = {"no", "offline", "online", "online"};
  text += fmt::format("failback = \"{}\"\n", kFailback[below(4)]);
  if (one_in(5)) text += "exclusive = true\n";
  if (one_in(2)) text += fmt::format("needs = {{ memory = {} }}\n", 1 + below(3));
  text += name_some("start_after", number, 5) + name_some("with", number, 8) + name_some("apart_from", number, 5) +
          name_some("prefer_apart_from", number, 5);
  return text + fmt::format("[group.group{}.service.daemon]\ncommand = [\"/bin/true\"]\n", number);
}

/// Impossible ones are refused by the validation, and drawn again.
std::string draw_text() {
  for (;;) {
    const uint32_t servers = 2 + below(3), groups = 2 + below(5);
    std::string text = "[cluster]\nname = \"drawn\"\nflapping = { losses = 0 }\n";
    for (uint32_t id = 1; id <= servers; ++id)
      text += fmt::format("[server.server{}]\nid = {}\ninterconnects = [\"10.0.1.{}\"]\ncapacity = {{ memory = {} }}\n", id, id, id,
                          3 + below(4));
    for (uint32_t number = 0; number < groups; ++number) text += draw_group(number, servers);
    if (check_configuration(text).empty()) return text;
  }
}

/// A cluster whose servers do at once what they are given to do.
class Cluster {
 public:
  explicit Cluster(const std::string& text) : configuration_(*parse_configuration(text)) {
    RC_ASSERT(apply_command(state_, ApplyConfiguration{0, text, "test", kFormatLevel}, ++index_).applied);
    for (const auto& server : configuration_.servers) set_present(server.id, true);
  }

  Input input() const { return {configuration_, state_, servers_, {}, clock_ms_, "", std::chrono::minutes(720)}; }

  void set_present(ServerId server, bool present) {
    servers_[server] = {present, present, !present, present ? "" : "it left", ++lives_, kFormatLevel};
  }

  /// One plan, carried out; then the servers do their part, some starts fail. Returns how many groups were given to a server.
  size_t round(bool failures) {
    clock_ms_ += kRoundMs;
    const Plan plan = make_plan(input());
    const Plan again = make_plan(input());
    RC_ASSERT(plan.steps.size() == again.steps.size() && plan.waiting == again.waiting && plan.failback == again.failback);
    size_t given = 0;
    for (size_t place = 0; place < plan.steps.size(); ++place) {
      const PlannedStep& step = plan.steps[place];
      RC_ASSERT(step.command == again.steps[place].command);
      RC_ASSERT(!step.reason.empty());
      check_step(step);
      const Applied applied = apply_command(state_, step.command, ++index_);
      // What the planner foresees, the voters judge alike.
      if (!applied.applied) RC_FAIL(step.reason + ": refused: " + applied.refusal);
      check_placement();
      if (std::holds_alternative<AssignGroup>(step.command)) ++given;
    }
    for (const ClusterStep& step : plan.cluster_steps) apply_command(state_, step.command, ++index_);
    for (const GroupConfiguration& group : configuration_.groups) act(group, failures);
    waiting_ = plan.waiting;
    return given;
  }

  void wish() {
    const GroupConfiguration& group = configuration_.groups[below(static_cast<uint32_t>(configuration_.groups.size()))];
    WishGroup wish{group.name, state_.groups.at(group.name).version, !one_in(4), {}, "asked", "anna", {}};
    if (wish.wanted && one_in(2)) wish.target = group.servers[below(static_cast<uint32_t>(group.servers.size()))];
    if (check_wish(input(), wish)) RC_ASSERT(apply_command(state_, wish, ++index_).applied);
  }

  void drain(ServerId server, bool draining) {
    SetDrain drain{server, state_.server(server).version, draining, "anna", "", clock_ms_};
    apply_command(state_, drain, ++index_);
  }

  void all_well() {
    for (const auto& server : configuration_.servers) {
      if (!servers_[server.id].present) set_present(server.id, true);
      drain(server.id, false);
    }
  }

  /// In the end everything that is wanted runs, or says why not.
  void check_end() const {
    for (const GroupConfiguration& group : configuration_.groups) {
      const GroupState& state = state_.groups.at(group.name);
      if (!state.wanted)
        RC_ASSERT(is_down(state.phase));
      else if (state.phase != GroupPhase::kStarted)
        RC_ASSERT(waiting_.contains(group.name));
      for (const std::string& name : group.with) {
        const GroupState& other = state_.groups.at(name);
        if (state.phase == GroupPhase::kStarted && !is_down(other.phase)) RC_ASSERT(state.owner == other.owner);
      }
    }
  }

  const Configuration& configuration() const { return configuration_; }

 private:
  bool started(const std::string& name) const { return state_.groups.at(name).phase == GroupPhase::kStarted; }

  void check_step(const PlannedStep& step) const {
    const auto* assign = std::get_if<AssignGroup>(&step.command);
    if (assign == nullptr) return;
    const GroupConfiguration& group = *configuration_.group(assign->group);
    const GroupState& state = state_.groups.at(group.name);
    RC_ASSERT(state.wanted);
    RC_ASSERT(servers_.at(assign->server).present);
    RC_ASSERT(!state_.server(assign->server).drain);
    const auto refused = state.refused.find(assign->server);
    RC_ASSERT(refused == state.refused.end() || refused->second.attempts < kMaximumAttempts);
    for (const std::string& before : group.start_after) RC_ASSERT(started(before));
    for (const std::string& name : group.with) RC_ASSERT(state_.groups.at(name).owner == assign->server);
  }

  /// After every single command: who is alone is alone, who is kept apart is apart, and nothing is overfull.
  void check_placement() const {
    std::map<ServerId, std::vector<const GroupConfiguration*>> there;
    for (const GroupConfiguration& group : configuration_.groups)
      if (!is_down(state_.groups.at(group.name).phase)) there[state_.groups.at(group.name).owner].push_back(&group);
    for (const auto& [server, groups] : there) {
      uint64_t memory = 0;
      for (const auto* group : groups) {
        RC_ASSERT(!group->exclusive || groups.size() == 1);
        memory += group->needs.contains("memory") ? group->needs.at("memory") : 0;
        for (const auto* other : groups)
          RC_ASSERT(std::find(group->apart_from.begin(), group->apart_from.end(), other->name) == group->apart_from.end());
      }
      RC_ASSERT(memory <= configuration_.server(server)->capacity.at("memory"));
    }
  }

  void phase(const std::string& name, GroupPhase to, const std::string& failure) {
    const GroupState& state = state_.groups.at(name);
    SetGroupPhase command{name, state.version, state.owner, to, failure, failure, {}, "", clock_ms_, false};
    RC_ASSERT(apply_command(state_, command, ++index_).applied);
  }

  /// What the owner of a group does, as src/core/node/node_groups.cc.
  void act(const GroupConfiguration& group, bool failures) {
    const GroupState& state = state_.groups.at(group.name);
    if (is_down(state.phase) || !servers_.at(state.owner).present) return;
    const bool elsewhere = state.target != ServerId{} && state.target != state.owner;
    const bool leaving = !state.wanted || elsewhere || state.parked == state.owner;
    if (state.phase == GroupPhase::kStopping) {
      phase(group.name, GroupPhase::kStopped, "");
    } else if (leaving && why_not_stop_yet(input(), group).empty()) {
      phase(group.name, GroupPhase::kStopping, "");
    } else if (state.phase == GroupPhase::kStarting) {
      const bool fails = failures && one_in(6);
      phase(group.name, fails ? GroupPhase::kStopped : GroupPhase::kStarted, fails ? "start: exit 1" : "");
    }
  }

  Configuration configuration_;
  ClusterState state_;
  std::map<ServerId, ServerView> servers_;
  std::map<std::string, std::string> waiting_;
  uint64_t index_ = 0;
  uint64_t lives_ = 0;
  uint64_t clock_ms_ = 1000;
};

void some_fault(Cluster& cluster) {
  const auto& servers = cluster.configuration().servers;
  const ServerId server = servers[below(static_cast<uint32_t>(servers.size()))].id;
  switch (below(6)) {
    case 0:
      return cluster.set_present(server, false);
    case 1:
      return cluster.set_present(server, true);
    case 2:
      return cluster.drain(server, true);
    case 3:
      return cluster.drain(server, false);
    default:
      return cluster.wish();
  }
}

TEST(PlannerPolicy, HoldsAtEveryStepAndComesToAnEnd) {
  int clusters = 0;
  EXPECT_TRUE(rc::check("policies", [&clusters] {
    if (++clusters > kClusters) return;
    Cluster cluster(draw_text());
    for (uint32_t round = 0; round < 25; ++round) {
      if (one_in(3)) some_fault(cluster);
      cluster.round(true);
    }
    cluster.all_well();
    for (int round = 0; round < kQuietRounds; ++round) cluster.round(false);
    size_t moves = 0;
    for (int round = 0; round < kQuietRounds / 2; ++round) moves += cluster.round(false);
    RC_ASSERT(moves == 0U);
    cluster.check_end();
  }));
}

/// Every start on the preferred server fails: it is tried, left, and not failed back to.
TEST(PlannerPolicy, FailbackDoesNotPingPong) {
  const std::string text =
      "[cluster]\nname = \"two\"\n[server.server1]\nid = 1\ninterconnects = [\"10.0.1.1\"]\n[server.server2]\nid = 2\n"
      "interconnects = [\"10.0.1.2\"]\n[group.web]\nservers = [\"server1\", \"server2\"]\nfailback = \"online\"\n"
      "[group.web.service.daemon]\ncommand = [\"/bin/true\"]\n";
  const Configuration configuration = *parse_configuration(text);
  ClusterState state;
  uint64_t index = 0, clock_ms = 1000;
  ASSERT_TRUE(apply_command(state, ApplyConfiguration{0, text, "test", kFormatLevel}, ++index).applied);
  std::map<ServerId, ServerView> servers;
  for (uint32_t id : {1, 2}) servers[ServerId(id)] = {true, true, false, "", 1, kFormatLevel};
  const GroupState& web = state.groups.at("web");
  size_t given = 0;
  for (int round = 0; round < 200; ++round, clock_ms += 60'000) {
    for (const PlannedStep& step : make_plan({configuration, state, servers, {}, clock_ms, ""}).steps) {
      given += std::holds_alternative<AssignGroup>(step.command) ? 1 : 0;
      ASSERT_TRUE(apply_command(state, step.command, ++index).applied);
    }
    const auto report = [&](GroupPhase phase, const std::string& failure) {
      ASSERT_TRUE(
          apply_command(state, SetGroupPhase{"web", web.version, web.owner, phase, failure, failure, {}, "", clock_ms, false}, ++index)
              .applied);
    };
    if (web.phase == GroupPhase::kStopping)
      report(GroupPhase::kStopped, "");
    else if (web.phase == GroupPhase::kStarted && web.target != ServerId{})
      report(GroupPhase::kStopping, "");
    else if (web.phase == GroupPhase::kStarting && web.owner == ServerId(1))
      report(GroupPhase::kStopped, "start: exit 1");
    else if (web.phase == GroupPhase::kStarting)
      report(GroupPhase::kStarted, "");
  }
  EXPECT_EQ(web.owner, ServerId(2));
  EXPECT_EQ(web.phase, GroupPhase::kStarted);
  EXPECT_EQ(given, 2U);  // there, and away
}

}  // namespace
}  // namespace baton::planner
