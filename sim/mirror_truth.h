// What the clients of the simulated cluster's mirrors know: the writes that were answered, under which permit, and what a copy
// that becomes primary must hold (I1-I3, P1-P3). The stand-ins' data is one number: the newest write that a copy has.
// docs/protocol.md, "Permits" and "In-sync set". Deterministic, one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "src/core/database/database.h"
#include "src/model/cluster_state.h"

namespace baton::sim {

class MirrorTruth {
 public:
  /// The committed log goes on by `entry`; `before` and `after` are the states around it.
  void committed(const database::Entry& entry, const ClusterState& before, const ClusterState& after);

  /// A primary answers a write (and a flush): the write's number.
  uint64_t acknowledge(const std::string& mirror, ServerId server, Permit permit, bool flush);
  /// A copy is exported under `permit` with everything up to write `holds`.
  /// The mirror has been given to another one since: a machine that stood still meanwhile makes its device all the same, but has no
  /// lease any more (`one server`), and answers nothing.
  bool overtaken(const std::string& key, Permit permit) const;
  /// Says whether its whole set had crashed since the last promotion (S5).
  bool promoted(const std::string& mirror, ServerId server, Permit permit, uint64_t holds);

  /// All copies at once: what no flush covered may be gone.
  void everybody_lost_power();
  /// A person names the copy that has the most of those that he sees: more may be elsewhere.
  void accept_loss(const std::string& mirror, uint64_t written, uint64_t flushed);

  uint64_t writes() const { return next_write_ - 1; }
  uint64_t promotions() const { return promotions_; }
  uint64_t set_crashes() const { return set_crashes_; }

 private:
  struct Mirror {
    std::map<Permit, ServerId> grants;
    bool set_crashed = false;  // S5, since the last promotion: writes that were not flushed may be gone
    Permit newest_used;      // under which something was answered
    uint64_t acknowledged = 0;
    uint64_t flushed = 0;
  };
  void note_assignment(const AssignGroup& assign, const ClusterState& before, const ClusterState& after);

  std::map<std::string, Mirror> mirrors_;
  uint64_t next_write_ = 1;  // of all mirrors: a number never comes back
  uint64_t promotions_ = 0;
  uint64_t set_crashes_ = 0;
};

}  // namespace baton::sim
