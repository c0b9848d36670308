// Services under real shims: ready, stop, kill, adoption after a restart of the client, a shim that dies.
#include "src/os/supervised_service.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "src/os/control_group.h"
#include "src/os/file_text.h"

namespace baton {
namespace {

using State = SupervisedService::State;

class SupervisedServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/baton-shim-XXXXXX";
    paths_.runtime_directory = ::mkdtemp(pattern);
    group_ = *service_group_path(fmt::format("baton-shim-test-{}", ::getpid()));
  }
  void TearDown() override {
    client_.reset();
    SupervisedService last(loop_, BATON_SHIM_PATH, paths_, nullptr);
    bool gone = false;
    last.adopt("web", group_, [&](Result<State>) { last.kill([&](Status) { gone = true; }); });
    EXPECT_TRUE(loop_.run_until([&] { return gone; }, 10s));
    EXPECT_NE(::access(group_.c_str(), F_OK), 0);
    EXPECT_EQ(::system(("rm -r " + paths_.runtime_directory).c_str()), 0);
  }

  ServiceSpec shell(const std::string& script) {
    ServiceSpec spec;
    spec.name = "web";
    spec.argv = {"sh", "-c", script};
    spec.control_group = group_;
    spec.log_file = paths_.runtime_directory + "/web.log";
    spec.status_file = paths_.runtime_directory + "/web.status";
    spec.stop_timeout = 5s;
    return spec;
  }
  void new_client() {
    client_ = std::make_unique<SupervisedService>(loop_, BATON_SHIM_PATH, paths_,
                                                  [this](const ServiceEnd& end) { ends_.push_back(end); });
  }
  Status start(ServiceSpec spec, ReadyCheck ready = {}) {
    new_client();
    return wait([&](auto done) { client_->start(std::move(spec), std::move(ready), done); });
  }
  Status wait(const std::function<void(std::function<void(Status)>)>& begin) {
    auto outcome = std::make_shared<std::optional<Status>>();
    begin([outcome](Status status) { *outcome = std::move(status); });
    EXPECT_TRUE(loop_.run_until([&] { return outcome->has_value(); }, 15s));
    return outcome->has_value() ? **outcome : Status(fail("no answer"));
  }
  Status stop() {
    return wait([&](auto done) { client_->stop(done); });
  }
  Status kill() {
    return wait([&](auto done) { client_->kill(done); });
  }
  State adopt() {
    new_client();
    std::optional<State> state;
    client_->adopt("web", group_, [&](Result<State> found) {
      EXPECT_TRUE(found.has_value()) << found.error().message;
      state = found ? *found : State::kNone;
    });
    EXPECT_TRUE(loop_.run_until([&] { return state.has_value(); }, 15s));
    return *state;
  }
  /// The parent of the service's main process. (Not who has the socket open: a child on its way to exec has it, too.)
  pid_t shim_pid() {
    const auto parent = first_line(
        fmt::format("sed -n 's/^PPid:[[:space:]]*//p' /proc/{}/status", client_->last_report()->main_process));
    return parent.empty() ? 0 : std::stoi(parent);
  }
  static std::string first_line(const std::string& command) {
    std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
    char line[256] = {};
    return pipe && std::fgets(line, sizeof line, pipe.get()) != nullptr ? line : "";
  }

  EventLoop loop_;
  ShimPaths paths_;
  std::string group_;
  std::unique_ptr<SupervisedService> client_;
  std::vector<ServiceEnd> ends_;
};

TEST_F(SupervisedServiceTest, ReadyThenStoppedInOrder) {
  const std::string mark = paths_.runtime_directory + "/mark";
  ReadyCheck ready{.argv = {"test", "-e", mark}, .deadline = 5s};
  auto started =
      start(shell("trap 'echo bye; exit 4' TERM; touch " + mark + "; while :; do sleep 0.02; done"), ready);
  ASSERT_TRUE(started.has_value()) << started.error().message;
  EXPECT_EQ(client_->state(), State::kRunning);
  EXPECT_FALSE(control_group_processes(group_).empty());
  auto stopped = stop();
  EXPECT_TRUE(stopped.has_value()) << stopped.error().message;
  EXPECT_EQ(client_->last_report()->status, 4);
  EXPECT_EQ(client_->state(), State::kNone);
  EXPECT_TRUE(ends_.empty());
  EXPECT_NE(::access(group_.c_str(), F_OK), 0);
  EXPECT_NE(::access(paths_.socket("web").c_str(), F_OK), 0);
  EXPECT_TRUE(shim_report_from(*read_text_file(paths_.runtime_directory + "/web.status")).has_value());
  EXPECT_TRUE(stop().has_value());  // idempotent
}

TEST_F(SupervisedServiceTest, StopEscalatesAndTakesTheWholeTree) {
  auto spec = shell("trap '' TERM; setsid sleep 1000 & while :; do sleep 0.02; done");
  spec.stop_timeout = 100ms;
  ASSERT_TRUE(start(spec).has_value());
  ASSERT_TRUE(loop_.run_until([&] { return control_group_processes(group_).size() >= 3; }, 5s));
  EXPECT_TRUE(stop().has_value());
  EXPECT_TRUE(client_->last_report()->killed_after_timeout);
  EXPECT_EQ(client_->last_report()->signal, SIGKILL);
}

