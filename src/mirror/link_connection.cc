// One receive and one send are under way at most. A closed connection lives on until both have ended: the kernel may
// still be reading the buffers they name.
#include "src/mirror/link_connection.h"

#include <algorithm>
#include <climits>
#include <cstring>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr size_t kInputBytes = 256 * 1024;
constexpr size_t kMaxParts = 400;  // each takes up to two vectors: stays below IOV_MAX
constexpr Duration kLinger = 500ms;

}  // namespace

LinkConnection::LinkConnection(Ring& ring, BufferPool& pool, Owner& owner, OwnedFd socket, std::string address,
                               LinkHandshake handshake)
    : ring_(ring),
      pool_(pool),
      owner_(&owner),
      socket_(std::move(socket)),
      address_(std::move(address)),
      handshake_(std::move(handshake)),
      input_(kInputBytes) {}

LinkConnection::~LinkConnection() {
  release_batch(queued_);
  release_batch(sending_);
  if (data_buffer_ != 0) pool_.release(data_buffer_);
}

void LinkConnection::start() {
  send_raw(handshake_.greeting());
  flush();
  receive_more();
}

// ---- Receiving ----

void LinkConnection::receive_more() {
  uint8_t* place = nullptr;
  size_t room = 0;
  if (data_header_) {
    place = pool_.data(data_buffer_) + data_received_;
    room = data_header_->data_bytes - data_received_;
  } else {
    if (input_start_ > 0) {
      std::memmove(input_.data(), input_.data() + input_start_, input_end_ - input_start_);
      input_end_ -= input_start_;
      input_start_ = 0;
    }
    place = input_.data() + input_end_;
    room = input_.size() - input_end_;
  }
  BATON_ASSERT(room > 0);
  ring_.receive(socket_.get(), place, static_cast<uint32_t>(room),
                [self = shared_from_this()](int result) { self->received(result); });
}

void LinkConnection::received(int result) {
  if (result == -EINTR || result == -EAGAIN) return receive_more();
  if (state_ == State::kClosed) {
    // Read and thrown away until the peer has seen our end: closing earlier would reset what is still on its way.
    if (result <= 0) return;
    input_start_ = input_end_ = 0;
    data_header_.reset();
    return receive_more();
  }
  if (result == 0) return end(state_ == State::kUp ? "the peer closed it" : "the peer closed it during the handshake");
  if (result < 0) return end(std::strerror(-result));
  if (data_header_) {
    data_received_ += static_cast<size_t>(result);
    if (data_received_ == data_header_->data_bytes) {
      const BufferId buffer = std::exchange(data_buffer_, 0);
      const size_t size = data_header_->data_bytes;
      deliver(data_body_, {pool_.data(buffer), size}, buffer);
      data_header_.reset();
    }
  } else {
    input_end_ += static_cast<size_t>(result);
  }
  consume();
  receive_more();
}

void LinkConnection::consume() {
  while (state_ != State::kClosed && !data_header_) {
    if (!(state_ == State::kUp ? consume_frame() : consume_handshake())) return;
  }
}

bool LinkConnection::consume_handshake() {
  const std::span<const uint8_t> bytes(input_.data() + input_start_, input_end_ - input_start_);
  if (state_ == State::kGreeting) {
    if (bytes.size() < kGreetingBytes) return false;
    auto proof = handshake_.greeted(bytes.first<kGreetingBytes>());
    if (!proof) {
      end(proof.error().message, true);
      return false;
    }
    input_start_ += kGreetingBytes;
    send_raw(*proof);
    flush();
    state_ = State::kProving;
    return true;
  }
  if (bytes.size() < kProofBytes) return false;
  if (!handshake_.proves(bytes.first<kProofBytes>())) {
    end("it does not know the cluster key", true);
    return false;
  }
  input_start_ += kProofBytes;
  state_ = State::kUp;
  owner_->link_authenticated(*this);
  return true;
}

bool LinkConnection::consume_frame() {
  const std::span<const uint8_t> bytes(input_.data() + input_start_, input_end_ - input_start_);
  if (bytes.size() < kFrameHeaderBytes) return false;
  auto header = decode_frame_header(bytes);
  if (header && header->sequence != received_frames_ + 1) {
    header = fail("frame {} follows frame {}", header->sequence, received_frames_);
  }
  if (!header) {
    end(header.error().message);
    return false;
  }
  if (bytes.size() < kFrameHeaderBytes + header->body_bytes) return false;
  const auto body = bytes.subspan(kFrameHeaderBytes, header->body_bytes);
  const auto rest = bytes.subspan(kFrameHeaderBytes + header->body_bytes);
  ++received_frames_;
  data_header_ = *header;
  if (header->data_bytes > 0) {
    data_body_.assign(body.begin(), body.end());
    input_start_ += kFrameHeaderBytes + header->body_bytes;
    return begin_data(*header, rest);
  }
  input_start_ += kFrameHeaderBytes + header->body_bytes;
  deliver(body, {}, 0);
  data_header_.reset();
  return true;
}

