// Does a log have a new line that matches a pattern? One thread; a look reads a bounded part of the file.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "src/check/check_result.h"

namespace baton::check {

/// How far a log was read: up to a byte of the file with that inode. Inode 0: there was no file. `mark`: a checksum of what is before that
/// byte, as a new file may have the inode of one that was removed, or may have grown again after it was cut.
struct ReadUpTo {
  uint64_t inode = 0;
  uint64_t offset = 0;
  uint64_t mark = 0;
  bool operator==(const ReadUpTo&) const = default;
};

/// "12345:678:9abc"; nothing for what is none.
std::optional<ReadUpTo> parse_position(const std::string& text);
std::string to_string(const ReadUpTo& position);

/// Of one look.
struct ReadLimits {
  std::chrono::milliseconds time{2000};
  uint64_t bytes = 64 * 1024 * 1024;
};

/// Reads the whole lines that came after `position` (none: those that come from now on), and moves it behind what it has read: behind
/// the first line that matches, or as far as the limits allow. A log that was cut, or replaced by a new file, is read from the
/// beginning; of one that was renamed in its directory, first what was not read yet, and all that still comes while the new one is empty.
/// kBad: a line matches, and the text has it. kCouldNotCheck: no such file, or `pattern` (extended regular expression of POSIX) is none.
CheckResult check_log(const std::string& path, const std::string& pattern, std::optional<ReadUpTo>& position,
                      const ReadLimits& limits = {});

}  // namespace baton::check
