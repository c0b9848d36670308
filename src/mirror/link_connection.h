// LinkConnection: one TCP connection of the mirror connect, from its first byte to its last: handshake, frames in,
// frames out in batches. Kept alive by its operations under way. The loop's thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/mirror/buffer_pool.h"
#include "src/mirror/link_frames.h"
#include "src/mirror/link_handshake.h"
#include "src/mirror/ring.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {

class LinkConnection : public std::enable_shared_from_this<LinkConnection> {
 public:
  /// Who is told. Calls come from the loop; it may close the connection inside them.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void link_authenticated(LinkConnection& connection) = 0;
    /// `buffer` (data of a write, else 0) belongs to the owner from here on.
    virtual void link_received(LinkConnection& connection, Message message, BufferId buffer) = 0;
    /// Once, unless the owner closed it. `intruder`: it could not prove that it belongs here.
    virtual void link_ended(LinkConnection& connection, const std::string& reason, bool intruder) = 0;
  };

  /// `socket` is connected and blocking (the ring does not block on it).
  LinkConnection(Ring& ring, BufferPool& pool, Owner& owner, OwnedFd socket, std::string address,
                 LinkHandshake handshake);
  ~LinkConnection();

  /// Begins the handshake. Call it once, after make_shared.
  void start();
  /// Queues a frame; flush() sends what is queued. The buffer is retained until it has been sent.
  void send(const Message& message, BufferId buffer);
  void flush();
  /// Nothing more is received or reported; what is queued is still sent, for at most half a second.
  void close();

  bool authenticated() const { return state_ == State::kUp; }
  const std::string& address() const { return address_; }
  ConnectionId id = 0;  // the owner's, given at authentication

 private:
  enum class State { kGreeting, kProving, kUp, kClosed };

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
  void consume();
  bool consume_handshake();
  bool consume_frame();
  bool begin_data(const FrameHeader& header, std::span<const uint8_t> available);
  void deliver(std::span<const uint8_t> body, std::span<const uint8_t> data, BufferId buffer);
  void send_raw(std::span<const uint8_t> bytes);
  void begin_batch();
  void continue_batch();
  void sent(int result);
  void release_batch(Batch& batch);
  void end(const std::string& reason, bool intruder = false);
  void hang_up();

  Ring& ring_;
  BufferPool& pool_;
  Owner* owner_;
  OwnedFd socket_;
  std::string address_;
  LinkHandshake handshake_;
  State state_ = State::kGreeting;

  Bytes input_;  // fixed size; bytes received and not yet consumed are [input_start_, input_end_)
  size_t input_start_ = 0;
  size_t input_end_ = 0;
  std::optional<FrameHeader> data_header_;  // of a frame whose data comes straight into a buffer
  Bytes data_body_;
  BufferId data_buffer_ = 0;
  size_t data_received_ = 0;
  uint64_t received_frames_ = 0;

  Batch queued_;
  Batch sending_;
  bool send_under_way_ = false;
  uint64_t sent_frames_ = 0;
  std::vector<iovec> vectors_;
  size_t vector_start_ = 0;
  msghdr message_{};
};

}  // namespace baton::mirror
