// Logs that grow too long are cut while somebody appends to them.
#include "src/daemon/log_limit.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "src/os/owned_fd.h"

namespace baton {
namespace {

class LogLimitTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/log_limit_XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  void write(const std::string& name, size_t bytes) const { std::ofstream(path(name)) << std::string(bytes - 1, 'x') << 'y'; }
  std::string read(const std::string& name) const {
    std::stringstream text;
    text << std::ifstream(path(name)).rdbuf();
    return text.str();
  }

  std::string directory_;
  LogLimits limits_{.bytes = 1000, .kept = 100};
};

TEST_F(LogLimitTest, ALongLogIsCutAndItsEndKeptBesideIt) {
  for (const char* name : {"service-db.postgresql.log", "script-web.app.log", "program-web.app.worker.log"}) {
    write(name, 5000);
    cut_long_logs(directory_, limits_);
    EXPECT_EQ(read(name), "");
    EXPECT_EQ(read(std::string(name) + ".1"), std::string(99, 'x') + "y");
  }
}

TEST_F(LogLimitTest, WhoAppendsGoesOnAtItsBegin) {
  write("service-a.b.log", 2000);
  const OwnedFd writer(::open(path("service-a.b.log").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  cut_long_logs(directory_, limits_);
  ASSERT_EQ(::write(writer.get(), "more", 4), 4);
  EXPECT_EQ(read("service-a.b.log"), "more");
}

TEST_F(LogLimitTest, ShortLogsAndOtherFilesAreLeftAlone) {
  write("service-a.b.log", 1000);
  write("batond.log", 5000);
  write("service-notes.txt", 5000);
  write("elsewhere", 5000);
  std::filesystem::create_symlink(path("elsewhere"), path("service-link.log"));
  cut_long_logs(directory_, limits_);
  EXPECT_EQ(read("service-a.b.log").size(), 1000u);
  EXPECT_EQ(read("batond.log").size(), 5000u);
  EXPECT_EQ(read("service-notes.txt").size(), 5000u);
  EXPECT_EQ(read("elsewhere").size(), 5000u);
}

TEST_F(LogLimitTest, ItLooksAgainAndAgain) {
  EventLoop loop;
  limits_.interval = milliseconds(5);
  LogLimit limit(loop, directory_, limits_);
  write("script-a.b.log", 2000);
  const auto deadline = loop.after(seconds(20), [&] { loop.stop(); });
  std::function<void()> look = [&] {
    if (read("script-a.b.log").empty()) return loop.stop();
    loop.post(look);
  };
  loop.post(look);
  loop.run();
  EXPECT_EQ(read("script-a.b.log"), "");
}

}  // namespace
}  // namespace baton
