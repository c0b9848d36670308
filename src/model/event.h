// What is told to people: a note of what has happened, and how much it matters. One table says how much each kind does, the same for the
// event log, the journal and alerts. Plain values, any thread. docs/api.md, "Events".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/model/command.h"

namespace baton {

/// How much a person should care: not at all, some time, soon.
enum class Severity { kInfo, kWarning, kAlert };
const char* to_string(Severity severity);  // "info", "warning", "alert"
std::optional<Severity> parse_severity(const std::string& text);

struct Note {
  std::string kind;
  std::string group;
  std::string text;
  std::vector<std::string> causes;
  std::string resource;
  std::string action;
  std::string outcome;
  int64_t took_us = 0;
  std::optional<Severity> severity;  // nothing: that of its kind
  uint64_t place = 0;                // of_entry(); 0: it is this server's own
  bool everywhere = false;           // without a place: the other servers that are there note it, too
};

/// A note in the event log of a server.
struct Event {
  uint64_t id = 0;  // rises; of this server
  int64_t time_ms = 0;
  int64_t monotonic_us = 0;
  std::string server;
  Note note;
};

/// The place of a note that tells of an entry of the cluster's log: the same on every server, and in the log's order.
inline constexpr uint64_t kNotesOfEntry = 8;
constexpr uint64_t of_entry(uint64_t index, uint64_t which) { return index * kNotesOfEntry + which; }
constexpr uint64_t entry_of(const Note& note) { return note.place / kNotesOfEntry; }

Severity severity_of(const Note& note);
/// Of an entry of the cluster's log; one that was refused has changed nothing.
Severity severity_of(const Command& command, bool applied);

/// The kinds of notes, for whoever chooses among them.
std::vector<std::string> event_kinds();

/// How far a receiver of alerts has got, as servers tell one another (docs/protocol.md, "Alerts").
struct AlertReport {
  std::string name;
  uint64_t told = 0;     // the place up to which what is wanted has been told
  bool failing = false;  // this server does not reach it
  bool operator==(const AlertReport&) const = default;
};

}  // namespace baton
