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
  committed_.trailing = proposal.trailing;
  committed_.forced = {};
  ++committed_.version;
  return true;
}

void MirrorDatabase::force(int index) {
  committed_.in_sync = {{servers_[index], members_[index].report->incarnation}};
  committed_.forced = servers_[index];
  committed_.trailing.clear();
  ++committed_.version;
}

bool MirrorDatabase::eligible(int index) const {
  const MirrorMember& member = members_[index];
  const bool forced = committed_.forced == servers_[index];
  if (!member.in_view || !member.report || !(member.report->consistent || forced)) return false;
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
  for (const int index : {preferred, 1 - preferred}) {
    if (eligible(index)) return Assignment{index, false, committed_.forced == servers_[index]};
  }
  for (int index = 0; index < 2; ++index) {  // A5
    const MirrorMember& member = members_[index];
    const auto named = committed_.trailing.find(servers_[index]);
    if (named == committed_.trailing.end() || members_[1 - index].in_view) continue;
    if (!member.in_view || !member.report || !member.report->consistent) continue;
    if (member.report->incarnation == named->second) return Assignment{index, false, false, true};
  }
  for (int index = 0; index < 2; ++index) {
    if (committed_.in_sync.contains(servers_[index]) && !reports_other_incarnation(index)) return std::nullopt;
  }
  const int last = holder_index();  // S5
  if (last < 0) return std::nullopt;
  // A blank copy is one whose disk was replaced, unless nothing was ever written anywhere.
  const auto blank = [&](int index) { return members_[index].report && members_[index].report->generation.counter == 0; };
  const bool new_mirror = blank(0) && blank(1);
  const auto whole = [&](int index) {
    const MirrorMember& member = members_[index];
    const bool forced = committed_.forced == servers_[index];
    return reports_other_incarnation(index) && (member.report->consistent || forced) &&
           (member.report->generation.counter > 0 || new_mirror);
  };
  const auto crashed = [&](int index) { return Assignment{index, true, committed_.forced == servers_[index]}; };
  if (whole(last)) return crashed(last);
  // Its disk is known to be lost: the other one has every acknowledged flush.
  const bool lost =
      !committed_.in_sync.contains(servers_[last]) || (reports_other_incarnation(last) && !whole(last));
  if (lost && whole(1 - last)) return crashed(1 - last);
  return std::nullopt;
}

std::optional<MirrorDatabase::Assignment> MirrorDatabase::assign(int preferred) {
  const auto chosen = choose(preferred);
  if (!chosen) return std::nullopt;
  const bool alone =
      committed_.in_sync.empty() || chosen->whole_set_crashed || !members_[1 - chosen->index].in_view;
  committed_.trailing.clear();
  if (alone || chosen->trailing) committed_.in_sync = {{servers_[chosen->index], members_[chosen->index].report->incarnation}};
  ++committed_.permit.value;
  ++committed_.version;
  committed_.holder = servers_[chosen->index];
  members_[chosen->index].released = false;
  return chosen;
}

}  // namespace baton::sim
