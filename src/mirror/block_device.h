// BlockDevice: what the mirror daemon asks of the store under a copy. A port: faults, time limits and measurements are
// added by wrapping it (FileDevice, then FaultyDevice, TimedDevice, DeviceMeter). The loop's thread.
#pragma once

#include <functional>
#include <string>

#include "src/base/result.h"
#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

class BlockDevice {
 public:
  /// 0, or the errno of what failed.
  using Done = std::function<void(int error_number)>;

  virtual ~BlockDevice() = default;

  // Memory must be aligned to 4 KiB and stay until `done`, which comes later from the loop, never from inside (a flush
  // with nothing to flush may call it at once).
  // REQUIRES: a range within the device, of at least one block.
  virtual void read(BlockRange range, uint8_t* data, Done done) = 0;
  virtual void write(BlockRange range, const uint8_t* data, Done done) = 0;
  /// The blocks read as zeroes when done; `unmap`: their space may be given back. Of any length.
  virtual void zero(BlockRange range, bool unmap, Done done) = 0;
  /// Everything whose `done` came before is durable at the end.
  virtual void flush(Done done) = 0;
  /// After a flush has failed all later ones do, too, until this is called: whoever calls it takes nothing that was
  /// written before for durable.
  virtual void retry() = 0;

  virtual uint64_t size_blocks() const = 0;
  /// What the store underneath has now: it may have been enlarged since it was opened.
  virtual Result<uint64_t> available_bytes() const = 0;
  /// Makes the device `size_bytes` large (never smaller), durably. A file is extended; a block device must have it.
  /// Takes a synchronous moment.
  virtual Status grow(uint64_t size_bytes) = 0;
  /// For messages: the path.
  virtual const std::string& name() const = 0;
};

}  // namespace baton::mirror
