// One receive and one send are under way at most. A closed connection lives on until both have ended: the kernel may
// still be reading the buffers they name. With TLS the batch is encrypted when its turn has come, and goes as one piece.
#include "src/mirror/link_connection.h"

#include <algorithm>
#include <climits>
#include <cstring>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr size_t kInputBytes = 256 * 1024;
constexpr size_t kReceiveBytes = 36 * 1024;  // so that the disk has the first writes while the next ones are taken
constexpr size_t kMaxParts = 400;  // each takes up to two vectors: stays below IOV_MAX
constexpr size_t kCipherBatchBytes = 512 * 1024;
constexpr Duration kLinger = 500ms;
constexpr uint8_t kFirstGreetingByte = 'B';

bool ended_by_peer(int error) { return error == ECONNRESET || error == EPIPE; }

}  // namespace

LinkConnection::LinkConnection(Ring& ring, BufferPool& pool, Owner& owner, OwnedFd socket, std::string address,
                               LinkSide side, const Identity& identity)
    : ring_(ring),
      pool_(pool),
      owner_(&owner),
      socket_(std::move(socket)),
      address_(std::move(address)),
      side_(side),
      identity_(identity),
      handshake_(identity.keys.used, side, identity.mirror, identity.self, identity.peer, identity.keys.others),
      heard_(Ring::now()),
      input_(kInputBytes) {}

LinkConnection::~LinkConnection() {
  release_batch(queued_);
  release_batch(sending_);
  if (data_buffer_ != 0) pool_.release(data_buffer_);
}

void LinkConnection::start() {
  if (!identity_.encrypt) {
    begin_greeting();
    return receive_more();
  }
  auto channel = TlsChannel::create(identity_.files, side_, identity_.peer);
  if (!channel) return end({channel.error().message, true});
  state_ = State::kTls;
  tls_ = std::move(*channel);
  cipher_input_.resize(kInputBytes);
  // The connecting side speaks first.
  auto begun = tls_->handshake();
  if (!begun) return end({begun.error().message, true});
  flush();
  receive_more();
}

void LinkConnection::begin_greeting() {
  state_ = State::kGreeting;
  send_raw(handshake_.greeting());
  flush();
}

// ---- Receiving ----

std::span<uint8_t> LinkConnection::place_to_receive() {
  if (state_ == State::kClosed) return input_;
  if (data_header_) return {pool_.data(data_buffer_) + data_received_, data_header_->data_bytes - data_received_};
  if (input_start_ > 0 && (input_start_ == input_end_ || input_.size() - input_end_ < input_.size() / 2)) {
    std::memmove(input_.data(), input_.data() + input_start_, input_end_ - input_start_);
    input_end_ -= input_start_;
    input_start_ = 0;
  }
  return std::span(input_).subspan(input_end_, std::min(kReceiveBytes, input_.size() - input_end_));
}

void LinkConnection::receive_more() {
  const std::span<uint8_t> place = tls_ ? std::span(cipher_input_) : place_to_receive();
  BATON_ASSERT(!place.empty());
  ring_.receive(socket_.get(), place.data(), static_cast<uint32_t>(place.size()),
                [self = shared_from_this()](int result) { self->received(result); });
}

void LinkConnection::received(int result) {
  if (result == -EINTR || result == -EAGAIN) return receive_more();
  if (state_ == State::kClosed) {
    // Read and thrown away until the peer has seen our end: closing earlier would reset what is still on its way.
    if (result > 0) receive_more();
    return;
  }
  if (result == 0) {
    if (state_ == State::kUp) return end({"the peer closed it", false, true});
    return end({"the peer closed it during the handshake: are its cluster key and its configuration the same?", false, true});
  }
  if (result < 0) return end({std::strerror(-result), false, ended_by_peer(-result)});
  heard_ = Ring::now();
  const auto bytes = static_cast<size_t>(result);
  if (first_byte_seen_ || check_first_byte(tls_ ? cipher_input_[0] : input_[0])) {
    tls_ ? received_encrypted(bytes) : arrived(bytes);
  }
  receive_more();
}

/// False, and ended: one side encrypts and the other does not.
bool LinkConnection::check_first_byte(uint8_t byte) {
  first_byte_seen_ = true;
  if (looks_like_tls(byte) == (tls_ != nullptr)) return true;
  if (!tls_ && byte != kFirstGreetingByte && looks_like_tls(byte)) {
    end({fmt::format("server {} speaks TLS, this server's configuration says encrypt = false: give the mirror the same "
                     "`encrypt` on both servers",
                     identity_.peer),
         true});
    return false;
  }
  if (!tls_) return true;  // the greeting's check says what is wrong
  const auto refusal = tls_refusal();
  tls_->output().insert(tls_->output().end(), refusal.begin(), refusal.end());
  end({byte == kFirstGreetingByte
           ? fmt::format("server {} speaks without TLS, this server's configuration says encrypt = true: give the mirror the "
                         "same `encrypt` on both servers",
                         identity_.peer)
           : "it is no mirror daemon: it does not speak TLS",
       true});
  return false;
}

