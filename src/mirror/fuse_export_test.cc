// The export over a disk in memory: made, used by the kernel, closed, aborted. Needs root, /dev/fuse and loop
// devices; skipped without.
#include "src/mirror/fuse_export.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "src/mirror/loop_device.h"

extern char** environ;

namespace baton::mirror {
namespace {

constexpr uint64_t kSize = 16 << 20;

class FuseExportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (getuid() != 0 || access("/dev/fuse", R_OK) != 0 || access("/dev/loop-control", R_OK) != 0) {
      GTEST_SKIP() << "needs root, /dev/fuse and /dev/loop-control";
    }
    // Mounts of our own: a namespace that somebody copies meanwhile would keep our device in use.
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    char pattern[] = "/var/tmp/baton-export-XXXXXX";
    directory_ = mkdtemp(pattern);
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
    make_export();
  }

  void TearDown() override {
    if (!ring_) return;
    bool done = false;
    export_->abort([&] { done = true; });
    ring_->run_until([&] { return done; }, 5s);
    std::filesystem::remove_all(directory_);
  }

  void make_export(bool read_only = false) {
    export_ = std::make_unique<FuseExport>(
        *ring_, pool_, "test.disk", kSize, directory_, [this](const ClientRequest& request) { serve(request); },
        [this](const std::string& reason) { lost_ = reason; },
        [this](const std::string& text) { noted_ += text; }, read_only);
  }

  void serve(const ClientRequest& request) {
    const uint64_t start = request.range.first * kBlockBytes;
    const uint64_t size = request.range.count * kBlockBytes;
    if (request.kind == RequestKind::kFlush) ++flushes_;
    if (request.kind == RequestKind::kZero) {
      std::memset(disk_.data() + start, 0, size);
      zero_unmaps_.push_back(request.unmap);
    }
    if (request.kind == RequestKind::kRead) std::memcpy(pool_.data(request.buffer), disk_.data() + start, size);
    if (request.kind == RequestKind::kWrite)
      std::memcpy(disk_.data() + start, pool_.data(request.buffer), size);
    if (frozen_) {
      held_.push_back(request.id);
    } else {
      // Answered from the loop, as the daemon does.
      ring_->after(delay_, [this, id = request.id] { export_->complete(id, true); });
    }
    if (request.buffer != 0) pool_.release(request.buffer);
  }

  void open() {
    std::optional<Result<std::string>> device;
    export_->open([&](Result<std::string> opened) { device = opened; });
    ASSERT_TRUE(ring_->run_until([&] { return device.has_value(); }, 10s));
    ASSERT_TRUE(*device) << device->error().message;
    EXPECT_EQ(**device, export_->device());
  }

  Status close() {
    std::optional<Status> closed;
    export_->close([&](Status status) { closed = status; });
    EXPECT_TRUE(ring_->run_until([&] { return closed.has_value(); }, 20s));
    return closed.value_or(fail("no answer"));
  }

  /// A shell command while the loop serves; its exit status.
  int run(const std::string& command) {
    const pid_t pid = start(command);
    int status = -1;
    EXPECT_TRUE(ring_->run_until([&] { return waitpid(pid, &status, WNOHANG) == pid; }, 30s)) << command;
    return status;
  }

  static pid_t start(const std::string& command) {
    pid_t pid = 0;
    std::string text = command;
    char shell[] = "sh";
    char option[] = "-c";
    char* arguments[] = {shell, option, text.data(), nullptr};
    EXPECT_EQ(posix_spawnp(&pid, "sh", nullptr, nullptr, arguments, environ), 0);
    return pid;
  }

  std::string directory_;
  std::unique_ptr<Ring> ring_;
  BufferPool pool_;
  std::vector<uint8_t> disk_ = std::vector<uint8_t>(kSize);
  std::unique_ptr<FuseExport> export_;
  int flushes_ = 0;
  std::vector<bool> zero_unmaps_;
  bool frozen_ = false;
  Duration delay_ = Duration::zero();
  std::vector<RequestId> held_;
  std::string lost_;
  std::string noted_;
};

