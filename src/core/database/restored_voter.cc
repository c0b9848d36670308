// See restored_voter.h.
#include "src/core/database/restored_voter.h"

#include <algorithm>

#include "src/base/assert.h"
#include "src/model/known_configuration.h"

namespace baton::database {

namespace {

constexpr uint64_t kRoundsOfASecond = uint64_t{1} << 16;
/// Beyond what the backup knows, whatever the clock says: a recovery or two. SAFETY: R7. Not more: a restore from a backup that knows of
/// an earlier one must not be ahead of the clock, or the next one, from an older backup, would be below it.
constexpr uint64_t kRoundsLeftOut = uint64_t{1} << 22;

ClusterState state_after(const std::vector<Entry>& entries) {
  ClusterState state;
  std::set<std::pair<ServerId, uint64_t>> seen;
  for (const Entry& entry : entries)
    if (entry.request == 0 || seen.emplace(entry.origin, entry.request).second) apply_command(state, entry.command, entry.index);
  return state;
}

std::set<ServerId> servers_of(const ClusterState& state) {
  std::set<ServerId> servers = state.voters.all();
  if (const auto configuration = known_configuration(state.configuration_text))
    for (const auto& server : configuration->servers) servers.insert(server.id);
  return servers;
}

}  // namespace

uint64_t restore_round(int64_t wall_ms, uint64_t random) {
  return static_cast<uint64_t>(std::max<int64_t>(wall_ms, 0)) / 1000 * kRoundsOfASecond + random % kRoundsOfASecond;
}

StoredVoter restored_voter(std::vector<Entry> entries, const Restoration& restoration) {
  BATON_ASSERT(!entries.empty() && restoration.survivors.contains(restoration.self));
  const ClusterState state = state_after(entries);
  // SAFETY: R7. Above every epoch that anybody has seen since the backup was made.
  const uint64_t round = std::max(round_of(entries.back().epoch) + kRoundsLeftOut, restoration.round);
  StoredVoter voter{make_epoch(round, restoration.self), true, std::move(entries)};
  const auto add = [&](Command command) {
    voter.entries.push_back(Entry{voter.promised, voter.entries.size() + 1, std::move(command), restoration.self, 0, restoration.wall_ms});
  };
  if (state.format_level < kFormatLevel) add(RaiseFormatLevel{kFormatLevel});
  const std::set<ServerId> alone{restoration.self};
  // R1: joint with itself, and the first one names the survivors.
  add(SetVoters{VoterSet{restoration.survivors, restoration.survivors}});
  if (restoration.survivors != alone) add(SetVoters{VoterSet{alone, alone}});
  // SAFETY: R8, R9. Permits are given one at a time: none that was ever given is above this.
  add(RestoreDatabase{servers_of(state), round, restoration.made_ms, restoration.source, restoration.author, restoration.key});
  return voter;
}

}  // namespace baton::database