void LinkConnection::received_encrypted(size_t bytes) {
  tls_->feed(std::span(cipher_input_).first(bytes));
  if (state_ == State::kTls) {
    auto done = tls_->handshake();
    if (!done) return end({done.error().message, true});
    flush();
    if (!*done) return;
    begin_greeting();
  }
  while (state_ != State::kClosed) {
    auto got = tls_->read(place_to_receive());
    if (!got) return end({got.error().message, state_ != State::kUp});
    if (*got == 0) break;
    arrived(*got);
  }
  if (state_ != State::kClosed && !tls_->output().empty()) flush();  // a change of keys is answered
}

void LinkConnection::arrived(size_t bytes) {
  if (!data_header_) {
    input_end_ += bytes;
  } else {
    data_received_ += bytes;
    if (data_received_ == data_header_->data_bytes) deliver_data();
  }
  consume();
}

void LinkConnection::consume() {
  while (state_ != State::kClosed && !data_header_) {
    if (!(state_ == State::kUp ? consume_frame() : consume_handshake())) return;
  }
}

bool LinkConnection::consume_handshake() {
  const std::span<const uint8_t> bytes(input_.data() + input_start_, input_end_ - input_start_);
  if (state_ == State::kGreeting) return consume_greeting(bytes);
  if (bytes.size() < kProofBytes) return false;
  const ClusterKey* proved_by = handshake_.proved_by(bytes.first<kProofBytes>());
  if (proved_by == nullptr) {
    end({"it does not know the cluster key", true});
    return false;
  }
  peer_key_ = *proved_by;
  input_start_ += kProofBytes;
  state_ = State::kUp;
  owner_->link_authenticated(*this);
  return true;
}

bool LinkConnection::consume_greeting(std::span<const uint8_t> bytes) {
  if (bytes.size() < kGreetingBytes) return false;
  auto proof = handshake_.greeted(bytes.first<kGreetingBytes>());
  if (!proof) {
    end({proof.error().message, true});
    return false;
  }
  input_start_ += kGreetingBytes;
  send_raw(*proof);
  flush();
  state_ = State::kProving;
  return true;
}

bool LinkConnection::consume_frame() {
  const std::span<const uint8_t> bytes(input_.data() + input_start_, input_end_ - input_start_);
  if (bytes.size() < kFrameHeaderBytes) return false;
  auto decoded = decode_frame_header(bytes);
  if (!decoded) {
    end({decoded.error().message});
    return false;
  }
  const FrameHeader& header = *decoded;
  const size_t head_bytes = kFrameHeaderBytes + header.body_bytes;
  if (bytes.size() < head_bytes) return false;
  const auto body = bytes.subspan(kFrameHeaderBytes, header.body_bytes);
  input_start_ += head_bytes;
  if (header.data_bytes > 0) {
    data_body_.assign(body.begin(), body.end());
    return begin_data(header, bytes.subspan(head_bytes));
  }
  if (header.record()) {
    auto record = decode_record_frame(header, body);
    record ? owner_->link_record(*this, header, *record) : end({record.error().message});
  } else {
    auto message = decode_frame(header, body, {});
    message ? owner_->link_message(*this, header, std::move(*message), 0) : end({message.error().message});
  }
  return true;
}

/// Takes what of the data is already here; false: more must be received.
bool LinkConnection::begin_data(const FrameHeader& header, std::span<const uint8_t> available) {
  data_header_ = header;
  data_buffer_ = pool_.allocate(header.data_bytes);
  data_received_ = std::min<size_t>(available.size(), header.data_bytes);
  std::memcpy(pool_.data(data_buffer_), available.data(), data_received_);
  input_start_ += data_received_;
  if (data_received_ < header.data_bytes) return false;
  deliver_data();
  return true;
}

void LinkConnection::deliver_data() {
  const FrameHeader header = *data_header_;
  data_header_.reset();
  BufferId buffer = std::exchange(data_buffer_, 0);
  auto message = decode_frame(header, data_body_, {pool_.data(buffer), header.data_bytes});
  if (message && header.compressed()) {
    const BufferId expanded = pool_.allocate(header.plain_bytes);
    if (!decompress({pool_.data(buffer), header.data_bytes}, {pool_.data(expanded), header.plain_bytes})) {
      message = fail("compressed data does not give the {} bytes that it should", header.plain_bytes);
    }
    pool_.release(buffer);
    buffer = expanded;
  }
  if (message) return owner_->link_message(*this, header, std::move(*message), buffer);
  pool_.release(buffer);
  end({message.error().message});
}