/// Takes what of the data is already here; false: more must be received.
bool LinkConnection::begin_data(const FrameHeader& header, std::span<const uint8_t> available) {
  data_buffer_ = pool_.allocate(header.data_bytes);
  data_received_ = std::min<size_t>(available.size(), header.data_bytes);
  std::memcpy(pool_.data(data_buffer_), available.data(), data_received_);
  input_start_ += data_received_;
  if (data_received_ < header.data_bytes) return false;
  const BufferId buffer = std::exchange(data_buffer_, 0);
  deliver(data_body_, {pool_.data(buffer), header.data_bytes}, buffer);
  data_header_.reset();
  return true;
}

void LinkConnection::deliver(std::span<const uint8_t> body, std::span<const uint8_t> data, BufferId buffer) {
  auto message = decode_frame(*data_header_, body, data);
  if (message) return owner_->link_received(*this, std::move(*message), buffer);
  if (buffer != 0) pool_.release(buffer);
  end(message.error().message);
}

// ---- Sending ----

void LinkConnection::send_raw(std::span<const uint8_t> bytes) {
  queued_.heads.insert(queued_.heads.end(), bytes.begin(), bytes.end());
  queued_.parts.push_back({queued_.heads.size(), 0, 0});
}

void LinkConnection::send(const Message& message, BufferId buffer) {
  if (state_ != State::kUp) return;
  std::span<const uint8_t> data;
  if (const auto* write = std::get_if<WriteData>(&message); write != nullptr) {
    BATON_ASSERT(buffer != 0 && write->range.count * kBlockBytes <= pool_.capacity(buffer));
    data = {pool_.data(buffer), write->range.count * kBlockBytes};
    pool_.retain(buffer);
  }
  encode_frame(message, data, ++sent_frames_, queued_.heads);
  const auto data_bytes = static_cast<uint32_t>(data.size());
  queued_.parts.push_back({queued_.heads.size(), data_bytes > 0 ? buffer : 0, data_bytes});
}

void LinkConnection::flush() {
  if (!send_under_way_ && !queued_.empty()) begin_batch();
}

void LinkConnection::begin_batch() {
  std::swap(queued_, sending_);
  if (sending_.parts.size() > kMaxParts) {
    // The rest goes with the next batch.
    const size_t cut = sending_.parts[kMaxParts - 1].head_end;
    queued_.heads.assign(sending_.heads.begin() + static_cast<ptrdiff_t>(cut), sending_.heads.end());
    for (size_t i = kMaxParts; i < sending_.parts.size(); ++i) {
      queued_.parts.push_back(sending_.parts[i]);
      queued_.parts.back().head_end -= cut;
    }
    sending_.heads.resize(cut);
    sending_.parts.resize(kMaxParts);
  }
  vectors_.clear();
  vector_start_ = 0;
  size_t head_start = 0;
  for (const Batch::Part& part : sending_.parts) {
    if (part.data_bytes == 0 && &part != &sending_.parts.back()) continue;  // joins the next one's head
    vectors_.push_back({sending_.heads.data() + head_start, part.head_end - head_start});
    head_start = part.head_end;
    if (part.data_bytes > 0) vectors_.push_back({pool_.data(part.buffer), part.data_bytes});
  }
  continue_batch();
}

void LinkConnection::continue_batch() {
  send_under_way_ = true;
  message_ = {};
  message_.msg_iov = vectors_.data() + vector_start_;
  message_.msg_iovlen = vectors_.size() - vector_start_;
  ring_.send_message(socket_.get(), &message_, [self = shared_from_this()](int result) { self->sent(result); });
}

void LinkConnection::sent(int result) {
  send_under_way_ = false;
  if (result == -EINTR || result == -EAGAIN) return continue_batch();
  if (result < 0) {
    release_batch(sending_);
    release_batch(queued_);
    if (state_ == State::kClosed) return hang_up();
    return end(std::strerror(-result));
  }
  auto moved = static_cast<size_t>(result);
  while (vector_start_ < vectors_.size() && moved >= vectors_[vector_start_].iov_len) {
    moved -= vectors_[vector_start_++].iov_len;
  }
  if (vector_start_ < vectors_.size()) {
    vectors_[vector_start_].iov_base = static_cast<uint8_t*>(vectors_[vector_start_].iov_base) + moved;
    vectors_[vector_start_].iov_len -= moved;
    return continue_batch();
  }
  release_batch(sending_);
  if (!queued_.empty()) return begin_batch();
  if (state_ == State::kClosed) hang_up();
}

void LinkConnection::release_batch(Batch& batch) {
  for (const Batch::Part& part : batch.parts) {
    if (part.buffer != 0) pool_.release(part.buffer);
  }
  batch.parts.clear();
  batch.heads.clear();
}

// ---- The end ----

void LinkConnection::end(const std::string& reason, bool intruder) {
  if (state_ == State::kClosed) return;
  if (intruder) release_batch(queued_);  // closed without a word
  close();
  owner_->link_ended(*this, reason, intruder);
}

void LinkConnection::close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  if (!send_under_way_ && queued_.empty()) return hang_up();
  flush();
  ring_.after(kLinger, [self = shared_from_this()] { self->hang_up(); });
}

void LinkConnection::hang_up() {
  // Our end is told; then the receive under way ends with the peer's, or is ended.
  ::shutdown(socket_.get(), SHUT_WR);
  ring_.after(kLinger, [self = shared_from_this()] { ::shutdown(self->socket_.get(), SHUT_RDWR); });
}

}  // namespace baton::mirror
