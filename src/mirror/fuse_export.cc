// The loop device is held by a child, the keeper, never by this process: closing a block device writes out what
// is cached for it, and at this process's end, a kill included, that would wait for the FUSE connection that is
// ending with it. The keeper sees our end, finds the connection dead, and takes the device away.
#include "src/mirror/fuse_export.h"

#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "src/base/assert.h"
#include "src/mirror/forked_task.h"
#include "src/mirror/loop_device.h"

namespace baton::mirror {
namespace {

constexpr Duration kAttachLimit = 10s;
constexpr Duration kUsersLimit = 3s;    // how long others may take to let go at a close
constexpr Duration kDetachLimit = 60s;  // the writing out of what is cached included

std::string new_tag(const std::string& mirror) {
  uint64_t random = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&random), sizeof random);
  return fmt::format("baton-{:016x}-{}", random, mirror).substr(0, 60);
}

/// The file, held by the keeper, is asked for its size first: the kernel sizes the device by what it knows of
/// the file.
Status grow(const LoopDevice& loop, int disk) {
  struct stat status {};
  if (fstat(disk, &status) != 0) return fail("cannot look at the FUSE file: {}", errno_text());
  return grow_loop(loop.number, loop.fd.get());
}

/// The child that has the loop device open for as long as it is exported. It is asked to "detach" or to "grow".
void keep_loop(TaskChannel& parent, int mount, const std::string& tag, bool read_only) {
  OwnedFd disk(openat(mount, "disk", (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!disk) return parent.answer(false, "cannot open the FUSE file: " + errno_text());
  auto loop = attach_loop(disk.get(), tag, read_only);
  if (!loop) return parent.answer(false, loop.error().message);
  close(mount);
  parent.answer(true, std::to_string(loop->number));
  while (auto request = parent.next_request()) {
    const bool growing = *request == "grow";
    auto done = growing ? grow(*loop, disk.get()) : detach_loop(loop->number, loop->fd.get(), kUsersLimit);
    parent.answer(done.has_value(), done ? "" : done.error().message);
    if (done && !growing) return;
  }
  detach_loop_lazily(loop->fd.get());
}

}  // namespace

FuseExport::FuseExport(Ring& ring, BufferPool& pool, std::string mirror, uint64_t size_bytes,
                       std::string directory, OnRequest on_request, OnLost on_lost, Note note, bool read_only)
    : ring_(ring),
      pool_(pool),
      mirror_(std::move(mirror)),
      size_bytes_(size_bytes),
      directory_(std::move(directory)),
      on_request_(std::move(on_request)),
      on_lost_(std::move(on_lost)),
      note_(std::move(note)),
      read_only_(read_only) {}

FuseExport::~FuseExport() = default;

// ---- Opening ----

void FuseExport::open(std::function<void(Result<std::string>)> done) {
  BATON_ASSERT(state_ == State::kClosed);
  auto connection = FuseConnection::open(ring_, pool_, size_bytes_, &last_request_, on_request_,
                                         [this](const std::string& reason) { connection_lost(reason); });
  if (!connection) {
    ring_.after(Duration::zero(), [done, error = connection.error()] { done(tl::unexpected<Error>(error)); });
    return;
  }
  connection_ = std::move(*connection);
  state_ = State::kOpening;
  open_done_ = std::move(done);
  tag_ = new_tag(mirror_);
  const int mount = connection_->mount();
  keeper_ = ForkedTask::start(
      ring_, "setting up the loop device", {mount}, kAttachLimit,
      [mount, tag = tag_, read_only = read_only_](TaskChannel& parent) {
        keep_loop(parent, mount, tag, read_only);
      },
      [this](const TaskAnswer& answer) { attached(answer.ok, answer.text); }, [this] { keeper_ended(); });
}

void FuseExport::attached(bool ok, const std::string& text) {
  auto done = std::exchange(open_done_, nullptr);
  if (!ok) {
    let_keeper_go();
    auto connection = std::exchange(connection_, nullptr);
    state_ = State::kClosed;
    connection->abort([connection] {});
    return done(fail("the export cannot be made: {}", text));
  }
  const int number = std::atoi(text.c_str());
  device_ = loop_path(number);
  write_record(number);
  connection_->forget_mount();  // the loop device has the file open
  state_ = State::kOpen;
  done(device_);
}

void FuseExport::let_keeper_go() {
  growing_ = false;
  if (auto keeper = std::exchange(keeper_, nullptr)) keeper->let_go();
}

void FuseExport::keeper_ended() {
  keeper_.reset();
  if (state_ == State::kClosing && detached_) return detached();
  if (state_ == State::kOpen || state_ == State::kClosing)
    connection_lost("the keeper of the loop device ended");
}

void FuseExport::write_record(int number) {
  std::error_code ignored;
  std::filesystem::create_directories(directory_, ignored);
  std::ofstream(record_path(), std::ios::trunc) << number << ' ' << tag_ << '\n';
}

// ---- Closing ----

void FuseExport::close(std::function<void(Status)> done) {
  BATON_ASSERT(state_ == State::kOpen);
  if (growing_) {
    ring_.after(Duration::zero(),
                [done] { done(fail_as(ErrorCode::kConflict, "the device is being enlarged: try again")); });
    return;
  }
  state_ = State::kClosing;
  detached_ = false;
  close_done_ = std::move(done);
  keeper_->ask("detach", kDetachLimit, [this](const TaskAnswer& answer) {
    detached_ = answer.ok;
    if (answer.ok) return;  // the device goes with the keeper: see keeper_ended()
    state_ = State::kOpen;
    std::exchange(close_done_, nullptr)(fail_as(ErrorCode::kConflict, "{}", answer.text));
    if (const std::string reason = std::exchange(lost_, ""); !reason.empty()) on_lost_(reason);
  });
}

/// In a close the kernel ends the connection as soon as the loop device lets go of the file: that is as it
/// should be, unless the device then says that it could not be detached.
void FuseExport::connection_lost(const std::string& reason) {
  if (state_ == State::kClosing) {
    lost_ = reason;
  } else {
    on_lost_(reason);
  }
}

void FuseExport::detached() {
  lost_.clear();
  auto connection = std::exchange(connection_, nullptr);
  state_ = State::kClosed;
  device_.clear();
  std::error_code ignored;
  std::filesystem::remove(record_path(), ignored);
  connection->abort([connection, done = std::exchange(close_done_, nullptr)] { done({}); });
}

// ---- Aborting ----

void FuseExport::abort(std::function<void()> done) {
  lost_.clear();
  growing_ = false;
  auto connection = std::exchange(connection_, nullptr);
  auto open_done = std::exchange(open_done_, nullptr);
  auto close_done = std::exchange(close_done_, nullptr);
  state_ = State::kClosed;
  if (!connection) {
    ring_.after(Duration::zero(), std::move(done));
    return;
  }
  device_.clear();
  connection->abort([connection, keeper = std::exchange(keeper_, nullptr), done = std::move(done)] {
    // The connection is dead: whatever the device still has to write fails at once.
    connection->forget_mount();
    if (keeper) keeper->let_go();
    done();
  });
  if (open_done) open_done(fail("the export was aborted while it was being made"));
  if (close_done) close_done(fail("the export was aborted while it was being closed"));
}

void FuseExport::grow(uint64_t size_bytes, std::function<void(Status)> done) {
  size_bytes_ = size_bytes;
  if (state_ != State::kOpen || growing_) {
    ring_.after(Duration::zero(), [done = std::move(done)] { done({}); });
    return;
  }
  growing_ = true;
  connection_->grow(size_bytes);
  keeper_->ask("grow", kAttachLimit, [this, done = std::move(done)](const TaskAnswer& answer) {
    growing_ = false;
    done(answer.ok ? Status() : Status(fail("{}", answer.text)));
  });
}

void FuseExport::complete(RequestId request, bool ok) {
  if (connection_) connection_->complete(request, ok);
}

void FuseExport::memory_came() {
  if (connection_) connection_->resume();
}

void FuseExport::reclaim() {
  std::ifstream record(record_path());
  int number = -1;
  std::string tag;
  if (!(record >> number) || !(record >> tag) || tag.rfind("baton-", 0) != 0) return;
  ForkedTask::start(
      ring_, "reclaiming " + loop_path(number), {}, kAttachLimit,
      [number, tag](TaskChannel& parent) { parent.answer(true, reclaim_loop(number, tag)); },
      [this](const TaskAnswer& answer) {
        if (!answer.text.empty()) note_(answer.text);
      });
  std::error_code ignored;
  std::filesystem::remove(record_path(), ignored);
}

}  // namespace baton::mirror
