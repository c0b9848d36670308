// Filesystems on a loop device in a private mount namespace: made when blank only, mounted, busy, damaged.
#include "src/os/filesystem_helper.h"

#include <gtest/gtest.h>

#include <optional>

#include "src/os/mount_table.h"
#include "src/os/mount_users.h"
#include "src/os/test_namespace.h"

namespace baton {
namespace {

std::string first_line(const std::string& command) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
  char line[256] = {};
  if (!pipe || std::fgets(line, sizeof line, pipe.get()) == nullptr) return "";
  return std::string(line, std::strcspn(line, "\n"));
}

/// A blank 16 MiB disk on a loop device; freed at the end also when the test fails.
void with_disk(const std::function<void(const std::string& device)>& body) {
  const std::string image = fmt::format("{}filesystem_helper_test.{}", ::testing::TempDir(), ::getpid());
  shell_or_fail("truncate -s 16M " + image);
  const std::string device = first_line("losetup --find --show " + image);
  ASSERT_FALSE(device.empty());
  in_namespaces(CLONE_NEWPID, [&] {
    shell_or_fail("mount -t tmpfs mnt /mnt");
    body(device);
  });
  shell_or_fail("losetup -d " + device + " && rm " + image);
}

template <class Value>
Result<Value> wait_for(EventLoop& loop, const std::function<void(std::function<void(Result<Value>)>)>& begin) {
  auto outcome = std::make_shared<std::optional<Result<Value>>>();
  begin([outcome](Result<Value> result) { *outcome = std::move(result); });
  EXPECT_TRUE(loop.run_until([&] { return outcome->has_value(); }, 30s));
  if (outcome->has_value()) return **outcome;
  return fail("no answer");
}

Result<bool> make(EventLoop& loop, const std::string& device) {
  return wait_for<bool>(loop, [&](auto done) { make_filesystem_if_blank(loop, device, "ext4", 20s, done); });
}
Result<MountReport> mount_it(EventLoop& loop, const std::string& device, const std::string& where) {
  return wait_for<MountReport>(
      loop, [&](auto done) { mount_filesystem(loop, {.device = device, .mount_point = where}, done); });
}
Status unmount_it(EventLoop& loop, const std::string& where) {
  return wait_for<void>(loop, [&](auto done) { unmount_filesystem(loop, where, 10s, done); });
}

TEST(FilesystemHelper, MadeMountedAdoptedBusyUnmounted) {
  with_disk([](const std::string& device) {
    EventLoop loop;
    auto made = make(loop, device);
    ASSERT_TRUE(made.has_value()) << made.error().message;
    EXPECT_TRUE(*made);
    EXPECT_FALSE(*make(loop, device));  // there already

    auto mounted = mount_it(loop, device, "/mnt/a/data/");
    ASSERT_TRUE(mounted.has_value()) << mounted.error().message;
    EXPECT_FALSE(mounted->already_mounted);
    EXPECT_FALSE(mounted->repaired);
    EXPECT_EQ(*mounted_device("/mnt/a/data"), device);
    EXPECT_TRUE(mount_it(loop, device, "/mnt/a/data")->already_mounted);
    auto elsewhere = mount_it(loop, device, "/mnt/b");
    ASSERT_FALSE(elsewhere.has_value());
    EXPECT_NE(elsewhere.error().message.find("mounted on /mnt/a/data already"), std::string::npos);

    // Until it is tail that holds it, and no longer the shell that is about to become that.
    shell_or_fail("cd /mnt/a/data && { tail -f /dev/null >log & echo $! >/mnt/holder; }; "
                  "timeout 10 sh -c 'until grep -qx tail /proc/$(cat /mnt/holder)/comm; do :; done'");
    auto busy = unmount_it(loop, "/mnt/a/data");
    ASSERT_FALSE(busy.has_value());
    EXPECT_EQ(busy.error().code, ErrorCode::kConflict);
    EXPECT_NE(busy.error().message.find("tail ("), std::string::npos) << busy.error().message;
    EXPECT_NE(busy.error().message.find("working directory"), std::string::npos) << busy.error().message;
    shell_or_fail("kill -9 $(cat /mnt/holder)");
    Status unmounted = fail("not tried");
    EXPECT_TRUE(loop.run_until([&] { return (unmounted = unmount_it(loop, "/mnt/a/data")).has_value(); }, 10s));
    EXPECT_TRUE(unmount_it(loop, "/mnt/a/data").has_value());  // idempotent
  });
}

TEST(FilesystemHelper, OccupiedMountPointAndDetach) {
  with_disk([](const std::string& device) {
    EventLoop loop;
    ASSERT_TRUE(make(loop, device).has_value());
    shell_or_fail("mkdir /mnt/data && mount -t tmpfs squatter /mnt/data");
    auto refused = mount_it(loop, device, "/mnt/data");
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_NE(refused.error().message.find("squatter (tmpfs) is mounted there"), std::string::npos);
    shell_or_fail("umount /mnt/data");
    ASSERT_TRUE(mount_it(loop, device, "/mnt/data").has_value());
    shell_or_fail("mkdir /mnt/data/below && mount -t tmpfs inner /mnt/data/below");
    auto busy = unmount_it(loop, "/mnt/data");
    ASSERT_FALSE(busy.has_value());
    EXPECT_NE(busy.error().message.find("mounted below, on /mnt/data/below"), std::string::npos);
    auto detached = wait_for<void>(loop, [&](auto done) { detach_filesystem(loop, "/mnt/data", 5s, done); });
    EXPECT_TRUE(detached.has_value());
    EXPECT_FALSE(mounted_device("/mnt/data")->has_value());
  });
}

TEST(FilesystemHelper, NeverOverwritesWhatIsNotBlank) {
  with_disk([](const std::string& device) {
    EventLoop loop;
    shell_or_fail("printf x | dd of=" + device + " bs=1 seek=500000 conv=notrunc status=none");
    auto refused = make(loop, device);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_NE(refused.error().message.find("data of unknown kind"), std::string::npos);
    shell_or_fail("dd if=/dev/zero of=" + device +
                  " bs=1M count=1 conv=notrunc status=none && "
                  "printf x | dd of=" +
                  device + " bs=1 seek=16777000 conv=notrunc status=none");
    EXPECT_FALSE(make(loop, device).has_value());
    shell_or_fail("dd if=/dev/zero of=" + device + " bs=1M count=16 conv=notrunc status=none && mkswap -q " +
                  device);
    refused = make(loop, device);
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().message.find("it holds swap"), std::string::npos) << refused.error().message;
    EXPECT_FALSE(make(loop, "/dev/no-such-device").has_value());
  });
}

