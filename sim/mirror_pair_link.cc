// MirrorPair: the connection between the two copies: in order, delayed, cut with or without a word.
#include <fmt/format.h>

#include <algorithm>

#include "sim/mirror_pair.h"

namespace baton::sim {

Instant MirrorPair::arrival(mirror::ConnectionId connection, int to) {
  Connection& link = connections_.at(connection);
  const Duration delay = random_.chance(0.02) ? random_.between(Duration(1ms), Duration(30ms))
                                              : random_.between(Duration(50us), Duration(1ms));
  link.last_arrival[to] = std::max(link.last_arrival[to], now_ + delay);
  return link.last_arrival[to];
}

void MirrorPair::connect(int from) {
  Node& node = nodes_[from];
  if (!node.want_link || node.connection != 0 || !network_up_ || !nodes_[1 - from].copy) return;
  const mirror::ConnectionId connection = ++newest_connection_;
  connections_[connection];
  for (const int index : {from, 1 - from}) {
    at(arrival(connection, index), [this, index, connection, boot = nodes_[index].boot] {
      Node& self = nodes_[index];
      if (!self.copy || self.boot != boot || connection < self.connection) return;
      if (connections_.at(connection).cut) {  // it never came to be
        if (self.connection == connection) self.connection = 0;
        return;
      }
      self.connection = connection;
      feed(index, mirror::LinkUp{connection});
    });
  }
  node.connection = connection;
}

void MirrorPair::send(int from, const mirror::SendMessage& message) {
  Node& node = nodes_[from];
  std::vector<uint64_t> data;
  uint64_t blocks = 0;
  if (const auto* write = std::get_if<mirror::WriteData>(&message.message)) blocks = write->range.count;
  if (const auto* answer = std::get_if<mirror::PeerData>(&message.message); answer && answer->ok) blocks = answer->count;
  if (blocks > 0) {
    const auto place = node.buffers.find(message.buffer);
    if (place == node.buffers.end()) violated("a message from a buffer that was released");
    if (place->second.size() < blocks) violated("a buffer is too small for its message");
    data = place->second;
  }
  if (node.connection != message.connection) return;
  const int to = 1 - from;
  at(arrival(message.connection, to), [this, to, message, data = std::move(data), boot = nodes_[to].boot] {
    Node& peer = nodes_[to];
    if (!peer.copy || peer.boot != boot || peer.connection != message.connection) return;
    if (connections_.at(message.connection).cut) return;
    mirror::MessageReceived received{message.connection, message.message, 0};
    if (!data.empty()) {
      received.buffer = peer.next_buffer++;
      peer.buffers[received.buffer] = data;
    }
    feed(to, received);
  });
}

void MirrorPair::close(int from, mirror::ConnectionId connection) {
  if (nodes_[from].connection == connection) nodes_[from].connection = 0;
  const int to = 1 - from;
  at(arrival(connection, to), [this, to, connection, boot = nodes_[to].boot] {
    Node& peer = nodes_[to];
    if (!peer.copy || peer.boot != boot || peer.connection != connection || connections_.at(connection).cut)
      return;
    peer.connection = 0;
    feed(to, mirror::LinkDown{connection, "closed by the peer"});
  });
}

/// Everything under way is lost; unless `silent`, both ends hear of it, each in its own time.
void MirrorPair::cut_link(bool silent) {
  note(silent ? "link goes silent" : "link is cut");
  for (auto& [connection, link] : connections_) link.cut = true;
  for (int index = 0; index < 2; ++index) {
    if (silent && random_.chance(0.7)) continue;
    const mirror::ConnectionId connection = nodes_[index].connection;
    after(random_.between(Duration(0ms), Duration(60ms)), [this, index, connection, boot = nodes_[index].boot] {
      Node& self = nodes_[index];
      if (!self.copy || self.boot != boot || self.connection != connection || connection == 0) return;
      self.connection = 0;
      feed(index, mirror::LinkDown{connection, "cut"});
    });
  }
}

}  // namespace baton::sim
