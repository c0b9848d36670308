// MirrorConnect: the mirror connect of one mirror: listens, connects while the core wants it, and keeps the one
// authenticated connection. docs/protocol.md, "Mirror connect". The loop's thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/mirror/link_connection.h"

namespace baton::mirror {

class MirrorConnect : public LinkConnection::Owner {
 public:
  struct Settings {
    std::string mirror;
    ServerId self;
    ServerId peer;
    std::string listen_address;
    std::vector<std::string> peer_addresses;
    uint16_t port = 0;
    ClusterKey key;
  };
  /// Takes LinkUp, LinkDown and MessageReceived.
  using Emit = std::function<void(Event)>;
  /// Takes what people should know: refused connections, a port in use.
  using Note = std::function<void(std::string)>;

  MirrorConnect(Ring& ring, BufferPool& pool, Settings settings, Emit emit, Note note);
  ~MirrorConnect() override;

  /// Begins to listen; when that fails it says so and tries again.
  void listen();
  void want(bool wanted);
  /// Dropped if that connection is no longer there.
  void send(ConnectionId connection, const Message& message, BufferId buffer);
  void close(ConnectionId connection, const std::string& reason);
  /// Sends what was queued in this round.
  void flush();

  bool connected() const { return current_ != nullptr; }

 private:
  void try_listen();
  void watch_listener();
  void accept_all();
  void connect_next();
  void connect_to(const std::string& address);
  void connected_or_not(uint64_t attempt, OwnedFd socket, const std::string& address, int poll_result);
  void attempt_failed(const std::string& address, const std::string& reason);
  void adopt(OwnedFd socket, const std::string& address, LinkSide side);
  void forget(LinkConnection& connection);
  void drop_current(const std::string& reason);
  void note_at_times(const std::string& subject, const std::string& text);

  void link_authenticated(LinkConnection& connection) override;
  void link_received(LinkConnection& connection, Message message, BufferId buffer) override;
  void link_ended(LinkConnection& connection, const std::string& reason, bool intruder) override;

  Ring& ring_;
  BufferPool& pool_;
  Settings settings_;
  Emit emit_;
  Note note_;

  OwnedFd listener_;
  Ring::Operation listening_ = 0;
  int listen_failures_ = 0;
  bool wanted_ = false;
  uint64_t attempt_ = 0;       // names the connecting under way; rises
  bool attempting_ = false;
  size_t next_address_ = 0;
  Ring::Timer retry_timer_ = 0;
  std::vector<std::shared_ptr<LinkConnection>> handshakes_;
  std::shared_ptr<LinkConnection> outgoing_;  // the one of the handshakes that we began
  std::shared_ptr<LinkConnection> current_;
  ConnectionId last_id_ = 0;
  std::map<std::string, Instant> noted_;
};

}  // namespace baton::mirror
