// Small files in kernel filesystems and /run as text: read, written, replaced atomically. Any thread; only for
// files that cannot hang (/proc, /sys, tmpfs).
#pragma once

#include <sys/types.h>

#include <string>

#include "src/base/result.h"

namespace baton {

/// The whole file; kNotFound when there is none.
Result<std::string> read_text_file(const std::string& path);

/// One write(2) to an existing file, as control files of the kernel want it.
Status write_control_file(const std::string& path, const std::string& text);

/// Writes a new file beside `path` and renames it over: readers see the old or the new text, never half of one.
Status replace_text_file(const std::string& path, const std::string& text, mode_t mode = 0644);

/// mkdir -p. Existing directories keep their mode.
Status make_directories(const std::string& path, mode_t mode = 0755);

}  // namespace baton
