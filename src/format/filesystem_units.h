// Whether a filesystem that stands on a store can be mounted from a mirror's export, whose sectors have 4096 bytes. Reads
// the file or device only. Any thread.
#pragma once

#include <string>

#include "src/base/result.h"

namespace baton {

constexpr uint32_t kExportSectorBytes = 4096;

/// "an ext4 filesystem of blocks of 1024 bytes" when it cannot; empty when it can, or there is none that is known.
Result<std::string> describe_small_units(const std::string& path);

/// What to do about it, for the end of a sentence.
std::string help_with_small_units(const std::string& units);

}  // namespace baton
