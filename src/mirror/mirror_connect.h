// MirrorConnect: the mirror connect of one mirror: one session with the peer over one or two paths. Listens, connects
// while the core wants it, keeps every path up, and moves the session to the other path when one fails; the core sees
// one connection. docs/protocol.md, "Mirror connect". The loop's thread.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/mirror/link_connection.h"
#include "src/mirror/link_session.h"
#include "src/mirror/link_sockets.h"

namespace baton::mirror {

class MirrorConnect : public LinkConnection::Owner {
 public:
  struct Settings {
    std::string mirror;
    ServerId self;
    ServerId peer;
    // One or two of each; the i-th of ours and the i-th of the peer's make path i. The first path is preferred.
    std::vector<std::string> listen_addresses;
    std::vector<std::string> peer_addresses;
    uint16_t port = 0;
    ClusterKey key;
    std::vector<ClusterKey> other_keys;  // also accepted from the peer
    bool encrypt = false;
    TlsFiles files;
    bool compress = false;
    Duration link_timeout = 1s;   // how long a session lives without any path
    Duration path_timeout = 300ms;  // silence of a path that is left if the other one is well
    Duration return_after = 5s;   // how long the preferred path must have been up to be used again
  };
  /// Takes LinkUp, LinkDown and MessageReceived.
  using Emit = std::function<void(Event)>;
  /// Takes what people should know: refused connections, a port in use, paths lost and found.
  using Note = std::function<void(std::string)>;

  MirrorConnect(Ring& ring, BufferPool& pool, Settings settings, Emit emit, Note note);
  ~MirrorConnect() override;

  /// Begins to listen; when that fails it says so and tries again.
  void listen();
  void want(bool wanted);
  /// The cluster's keys have changed; `anew`: the certificate, too. What was made by others is made anew, one path after the
  /// other, each before the former one ends. docs/protocol.md, K4.
  void use_keys(const ClusterKeySet& keys, bool anew);
  /// It is connected, and each path was made by the present keys.
  bool up_to_date() const;
  /// Dropped if that connection is no longer there.
  void send(ConnectionId connection, const Message& message, BufferId buffer);
  void close(ConnectionId connection, const std::string& reason);
  /// Sends what was queued in this round.
  void flush();

  bool connected() const { return connection_ != 0; }
  /// Of each configured path, in order.
  std::vector<MirrorPath> paths() const;
  /// Data given to send since the start, as it was before compression.
  uint64_t sent_bytes() const { return sent_bytes_; }
  /// Sent and not known to have arrived: what a failover would send again.
  uint64_t unacknowledged_bytes() const { return session_ ? session_->unacknowledged_bytes() : 0; }

 private:
  struct Path {
    std::string own_address;
    std::string peer_address;
    std::unique_ptr<LinkListener> listener;
    std::unique_ptr<LinkDialer> dialer;
    Ring::Timer redial = 0;
    std::shared_ptr<LinkConnection> outgoing;  // begun by us, not joined yet
    std::shared_ptr<LinkConnection> joined;    // a part of the session
    Instant since{};             // when it joined, or was lost
    bool ended_by_peer = false;  // when it was lost
    bool lost = false;           // it was part of this session, and is not
    Duration round_trip{};
    std::string problem;
  };
  struct Noted {
    Instant last{};
    Duration pause{};
  };

  // Other keys: mirror_connect_keys.cc
  bool outdated(const Path& path) const;
  void renew_paths();
  void end_unproved_paths();

  // Connections before they are part of a session: mirror_connect.cc
  bool may_dial(const Path& path) const;
  void dial(size_t index);
  void dial_after(size_t index, Duration delay);
  void dialed(size_t index, OwnedFd socket);
  void attempt_failed(size_t index, int error, const std::string& reason);
  void adopt(OwnedFd socket, const std::string& address, LinkSide side, size_t index);
  void forget(LinkConnection& connection);
  void reject(LinkConnection& connection, const std::string& reason);
  void note_at_times(const std::string& subject, const std::string& text);
  void after(Duration delay, std::function<void()> callback);
  bool ours(const LinkConnection& connection) const;

  void link_authenticated(LinkConnection& connection) override;
  void link_message(LinkConnection& connection, const FrameHeader& header, Message message, BufferId buffer) override;
  void link_record(LinkConnection& connection, const FrameHeader& header, const LinkRecord& record) override;
  void link_ended(LinkConnection& connection, const LinkEnd& end) override;

  // The session and its paths: mirror_connect_session.cc
  void on_join(LinkConnection& connection, uint64_t acknowledged, const Join& join);
  void on_joined(LinkConnection& connection, uint64_t acknowledged, const Joined& joined);
  void on_record(LinkConnection& connection, const LinkRecord& record);
  void on_beat(LinkConnection& connection, const Beat& beat);
  bool gives_way() const;
  void answer_join(LinkConnection& connection, JoinResult result, const std::string& reason);
  void add_path(LinkConnection& connection, uint64_t acknowledged);
  void choose_after_joining(size_t index);
  void path_lost(size_t index, const LinkEnd& end);
  void add_news(std::string text);
  bool session_is_over() const;
  void activate(size_t index);
  std::optional<size_t> freshest_path() const;
  bool part_of_session(const LinkConnection& connection) const;
  void end_session(const std::string& reason, bool say_goodbye, Duration pause);
  std::string path_name(size_t index) const;

  Duration beat_interval() const;
  Duration well_within() const;
  void tick_at(Instant when);
  void tick();
  void send_beats(Instant now);
  void drop_silent_paths(Instant now);
  void return_to_preferred(Instant now);
  Duration silence(const Path& path, Instant now) const;

  uint64_t sent_bytes_ = 0;
  Ring& ring_;
  BufferPool& pool_;
  Settings settings_;
  LinkConnection::Identity identity_;
  Emit emit_;
  Note note_;

  std::array<Path, kMaxPaths> paths_;
  size_t configured_ = 0;
  bool wanted_ = false;
  std::vector<std::shared_ptr<LinkConnection>> handshakes_;  // not part of a session yet

  std::unique_ptr<LinkSession> session_;
  ConnectionId connection_ = 0;   // the core's name of the session; 0: no path has joined yet
  ConnectionId last_id_ = 0;
  std::optional<size_t> active_;  // the path that carries what we send
  Instant began_{};               // the session
  Instant alone_since_{};         // when the last path was lost
  bool moved_ = false;            // the session has had to change its path
  bool two_paths_ = false;        // the session has had both at once
  Ring::Timer tick_timer_ = 0;
  Instant last_tick_{};
  Instant listening_since_{};     // silence counts from here: this process may have been stopped itself
  std::vector<std::string> news_;  // said a moment later, if the session still lives then
  Instant news_since_{};

  std::map<std::string, Noted> noted_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace baton::mirror
