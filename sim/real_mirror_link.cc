// The mirror connect between two real copies: in order, late, cut without a word. Deterministic, one thread.
#include <algorithm>

#include "sim/real_mirror.h"

namespace baton::sim {

bool RealMirror::linked() const { return around_.linked(sides_[0].server->id(), sides_[1].server->id()); }

void RealMirror::connect_round() {
  world_.after(random_.between(20ms, 80ms), [this] { connect_round(); });
  if (!linked()) {
    for (auto& [connection, link] : connections_) link.cut = true;
    return;
  }
  for (int index = 0; index < 2; ++index) {
    const Side& side = sides_[index];
    if (side.copy && side.want_link && side.connection == 0 && sides_[1 - index].copy && !side.server->machine_paused() &&
        !sides_[1 - index].server->machine_paused())
      connect(index);
  }
}

void RealMirror::connect(int from) {
  const mirror::ConnectionId connection = ++newest_connection_;
  connections_.clear();  // older ones are of no use to anybody
  connections_[connection];
  sides_[from].connection = connection;
  for (const int index : {from, 1 - from}) {
    const Instant when = arrival(connection, index);
    later(index, when - world_.now(), [this, index, connection] {
      Side& side = sides_[index];
      const auto link = connections_.find(connection);
      if (link == connections_.end() || connection < side.connection) return;
      if (link->second.cut || !linked()) {  // it never came to be
        if (side.connection == connection) side.connection = 0;
        return;
      }
      side.connection = connection;
      feed(index, mirror::LinkUp{connection});
    });
  }
}

Instant RealMirror::arrival(mirror::ConnectionId connection, int to) {
  Connection& link = connections_.at(connection);
  const Duration delay = random_.chance(0.02) ? random_.between(1ms, 30ms) : random_.between(50us, 1ms);
  link.last_arrival[to] = std::max(link.last_arrival[to], world_.now() + delay);
  return link.last_arrival[to];
}

void RealMirror::send(int from, const mirror::SendMessage& message) {
  Side& side = sides_[from];
  std::vector<uint64_t> data;
  uint64_t blocks = 0;
  if (const auto* write = std::get_if<mirror::WriteData>(&message.message)) blocks = write->range.count;
  if (const auto* answered = std::get_if<mirror::PeerData>(&message.message); answered && answered->ok) blocks = answered->count;
  if (blocks > 0) data = side.buffers.at(message.buffer);
  if (side.connection != message.connection || !connections_.contains(message.connection)) return;
  const int to = 1 - from;
  if (!sides_[to].copy) return;
  const Duration delay = arrival(message.connection, to) - world_.now();
  later(to, delay, [this, to, message, data = std::move(data)] {
    Side& peer = sides_[to];
    const auto link = connections_.find(message.connection);
    if (peer.connection != message.connection || link == connections_.end() || link->second.cut) return;
    if (!linked()) {
      link->second.cut = true;  // what comes after it never arrives either
      return;
    }
    mirror::MessageReceived received{message.connection, message.message, 0};
    if (!data.empty()) {
      received.buffer = peer.next_buffer++;
      peer.buffers[received.buffer] = data;
    }
    feed(to, received);
  });
}

void RealMirror::close(int from, mirror::ConnectionId connection) {
  if (sides_[from].connection == connection) sides_[from].connection = 0;
  const auto link = connections_.find(connection);
  if (link == connections_.end() || link->second.cut) return;
  const int to = 1 - from;
  if (!sides_[to].copy) return;
  later(to, arrival(connection, to) - world_.now(), [this, to, connection] {
    Side& peer = sides_[to];
    if (peer.connection != connection) return;
    if (!linked()) return;
    peer.connection = 0;
    feed(to, mirror::LinkDown{connection, "closed by the peer"});
  });
}

}  // namespace baton::sim
