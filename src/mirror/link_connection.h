// LinkConnection: one TCP connection of a mirror connect, from its first byte to its last: TLS if wanted, proof, frames
// in, frames out in batches. Kept alive by its operations under way. The loop's thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/mirror/buffer_pool.h"
#include "src/mirror/link_compression.h"
#include "src/mirror/link_frames.h"
#include "src/mirror/link_handshake.h"
#include "src/mirror/ring.h"
#include "src/mirror/tls_channel.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {

/// Why a connection ended.
struct LinkEnd {
  std::string reason;
  bool intruder = false;  // it could not prove that it belongs here, or this side not to it
  bool by_peer = false;   // the peer, or its kernel, ended it: it may be that its process is gone
};

class LinkConnection : public std::enable_shared_from_this<LinkConnection> {
 public:
  /// Who is told. Calls come from the loop; it may close the connection inside them.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void link_authenticated(LinkConnection& connection) = 0;
    /// `buffer` (data of the message, else 0) belongs to the owner from here on.
    virtual void link_message(LinkConnection& connection, const FrameHeader& header, Message message, BufferId buffer) = 0;
    virtual void link_record(LinkConnection& connection, const FrameHeader& header, const LinkRecord& record) = 0;
    /// Once, unless the owner closed it.
    virtual void link_ended(LinkConnection& connection, const LinkEnd& end) = 0;
  };
  struct Identity {
    ClusterKeySet keys;
    std::string mirror;
    ServerId self;
    ServerId peer;
    bool encrypt = false;
    TlsFiles files;
    uint64_t generation = 0;  // rises when what this side proves itself by has changed
  };

  /// `socket` is connected and blocking (the ring does not block on it).
  LinkConnection(Ring& ring, BufferPool& pool, Owner& owner, OwnedFd socket, std::string address, LinkSide side,
                 const Identity& identity);
  ~LinkConnection();

  /// Begins the handshake. Call it once, after make_shared.
  void start();
  /// Queues bytes of a frame and its data; flush() sends what is queued. The buffer is retained until it has been sent.
  void send(std::span<const uint8_t> head, BufferId buffer, uint32_t data_bytes);
  void send(const LinkRecord& record, uint64_t acknowledged);
  void flush();
  /// Nothing more is received or reported; what is queued is still sent, for at most half a second.
  void close();
  /// The same at once: nobody listens there any more.
  void abort();

  bool authenticated() const { return state_ == State::kUp; }
  const std::string& address() const { return address_; }
  LinkSide side() const { return side_; }
  bool encrypted() const { return identity_.encrypt; }
  Instant heard() const { return heard_; }
  /// Of the identity that it was made with.
  uint64_t generation() const { return identity_.generation; }
  /// By which the peer has proved itself. REQUIRES: authenticated().
  const ClusterKey& peer_key() const { return peer_key_; }

  // The owner's:
  size_t path = 0;
  uint64_t peer_beat_ns = 0;  // the peer's clock at its latest beat
  Instant peer_beat_came{};

 private:
  enum class State { kTls, kGreeting, kProving, kUp, kClosed };

  /// What one sendmsg carries: heads of frames back to back, and the data between them.
  struct Batch {
    struct Part {
      size_t head_end = 0;    // in heads
      BufferId buffer = 0;    // data after it; 0: none
      uint32_t data_bytes = 0;
    };
    Bytes heads;
    std::vector<Part> parts;
    bool empty() const { return heads.empty(); }
  };

  void receive_more();
  void received(int result);
  void received_encrypted(size_t bytes);
  bool check_first_byte(uint8_t byte);
  std::span<uint8_t> place_to_receive();
  void arrived(size_t bytes);
  void consume();
  bool consume_handshake();
  bool consume_greeting(std::span<const uint8_t> bytes);
  bool consume_frame();
  bool begin_data(const FrameHeader& header, std::span<const uint8_t> available);
  void deliver_data();
  void begin_greeting();
  void send_raw(std::span<const uint8_t> bytes);
  void begin_batch();
  void cut_batch();
  void fill_vectors();
  bool encrypt_batch();
  void send_cipher();
  void continue_batch();
  void sent(int result);
  void release_batch(Batch& batch);
  void end(LinkEnd end);
  void hang_up();

  Ring& ring_;
  BufferPool& pool_;
  Owner* owner_;
  OwnedFd socket_;
  std::string address_;
  LinkSide side_;
  Identity identity_;
  LinkHandshake handshake_;
  ClusterKey peer_key_;
  std::unique_ptr<TlsChannel> tls_;
  State state_ = State::kGreeting;
  bool first_byte_seen_ = false;
  Instant heard_{};

  Bytes input_;  // fixed size; bytes received and not yet consumed are [input_start_, input_end_)
  size_t input_start_ = 0;
  size_t input_end_ = 0;
  Bytes cipher_input_;                      // with TLS: as received
  std::optional<FrameHeader> data_header_;  // of a frame whose data comes straight into a buffer
  Bytes data_body_;
  BufferId data_buffer_ = 0;
  size_t data_received_ = 0;

  Batch queued_;
  Batch sending_;
  bool send_under_way_ = false;
  Bytes cipher_sending_;  // with TLS: what goes out instead of the batch
  std::vector<iovec> vectors_;
  size_t vector_start_ = 0;
  msghdr message_{};
};

}  // namespace baton::mirror
