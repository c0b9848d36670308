// Whom a batond counts as away that was alone since its start. docs/protocol.md, "Recovery" and K7.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "src/core/database/restored_voter.h"
#include "src/core/node/node.h"
#include "src/model/configuration_toml.h"

namespace baton::node {
namespace {

constexpr ServerId kOne{1}, kThree{3};

std::string text_with(const std::string& more) {
  return "[cluster]\nname = \"alone\"\npublic_lan = \"10.0.0.0/24\"\n[server.server1]\nid = 1\ninterconnects = [\"10.0.1.1\"]\n" + more;
}

/// One server, alone with its guard: what it sends comes back to it, and its disk and guard answer at once.
struct Alone {
  Alone(const Settings& settings, database::StoredVoter stored)
      : node(settings, std::move(stored), now),
        guard({.self = kOne, .voters = {kOne}, .lease = settings.founding.timing.lease, .beat = settings.founding.timing.beat}, 77, {}, Instant{}, now) {
    step_guard(guard::ViewChanged{{kOne}});
    inbox.push_back(GuardReported{guard.report(now)});
    inbox.push_back(ViewChanged{{kOne}, {}});
  }

  void run_until_serving() {
    for (const Instant end = now + 60s; now < end && !node.standing().serving; now += 10ms) {
      step_guard(guard::Tick{});
      inbox.push_back(Tick{});
      while (!inbox.empty()) {
        const Event event = std::move(inbox.front());
        inbox.pop_front();
        std::vector<Action> actions;
        node.step(now, event, actions);
        for (const auto& action : actions) carry_out(action);
      }
    }
  }
  void carry_out(const Action& action) {
    if (const auto* send = std::get_if<Send>(&action)) inbox.push_back(MessageReceived{kOne, send->message, send->lineage});
    else if (const auto* persist = std::get_if<Persist>(&action)) inbox.push_back(Persisted{persist->token, true});
    else if (const auto* tell = std::get_if<TellGuard>(&action)) step_guard(tell->tell);
  }
  void step_guard(const guard::Event& event) {
    std::vector<guard::Action> actions;
    guard.step(now, event, actions);
    for (const auto& action : actions) {
      if (const auto* report = std::get_if<guard::Report>(&action)) inbox.push_back(GuardReported{*report});
      else if (const auto* beat = std::get_if<guard::SendBeat>(&action)) step_guard(guard::BeatReceived{kOne, beat->beat});
    }
  }

  Instant now{100s};
  NodeCore node;
  guard::GuardCore guard;
  std::deque<Event> inbox;
};

/// After a recovery or a restore nothing changes in the view: groups of a server that joined once, and the key of its corosync, would
/// be waited for without end.
TEST(Peers, WhoJoinedOnceAndWasNeverSeenByThisBatondIsAway) {
  Settings settings;
  settings.self = kOne;
  settings.start = 5;
  settings.founding_text = text_with("");
  settings.founding = *parse_configuration(settings.founding_text);
  std::vector<database::Entry> log;
  const auto add = [&](const Command& command) {
    log.push_back({database::make_epoch(1, kOne), log.size() + 1, command, kOne, log.size() + 1, 0});
  };
  add(ApplyConfiguration{0, settings.founding_text, "root", kFormatLevel});
  add(ApplyConfiguration{1, text_with("[server.server3]\nid = 3\ninterconnects = [\"10.0.1.3\"]\n"), "root"});
  Alone alone(settings, database::restored_voter(log, {.self = kOne, .survivors = {kOne}, .round = database::restore_round(1700000000000, 1),
                                                       .wall_ms = 1700000000000, .made_ms = 1700000000000, .source = "server1", .author = "root", .key = "key"}));
  EXPECT_FALSE(alone.node.peers().contains(kThree));
  alone.run_until_serving();
  ASSERT_TRUE(alone.node.standing().serving) << alone.node.standing().waiting;
  ASSERT_TRUE(alone.node.peers().contains(kThree));
  EXPECT_FALSE(alone.node.peers().at(kThree).in_view);
  EXPECT_NE(alone.node.peers().at(kThree).absent_since, Instant{});
}

}  // namespace
}  // namespace baton::node
