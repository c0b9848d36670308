// batond's side of the control channel against a stand-in for the mirror daemon: requests and their ends, changed settings,
// growing, and calls to a mirror on another server.
#include "src/daemon/mirror_client.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "src/daemon/mirror_calls.h"

namespace baton {
namespace {

constexpr Duration kLimit = 20s;

// Grows at the second try, repairs 1 of 2, refuses to discard, and never answers a backup. While there is a file "deaf" it does
// not listen, and while there is one "slow" it has not read the keys; it says how often it has.
const char* const kDaemon = R"(#!/usr/bin/env python3
import json, os, socket, sys, time
settings = json.load(open(sys.argv[2]))
where = os.path.dirname(sys.argv[2])
def wait_for_end_of(name):
    while os.path.exists(where + "/" + name): time.sleep(0.005)
open(where + "/started", "w").close()
wait_for_end_of("deaf")
if os.path.exists(settings["socket"]): os.remove(settings["socket"])
listener = socket.socket(socket.AF_UNIX); listener.bind(settings["socket"]); listener.listen()
client = listener.accept()[0]
size, grows, reads = 1 << 20, 0, 0
def say(**what): client.sendall((json.dumps(what) + "\n").encode())
def report(): say(notice="report", device="", report={"role": "secondary", "size_bytes": size, "protocol": settings["protocol"]})
report()
for line in client.makefile():
    request = json.loads(line); name = request["request"]
    if name == "verify": say(notice="verified", blocks=2, different=2, repaired=1 if request["repair"] else 0)
    elif name == "discard": say(notice="failed", request="discard", reason="this copy is the primary")
    elif name == "set_rate": say(notice="alert", text="rate %d" % request["bytes_per_second"])
    elif name == "read_keys":
        wait_for_end_of("slow")
        reads += 1
        say(notice="note", text="keys read %d%s" % (reads, ", anew" if request["anew"] else ""))
        say(notice="done", request="read_keys", text="")
    elif name == "replace": say(notice="done", request="replace", text=""); sys.exit(0)
    elif name == "stop": sys.exit(0)
    elif name == "grow":
        grows += 1
        if grows == 1: say(notice="failed", request="grow", reason="the other copy is smaller")
        else: size = request["size_bytes"]; say(notice="done", request="grow", text=""); report()
)";

class MirrorClientTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/baton-client-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    std::ofstream(directory_ + "/daemon") << kDaemon;
    std::filesystem::permissions(directory_ + "/daemon", std::filesystem::perms::owner_all);
    settings_.key = "db.data";
    settings_.socket = directory_ + "/socket";
    settings_.size_bytes = 1 << 20;
    settings_.certificate_file = directory_ + "/tls/db.data/server.pem";
    settings_.nbd_socket = directory_ + "/nbd/db.data.sock";
    MirrorClient::Callbacks callbacks;
    callbacks.on_report = [this](const mirror_control::Report&) { ++reports_; };
    callbacks.on_propose = [](const SetInSync&) {};
    callbacks.on_export_lost = [](const std::string&) {};
    callbacks.on_gone = [this] { ++gone_; };
    callbacks.on_note = [this](const std::string& text) { notes_.push_back(text); };
    callbacks.on_alert = [this](const std::string& text) { alerts_.push_back(text); };
    client_ = std::make_unique<MirrorClient>(loop_, settings_, directory_ + "/daemon", directory_, directory_ + "/log",
                                             std::move(callbacks));
  }
  /// Its first reading of the keys is over, and forgotten.
  void start() {
    client_->start();
    ASSERT_TRUE(loop_.run_until([this] { return reports_ > 0 && !notes_.empty(); }, kLimit)) << client_->problem();
    ASSERT_TRUE(call(mirror_control::Verify{}, "verify"));
    EXPECT_EQ(notes_, std::vector<std::string>{"keys read 1"});
    notes_.clear();
  }
  void flag(const std::string& name, bool set) {
    if (set) std::ofstream(directory_ + "/" + name) << "";
    else std::filesystem::remove(directory_ + "/" + name);
  }
  MirrorClient::KeysRead count(int& reads) {
    return [&reads](const Status& done) { reads += done ? 1 : -100; };
  }
  void TearDown() override {
    client_->stop();
    (void)loop_.run_until([this] { return std::filesystem::exists(directory_ + "/none"); }, 200ms);
    client_.reset();
    std::filesystem::remove_all(directory_);
  }

  Result<mirror_control::Notice> call(const mirror_control::Request& request, const std::string& name,
                                      Duration limit = kLimit) {
    std::optional<Result<mirror_control::Notice>> end;
    client_->call(request, name, limit, [&](Result<mirror_control::Notice> result) { end = std::move(result); });
    EXPECT_TRUE(loop_.run_until([&] { return end.has_value(); }, kLimit));
    return end.value_or(fail("no answer"));
  }

  EventLoop loop_;
  std::string directory_;
  mirror_control::DaemonSettings settings_;
  std::unique_ptr<MirrorClient> client_;
  int reports_ = 0;
  int gone_ = 0;
  std::vector<std::string> notes_;
  std::vector<std::string> alerts_;
};

