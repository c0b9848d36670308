// MirrorConnect while the cluster's keys change: connections that were made by other keys, or with another certificate, are
// made anew by the side that dials. The new one joins the session in the former one's place, and everything that is not
// acknowledged goes again over it: the core sees nothing of it. docs/protocol.md, K4 and K5.
#include <algorithm>

#include "src/mirror/mirror_connect.h"

namespace baton::mirror {
namespace {

constexpr Duration kProveAgain = 5s;  // the dialing side has made them anew by then

}  // namespace

void MirrorConnect::use_keys(const ClusterKeySet& keys, bool anew) {
  if (anew || keys.used != identity_.keys.used) ++identity_.generation;
  identity_.keys = keys;
  renew_paths();
  after(kProveAgain, [this] { end_unproved_paths(); });
}

/// Made before this side's keys changed, or by a key of the peer that counts no more.
bool MirrorConnect::outdated(const Path& path) const {
  return path.joined &&
         (path.joined->generation() != identity_.generation || !identity_.keys.accepts(path.joined->peer_key()));
}

bool MirrorConnect::up_to_date() const {
  return connection_ != 0 && std::none_of(paths_.begin(), paths_.end(), [&](const Path& path) { return outdated(path); });
}

/// One at a time, the one that carries the data last.
void MirrorConnect::renew_paths() {
  if (!session_ || !session_->initiator() || !wanted_) return;
  std::optional<size_t> next;
  for (size_t i = 0; i < configured_; ++i) {
    if (!outdated(paths_[i])) continue;
    if (paths_[i].outgoing || paths_[i].dialer->dialing()) return;
    if (!next || active_ == *next) next = i;
  }
  if (next) dial(*next);
}

/// SAFETY: K5. A key that was replaced is good for nothing any more, also not for what was begun with it.
void MirrorConnect::end_unproved_paths() {
  for (size_t i = 0; i < kMaxPaths && session_; ++i) {
    const auto joined = paths_[i].joined;
    if (!joined || identity_.keys.accepts(joined->peer_key())) continue;
    joined->close();
    path_lost(i, {"its peer proved itself by a key that was replaced"});
  }
}

}  // namespace baton::mirror
