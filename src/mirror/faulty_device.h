// FaultyDevice: a disk that fails as a small text file says, for practice clusters and tests. No file: no faults. It is
// looked at every 50 ms and read anew when it has changed. One fault a line; `#` begins a comment; without FIRST and
// COUNT (blocks of 4096 bytes) a fault is about the whole disk:
//
//   read-error [FIRST COUNT]        reads of these blocks fail with EIO
//   read-error-once [FIRST COUNT]   the first read of them fails, then no other, until the file is changed
//   write-error [FIRST COUNT]       writes and zeroings of these blocks fail with EIO; nothing is written
//   flush-error                     flushes fail with EIO
//   full                            writes and zeroings fail with ENOSPC
//   slow MILLISECONDS               every request is begun so much later
//   hang                            no request is begun until the line is gone
//
// Whenever it has been read, what counts from then on is told; a line that makes no sense is ignored, and told as such.
// The loop's thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "src/mirror/block_device.h"
#include "src/mirror/ring.h"

namespace baton::mirror {

struct FaultOrders {
  std::vector<BlockRange> read_errors, read_errors_once, write_errors;
  bool flush_error = false;
  bool full = false;
  bool hang = false;
  Duration slow = Duration::zero();
  std::string problem;  // of the first line that makes no sense
};
FaultOrders parse_fault_orders(const std::string& text);

class FaultyDevice : public BlockDevice {
 public:
  using Told = std::function<void(const std::string& text)>;
  static constexpr Duration kLookInterval = 50ms;

  FaultyDevice(Ring& ring, std::unique_ptr<BlockDevice> inner, std::string orders_path, Told told = {});
  ~FaultyDevice() override;

  void read(BlockRange range, uint8_t* data, Done done) override;
  void write(BlockRange range, const uint8_t* data, Done done) override;
  void zero(BlockRange range, bool unmap, Done done) override;
  void flush(Done done) override;
  void retry() override { inner_->retry(); }
  uint64_t size_blocks() const override { return inner_->size_blocks(); }
  Result<uint64_t> available_bytes() const override { return inner_->available_bytes(); }
  Status grow(uint64_t size_bytes) override { return inner_->grow(size_bytes); }
  const std::string& name() const override { return inner_->name(); }

  const std::string& problem() const { return orders_.problem; }

 private:
  enum class Kind { kRead, kWrite, kZero, kFlush };
  struct Request {
    Kind kind = Kind::kFlush;
    BlockRange range;
    uint8_t* data = nullptr;
    bool unmap = false;
    Done done;
  };

  void look();
  void tell(const std::string& text) const;
  void take(Request request);
  void begin(Request request);
  int fault_of(const Request& request);

  Ring& ring_;
  std::unique_ptr<BlockDevice> inner_;
  std::string path_;
  Told told_;
  std::string seen_;  // inode, size and time of the orders' file
  FaultOrders orders_;
  std::deque<Request> hanging_;
  Ring::Timer timer_ = 0;
};

}  // namespace baton::mirror
