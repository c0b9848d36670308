// The state before a copy: kept, brought back, given up; on files with shared extents, on those without, and on volumes
// by stand-ins for their commands.
#include "src/mirror/snapshot.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "src/mirror/buffer_pool.h"
#include "src/mirror/file_device.h"
#include "src/mirror/snapshot_volume.h"
#include "src/mirror/test_loop.h"

namespace baton::mirror {
namespace {

class SnapshotTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/var/tmp/baton-snapshot-XXXXXX";
    directory_ = mkdtemp(pattern);
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
  }
  void TearDown() override {
    if (mounted_) umount2((directory_ + "/mount").c_str(), MNT_DETACH);
    std::filesystem::remove_all(directory_);
  }

  /// Mounts a new filesystem; false if that cannot be had here. In a namespace of the test's own, so that nothing stays.
  bool mount_new(const std::string& make, const std::string& type) {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
    const std::string device = make_loop_device(directory_ + "/disk", 400 << 20, &holder_);
    if (device.empty() || system((make + " " + device + " >/dev/null 2>&1").c_str()) != 0) return false;
    std::filesystem::create_directory(directory_ + "/mount");
    mounted_ = mount(device.c_str(), (directory_ + "/mount").c_str(), type.c_str(), 0, nullptr) == 0;
    return mounted_;
  }
  Status wait(const std::function<void(Snapshot::Done)>& begin) {
    std::optional<Status> outcome;
    begin([&](Status status) { outcome = std::move(status); });
    EXPECT_TRUE(ring_->run_until([&] { return outcome.has_value(); }, 30s));
    return outcome ? *outcome : fail("no answer");
  }
  void write(BlockDevice& device, uint64_t block, uint8_t value) {
    const BufferId buffer = pool_.allocate(4096);
    std::fill_n(pool_.data(buffer), 4096, value);
    std::optional<int> outcome;
    device.write({block, 1}, pool_.data(buffer), [&](int error) { outcome = error; });
    EXPECT_TRUE(ring_->run_until([&] { return outcome.has_value(); }, 5s));
    EXPECT_EQ(outcome, 0);
  }
  int read(BlockDevice& device, uint64_t block) {
    const BufferId buffer = pool_.allocate(4096);
    std::optional<int> outcome;
    device.read({block, 1}, pool_.data(buffer), [&](int error) { outcome = error; });
    EXPECT_TRUE(ring_->run_until([&] { return outcome.has_value(); }, 5s));
    return outcome == 0 ? pool_.data(buffer)[77] : -1;
  }

  /// On a filesystem with shared extents.
  void there_and_back() {
    const std::string store = directory_ + "/mount/store";
    auto opened = FileDevice::open(*ring_, store, 64 << 20);
    ASSERT_TRUE(opened) << opened.error().message;
    BlockDevice& device = *opened->device;
    auto snapshot = Snapshot::for_store(*ring_, store);
    EXPECT_FALSE(snapshot->exists());
    EXPECT_EQ(wait([&](auto done) { snapshot->revert(done); }).error().code, ErrorCode::kFailed);

    write(device, 5, 1);
    auto taken = wait([&](auto done) { snapshot->take(done); });
    ASSERT_TRUE(taken) << taken.error().message;
    EXPECT_TRUE(snapshot->exists());
    EXPECT_TRUE(std::filesystem::exists(store + ".before-copy"));
    write(device, 5, 2);
    write(device, 9, 2);
    EXPECT_EQ(read(device, 5), 2);
    for (int twice = 0; twice < 2; ++twice) {
      // Under the open store, and again as after a crash.
      auto reverted = wait([&](auto done) { snapshot->revert(done); });
      ASSERT_TRUE(reverted) << reverted.error().message;
      EXPECT_EQ(read(device, 5), 1);
      EXPECT_EQ(read(device, 9), 0);
      write(device, 9, 3);
      EXPECT_EQ(read(device, 9), 3);
    }
    for (int twice = 0; twice < 2; ++twice) EXPECT_TRUE(wait([&](auto done) { snapshot->drop(done); }));
    EXPECT_FALSE(snapshot->exists());
    EXPECT_EQ(read(device, 9), 3);
  }

