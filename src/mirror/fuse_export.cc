// Order matters at the end of the process, also of a killed one: descriptors are closed from the lowest, and the FUSE
// connection must end before the loop device's last descriptor is closed, or that close could wait for us to answer.
// So the loop's descriptor is moved above all others.
#include "src/mirror/fuse_export.h"

#include <fcntl.h>
#include <openssl/rand.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "src/base/assert.h"
#include "src/mirror/forked_task.h"
#include "src/mirror/loop_device.h"

namespace baton::mirror {
namespace {

constexpr int kLoopDescriptor = 900;
constexpr Duration kAttachLimit = 10s;
constexpr Duration kUsersLimit = 3s;    // how long others may take to let go at a close
constexpr Duration kDetachLimit = 20s;  // the writing out included

std::string new_tag(const std::string& mirror) {
  uint64_t random = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&random), sizeof random);
  return fmt::format("baton-{:016x}-{}", random, mirror).substr(0, 60);
}

}  // namespace

FuseExport::FuseExport(Ring& ring, BufferPool& pool, std::string mirror, uint64_t size_bytes, std::string directory,
                       OnRequest on_request, OnLost on_lost, Note note)
    : ring_(ring),
      pool_(pool),
      mirror_(std::move(mirror)),
      size_bytes_(size_bytes),
      directory_(std::move(directory)),
      on_request_(std::move(on_request)),
      on_lost_(std::move(on_lost)),
      note_(std::move(note)) {}

FuseExport::~FuseExport() = default;

// ---- Opening ----

void FuseExport::open(std::function<void(Result<std::string>)> done) {
  BATON_ASSERT(state_ == State::kClosed);
  auto connection = FuseConnection::open(
      ring_, pool_, size_bytes_, &last_request_, on_request_,
      [this](const std::string& reason) { if (on_lost_) on_lost_(reason); });
  if (!connection) {
    ring_.after(Duration::zero(), [done, error = connection.error()] { done(tl::unexpected<Error>(error)); });
    return;
  }
  connection_ = std::move(*connection);
  state_ = State::kOpening;
  open_done_ = std::move(done);
  tag_ = new_tag(mirror_);
  const uint64_t life = ++life_;
  const int mount = connection_->mount();
  run_forked(
      ring_, "setting up the loop device", {mount}, kAttachLimit,
      [mount, tag = tag_](TaskReply& reply) {
        OwnedFd disk(openat(mount, "disk", O_RDWR | O_CLOEXEC));
        if (!disk) return reply.send(false, "cannot open the FUSE file: " + errno_text());
        auto loop = attach_loop(disk.get(), tag);
        if (!loop) return reply.send(false, loop.error().message);
        reply.send(true, std::to_string(loop->number), loop->fd.get());
        reply.wait_for_parent();
      },
      [this, life](TaskAnswer answer) {
        if (life == life_) attached(answer.ok, answer.text, std::move(answer.fd));
      });
}

void FuseExport::attached(bool ok, const std::string& text, OwnedFd loop) {
  auto done = std::exchange(open_done_, nullptr);
  if (!ok || !loop) {
    auto connection = std::exchange(connection_, nullptr);
    state_ = State::kClosed;
    connection->abort([connection] {});
    return done(fail("the export cannot be made: {}", text));
  }
  loop_ = OwnedFd(fcntl(loop.get(), F_DUPFD_CLOEXEC, kLoopDescriptor));
  BATON_ASSERT(loop_);
  loop_number_ = std::atoi(text.c_str());
  device_ = loop_path(loop_number_);
  write_record(loop_number_);
  connection_->forget_mount();  // the loop device has the file open
  state_ = State::kOpen;
  done(device_);
}

void FuseExport::write_record(int number) {
  std::error_code ignored;
  std::filesystem::create_directories(directory_, ignored);
  std::ofstream(record_path(), std::ios::trunc) << number << ' ' << tag_ << '\n';
}

// ---- Closing ----

void FuseExport::close(std::function<void(Status)> done) {
  BATON_ASSERT(state_ == State::kOpen);
  state_ = State::kClosing;
  close_done_ = std::move(done);
  const uint64_t life = life_;
  auto detached_ok = std::make_shared<bool>(false);
  const int fd = loop_.get();
  run_forked(
      ring_, "detaching " + device_, {fd}, kDetachLimit,
      [fd, number = loop_number_](TaskReply& reply) {
        auto detached = detach_loop(number, fd, kUsersLimit);
        reply.send(detached.has_value(), detached ? "" : detached.error().message);
        // The last close of the device is the child's: it does what the kernel still has to do.
        reply.wait_for_parent();
      },
      [this, life, detached_ok](TaskAnswer answer) {
        if (life != life_) return;
        *detached_ok = answer.ok;
        if (answer.ok) return loop_.close();
        state_ = State::kOpen;
        std::exchange(close_done_, nullptr)(fail_as(ErrorCode::kConflict, "{}", answer.text));
      },
      [this, life, detached_ok] {
        if (life == life_ && *detached_ok) detached();
      });
}

void FuseExport::detached() {
  ++life_;
  auto connection = std::exchange(connection_, nullptr);
  state_ = State::kClosed;
  device_.clear();
  loop_number_ = -1;
  std::error_code ignored;
  std::filesystem::remove(record_path(), ignored);
  connection->abort([connection, done = std::exchange(close_done_, nullptr)] { done({}); });
}

// ---- Aborting ----

void FuseExport::abort(std::function<void()> done) {
  ++life_;
  auto connection = std::exchange(connection_, nullptr);
  auto open_done = std::exchange(open_done_, nullptr);
  auto close_done = std::exchange(close_done_, nullptr);
  state_ = State::kClosed;
  if (!connection) {
    ring_.after(Duration::zero(), std::move(done));
    return;
  }
  auto loop = std::make_shared<OwnedFd>(std::move(loop_));
  device_.clear();
  loop_number_ = -1;
  connection->abort([this, connection, loop, done = std::move(done)] {
    connection->forget_mount();
    drop_loop(std::move(*loop));
    done();
  });
  if (open_done) open_done(fail("the export was aborted while it was being made"));
  if (close_done) close_done(fail("the export was aborted while it was being closed"));
}

/// The connection is dead: whatever the device still has to write fails at once.
void FuseExport::drop_loop(OwnedFd loop) {
  if (!loop) return;
  const int fd = loop.get();
  run_forked(
      ring_, "letting go of the loop device", {fd}, kDetachLimit,
      [fd](TaskReply& reply) {
        detach_loop_lazily(fd);
        reply.send(true, "");
        reply.wait_for_parent();
      },
      [](TaskAnswer) {});
}

void FuseExport::complete(RequestId request, bool ok) {
  if (connection_) connection_->complete(request, ok);
}

void FuseExport::reclaim() {
  std::ifstream record(record_path());
  int number = -1;
  std::string tag;
  if (!(record >> number) || !(record >> tag) || tag.rfind("baton-", 0) != 0) return;
  run_forked(
      ring_, "reclaiming " + loop_path(number), {}, kAttachLimit,
      [number, tag](TaskReply& reply) { reply.send(true, reclaim_loop(number, tag)); },
      [this](TaskAnswer answer) {
        if (!answer.text.empty()) note_(answer.text);
      });
  std::error_code ignored;
  std::filesystem::remove(record_path(), ignored);
}

}  // namespace baton::mirror
