// Fencing with agents that are well, lie, are slow, fail and hang: shell scripts with the agents' interface.
#include "src/os/fence_agent.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace baton {
namespace {

/// An agent whose power is the file "power" beside it.
class FenceAgent : public testing::Test {
 protected:
  void SetUp() override {
    char place[] = "/tmp/baton-fence-XXXXXX";
    directory_ = ::mkdtemp(place);
    std::ofstream(directory_ + "/power") << "on";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  FenceDevice agent(const std::string& off, const std::string& status = "[ $(cat $power) = off ] && exit 2; exit 0") {
    const std::string path = directory_ + "/agent";
    std::ofstream(path) << "#!/bin/sh\npower=" << directory_ << "/power\ncat >" << directory_ << "/input\n"
                        << "case $(sed -n 's/^action=//p' " << directory_ << "/input) in\noff) " << off << ";;\nstatus) "
                        << status << ";;\non) echo on >$power;;\nesac\n";
    ::chmod(path.c_str(), 0700);
    return {path, {{"ip", "10.0.0.1"}, {"password", "very secret"}}, 3s};
  }
  Status cut(const FenceDevice& device) {
    std::optional<Status> outcome;
    cut_power(loop_, device, "server1", [&](const Status& status) { outcome = status; });
    EXPECT_TRUE(loop_.run_until([&] { return outcome.has_value(); }, 10s));
    return outcome.value_or(fail("no answer"));
  }
  std::string file(const std::string& name) {
    std::ifstream in(directory_ + "/" + name);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  EventLoop loop_;
  std::string directory_;
};

TEST_F(FenceAgent, CutsThePowerAndAsksWhetherItIsOff) {
  const auto outcome = cut(agent("echo off >$power"));
  EXPECT_TRUE(outcome.has_value()) << outcome.error().message;
  EXPECT_EQ(file("power"), "off\n");
  EXPECT_EQ(file("input"), "action=status\nip=10.0.0.1\npassword=very secret\n") << "the last call";
}

TEST_F(FenceAgent, OneThatReportsSuccessIsNotBelieved) {
  const auto outcome = cut(agent("true"));
  ASSERT_FALSE(outcome.has_value());
  EXPECT_NE(outcome.error().message.find("still says that the server is on"), std::string::npos) << outcome.error().message;
}

TEST_F(FenceAgent, APowerThatGoesSlowlyIsWaitedFor) {
  const auto device = agent("echo 3 >$power", "n=$(cat $power); case $n in off) exit 2;; 1) echo off >$power;; *) echo $((n-1)) >$power;; esac; exit 0");
  EXPECT_TRUE(cut(device).has_value());
}

/// A status that fails `times` times before it says what is.
std::string busy(int times) {
  return "echo x >>$power.asked; [ $(wc -l <$power.asked) -le " + std::to_string(times) +
         " ] && { echo 'controller is busy'; exit 1; }; [ $(cat $power) = off ] && exit 2; exit 0";
}

TEST_F(FenceAgent, AStatusThatFailsRightAfterOffIsAskedForAgain) {
  const auto outcome = cut(agent("echo off >$power", busy(2)));
  EXPECT_TRUE(outcome.has_value()) << outcome.error().message;
  EXPECT_EQ(file("power.asked"), "x\nx\nx\n");
}

TEST_F(FenceAgent, AStatusThatFailsUntilTheDeadlineIsNoSuccessAndSaysWhy) {
  const auto outcome = cut(agent("echo off >$power", busy(1000)));
  ASSERT_FALSE(outcome.has_value());
  EXPECT_NE(outcome.error().message.find("controller is busy"), std::string::npos) << outcome.error().message;
  EXPECT_GE(file("power.asked").size(), 2 * size_t{3}) << "asked again until the deadline";
}

TEST_F(FenceAgent, ItsFailureSaysWhatItSaid) {
  const auto outcome = cut(agent("echo 'Unable to connect/login to fencing device'; exit 1"));
  ASSERT_FALSE(outcome.has_value());
  EXPECT_NE(outcome.error().message.find("Unable to connect"), std::string::npos) << outcome.error().message;
  EXPECT_EQ(outcome.error().message.find("very secret"), std::string::npos);
}

TEST_F(FenceAgent, OneThatHangsIsEndedAtItsDeadline) {
  const auto outcome = cut(agent("sleep 1000"));
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().code, ErrorCode::kTimeout) << outcome.error().message;
}

TEST_F(FenceAgent, OneThatIsNotThereIsAnError) {
  const auto outcome = cut({"/nowhere/fence_nothing", {}, 1s});
  ASSERT_FALSE(outcome.has_value());
  EXPECT_NE(outcome.error().message.find("fence_nothing"), std::string::npos);
}

TEST_F(FenceAgent, PowerComesBack) {
  const auto device = agent("echo off >$power");
  ASSERT_TRUE(cut(device).has_value());
  std::optional<Status> outcome;
  restore_power(loop_, device, "server1", [&](const Status& status) { outcome = status; });
  ASSERT_TRUE(loop_.run_until([&] { return outcome.has_value(); }, 10s));
  EXPECT_TRUE(outcome->has_value());
  std::optional<Result<PowerState>> state;
  ask_power(loop_, device, "server1", [&](const Result<PowerState>& found) { state = found; });
  ASSERT_TRUE(loop_.run_until([&] { return state.has_value(); }, 10s));
  EXPECT_EQ(**state, PowerState::kOn);
}

}  // namespace
}  // namespace baton
