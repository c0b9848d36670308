// The ping targets of two servers, in a world where something parts the servers only together with one's way to the targets: what
// `np = "ping"` asks of a network (docs/protocol.md, "The arbiter by ping targets"). Besides, targets that are silent for one or
// both, and answers that take long. Plain values, one thread.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>

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
  /// The server reaches nothing beyond itself and the other one.
  void cut(ServerId server, Instant until) { cuts_[server] = std::max(cuts_[server], until); }
  /// One target answers this server nothing.
  void silence(ServerId server, const std::string& target, Instant until) {
    Instant& silent = silences_[{server, target}];
    silent = std::max(silent, until);
  }
  /// Answers to this server take so much longer.
  void slow_down(ServerId server, Duration by, Instant until) { slow_[server] = {by, until}; }
  void heal() {
    cuts_.clear();
    silences_.clear();
    slow_.clear();
    cut_off_until_ = Instant{};
  }
  /// Anything out there.
  bool reached(Instant now, ServerId server) const {
    const auto found = cuts_.find(server);
    return !(server == cut_off_ && now < cut_off_until_) && (found == cuts_.end() || now >= found->second);
  }
  bool answers(Instant now, ServerId server, const std::string& target) const {
    const auto found = silences_.find({server, target});
    return reached(now, server) && (found == silences_.end() || now >= found->second);
  }
  Duration delay(Instant now, ServerId server) const {
    const auto found = slow_.find(server);
    return found == slow_.end() || now >= found->second.second ? Duration{0} : found->second.first;
  }

  // ---- What the checkers go by ----
  void view(Instant now, ServerId server, bool both) {
    if (both) lost_.erase(server);
    else lost_.try_emplace(server, now);
  }
  /// The answer to an echo of that moment has come back; late ones say nothing (T1).
  void answered(Instant now, ServerId server, Instant sent) {
    if (now < sent + kInTime) answered_[server] = std::max(answered_[server], sent);
  }
  /// An echo was answered that this server sent after it had lost the other one.
  bool answered_since_loss(ServerId server) const {
    const auto lost = lost_.find(server);
    const auto answer = answered_.find(server);
    return lost != lost_.end() && answer != answered_.end() && answer->second >= lost->second;
  }

 private:
  static constexpr Duration kCutOff = 5s;
  static constexpr Duration kInTime = 1010ms;  // a second of a clock that runs slow
  ServerId cut_off_;
  Instant cut_off_until_{};
  std::map<ServerId, Instant> cuts_, lost_, answered_;
  std::map<std::pair<ServerId, std::string>, Instant> silences_;
  std::map<ServerId, std::pair<Duration, Instant>> slow_;
};

}  // namespace baton::sim
