// MirrorDatabase: plays the committed record of one mirror and the cluster's decisions about it (who holds the
// permit, by S4-S6): compare-and-set with delays and losses, judged by reports that may be stale. Simulation
// thread.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>

#include "sim/random.h"
#include "src/core/mirror/mirror_types.h"

namespace baton::sim {

/// What the database believes of a server.
struct MirrorMember {
  bool in_view = false;
  std::optional<MirrorReport> report;  // of its present start
  bool released = true;                // says that nothing runs there under the newest permit
};

class MirrorDatabase {
 public:
  explicit MirrorDatabase(std::array<ServerId, 2> servers) : servers_(servers) {}

  const MirrorState& committed() const { return committed_; }
  MirrorMember& member(int index) { return members_[index]; }
  int holder_index() const;

  /// P4. True if applied.
  bool apply(const mirror::ProposeInSync& proposal);

  /// An operator makes this copy the only one that counts. REQUIRES: the holder has released.
  void force(int index);

  struct Assignment {
    int index = -1;
    bool whole_set_crashed = false;  // S5
    bool forced = false;
    bool trailing = false;  // A5: what it lacks is lost
  };
  /// The holder is lost or has released: gives a new permit to whom the rules allow, preferring `preferred`.
  /// REQUIRES: the caller has seen that the holder's right has ended.
  std::optional<Assignment> assign(int preferred);

 private:
  bool eligible(int index) const;
  bool reports_other_incarnation(int index) const;
  std::optional<Assignment> choose(int preferred) const;

  std::array<ServerId, 2> servers_;
  std::array<MirrorMember, 2> members_;
  MirrorState committed_;
};

}  // namespace baton::sim
