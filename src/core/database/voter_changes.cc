// Changes of voters: when the leader may begin one, and when it is settled. Pure. docs/protocol.md, "Voters".
#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "src/core/database/database_implementation.h"

namespace baton::database {

namespace {

std::vector<ServerId> difference(const std::set<ServerId>& from, const std::set<ServerId>& without) {
  std::vector<ServerId> left;
  std::set_difference(from.begin(), from.end(), without.begin(), without.end(), std::back_inserter(left));
  return left;
}

}  // namespace

std::string Database::Implementation::why_not_change(const VoterSet& wanted) const {
  if (!leads() || !serves()) return "this voter does not lead";
  const VoterSet& present = log.voters();
  // SAFETY: V4. One at a time, and (Raft's flaw of 2015) not before an entry of this epoch is committed: serves().
  if (present.joint() || log.voters_index() > committed) return "an earlier change of voters is not settled yet";
  if (wanted.before != present.now) return "the voters have changed meanwhile";
  const auto added = difference(wanted.now, present.now);
  if (wanted.now.empty() || added.size() + difference(present.now, wanted.now).size() != 1)
    return "voters change one at a time";
  std::set<ServerId> up_to_date;
  if (log.durable_counting()) up_to_date.insert(settings.self);
  for (const auto& [voter, follower] : followers)
    if (follower.counting && follower.answered && follower.matched >= committed) up_to_date.insert(voter);
  // SAFETY: V4. Nor would a voter that lacks entries be of use, or voters that cannot commit the change.
  if (!added.empty() && !up_to_date.contains(added.front()))
    return fmt::format("server {} has not caught up with the cluster database yet", added.front());
  if (!wanted.majority(up_to_date)) return "without it, or with it, too few of the voters would be here";
  return {};
}

void Database::Implementation::handle(const Recover& event) {
  constexpr uint64_t kRoundsLeftOut = uint64_t{1} << 20;
  if (serves() || disk_failing || !log.durable_counting() || !event.survivors.contains(settings.self)) return;
  // SAFETY: R1. An epoch above everything that those who are given up have seen, or will.
  const uint64_t round = round_of(std::max({seen, log.promised(), log.last().epoch}));
  const Epoch recovery = make_epoch(round + kRoundsLeftOut + event.rounds, settings.self);
  log.promise(recovery);
  log.append(Entry{recovery, log.last_index() + 1, SetVoters{VoterSet{event.survivors, event.survivors}}, settings.self, 0,
                   event.wall_ms});
  const std::set<ServerId> alone{settings.self};
  if (event.survivors != alone)
    log.append(Entry{recovery, log.last_index() + 1, SetVoters{VoterSet{alone, alone}}, settings.self, 0, event.wall_ms});
  // What was under way here was so by the voters of before.
  handle(ViewChanged{members});
}

/// From here on the voters of before are needed no more.
void Database::Implementation::settle_voters() {
  const VoterSet& voters = log.voters();
  if (!voters.joint() || !serves() || log.voters_index() > committed) {
    settle_at = kNever;
    return;
  }
  // SAFETY: V5. Who does not know of this change was granted nothing by a former majority since it is committed. The
  // last lease of that kind must have ended.
  if (settle_at == kNever) settle_at = now + settings.settle_after;
  if (now < settle_at) return;
  settle_at = kNever;
  log.append(Entry{epoch, log.last_index() + 1, SetVoters{VoterSet{voters.now, {}}}, settings.self, 0, 0});
}

}  // namespace baton::database
