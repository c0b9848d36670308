// The ping targets of two servers, in a world where something parts the servers only together with one's way to the targets: what
// `np = "ping"` asks of a network (docs/protocol.md, "The arbiter by ping targets"). Plain values, one thread.
#pragma once

#include <algorithm>
#include <map>

#include "sim/random.h"
#include "src/base/ids.h"
#include "src/base/time.h"

namespace baton::sim {

class PingTargets {
 public:
  /// The servers are apart now, or one of them believes so: from the first moment until a while after the last, one of them
  /// (`gone` if that is not there anyway; 0: either) reaches no target.
  void parted(Instant now, Random& random, ServerId gone, ServerId one, ServerId other) {
    if (now >= cut_off_until_) cut_off_ = gone != ServerId{} ? gone : random.chance(0.5) ? one : other;
    cut_off_until_ = now + kCutOff;
  }
  void cut(ServerId server, Instant until) { cuts_[server] = std::max(cuts_[server], until); }
  void heal() {
    cuts_.clear();
    cut_off_until_ = Instant{};
  }
  bool reached(Instant now, ServerId server) const {
    const auto found = cuts_.find(server);
    return !(server == cut_off_ && now < cut_off_until_) && (found == cuts_.end() || now >= found->second);
  }

  // ---- What the checkers go by ----
  void view(Instant now, ServerId server, bool both) {
    if (both) lost_.erase(server);
    else lost_.try_emplace(server, now);
  }
  void answered(ServerId server, Instant sent) { answered_[server] = std::max(answered_[server], sent); }
  /// An echo was answered that this server sent after it had lost the other one.
  bool answered_since_loss(ServerId server) const {
    const auto lost = lost_.find(server);
    const auto answer = answered_.find(server);
    return lost != lost_.end() && answer != answered_.end() && answer->second >= lost->second;
  }

 private:
  static constexpr Duration kCutOff = 5s;
  ServerId cut_off_;
  Instant cut_off_until_{};
  std::map<ServerId, Instant> cuts_, lost_, answered_;
};

}  // namespace baton::sim
