// MirrorPair: the client, and the checks at each answer.
#include <fmt/format.h>

#include <algorithm>

#include "sim/mirror_pair.h"

namespace baton::sim {

namespace {
constexpr size_t kQueueDepth = 8;
constexpr Duration kNewsOfFailure = 1s;  // longer than two metadata writes and a message take
}

void MirrorPair::client_round() {
  after(random_.between(Duration(100us), Duration(6ms)), [this] { client_round(); });
  if (random_.chance(0.03)) check_durability();
  if (chaos_ && random_.chance(0.004)) {  // pauses, in which both copies must become and be equal
    client_paused_ = true;
    after(random_.between(Duration(20ms), Duration(700ms)), [this] { client_paused_ = false; });
  }
  if (client_paused_ || client_stopped_) {
    if (at_rest()) check_equal("connected and idle");
    return;
  }
  for (int index = 0; index < 2; ++index) {
    Node& node = nodes_[index];
    if (node.copy && node.exported && !node.moving && node.requests.size() < kQueueDepth) issue(index);
  }
}

void MirrorPair::issue(int index) {
  Node& node = nodes_[index];
  PendingRequest pending;
  mirror::ClientRequest& request = pending.request;
  request.id = next_request_++;
  const uint64_t dice = random_.below(100);
  request.kind = dice < 5    ? mirror::RequestKind::kZero
                 : dice < 60 ? mirror::RequestKind::kWrite
                 : dice < 85 ? mirror::RequestKind::kRead
                             : mirror::RequestKind::kFlush;
  if (request.kind != mirror::RequestKind::kFlush) {
    const uint64_t size = history_.size();
    const uint64_t part = random_.chance(0.7) ? busy_blocks_ : size;
    request.range.first = random_.below(part);
    request.range.count =
        std::min<uint64_t>(1 + random_.below(random_.chance(0.1) ? 64 : 6), size - request.range.first);
    if (request.kind != mirror::RequestKind::kZero) {
      request.buffer = pending.buffer = node.next_buffer++;
      node.buffers[request.buffer].resize(request.range.count);
    }
  }
  // The simulation knows a zeroed range by its place alone: one at a time, and under A and B, where the peer may still be
  // about to write the one before, once.
  if (request.kind == mirror::RequestKind::kZero && protocol_ != MirrorProtocol::kC &&
      zeroed_.contains({request.range.first, request.range.count})) {
    return;
  }
  for (const auto& [id, other] : node.requests) {
    if (request.kind == mirror::RequestKind::kZero && other.request.kind == request.kind &&
        other.request.range == request.range) {
      return;
    }
  }
  if (request.kind == mirror::RequestKind::kWrite || request.kind == mirror::RequestKind::kZero) {
    pending.values = history_.issue(request.range);
    if (request.kind == mirror::RequestKind::kZero) {
      zeroed_[{request.range.first, request.range.count}] = pending.values;
    } else {
      node.buffers[request.buffer] = pending.values;
    }
    request.force_unit_access = random_.chance(0.05);
  }
  for (uint64_t block = request.range.first; block < request.range.end(); ++block) {
    pending.floors.push_back(history_.acknowledged_floor(block));
  }
  pending.flush_mark = history_.flush_issued();
  node.requests[request.id] = pending;
  feed(index, request);
}

void MirrorPair::completed(int index, const mirror::CompleteRequest& done) {
  Node& node = nodes_[index];
  const auto place = node.requests.find(done.id);
  if (place == node.requests.end()) {
    if (done.ok) violated("a request is completed that is not under way");
    return;
  }
  const PendingRequest pending = place->second;
  node.requests.erase(place);
  if (!done.ok) return;
  note(fmt::format("    {} completes {}", index, done.id));
  if (now_ >= node.lease_until) violated("I1: a request was completed without a lease");
  if (node.permit != newest_promoted_ || !node.exported)
    violated("I1: a request was completed under an old permit");
  switch (pending.request.kind) {
    case mirror::RequestKind::kWrite:
    case mirror::RequestKind::kZero:
      ++outcome_.acknowledged_writes;
      check_write(index, pending);
      history_.acknowledged(pending.request.range, pending.values, pending.request.force_unit_access,
                            now_);
      if (pending.request.force_unit_access) check_flush(index, pending);
      break;
    case mirror::RequestKind::kFlush:
      check_flush(index, pending);
      history_.flush_acknowledged(pending.flush_mark);
      if (random_.chance(0.05)) check_durability();
      break;
    case mirror::RequestKind::kRead:
      check_read(pending, node.buffers.at(pending.buffer));
      break;
  }
}

/// Alive, and its incarnation is the one in the committed set.
bool MirrorPair::holds_every_write(int member) const {
  const Node& node = nodes_[member];
  const auto& set = database_.committed().in_sync;
  const auto listed = set.find(node.id);
  return node.copy && listed != set.end() && listed->second == node.copy->report().incarnation;
}

void MirrorPair::check_write(int index, const PendingRequest& pending) {
  const BlockRange range = pending.request.range;
  const auto is_on = [&](int member) { return nodes_[member].disk->read(range) == pending.values; };
  const int peer = 1 - index;
  if (nodes_[index].copy->report().detached) {
    // The peer is the only copy by now: when it has lost its power meanwhile, only flushes are promised.
    if (protocol_ == MirrorProtocol::kC && holds_every_write(peer) && !is_on(peer)) violated("D1: an acknowledged write is on no disk");
    return;
  }
  if (!is_on(index)) violated("S1: an acknowledged write is not on the primary's disk");
  // Under protocol B it may be in the peer's memory only: what a promotion finds is judged then.
  if (protocol_ == MirrorProtocol::kC && holds_every_write(peer) && !is_on(peer)) {
    violated(fmt::format("S1: an acknowledged write to {}+{} is not on the in-sync copy {}", range.first,
                         range.count, peer));
  }
  const mirror::Superblock& own = nodes_[index].disk->stored().superblock;
  const mirror::Superblock& other = nodes_[peer].disk->stored().superblock;
  const MirrorLink link = nodes_[index].copy->report().link;
  const bool alone = link == MirrorLink::kDown || link == MirrorLink::kConnecting;
  if (alone && !is_on(peer) && own.generation == other.generation) {
    violated("G1: a write that the peer lacks was acknowledged under the generation that the peer has");
  }
}

/// S1: what was acknowledged before the flush came is durable on every in-sync copy (a copy that was restarted
/// since is in the set no more, whether the set says so yet or not).
void MirrorPair::check_flush(int index, const PendingRequest& pending) {
  for (int member = 0; member < 2; ++member) {
    if (member != index && !holds_every_write(member)) continue;
    if (nodes_[member].copy->report().detached) continue;
    const std::string wrong = history_.judge_durable(nodes_[member].disk->durable(), pending.flush_mark);
    if (!wrong.empty())
      violated(fmt::format("S1: flush {} acknowledged, but on copy {} {}", pending.request.id, member, wrong));
  }
}

void MirrorPair::check_read(const PendingRequest& pending, const std::vector<uint64_t>& data) {
  for (uint64_t at = 0; at < pending.request.range.count; ++at) {
    const std::string wrong = history_.judge(pending.request.range.first + at, data[at], pending.floors[at]);
    if (!wrong.empty()) violated("I2: a read returned old data: " + wrong);
  }
}

/// Both copies are in the set; under protocol A the primary alone.
bool MirrorPair::set_as_wanted() const {
  const size_t size = database_.committed().in_sync.size();
  const int holder = database_.holder_index();
  if (protocol_ == MirrorProtocol::kA) return size == 1 && holder >= 0 && holds_every_write(holder);
  return size == 2 && holds_every_write(0) && holds_every_write(1);
}

/// Connected, and nothing under way.
bool MirrorPair::at_rest() const {
  if (!set_as_wanted()) return false;
  bool connected = false;
  for (int index = 0; index < 2; ++index) {
    const Node& node = nodes_[index];
    if (!node.copy || !node.requests.empty()) return false;
    const MirrorReport& report = node.copy->report();
    if (report.lag_bytes > 0) return false;
    if (report.role == MirrorRole::kPrimary && report.link == MirrorLink::kConnected && node.connection != 0) {
      connected = !connections_.at(node.connection).cut && nodes_[1 - index].connection == node.connection;
    }
  }
  return connected;
}

/// From here on nothing may change any more. What a disk was asked before the repair may fail after it: that is the
/// last fault, however late, and may cost the copies a pause of 10 s (or D3's 9 s). Until it is known everywhere
/// they only seem to be at rest.
bool MirrorPair::rest_begins() const { return at_rest() && now_ > last_failure_ + kNewsOfFailure; }

void MirrorPair::check_equal(const std::string& when) {
  const auto& left = nodes_[0].disk->current();
  const auto& right = nodes_[1].disk->current();
  if (left == right) return;
  for (uint64_t block = 0; block < left.size(); ++block) {
    if (left[block] != right[block]) {
      violated(fmt::format("the copies differ although {}: block {} is {} and {}", when, block, left[block],
                           right[block]));
    }
  }
}

}  // namespace baton::sim
