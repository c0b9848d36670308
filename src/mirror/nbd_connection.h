// NbdConnection: one client of an NBD server, from its first byte to its last: handshake, requests cut into
// pieces of at most 1 MiB, replies in batches. Kept alive by its operations under way. The loop's thread.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "src/mirror/buffer_pool.h"
#include "src/mirror/nbd_negotiation.h"
#include "src/mirror/nbd_output.h"
#include "src/mirror/ring.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {

class NbdConnection : public std::enable_shared_from_this<NbdConnection> {
 public:
  /// Part of a client's request, as it goes to whoever serves it.
  struct Piece {
    uint32_t request = 0;  // the connection's own index
    RequestKind kind = RequestKind::kRead;
    uint64_t offset = 0;
    uint32_t bytes = 0;
    BufferId buffer = 0;  // retained for the connection until piece_done()
    bool force_unit_access = false;
    bool unmap = false;
  };

  /// Who serves the pieces. Calls come from the loop.
  class Owner {
   public:
    virtual ~Owner() = default;
    /// Answered by piece_done(), later or from inside. A reference to the buffer goes with it.
    virtual void nbd_piece(NbdConnection& connection, const Piece& piece) = 0;
    /// flush() has something to do.
    virtual void nbd_output(NbdConnection& connection) = 0;
    /// How much data of one connection may be under way.
    virtual uint64_t nbd_share() const = 0;
    /// Once; why, when the client broke the protocol. Pieces may still be under way.
    virtual void nbd_ended(NbdConnection& connection, const std::string& problem) = 0;
  };

  /// `target` must outlive it.
  NbdConnection(Ring& ring, BufferPool& pool, Owner& owner, OwnedFd socket, const NbdExport& target);
  ~NbdConnection();

  /// Begins with the handshake, or without one (the kernel as a client). Call it once, after make_shared.
  void start(bool handshake);
  void piece_done(const Piece& piece, bool ok);
  void flush();

  /// New requests are refused with `reason`; it ends when those under way have been answered.
  void drain(const std::string& reason);
  /// Takes new requests again, if it is still there.
  void resume() { refusal_.clear(); }
  /// The pool has grown.
  void memory_came();
  /// Ends at once: nothing more is sent. nbd_ended() does not come.
  void drop();

  bool negotiating() const { return negotiation_.has_value(); }
  bool queued = false;  // the owner's: stands in its list of those that have output

 private:
  enum class State {
    kOpen,
    kFinishing,  // takes nothing more, ends when everything has been answered
    kEnded,
  };

  struct Request {
    NbdRequest header;
    uint32_t issued = 0;       // bytes given out in pieces
    uint32_t done = 0;         // bytes answered
    uint32_t outstanding = 0;  // pieces under way
    bool flushing = false;     // all is written, its FUA flush is under way
    bool answered = false;     // a simple reply's head has been sent
    std::array<BufferId, 4>
        joined{};  // a short read's pieces until all are there, for a client of simple replies
    NbdError error = kNbdOk;
    uint64_t error_offset = 0;
  };

  void receive_more();
  void received(int result);
  void go_on();
  bool consume(bool* wants_input);
  bool consume_handshake();
  bool consume_request();
  void begin_request(const NbdRequest& header);
  bool issue_pieces(bool* wants_input);
  bool issue_write_piece(uint32_t index, uint32_t bytes);
  void issue(uint32_t index, RequestKind kind, uint32_t bytes, BufferId buffer);
  bool may_issue(const Request& request, uint32_t bytes) const;
  void read_done(Request& request, const Piece& piece, bool ok);
  void finish_if_done(uint32_t index);
  void answer(const NbdRequest& header, NbdError error, std::string_view text);
  void queue_output();
  void sent(int result);
  void end(const std::string& problem);
  void hang_up_if_idle();
  void join(Request& request, const Piece& piece, bool ok);
  void release_joined(Request& request);
  /// Simple replies carry a read's data in one piece: a short one is joined before it is answered, a longer one
  /// is answered in order, as it comes.
  bool joins(const Request& request) const;
  bool streams(const Request& request) const {
    return request.header.command == kNbdRead && !structured_ && !joins(request);
  }

  Ring& ring_;
  BufferPool& pool_;
  Owner* owner_;
  OwnedFd socket_;
  const NbdExport& target_;
  State state_ = State::kOpen;
  std::optional<NbdNegotiation> negotiation_;
  Ring::Timer handshake_deadline_ = 0;
  bool structured_ = false;
  std::string refusal_;  // why new requests are refused; empty: they are not

  std::unique_ptr<uint8_t[]> input_;  // bytes received and not yet consumed are [input_start_, input_end_)
  size_t input_start_ = 0;
  size_t input_end_ = 0;
  bool receiving_ = false;
  bool going_on_ = false;
  uint64_t discard_ = 0;  // bytes to come of a write that was refused

  BufferId data_buffer_ = 0;  // of a write's piece that is being received straight into it
  uint32_t data_bytes_ = 0;
  uint32_t data_received_ = 0;

  std::deque<Request> requests_;  // slots, used again
  std::vector<uint32_t> free_requests_;
  std::optional<uint32_t> issuing_;  // not all of its pieces are given out: nothing behind it is looked at
  uint32_t under_way_ = 0;           // requests
  uint64_t held_bytes_ = 0;          // data under way or on its way out

  NbdOutput output_;
  bool sending_ = false;
};

}  // namespace baton::mirror
