// What a peer may send on a mirror connect: header, messages, records, compressed data, and what a session makes of
// their numbers. Needs clang; alone, from the checkout:
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -I. -DFMT_HEADER_ONLY fuzz/link_frames_fuzz.cc \
//     src/mirror/link_{frames,messages,records,session,compression,handshake}.cc src/mirror/buffer_pool.cc \
//     src/base/{checksum,assert}.cc -llz4 -lisal -lcrypto -o /tmp/link_frames_fuzz && /tmp/link_frames_fuzz -max_len=20000
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "src/base/checksum.h"
#include "src/mirror/link_messages.h"
#include "src/mirror/link_session.h"

namespace baton::mirror {
namespace {

constexpr BufferId kBuffer = BufferId{1} << 63;  // the only one, as large as any

// A finding is a crash: a fuzzer has no other way to say it.
void require(bool true_or_bug) {
  if (!true_or_bug) std::abort();
}

/// What was decoded must come out of its encoding again as the same bytes.
void check_message(const FrameHeader& header, const Message& message, std::span<const uint8_t> body) {
  require(data_bytes_of(message) == header.plain_bytes);
  Bytes again;
  encode_message(message, again);
  // A reason longer than a person reads is cut when it is encoded.
  if (!std::holds_alternative<HelloRefused>(message)) require(std::ranges::equal(again, body));
}

/// Random bytes rarely have a right checksum: it is put right in two of three inputs.
void repair(Bytes& bytes) {
  if (bytes.size() < kFrameHeaderBytes) return;
  const auto put = [&](size_t place, uint32_t number) { std::memcpy(bytes.data() + place, &number, sizeof number); };
  put(0, kFrameMagic);
  bytes[4] = kFrameVersion;
  uint32_t body_bytes = 0;
  uint32_t data_bytes = 0;
  std::memcpy(&body_bytes, bytes.data() + 8, 4);
  std::memcpy(&data_bytes, bytes.data() + 12, 4);
  const auto rest = std::span<const uint8_t>(bytes).subspan(kFrameHeaderBytes);
  if (body_bytes <= rest.size() && data_bytes <= rest.size() - body_bytes) {
    put(36, crc32c(rest.first(body_bytes)));
    put(40, data_bytes == 0 ? 0 : crc32c(rest.subspan(body_bytes, data_bytes)));
  }
  put(44, crc32c(std::span<const uint8_t>(bytes).first(kFrameHeaderBytes - 4)));
}

/// One frame; how many bytes it took, 0: the rest is no frame.
size_t take_frame(std::span<const uint8_t> bytes, LinkSession& session) {
  auto header = decode_frame_header(bytes);
  if (!header) return 0;
  const size_t size = kFrameHeaderBytes + header->body_bytes + header->data_bytes;
  require(header->body_bytes <= kMaxFrameBody && header->data_bytes <= kMaxFrameData && header->plain_bytes <= kMaxFrameData);
  if (bytes.size() < size) return 0;
  const auto body = bytes.subspan(kFrameHeaderBytes, header->body_bytes);
  const auto data = bytes.subspan(kFrameHeaderBytes + header->body_bytes, header->data_bytes);
  if (header->record()) {
    auto record = decode_record_frame(*header, body);
    if (record) session.acknowledged(header->acknowledged);
    return size;
  }
  auto message = decode_frame(*header, body, data);
  if (!message) return size;
  check_message(*header, *message, body);
  if (header->compressed()) {
    Bytes plain(header->plain_bytes);
    (void)decompress(data, plain);
  }
  const uint64_t before = session.received();
  const auto arrival = session.arrived(*header);
  require((arrival == LinkSession::Arrival::kNew) == (session.received() == before + 1));
  const uint64_t waiting = session.unacknowledged();
  if (!session.acknowledged(header->acknowledged)) require(session.unacknowledged() == waiting);
  session.add(*message, header->plain_bytes == 0 ? 0 : kBuffer);
  return size;
}

}  // namespace
}  // namespace baton::mirror

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton::mirror;
  if (size < 1) return 0;
  static BufferPool pool;
  if (!pool.contains(kBuffer)) pool.allocate_as(kBuffer, kMaxTransferBytes);
  baton::Bytes bytes(data + 1, data + size);
  LinkSession session(pool, {1, 2}, (data[0] & 1) != 0, (data[0] & 2) != 0);
  while (!bytes.empty()) {
    if (data[0] % 3 != 0) repair(bytes);
    const size_t taken = take_frame(bytes, session);
    if (taken == 0) break;
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
  }
  LinkRecord record;
  (void)decode_record(static_cast<uint8_t>(data[0] % 8), {data + 1, size - 1}, record);
  return 0;
}
