// Reading good files: every value, defaults, implied dependencies, start order; and the places of problems.
#include "src/model/configuration_toml.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace baton {
namespace {

const char* const kServers = R"([cluster]
name = "demo"
public_lan = "10.0.0.0/24"
[server.server1]
id = 1
interconnects = ["10.0.1.1"]
[server.server2]
id = 2
interconnects = ["10.0.1.2"]
)";

Configuration read_good(const std::string& text) {
  auto parsed = parse_configuration(text);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed ? *parsed : Configuration{};
}

std::vector<std::string> names_of(const GroupConfiguration& group) {
  std::vector<std::string> names;
  for (const ResourceConfiguration& resource : group.resources) names.push_back(resource.name);
  return names;
}

/// The first problem of kServers followed by `more`; its line counts from the first line of `more`.
ConfigurationProblem first_problem(const std::string& more) {
  auto problems = check_configuration(kServers + more);
  EXPECT_FALSE(problems.empty());
  if (problems.empty()) return {};
  problems.front().line -= 9;
  return problems.front();
}

TEST(ConfigurationToml, ReadsTheExample) {
  std::ifstream file(BATON_EXAMPLES "/database.toml");
  std::ostringstream text;
  text << file.rdbuf();
  Configuration configuration = read_good(text.str());
  EXPECT_EQ(configuration.cluster_name, "demo");
  ASSERT_EQ(configuration.servers.size(), 3u);
  EXPECT_EQ(configuration.server("SERVER2")->id, ServerId(2));
  EXPECT_EQ(configuration.server(ServerId(3))->role, ServerRole::kWitness);
  EXPECT_EQ(configuration.server_name(ServerId(9)), "server 9");
  EXPECT_EQ(configuration.voters().size(), 3u);
  ASSERT_EQ(configuration.groups.size(), 1u);
  const GroupConfiguration& group = configuration.groups.front();
  EXPECT_EQ(group.servers, (std::vector<ServerId>{ServerId(1), ServerId(2)}));
  EXPECT_EQ(names_of(group), (std::vector<std::string>{"data", "files", "ip", "postgresql"}));
  EXPECT_EQ(group.resources[0].mirror.size_bytes, 512ull << 20);
  EXPECT_EQ(group.resources[0].mirror.port, 7800);
  EXPECT_EQ(group.resources[1].after, std::vector<std::string>{"data"});
  EXPECT_EQ(group.resources[2].address.prefix_length, 24);
  EXPECT_EQ(group.resources[3].after, (std::vector<std::string>{"data", "files", "ip"}));
  EXPECT_EQ(group.resources[3].service.user, "postgres");
  EXPECT_EQ(group.resources[3].service.stop_signal, "INT");
}

TEST(ConfigurationToml, ReadsEveryValueOfAService) {
  Configuration configuration = read_good(std::string(kServers) + R"([group.web]
servers = ["server2", "server1"]
startup = "manual"
[group.web.service.httpd]
command = ["/usr/sbin/httpd", "-X"]
prepare = ["/bin/true"]
ready = ["/bin/test", "-e", "/run/httpd"]
user = "www-data"
directory = "/srv"
environment = { LANG = "C", PORT = "80" }
stop_signal = "SIGQUIT"
restarts = 3
restart_window = "5 min"
start_timeout = "1500 ms"
stop_timeout = "10s"
)");
  const GroupConfiguration& group = configuration.groups.at(0);
  EXPECT_EQ(group.startup, Startup::kManual);
  const ResourceConfiguration& httpd = group.resources.at(0);
  EXPECT_EQ(httpd.service.environment.at("PORT"), "80");
  EXPECT_EQ(httpd.service.stop_signal, "QUIT");
  EXPECT_EQ(httpd.restarts, 3u);
  EXPECT_EQ(httpd.restart_window, 300s);
  EXPECT_EQ(httpd.service.directory, "/srv");
  EXPECT_EQ(httpd.start_timeout, 1500ms);
  EXPECT_EQ(httpd.stop_timeout, 10s);
}

