// EventStore: what people read later: the event log of this server and the history of the cluster's log (docs/api.md,
// "Events" and "Explain"). SQLite on a thread of its own, bounded. Owned and called by the event loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "src/base/result.h"
#include "src/core/alert/alert_core.h"
#include "src/core/node/node_types.h"

namespace baton {

struct EventLimits {
  uint64_t rows = 100000;               // of events, and of history
  std::chrono::hours age{24 * 90};      // older ones go, by the time of the newest; the last `least_rows` stay anyway
  uint64_t least_rows = 1000;           // so that a clock that was wrong for a while does not empty the log
  size_t unwritten = 10000;             // kept in memory while the disk is full; beyond that the oldest are lost
};

class EventStore {
 public:
  /// Runs a function soon on the event loop's thread. Must work for as long as the store lives.
  using Post = std::function<void(std::function<void()>)>;
  /// Called on the event loop's thread.
  using Done = std::function<void(const Result<nlohmann::json>&)>;

  /// Opens or creates the file. A damaged one is set aside as PATH.damaged and begun anew, with an event that says so.
  /// `server` is the name that events bear; `vfs` is SQLite's file access by name, for tests.
  static Result<std::unique_ptr<EventStore>> open(const std::string& path, const std::string& server, Post post,
                                                  EventLimits limits = {}, const std::string& vfs = "");

  /// Writes what was appended, as far as the disk allows. Callbacks are not called any more.
  ~EventStore();

  /// Never blocks and never fails: it is written soon, and kept in memory and tried again while the disk is full.
  /// Gives the event, with its id.
  Event append(const node::Note& note, int64_t time_ms, int64_t monotonic_us);
  /// A committed entry of the cluster's log and what came of it. Repeating it (after a restart) changes nothing.
  void append_history(const database::Entry& entry, const Applied& outcome);
  /// How far a receiver of alerts has got, written after the events before it; nothing: there is no such receiver any more.
  void keep_progress(const std::string& name, const std::optional<alert::Progress>& progress);
  const alert::Backlog& alerts_before_start() const;
  /// The newest entry that was recorded before this start: what is at or below it has been told already.
  uint64_t history_before_start() const;

  /// `{"events": [...], "last": ID}`, oldest first: the first `limit` events above `after`, or, when that is negative,
  /// the newest `limit`. An empty `group`: all. "last" is what to give as `after` next time.
  void list(int64_t after, uint32_t limit, const std::string& group, Done done);
  /// `{"group": "db", "transitions": [...]}`, newest first: the last `count` entries that moved the group.
  void explain(const std::string& group, uint32_t count, Done done);

  /// Why events cannot be written at present, for people; empty when they can.
  std::string problem() const;

 private:
  struct Implementation;
  explicit EventStore(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace baton
