// ReportWatch: keeps the report of a copy, and says when it is worth telling: at each change, progress alone
// ten times a second. Pure.
#pragma once

#include "src/core/mirror/operations.h"

namespace baton::mirror {

struct CopyCore;

class ReportWatch {
 public:
  explicit ReportWatch(CopyCore& core) : core_(core) {}

  /// At the end of a step; emits Reported at most once.
  void update();
  const MirrorReport& report() const { return report_; }
  Instant next_tick() const { return next_progress_; }

 private:
  void fill_link();
  void fill_copy();
  std::string waiting() const;
  std::string slow() const;
  std::string problem() const;

  CopyCore& core_;
  MirrorReport report_;
  MirrorReport told_;
  MirrorReport before_verify_;  // what the last copy was, while a verify shows its progress in its place
  bool verifying_ = false;
  bool ever_told_ = false;
  Instant last_told_{Duration::zero()};
  Instant next_progress_ = kNever;
};

}  // namespace baton::mirror