TEST(ConfigurationToml, SortsIntoStartOrder) {
  Configuration configuration = read_good(std::string(kServers) + R"([group.g]
servers = ["server1", "server2"]
[group.g.service.late]
command = ["/bin/late"]
after = ["EARLY"]
[group.g.service.early]
command = ["/bin/early"]
after = []
[group.g.filesystem.inner]
mirror = "m2"
mount = "/srv/a/b"
[group.g.filesystem.outer]
mirror = "m1"
mount = "/srv/a"
[group.g.mirror.m2]
size = "1 MiB"
store = "/s/2"
[group.g.mirror.m1]
size = "1 MiB"
store = "/s/1"
port = 7900
)");
  const GroupConfiguration& group = configuration.groups.at(0);
  EXPECT_EQ(names_of(group), (std::vector<std::string>{"m2", "m1", "outer", "inner", "early", "late"}));
  EXPECT_EQ(group.find("inner")->after, (std::vector<std::string>{"m2", "outer"}));
  EXPECT_EQ(group.find("late")->after, std::vector<std::string>{"early"});
  EXPECT_TRUE(group.find("early")->after.empty());
  EXPECT_EQ(group.find("m2")->mirror.port, 7800);
  EXPECT_EQ(group.find("m1")->mirror.port, 7900);
}

TEST(ConfigurationToml, KnowsTheTimingProfiles) {
  EXPECT_EQ(timing_profile("lan")->lease, 1100ms);
  EXPECT_EQ(timing_profile("fast")->lease, 330ms);
  EXPECT_EQ(timing_profile("wan")->restart_grace, 180000ms);
  EXPECT_FALSE(timing_profile("slow"));
  for (const char* name : {"fast", "lan", "wan"}) {
    TimingProfile timing = *timing_profile(name);
    // It must outlast the forming of a membership, or the loss of any voter would end the owner's lease, too.
    EXPECT_GE(timing.lease, timing.token + timing.consensus + 2 * timing.beat) << name;
    EXPECT_GE(timing.consensus * 10, timing.token * 12) << name;
  }
}

TEST(ConfigurationToml, DerivesWhatFollowsFromToken) {
  Configuration configuration = read_good(R"([cluster]
name = "demo"
[cluster.timing]
profile = "fast"
token = "1 s"
[server.server1]
id = 1
interconnects = ["10.0.1.1"]
)");
  EXPECT_EQ(configuration.timing.name, "custom");
  EXPECT_EQ(configuration.timing.consensus, 1200ms);
  EXPECT_EQ(configuration.timing.lease, 2750ms);
  EXPECT_EQ(configuration.timing.beat, 15ms);
}

TEST(ConfigurationToml, TellsThePlaceOfAProblem) {
  auto problem = first_problem("[group.db]\nservers = [\"server1\", \"sever2\"]\n");
  EXPECT_EQ(std::pair(problem.line, problem.column), std::pair(2u, 23u));
  EXPECT_EQ(problem.message, "unknown server \"sever2\": did you mean \"server2\"?");

  problem = first_problem("[group.db]\nservers = [\"server1\"]\n  strtup = \"manual\"\n");
  EXPECT_EQ(std::pair(problem.line, problem.column), std::pair(3u, 3u));
  EXPECT_EQ(problem.message, "unknown key \"strtup\" in [group.db]: did you mean \"startup\"?");

  problem = first_problem("[group.db]\n");
  EXPECT_EQ(std::pair(problem.line, problem.column), std::pair(1u, 1u));

  problem = first_problem("[group.db]\nservers = [\"server1\"]\n[group.db.service.x]\ncommand = \"/bin/x\"\n");
  EXPECT_EQ(std::pair(problem.line, problem.column), std::pair(4u, 11u));

  problem = first_problem("[gruop.db]\n");
  EXPECT_EQ(std::pair(problem.line, problem.column), std::pair(1u, 2u));
  EXPECT_EQ(problem.message, "unknown section \"gruop\" at the top of the file: did you mean \"group\"?");
}

TEST(ConfigurationToml, FindsAllProblemsInFileOrder) {
  auto problems = check_configuration("[cluster]\nnam = 1\n[server.s]\nid = \"one\"\n");
  ASSERT_EQ(problems.size(), 4u);
  EXPECT_EQ(problems[0].line, 1u);
  EXPECT_EQ(problems[1].line, 2u);
  EXPECT_EQ(problems[2].line, 3u);
  EXPECT_EQ(problems[3].line, 4u);
}

