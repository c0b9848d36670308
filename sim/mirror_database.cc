// See mirror_database.h.
#include "sim/mirror_database.h"

namespace baton::sim {

int MirrorDatabase::holder_index() const {
  if (committed_.holder == servers_[0]) return 0;
  return committed_.holder == servers_[1] ? 1 : -1;
}

bool MirrorDatabase::apply(const mirror::ProposeInSync& proposal) {
  if (proposal.permit != committed_.permit || proposal.expected_version != committed_.version) return false;
  committed_.in_sync = proposal.in_sync;
  ++committed_.version;
  return true;
}

bool MirrorDatabase::eligible(int index) const {
  const MirrorMember& member = members_[index];
  if (!member.in_view || !member.report || !member.report->consistent) return false;
  const auto listed = committed_.in_sync.find(servers_[index]);
  return listed != committed_.in_sync.end() && listed->second == member.report->incarnation;
}

bool MirrorDatabase::reports_other_incarnation(int index) const {
  const MirrorMember& member = members_[index];
  const auto listed = committed_.in_sync.find(servers_[index]);
  return member.in_view && member.report && listed != committed_.in_sync.end() &&
         listed->second != member.report->incarnation;
}

std::optional<MirrorDatabase::Assignment> MirrorDatabase::choose(int preferred) const {
  if (committed_.in_sync.empty()) {  // S6
    const MirrorMember& first = members_[preferred];
    if (first.in_view && first.report) return Assignment{preferred, false};
    return std::nullopt;
  }
  if (eligible(preferred)) return Assignment{preferred, false};
  if (eligible(1 - preferred)) return Assignment{1 - preferred, false};
  for (int index = 0; index < 2; ++index) {
    if (committed_.in_sync.contains(servers_[index]) && !reports_other_incarnation(index)) return std::nullopt;
  }
  const int last = holder_index();  // S5
  const bool there = last >= 0 && reports_other_incarnation(last) && members_[last].report->consistent;
  if (!there) return std::nullopt;
  return Assignment{last, true};
}

std::optional<MirrorDatabase::Assignment> MirrorDatabase::assign(int preferred) {
  const auto chosen = choose(preferred);
  if (!chosen) return std::nullopt;
  const bool alone =
      committed_.in_sync.empty() || chosen->whole_set_crashed || !members_[1 - chosen->index].in_view;
  if (alone) committed_.in_sync = {{servers_[chosen->index], members_[chosen->index].report->incarnation}};
  ++committed_.permit.value;
  ++committed_.version;
  committed_.holder = servers_[chosen->index];
  members_[chosen->index].released = false;
  return chosen;
}

}  // namespace baton::sim
