// Voters on a small bus without faults of its own, for the database's tests: they drop, delay and restart what they
// want to. One thread.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "src/core/database/database.h"

namespace baton::database {

struct TestVoter {
  ServerId id;
  StoredVoter disk;
  std::unique_ptr<Database> database;
  std::deque<Persist> persists;
  bool disk_works = true;
  bool hangs = false;
  std::vector<EntryApplied> applied;
  std::vector<ProposalDecided> decided;
  bool overruled = false;  // it is to be started anew
  bool rivalled = false;   // the other one decided alone, too
};

class TestCluster {
 public:
  explicit TestCluster(uint32_t count = 3, size_t append_entries = 64) : append_entries_(append_entries) {
    for (uint32_t id = 1; id <= count; ++id) {
      ids_.push_back(ServerId{id});
      founders.insert(ServerId{id});
      voters[ServerId{id}].id = ServerId{id};
      voters[ServerId{id}].disk.counting = true;
    }
    for (const ServerId id : ids_) start(id);
  }

  void start(ServerId id) {
    Settings settings;
    settings.self = id;
    if (founders.contains(id)) settings.voters = founders;
    settings.settle_after = settle_after;
    settings.append_entries = append_entries_;
    auto& voter = voters[id];
    voter.database = std::make_unique<Database>(settings, voter.disk);
    voter.persists.clear();
    voter.applied.clear();
  }

  /// A server that joins: nothing on its disk, no vote.
  void join(ServerId id) {
    ids_.push_back(id);
    voters[id].id = id;
    voters[id].disk = StoredVoter{};
    start(id);
  }

  void step(ServerId id, const Event& event) {
    auto& voter = voters[id];
    std::vector<Action> actions;
    voter.database->step(now, event, actions);
    for (auto& action : actions) {
      if (auto* send = std::get_if<Send>(&action)) bus.push_back({id, std::move(send->message)});
      if (auto* persist = std::get_if<Persist>(&action)) voter.persists.push_back(std::move(*persist));
      if (auto* applied = std::get_if<EntryApplied>(&action)) voter.applied.push_back(*applied);
      if (std::holds_alternative<Overruled>(action)) voter.overruled = true;
      if (std::holds_alternative<Rivalled>(action)) voter.rivalled = true;
      if (auto* decided = std::get_if<ProposalDecided>(&action)) voter.decided.push_back(*decided);
    }
    EXPECT_LE(voter.persists.size(), 1u);
  }

  void view(const std::set<ServerId>& present) {
    bus.clear();
    members = present;
    for (const ServerId id : members) step(id, ViewChanged{members});
  }

  void finish_persist(ServerId id) {
    auto& voter = voters[id];
    const Persist persist = voter.persists.front();
    voter.persists.pop_front();
    if (voter.disk_works) {
      if (persist.promised) voter.disk.promised = *persist.promised;
      if (persist.counting) voter.disk.counting = *persist.counting;
      if (persist.keep_up_to) voter.disk.entries.resize(*persist.keep_up_to);
      for (const auto& entry : persist.append) {
        ASSERT_EQ(entry.index, voter.disk.entries.size() + 1);
        voter.disk.entries.push_back(entry);
      }
    }
    step(id, Persisted{persist.token, voter.disk_works});
  }

  /// Delivers and persists until nothing is left to do at this time.
  void settle() {
    for (int rounds = 0; rounds < 100000; ++rounds) {
      bool any = false;
      for (const ServerId id : ids_)
        if (!voters[id].persists.empty() && voters[id].disk_works) finish_persist(id), any = true;
      if (!bus.empty()) {
        auto [from, message] = std::move(bus.front());
        bus.pop_front();
        ++messages;
        for (const ServerId id : members)
          if (!voters[id].hangs && (!lose || !lose(from, id, message)))
            step(id, MessageReceived{from, message});
        any = true;
      }
      if (!any) return;
    }
    FAIL() << "a storm of messages";
  }

  /// Time passes, with the ticks that the voters ask for.
  void pass(Duration duration) {
    const Instant end = now + duration;
    settle();
    while (true) {
      Instant next = kNever;
      for (const ServerId id : ids_)
        if (!voters[id].hangs) next = std::min(next, voters[id].database->next_tick());
      if (next > end) break;
      now = std::max(now, next);
      for (const ServerId id : ids_) {
        if (voters[id].hangs || voters[id].database->next_tick() > now) continue;
        if (!voters[id].persists.empty() && !voters[id].disk_works) finish_persist(id);
        step(id, Tick{});
        ASSERT_GT(voters[id].database->next_tick(), now);
        ++ticks;
      }
      settle();
    }
    now = end;
  }

  Database& database(uint32_t id) { return *voters[ServerId{id}].database; }

  std::map<ServerId, TestVoter> voters;
  std::set<ServerId> founders;
  Duration settle_after{};
  std::set<ServerId> members;
  std::deque<std::pair<ServerId, Message>> bus;
  std::function<bool(ServerId from, ServerId to, const Message&)> lose;
  Instant now = Instant{} + 1000s;
  int ticks = 0;
  int messages = 0;

 private:
  std::vector<ServerId> ids_;
  size_t append_entries_;
};

inline constexpr ServerId kOne{1}, kTwo{2}, kThree{3}, kFour{4}, kFive{5};

/// Refused when applied, but recorded: enough to see what is in a log.
inline Command some_command(const std::string& group) { return WishGroup{group, 0, true, ServerId{}, "test", "test"}; }

}  // namespace baton::database
