// Reading monitors: every value, defaults, whom they are about; and what is said of a change. Wrong ones: tests/bad_input.
#include "src/model/example_test.h"

namespace baton {
namespace {

TEST(ConfigurationMonitors, OneLineIsEnough) {
  const Configuration configuration = read_with("[group.web.monitor.port]\ntcp = \"[2001:db8::5]:80\"\n");
  EXPECT_EQ(configuration.level, 3u) << "an older voter would be asked to judge it";
  ASSERT_EQ(configuration.groups.front().monitors.size(), 1u);
  const MonitorConfiguration& monitor = configuration.groups.front().monitors.front();
  EXPECT_EQ(monitor.name, "port");
  EXPECT_EQ(monitor.kind, MonitorKind::kTcp);
  EXPECT_EQ(monitor.of, "nginx");
  EXPECT_EQ(monitor.host, "2001:db8::5");
  EXPECT_EQ(monitor.port, 80);
  EXPECT_EQ(monitor.interval, 10s);
  EXPECT_EQ(monitor.timeout, 5s);
  EXPECT_EQ(monitor.delay, 0s);
  EXPECT_EQ(monitor.failures, 2u);
}

TEST(ConfigurationMonitors, EveryValue) {
  const Configuration configuration = read_with(R"([group.web.service.log]
command = ["/usr/bin/log"]
[group.web.monitor.page]
of = "NGINX"
url = "https://10.0.0.50:8443/health?deep=1"
status = ["200", "204"]
text = "well"
authority = "/etc/ssl/own.pem"
interval = "3 s"
[group.web.monitor.files]
of = "log"
command = ["/usr/local/bin/check", "-q"]
user = "nobody"
delay = "1 min"
timeout = "500 ms"
failures = 5
)");
  const auto& monitors = configuration.groups.front().monitors;
  ASSERT_EQ(monitors.size(), 2u);
  EXPECT_EQ(monitors[0].kind, MonitorKind::kHttp);
  EXPECT_EQ(monitors[0].of, "nginx") << "as the service spells it";
  EXPECT_EQ(monitors[0].url, "https://10.0.0.50:8443/health?deep=1");
  EXPECT_EQ(monitors[0].status, (std::vector<int64_t>{200, 204}));
  EXPECT_EQ(monitors[0].text, "well");
  EXPECT_EQ(monitors[0].authority, "/etc/ssl/own.pem");
  EXPECT_EQ(monitors[0].timeout, 3s) << "at most the interval";
  EXPECT_EQ(monitors[1].kind, MonitorKind::kCommand);
  EXPECT_EQ(monitors[1].of, "log");
  EXPECT_EQ(monitors[1].command, (std::vector<std::string>{"/usr/local/bin/check", "-q"}));
  EXPECT_EQ(monitors[1].user, "nobody");
  EXPECT_EQ(monitors[1].delay, 60s);
  EXPECT_EQ(monitors[1].timeout, 500ms);
  EXPECT_EQ(monitors[1].failures, 5u);
}

TEST(ConfigurationMonitors, DisksAndLogs) {
  const Configuration configuration = read_with(R"([group.web.monitor.storage]
disk = "/srv/web"
[group.web.monitor.complaints]
log = "/var/log/web.log"
pattern = "FATAL|PANIC"
)");
  const auto& monitors = configuration.groups.front().monitors;
  ASSERT_EQ(monitors.size(), 2u);
  EXPECT_EQ(monitors[0].kind, MonitorKind::kDisk);
  EXPECT_EQ(monitors[0].path, "/srv/web");
  EXPECT_EQ(monitors[0].failures, 2u);
  EXPECT_EQ(monitors[1].kind, MonitorKind::kLog);
  EXPECT_EQ(monitors[1].pattern, "FATAL|PANIC");
  EXPECT_EQ(monitors[1].failures, 1u) << "a line is not written twice";
  EXPECT_EQ(describe_changes(read_with(""), configuration), (std::vector<std::string>{
      "add group web: monitor storage (of nginx, disk /srv/web, interval 10 s, timeout 5 s, failures 2)",
      "add group web: monitor complaints (of nginx, log /var/log/web.log, for \"FATAL|PANIC\", interval 10 s, timeout 5 s, failures 1)"}));
}

TEST(ConfigurationMonitors, ChangesAreTold) {
  const Configuration none = read_with("");
  const Configuration one = read_with("[group.web.monitor.port]\ntcp = \"10.0.0.50:80\"\n");
  const Configuration other = read_with("[group.web.monitor.port]\ntcp = \"10.0.0.50:80\"\nfailures = 3\n");
  EXPECT_EQ(describe_changes(none, one), (std::vector<std::string>{
      "add group web: monitor port (of nginx, tcp 10.0.0.50 port 80, interval 10 s, timeout 5 s, failures 2)"}));
  EXPECT_EQ(describe_changes(one, other), std::vector<std::string>{"change group web: monitor port: failures: 2 -> 3"});
}

}  // namespace
}  // namespace baton
