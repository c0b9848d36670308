// Every count is checked against what is left before anything is reserved for it.
#include "src/mirror/link_messages.h"

#include <array>

namespace baton::mirror {
namespace {

// The type on the wire is the place in the variant: new messages are added at its end.
static_assert(std::variant_size_v<Message> == 20);
constexpr size_t kWriteData = 3;
constexpr size_t kPeerData = 17;
static_assert(std::is_same_v<std::variant_alternative_t<kWriteData, Message>, WriteData>);
static_assert(std::is_same_v<std::variant_alternative_t<kPeerData, Message>, PeerData>);
constexpr uint32_t kMaxAncestors = 64;

class MessageEncoder {
 public:
  explicit MessageEncoder(Bytes& out) : writer_(out) {}

  void operator()(const Hello& hello) {
    writer_.put(static_cast<uint8_t>(hello.protocol));
    writer_.put(hello.permit.value);
    writer_.put(hello.size_blocks);
    put(hello.generation);
    put(hello.ancestors);
    put(hello.base);
  }
  void operator()(const HelloReply& reply) {
    writer_.put(reply.permit.value);
    writer_.put(reply.incarnation.value);
    writer_.put(reply.size_blocks);
    writer_.put(static_cast<uint8_t>((reply.consistent ? 1 : 0) | (reply.all_suspect ? 2 : 0)));
    put(reply.generation);
    put(reply.ancestors);
    writer_.put(static_cast<uint32_t>(reply.suspects.size()));
    for (uint64_t extent : reply.suspects) writer_.put(extent);
  }
  void operator()(const HelloRefused& refused) {
    writer_.put(refused.newer_permit.value);
    writer_.put_string(std::string_view(refused.reason).substr(0, 4096));
  }
  void operator()(const WriteData& write) {
    writer_.put(write.sequence);
    put(write.range);
    writer_.put(write.epoch);
  }
  void operator()(const WriteDone& done) { put_done(done.sequence, done.ok); }
  void operator()(const FlushPeer& flush) { writer_.put(flush.sequence); }
  void operator()(const FlushPeerDone& done) { put_done(done.sequence, done.ok); }
  void operator()(const CopyBegin& begin) {
    writer_.put(static_cast<uint8_t>(begin.kind));
    put(begin.generation);
  }
  void operator()(const CopyBegun&) {}
  void operator()(const HashRequest& request) {
    writer_.put(request.sequence);
    put(request.range);
  }
  void operator()(const HashReply& reply) {
    writer_.put(reply.sequence);
    writer_.put(static_cast<uint32_t>(reply.hashes.size()));
    for (const BlockHash& hash : reply.hashes) {
      writer_.put(hash.low);
      writer_.put(hash.high);
    }
  }
  void operator()(const CopyEnd& end) {
    put(end.generation);
    put(end.ancestors);
  }
  void operator()(const CopyEnded& ended) { writer_.put(ended.incarnation.value); }
  void operator()(const Ping&) {}
  void operator()(const ZeroData& zero) {
    writer_.put(zero.sequence);
    put(zero.range);
    writer_.put(zero.epoch);
    writer_.put(static_cast<uint8_t>(zero.unmap));
  }
  void operator()(const WriteReceived& received) { writer_.put(received.sequence); }
  void operator()(const ReadPeer& read) {
    writer_.put(read.sequence);
    put(read.range);
  }
  void operator()(const PeerData& data) {
    writer_.put(data.sequence);
    writer_.put(data.count);
    writer_.put(static_cast<uint8_t>(data.ok));
  }
  void operator()(const Detach&) {}
  void operator()(const Detached& detached) {
    put(detached.generation);
    put(detached.ancestors);
  }

 private:
  void put(const Generation& generation) {
    writer_.put(generation.counter);
    writer_.put(generation.random);
  }
  void put(const std::vector<Generation>& ancestors) {
    writer_.put(static_cast<uint32_t>(ancestors.size()));
    for (const Generation& ancestor : ancestors) put(ancestor);
  }
  void put(const BlockRange& range) {
    writer_.put(range.first);
    writer_.put(range.count);
  }
  void put_done(uint64_t sequence, bool ok) {
    writer_.put(sequence);
    writer_.put(static_cast<uint8_t>(ok));
  }
  ByteWriter writer_;
};

class MessageDecoder {
 public:
  explicit MessageDecoder(std::span<const uint8_t> body) : reader_(body) {}

  /// False: the bytes were not exactly this message, or said something impossible.
  bool good() const { return !reader_.failed() && reader_.left() == 0 && !wrong_; }

