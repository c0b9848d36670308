// The computed failover time of a group: its sums, its longest path, and what was measured.
#include "src/model/failover_time.h"

#include <gtest/gtest.h>

#include "src/model/configuration_toml.h"

namespace baton {
namespace {

constexpr const char* kServers = R"(
[server.server1]
id = 1
interconnects = ["10.0.1.1", "10.0.0.1"]
[server.server2]
id = 2
interconnects = ["10.0.1.2", "10.0.0.2"]
[server.witness]
id = 3
role = "witness"
interconnects = ["10.0.1.3", "10.0.0.3"]
)";

constexpr const char* kGroup = R"(
[group.db]
servers = ["server1", "server2"]
[group.db.mirror.data]
size = "64 MiB"
store = "/srv/store"
start_timeout = "10 s"
[group.db.filesystem.files]
mirror = "data"
mount = "/srv/db"
start_timeout = "20 s"
[group.db.address.ip]
address = "10.0.0.50"
start_timeout = "90 s"
[group.db.service.app]
command = ["/bin/app"]
after = ["files"]
start_timeout = "30 s"
)";

Configuration read(const std::string& timing) {
  const std::string text =
      "[cluster]\nname = \"demo\"\npublic_lan = \"10.0.0.0/24\"\n" + timing + kServers + kGroup;
  auto parsed = parse_configuration(text);
  if (!parsed) throw std::runtime_error(parsed.error().message);
  return *parsed;
}

const FailoverPart& part(const FailoverTime& time, const std::string& name) {
  for (const auto& one : time.parts)
    if (one.name == name) return one;
  throw std::runtime_error("no part " + name);
}

TEST(FailoverTime, IsTheSumOfItsParts) {
  const auto configuration = read("timing = \"lan\"\n");
  FailoverAssumptions assumptions;
  assumptions.decision_expected = 40ms;
  assumptions.decision_worst = 700ms;
  assumptions.usual_starts = {{"data", 50ms}, {"files", 70ms}, {"ip", 30ms}, {"app", 400ms}};
  const auto time = failover_time(configuration, configuration.groups.front(), assumptions);
  EXPECT_EQ(part(time, "detection").expected, 836ms);
  EXPECT_EQ(part(time, "detection").worst, 844ms);  // the lowest of the three is lost
  EXPECT_EQ(part(time, "lease").worst, 267ms);      // 1100 ms + 1% - 844 ms
  // The address does not stand on the mirror: its 90 s run beside the 60 s of the others.
  milliseconds expected{0}, worst{0};
  for (const auto& one : time.parts) {
    if (one.in_expected) expected += one.expected;
    if (one.in_worst) worst += one.worst;
  }
  EXPECT_EQ(time.expected, expected);
  EXPECT_EQ(time.worst, worst);
}

TEST(FailoverTime, TakesTheLongestPathOnly) {
  auto configuration = read("timing = \"lan\"\n");
  FailoverAssumptions assumptions;
  assumptions.usual_starts = {{"data", 50ms}, {"files", 70ms}, {"ip", 30ms}, {"app", 400ms}};
  for (auto& resource : configuration.groups.front().resources)
    if (resource.name == "app") resource.after = {"files"};
  const auto time = failover_time(configuration, configuration.groups.front(), assumptions);
  EXPECT_TRUE(part(time, "data").in_expected && part(time, "files").in_expected && part(time, "app").in_expected);
  EXPECT_FALSE(part(time, "ip").in_expected);
  EXPECT_TRUE(part(time, "ip").in_worst);   // 90 s against 10 + 20 + 30 s
  EXPECT_FALSE(part(time, "app").in_worst);
  EXPECT_EQ(time.worst, 844ms + 267ms + 1000ms + 90s);
  EXPECT_EQ(time.expected, 836ms + 225ms + 30ms + 50ms + 70ms + 400ms);
}

TEST(FailoverTime, LongLeasesAreWaitedFor) {
  const auto configuration = read("timing = { profile = \"lan\", lease = \"3 s\" }\n");
  const auto time = failover_time(configuration, configuration.groups.front(), {});
  EXPECT_EQ(part(time, "lease").worst, 3030ms - 844ms);
  EXPECT_EQ(part(time, "lease").expected, 3030ms - 836ms - 50ms);
}

TEST(FailoverTime, NoGuessIsLongerThanItsTimeOut) {
  auto configuration = read("timing = \"lan\"\n");
  for (auto& resource : configuration.groups.front().resources) resource.start_timeout = 5ms;
  const auto time = failover_time(configuration, configuration.groups.front(), {});
  for (const auto& one : time.parts) EXPECT_LE(one.expected, one.worst) << one.name;
  EXPECT_FALSE(part(time, "app").measured);
}

TEST(UsualStarts, AreTheMediansOfTheLatest) {
  UsualStarts starts;
  for (int run = 0; run < 20; ++run) starts.add("db", "app", run < 11 ? 9000ms : 100ms);
  starts.add("db", "app", 5000ms);
  EXPECT_EQ(starts.of("db").at("app"), 100ms);
  EXPECT_TRUE(starts.of("web").empty());
}

}  // namespace
}  // namespace baton
