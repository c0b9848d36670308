// BlockDevice: what the mirror daemon asks of the store under a copy. A port: faults are added by wrapping it.
// The loop's thread.
#pragma once

#include <functional>
#include <string>

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

class BlockDevice {
 public:
  /// 0, or the errno of what failed.
  using Done = std::function<void(int error_number)>;

  virtual ~BlockDevice() = default;

  // Memory must be aligned to 4 KiB and stay until `done`, which comes later from the loop, never from inside.
  // REQUIRES: a range within the device, of at least one block.
  virtual void read(BlockRange range, uint8_t* data, Done done) = 0;
  virtual void write(BlockRange range, const uint8_t* data, Done done) = 0;
  /// Everything whose `done` came before is durable at the end.
  virtual void flush(Done done) = 0;

  virtual uint64_t size_blocks() const = 0;
  /// For messages: the path.
  virtual const std::string& name() const = 0;
};

}  // namespace baton::mirror
