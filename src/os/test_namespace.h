// For tests only: runs a piece of a test in namespaces of its own (network, mounts, ...), in a forked child, so
// that nothing of the machine is touched and everything is gone afterwards, whatever happens.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

namespace baton {

/// `flags` as for unshare(2). With CLONE_NEWPID everything the test left running dies with it. A test that
/// takes longer than `limit_seconds` is killed and fails.
inline void in_namespaces(int flags, const std::function<void()>& body, unsigned limit_seconds = 60) {
  std::fflush(nullptr);
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::unshare(flags | CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      std::perror("unshare");
      ::_exit(2);
    }
    pid_t inner = (flags & CLONE_NEWPID) != 0 ? ::fork() : 0;
    if (inner > 0) {
      ::alarm(limit_seconds);
      int status = 0;
      ::waitpid(inner, &status, 0);
      ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if ((flags & CLONE_NEWPID) != 0) ::mount("proc", "/proc", "proc", 0, nullptr);
    ::alarm(limit_seconds);
    body();
    std::fflush(nullptr);
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status)) << "killed by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the test in its namespace failed, see above";
}

inline void shell_or_fail(const std::string& command) { ASSERT_EQ(::system(command.c_str()), 0) << command; }

}  // namespace baton
