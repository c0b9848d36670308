// Total power loss, in each order, and each subset back in each order: who starts, and that nobody starts with old data.
// docs/protocol.md, "In-sync set", "Partitions and takeover".
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "sim/scenario.h"

namespace baton::sim {
namespace {

using Names = std::vector<std::string>;

std::string text(bool witness) {
  std::string made = "[cluster]\nname = \"cold\"\npublic_lan = \"10.0.0.0/24\"\n";
  for (int id = 1; id <= (witness ? 3 : 2); ++id)
    made += fmt::format("[server.{}]\nid = {}\n{}interconnects = [\"10.0.1.{}\"]\n", id == 3 ? "witness" : fmt::format("server{}", id),
                        id, id == 3 ? "role = \"witness\"\n" : "", id);
  return made + R"([group.db]
servers = ["server1", "server2"]
[group.db.mirror.data]
size = "512 MiB"
store = "/var/lib/baton/store/db.img"
[group.db.address.ip]
address = "10.0.0.50"
)";
}

Names all_of(bool witness) { return witness ? Names{"server1", "server2", "witness"} : Names{"server1", "server2"}; }

/// Every order of every subset that is not empty.
std::vector<Names> orders_of_subsets(const Names& names) {
  std::vector<Names> found;
  for (unsigned subset = 1; subset < (1u << names.size()); ++subset) {
    Names chosen;
    for (size_t place = 0; place < names.size(); ++place)
      if (subset & (1u << place)) chosen.push_back(names[place]);
    do found.push_back(chosen);
    while (std::next_permutation(chosen.begin(), chosen.end()));
  }
  return found;
}

bool has(const Names& names, const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); }

struct ColdStart {
  std::string story;
  Names log;  // since the power was lost
  std::string violation;

  bool said(const std::string& part) const {
    return std::any_of(log.begin(), log.end(), [&](const std::string& line) { return line.find(part) != std::string::npos; });
  }
};

/// The servers lose power as `off` says, return as `on` says; after each return `asked` may be done.
ColdStart run_cold_start(bool witness, const Names& off, int64_t between_ms, const Names& on, const Names& asked = {}) {
  ColdStart run;
  Scenario scenario(text(witness), "");
  const auto line = [&](const std::string& words) {
    run.story += words + "; ";
    const auto done = scenario.run_line(words);
    EXPECT_TRUE(done.has_value()) << run.story << (done ? "" : done.error().message);
  };
  line("begin");
  for (const auto& name : off) {
    line("power-off " + name);
    line(fmt::format("run {}", between_ms));
  }
  line("run 3000");
  const size_t before = scenario.log().size();
  for (const auto& name : on) {
    line("power-on " + name);
    line("run 3000");
    for (const auto& wish : asked) line(wish);
    line("run 3000");
  }
  line("run 6000");
  run.log.assign(scenario.log().begin() + static_cast<ptrdiff_t>(before), scenario.log().end());
  run.violation = scenario.violation();
  return run;
}

void check_all(bool witness, const std::function<void(const ColdStart&, const Names& off, bool slow, const Names& on)>& check) {
  Names off = all_of(witness);
  do {
    for (const int64_t between : {0, 4000}) {
      for (const auto& on : orders_of_subsets(all_of(witness))) {
        const ColdStart run = run_cold_start(witness, off, between, on);
        EXPECT_EQ(run.violation, "") << run.story;
        EXPECT_FALSE(run.said("STALE")) << run.story;
        check(run, off, between > 0, on);
      }
    }
  } while (std::next_permutation(off.begin(), off.end()));
}

TEST(ColdStart, WithAWitnessItIsAutomaticAndNeverStale) {
  check_all(true, [](const ColdStart& run, const Names& off, bool slow, const Names& on) {
    // server2 had it last only if server1 went first and the others were there for long enough to move it.
    const std::string last = slow && off[0] == "server1" ? "server2" : "server1";
    // The set is that server alone if the other one went first and somebody was left to say so; else it is both.
    const bool set_of_one = slow && (off[0] != "witness" || off[1] == "server2");
    const bool enough = set_of_one ? has(on, last) : has(on, "server1") && has(on, "server2");
    EXPECT_EQ(run.said("start db.ip"), on.size() >= 2 && enough) << run.story;
  });
}

TEST(ColdStart, TwoServersWithoutOneWaitForEachOther) {
  check_all(false, [](const ColdStart& run, const Names&, bool, const Names& on) {
    EXPECT_EQ(run.said("start db.ip"), on.size() == 2) << run.story;
  });
}

/// By an operator's word one of them decides alone; that alone starts no copy that may lack something.
TEST(ColdStart, TakenOverAloneNothingStartsThatMayBeOld) {
  for (const Names& off : {Names{"server1", "server2"}, Names{"server2", "server1"}}) {
    for (const std::string on : {"server1", "server2"}) {
      const ColdStart run = run_cold_start(false, off, 0, {on}, {"takeover " + on});
      EXPECT_EQ(run.violation, "") << run.story;
      EXPECT_TRUE(run.said("lets " + on + " go on alone")) << run.story;
      EXPECT_FALSE(run.said("start db.ip")) << run.story;
    }
  }
}

/// The test of the test: a copy that lacks what was answered is seen when it starts.
TEST(ColdStart, AnOldCopyIsSeenWhenItStarts) {
  Scenario scenario(text(false), "");
  for (const char* line : {"begin", "power-off server2", "run 3000", "takeover server1", "run 3000", "power-off server1",
                           "power-on server2", "run 3000", "takeover server2", "run 1000", "wish db stop", "run 1000",
                           "mirror db.data force server2", "wish db start", "run 3000"})
    ASSERT_TRUE(scenario.run_line(line).has_value()) << line;
  const auto& log = scenario.log();
  EXPECT_TRUE(std::any_of(log.begin(), log.end(), [](const std::string& line) {
    return line.find("starts STALE") != std::string::npos && line.find("by an operator's word") != std::string::npos;
  }));
  EXPECT_EQ(scenario.violation(), "");
}

}  // namespace
}  // namespace baton::sim
