// One attempt each: what counts as told, and what is said of the rest. Receivers of mail and traps are real ones in tests/system.
#include "src/daemon/alert_sender.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

namespace baton {
namespace {

constexpr Duration kLimit = 20s;

class AlertSenderTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/baton-alert-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static AlertConfiguration command(std::vector<std::string> argv) {
    AlertConfiguration alert;
    alert.name = "ops";
    alert.kind = AlertKind::kCommand;
    alert.command = std::move(argv);
    alert.timeout = 5s;
    return alert;
  }
  static AlertMessage message() {
    Event event{7, 1'700'000'000'000, 0, "server1", {.kind = "problem", .group = "db", .text = "the disk failed"}};
    return {event, "demo", "server1", "ops"};
  }
  /// "ok: ..." or what was wrong. A command waits until what was left of an earlier batond has ended.
  std::string send(const AlertConfiguration& alert) {
    std::string said;
    const Instant until = EventLoop::now() + kLimit;
    do {
      std::optional<Result<std::string>> answer;
      sender_.send(alert, message(), [&](const Result<std::string>& given) { answer = given; });
      if (!loop_.run_until([&] { return answer.has_value(); }, kLimit)) return "nothing";
      said = *answer ? "ok: " + **answer : answer->error().message;
    } while (said.find("earlier batond") != std::string::npos && EventLoop::now() < until);
    return said;
  }
  std::string file(const std::string& name) const {
    std::ifstream in(directory_ + "/" + name);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  EventLoop loop_;
  std::string directory_;
  AlertSender sender_{loop_};
};

TEST_F(AlertSenderTest, ACommandIsGivenTheEvent) {
  EXPECT_EQ(send(command({"/bin/sh", "-c", "cat > $0/in; echo $BATON_EVENT_GROUP $BATON_EVENT_TEXT > $0/words; echo paged", directory_})),
            "ok: ended with status 0: paged");
  EXPECT_EQ(nlohmann::json::parse(file("in"))["text"], "the disk failed");
  EXPECT_EQ(file("words"), "db the disk failed\n");
}

TEST_F(AlertSenderTest, WhatACommandMayDoWrong) {
  EXPECT_EQ(send(command({"/bin/sh", "-c", "echo no line; exit 3"})), "/bin/sh ended with status 3: no line");
  EXPECT_NE(send(command({"/usr/local/bin/there-is-no-such-program"})).find("could not be started"), std::string::npos);
  auto endless = command({"/bin/sh", "-c", "yes"});
  endless.timeout = 1s;
  EXPECT_EQ(send(endless), "/bin/sh did not end within 1000 ms");
  auto nobody = command({"/bin/true"});
  nobody.user = "there-is-no-such-user";
  EXPECT_NE(send(nobody).find("there-is-no-such-user"), std::string::npos);
}

TEST_F(AlertSenderTest, AWebhookThatIsNotThere) {
  AlertConfiguration alert;
  alert.name = "hook";
  alert.kind = AlertKind::kWebhook;
  alert.url = "http://127.0.0.1:1/";
  EXPECT_EQ(send(alert), "Connection refused");
  alert.user = "baton";
  alert.password_file = directory_ + "/none";
  EXPECT_NE(send(alert).find("cannot be read"), std::string::npos);
}

TEST_F(AlertSenderTest, AFileThatHangsHoldsUpItsOwnAlertOnly) {
  AlertConfiguration alert;
  alert.name = "trap";
  alert.kind = AlertKind::kTrap;
  alert.host = "127.0.0.1";
  alert.port = 1;
  alert.timeout = 100ms;
  alert.community_file = directory_ + "/pipe";
  ASSERT_EQ(::mkfifo(alert.community_file.c_str(), 0600), 0);
  EXPECT_NE(send(alert).find("hangs"), std::string::npos);
  EXPECT_EQ(send(alert), "an earlier attempt has not ended yet");
  EXPECT_EQ(send(command({"/bin/true"})), "ok: ended with status 0");
  std::ofstream(alert.community_file) << "public\n";  // so that its thread ends
}

}  // namespace
}  // namespace baton
