// NbdOutput: replies gathered for one sendmsg: heads back to back, a read's data straight from its pool buffer.
// The loop's thread.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <vector>

#include "src/base/bytes.h"
#include "src/mirror/buffer_pool.h"

namespace baton::mirror {

class NbdOutput {
 public:
  explicit NbdOutput(BufferPool& pool) : pool_(pool) {}
  ~NbdOutput() { clear(); }
  NbdOutput(const NbdOutput&) = delete;
  NbdOutput& operator=(const NbdOutput&) = delete;

  /// Heads are written here; data() then adds what follows the last one.
  Bytes& heads() { return queued_.heads; }
  /// Takes over one reference to the buffer.
  void data(BufferId buffer, uint32_t bytes) { queued_.parts.push_back({queued_.heads.size(), buffer, bytes}); }

  bool queued() const { return !queued_.empty(); }
  /// The next batch becomes the one being sent. REQUIRES: queued(), and no batch is being sent.
  const msghdr* begin();
  /// What is left after `sent` bytes have gone; nothing: the batch is through, and `freed` says how much data
  /// it had.
  const msghdr* advance(size_t sent, uint64_t* freed);
  /// Forgets everything. REQUIRES: the kernel is not reading a batch.
  void clear();
  /// Forgets what has not been begun.
  void clear_queued() { release(queued_); }

 private:
  struct Part {
    size_t head_end = 0;  // the data stands behind this much of heads
    BufferId buffer = 0;
    uint32_t bytes = 0;
  };
  struct Batch {
    Bytes heads;
    std::vector<Part> parts;
    bool empty() const { return heads.empty() && parts.empty(); }
  };
  uint64_t release(Batch& batch);

  BufferPool& pool_;
  Batch queued_;
  Batch sending_;
  std::vector<iovec> vectors_;
  size_t vector_start_ = 0;
  msghdr message_{};
};

}  // namespace baton::mirror