TEST_F(MirrorClientTest, RequestsEndOnce) {
  start();
  const auto verified = call(mirror_control::Verify{true}, "verify");
  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_EQ(std::get<mirror_control::Verified>(*verified).repaired, 1u);
  const auto discarded = call(mirror_control::Discard{}, "discard");
  ASSERT_FALSE(discarded);
  EXPECT_EQ(discarded.error().message, "this copy is the primary");
  client_->call(mirror_control::Backup{true}, "backup", 100ms, [](const auto&) {});
  const auto second = call(mirror_control::Backup{true}, "backup");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  (void)loop_.run_until([] { return false; }, 150ms);  // the first one is over then
  const auto late = call(mirror_control::Backup{true}, "backup", 50ms);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
}

TEST_F(MirrorClientTest, ARateIsSentAtOnceTheRestWaitsForARestart) {
  start();
  settings_.rate_limit = 1000;
  settings_.protocol = MirrorProtocol::kA;
  client_->want_settings(settings_);
  ASSERT_TRUE(loop_.run_until([&] { return !alerts_.empty(); }, kLimit));
  EXPECT_EQ(alerts_.front(), "rate 1000");
  EXPECT_NE(client_->pending_settings().find("protocol"), std::string::npos) << client_->pending_settings();
  EXPECT_EQ(client_->report()->protocol, MirrorProtocol::kC);
  reports_ = 0;
  client_->restart_for_settings();
  ASSERT_TRUE(loop_.run_until([&] { return reports_ > 0; }, kLimit)) << client_->problem();
  EXPECT_EQ(gone_, 1);
  EXPECT_EQ(client_->report()->protocol, MirrorProtocol::kA);
  EXPECT_EQ(client_->pending_settings(), "");
}

TEST_F(MirrorClientTest, GrowingIsTriedUntilItIsDone) {
  start();
  settings_.size_bytes = 4 << 20;
  client_->want_settings(settings_);
  ASSERT_TRUE(loop_.run_until([&] { return !notes_.empty(); }, kLimit));
  EXPECT_NE(client_->pending_settings().find("the other copy is smaller"), std::string::npos);
  ASSERT_TRUE(loop_.run_until([&] { return client_->report()->size_bytes == settings_.size_bytes; }, kLimit));
  EXPECT_EQ(client_->pending_settings(), "");
}

TEST_F(MirrorClientTest, AReplacedCopyBeginsAnew) {
  start();
  reports_ = 0;
  const auto done = call(mirror_control::Replace{}, "replace");
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_TRUE(loop_.run_until([&] { return reports_ > 0 && !notes_.empty(); }, kLimit)) << client_->problem();
  EXPECT_EQ(notes_, std::vector<std::string>{"keys read 1"});
}

