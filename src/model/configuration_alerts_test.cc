// Reading alerts: every value, defaults, which events one wants; and what is said of a change. Wrong ones: tests/bad_input.
#include "src/model/example_test.h"

namespace baton {
namespace {

AlertConfiguration read_one(const std::string& keys) {
  const Configuration configuration = read_with("[alert.ops]\n" + keys);
  return configuration.alerts.empty() ? AlertConfiguration{} : configuration.alerts.front();
}

TEST(ConfigurationAlerts, OneLineIsEnough) {
  const Configuration configuration = read_with("[alert.ops]\nsyslog = \"/dev/log\"\n");
  EXPECT_EQ(configuration.level, 3u) << "an older voter would be asked to judge it";
  ASSERT_EQ(configuration.alerts.size(), 1u);
  const AlertConfiguration& alert = configuration.alerts.front();
  EXPECT_EQ(alert.name, "ops");
  EXPECT_EQ(alert.kind, AlertKind::kSyslog);
  EXPECT_EQ(alert.transport, AlertTransport::kLocal);
  EXPECT_EQ(alert.socket, "/dev/log");
  EXPECT_EQ(alert.severity, Severity::kWarning);
  EXPECT_EQ(alert.limit_events, 20u);
  EXPECT_EQ(alert.limit_window, 60s);
  EXPECT_EQ(alert.retry_age, 12h);
  EXPECT_EQ(configuration.alert("OPS"), &alert);
}

TEST(ConfigurationAlerts, EveryWay) {
  const auto webhook = read_one(R"(url = "https://alerts.example.org/x/secret"
authority = "/etc/ssl/own.pem"
user = "baton"
password_file = "/etc/baton/alert.password"
timeout = "3 s"
limit = { events = 5, window = "10 s" }
retry = { first = "1 s", longest = "8 s", age = "1 h" }
)");
  EXPECT_EQ(webhook.kind, AlertKind::kWebhook);
  EXPECT_EQ(webhook.target(), "https://alerts.example.org") << "the path may have a secret in it";
  EXPECT_EQ(webhook.authority, "/etc/ssl/own.pem");
  EXPECT_EQ(webhook.user, "baton");
  EXPECT_EQ(webhook.password_file, "/etc/baton/alert.password");
  EXPECT_EQ(webhook.timeout, 3s);
  EXPECT_EQ(webhook.limit_events, 5u);
  EXPECT_EQ(webhook.limit_window, 10s);
  EXPECT_EQ(webhook.retry_first, 1s);
  EXPECT_EQ(webhook.retry_longest, 8s);
  EXPECT_EQ(webhook.retry_age, 1h);

  const std::string mail =
      "mail = [\"a@example.org\", \"b@example.org\"]\nfrom = \"baton@example.org\"\nserver = \"mail.example.org:587\"\n";
  EXPECT_EQ(read_one(mail).target(), "a@example.org, b@example.org by mail.example.org port 587");
  EXPECT_EQ(read_one(mail).tls, AlertTls::kNone);
  EXPECT_EQ(read_one(mail + "user = \"baton\"\npassword_file = \"/p\"\n").tls, AlertTls::kStartTls);
  EXPECT_EQ(read_one(mail + "tls = \"tls\"\n").tls, AlertTls::kTls);

  const auto tcp = read_one("syslog = \"tcp://[2001:db8::9]:601\"\n");
  EXPECT_EQ(tcp.transport, AlertTransport::kTcp);
  EXPECT_EQ(tcp.host, "2001:db8::9");
  EXPECT_EQ(tcp.port, 601);
  EXPECT_EQ(read_one("syslog = \"udp://logs:514\"\n").target(), "logs port 514 (udp)");

  const auto trap = read_one("trap = \"10.0.0.9:162\"\ncommunity_file = \"/etc/baton/community\"\n");
  EXPECT_EQ(trap.kind, AlertKind::kTrap);
  EXPECT_EQ(trap.community_file, "/etc/baton/community");

  const auto command = read_one("command = [\"/usr/local/bin/page\", \"-q\"]\nuser = \"nobody\"\n");
  EXPECT_EQ(command.kind, AlertKind::kCommand);
  EXPECT_EQ(command.target(), "[/usr/local/bin/page -q]");
  EXPECT_EQ(command.user, "nobody");
}

TEST(ConfigurationAlerts, WhatItWants) {
  const Note step{.kind = "step", .group = "web"}, problem{.kind = "problem", .group = "web"}, alert{.kind = "alert"};
  const auto plain = read_one("syslog = \"/dev/log\"\n");
  EXPECT_FALSE(plain.wants(step));
  EXPECT_TRUE(plain.wants(problem));
  EXPECT_TRUE(plain.wants(alert));
  const auto severe = read_one("syslog = \"/dev/log\"\nseverity = \"alert\"\n");
  EXPECT_FALSE(severe.wants(problem));
  EXPECT_TRUE(severe.wants(alert));
  const auto some = read_one("syslog = \"/dev/log\"\nkinds = [\"step\", \"alert\"]\ngroups = [\"WEB\"]\n");
  EXPECT_TRUE(some.wants(step)) << "kinds that are named are wanted whatever their severity";
  EXPECT_FALSE(some.wants(problem));
  EXPECT_FALSE(some.wants(alert)) << "it is of no group";
  Note failover{.kind = "transition", .severity = Severity::kWarning};
  EXPECT_TRUE(plain.wants(failover));
  failover.severity = Severity::kInfo;
  EXPECT_FALSE(plain.wants(failover));
}

TEST(ConfigurationAlerts, SeveritiesOfCommands) {
  AssignGroup assign;
  EXPECT_EQ(severity_of(Command(assign), true), Severity::kInfo);
  assign.failover = true;
  EXPECT_EQ(severity_of(Command(assign), true), Severity::kWarning);
  EXPECT_EQ(severity_of(Command(assign), false), Severity::kInfo) << "it was refused";
  SetGroupPhase phase;
  phase.phase = GroupPhase::kStarted;
  EXPECT_EQ(severity_of(Command(phase), true), Severity::kInfo);
  phase.failure = "the service ended";
  EXPECT_EQ(severity_of(Command(phase), true), Severity::kWarning);
  SetStanding standing;
  standing.standing = ServerStanding::kStopped;
  EXPECT_EQ(severity_of(Command(standing), true), Severity::kInfo);
  standing.standing = ServerStanding::kDown;
  EXPECT_EQ(severity_of(Command(standing), true), Severity::kWarning);
  EXPECT_EQ(severity_of(Command(StartEpoch{}), true), Severity::kInfo);
}

TEST(ConfigurationAlerts, ChangesAreTold) {
  const Configuration none = read_with("");
  const Configuration one = read_with("[alert.ops]\nurl = \"https://a.example.org/x\"\n");
  const Configuration other = read_with("[alert.ops]\nurl = \"https://a.example.org/y\"\nseverity = \"alert\"\n");
  EXPECT_EQ(describe_changes(none, one), (std::vector<std::string>{
      "add alert ops (webhook https://a.example.org/x, severity warning, timeout 10 s, limit 20 in 1 min, retry 2 s to 5 min, for 12 h)"}));
  EXPECT_EQ(describe_changes(one, other), (std::vector<std::string>{
      "change alert ops: webhook: https://a.example.org/x -> https://a.example.org/y", "change alert ops: severity: warning -> alert"}));
  EXPECT_EQ(describe_changes(one, none), std::vector<std::string>{"remove alert ops"});
}

}  // namespace
}  // namespace baton
