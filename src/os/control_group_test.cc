// Control groups: a process is born in one, its whole tree is killed, the end comes as an event.
#include "src/os/control_group.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "src/os/child_process.h"

namespace baton {
namespace {

std::string new_group(const std::string& name) {
  auto path = service_group_path(fmt::format("baton-test-{}-{}", name, ::getpid()));
  EXPECT_TRUE(path.has_value()) << path.error().message;
  auto created = create_control_group(*path);
  EXPECT_TRUE(created.has_value()) << created.error().message;
  return *path;
}

TEST(ControlGroup, KillsAWholeTreeAndRemovesTheGroup) {
  const std::string path = new_group("tree");
  EventLoop loop;
  ChildOptions options;
  options.argv = {"sh", "-c", "setsid sh -c 'setsid sleep 1000 & sleep 1000' & sleep 1000"};
  options.control_group = path;
  bool ended = false;
  auto child = ChildProcess::spawn(loop, options, [&](const ChildEnd&) { ended = true; });
  ASSERT_TRUE(child.has_value()) << child.error().message;
  EXPECT_TRUE(*control_group_populated(path));
  ASSERT_TRUE(loop.run_until([&] { return control_group_processes(path).size() >= 4; }, 5s));

  Status status = fail("not reported");
  bool cleared = false;
  clear_control_group(loop, path, 5s, [&](Status outcome) {
    status = outcome;
    cleared = true;
  });
  EXPECT_TRUE(loop.run_until([&] { return cleared && ended; }, 5s));
  EXPECT_TRUE(status.has_value()) << status.error().message;
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST(ControlGroup, WaitNamesWhoIsLeftAtTheDeadline) {
  const std::string path = new_group("wait");
  EventLoop loop;
  ChildOptions options;
  options.argv = {"sleep", "1000"};
  options.control_group = path;
  auto child = ChildProcess::spawn(loop, options, [](const ChildEnd&) {});
  ASSERT_TRUE(child.has_value());
  Status status;
  bool reported = false;
  auto report = [&](Status outcome) {
    status = outcome;
    reported = true;
  };
  wait_until_empty(loop, path, 50ms, report);
  EXPECT_TRUE(loop.run_until([&] { return reported; }, 5s));
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kTimeout);
  EXPECT_NE(status.error().message.find("sleep"), std::string::npos) << status.error().message;

  reported = false;
  wait_until_empty(loop, path, 5s, report);
  auto later = loop.after(10ms, [&] { child->send_signal(SIGTERM); });
  EXPECT_TRUE(loop.run_until([&] { return reported; }, 5s));
  EXPECT_TRUE(status.has_value());
  EXPECT_TRUE(remove_control_group(path).has_value());
}

TEST(ControlGroup, AMissingGroupIsEmpty) {
  EventLoop loop;
  bool done = false;
  clear_control_group(loop, *service_group_path("baton-test-none"), 1s,
                      [&](Status status) { done = status.has_value(); });
  EXPECT_TRUE(loop.run_until([&] { return done; }, 5s));
}

}  // namespace
}  // namespace baton
