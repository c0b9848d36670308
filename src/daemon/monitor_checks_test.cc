// What answers and ends mean for a monitor, and real programs as monitors. Web servers: src/os/web_requests_test.cc.
#include "src/daemon/monitor_checks.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "src/os/owned_fd.h"
#include "src/os/test_namespace.h"

namespace baton {
namespace {

using group::Verdict;

class MonitorChecksTest : public testing::Test {
 protected:
  node::CheckDone run(std::vector<std::string> command, milliseconds timeout = 5s, const std::string& user = "root") {
    node::RunCheck check;
    check.token = ++token_;
    check.group = "web";
    check.monitor.name = "answers";
    check.monitor.of = "nginx";
    check.monitor.command = std::move(command);
    check.monitor.timeout = timeout;
    check.monitor.user = user;
    done_.reset();
    checks_.run(check, "");
    EXPECT_TRUE(loop_.run_until([&] { return done_.has_value(); }, 20s));
    EXPECT_EQ(done_->token, token_);
    return *done_;
  }
  node::CheckDone shell(const std::string& script, milliseconds timeout = 5s) { return run({"/bin/sh", "-c", script}, timeout); }

  EventLoop loop_;
  uint64_t token_ = 0;
  std::optional<node::CheckDone> done_;
  MonitorChecks checks_{loop_, BATON_CHECK_PATH, [this](const node::CheckDone& done) { done_ = done; }};
};

TEST_F(MonitorChecksTest, ProgramsSayHowItIsByTheirStatus) {
  EXPECT_EQ(shell("echo 3 rows").verdict, Verdict::kGood);
  EXPECT_EQ(done_->detail, "3 rows");
  EXPECT_EQ(shell("echo first; echo no rows; exit 1").verdict, Verdict::kBad);
  EXPECT_EQ(done_->detail, "/bin/sh ended with status 1: no rows");
  EXPECT_EQ(shell("test $BATON_GROUP.$BATON_RESOURCE.$BATON_MONITOR = web.nginx.answers").verdict, Verdict::kGood);
}

TEST_F(MonitorChecksTest, OneThatTakesTooLongHasFoundSomething) {
  EXPECT_EQ(shell("echo waiting; exec tail -f /dev/null", 300ms).verdict, Verdict::kBad);
  EXPECT_EQ(done_->detail, "/bin/sh did not end within 300 ms: waiting");
}

TEST_F(MonitorChecksTest, OneThatCouldNotLookHasFoundNothing) {
  EXPECT_EQ(shell("exit 75").verdict, Verdict::kUnknown);
  EXPECT_EQ(shell("/no/such/program").verdict, Verdict::kUnknown);
  EXPECT_EQ(shell("kill -9 $$").verdict, Verdict::kUnknown);
  EXPECT_EQ(run({"/no/such/program"}).verdict, Verdict::kUnknown);
  EXPECT_NE(done_->detail.find("/no/such/program could not be started: "), std::string::npos) << done_->detail;
  EXPECT_EQ(run({"/bin/true"}, 5s, "no-such-user").verdict, Verdict::kUnknown);
}

TEST_F(MonitorChecksTest, ALongOrWildOutputIsOneShortLine) {
  const auto done = shell("head -c 100000000 /dev/zero | tr '\\0' x; printf '\\033[31m\\n\\n'; exit 1", 15s);
  EXPECT_LT(done.detail.size(), 300u);
  EXPECT_EQ(done.detail.find('\n'), std::string::npos);
  EXPECT_EQ(done.detail.find('\033'), std::string::npos);
}

TEST_F(MonitorChecksTest, ALogIsReadOnFromCheckToCheckAndAnewAfterARest) {
  char name[] = "/tmp/baton-checks-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  const std::string path = std::string(name) + "/app.log";
  std::ofstream log(path);
  node::RunCheck check;
  check.group = "web";
  check.monitor = {.name = "log", .of = "nginx", .kind = MonitorKind::kLog, .path = path, .pattern = "FATAL|PANIC"};
  const auto look = [&](const std::string& lines, bool begins) {
    log << lines << std::flush;
    check.token = ++token_;
    check.position = begins ? "" : done_->position;
    done_.reset();
    checks_.run(check, "");
    EXPECT_TRUE(loop_.run_until([&] { return done_.has_value(); }, 20s));
    return done_->verdict;
  };
  EXPECT_EQ(look("FATAL: before\n", true), Verdict::kGood);
  EXPECT_EQ(look("one\ntwo\n", false), Verdict::kGood);
  EXPECT_EQ(done_->detail, "2 new lines");
  EXPECT_EQ(look("FATAL: now\nthree\n", false), Verdict::kBad);
  EXPECT_EQ(done_->detail, path + " says: FATAL: now");
  EXPECT_EQ(look("", false), Verdict::kGood);
  EXPECT_EQ(done_->detail, "1 new line");
  EXPECT_EQ(look("PANIC\n", true), Verdict::kGood) << "what came while it rested";
  std::filesystem::remove(path);
  EXPECT_EQ(look("", false), Verdict::kUnknown);
  EXPECT_FALSE(done_->position.empty());
  EXPECT_EQ(done_->detail, "cannot read " + path + ": No such file or directory");
  std::filesystem::remove_all(name);
}

TEST_F(MonitorChecksTest, ADiskIsWrittenTo) {
  node::RunCheck check;
  check.token = ++token_;
  check.monitor = {.name = "disk", .of = "nginx", .kind = MonitorKind::kDisk, .path = "/tmp"};
  checks_.run(check, "");
  ASSERT_TRUE(loop_.run_until([&] { return done_.has_value(); }, 20s));
  EXPECT_EQ(done_->verdict, Verdict::kGood) << done_->detail;
  EXPECT_TRUE(done_->detail.starts_with("written and read in ")) << done_->detail;
}

/// A filesystem that is frozen holds up who writes to it, and not even SIGKILL ends that.
TEST(HangingCheck, TheNextOneWaitsForItAndIsAsBad) {
  in_namespaces(0, [] {
    ASSERT_EQ(std::system("t=$(mktemp) && truncate -s 16M $t && mkfs.ext4 -q $t && mount -o loop $t /mnt && rm $t"), 0);
    EventLoop loop;
    std::optional<node::CheckDone> done;
    MonitorChecks checks(loop, BATON_CHECK_PATH, [&](const node::CheckDone& answer) { done = answer; });
    node::RunCheck check;
    check.monitor = {.name = "disk", .of = "nginx", .kind = MonitorKind::kDisk, .timeout = 300ms, .path = "/mnt"};
    const auto look = [&] {
      ++check.token;
      done.reset();
      checks.run(check, "");
      EXPECT_TRUE(loop.run_until([&] { return done.has_value(); }, 20s));
      return *done;
    };
    EXPECT_EQ(look().verdict, Verdict::kGood) << done->detail;
    const OwnedFd root(::open("/mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_EQ(::ioctl(root.get(), FIFREEZE, 0), 0);
    EXPECT_EQ(look().verdict, Verdict::kBad);
    EXPECT_EQ(done->detail, "the check of /mnt did not end within 300 ms");
    const Instant begin = EventLoop::now();
    EXPECT_EQ(look().verdict, Verdict::kBad);
    EXPECT_EQ(done->detail, "the check before hangs in the kernel, though it was killed");
    EXPECT_GE(EventLoop::now() - begin, 300ms) << "bad checks in a row would take no time";
    check.monitor.path = "/tmp";
    EXPECT_EQ(look().verdict, Verdict::kGood) << "another disk is another check: " << done->detail;
    check.monitor.path = "/mnt";
    ASSERT_EQ(::ioctl(root.get(), FITHAW, 0), 0);
    for (int more = 0; more < 50 && look().verdict != Verdict::kGood; ++more) continue;
    EXPECT_EQ(done->verdict, Verdict::kGood) << done->detail;
  });
}

class EndedCheckTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/baton-checks-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    node::RunCheck check;
    check.token = 7;
    check.monitor.command = {"/bin/sh", "-c", "echo $$ > " + directory_ + "/new && mv " + directory_ + "/new " + directory_ + "/pid && cat /dev/zero"};
    check.monitor.timeout = 60s;
    checks_->run(check, "");
    ASSERT_TRUE(loop_.run_until([&] { return std::filesystem::exists(directory_ + "/pid"); }, 20s));
    std::ifstream(directory_ + "/pid") >> pid_;
    ASSERT_GT(pid_, 0);
  }
  void TearDown() override {
    EXPECT_TRUE(loop_.run_until([&] { return kill(pid_, 0) != 0; }, 20s)) << "it goes on";
    EXPECT_FALSE(called_);
    std::filesystem::remove_all(directory_);
  }

  EventLoop loop_;
  std::string directory_;
  pid_t pid_ = 0;
  bool called_ = false;
  std::unique_ptr<MonitorChecks> checks_ = std::make_unique<MonitorChecks>(loop_, BATON_CHECK_PATH, [this](const node::CheckDone&) { called_ = true; });
};

TEST_F(EndedCheckTest, NobodyHearsOfIt) { checks_->end({7}); }
TEST_F(EndedCheckTest, NoneOutlivesWhoAsked) { checks_.reset(); }

WebAnswer answered(int64_t status, const std::string& body) {
  WebAnswer answer;
  answer.end = WebAnswer::End::kAnswered;
  answer.status = status;
  answer.body = body;
  answer.took = 3ms;
  return answer;
}

TEST(JudgeAnswer, StatusAndTextAreAsked) {
  MonitorConfiguration monitor;
  monitor.kind = MonitorKind::kHttp;
  monitor.url = "http://10.0.0.50/";
  monitor.status = {200, 204};
  monitor.text = "well";
  EXPECT_EQ(judge_answer(monitor, answered(204, "all is well")).verdict, Verdict::kGood);
  EXPECT_EQ(judge_answer(monitor, answered(200, "all is well")).detail, "answered 200 in 3 ms");
  EXPECT_EQ(judge_answer(monitor, answered(503, "all is well")).detail, "http://10.0.0.50/ answered 503, expected 200 or 204");
  EXPECT_EQ(judge_answer(monitor, answered(503, "")).verdict, Verdict::kBad);
  EXPECT_EQ(judge_answer(monitor, answered(200, "no")).detail, "http://10.0.0.50/ answered 200, but without \"well\"");
  EXPECT_EQ(judge_answer(monitor, answered(200, "no")).verdict, Verdict::kBad);
}

TEST(JudgeAnswer, SilenceIsBadAndNotBeingAbleToAskIsNot) {
  MonitorConfiguration monitor;
  monitor.kind = MonitorKind::kTcp;
  monitor.host = "10.0.0.50";
  monitor.port = 5432;
  WebAnswer answer;
  answer.end = WebAnswer::End::kNoAnswer;
  answer.error = "no answer within 500 ms";
  EXPECT_EQ(judge_answer(monitor, answer).verdict, Verdict::kBad);
  EXPECT_EQ(judge_answer(monitor, answer).detail, "port 5432 of 10.0.0.50: no answer within 500 ms");
  answer.end = WebAnswer::End::kNotAsked;
  EXPECT_EQ(judge_answer(monitor, answer).verdict, Verdict::kUnknown);
  EXPECT_EQ(judge_answer(monitor, answered(0, "")).verdict, Verdict::kGood);
}

}  // namespace
}  // namespace baton
