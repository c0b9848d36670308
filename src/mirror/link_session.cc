// A message's place in the ring is its number: adding and acknowledging allocate nothing once the ring has grown.
#include "src/mirror/link_session.h"

#include "src/base/assert.h"
#include "src/mirror/link_handshake.h"
#include "src/mirror/link_messages.h"

namespace baton::mirror {
namespace {

constexpr size_t kFirstSlots = 64;
constexpr size_t kKeptSlots = 4096;           // a larger ring is given back when it is empty
constexpr size_t kKeptHeadBytes = 1024;       // so is the memory of an unusually large message
constexpr uint64_t kTellAfterMessages = 64;
constexpr uint64_t kTellAfterBytes = 1u << 20;
constexpr uint64_t kMostMessages = 1u << 18;
constexpr uint64_t kMostBytes = 256u << 20;

}  // namespace

LinkSession::LinkSession(BufferPool& pool, SessionId id, bool initiator, bool compress)
    : pool_(pool), id_(id), initiator_(initiator), frames_(kFirstSlots) {
  if (!initiator) memory_ = LinkHandshake::random_number() | 1;
  if (compress) compressor_ = std::make_unique<LinkCompressor>(pool);
}

LinkSession::~LinkSession() {
  for (uint64_t sequence = acknowledged_ + 1; sequence <= sent_; ++sequence) drop(frame(sequence));
}

bool LinkSession::same_memory(uint64_t peers) {
  if (memory_ == 0) memory_ = peers;
  return memory_ == peers;
}

// ---- Sending ----

const LinkSession::Frame& LinkSession::add(const Message& message, BufferId buffer) {
  if (sent_ - acknowledged_ == frames_.size()) resize(2 * frames_.size());
  Frame& added = frame(++sent_);
  const uint32_t plain_bytes = data_bytes_of(message);
  BATON_ASSERT(plain_bytes == 0 || (buffer != 0 && plain_bytes <= pool_.capacity(buffer)));
  std::span<const uint8_t> data;
  added.buffer = 0;
  if (plain_bytes > 0) {
    data = {pool_.data(buffer), plain_bytes};
    if (auto smaller = compressor_ ? compressor_->compress(data) : std::nullopt) {
      added.buffer = smaller->buffer;
      data = {pool_.data(added.buffer), smaller->bytes};
    } else {
      pool_.retain(buffer);
      added.buffer = buffer;
    }
  }
  added.data_bytes = static_cast<uint32_t>(data.size());
  encode_frame(message, {data, plain_bytes}, sent_, received_, added.head);
  unacknowledged_bytes_ += added.head.size() + added.data_bytes;
  acknowledgement_sent();
  return added;
}

bool LinkSession::acknowledged(uint64_t sequence) {
  if (sequence > sent_) return false;
  while (acknowledged_ < sequence) drop(frame(++acknowledged_));
  if (acknowledged_ == sent_ && frames_.size() > kKeptSlots) frames_ = std::vector<Frame>(kFirstSlots);
  return true;
}

void LinkSession::drop(Frame& dropped) {
  unacknowledged_bytes_ -= dropped.head.size() + dropped.data_bytes;
  if (dropped.buffer != 0) pool_.release(dropped.buffer);
  dropped.buffer = 0;
  dropped.head.clear();
  if (dropped.head.capacity() > kKeptHeadBytes) dropped.head.shrink_to_fit();
}

void LinkSession::resize(size_t slots) {
  std::vector<Frame> larger(slots);
  for (uint64_t sequence = acknowledged_ + 1; sequence <= sent_; ++sequence) {
    larger[sequence & (slots - 1)] = std::move(frame(sequence));
  }
  frames_ = std::move(larger);
}

bool LinkSession::overflown() const { return unacknowledged() > kMostMessages || unacknowledged_bytes_ > kMostBytes; }

// ---- Receiving ----

LinkSession::Arrival LinkSession::arrived(const FrameHeader& header) {
  if (header.sequence <= received_) return Arrival::kRepeated;
  if (header.sequence != received_ + 1) return Arrival::kImpossible;
  ++received_;
  untold_bytes_ += kFrameHeaderBytes + header.body_bytes + header.data_bytes;
  return Arrival::kNew;
}

bool LinkSession::acknowledgement_due() const {
  return received_ - told_ >= kTellAfterMessages || untold_bytes_ >= kTellAfterBytes;
}

void LinkSession::acknowledgement_sent() {
  told_ = received_;
  untold_bytes_ = 0;
}

}  // namespace baton::mirror
