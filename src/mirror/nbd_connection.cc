// At most one receive and one send are under way. Small writes are taken from the input buffer, of which one
// receive fills many requests' worth; large ones are received straight into their buffers.
#include "src/mirror/nbd_connection.h"

#include <algorithm>
#include <cstring>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr size_t kInputBytes = 128 * 1024;
// Not all that a client has sent at once: while its first requests are on their way the next ones are taken.
constexpr size_t kReceiveBytes = 36 * 1024;
constexpr uint32_t kWholeBytes = 32 * 1024;  // a piece up to this is copied from the input buffer
constexpr uint32_t kPieceBytes = kMaxRequestBlocks * kBlockBytes;
constexpr uint32_t kZeroPieceBytes = kMaxZeroBlocks * kBlockBytes;
constexpr uint32_t kZeroPieces = 4;          // of one request under way
constexpr uint32_t kMaxUnderWay = 1024;      // requests of one client
constexpr uint32_t kMaxDiscard = 64u << 20;  // the data of a refused write that is still listened to
constexpr Duration kHandshakeLimit = 30s;

bool is_zero(uint16_t command) { return command == kNbdTrim || command == kNbdWriteZeroes; }

}  // namespace

NbdConnection::NbdConnection(Ring& ring, BufferPool& pool, Owner& owner, OwnedFd socket,
                             const NbdExport& target)
    : ring_(ring),
      pool_(pool),
      owner_(&owner),
      socket_(std::move(socket)),
      target_(target),
      input_(std::make_unique_for_overwrite<uint8_t[]>(kInputBytes)),
      output_(pool) {}

NbdConnection::~NbdConnection() {
  if (data_buffer_ != 0) pool_.release(data_buffer_);
  for (Request& request : requests_) release_joined(request);
}

void NbdConnection::start(bool handshake) {
  if (handshake) {
    negotiation_.emplace(target_);
    negotiation_->greet(output_.heads());
    queue_output();
    handshake_deadline_ = ring_.after(kHandshakeLimit, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->end("it did not finish the handshake");
    });
  }
  receive_more();
}

// ---- Receiving ----

void NbdConnection::receive_more() {
  if (receiving_ || state_ != State::kOpen) return;
  uint8_t* place = nullptr;
  size_t room = 0;
  if (data_buffer_ != 0) {
    place = pool_.data(data_buffer_) + data_received_;
    room = data_bytes_ - data_received_;
  } else {
    if (input_start_ > 0) {
      std::memmove(input_.get(), input_.get() + input_start_, input_end_ - input_start_);
      input_end_ -= input_start_;
      input_start_ = 0;
    }
    place = input_.get() + input_end_;
    room = std::min(kInputBytes - input_end_, kReceiveBytes);
  }
  BATON_ASSERT(room > 0);
  receiving_ = true;
  ring_.receive(socket_.get(), place, static_cast<uint32_t>(room),
                [self = shared_from_this()](int result) { self->received(result); });
}

void NbdConnection::received(int result) {
  receiving_ = false;
  if (state_ != State::kOpen) return;
  if (result == -EINTR || result == -EAGAIN) return receive_more();
  if (result <= 0) {
    if (issuing_) return end("");  // in the midst of a write's data
    // What is under way is finished all the same: the client may have closed only its own direction.
    state_ = State::kFinishing;
    return hang_up_if_idle();
  }
  if (data_buffer_ != 0) {
    data_received_ += static_cast<uint32_t>(result);
  } else {
    input_end_ += static_cast<size_t>(result);
  }
  go_on();
}

/// Takes what has been received as far as limits allow.
void NbdConnection::go_on() {
  if (going_on_) return;  // from inside a piece that was served at once
  going_on_ = true;
  bool wants_input = true;
  while (state_ == State::kOpen && consume(&wants_input)) {
  }
  going_on_ = false;
  if (wants_input) receive_more();
}

/// False: nothing can be done before more is received, or (`wants_input` false) before something under way has
/// ended.
bool NbdConnection::consume(bool* wants_input) {
  if (issuing_) return issue_pieces(wants_input);
  if (discard_ > 0) {
    const uint64_t taken = std::min<uint64_t>(discard_, input_end_ - input_start_);
    discard_ -= taken;
    input_start_ += taken;
    return discard_ == 0;
  }
  if (negotiation_) return consume_handshake();
  if (under_way_ >= kMaxUnderWay) {
    *wants_input = false;
    return false;
  }
  return consume_request();
}