TEST_F(FuseExportTest, TheKernelReadsAndWrites) {
  open();
  const std::string device = export_->device();
  EXPECT_EQ(run("test $(blockdev --getss " + device + ") = 4096"), 0);
  EXPECT_EQ(run("test $(blockdev --getsize64 " + device + ") = 16777216"), 0);
  EXPECT_EQ(run("test $(cat /sys/block/" + device.substr(5) + "/loop/dio) = 1"), 0);
  EXPECT_EQ(run("head -c 5000000 /dev/urandom >" + directory_ + "/data"), 0);
  EXPECT_EQ(run("dd if=" + directory_ + "/data of=" + device + " bs=1M conv=fsync 2>/dev/null"), 0);
  EXPECT_GT(flushes_, 0);
  EXPECT_EQ(run("head -c 5000000 " + device + " | cmp - " + directory_ + "/data"), 0);
  std::ifstream data(directory_ + "/data", std::ios::binary);
  std::string content(5'000'000, '\0');
  data.read(content.data(), 5'000'000);
  EXPECT_EQ(std::memcmp(content.data(), disk_.data(), content.size()), 0);
  auto closed = close();
  EXPECT_TRUE(closed) << closed.error().message;
  EXPECT_EQ(run("losetup " + device + " >/dev/null 2>&1") == 0, false);
  EXPECT_EQ(pool_.in_use(), 0u);
  EXPECT_EQ(lost_, "");
}

TEST_F(FuseExportTest, ItGoesOnWhileMemoryIsOnItsWay) {
  std::vector<std::pair<uint8_t*, size_t>> asked;
  pool_.set_grow([&](uint8_t* memory, size_t bytes) { asked.emplace_back(memory, bytes); });
  open();
  delay_ = 5ms;  // so that they pile up
  // More at once than there is memory for; the pool does not grow until it has ended.
  const std::string device = export_->device();
  EXPECT_EQ(run("for i in 0 2 4 6 8 10 12 14; do dd if=/dev/zero of=" + device +
                " bs=1M count=2 seek=$i oflag=direct 2>/dev/null & done; wait; dd if=" + device + " bs=16k count=300 of=/dev/null "
                "2>/dev/null"), 0);
  EXPECT_EQ(asked.size(), 1u);
  EXPECT_LE(pool_.reserved_bytes(), 4u << 20);
  pool_.grown(false);
  export_->memory_came();
  EXPECT_EQ(run("dd if=/dev/zero of=" + device + " bs=1M count=8 conv=fsync 2>/dev/null"), 0);
  pool_.set_grow(nullptr);
  EXPECT_TRUE(close());
}

TEST_F(FuseExportTest, DiscardsAndZeroesGoThrough) {
  open();
  const std::string device = export_->device();
  std::fill(disk_.begin(), disk_.end(), 1);
  EXPECT_EQ(run("blkdiscard -o 1048576 -l 2097152 " + device), 0);
  EXPECT_TRUE(zero_unmaps_.back());
  EXPECT_EQ(run("blkdiscard -z -o 8388608 -l 4096 " + device), 0);
  EXPECT_EQ(std::count(disk_.begin(), disk_.end(), 0), 2'097'152 + 4096);
  EXPECT_EQ(disk_[1 << 20], 0);
  EXPECT_EQ(disk_[8 << 20], 0);
  EXPECT_TRUE(close());
}

TEST_F(FuseExportTest, ItGrowsWhileOpen) {
  open();
  disk_.resize(2 * kSize);
  std::optional<Status> grown;
  export_->grow(2 * kSize, [&](Status status) { grown = status; });
  ASSERT_TRUE(ring_->run_until([&] { return grown.has_value(); }, 5s));
  ASSERT_TRUE(*grown) << grown->error().message;
  EXPECT_EQ(run("test $(blockdev --getsize64 " + export_->device() + ") = 33554432"), 0);
  EXPECT_EQ(run("echo x | dd of=" + export_->device() + " bs=4096 seek=8191 conv=sync,fsync 2>/dev/null"), 0);
  EXPECT_EQ(disk_[2 * kSize - 4096], 'x');
  EXPECT_TRUE(close());
}