TEST_F(SupervisedServiceTest, StartFailuresSayWhy) {
  auto started = start(shell("echo cannot bind port; exit 9"), {.argv = {"false"}, .deadline = 5s});
  ASSERT_FALSE(started.has_value());
  EXPECT_NE(started.error().message.find("ended with status 9"), std::string::npos) << started.error().message;
  EXPECT_NE(started.error().message.find("cannot bind port"), std::string::npos) << started.error().message;
  EXPECT_TRUE(kill().has_value());

  auto spec = shell("");
  spec.argv = {"/no/such/program"};
  started = start(spec, {.argv = {"false"}, .deadline = 5s});
  ASSERT_FALSE(started.has_value());
  EXPECT_NE(started.error().message.find("No such file"), std::string::npos) << started.error().message;
  EXPECT_TRUE(kill().has_value());

  started = start(shell("exec sleep 1000"), {.argv = {"sh", "-c", "echo not yet; exit 1"}, .deadline = 150ms});
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().code, ErrorCode::kTimeout);
  EXPECT_NE(started.error().message.find("not yet"), std::string::npos) << started.error().message;
  EXPECT_EQ(start(shell("true")).error().code, ErrorCode::kConflict);  // the first still runs
  EXPECT_EQ(adopt(), State::kRunning);
  EXPECT_TRUE(kill().has_value());
}

TEST_F(SupervisedServiceTest, AnUnexpectedEndIsAnEvent) {
  ASSERT_TRUE(start(shell("sleep 1000 & sleep 0.05; kill -SEGV $$")).has_value());
  ASSERT_TRUE(loop_.run_until([&] { return ends_.size() == 1; }, 5s));
  EXPECT_EQ(ends_[0].report.signal, SIGSEGV);
  EXPECT_FALSE(ends_[0].shim_lost);
  EXPECT_TRUE(*control_group_populated(group_));  // the sleep it left behind
  EXPECT_TRUE(kill().has_value());
  EXPECT_FALSE(*control_group_populated(group_));
}

TEST_F(SupervisedServiceTest, TheNextClientAdoptsARunningService) {
  ASSERT_TRUE(start(shell("while [ ! -e " + paths_.runtime_directory + "/end ]; do sleep 0.01; done; exit 6"))
                  .has_value());
  client_.reset();
  EXPECT_EQ(adopt(), State::kRunning);
  EXPECT_EQ(::system(("touch " + paths_.runtime_directory + "/end").c_str()), 0);
  ASSERT_TRUE(loop_.run_until([&] { return ends_.size() == 1; }, 5s));
  EXPECT_EQ(ends_[0].report.status, 6);
  EXPECT_TRUE(kill().has_value());
}

TEST_F(SupervisedServiceTest, TheNextClientLearnsAnEndThatNobodySaw) {
  ASSERT_TRUE(start(shell("while [ ! -e " + paths_.runtime_directory + "/end ]; do sleep 0.01; done; exit 6"))
                  .has_value());
  client_.reset();
  EXPECT_EQ(::system(("touch " + paths_.runtime_directory + "/end").c_str()), 0);
  ASSERT_TRUE(loop_.run_until(
      [&] { return ::access((paths_.runtime_directory + "/web.status").c_str(), F_OK) == 0; }, 5s));
  EXPECT_EQ(adopt(), State::kEnded);
  EXPECT_EQ(client_->last_report()->status, 6);
  EXPECT_TRUE(ends_.empty());
  EXPECT_TRUE(kill().has_value());
  EXPECT_EQ(adopt(), State::kNone);
}

TEST_F(SupervisedServiceTest, ALostShimIsAFailureAndNothingIsLeft) {
  ASSERT_TRUE(start(shell("sleep 1000 & exec sleep 1000")).has_value());
  const pid_t shim = shim_pid();
  ASSERT_GT(shim, 0);
  ::kill(shim, SIGKILL);
  ASSERT_TRUE(loop_.run_until([&] { return ends_.size() == 1; }, 5s));
  EXPECT_TRUE(ends_[0].shim_lost);
  EXPECT_FALSE(*control_group_populated(group_));
  EXPECT_TRUE(kill().has_value());
  EXPECT_TRUE(start(shell("exec sleep 1000")).has_value());
}

TEST_F(SupervisedServiceTest, AShimLostWhileNobodyWatchedIsCleanedUpByAdoption) {
  ASSERT_TRUE(start(shell("exec sleep 1000")).has_value());
  const pid_t shim = shim_pid();
  ASSERT_GT(shim, 0);
  client_.reset();
  ::kill(shim, SIGKILL);
  ASSERT_TRUE(loop_.run_until([&] { return ::kill(shim, 0) != 0; }, 5s));
  EXPECT_TRUE(*control_group_populated(group_));
  EXPECT_EQ(start(shell("true")).error().code, ErrorCode::kConflict);
  EXPECT_EQ(adopt(), State::kNone);
  EXPECT_FALSE(*control_group_populated(group_));
}

TEST(ShimProtocol, RoundTripsAndDamage) {
  ServiceSpec spec;
  spec.name = "a";
  spec.argv = {"x", "y z"};
  spec.stop_timeout = 1500ms;
  auto again = service_spec_from(to_json_value(spec).dump());
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->argv, spec.argv);
  EXPECT_EQ(again->stop_timeout, spec.stop_timeout);
  EXPECT_FALSE(service_spec_from("{}").has_value());
  EXPECT_FALSE(service_spec_from("[").has_value());
  EXPECT_FALSE(shim_report_from("{\"state\":1}").has_value());
  std::string buffer = "one\ntwo\nthr";
  EXPECT_EQ(take_lines(buffer), (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(buffer, "thr");
}

}  // namespace
}  // namespace baton