bool NbdConnection::consume_handshake() {
  size_t used = 0;
  const auto outcome =
      negotiation_->consume({input_.get() + input_start_, input_end_ - input_start_}, &used, output_.heads());
  input_start_ += used;
  if (output_.queued()) queue_output();
  if (outcome == NbdNegotiation::Outcome::kMore) return false;
  structured_ = negotiation_->structured_replies();
  const std::string problem = negotiation_->problem();
  negotiation_.reset();
  ring_.cancel_timer(handshake_deadline_);
  if (outcome == NbdNegotiation::Outcome::kTransmit) return true;
  if (!problem.empty()) {
    end(problem);
  } else {
    state_ = State::kFinishing;
    hang_up_if_idle();
  }
  return false;
}

bool NbdConnection::consume_request() {
  if (input_end_ - input_start_ < kNbdRequestBytes) return false;
  auto header = decode_nbd_request({input_.get() + input_start_, kNbdRequestBytes});
  if (!header) {
    end(header.error().message);
    return false;
  }
  input_start_ += kNbdRequestBytes;
  if (header->command == kNbdDisconnect) {
    state_ = State::kFinishing;
    hang_up_if_idle();
    return false;
  }
  auto refused = check_nbd_request(*header, target_);
  if (!refusal_.empty()) refused = NbdRefusal{kNbdEshutdown, refusal_};
  if (refused) {
    if (header->command == kNbdWrite) discard_ = header->length;
    if (discard_ > kMaxDiscard) {
      end("it announced a write of more than 64 MiB");
      return false;
    }
    answer(*header, refused->error, refused->text);
    return true;
  }
  begin_request(*header);
  return true;
}

// ---- Requests and their pieces ----

void NbdConnection::begin_request(const NbdRequest& header) {
  if (header.command != kNbdFlush && header.length == 0) return answer(header, kNbdOk, "");
  if (free_requests_.empty()) {
    free_requests_.push_back(static_cast<uint32_t>(requests_.size()));
    requests_.emplace_back();
  }
  const uint32_t index = free_requests_.back();
  free_requests_.pop_back();
  requests_[index] = Request{header};
  ++under_way_;
  if (header.command == kNbdFlush) {
    requests_[index].header.length = 0;
    return issue(index, RequestKind::kFlush, 0, 0);
  }
  issuing_ = index;
}

/// Gives out what may be under way of the request at the front. True: all of it is.
bool NbdConnection::issue_pieces(bool* wants_input) {
  const uint32_t index = *issuing_;
  Request& request = requests_[index];
  const uint32_t limit = is_zero(request.header.command) ? kZeroPieceBytes : kPieceBytes;
  while (request.issued < request.header.length) {
    const uint32_t bytes = std::min(limit, request.header.length - request.issued);
    if (data_buffer_ == 0 && !may_issue(request, bytes)) {
      *wants_input = false;
      return false;
    }
    if (request.header.command == kNbdWrite) {
      if (!issue_write_piece(index, bytes)) return false;
    } else if (request.header.command == kNbdRead) {
      held_bytes_ += bytes;
      issue(index, RequestKind::kRead, bytes, pool_.allocate(bytes));
    } else {
      issue(index, RequestKind::kZero, bytes, 0);
    }
  }
  issuing_.reset();
  finish_if_done(index);
  return true;
}

bool NbdConnection::may_issue(const Request& request, uint32_t bytes) const {
  if (is_zero(request.header.command)) return request.outstanding < kZeroPieces;
  if (streams(request) && request.outstanding > 0) return false;
  if (joins(request)) {
    // Its pieces wait for each other: all of them or none.
    if (request.issued > 0) return true;
    bytes = request.header.length;
  }
  if (held_bytes_ == 0) return true;
  return !pool_.full() && held_bytes_ + bytes <= owner_->nbd_share() && !pool_.short_of(bytes);
}

void NbdConnection::memory_came() {
  if (state_ == State::kOpen && !receiving_) go_on();
}

