// Data of the mirror connect made smaller by lz4, block by block as it is sent: each frame stands alone. docs/protocol.md,
// "Mirror connect". The loop's thread.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "src/mirror/buffer_pool.h"

namespace baton::mirror {

class LinkCompressor {
 public:
  struct Compressed {
    BufferId buffer = 0;  // the caller's to release
    uint32_t bytes = 0;
  };

  explicit LinkCompressor(BufferPool& pool);

  /// Nothing when it would save less than an eighth.
  std::optional<Compressed> compress(std::span<const uint8_t> data);

 private:
  BufferPool& pool_;
  std::vector<uint64_t> state_;  // lz4's
};

/// Robust against any input. False: it does not give exactly as many bytes as `to` holds.
bool decompress(std::span<const uint8_t> from, std::span<uint8_t> to);

}  // namespace baton::mirror
