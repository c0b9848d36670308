// DeviceMeter: counts what passes to a BlockDevice, and how long it takes. The loop's thread; a few dozen nanoseconds
// a request.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "src/mirror/block_device.h"

namespace baton::mirror {

class DeviceMeter : public BlockDevice {
 public:
  enum class Kind { kRead, kWrite, kZero, kFlush };

  struct Figures {
    uint64_t count = 0;   // since the start, errors included
    uint64_t bytes = 0;
    uint64_t errors = 0;
    uint64_t count_last_second = 0;  // of the last whole second
    uint64_t bytes_last_second = 0;
    double mean_us = 0;              // of that second; 0: nothing ended in it
    double p99_us = 0;               // the same; within a quarter of the true value
  };

  explicit DeviceMeter(std::unique_ptr<BlockDevice> inner) : inner_(std::move(inner)) {}

  void read(BlockRange range, uint8_t* data, Done done) override;
  void write(BlockRange range, const uint8_t* data, Done done) override;
  void zero(BlockRange range, bool unmap, Done done) override;
  void flush(Done done) override;
  void retry() override { inner_->retry(); }
  uint64_t size_blocks() const override { return inner_->size_blocks(); }
  Result<uint64_t> available_bytes() const override { return inner_->available_bytes(); }
  Status grow(uint64_t size_bytes) override { return inner_->grow(size_bytes); }
  const std::string& name() const override { return inner_->name(); }

  Figures figures(Kind kind);
  /// Requests that have not ended.
  size_t under_way() const { return requests_.size() - free_.size(); }

 private:
  // Four buckets to each doubling: bucket = 4 x log2 + the two bits after the highest, of microseconds.
  static constexpr size_t kBuckets = 4 * 32;
  struct Second {
    uint64_t count = 0, bytes = 0;
    Duration sum = Duration::zero();
    std::array<uint32_t, kBuckets> histogram{};
  };
  struct Account {
    uint64_t count = 0, bytes = 0, errors = 0;
    Second present, last;
  };
  struct Request {
    Kind kind = Kind::kRead;
    uint64_t bytes = 0;
    Instant since;
    Done done;
  };

  static size_t bucket_of(uint64_t us);
  static double middle_of(size_t bucket);
  static double p99(const Second& second);
  Request* begin(Kind kind, uint64_t blocks, Done done);
  Done ended(Request* request) {
    return [this, request](int error) { end(request, error); };
  }
  void end(Request* request, int error);
  void turn(Instant now);

  std::unique_ptr<BlockDevice> inner_;
  std::array<Account, 4> accounts_;
  Instant second_began_{};
  std::deque<Request> requests_;
  std::vector<Request*> free_;
};

}  // namespace baton::mirror
