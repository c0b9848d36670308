// How an event reads by each way; what must not get through: line ends in headers, control characters, letters cut in two.
#include "src/daemon/alert_messages.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace baton {
namespace {

AlertMessage message() {
  Event event{
      17, 1'700'000'000'123, 55, "server2", {.kind = "transition", .group = "db", .text = "group db: assign to server 2: server1 lost"}};
  event.note.causes = {"server1 lost", "the lease of server1 has surely ended"};
  event.note.severity = Severity::kWarning;
  event.note.place = of_entry(42, 0);
  return {event, "demo", "server2", "ops"};
}

AlertConfiguration mail() {
  AlertConfiguration alert;
  alert.kind = AlertKind::kMail;
  alert.from = "baton@example.org";
  alert.recipients = {"a@example.org", "b@example.org"};
  return alert;
}

TEST(AlertMessages, TheKeyIsTheSameOnEveryServer) {
  AlertMessage here = message(), there = message();
  there.event.id = 99;
  there.event.server = there.sender = "witness";
  there.event.time_ms += 5;
  EXPECT_EQ(key_of(here), key_of(there));
  there.event.note.place = of_entry(42, 1);
  EXPECT_NE(key_of(here), key_of(there));
  here.event.note.place = there.event.note.place = 0;
  EXPECT_NE(key_of(here), key_of(there)) << "these are of one server each";
}

TEST(AlertMessages, Json) {
  const auto json = to_json(message());
  EXPECT_EQ(json["key"], "demo.e42.0");
  EXPECT_EQ(json["entry"], 42);
  EXPECT_EQ(json["severity"], "warning");
  EXPECT_EQ(json["cluster"], "demo");
  EXPECT_EQ(json["sender"], "server2");
  EXPECT_EQ(json["causes"].size(), 2u);
}

TEST(AlertMessages, Mail) {
  AlertMessage one = message();
  const std::string text = to_mail(one, mail());
  EXPECT_NE(text.find("To: a@example.org,\r\n b@example.org\r\n"), std::string::npos) << text;
  EXPECT_NE(text.find("Subject: [demo] warning: db: group db: assign to server 2: server1 lost\r\n"), std::string::npos) << text;
  EXPECT_NE(text.find("Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"), std::string::npos) << text;
  EXPECT_NE(text.find("Message-ID: <demo.e42.0@baton.invalid>\r\n"), std::string::npos);
  EXPECT_NE(text.find("cause:    server1 lost\r\n"), std::string::npos);
  one.event.note.text = "a\r\nBcc: everybody@example.org\r\n\r\nü " + std::string(500, 'x');
  const std::string bad = to_mail(one, mail());
  const std::string header = bad.substr(0, bad.find("\r\n\r\n"));
  EXPECT_EQ(header.find("\r\nBcc:"), std::string::npos) << header;
  EXPECT_TRUE(std::all_of(header.begin(), header.end(), [](unsigned char c) { return c < 127; }));
  for (size_t at = bad.find('\n'); at != std::string::npos; at = bad.find('\n', at + 1)) EXPECT_EQ(bad[at - 1], '\r');
}

TEST(AlertMessages, Syslog) {
  AlertMessage one = message();
  one.event.note.text = "it said \"no\"\nagain";
  one.event.note.resource = "a]b\"c";
  const std::string line = to_syslog(one, AlertTransport::kUdp);
  EXPECT_EQ(line.find("<28>1 2023-11-14T22:13:20.123Z server2 batond "), 0u) << line;
  EXPECT_NE(
      line.find(" transition [baton@32473 cluster=\"demo\" kind=\"transition\" severity=\"warning\" server=\"server2\" key=\"demo.e42.0\" "
                "group=\"db\" resource=\"a\\]b\\\"c\"] db: it said \"no\" again"),
      std::string::npos)
      << line;
  EXPECT_EQ(to_syslog(one, AlertTransport::kTcp), fmt::format("{} {}", line.size(), line));
  EXPECT_EQ(to_syslog(one, AlertTransport::kLocal).find("<28>Nov "), 0u);
  one.event.note.text.clear();
  for (int i = 0; i < 2000; ++i) one.event.note.text += "ü";
  const std::string cut = to_syslog(one, AlertTransport::kUdp);
  EXPECT_LT(cut.size(), 2048u);
  EXPECT_TRUE(cut.ends_with("ü...")) << "a letter was cut in two";
}

TEST(AlertMessages, Environment) {
  AlertMessage one = message();
  one.event.note.text += std::string("\0hidden", 7);
  const auto environment = to_environment(one);
  const auto has = [&](const std::string& variable) {
    return std::find(environment.begin(), environment.end(), variable) != environment.end();
  };
  EXPECT_TRUE(has("BATON_EVENT_KIND=transition"));
  EXPECT_TRUE(has("BATON_EVENT_SEVERITY=warning"));
  EXPECT_TRUE(has("BATON_EVENT_GROUP=db"));
  EXPECT_TRUE(has("BATON_EVENT_TEXT=group db: assign to server 2: server1 losthidden"));
  EXPECT_TRUE(has("BATON_EVENT_CAUSES=server1 lost\nthe lease of server1 has surely ended"));
  EXPECT_TRUE(has("BATON_ALERT=ops"));
}

TEST(AlertMessages, ATrapFitsInAPacket) {
  AlertMessage one = message();
  one.event.note.text = std::string(20000, 'x');
  one.event.note.causes.assign(500, "because");
  EXPECT_LT(to_snmp_trap(one, "public", 1h).size(), 1472u + 500u);
}

TEST(AlertMessages, Journal) {
  const auto fields = to_journal(message().event.note, "demo", "server2");
  const auto has = [&](const char* name, const std::string& value) {
    return std::find(fields.begin(), fields.end(), std::pair<std::string, std::string>(name, value)) != fields.end();
  };
  EXPECT_TRUE(has("MESSAGE", "db: group db: assign to server 2: server1 lost"));
  EXPECT_TRUE(has("PRIORITY", "4"));
  EXPECT_TRUE(has("BATON_KIND", "transition"));
  EXPECT_TRUE(has("BATON_GROUP", "db"));
  EXPECT_TRUE(has("BATON_ENTRY", "42"));
  EXPECT_TRUE(has("BATON_CAUSE", "server1 lost"));
}

}  // namespace
}  // namespace baton