  std::string directory_;
  bool mounted_ = false;
  OwnedFd holder_;
  BufferPool pool_;
  std::unique_ptr<Ring> ring_;
};

TEST_F(SnapshotTest, OnXfs) {
  if (!mount_new("mkfs.xfs -q -f -m reflink=1", "xfs")) GTEST_SKIP() << "XFS cannot be mounted here";
  there_and_back();
}

TEST_F(SnapshotTest, OnBtrfs) {
  if (!mount_new("mkfs.btrfs -q -f", "btrfs")) GTEST_SKIP() << "btrfs cannot be mounted here";
  there_and_back();
}

TEST_F(SnapshotTest, AFilesystemWithoutSharedExtentsSaysSo) {
  if (!mount_new("mkfs.ext4 -q -F", "ext4")) GTEST_SKIP() << "ext4 cannot be mounted here";
  const std::string store = directory_ + "/mount/store";
  ASSERT_TRUE(FileDevice::open(*ring_, store, 1 << 20));
  auto snapshot = Snapshot::for_store(*ring_, store);
  auto taken = wait([&](auto done) { snapshot->take(done); });
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(taken.error().message.find("reflink"), std::string::npos) << taken.error().message;
  EXPECT_FALSE(std::filesystem::exists(store + ".before-copy"));
  EXPECT_FALSE(std::filesystem::exists(store + ".before-copy.new"));
  EXPECT_TRUE(wait([&](auto done) { snapshot->drop(done); }));
}

TEST_F(SnapshotTest, ADeviceWithoutAnyWaySaysSo) {
  auto snapshot = Snapshot::for_store(*ring_, "/dev/null");
  EXPECT_EQ(wait([&](auto done) { snapshot->take(done); }).error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(wait([&](auto done) { snapshot->drop(done); }));
}

TEST_F(SnapshotTest, AZfsVolumesCommands) {
  auto commands = VolumeSnapshot::commands_of("/dev/zvol/tank/vm/data");
  ASSERT_TRUE(commands);
  // The stand-in keeps its one snapshot as a file and notes what it was asked.
  std::ofstream(directory_ + "/zfs") << "#!/bin/sh\necho \"$*\" >> " << directory_ << "/asked\n"
                                     << "case $1 in list) test -e " << directory_ << "/kept;;\n"
                                     << "snapshot) test ! -e " << directory_ << "/kept && touch " << directory_ << "/kept;;\n"
                                     << "rollback) test -e " << directory_ << "/kept || { echo no such snapshot; exit 3; };;\n"
                                     << "destroy) rm " << directory_ << "/kept;; esac\n";
  std::filesystem::permissions(directory_ + "/zfs", std::filesystem::perms::owner_all);
  const std::string path = getenv("PATH");
  setenv("PATH", (directory_ + ":" + path).c_str(), 1);
  VolumeSnapshot snapshot(*ring_, *commands);
  EXPECT_FALSE(snapshot.exists());
  auto reverted = wait([&](auto done) { snapshot.revert(done); });
  ASSERT_FALSE(reverted);
  EXPECT_NE(reverted.error().message.find("no such snapshot"), std::string::npos) << reverted.error().message;
  EXPECT_TRUE(wait([&](auto done) { snapshot.take(done); }));
  EXPECT_TRUE(snapshot.exists());
  EXPECT_TRUE(wait([&](auto done) { snapshot.take(done); }));  // replaces it
  EXPECT_TRUE(wait([&](auto done) { snapshot.revert(done); }));
  EXPECT_TRUE(snapshot.exists());
  EXPECT_TRUE(wait([&](auto done) { snapshot.drop(done); }));
  EXPECT_TRUE(wait([&](auto done) { snapshot.drop(done); }));
  EXPECT_FALSE(snapshot.exists());
  setenv("PATH", path.c_str(), 1);
  std::ifstream asked(directory_ + "/asked");
  const std::string all((std::istreambuf_iterator<char>(asked)), {});
  EXPECT_NE(all.find("snapshot tank/vm/data@before-copy"), std::string::npos) << all;
  EXPECT_NE(all.find("rollback tank/vm/data@before-copy"), std::string::npos) << all;
}

}  // namespace
}  // namespace baton::mirror