/// A server that had missed a rotation adopted the new key in the moment in which its mirror daemon started: that one had read the
/// former key, was not told, and the other copy refused it for good. Whoever asks hears no sooner than it has read them.
TEST_F(MirrorClientTest, KeysThatChangeWhileTheDaemonStartsAreReadAgain) {
  flag("deaf", true);
  client_->start();
  ASSERT_TRUE(loop_.run_until([this] { return std::filesystem::exists(directory_ + "/started"); }, kLimit));
  int reads = 0;
  client_->read_keys(false, count(reads));
  client_->read_keys(true, count(reads));
  EXPECT_EQ(reads, 0);
  flag("deaf", false);
  ASSERT_TRUE(loop_.run_until([&] { return reads != 0; }, kLimit));
  EXPECT_EQ(reads, 2);
  EXPECT_EQ(notes_, std::vector<std::string>{"keys read 1, anew"});
}

TEST_F(MirrorClientTest, KeysThatChangeWhileTheyAreReadAreReadAgain) {
  start();
  flag("slow", true);
  int reads = 0;
  client_->read_keys(false, count(reads));
  client_->read_keys(false, count(reads));
  client_->read_keys(false, count(reads));
  flag("slow", false);
  ASSERT_TRUE(loop_.run_until([&] { return reads == 3 || reads < 0; }, kLimit));
  EXPECT_EQ(notes_, (std::vector<std::string>{"keys read 2", "keys read 3"}));
}

TEST_F(MirrorClientTest, ADaemonThatDoesNotListenIsNamed) {
  flag("deaf", true);
  client_->start();
  Status told;
  client_->read_keys(false, [&](const Status& done) { told = done; });
  ASSERT_TRUE(loop_.run_until([&] { return !told; }, kLimit));
  EXPECT_NE(told.error().message.find("db.data does not answer"), std::string::npos);
  flag("deaf", false);
  ASSERT_TRUE(loop_.run_until([this] { return !notes_.empty(); }, kLimit));
}

/// Two servers' calls, connected by what they send.
TEST_F(MirrorClientTest, AnyServerCanAskForACopyElsewhere) {
  start();
  std::vector<node::Message> wire;
  std::vector<std::string> told;
  const auto send = [&](node::Message message) { wire.push_back(std::move(message)); };
  const auto note = [&](const std::string& key, const std::string& text) { told.push_back(key + ": " + text); };
  MirrorCalls here(loop_, ServerId(1), {send, [](const std::string&) -> MirrorClient* { return nullptr; }, note});
  MirrorCalls there(loop_, ServerId(2),
                    {send, [&](const std::string& key) { return key == "db.data" ? client_.get() : nullptr; }, note});
  const auto deliver = [&] {
    for (auto& message : std::exchange(wire, {})) {
      if (const auto* call = std::get_if<node::MirrorCall>(&message)) {
        here.take(*call);
        there.take(*call);
      } else if (const auto* answer = std::get_if<node::MirrorAnswer>(&message)) {
        here.take(*answer);
        there.take(*answer);
      }
    }
  };
  const auto ask = [&](const std::string& mirror, const std::string& verb, const nlohmann::json& body) {
    std::optional<Result<nlohmann::json>> end;
    here.ask(ServerId(2), mirror, verb, body, [&](Result<nlohmann::json> result) { end = std::move(result); });
    EXPECT_TRUE(loop_.run_until([&] { return deliver(), end.has_value(); }, kLimit));
    return end.value_or(fail("no answer"));
  };
  const auto verified = ask("db.data", "verify", {{"repair", false}});
  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_EQ((*verified)["different"], 2);
  EXPECT_EQ(told.back(), "db.data: verify: 2 blocks compared, 2 different, 0 repaired");
  EXPECT_EQ(ask("db.data", "discard", {}).error().message, "this copy is the primary");
  EXPECT_EQ(ask("db.none", "verify", {}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(ask("db.data", "dance", {}).error().code, ErrorCode::kInvalid);
  std::optional<Result<nlohmann::json>> lost;
  here.ask(ServerId(3), "db.data", "verify", {}, [&](Result<nlohmann::json> result) { lost = std::move(result); });
  here.servers_left({ServerId(1), ServerId(2)});
  ASSERT_TRUE(lost.has_value());
  EXPECT_EQ(lost->error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace baton
