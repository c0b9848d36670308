// Link: the one connection to the peer: pings, silence, and that nothing of an older connection is taken for
// the present one's. Pure. docs/protocol.md, "Mirror connect".
#pragma once

#include <deque>
#include <string>

#include "src/core/mirror/operations.h"

namespace baton::mirror {

struct CopyCore;

class Link {
 public:
  explicit Link(CopyCore& core) : core_(core) {}

  bool up() const { return connection_ != 0; }
  ConnectionId connection() const { return connection_; }
  /// A connection older than one that has been seen.
  bool stale(ConnectionId connection) const { return connection <= newest_; }
  bool is(ConnectionId connection) const { return connection != 0 && connection == connection_; }

  void opened(ConnectionId connection);
  void heard();
  void send(Message message, BufferId buffer = 0);
  /// The sequence of a request that the peer must answer within the peer time-out.
  uint64_t ask();
  /// The same for a step of the handshake or of a copy: no part of what the peer's answers take on average.
  uint64_t ask_step();
  void answered(uint64_t sequence);
  /// How long the peer has not answered the oldest of them.
  Duration oldest_unanswered() const;
  /// That has lasted for too long: the peer is to be dropped.
  bool overdue() const { return oldest_unanswered() >= peer_timeout(); }
  /// Closes it from here; the caller tells the others (CopyCore::drop_link).
  void close(const std::string& reason);
  void gone();

  /// Sends a ping when due. True when the peer has been silent for too long.
  bool tick();
  Instant next_tick() const;

 private:
  struct Question {
    Instant asked;
    bool counted = false;
    bool answered = false;
  };
  Duration peer_timeout() const;
  uint64_t ask(bool counted);

  CopyCore& core_;
  ConnectionId connection_ = 0;
  uint64_t next_sequence_ = 1;
  std::deque<Question> questions_;  // the last one has next_sequence_ - 1; the first is unanswered
  ConnectionId newest_ = 0;
  Instant last_heard_;
  Instant next_ping_ = kNever;
};

}  // namespace baton::mirror
