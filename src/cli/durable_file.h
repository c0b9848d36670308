// Files that must be there whole, or not at all, after a power cut. Any thread.
#pragma once

#include <sys/types.h>

#include <string>

#include "src/base/result.h"

namespace baton::cli {

/// Writes beside, syncs, renames: after a power cut there is the old file or the new one.
Status write_durably(const std::string& path, const std::string& text, mode_t mode);

}  // namespace baton::cli
