// What a look at a disk or at a log found. It is made by a process of its own (baton-check), as both may hang.
#pragma once

#include <string>

namespace baton::check {

/// By the exit status that says so to a monitor (docs/operations.md, "Monitors").
enum class Outcome { kGood = 0, kBad = 1, kCouldNotCheck = 75 };

struct CheckResult {
  Outcome outcome = Outcome::kCouldNotCheck;
  std::string text;  // one line
};

}  // namespace baton::check
