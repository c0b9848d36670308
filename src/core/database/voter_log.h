// One voter's promise, log and counting flag in memory, and how much of them is on its disk. Makes one Persist
// at a time out of all that has changed. Pure. docs/protocol.md, "Cluster database".
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "src/core/database/database.h"
#include "src/core/database/database_types.h"

namespace baton::database {

class VoterLog {
 public:
  VoterLog(StoredVoter stored, const std::set<ServerId>& founders);

  // ---- As wanted, in memory ----
  Epoch promised() const { return promised_; }
  bool counting() const { return counting_; }
  uint64_t last_index() const { return entries_.size(); }
  LogPosition last() const { return position(last_index()); }
  const Entry& entry(uint64_t index) const;
  /// Epoch and index of an entry of this log; index 0 is before the first.
  LogPosition position(uint64_t index) const;
  bool holds(const LogPosition& position) const;
  std::span<const Entry> entries() const { return entries_; }
  /// Entries above `after`, as many as fit in a message.
  std::vector<Entry> slice(uint64_t after, size_t most_entries, size_t most_bytes) const;
  /// The greatest place at or below `limit`'s index whose epoch is not newer than `limit`'s: where another log
  /// that ends in `limit` may agree with this one.
  LogPosition common_guess(const LogPosition& limit) const;
  /// In effect by the entries that are here, committed or not (docs/protocol.md, V1); the SetVoters that says so, 0: none.
  const VoterSet& voters() const { return voters_.back().voters; }
  uint64_t voters_index() const { return voters_.back().changed ? voters_.back().index : 0; }
  /// The newest of these is a TakeOver of one server; its epoch (0: it is none).
  bool taken_over() const { return voters_.back().taken_over != Epoch{}; }
  /// ... by a person's word.
  bool taken_over_by_word() const { return voters_.back().by_word; }
  Epoch takeover_epoch() const { return voters_.back().taken_over; }
  /// The newest recovery (docs/protocol.md, R1) that is on disk: its epoch, and who was there. 0: there was none.
  Epoch durable_lineage() const;
  const std::set<ServerId>& survivors() const { return voters_.back().survivors; }
  /// Where a proposal stands in this log; 0: nowhere.
  uint64_t find(ServerId origin, uint64_t request) const;

  void promise(Epoch epoch);
  void set_counting() { counting_ = true; }
  void append(Entry entry);
  /// Removes the entries above `index`.
  void cut(uint64_t index);

  // ---- On disk ----
  Epoch durable_promise() const { return durable_promised_; }
  bool durable_counting() const { return durable_counting_; }
  /// Entries up to here are on disk as they are in memory.
  uint64_t durable_index() const { return durable_length_; }

  bool persist_under_way() const { return flight_.has_value(); }
  /// What is not on disk yet, if anything; from then on it is under way.
  std::optional<Persist> start_persist();
  /// The end of the Persist under way; false if `token` is not it.
  bool persisted(uint64_t token, bool ok);

 private:
  struct Voters {
    uint64_t index = 0;  // of the entry
    VoterSet voters;
    bool changed = false;  // by a SetVoters or TakeOver
    Epoch taken_over{};    // of the TakeOver
    Epoch lineage{};       // of the newest recovery up to there
    std::set<ServerId> survivors{};
    bool by_word = false;  // the TakeOver has an author
  };
  void note_voters(const Entry& entry);

  struct Flight {
    uint64_t token = 0;
    Epoch promised;
    bool counting = false;
    uint64_t length = 0;  // of the log on disk when done
    uint64_t common = 0;  // of that, still the same in memory
  };

  Epoch promised_;
  bool counting_ = false;
  std::vector<Entry> entries_;
  std::map<std::pair<ServerId, uint64_t>, uint64_t> proposals_;
  std::vector<Voters> voters_;  // the founders, then as the entries say

  Epoch durable_promised_;
  bool durable_counting_ = false;
  uint64_t durable_length_ = 0;
  uint64_t disk_length_ = 0;  // entries on disk, also those already cut off in memory
  uint64_t next_token_ = 1;
  std::optional<Flight> flight_;
};

}  // namespace baton::database