TEST(ConfigurationToml, RemembersWhereValuesStand) {
  CheckedConfiguration checked = read_configuration(kServers);
  ASSERT_TRUE(checked.ok());
  EXPECT_EQ(checked.positions.at("cluster.public_lan").line, 3u);
  EXPECT_EQ(checked.positions.at("server.server2.interconnects.0").column, 18u);
  EXPECT_EQ(checked.configuration.servers[1].position.line, 7u);
}

TEST(ConfigurationToml, ReadsEverySettingOfAMirror) {
  const Configuration configuration = read_good(std::string(kServers) + R"([group.db]
servers = ["server1", "server2"]
[group.db.mirror.data]
size = "512 MiB"
store = "/dev/sdb1"
metadata = "/dev/sdb2"
protocol = "A"
max_lag = "5 s"
encrypt = false
compress = true
disk_timeout = "5 s"
peer_timeout = "500 ms"
rate = "50MB/s"
export = "nbd"
adopt = "SERVER2"
[group.db.mirror.plain]
size = "512 MiB"
store = "/dev/sdc"
rate = 0
)");
  const auto& mirror = configuration.groups[0].find("data")->mirror;
  EXPECT_EQ(mirror.metadata, "/dev/sdb2");
  EXPECT_EQ(mirror.protocol, MirrorProtocol::kA);
  EXPECT_EQ(mirror.max_lag, 5s);
  EXPECT_FALSE(mirror.encrypt);
  EXPECT_TRUE(mirror.compress);
  EXPECT_EQ(mirror.disk_timeout, 5s);
  EXPECT_EQ(mirror.peer_timeout, 500ms);
  EXPECT_EQ(mirror.rate, 50000000u);
  EXPECT_EQ(mirror.export_kind, "nbd");
  EXPECT_EQ(mirror.adopt, "server2");
  const auto& plain = configuration.groups[0].find("plain")->mirror;
  MirrorConfiguration defaults;
  defaults.size_bytes = plain.size_bytes;
  defaults.store = plain.store;
  defaults.port = plain.port;
  EXPECT_EQ(plain, defaults);
}

TEST(ConfigurationToml, DescribesChanges) {
  std::string before_text = std::string(kServers) + R"([group.db]
servers = ["server1", "server2"]
[group.db.mirror.data]
size = "512 MiB"
store = "/s/db"
[group.old]
servers = ["server1"]
)";
  std::string after_text = std::string(kServers) + R"([group.db]
servers = ["server2", "server1"]
[group.db.mirror.data]
size = "1 GiB"
store = "/s/db"
rate = "50MB/s"
[group.db.address.ip]
address = "10.0.0.50"
)";
  Configuration before = read_good(before_text);
  EXPECT_TRUE(describe_changes(before, before).empty());
  EXPECT_EQ(describe_changes(before, read_good(after_text)),
            (std::vector<std::string>{
                "remove group old", "change group db: servers: server1, server2 -> server2, server1",
                "change group db: mirror data: size: 512 MiB -> 1 GiB (at once)",
                "change group db: mirror data: rate: auto -> 50 MB/s (at once)",
                "add group db: address ip (address 10.0.0.50/24, restarts 3 within 10 min, on failure failover, start timeout 1 min, stop timeout 30 s)"}));
}

TEST(ConfigurationToml, PrintsSizesAndDurations) {
  EXPECT_EQ(format_size(512ull << 20), "512 MiB");
  EXPECT_EQ(format_size(1ull << 40), "1 TiB");
  EXPECT_EQ(format_size(4097), "4097 B");
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_duration(90s), "90 s");
  EXPECT_EQ(format_duration(1500ms), "1500 ms");
  EXPECT_EQ(format_duration(0ms), "0 ms");
  EXPECT_EQ(format_rate(50000000), "50 MB/s");
  EXPECT_EQ(format_rate(64 << 10), "64 KiB/s");
  EXPECT_EQ(format_rate(0), "auto");
}

}  // namespace
}  // namespace baton
