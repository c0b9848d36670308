// The watchdog port, against a FIFO in place of the device: what is written to it, and when nothing is.
#include "src/guard/watchdog.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <fmt/format.h>

namespace baton::guard {
namespace {

struct WatchdogTest : testing::Test {
  WatchdogTest() {
    ::unlink(path.c_str());
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    reader = OwnedFd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  }
  ~WatchdogTest() override { ::unlink(path.c_str()); }
  std::string written() {
    char bytes[64];
    const ssize_t count = ::read(reader.get(), bytes, sizeof bytes);
    return count > 0 ? std::string(bytes, static_cast<size_t>(count)) : "";
  }
  std::string path = std::filesystem::temp_directory_path() / fmt::format("watchdog-{}", ::getpid());
  OwnedFd reader;
};

TEST_F(WatchdogTest, IsFedByteByByte) {
  auto watchdog = Watchdog::open(path);
  ASSERT_TRUE(watchdog);
  EXPECT_EQ(written(), "");
  EXPECT_TRUE(watchdog->feed());
  EXPECT_TRUE(watchdog->feed());
  EXPECT_EQ(written(), "++");
}

TEST_F(WatchdogTest, AnOrderlyEndIsTheMagicClose) {
  auto watchdog = Watchdog::open(path);
  ASSERT_TRUE(watchdog);
  watchdog->close_in_order();
  EXPECT_EQ(written(), "V");
  EXPECT_FALSE(watchdog->is_open());
}

TEST_F(WatchdogTest, AKilledGuardLeavesItRunning) {
  {
    auto watchdog = Watchdog::open(path);
    ASSERT_TRUE(watchdog);
  }
  EXPECT_EQ(written(), "");
}

TEST_F(WatchdogTest, ADeviceThatRefusesIsSaid) {
  auto watchdog = Watchdog::open(path);
  ASSERT_TRUE(watchdog);
  ::signal(SIGPIPE, SIG_IGN);
  reader.close();
  EXPECT_FALSE(watchdog->feed());
  const auto missing = Watchdog::open(path + ".missing");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("softdog"), std::string::npos);
}

}  // namespace
}  // namespace baton::guard