TEST(FilesystemHelper, RepairsOnlyWhatTheSuperblockReports) {
  with_disk([](const std::string& device) {
    EventLoop loop;
    ASSERT_TRUE(make(loop, device).has_value());
    shell_or_fail("debugfs -w -R 'ssv state 2' " + device + " 2>/dev/null");  // errors detected
    auto mounted = mount_it(loop, device, "/mnt/data");
    ASSERT_TRUE(mounted.has_value()) << mounted.error().message;
    EXPECT_TRUE(mounted->repaired);
    EXPECT_TRUE(unmount_it(loop, "/mnt/data").has_value());
    shell_or_fail("dd if=/dev/zero of=" + device + " bs=4096 count=4 conv=notrunc status=none");
    auto damaged = mount_it(loop, device, "/mnt/data");
    ASSERT_FALSE(damaged.has_value());
    EXPECT_NE(damaged.error().message.find("reading the filesystem on " + device), std::string::npos);
  });
}

TEST(MountTable, EscapesAndFields) {
  auto table = parse_mount_table(
      "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
      "broken line\n");
  ASSERT_EQ(table.size(), 1u);
  EXPECT_EQ(table[0].mount_point, "/mnt 2");
  EXPECT_EQ(table[0].device, "98:0");
  EXPECT_EQ(table[0].type, "ext3");
  EXPECT_EQ(table[0].source, "/dev/root");
  EXPECT_EQ(tidy_path("/a//b/"), "/a/b");
  EXPECT_EQ(tidy_path("/"), "/");
}

}  // namespace
}  // namespace baton
