// The client of a real mirror, and what its answers promise (I1-I3, S1). Deterministic, one thread.
#include <algorithm>

#include "sim/real_mirror.h"

namespace baton::sim {

namespace {
constexpr size_t kQueueDepth = 3;
}  // namespace

void RealMirror::violated(const char* checker, const std::string& text) const {
  throw Violation(checker, fmt::format("mirror {}: {}", key_, text));
}

void RealMirror::client_round() {
  world_.after(random_.between(3ms, 15ms), [this] { client_round(); });
  for (int index = 0; index < 2; ++index) {
    Side& side = sides_[index];
    if (!side.copy || !stand_in(index).up || side.server->machine_paused()) continue;
    if (side.closing && side.requests.empty()) {
      side.closing = false;
      later(index, 0ms, [this, index] { feed(index, mirror::Demote{}); });
      continue;
    }
    const bool ending = side.closing || side.stop_done;
    if (!ending && !client_stopped_ && side.requests.size() < kQueueDepth) issue(index);
  }
}

void RealMirror::issue(int index) {
  Side& side = sides_[index];
  Request made;
  mirror::ClientRequest& request = made.request;
  request.id = next_request_++;
  const uint64_t dice = random_.below(100);
  request.kind = dice < 60   ? mirror::RequestKind::kWrite
                 : dice < 80 ? mirror::RequestKind::kRead
                             : mirror::RequestKind::kFlush;
  if (request.kind != mirror::RequestKind::kFlush) {
    request.range.first = random_.below(random_.chance(0.7) ? 40 : history_.size());
    request.range.count = std::min<uint64_t>(1 + random_.below(6), history_.size() - request.range.first);
    request.buffer = side.next_buffer++;
    side.buffers[request.buffer].resize(request.range.count);
  }
  if (request.kind == mirror::RequestKind::kWrite) {
    made.values = history_.issue(request.range);
    side.buffers[request.buffer] = made.values;
    request.force_unit_access = random_.chance(0.05);
  }
  for (uint64_t block = request.range.first; block < request.range.end(); ++block)
    made.floors.push_back(history_.acknowledged_floor(block));
  made.flush_mark = history_.flush_issued();
  side.requests[request.id] = made;
  later(index, 0ms, [this, index, request] {
    if (sides_[index].requests.contains(request.id)) feed(index, request);
  });
}

void RealMirror::completed(int index, const mirror::CompleteRequest& done) {
  Side& side = sides_[index];
  const auto place = side.requests.find(done.id);
  if (place == side.requests.end()) return;  // its export was aborted meanwhile
  const Request request = std::move(place->second);
  side.requests.erase(place);
  if (!done.ok) return;
  if (!side.server->lease_page_valid()) violated("one owner", fmt::format("server {} answers without a lease", side.server->id()));
  const auto kind = request.request.kind;
  // F5: a read may be an old one; and what both copies had before it fell asleep is answered late.
  const bool woken = side.server->woken_unseen();
  if (woken && kind == mirror::RequestKind::kRead) return;
  ++acknowledged_;
  const bool flushes = kind == mirror::RequestKind::kFlush || request.request.force_unit_access;
  if (!woken) around_.truth().acknowledge(key_, side.server->id(), side.permit, flushes);
  world_.mark('w', side.server->id(), done.id, static_cast<int>(kind));
  if (kind == mirror::RequestKind::kRead) {
    const auto& data = side.buffers.at(request.request.buffer);
    for (uint64_t at = 0; at < request.request.range.count; ++at) {
      const std::string wrong = history_.judge(request.request.range.first + at, data[at], request.floors[at]);
      if (!wrong.empty()) violated("stale read", wrong);
    }
    return;
  }
  if (kind == mirror::RequestKind::kWrite) {
    history_.acknowledged(request.request.range, request.values, request.request.force_unit_access,
                          Instant{world_.now().time_since_epoch()});
    check_write(index, request);
  }
  if (flushes) check_flush(index, request);
  if (kind == mirror::RequestKind::kFlush) history_.flush_acknowledged(request.flush_mark);
}

/// At work, and its present incarnation is in the committed set.
bool RealMirror::holds_every_write(int member) const {
  const auto& mirrors = around_.committed_state().mirrors;
  const auto record = mirrors.find(key_);
  if (record == mirrors.end() || !sides_[member].copy) return false;
  const auto listed = record->second.in_sync.find(sides_[member].server->id());
  return listed != record->second.in_sync.end() && listed->second == sides_[member].copy->report().incarnation;
}

void RealMirror::check_write(int index, const Request& request) const {
  const BlockRange range = request.request.range;
  for (int member = 0; member < 2; ++member) {
    if (member != index && !holds_every_write(member)) continue;
    const auto data = sides_[member].disk->read(range);
    if (data != request.values && !(member != index && sides_[index].server->woken_unseen() && is_newer(range, data)))
      violated("copies", fmt::format("S1: a write to {}+{} was answered and is not on the copy of server {}", range.first,
                                     range.count, sides_[member].server->id()));
  }
}

/// The other one has taken over, and has written there since.
bool RealMirror::is_newer(BlockRange range, const std::vector<uint64_t>& data) const {
  for (uint64_t at = 0; at < range.count; ++at)
    if (!history_.judge(range.first + at, data[at], history_.acknowledged_floor(range.first + at)).empty()) return false;
  return true;
}

void RealMirror::check_flush(int index, const Request& request) const {
  for (int member = 0; member < 2; ++member) {
    if (member != index && !holds_every_write(member)) continue;
    const std::string wrong = history_.judge_durable(sides_[member].disk->durable(), request.flush_mark);
    if (!wrong.empty())
      violated("copies", fmt::format("S1: a flush was answered, but on server {} {}", sides_[member].server->id(), wrong));
  }
}

/// I2, I3: it has everything that was answered, or at least flushed if its whole set lost power.
void RealMirror::judge_promotion(int index, bool set_crashed) {
  const auto& content = sides_[index].disk->current();
  for (uint64_t block = 0; block < content.size(); ++block) {
    const size_t floor = set_crashed ? history_.flushed_floor(block) : history_.acknowledged_floor(block);
    const std::string wrong = history_.judge(block, content[block], floor);
    if (!wrong.empty())
      violated("stale start", fmt::format("exported on server {}{}: {}", sides_[index].server->id(),
                                          set_crashed ? " (its set crashed)" : "", wrong));
  }
  if (set_crashed) history_.whole_set_crashed(content);
}

void RealMirror::check_equal() const {
  for (const Side& side : sides_)
    if (!side.copy || !side.requests.empty()) violated("copies", "a request is still under way at the end");
  if (sides_[0].disk->current() != sides_[1].disk->current()) violated("copies", "they differ although all is well");
}

}  // namespace baton::sim