TEST_F(FuseExportTest, ReadOnlyIsReadOnly) {
  make_export(true);
  open();
  EXPECT_EQ(run("test $(blockdev --getro " + export_->device() + ") = 1"), 0);
  EXPECT_NE(run("dd if=/dev/zero of=" + export_->device() + " bs=4096 count=1 oflag=direct 2>/dev/null"), 0);
  EXPECT_EQ(run("head -c 8192 " + export_->device() + " >/dev/null"), 0);
  EXPECT_TRUE(close());
}

TEST_F(FuseExportTest, FilesystemsWorkAndHoldTheDevice) {
  open();
  const std::string mount = directory_ + "/mount";
  std::filesystem::create_directory(mount);
  EXPECT_EQ(run("mkfs.ext4 -q " + export_->device() + " && mount " + export_->device() + " " + mount), 0);
  EXPECT_EQ(run("dd if=/dev/zero of=" + mount + "/file bs=4k count=500 oflag=direct 2>/dev/null"), 0);
  auto closed = close();
  ASSERT_FALSE(closed);
  EXPECT_NE(closed.error().message.find(mount), std::string::npos) << closed.error().message;
  EXPECT_EQ(export_->state(), Export::State::kOpen);
  EXPECT_EQ(run("umount " + mount), 0);
  EXPECT_TRUE(close());
  open();
  EXPECT_EQ(run("fsck.ext4 -n -f " + export_->device() + " >/dev/null 2>&1"), 0);
  EXPECT_TRUE(close());
}

TEST_F(FuseExportTest, AnAbortEndsWhatHangs) {
  open();
  const std::string device = export_->device();
  frozen_ = true;
  const pid_t writer = start("dd if=/dev/zero of=" + device + " bs=4k count=1 oflag=direct 2>/dev/null");
  ASSERT_TRUE(ring_->run_until([&] { return !held_.empty(); }, 5s));
  bool aborted = false;
  const Instant begun = Ring::now();
  export_->abort([&] { aborted = true; });
  int status = 0;
  ASSERT_TRUE(ring_->run_until([&] { return waitpid(writer, &status, WNOHANG) == writer; }, 5s));
  EXPECT_TRUE(aborted);
  EXPECT_NE(status, 0);
  EXPECT_LT(Ring::now() - begun, 1s);
  EXPECT_EQ(export_->state(), Export::State::kClosed);
  export_->complete(held_.front(), true);  // too late, and harmless
  frozen_ = false;
  ASSERT_TRUE(ring_->run_until([&] { return device_users(device.substr(5)).empty(); }, 5s));
  open();
  EXPECT_TRUE(close());
}

TEST_F(FuseExportTest, LeftoversAreReclaimed) {
  // What a killed daemon leaves while somebody has the device open: here made by hand over a plain file.
  EXPECT_EQ(run("truncate -s 1M " + directory_ + "/left"), 0);
  OwnedFd file(::open((directory_ + "/left").c_str(), O_RDWR | O_CLOEXEC));
  auto loop = attach_loop(file.get(), "baton-0123456789abcdef-test.disk");
  ASSERT_TRUE(loop) << loop.error().message;
  std::ofstream(directory_ + "/loop-device") << loop->number << " baton-0123456789abcdef-test.disk\n";
  export_->reclaim();
  ASSERT_TRUE(ring_->run_until([&] { return !noted_.empty(); }, 5s));
  EXPECT_NE(noted_.find(loop_path(loop->number)), std::string::npos) << noted_;
  loop->fd.close();
  EXPECT_NE(run("losetup " + loop_path(loop->number) + " >/dev/null 2>&1"), 0);
}

}  // namespace
}  // namespace baton::mirror
