// AlertCore: which event goes to which receiver, when, and from which server, so that people hear of each once, also when the server that
// would have told them is gone. Pure. Owned by batond's Alerts; one thread. docs/protocol.md, "Alerts".
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "src/base/ids.h"
#include "src/base/time.h"
#include "src/model/configuration.h"
#include "src/model/event.h"

namespace baton::alert {

constexpr size_t kMostWaiting = 1000;         // events for one receiver, of the cluster and of this server each; then the oldest go
constexpr Duration kHearLimit = 5s;           // for the first word of a server that has come
constexpr Duration kStepAside = 300s;         // so long after a failed attempt others that reach the receiver go first
constexpr uint32_t kFailuresUntilTold = 2;    // in a row, then there is an event of it

/// What is done with: told here or elsewhere, given up. On disk, for the next start of batond.
struct Progress {
  uint64_t event = 0;   // this server's own events up to this one
  uint64_t place = 0;   // those of the cluster's log
  uint64_t untold = 0;  // what was given up, or was beyond the limit, and has not been counted to the receiver yet
  bool operator==(const Progress&) const = default;
};

/// What the event log knows when batond starts.
struct Backlog {
  std::map<std::string, Progress> progress;  // by the name of the alert
  std::vector<Event> events;                 // which may not have been told yet, oldest first
  uint64_t newest_event = 0;
  uint64_t newest_place = 0;
};

// ---- What it is told ----

struct Configured {
  std::vector<AlertConfiguration> alerts;
};
/// It is in the event log.
struct Recorded {
  Event event;
};
/// The outcome of a Deliver.
struct Delivered {
  uint64_t token = 0;
  bool ok = false;
  std::string problem;
};
/// The servers that are there and answer, this one included.
struct Members {
  std::set<ServerId> answering;
};
/// A server's word of its receivers.
struct Heard {
  ServerId from;
  std::vector<AlertReport> reports;
};
struct Tick {};
using Input = std::variant<Configured, Recorded, Delivered, Members, Heard, Tick>;

// ---- What it wants done ----

/// Answered by one Delivered, within the alert's timeout.
struct Deliver {
  uint64_t token = 0;
  AlertConfiguration alert;
  Event event;
};
struct Keep {
  std::string name;
  Progress progress;
};
struct Forget {
  std::string name;
};
using Action = std::variant<Deliver, Keep, Forget, Note>;

/// For status.
struct View {
  std::string name;
  AlertKind kind = AlertKind::kCommand;
  std::string target;
  ServerId sender;              // of the cluster's events
  size_t waiting = 0;           // events that this server is to tell
  uint64_t untold = 0;
  Instant last_told{};          // by this server; {}: not since its batond's start
  Instant failing_since{};      // {}: it does not
  std::string problem;          // of the last attempt
};

class AlertCore {
 public:
  /// `wall_ms`: the wall clock at `now`, for the age of what is in the backlog.
  AlertCore(ServerId self, Backlog backlog, Instant now, int64_t wall_ms);

  void step(Instant now, const Input& input, std::vector<Action>& actions);
  Instant next_tick() const;

  /// For the other servers.
  std::vector<AlertReport> reports() const;
  std::vector<View> views() const;

 private:
  struct Item {
    Event event;
    Instant born;  // by this server's clock
  };
  struct Receiver {
    AlertConfiguration alert;
    Progress progress;
    Progress kept;
    std::deque<Item> own;      // events of this server alone
    std::deque<Item> cluster;  // those that the others have, too
    uint64_t token = 0;        // of the attempt that is under way; 0: none
    Event sent;                // what it is about; no id: the line that closes a window
    uint64_t counted = 0;      // ... and how many that line names
    uint32_t sent_in_window = 0;
    Instant window_ends{};
    uint32_t failures = 0;     // in a row
    Instant retry_at{};
    Instant aside_until{};     // others go first
    Instant failing_since{};
    Instant last_told{};
    std::string problem;
  };

  void take(const Configured& input);
  void take(const Recorded& input);
  void take(const Delivered& input);
  void take(const Members& input);
  void take(const Heard& input);
  void take(const Tick&) {}
  void line_up(Receiver& receiver, const Event& event, Instant born);
  void pump(Receiver& receiver);
  void drop_old(Receiver& receiver);
  bool skip(Receiver& receiver);
  void deliver(Receiver& receiver, Event event, uint64_t counted);
  void succeeded(Receiver& receiver);
  void failed(Receiver& receiver, const std::string& problem);
  void settle(Receiver& receiver, const Event& event);
  void settle_cluster(Receiver& receiver, uint64_t place);
  void give_up(Receiver& receiver, std::deque<Item>& queue);
  void keep(Receiver& receiver);
  bool all_heard() const;
  bool window_open(const Receiver& receiver) const;
  ServerId sender_of(const Receiver& receiver) const;
  bool sends(const Receiver& receiver) const { return sender_of(receiver) == self_; }
  const Item* next_of(const Receiver& receiver) const;
  Event closing_line(const Receiver& receiver) const;

  ServerId self_;
  Backlog backlog_;
  Instant began_;
  int64_t began_wall_ms_;
  Instant now_;
  std::vector<Action>* out_ = nullptr;
  uint64_t next_token_ = 0;
  std::map<std::string, Receiver> receivers_;
  std::set<ServerId> members_;
  Instant members_since_;
  std::map<ServerId, std::map<std::string, AlertReport>> heard_;
};

}  // namespace baton::alert
