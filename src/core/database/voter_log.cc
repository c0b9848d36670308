// The voter's log in memory and what of it is durable. Pure. docs/protocol.md, "Cluster database".
#include "src/core/database/voter_log.h"

#include "src/base/assert.h"
#include "src/base/planted.h"
#include "src/model/known_configuration.h"

namespace baton::database {

namespace {

size_t size_of(const Entry& entry) {
  constexpr size_t kOfAnyEntry = 256;
  const auto* configuration = std::get_if<ApplyConfiguration>(&entry.command);
  return kOfAnyEntry + (configuration != nullptr ? configuration->text.size() : 0);
}

}  // namespace

VoterLog::VoterLog(StoredVoter stored, const std::set<ServerId>& founders)
    : promised_(stored.promised),
      counting_(stored.counting),
      voters_{{0, VoterSet{founders, {}}, false, Epoch{}}},
      durable_promised_(stored.promised),
      durable_counting_(stored.counting),
      durable_length_(stored.entries.size()),
      disk_length_(stored.entries.size()) {
  for (auto& entry : stored.entries) append(std::move(entry));
}

const Entry& VoterLog::entry(uint64_t index) const {
  BATON_ASSERT(index >= 1 && index <= entries_.size());
  return entries_[index - 1];
}

LogPosition VoterLog::position(uint64_t index) const {
  return index == 0 ? LogPosition{} : LogPosition{entry(index).epoch, index};
}

bool VoterLog::holds(const LogPosition& wanted) const {
  return wanted.index <= last_index() && position(wanted.index) == wanted;
}

std::vector<Entry> VoterLog::slice(uint64_t after, size_t most_entries, size_t most_bytes) const {
  std::vector<Entry> taken;
  size_t bytes = 0;
  for (uint64_t index = after + 1; index <= last_index() && taken.size() < most_entries; ++index) {
    bytes += size_of(entry(index));
    if (bytes > most_bytes && !taken.empty()) break;
    taken.push_back(entry(index));
  }
  return taken;
}

LogPosition VoterLog::common_guess(const LogPosition& limit) const {
  uint64_t index = std::min(limit.index, last_index());
  while (index > 0 && position(index).epoch > limit.epoch) --index;
  return position(index);
}

Epoch VoterLog::durable_lineage() const {
  const auto newest = std::find_if(voters_.rbegin(), voters_.rend(), [&](const Voters& voters) { return voters.index <= durable_length_; });
  return newest == voters_.rend() ? Epoch{} : newest->lineage;
}

uint64_t VoterLog::find(ServerId origin, uint64_t request) const {
  const auto found = proposals_.find({origin, request});
  return found == proposals_.end() ? 0 : found->second;
}

void VoterLog::promise(Epoch epoch) {
  BATON_ASSERT(epoch >= promised_);
  promised_ = epoch;
}

void VoterLog::append(Entry entry) {
  BATON_ASSERT(entry.index == last_index() + 1);
  BATON_ASSERT(entry.epoch >= last().epoch);
  note_voters(entry);
  if (entry.request != 0) proposals_.emplace(std::pair{entry.origin, entry.request}, entry.index);
  entries_.push_back(std::move(entry));
}

/// The founding configuration says who votes first, whatever this server was told; then each change does.
void VoterLog::note_voters(const Entry& entry) {
  if (const auto* change = std::get_if<SetVoters>(&entry.command)) {
    Voters next{entry.index, change->voters, true, Epoch{}, voters_.back().lineage, voters_.back().survivors};
    // R1: its mark is that it is joint with itself. The first one of its epoch names the survivors.
    const bool recovery = change->voters.now == change->voters.before;
    if (recovery && next.lineage != entry.epoch) next.survivors = change->voters.now;
    if (recovery) next.lineage = entry.epoch;
    voters_.push_back(std::move(next));
    return;
  }
  if (const auto* takeover = std::get_if<TakeOver>(&entry.command)) {
    voters_.push_back({entry.index, VoterSet{{takeover->server}, {}}, true, entry.epoch, voters_.back().lineage, voters_.back().survivors,
                       !takeover->author.empty()});
    return;
  }
  const auto* founding = std::get_if<ApplyConfiguration>(&entry.command);
  if (founding == nullptr || founding->expected_version != 0 || voters_.size() > 1) return;
  const auto configuration = known_configuration(founding->text);
  if (!configuration) return;
  const auto ids = configuration->voters();
  voters_.push_back({entry.index, VoterSet{{ids.begin(), ids.end()}, {}}, false, Epoch{}});
}

void VoterLog::cut(uint64_t index) {
  // SAFETY: V1. A change that is cut off was never in effect.
  while (voters_.back().index > index && !planted(Plant::kVotersNotCutBack)) voters_.pop_back();
  while (last_index() > index) {
    const Entry& gone = entries_.back();
    const auto found = proposals_.find({gone.origin, gone.request});
    if (found != proposals_.end() && found->second == gone.index) proposals_.erase(found);
    entries_.pop_back();
  }
  durable_length_ = std::min(durable_length_, index);
  if (flight_) flight_->common = std::min(flight_->common, index);
}

std::optional<Persist> VoterLog::start_persist() {
  BATON_ASSERT(!flight_);
  const bool log_changed = disk_length_ != durable_length_ || durable_length_ != last_index();
  if (promised_ == durable_promised_ && counting_ == durable_counting_ && !log_changed) return std::nullopt;
  Persist persist;
  persist.token = next_token_++;
  if (promised_ != durable_promised_) persist.promised = promised_;
  if (counting_ != durable_counting_) persist.counting = counting_;
  if (disk_length_ > durable_length_) persist.keep_up_to = durable_length_;
  persist.append.assign(entries_.begin() + static_cast<ptrdiff_t>(durable_length_), entries_.end());
  flight_ = Flight{persist.token, promised_, counting_, last_index(), last_index()};
  return persist;
}

bool VoterLog::persisted(uint64_t token, bool ok) {
  if (!flight_ || flight_->token != token) return false;
  const Flight done = *flight_;
  flight_.reset();
  if (!ok) return true;
  durable_promised_ = done.promised;
  durable_counting_ = done.counting;
  disk_length_ = done.length;
  durable_length_ = done.common;
  return true;
}

}  // namespace baton::database
