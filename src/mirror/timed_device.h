// TimedDevice: gives every disk request a time limit. One that is not answered in time is answered ETIMEDOUT, and with
// it everything else under way; from then on the device is dead: further requests fail with EIO, until the process is
// started again. The disk may still carry such a request out later: its memory is kept from reuse until then.
// The loop's thread.
#pragma once

#include <deque>
#include <list>
#include <memory>

#include "src/mirror/block_device.h"
#include "src/mirror/buffer_pool.h"
#include "src/mirror/ring.h"

namespace baton::mirror {

class TimedDevice : public BlockDevice {
 public:
  /// `pool`: where the memory of requests comes from. A read that is timed out lets its buffer have other memory, so
  /// that the disk cannot write into what the buffer is used for next; a write's buffer stays as it is, retained.
  TimedDevice(Ring& ring, BufferPool& pool, std::unique_ptr<BlockDevice> inner, Duration limit)
      : ring_(ring), pool_(pool), inner_(std::move(inner)), limit_(limit) {}
  ~TimedDevice() override;

  void read(BlockRange range, uint8_t* data, Done done) override;
  void write(BlockRange range, const uint8_t* data, Done done) override;
  void zero(BlockRange range, bool unmap, Done done) override;
  void flush(Done done) override;
  void retry() override { inner_->retry(); }
  uint64_t size_blocks() const override { return inner_->size_blocks(); }
  Result<uint64_t> available_bytes() const override { return inner_->available_bytes(); }
  Status grow(uint64_t size_bytes) override { return inner_->grow(size_bytes); }
  const std::string& name() const override { return inner_->name(); }

  bool dead() const { return dead_; }
  /// For how long the oldest request has been waiting; zero: none does.
  Duration oldest() const { return waiting_.empty() ? Duration::zero() : Ring::now() - waiting_.front()->since; }
  /// It takes so long that people should know.
  bool slow() const { return oldest() >= limit_ / 4; }
  /// Requests that were given up and that the disk still has.
  size_t still_at_the_disk() const { return given_up_; }

 private:
  struct Request {
    Instant since;
    Done done;
    const uint8_t* memory = nullptr;
    bool reading = false;
    BufferId kept = 0;  // the buffer that keeps the memory of a request given up
    std::list<Request*>::iterator place;
  };

  Request* begin(const uint8_t* memory, bool reading, Done done);
  Done ended(Request* request) {
    return [this, request](int error) { end(request, error); };
  }
  void end(Request* request, int error);
  void watch();
  void die();
  void keep_memory(Request* request);
  void refuse(Done done);

  Ring& ring_;
  BufferPool& pool_;
  std::unique_ptr<BlockDevice> inner_;
  Duration limit_;
  std::deque<Request> requests_;
  std::list<Request*> free_;
  std::list<Request*> waiting_;  // oldest first; nodes go between the two lists, so nothing is allocated
  Ring::Timer timer_ = 0;
  bool dead_ = false;
  size_t given_up_ = 0;
};

}  // namespace baton::mirror
