// Helpers that an earlier batond has left: killed before a step is taken in their group, and one that even SIGKILL cannot
// end (it waits inside the kernel for a FUSE filesystem that never answers) holds up its own group only.
#include "src/daemon/leftover_helpers.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <fstream>

#include "src/os/child_process.h"
#include "src/os/control_group.h"
#include "src/os/helper_process.h"
#include "src/os/owned_fd.h"
#include "src/os/test_namespace.h"

namespace baton {
namespace {

/// Each test runs in a control group of its own, as if it were batond's; what a killed run has left goes first.
class LeftoverHelpersTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = *service_group_path("baton-test-leftover");
    TearDown();
  }
  void TearDown() override {
    EXPECT_TRUE(kill_control_group(path_).has_value());
    EXPECT_TRUE(remove_control_group(path_).has_value());
  }
  void in_own_group(const std::function<void()>& body) {
    in_namespaces(0, [&] {
      ASSERT_TRUE(create_control_group(path_).has_value());
      std::ofstream(path_ + "/cgroup.procs") << "0" << std::flush;
      ASSERT_EQ(*own_control_group(), path_);
      body();
    });
  }

 private:
  std::string path_;
};

/// A mounted filesystem of which nothing is ever answered but its beginning.
class SilentFilesystem {
 public:
  SilentFilesystem() : device_(::open("/dev/fuse", O_RDWR | O_CLOEXEC)) {
    char place[] = "/tmp/baton-silent-XXXXXX";
    directory_ = ::mkdtemp(place);
    const std::string options = fmt::format("fd={},rootmode=40000,user_id=0,group_id=0", device_.get());
    EXPECT_EQ(::mount("silent", directory_.c_str(), "fuse", 0, options.c_str()), 0) << std::strerror(errno);
    const auto* begin = reinterpret_cast<const fuse_in_header*>(read_request());
    struct {
      fuse_out_header header;
      fuse_init_out init;
    } answer{};
    answer.header = {sizeof answer, 0, begin->unique};
    answer.init.major = FUSE_KERNEL_VERSION;
    answer.init.minor = FUSE_KERNEL_MINOR_VERSION;
    answer.init.max_write = 4096;
    EXPECT_EQ(::write(device_.get(), &answer, sizeof answer), ssize_t{sizeof answer});
  }
  ~SilentFilesystem() {
    let_go();
    ::umount2(directory_.c_str(), MNT_DETACH);
    ::rmdir(directory_.c_str());
  }
  /// Takes the next request, whose process can no longer be killed from then on.
  const char* read_request() {
    pollfd wanted{device_.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&wanted, 1, 10000), 1) << "no request came";
    EXPECT_GT(::read(device_.get(), buffer_.data(), buffer_.size()), 0);
    return buffer_.data();
  }
  void let_go() { device_ = OwnedFd(); }
  std::string file() const { return directory_ + "/file"; }

 private:
  OwnedFd device_;
  std::string directory_;
  alignas(8) std::array<char, 1 << 18> buffer_{};
};

/// A helper that an earlier batond began in this group.
ChildProcess begin_in(EventLoop& loop, const std::string& group, std::vector<std::string> argv) {
  ChildOptions options;
  options.argv = std::move(argv);
  options.control_group = *service_group_path("helpers-" + group);
  EXPECT_TRUE(create_control_group(options.control_group).has_value());
  auto child = ChildProcess::spawn(loop, options, [](const ChildEnd&) {});
  EXPECT_TRUE(child.has_value()) << child.error().message;
  return std::move(*child);
}

TEST_F(LeftoverHelpersTest, AreKilledBeforeTheGroupIsClear) {
  in_own_group([] {
    EventLoop loop;
    const auto child = begin_in(loop, "db", {"sleep", "1000"});
    const std::string place = *service_group_path("helpers-db");
    LeftoverHelpers helpers(loop);
    bool clear = false;
    helpers.when_clear("db", [&] {
      clear = true;
      EXPECT_FALSE(*control_group_populated(place));
    });
    EXPECT_FALSE(clear);
    EXPECT_TRUE(loop.run_until([&] { return clear; }, 10s));
    EXPECT_EQ(helpers.place("db"), place);
  });
}

TEST_F(LeftoverHelpersTest, OneThatCannotBeKilledHoldsUpItsOwnGroupOnly) {
  in_own_group([] {
    EventLoop loop;
    SilentFilesystem silent;
    const auto stuck = begin_in(loop, "stuck", {"stat", silent.file()});
    silent.read_request();
    LeftoverHelpers helpers(loop);
    bool stuck_clear = false;
    bool other_clear = false;
    helpers.when_clear("stuck", [&] { stuck_clear = true; });
    helpers.when_clear("other", [&] { other_clear = true; });
    EXPECT_TRUE(loop.run_until([&] { return other_clear; }, 2s)) << "less than the limit of the stuck one";
    EXPECT_FALSE(loop.run_until([&] { return stuck_clear; }, 200ms));
    silent.let_go();
    EXPECT_TRUE(loop.run_until([&] { return stuck_clear; }, 10s));
  });
}

// A mount is several commands, each begun when the one before has ended.
TEST_F(LeftoverHelpersTest, WhatACallbackBeginsStaysInTheGroupsPlace) {
  in_own_group([] {
    EventLoop loop;
    LeftoverHelpers helpers(loop);
    std::string seen;
    const HelperRequest where{.purpose = "asking", .argv = {"grep", "^0:", "/proc/self/cgroup"}};
    helpers.when_clear("db", [&] {
      const HelperPlace place(helpers.place("db"));
      run_helper(loop, {.purpose = "first", .argv = {"true"}}, [&](const auto&) {
        run_helper(loop, where, [&](const auto& output) { seen = output ? output->output : output.error().message; });
      });
    });
    EXPECT_TRUE(loop.run_until([&] { return !seen.empty(); }, 10s));
    EXPECT_NE(seen.find("/helpers-db\n"), std::string::npos) << seen;
  });
}

}  // namespace
}  // namespace baton
