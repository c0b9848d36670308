// ActivityLog: which extents the on-disk activity log holds or is about to hold, who uses them, and in which
// order they were last used. Decides nothing about leaving: journal.cc asks C2 and C3. Pure. docs/protocol.md,
// C1.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <vector>

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

class ActivityLog {
 public:
  struct Extent {
    uint32_t users = 0;  // writes under way
    bool suspect =
        false;           // from before an unclean stop (or a fall from primary): stays until a copy settles it
    bool hot = false;    // in recency_
    uint64_t batch = 0;  // the log write that brings it to disk
    uint64_t last_completion = 0;  // the number of the newest completed write in it
    Instant last_use;
    std::list<uint64_t>::iterator recency;
  };

  ActivityLog(uint32_t capacity, const std::vector<uint64_t>& stored);

  /// Joins the extents of a write: returns the batch that must be durable first (C1), or nothing if there is no
  /// room.
  std::optional<uint64_t> use(BlockRange range, Instant now);
  /// The write is over.
  void unuse(BlockRange range, uint64_t completion, Instant now);
  /// How many extents would have to leave for this write to fit.
  uint64_t shortage(BlockRange range) const;

  /// Hot extents, the longest unused first.
  const std::list<uint64_t>& recency() const { return recency_; }
  const Extent& extent(uint64_t number) const { return extents_.at(number); }
  /// REQUIRES: hot, no users. A suspect stays in the log, merely not hot any more.
  void cool(uint64_t number);

  // Suspects.
  uint64_t suspects() const { return suspects_; }
  std::vector<uint64_t> suspect_list() const;
  void clear_suspects();
  /// Turns up to `limit` suspects into ordinary extents (the caller has marked their blocks dirty) and lists
  /// them.
  std::vector<uint64_t> take_suspects(size_t limit);
  /// No longer primary: whatever is in the log is suspect.
  void become_suspects();
  /// Everything is settled and flushed.
  void clear();
  /// Writes the log anew although nothing has changed.
  void rewrite() { changed_ = true; }

  // Writing: at most one batch at a time.
  bool batch_wanted() const { return changed_ && in_flight_ == 0; }
  bool durable(uint64_t batch) const { return batch <= durable_; }
  bool settled() const { return !changed_ && in_flight_ == 0; }
  std::vector<uint64_t> begin_batch();
  void end_batch(bool ok);
  size_t size() const { return extents_.size(); }

 private:
  void touch(uint64_t number, Extent& extent, Instant now);
  void forget(std::map<uint64_t, Extent>::iterator place);

  const uint32_t capacity_;
  std::map<uint64_t, Extent> extents_;
  std::list<uint64_t> recency_;
  uint64_t suspects_ = 0;
  bool changed_ = false;
  uint64_t next_batch_ = 1;
  uint64_t in_flight_ = 0;
  uint64_t durable_ = 0;
};

inline uint64_t first_extent(BlockRange range) { return range.first / kExtentBlocks; }
inline uint64_t last_extent(BlockRange range) { return (range.end() - 1) / kExtentBlocks; }

}  // namespace baton::mirror