// ---- Sending ----

void LinkConnection::send_raw(std::span<const uint8_t> bytes) { send(bytes, 0, 0); }

void LinkConnection::send(std::span<const uint8_t> head, BufferId buffer, uint32_t data_bytes) {
  if (state_ == State::kClosed) return;
  if (buffer != 0) pool_.retain(buffer);
  queued_.heads.insert(queued_.heads.end(), head.begin(), head.end());
  queued_.parts.push_back({queued_.heads.size(), buffer, data_bytes});
}

void LinkConnection::send(const LinkRecord& record, uint64_t acknowledged) {
  if (state_ != State::kUp) return;
  encode_record_frame(record, acknowledged, queued_.heads);
  queued_.parts.push_back({queued_.heads.size(), 0, 0});
}

void LinkConnection::flush() {
  if (send_under_way_) return;
  if (!queued_.empty()) return begin_batch();
  if (tls_ && !tls_->output().empty()) send_cipher();
}

void LinkConnection::begin_batch() {
  std::swap(queued_, sending_);
  cut_batch();
  if (tls_) {
    if (encrypt_batch()) send_cipher();
    return;
  }
  fill_vectors();
  continue_batch();
}

/// What is too much for one go stays for the next one.
void LinkConnection::cut_batch() {
  auto& parts = sending_.parts;
  size_t count = std::min(parts.size(), kMaxParts);
  if (tls_) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      bytes += parts[i].data_bytes;
      if (bytes >= kCipherBatchBytes) count = i + 1;
    }
  }
  if (count == parts.size()) return;
  const size_t cut = parts[count - 1].head_end;
  queued_.heads.assign(sending_.heads.begin() + static_cast<ptrdiff_t>(cut), sending_.heads.end());
  for (size_t i = count; i < parts.size(); ++i) {
    queued_.parts.push_back(parts[i]);
    queued_.parts.back().head_end -= cut;
  }
  sending_.heads.resize(cut);
  parts.resize(count);
}

void LinkConnection::fill_vectors() {
  vectors_.clear();
  vector_start_ = 0;
  size_t head_start = 0;
  for (const Batch::Part& part : sending_.parts) {
    if (part.data_bytes == 0 && &part != &sending_.parts.back()) continue;  // joins the next one's head
    vectors_.push_back({sending_.heads.data() + head_start, part.head_end - head_start});
    head_start = part.head_end;
    if (part.data_bytes > 0) vectors_.push_back({pool_.data(part.buffer), part.data_bytes});
  }
}

bool LinkConnection::encrypt_batch() {
  size_t head_start = 0;
  Status done;
  for (const Batch::Part& part : sending_.parts) {
    if (part.data_bytes == 0 && &part != &sending_.parts.back()) continue;
    done = tls_->write({sending_.heads.data() + head_start, part.head_end - head_start});
    head_start = part.head_end;
    if (done && part.data_bytes > 0) done = tls_->write({pool_.data(part.buffer), part.data_bytes});
    if (!done) break;
  }
  if (done) done = tls_->flush_record();
  release_batch(sending_);
  if (done) return true;
  end({done.error().message});
  return false;
}

void LinkConnection::send_cipher() {
  cipher_sending_.clear();
  std::swap(cipher_sending_, tls_->output());
  vectors_.assign(1, {cipher_sending_.data(), cipher_sending_.size()});
  vector_start_ = 0;
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
    return end({std::strerror(-result), false, ended_by_peer(-result)});
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
  flush();
  if (!send_under_way_ && state_ == State::kClosed) hang_up();
}

void LinkConnection::release_batch(Batch& batch) {
  for (const Batch::Part& part : batch.parts) {
    if (part.buffer != 0) pool_.release(part.buffer);
  }
  batch.parts.clear();
  batch.heads.clear();
}

// ---- The end ----

void LinkConnection::end(LinkEnd end) {
  if (state_ == State::kClosed) return;
  if (end.intruder) release_batch(queued_);  // closed without a word
  close();
  owner_->link_ended(*this, end);
}

void LinkConnection::close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  flush();
  if (!send_under_way_) return hang_up();
  ring_.after(kLinger, [self = shared_from_this()] { self->hang_up(); });
}

void LinkConnection::abort() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  release_batch(queued_);
  const linger at_once{1, 0};
  setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  ::shutdown(socket_.get(), SHUT_RDWR);
}

void LinkConnection::hang_up() {
  // Our end is told; then the receive under way ends with the peer's, or is ended.
  ::shutdown(socket_.get(), SHUT_WR);
  ring_.after(kLinger, [self = shared_from_this()] { ::shutdown(self->socket_.get(), SHUT_RDWR); });
}

}  // namespace baton::mirror
