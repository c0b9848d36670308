// Offsets and lengths come from a stranger: every check is written so that it cannot overflow.
#include "src/mirror/nbd_protocol.h"

namespace baton::mirror {
namespace {

constexpr std::string_view kUnaligned =
    "offset and length must be multiples of 4096 bytes, the export's block size";

void put_chunk(Bytes& out, bool last, NbdReplyType type, uint64_t cookie, size_t payload_bytes) {
  nbd_put<uint32_t>(out, kNbdStructuredReplyMagic);
  nbd_put<uint16_t>(out, last ? kNbdReplyDone : 0);
  nbd_put<uint16_t>(out, type);
  nbd_put<uint64_t>(out, cookie);
  nbd_put<uint32_t>(out, static_cast<uint32_t>(payload_bytes));
}

void put_text(Bytes& out, std::string_view text) {
  nbd_put<uint16_t>(out, static_cast<uint16_t>(text.size()));
  out.insert(out.end(), text.begin(), text.end());
}

uint16_t allowed_flags(uint16_t command) {
  switch (command) {
    case kNbdRead:
      return kNbdFua | kNbdDf;
    case kNbdWriteZeroes:
      return kNbdFua | kNbdNoHole | kNbdFastZero;
    default:
      return kNbdFua;
  }
}

}  // namespace

Result<NbdRequest> decode_nbd_request(std::span<const uint8_t> bytes) {
  const uint8_t* from = bytes.data();
  if (nbd_load<uint32_t>(from) != kNbdRequestMagic)
    return fail("an NBD request does not begin with its magic number");
  return NbdRequest{nbd_load<uint16_t>(from + 4), nbd_load<uint16_t>(from + 6), nbd_load<uint64_t>(from + 8),
                    nbd_load<uint64_t>(from + 16), nbd_load<uint32_t>(from + 24)};
}

std::optional<NbdRefusal> check_nbd_request(const NbdRequest& request, const NbdExport& target) {
  const bool transfers = request.command == kNbdRead || request.command == kNbdWrite;
  const bool changes =
      request.command == kNbdWrite || request.command == kNbdTrim || request.command == kNbdWriteZeroes;
  if (!transfers && !changes && request.command != kNbdFlush) return NbdRefusal{kNbdEinval, "unknown command"};
  if ((request.flags & ~allowed_flags(request.command)) != 0)
    return NbdRefusal{kNbdEinval, "unknown command flags"};
  if (request.command == kNbdFlush) return std::nullopt;
  if (changes && (target.flags & kNbdReadOnly) != 0) return NbdRefusal{kNbdEperm, "the export is read-only"};
  if (request.offset % kNbdMinimumBlock != 0 || request.length % kNbdMinimumBlock != 0) {
    return NbdRefusal{kNbdEinval, kUnaligned};
  }
  if (transfers && request.length > kNbdMaximumBlock) {
    return NbdRefusal{kNbdEinval, "longer than the export's maximum of 32 MiB"};
  }
  if ((request.flags & kNbdDf) != 0 && request.length > (1u << 20)) {
    return NbdRefusal{kNbdEoverflow, "longer than 1 MiB: cannot be answered in one piece"};
  }
  if (request.offset > target.size_bytes || request.length > target.size_bytes - request.offset) {
    return NbdRefusal{changes ? kNbdEnospc : kNbdEinval, "beyond the end of the disk"};
  }
  return std::nullopt;
}

void put_nbd_simple_reply(Bytes& out, NbdError error, uint64_t cookie) {
  nbd_put<uint32_t>(out, kNbdSimpleReplyMagic);
  nbd_put<uint32_t>(out, error);
  nbd_put<uint64_t>(out, cookie);
}

void put_nbd_offset_data(Bytes& out, bool last, uint64_t cookie, uint64_t offset, uint32_t data_bytes) {
  put_chunk(out, last, kNbdReplyOffsetData, cookie, sizeof offset + data_bytes);
  nbd_put<uint64_t>(out, offset);
}

void put_nbd_none(Bytes& out, uint64_t cookie) { put_chunk(out, true, kNbdReplyNone, cookie, 0); }

void put_nbd_error(Bytes& out, bool last, NbdError error, uint64_t cookie, std::string_view text) {
  put_chunk(out, last, kNbdReplyError, cookie, 6 + text.size());
  nbd_put<uint32_t>(out, error);
  put_text(out, text);
}

void put_nbd_error_at(Bytes& out, bool last, NbdError error, uint64_t cookie, std::string_view text,
                      uint64_t offset) {
  put_chunk(out, last, kNbdReplyErrorOffset, cookie, 14 + text.size());
  nbd_put<uint32_t>(out, error);
  put_text(out, text);
  nbd_put<uint64_t>(out, offset);
}

}  // namespace baton::mirror
