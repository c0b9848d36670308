// ChildProcess and run_helper: real processes, real ends.
#include "src/os/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>

#include "src/os/control_group.h"
#include "src/os/helper_process.h"
#include "src/os/owned_fd.h"

namespace baton {
namespace {

ChildEnd run(ChildOptions options, Duration limit = 20s) {
  EventLoop loop;
  ChildEnd end;
  bool ended = false;
  auto child = ChildProcess::spawn(loop, std::move(options), [&](const ChildEnd& how) {
    end = how;
    ended = true;
  });
  EXPECT_TRUE(child.has_value()) << child.error().message;
  EXPECT_TRUE(loop.run_until([&] { return ended; }, limit));
  return end;
}

ChildOptions shell(const std::string& script) {
  ChildOptions options;
  options.argv = {"sh", "-c", script};
  return options;
}

TEST(ChildProcess, StatusAndOutput) {
  auto end = run(shell("echo out; echo err >&2; exit 3"));
  EXPECT_TRUE(end.exited);
  EXPECT_EQ(end.status, 3);
  EXPECT_EQ(end.output, "out\nerr\n");
  EXPECT_EQ(describe(end), "ended with status 3");
}

TEST(ChildProcess, KilledBySignal) {
  auto end = run(shell("kill -11 $$"));
  EXPECT_FALSE(end.exited);
  EXPECT_EQ(end.signal, SIGSEGV);
}

TEST(ChildProcess, StartErrors) {
  ChildOptions options;
  options.argv = {"/no/such/program"};
  EXPECT_EQ(describe(run(options)), "could not be started: cannot execute it: No such file or directory");
  options = shell("true");
  options.working_directory = "/no/such/directory";
  EXPECT_NE(run(options).start_error.find("working directory"), std::string::npos);
  options = shell("true");
  options.user = "no-such-user";
  EventLoop loop;
  auto child = ChildProcess::spawn(loop, options, [](const ChildEnd&) {});
  ASSERT_FALSE(child.has_value());
  EXPECT_EQ(child.error().code, ErrorCode::kNotFound);
}

TEST(ChildProcess, AGigabyteOfOutputNeitherBlocksNorFillsMemory) {
  auto options = shell("head -c 1073741824 /dev/zero | tr '\\0' x; echo the-end");
  auto end = run(options, 60s);
  EXPECT_EQ(end.status, 0);
  EXPECT_EQ(end.output.size(), options.captured_bytes);
  EXPECT_TRUE(end.output.ends_with("xthe-end\n"));
}

TEST(ChildProcess, DeadlineKillsTheWholeProcessGroup) {
  auto options = shell("sleep 1000 & sleep 1000");
  options.deadline = 50ms;
  auto end = run(options);
  EXPECT_TRUE(end.timed_out);
  EXPECT_EQ(end.signal, SIGKILL);
}

TEST(ChildProcess, EnvironmentUserDirectoryAndDescriptors) {
  auto options = shell("id -un; pwd; echo $FOO $HOME; ls /proc/self/fd | tr '\\n' ' '");
  options.user = "nobody";
  options.environment = {"FOO=bar", "HOME=/elsewhere"};
  options.working_directory = "/usr";
  OwnedFd ours(::open("/dev/zero", O_RDONLY));
  options.passed_descriptors = {ours.get()};
  auto end = run(options);
  EXPECT_EQ(end.output, "nobody\n/usr\nbar /elsewhere\n0 1 2 3 4 ") << end.output;  // 4 is ls reading
}

TEST(ChildProcess, AUserIsTakenWhileThreadsComeAndGo) {
  // What a thread of this process holds at the moment of the clone nobody gives back in the child.
  std::atomic<bool> enough{false};
  std::thread restless([&] {
    while (!enough) std::thread([] {}).join();
  });
  for (int time = 0; time < 200 && !HasFailure(); ++time) {
    ChildOptions options;
    options.argv = {"/bin/true"};
    options.user = "nobody";
    options.deadline = 5s;
    const auto end = run(options);
    EXPECT_TRUE(end.exited) << describe(end) << ", time " << time;
  }
  enough = true;
  restless.join();
}

TEST(ChildProcess, LogFileIsAppendedTo) {
  const std::string path = ::testing::TempDir() + "child_process_test.log";
  ::unlink(path.c_str());
  auto options = shell("echo line");
  options.output = ChildOptions::Output::kLogFile;
  options.log_file = path;
  run(options);
  run(options);
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(text.str(), "line\nline\n");
  ::unlink(path.c_str());
}

TEST(ChildProcess, ForgottenChildGoesOnAndIsReaped) {
  EventLoop loop;
  pid_t pid;
  bool ended = false;
  {
    auto child = ChildProcess::spawn(loop, shell("exec sleep 1000"), [&](const ChildEnd&) { ended = true; });
    ASSERT_TRUE(child.has_value());
    pid = child->pid();
  }
  EXPECT_EQ(::kill(pid, 0), 0);
  ::kill(pid, SIGKILL);
  EXPECT_TRUE(loop.run_until([&] { return ::kill(pid, 0) != 0; }, 5s));
  EXPECT_FALSE(ended);
}

TEST(HelperProcess, ErrorsNamePurposeCommandEndAndOutput) {
  EventLoop loop;
  std::string message;
  run_helper(loop, {.purpose = "testing", .argv = {"sh", "-c", "echo one; echo two; exit 7"}},
             [&](Result<HelperOutput> result) { message = result.error().message; });
  EXPECT_TRUE(loop.run_until([&] { return !message.empty(); }, 5s));
  EXPECT_NE(message.find("testing: `sh -c echo one; echo two; exit 7` ended with status 7 after"),
            std::string::npos)
      << message;
  EXPECT_TRUE(message.ends_with("ms; it said: one | two")) << message;
}

/// docs/protocol.md, B1.
TEST(HelperProcess, WhatOutlivesABatondIsFoundAndEnded) {
  const auto path = service_group_path(fmt::format("baton-test-helpers-{}", ::getpid()));
  ASSERT_TRUE(path.has_value()) << path.error().message;
  ASSERT_TRUE(create_control_group(*path).has_value());
  const pid_t batond = ::fork();
  if (batond == 0) {
    EventLoop loop;
    keep_helpers_in(*path);
    int ended = 0;
    run_helper(loop, {.purpose = "mounting", .argv = {"sleep", "1000"}}, [](Result<HelperOutput>) {});
    // One that passes its deadline does not take the others with it.
    run_helper(loop, {.purpose = "looking", .argv = {"sleep", "1000"}, .deadline = 20ms},
               [&](Result<HelperOutput>) { ++ended; });
    const bool one = loop.run_until([&] { return ended == 1; }, 5s);
    ::_exit(one ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(batond, &status, 0), batond);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(control_group_processes(*path).size(), 1u);
  EventLoop loop;
  std::optional<Status> cleared;
  clear_control_group(loop, *path, 5s, [&](Status how) { cleared = how; });
  EXPECT_TRUE(loop.run_until([&] { return cleared.has_value(); }, 10s));
  ASSERT_TRUE(cleared.has_value());
  EXPECT_TRUE(cleared->has_value()) << cleared->error().message;
}

TEST(HelperProcess, DeadlineIsATimeout) {
  EventLoop loop;
  ErrorCode code = ErrorCode::kFailed;
  bool done = false;
  run_helper(loop, {.purpose = "waiting", .argv = {"sleep", "1000"}, .deadline = 30ms},
             [&](Result<HelperOutput> result) {
               code = result.error().code;
               done = true;
             });
  EXPECT_TRUE(loop.run_until([&] { return done; }, 5s));
  EXPECT_EQ(code, ErrorCode::kTimeout);
}

}  // namespace
}  // namespace baton
