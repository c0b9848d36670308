// UblkDriver: what UblkExport asks of the kernel's ublk driver for one device with one queue: a port, so that a
// fake can drive the export's states. The loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "src/base/result.h"

namespace baton::mirror {

class UblkDriver {
 public:
  /// What the driver answered: 0 or more, or -errno.
  using Done = std::function<void(int result)>;
  /// The tag's request is there (result 0), or no more will come with this tag (-ENODEV).
  using Fetched = std::function<void(uint32_t tag, int result)>;

  struct Request {
    enum class Operation { kRead, kWrite, kFlush, kDiscard, kWriteZeroes, kUnknown };
    Operation operation = Operation::kUnknown;
    bool force_unit_access = false;
    bool no_unmap = false;
    uint64_t offset = 0;
    uint32_t bytes = 0;
  };
  struct Parameters {
    uint64_t size_bytes = 0;
    uint32_t max_transfer_bytes = 0;
    uint32_t max_zero_bytes = 0;
    bool read_only = false;
  };

  virtual ~UblkDriver() = default;

  // In this order; each ends before the next is asked.
  /// Makes a device; its number.
  virtual void add(uint32_t depth, uint32_t max_transfer_bytes, Done done) = 0;
  virtual void set_parameters(const Parameters& parameters, Done done) = 0;
  /// Opens the queue and asks for the first request of each tag.
  virtual Status fetch_all(Fetched fetched) = 0;
  /// The block device appears; the kernel already reads from it.
  virtual void start(Done done) = 0;

  virtual Request request(uint32_t tag) const = 0;
  /// A write's data, copied once; the bytes copied or -errno.
  virtual int64_t copy_from(uint32_t tag, uint8_t* to, uint32_t bytes) = 0;
  virtual int64_t copy_to(uint32_t tag, const uint8_t* from, uint32_t bytes) = 0;
  /// Answers the tag's request (bytes, or -errno) and asks for its next one in one entry.
  virtual void commit_and_fetch(uint32_t tag, int result) = 0;

  virtual void resize(uint64_t size_bytes, Done done) = 0;
  /// What is cached is written out, then the block device goes; each tag ends with -ENODEV.
  virtual void stop(Done done) = 0;
  /// Closes the queue; the number is free again. After stop(), or instead of start().
  virtual void remove(Done done) = 0;

  /// Sends what was begun.
  virtual void flush() = 0;
};

}  // namespace baton::mirror