/// False: more of its data must be received.
bool NbdConnection::issue_write_piece(uint32_t index, uint32_t bytes) {
  const size_t available = input_end_ - input_start_;
  if (data_buffer_ == 0) {
    if (available < bytes && bytes <= kWholeBytes) return false;
    // SAFETY: docs/protocol.md, O3: from here on nobody but us can change the data.
    data_buffer_ = pool_.allocate(bytes);
    data_bytes_ = bytes;
    data_received_ = static_cast<uint32_t>(std::min<size_t>(available, bytes));
    std::memcpy(pool_.data(data_buffer_), input_.get() + input_start_, data_received_);
    input_start_ += data_received_;
  }
  if (data_received_ < data_bytes_) return false;
  held_bytes_ += bytes;
  issue(index, RequestKind::kWrite, bytes, std::exchange(data_buffer_, 0));
  return true;
}

void NbdConnection::issue(uint32_t index, RequestKind kind, uint32_t bytes, BufferId buffer) {
  Request& request = requests_[index];
  Piece piece;
  piece.request = index;
  piece.kind = kind;
  piece.offset = request.header.offset + request.issued;
  piece.bytes = bytes;
  piece.buffer = buffer;
  // More than one piece is flushed once, at the end.
  piece.force_unit_access =
      kind == RequestKind::kWrite && (request.header.flags & kNbdFua) != 0 && bytes == request.header.length;
  piece.unmap = request.header.command == kNbdTrim || (request.header.flags & kNbdNoHole) == 0;
  request.issued += bytes;
  ++request.outstanding;
  if (buffer != 0) pool_.retain(buffer);  // ours until it has been answered
  owner_->nbd_piece(*this, piece);
}

// ---- Answering ----

void NbdConnection::piece_done(const Piece& piece, bool ok) {
  Request& request = requests_[piece.request];
  BATON_ASSERT(request.outstanding > 0);
  --request.outstanding;
  request.done += piece.bytes;
  if (!ok && request.error == kNbdOk) {
    request.error = kNbdEio;
    request.error_offset = piece.offset;
  }
  if (state_ == State::kEnded) {
    if (piece.buffer != 0) pool_.release(piece.buffer);
    held_bytes_ -= piece.buffer != 0 ? piece.bytes : 0;
    return;
  }
  if (piece.kind == RequestKind::kRead) {
    read_done(request, piece, ok);
  } else if (piece.kind == RequestKind::kWrite) {
    pool_.release(piece.buffer);
    held_bytes_ -= piece.bytes;
  }
  if (state_ == State::kEnded) return;
  if (issuing_ != piece.request) finish_if_done(piece.request);  // else issue_pieces() does
  if (!receiving_) go_on();
}

bool NbdConnection::joins(const Request& request) const {
  return request.header.command == kNbdRead && !structured_ &&
         request.header.length <= request.joined.size() * kPieceBytes;
}

void NbdConnection::release_joined(Request& request) {
  for (BufferId& buffer : request.joined) {
    if (buffer != 0) pool_.release(std::exchange(buffer, 0));
  }
}

void NbdConnection::join(Request& request, const Piece& piece, bool ok) {
  if (ok) {
    request.joined[(piece.offset - request.header.offset) / kPieceBytes] = piece.buffer;
  } else {
    pool_.release(piece.buffer);
  }
  if (request.done < request.header.length) return;
  if (request.error != kNbdOk) {
    release_joined(request);
    held_bytes_ -= request.header.length;
    return;  // answered without data
  }
  request.answered = true;
  put_nbd_simple_reply(output_.heads(), kNbdOk, request.header.cookie);
  uint32_t left = request.header.length;
  for (size_t i = 0; left > 0; ++i) {
    const uint32_t bytes = std::min(left, kPieceBytes);
    output_.data(std::exchange(request.joined[i], 0), bytes);
    left -= bytes;
  }
  queue_output();
}

