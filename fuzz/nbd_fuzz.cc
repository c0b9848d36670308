// libFuzzer target: bytes of an NBD client, cut at any places: the handshake, then requests and their checks.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -I. fuzz/nbd_fuzz.cc
//   src/mirror/nbd_negotiation.cc
//     src/mirror/nbd_protocol.cc -lfmt -o build/nbd_fuzz && build/nbd_fuzz -max_total_time=1200 -max_len=20000
#include <cstdlib>

#include "src/mirror/nbd_negotiation.h"

namespace {

using namespace baton::mirror;

void require(bool condition) {
  if (!condition) std::abort();
}

/// What a request may come to once it is accepted: within the disk, whole blocks.
void check_requests(std::span<const uint8_t> input, const NbdExport& target) {
  baton::Bytes output;
  while (input.size() >= kNbdRequestBytes) {
    const auto request = decode_nbd_request(input.first(kNbdRequestBytes));
    if (!request) return;
    input = input.subspan(kNbdRequestBytes);
    const auto refused = check_nbd_request(*request, target);
    if (refused) {
      put_nbd_error(output, true, refused->error, request->cookie, refused->text);
      continue;
    }
    if (request->command == kNbdFlush) continue;
    require(request->offset % kNbdMinimumBlock == 0 && request->length % kNbdMinimumBlock == 0);
    require(request->offset <= target.size_bytes && request->length <= target.size_bytes - request->offset);
    const bool transfers = request->command == kNbdRead || request->command == kNbdWrite;
    require(!transfers || request->length <= kNbdMaximumBlock);
    require(request->command == kNbdRead || (target.flags & kNbdReadOnly) == 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  // The first two bytes choose the disk and how the stream is cut.
  const NbdExport target{"db.disk", "fuzzed", uint64_t{data[0]} << 20,
                         static_cast<uint16_t>(kNbdHasFlags | (data[0] % 2 != 0 ? kNbdReadOnly : 0))};
  const size_t step = data[1] % 64 + size_t{1};
  std::span<const uint8_t> input(data + 2, size - 2);
  NbdNegotiation negotiation(target);
  baton::Bytes output;
  negotiation.greet(output);
  size_t from = 0;
  size_t end = 0;
  while (end < input.size()) {
    end = std::min(end + step, input.size());
    size_t used = 0;
    const auto outcome = negotiation.consume(input.subspan(from, end - from), &used, output);
    require(used <= end - from);
    from += used;
    if (outcome == NbdNegotiation::Outcome::kEnd) return 0;
    if (outcome == NbdNegotiation::Outcome::kTransmit) {
      check_requests(input.subspan(from), target);
      return 0;
    }
  }
  return 0;
}
