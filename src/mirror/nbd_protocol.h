// The NBD protocol's numbers and messages as they are on the wire (big-endian): NetworkBlockDevice/nbd,
// doc/proto.md. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "src/base/bytes.h"
#include "src/base/result.h"

namespace baton::mirror {

// ---- Handshake ----

constexpr uint64_t kNbdMagic = 0x4e42444d41474943;        // "NBDMAGIC"
constexpr uint64_t kNbdOptionMagic = 0x49484156454f5054;  // "IHAVEOPT"
constexpr uint64_t kNbdOptionReplyMagic = 0x0003e889045565a9;

enum NbdHandshakeFlag : uint16_t { kNbdFixedNewstyle = 1, kNbdNoZeroes = 2 };

enum NbdOption : uint32_t {
  kNbdOptExportName = 1,
  kNbdOptAbort = 2,
  kNbdOptList = 3,
  kNbdOptInfo = 6,
  kNbdOptGo = 7,
  kNbdOptStructuredReply = 8,
};

enum NbdOptionReply : uint32_t {
  kNbdRepAck = 1,
  kNbdRepServer = 2,
  kNbdRepInfo = 3,
  kNbdRepErrUnsupported = (1u << 31) + 1,
  kNbdRepErrInvalid = (1u << 31) + 3,
  kNbdRepErrUnknown = (1u << 31) + 6,
  kNbdRepErrTooBig = (1u << 31) + 9,
};

enum NbdInfo : uint16_t {
  kNbdInfoExport = 0,
  kNbdInfoName = 1,
  kNbdInfoDescription = 2,
  kNbdInfoBlockSize = 3
};

enum NbdExportFlag : uint16_t {
  kNbdHasFlags = 1 << 0,
  kNbdReadOnly = 1 << 1,
  kNbdSendFlush = 1 << 2,
  kNbdSendFua = 1 << 3,
  kNbdSendTrim = 1 << 5,
  kNbdSendWriteZeroes = 1 << 6,
  kNbdSendDf = 1 << 7,
  kNbdCanMultiConn = 1 << 8,
  kNbdSendFastZero = 1 << 11,
};

// ---- Transmission ----

constexpr uint32_t kNbdRequestMagic = 0x25609513;
constexpr uint32_t kNbdSimpleReplyMagic = 0x67446698;
constexpr uint32_t kNbdStructuredReplyMagic = 0x668e33ef;
constexpr size_t kNbdRequestBytes = 28;

enum NbdCommand : uint16_t {
  kNbdRead = 0,
  kNbdWrite = 1,
  kNbdDisconnect = 2,
  kNbdFlush = 3,
  kNbdTrim = 4,
  kNbdWriteZeroes = 6,
};

enum NbdCommandFlag : uint16_t {
  kNbdFua = 1 << 0,
  kNbdNoHole = 1 << 1,
  kNbdDf = 1 << 2,  // a read's data in one piece
  kNbdFastZero = 1 << 4,
};

enum NbdReplyFlag : uint16_t { kNbdReplyDone = 1 };
enum NbdReplyType : uint16_t {
  kNbdReplyNone = 0,
  kNbdReplyOffsetData = 1,
  kNbdReplyError = 32769,
  kNbdReplyErrorOffset = 32770,
};

enum NbdError : uint32_t {
  kNbdOk = 0,
  kNbdEperm = 1,
  kNbdEio = 5,
  kNbdEinval = 22,
  kNbdEnospc = 28,
  kNbdEoverflow = 75,
  kNbdEshutdown = 108,
};

struct NbdRequest {
  uint16_t flags = 0;
  uint16_t command = 0;
  uint64_t cookie = 0;
  uint64_t offset = 0;
  uint32_t length = 0;
};

/// What an export is, as clients are told.
struct NbdExport {
  std::string name;
  std::string description;
  uint64_t size_bytes = 0;
  uint16_t flags = 0;
};

constexpr uint32_t kNbdMinimumBlock = 4096;
constexpr uint32_t kNbdMaximumBlock = 32u << 20;  // the most that one read or write carries

struct NbdRefusal {
  NbdError error = kNbdOk;
  std::string_view text;
};

/// REQUIRES: kNbdRequestBytes. An error: the client does not speak the protocol.
Result<NbdRequest> decode_nbd_request(std::span<const uint8_t> bytes);
/// Why an export refuses a request, if it does.
std::optional<NbdRefusal> check_nbd_request(const NbdRequest& request, const NbdExport& target);

// Heads of replies; a read's data follows its head.
void put_nbd_simple_reply(Bytes& out, NbdError error, uint64_t cookie);
void put_nbd_offset_data(Bytes& out, bool last, uint64_t cookie, uint64_t offset, uint32_t data_bytes);
/// No data, all is well.
void put_nbd_none(Bytes& out, uint64_t cookie);
void put_nbd_error(Bytes& out, bool last, NbdError error, uint64_t cookie, std::string_view text);
void put_nbd_error_at(Bytes& out, bool last, NbdError error, uint64_t cookie, std::string_view text,
                      uint64_t offset);

// ---- Big-endian fields ----

template <class Number>
Number nbd_load(const uint8_t* from) {
  Number number = 0;
  for (size_t i = 0; i < sizeof number; ++i) number = static_cast<Number>(number << 8 | from[i]);
  return number;
}

template <class Number>
void nbd_put(Bytes& out, Number number) {
  uint8_t raw[sizeof number];
  for (size_t i = 0; i < sizeof number; ++i)
    raw[i] = static_cast<uint8_t>(number >> (8 * (sizeof number - 1 - i)));
  out.insert(out.end(), raw, raw + sizeof number);
}

}  // namespace baton::mirror