void NbdConnection::read_done(Request& request, const Piece& piece, bool ok) {
  if (joins(request)) return join(request, piece, ok);
  const NbdRequest& header = request.header;
  const bool last = request.done == header.length;
  if (!ok) {
    pool_.release(piece.buffer);
    held_bytes_ -= piece.bytes;
    if (structured_) {
      put_nbd_error_at(output_.heads(), last, kNbdEio, header.cookie, "the mirror could not read this",
                       piece.offset);
    } else if (request.answered) {
      end("");  // in the midst of a simple reply there is no other way to say it
    }
  } else if (structured_) {
    put_nbd_offset_data(output_.heads(), last, header.cookie, piece.offset, piece.bytes);
    output_.data(piece.buffer, piece.bytes);
  } else if (request.error != kNbdOk) {
    pool_.release(piece.buffer);
    held_bytes_ -= piece.bytes;
  } else {
    if (!std::exchange(request.answered, true)) put_nbd_simple_reply(output_.heads(), kNbdOk, header.cookie);
    output_.data(piece.buffer, piece.bytes);
  }
  queue_output();
}

void NbdConnection::finish_if_done(uint32_t index) {
  Request& request = requests_[index];
  const NbdRequest& header = request.header;
  if (request.outstanding > 0 || request.done < header.length) return;
  const bool changed = header.command == kNbdWrite || is_zero(header.command);
  const bool flushed_with_it = header.command == kNbdWrite && header.length <= kPieceBytes;
  if (changed && (header.flags & kNbdFua) != 0 && !flushed_with_it && !request.flushing &&
      request.error == kNbdOk) {
    request.flushing = true;
    return issue(index, RequestKind::kFlush, 0, 0);
  }
  if (header.command != kNbdRead) {
    answer(header, request.error, "the mirror could not do this");
  } else if (!structured_ && !request.answered) {
    answer(header, request.error, "");
  }
  free_requests_.push_back(index);
  --under_way_;
  hang_up_if_idle();
}

void NbdConnection::answer(const NbdRequest& header, NbdError error, std::string_view text) {
  if (!structured_) {
    put_nbd_simple_reply(output_.heads(), error, header.cookie);
  } else if (error != kNbdOk) {
    put_nbd_error(output_.heads(), true, error, header.cookie, text);
  } else if (header.command == kNbdRead) {
    put_nbd_none(output_.heads(), header.cookie);
  } else {
    put_nbd_simple_reply(output_.heads(), kNbdOk, header.cookie);
  }
  queue_output();
}

// ---- Sending ----

void NbdConnection::queue_output() {
  if (!sending_) owner_->nbd_output(*this);
}

void NbdConnection::flush() {
  if (sending_ || state_ == State::kEnded || !output_.queued()) return;
  sending_ = true;
  ring_.send_message(socket_.get(), output_.begin(),
                     [self = shared_from_this()](int result) { self->sent(result); });
}

void NbdConnection::sent(int result) {
  if (state_ == State::kEnded) {
    sending_ = false;
    return output_.clear();
  }
  const msghdr* rest = nullptr;
  uint64_t freed = 0;
  if (result < 0 && result != -EINTR && result != -EAGAIN) {
    sending_ = false;
    return end("");  // it went without a word
  }
  rest = output_.advance(result > 0 ? static_cast<size_t>(result) : 0, &freed);
  if (rest != nullptr) {
    ring_.send_message(socket_.get(), rest, [self = shared_from_this()](int more) { self->sent(more); });
    return;
  }
  sending_ = false;
  held_bytes_ -= freed;
  flush();
  hang_up_if_idle();
  if (state_ == State::kOpen && !receiving_) go_on();
}

// ---- The end ----

void NbdConnection::drain(const std::string& reason) {
  refusal_ = reason;
  if (negotiation_) return end("");
  if (under_way_ == 0 && !output_.queued() && !sending_) end("");
}

void NbdConnection::hang_up_if_idle() {
  const bool finishing = state_ == State::kFinishing || (state_ == State::kOpen && !refusal_.empty());
  if (finishing && under_way_ == 0 && !sending_ && !output_.queued()) end("");
}

void NbdConnection::end(const std::string& problem) {
  if (state_ == State::kEnded) return;
  auto self = shared_from_this();
  drop();
  owner_->nbd_ended(*this, problem);
}

void NbdConnection::drop() {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  ring_.cancel_timer(handshake_deadline_);
  output_.clear_queued();
  if (!sending_) output_.clear();
  ::shutdown(socket_.get(), SHUT_RDWR);
}

}  // namespace baton::mirror
