// See link.h.
#include "src/core/mirror/link.h"

#include <algorithm>

#include "src/core/mirror/copy_core.h"

namespace baton::mirror {

void Link::opened(ConnectionId connection) {
  connection_ = connection;
  newest_ = std::max(newest_, connection);
  last_heard_ = core_.now();
  next_ping_ = core_.now() + core_.settings.ping_interval;
}

void Link::heard() { last_heard_ = core_.now(); }

void Link::send(Message message, BufferId buffer) {
  if (connection_ == 0) return;
  core_.operations.emit(SendMessage{connection_, std::move(message), buffer});
}

void Link::close(const std::string& reason) {
  if (connection_ == 0) return;
  core_.operations.emit(CloseLink{connection_, reason});
  connection_ = 0;
}

bool Link::tick() {
  if (connection_ == 0) return false;
  if (core_.now() >= last_heard_ + core_.settings.peer_timeout) return true;
  if (core_.now() >= next_ping_) {
    next_ping_ = core_.now() + core_.settings.ping_interval;
    send(Ping{});
  }
  return false;
}

Instant Link::next_tick() const {
  if (connection_ == 0) return kNever;
  return std::min(next_ping_, last_heard_ + core_.settings.peer_timeout);
}

}  // namespace baton::mirror
