// Which voters' batonds have fallen silent: members of the view whose beats have ceased. Pure. docs/architecture.md,
// "Programs".
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "src/base/ids.h"
#include "src/base/time.h"

namespace baton::node {

class Silence {
 public:
  /// `start` is unique per start of this batond.
  Silence(ServerId self, uint64_t start) : self_(self), start_(start) {}

  void view_changed(Instant now, const std::set<ServerId>& members);
  /// The number of the beat that is sent now.
  uint64_t beat_sent(Instant now);
  /// Also this batond's own beats that come back.
  void beat_received(Instant now, ServerId from, uint64_t start, uint64_t sequence);

  /// When a voter's last beat of this view arrived; Instant{}: none.
  Instant last_heard(ServerId voter) const;
  /// When this batond sent its newest beat that came back in this view; Instant{}: none did.
  Instant returned_sent() const { return returned_sent_; }
  /// Members whose beats have ceased for `threshold`. Judged at the sending of this batond's own newest beat
  /// that came back, up to which everything has been received: one that was itself paused suspects nobody.
  std::set<ServerId> silent(Duration threshold) const;

 private:
  ServerId self_;
  uint64_t start_;
  std::set<ServerId> members_;
  Instant view_since_{};
  uint64_t sequence_ = 0;
  Instant returned_sent_{};           // when the newest own beat that has come back in this view was sent
  std::map<uint64_t, Instant> sent_;  // own beats that have not come back
  std::map<ServerId, Instant> heard_at_;
};

}  // namespace baton::node
