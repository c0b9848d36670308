// A server's lease, holder's and grantor's side: beats, grants, what may remain of others' leases. Pure.
// docs/protocol.md, "Leases".
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "src/base/ids.h"
#include "src/base/time.h"

namespace baton::lease {

struct Settings {
  ServerId self;
  std::vector<ServerId> voters;
  Duration lease = 1100ms;
  Duration beat = 100ms;
};

/// Sent to all voters of the view each `beat`.
struct Beat {
  uint64_t sequence = 0;                  // of the sender; rises, starts anew with each start of it
  uint64_t start = 0;                     // names the sender's present start: acknowledgements of another one do not count
  struct Heard {
    uint64_t start = 0;
    uint64_t sequence = 0;
  };
  std::map<ServerId, Heard> heard;        // newest beat of each voter received in this view
};

class Lease {
 public:
  /// `start` is unique per start of this voter (random); `now` counts as a grant to every voter.
  Lease(const Settings& settings, uint64_t start, Instant now);

  /// New view: what was heard in the old one is forgotten.
  void view_changed(Instant now, const std::set<ServerId>& members);
  /// The beat to send now. Remembers when, and what it grants.
  /// Grants nothing to `withheld` (docs/protocol.md, L2): they are left out of what was heard.
  Beat make_beat(Instant now, const std::set<ServerId>& withheld = {});
  void beat_received(Instant now, ServerId from, const Beat& beat);

  /// This server's lease runs until then (exclusive); Instant{} if it never had one.
  Instant lease_until() const;
  /// What may remain of each voter's lease by this voter's account (others only).
  std::map<ServerId, Duration> left(Instant now) const;
  /// When a voter's last beat of this view arrived; nothing: none.
  Instant last_heard(ServerId voter) const;

 private:
  Settings settings_;
  uint64_t start_;
  uint64_t sequence_ = 0;
  Instant lease_until_{};
  Instant started_;
  std::map<uint64_t, Instant> sent_;                 // own beats not yet outlived
  std::map<ServerId, Instant> granted_;              // latest grant given
  std::map<ServerId, Beat::Heard> heard_;
  std::map<ServerId, Instant> heard_at_;
  std::map<ServerId, uint64_t> acknowledged_;        // own sequence acknowledged by each voter
};

}  // namespace baton::lease
