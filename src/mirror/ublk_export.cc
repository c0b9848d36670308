// A tag is the kernel's name for a request; its use count makes our id, so that a late answer cannot hit a
// later request.
#include "src/mirror/ublk_export.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "src/base/assert.h"
#include "src/mirror/loop_device.h"
#include "src/mirror/ublk_kernel_driver.h"

namespace baton::mirror {
namespace {

constexpr uint32_t kDepth = 128;
constexpr uint32_t kMaxZeroBytes = kMaxZeroBlocks * kBlockBytes;
constexpr Duration kOpenLimit = 10s;
constexpr Duration kUsersLimit = 3s;   // how long others may take to let go at a close
constexpr Duration kClaimLimit = 60s;  // the writing out of what is cached included
constexpr Duration kReclaimLimit = 10s;

std::string device_name(int number) { return "ublkb" + std::to_string(number); }

}  // namespace

bool kernel_has_ublk() { return probe_ublk(); }

UblkExport::UblkExport(Ring& ring, BufferPool& pool, std::string mirror, uint64_t size_bytes,
                       std::string directory, bool read_only, OnRequest on_request, OnLost on_lost, Note note,
                       MakeDriver make_driver)
    : ring_(ring),
      pool_(pool),
      mirror_(std::move(mirror)),
      size_bytes_(size_bytes),
      directory_(std::move(directory)),
      read_only_(read_only),
      on_request_(std::move(on_request)),
      on_lost_(std::move(on_lost)),
      note_(std::move(note)),
      make_driver_(std::move(make_driver)),
      tags_(kDepth) {
  if (!make_driver_) make_driver_ = [&ring] { return make_ublk_driver(ring); };
}

UblkExport::~UblkExport() {
  *alive_ = false;
  ring_.cancel_timer(deadline_);
  drop_requests();
  if (claim_) claim_->let_go();
}

// ---- Opening ----

void UblkExport::open(std::function<void(Result<std::string>)> done) {
  BATON_ASSERT(state_ == State::kClosed);
  auto driver = make_driver_();
  if (!driver) {
    ring_.after(Duration::zero(), [done, error = driver.error()] { done(tl::unexpected<Error>(error)); });
    return;
  }
  state_ = State::kOpening;
  open_done_ = std::move(done);
  driver_ = std::move(*driver);
  deadline_ = ring_.after(kOpenLimit, [this] { open_failed("setting up the device", -ETIMEDOUT); });
  driver_->add(kDepth, kMaxTransferBytes, [this, driver = driver_.get()](int result) {
    if (driver == driver_.get()) added(result);
  });
}

void UblkExport::added(int result) {
  if (result < 0) return open_failed("making a device", result);
  number_ = result;
  std::error_code ignored;
  std::filesystem::create_directories(directory_, ignored);
  std::ofstream(record_path(), std::ios::trunc) << number_ << ' ' << getpid() << '\n';
  UblkDriver::Parameters parameters;
  parameters.size_bytes = size_bytes_;
  parameters.max_transfer_bytes = kMaxTransferBytes;
  parameters.max_zero_bytes = kMaxZeroBytes;
  parameters.read_only = read_only_;
  driver_->set_parameters(parameters, [this, driver = driver_.get()](int set) {
    if (driver == driver_.get()) parameters_set(set);
  });
}

void UblkExport::parameters_set(int result) {
  if (result < 0) return open_failed("setting the device's size", result);
  auto fetching =
      driver_->fetch_all([this, driver = std::weak_ptr(driver_), alive = alive_](uint32_t tag, int got) {
        const auto from = driver.lock();
        if (!*alive || !from) return;
        if (from == driver_) return fetched(tag, got);
        // SAFETY: docs/protocol.md, P3: a device that was given up only gives errors.
        if (got == 0) from->commit_and_fetch(tag, -EIO);
      });
  if (!fetching) {
    note_(fetching.error().message);
    return open_failed("opening the device's queue", -EIO);
  }
  driver_->start([this, driver = driver_.get()](int started_with) {
    if (driver == driver_.get()) started(started_with);
  });
}

void UblkExport::started(int result) {
  if (state_ != State::kOpening) return;
  if (result < 0) return open_failed("starting the device", result);
  ring_.cancel_timer(deadline_);
  device_ = "/dev/" + device_name(number_);
  state_ = State::kOpen;
  std::exchange(open_done_, nullptr)(device_);
}

void UblkExport::open_failed(const std::string& what, int result) {
  give_up_driver();
  state_ = State::kClosed;
  if (auto done = std::exchange(open_done_, nullptr)) {
    done(fail("the export cannot be made: {} with ublk failed: {}", what, errno_text(-result)));
  }
}

// ---- Requests ----

void UblkExport::fetched(uint32_t tag, int result) {
  BATON_ASSERT(tag < tags_.size() && tags_[tag].request == 0);
  if (result == 0) return begin(tag, driver_->request(tag));
  // In a close and at an abort the tags end; otherwise somebody else has stopped the device.
  if (state_ != State::kOpen) return;
  const std::string reason = fmt::format("the kernel ended the ublk device: {}", errno_text(-result));
  ring_.after(Duration::zero(), [this, alive = alive_, reason] {
    if (*alive && state_ == State::kOpen) on_lost_(reason);
  });
}

void UblkExport::begin(uint32_t tag, const UblkDriver::Request& request) {
  using Operation = UblkDriver::Request::Operation;
  const bool transfers = request.operation == Operation::kRead || request.operation == Operation::kWrite;
  const bool zeroes = request.operation == Operation::kDiscard || request.operation == Operation::kWriteZeroes;
  if (!transfers && !zeroes && request.operation != Operation::kFlush) return finish(tag, -EOPNOTSUPP);
  ClientRequest client;
  if (transfers || zeroes) {
    const uint32_t limit = transfers ? kMaxTransferBytes : kMaxZeroBytes;
    if (request.bytes == 0 || request.bytes > limit || request.bytes % kBlockBytes != 0 ||
        request.offset % kBlockBytes != 0 || request.offset > size_bytes_ ||
        request.bytes > size_bytes_ - request.offset) {
      return finish(tag, -EINVAL);
    }
    client.range = {request.offset / kBlockBytes, request.bytes / kBlockBytes};
  }
  if (transfers && must_wait(request.bytes)) return held_.push_back(tag);
  Tag& slot = tags_[tag];
  slot.bytes = transfers || zeroes ? request.bytes : 0;
  slot.reading = request.operation == Operation::kRead;
  if (transfers) {
    client.buffer = pool_.allocate(request.bytes);
    // SAFETY: docs/protocol.md, O3: from here on nobody but us can change the data.
    if (!slot.reading && driver_->copy_from(tag, pool_.data(client.buffer), request.bytes) != request.bytes) {
      pool_.release(client.buffer);
      return finish(tag, -EIO);
    }
    pool_.retain(client.buffer);  // until it has been answered
  }
  slot.buffer = client.buffer;
  slot.use = (slot.use + 1) & 0xfffffff;
  slot.request = kUblkRequests | RequestId{slot.use} << 32 | tag;
  client.id = slot.request;
  client.kind = transfers ? (slot.reading ? RequestKind::kRead : RequestKind::kWrite)
                          : (zeroes ? RequestKind::kZero : RequestKind::kFlush);
  client.force_unit_access = request.operation == Operation::kWrite && request.force_unit_access;
  client.unmap = request.operation == Operation::kDiscard || !request.no_unmap;
  on_request_(client);
}

/// Memory comes back only from what is under way: with nothing under way a request is always taken.
bool UblkExport::must_wait(uint32_t bytes) const {
  if (!pool_.full() && !pool_.short_of(bytes)) return false;
  return std::any_of(tags_.begin(), tags_.end(), [](const Tag& tag) { return tag.request != 0; });
}

void UblkExport::memory_came() {
  while (!held_.empty()) {
    const uint32_t tag = held_.front();
    if (must_wait(driver_->request(tag).bytes)) return;
    held_.pop_front();
    begin(tag, driver_->request(tag));
  }
}

void UblkExport::complete(RequestId request, bool ok) {
  const auto tag = static_cast<uint32_t>(request);
  if (!driver_ || tag >= tags_.size() || tags_[tag].request != request) return;
  Tag& slot = tags_[tag];
  int result = ok ? static_cast<int>(slot.bytes) : -EIO;
  if (ok && slot.reading && driver_->copy_to(tag, pool_.data(slot.buffer), slot.bytes) != slot.bytes)
    result = -EIO;
  finish(tag, result);
  if (!held_.empty()) memory_came();
}

void UblkExport::finish(uint32_t tag, int result) {
  Tag& slot = tags_[tag];
  if (slot.buffer != 0) pool_.release(std::exchange(slot.buffer, 0));
  slot.request = 0;
  driver_->commit_and_fetch(tag, result);
}

void UblkExport::flush() {
  if (driver_) driver_->flush();
  for (const auto& driver : leaving_) driver->flush();
}

void UblkExport::grow(uint64_t size_bytes, std::function<void(Status)> done) {
  size_bytes_ = size_bytes;
  if (state_ != State::kOpen) {
    ring_.after(Duration::zero(), [done = std::move(done)] { done({}); });
    return;
  }
  driver_->resize(size_bytes, [done = std::move(done), device = device_](int result) {
    if (result >= 0) return done({});
    done(fail("cannot enlarge {}: {}. This kernel's ublk takes a new size only when the disk is opened anew",
              device, errno_text(-result)));
  });
}

// ---- The end ----

void UblkExport::close(std::function<void(Status)> done) {
  BATON_ASSERT(state_ == State::kOpen);
  state_ = State::kClosing;
  close_done_ = std::move(done);
  claim_ = ForkedTask::start(
      ring_, "claiming " + device_, {}, kClaimLimit,
      [name = device_name(number_)](TaskChannel& parent) {
        auto claimed = claim_device(name, kUsersLimit);
        parent.answer(claimed.has_value(), claimed ? "" : claimed.error().message);
        parent.next_request();  // holds it until we let go
      },
      [this](const TaskAnswer& answer) { claimed(answer); });
}

void UblkExport::claimed(const TaskAnswer& answer) {
  if (state_ != State::kClosing) return;
  if (!answer.ok) {
    std::exchange(claim_, nullptr)->let_go();
    state_ = State::kOpen;
    return std::exchange(close_done_, nullptr)(fail_as(ErrorCode::kConflict, "{}", answer.text));
  }
  driver_->stop([this, driver = driver_.get()](int result) {
    if (driver == driver_.get()) stopped(result);
  });
}

void UblkExport::stopped(int result) {
  if (result < 0) note_(fmt::format("stopping {} failed: {}", device_, errno_text(-result)));
  give_up_driver();
  state_ = State::kClosed;
  std::exchange(close_done_, nullptr)({});
}

/// The driver goes on by itself until its device is gone; what still arrives there fails.
void UblkExport::give_up_driver() {
  ring_.cancel_timer(deadline_);
  if (auto claim = std::exchange(claim_, nullptr)) claim->let_go();
  auto driver = std::exchange(driver_, nullptr);
  device_.clear();
  number_ = -1;
  if (!driver) return;
  leaving_.push_back(driver);
  driver_ = driver;
  for (uint32_t tag = 0; tag < tags_.size(); ++tag) {
    if (tags_[tag].request != 0) finish(tag, -EIO);
  }
  for (uint32_t tag : std::exchange(held_, {})) finish(tag, -EIO);
  driver_.reset();
  driver->flush();
  driver->stop([this, alive = alive_, driver](int) {
    driver->remove([this, alive, driver](int) {
      if (!*alive) return;
      std::erase(leaving_, driver);
      std::error_code ignored;
      if (!driver_) std::filesystem::remove(record_path(), ignored);
    });
  });
}

void UblkExport::drop_requests() {
  held_.clear();
  for (Tag& tag : tags_) {
    if (tag.buffer != 0) pool_.release(std::exchange(tag.buffer, 0));
    tag.request = 0;
  }
}

void UblkExport::abort(std::function<void()> done) {
  state_ = State::kClosed;
  auto open_done = std::exchange(open_done_, nullptr);
  auto close_done = std::exchange(close_done_, nullptr);
  // SAFETY: docs/protocol.md, P3: what is under way fails now, what comes later fails as it arrives.
  give_up_driver();
  ring_.after(Duration::zero(), std::move(done));
  if (open_done) open_done(fail("the export was aborted while it was being made"));
  if (close_done) close_done(fail("the export was aborted while it was being closed"));
}

void UblkExport::reclaim() {
  std::ifstream record(record_path());
  int number = -1;
  int owner = 0;
  if (!(record >> number >> owner)) return;
  ForkedTask::start(
      ring_, "reclaiming /dev/" + device_name(number), {}, kReclaimLimit,
      [number, owner](TaskChannel& parent) { parent.answer(true, reclaim_ublk(number, owner)); },
      [note = note_](const TaskAnswer& answer) {
        if (!answer.text.empty()) note(answer.text);
      });
  std::error_code ignored;
  std::filesystem::remove(record_path(), ignored);
}

}  // namespace baton::mirror