  void take(Hello& hello) {
    const auto protocol = reader_.take<uint8_t>();
    if (protocol > static_cast<uint8_t>(MirrorProtocol::kC)) wrong_ = true;
    hello.protocol = static_cast<MirrorProtocol>(protocol);
    hello.permit = Permit(number());
    hello.size_blocks = number();
    hello.generation = generation();
    hello.ancestors = generations();
    hello.base = generation();
  }
  void take(HelloReply& reply) {
    reply.permit = Permit(number());
    reply.incarnation = Incarnation(number());
    reply.size_blocks = number();
    const auto flags = reader_.take<uint8_t>();
    reply.consistent = (flags & 1) != 0;
    reply.all_suspect = (flags & 2) != 0;
    if (flags > 3) wrong_ = true;
    reply.generation = generation();
    reply.ancestors = generations();
    const uint32_t count = counted(sizeof(uint64_t));
    reply.suspects.reserve(count);
    for (uint32_t i = 0; i < count; ++i) reply.suspects.push_back(number());
  }
  void take(HelloRefused& refused) {
    refused.newer_permit = Permit(number());
    refused.reason = reader_.take_string();
  }
  void take(WriteData& write) {
    write.sequence = number();
    write.range = range(kMaxRequestBlocks);
    write.epoch = number();
  }
  void take(WriteDone& done) { take_done(done.sequence, done.ok); }
  void take(FlushPeer& flush) { flush.sequence = number(); }
  void take(FlushPeerDone& done) { take_done(done.sequence, done.ok); }
  void take(CopyBegin& begin) {
    const auto kind = reader_.take<uint8_t>();
    if (kind > static_cast<uint8_t>(CopyKind::kFull)) wrong_ = true;
    begin.kind = static_cast<CopyKind>(kind);
    begin.generation = generation();
  }
  void take(CopyBegun&) {}
  void take(HashRequest& request) {
    request.sequence = number();
    request.range = range(kMaxRequestBlocks);
  }
  void take(HashReply& reply) {
    reply.sequence = number();
    const uint32_t count = counted(2 * sizeof(uint64_t));
    reply.hashes.reserve(count);
    for (uint32_t i = 0; i < count; ++i) {
      BlockHash hash;
      hash.low = number();
      hash.high = number();
      reply.hashes.push_back(hash);
    }
  }
  void take(CopyEnd& end) {
    end.generation = generation();
    end.ancestors = generations();
  }
  void take(CopyEnded& ended) { ended.incarnation = Incarnation(number()); }
  void take(Ping&) {}
  void take(ZeroData& zero) {
    zero.sequence = number();
    zero.range = range(kMaxZeroBlocks);
    zero.epoch = number();
    zero.unmap = flag();
  }
  void take(WriteReceived& received) { received.sequence = number(); }
  void take(ReadPeer& read) {
    read.sequence = number();
    read.range = range(kMaxRequestBlocks);
  }
  void take(PeerData& data) {
    data.sequence = number();
    data.count = number();
    data.ok = flag();
    if (data.count > kMaxRequestBlocks) wrong_ = true;
  }
  void take(Detach&) {}
  void take(Detached& detached) {
    detached.generation = generation();
    detached.ancestors = generations();
  }

 private:
  uint64_t number() { return reader_.take<uint64_t>(); }
  Generation generation() {
    Generation generation;
    generation.counter = number();
    generation.random = number();
    return generation;
  }
  /// A count of elements that can still follow; 0 if they cannot.
  uint32_t counted(size_t element_bytes) {
    const auto count = reader_.take<uint32_t>();
    if (count <= reader_.left() / element_bytes) return count;
    wrong_ = true;
    return 0;
  }
  std::vector<Generation> generations() {
    const uint32_t count = counted(2 * sizeof(uint64_t));
    std::vector<Generation> all;
    if (count > kMaxAncestors) {
      wrong_ = true;
      return all;
    }
    for (uint32_t i = 0; i < count; ++i) all.push_back(generation());
    return all;
  }
  /// Of 1 to `most` blocks, without overflow.
  BlockRange range(uint64_t most) {
    BlockRange range;
    range.first = number();
    range.count = number();
    if (range.count == 0 || range.count > most || range.first > UINT64_MAX / kBlockBytes - range.count) wrong_ = true;
    return range;
  }
  bool flag() {
    const auto value = reader_.take<uint8_t>();
    if (value > 1) wrong_ = true;
    return value == 1;
  }
  void take_done(uint64_t& sequence, bool& ok) {
    sequence = number();
    ok = flag();
  }

  ByteReader reader_;
  bool wrong_ = false;
};

template <size_t type>
bool decode_as(std::span<const uint8_t> body, Message& message) {
  std::variant_alternative_t<type, Message> decoded;
  MessageDecoder decoder(body);
  decoder.take(decoded);
  message = std::move(decoded);
  return decoder.good();
}

template <size_t... types>
bool decode_type(size_t type, std::span<const uint8_t> body, Message& message, std::index_sequence<types...>) {
  using Decode = bool (*)(std::span<const uint8_t>, Message&);
  constexpr std::array<Decode, sizeof...(types)> kDecoders = {&decode_as<types>...};
  return kDecoders[type](body, message);
}

}  // namespace

DataRule data_rule(uint8_t type) {
  return type == kWriteData ? DataRule::kAlways : type == kPeerData ? DataRule::kPerhaps : DataRule::kNone;
}

void encode_message(const Message& message, Bytes& out) { std::visit(MessageEncoder(out), message); }

bool decode_message(uint8_t type, std::span<const uint8_t> body, Message& message) {
  return type < std::variant_size_v<Message> &&
         decode_type(type, body, message, std::make_index_sequence<std::variant_size_v<Message>>());
}

uint32_t data_bytes_of(const Message& message) {
  uint64_t blocks = 0;
  if (const auto* write = std::get_if<WriteData>(&message)) blocks = write->range.count;
  if (const auto* data = std::get_if<PeerData>(&message)) blocks = data->ok ? data->count : 0;
  return static_cast<uint32_t>(blocks * kBlockBytes);
}

}  // namespace baton::mirror
