// Does the disk below a directory take what is written, and give it back? One thread; it may hang for as long as the disk does.
#pragma once

#include <string>

#include "src/check/check_result.h"

namespace baton::check {

/// Writes a block of 4 KiB into a file without a name there (or one that is removed at once), waits until it is on the disk, and reads it
/// past the page cache, where the filesystem can. kCouldNotCheck: no such directory, no space left.
CheckResult check_disk(const std::string& directory);

}  // namespace baton::check
