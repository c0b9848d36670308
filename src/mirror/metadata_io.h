// Synchronous reads and writes of whole records, for the moments when nothing else goes on (start-up, growing).
// Any thread.
#pragma once

#include <cstdlib>
#include <memory>
#include <span>
#include <string>

#include "src/base/result.h"

namespace baton::mirror {

struct FreeMemory {
  void operator()(uint8_t* memory) const { std::free(memory); }
};
/// Memory for direct I/O.
using Aligned = std::unique_ptr<uint8_t, FreeMemory>;

/// Aligned to a sector. Its pages come when they are touched.
Aligned aligned(size_t bytes);

Status write_fully(int fd, std::span<const uint8_t> bytes, uint64_t offset, const std::string& path);
/// A file that ends before is an error of code kInvalid.
Status read_fully(int fd, std::span<uint8_t> bytes, uint64_t offset, const std::string& path);

/// "remove the file", or how a device is emptied: what to do with metadata that is to be given up.
std::string how_to_remove(int fd, const std::string& path);
bool is_block_device(int fd);
/// What the file or device holds.
Result<uint64_t> bytes_of(int fd, const std::string& path);
/// Makes the names in the directory of `path` durable.
Status sync_directory_of(const std::string& path);

}  // namespace baton::mirror
