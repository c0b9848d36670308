// A client that asks for what is not offered is refused and may ask for something else; one that does not speak
// the protocol is cut off.
#include "src/mirror/nbd_negotiation.h"

#include <algorithm>
#include <cstring>

namespace baton::mirror {
namespace {

constexpr size_t kOptionHeaderBytes = 16;
constexpr uint32_t kMaxOptionBytes = 8192;  // a name of 4096 bytes with its information requests
constexpr uint32_t kMaxOptions = 1000;      // nobody has that much to ask
constexpr size_t kZeroPadding = 124;

void put_reply(Bytes& output, uint32_t option, uint32_t type, size_t bytes) {
  nbd_put<uint64_t>(output, kNbdOptionReplyMagic);
  nbd_put<uint32_t>(output, option);
  nbd_put<uint32_t>(output, type);
  nbd_put<uint32_t>(output, static_cast<uint32_t>(bytes));
}

void put_text(Bytes& output, std::string_view text) { output.insert(output.end(), text.begin(), text.end()); }

void put_refusal(Bytes& output, uint32_t option, uint32_t type, std::string_view text) {
  put_reply(output, option, type, text.size());
  put_text(output, text);
}

std::string_view text_of(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void NbdNegotiation::greet(Bytes& output) const {
  nbd_put<uint64_t>(output, kNbdMagic);
  nbd_put<uint64_t>(output, kNbdOptionMagic);
  nbd_put<uint16_t>(output, kNbdFixedNewstyle | kNbdNoZeroes);
}

uint16_t NbdNegotiation::flags() const {
  return static_cast<uint16_t>(structured_ ? target_.flags | kNbdSendDf : target_.flags);
}

NbdNegotiation::Outcome NbdNegotiation::consume(std::span<const uint8_t> input, size_t* used, Bytes& output) {
  *used = 0;
  while (true) {
    size_t taken = 0;
    const auto rest = input.subspan(*used);
    if (skip_ > 0) {
      taken = static_cast<size_t>(std::min<uint64_t>(skip_, rest.size()));
      skip_ -= taken;
      *used += taken;
      if (skip_ > 0) return Outcome::kMore;
      continue;
    }
    const Outcome outcome =
        flags_taken_ ? consume_option(rest, &taken, output) : consume_client_flags(rest, &taken);
    *used += taken;
    if (outcome != Outcome::kMore || taken == 0) return outcome;
  }
}

NbdNegotiation::Outcome NbdNegotiation::consume_client_flags(std::span<const uint8_t> input, size_t* used) {
  if (input.size() < 4) return Outcome::kMore;
  const auto wanted = nbd_load<uint32_t>(input.data());
  *used = 4;
  if ((wanted & ~uint32_t{kNbdFixedNewstyle | kNbdNoZeroes}) != 0) {
    problem_ = fmt::format("its handshake flags {:#x} are unknown", wanted);
    return Outcome::kEnd;
  }
  flags_taken_ = true;
  no_zeroes_ = (wanted & kNbdNoZeroes) != 0;
  return Outcome::kMore;
}

NbdNegotiation::Outcome NbdNegotiation::consume_option(std::span<const uint8_t> input, size_t* used,
                                                       Bytes& output) {
  if (input.size() < kOptionHeaderBytes) return Outcome::kMore;
  if (nbd_load<uint64_t>(input.data()) != kNbdOptionMagic || options_ == kMaxOptions) {
    problem_ = "it does not speak NBD's newstyle handshake";
    return Outcome::kEnd;
  }
  const auto option = nbd_load<uint32_t>(input.data() + 8);
  const auto length = nbd_load<uint32_t>(input.data() + 12);
  if (length > kMaxOptionBytes) {
    ++options_;
    *used = kOptionHeaderBytes;
    skip_ = length;
    if (option == kNbdOptExportName) return Outcome::kEnd;  // has no way to be refused
    put_refusal(output, option, kNbdRepErrTooBig, "the option is longer than 8192 bytes");
    return Outcome::kMore;
  }
  if (input.size() < kOptionHeaderBytes + length) return Outcome::kMore;
  ++options_;
  *used = kOptionHeaderBytes + length;
  return handle_option(option, input.subspan(kOptionHeaderBytes, length), output);
}

NbdNegotiation::Outcome NbdNegotiation::handle_option(uint32_t option, std::span<const uint8_t> data,
                                                      Bytes& output) {
  switch (option) {
    case kNbdOptExportName:
      return export_name(data, output);
    case kNbdOptAbort:
      put_reply(output, option, kNbdRepAck, 0);
      return Outcome::kEnd;
    case kNbdOptInfo:
    case kNbdOptGo:
      return information(option, data, output);
    case kNbdOptList:
    case kNbdOptStructuredReply:
      break;
    default:
      put_refusal(output, option, kNbdRepErrUnsupported, "this server does not offer that option");
      return Outcome::kMore;
  }
  if (!data.empty()) {
    put_refusal(output, option, kNbdRepErrInvalid, "the option takes no data");
    return Outcome::kMore;
  }
  if (option == kNbdOptList) {
    put_reply(output, option, kNbdRepServer, 4 + target_.name.size());
    nbd_put<uint32_t>(output, static_cast<uint32_t>(target_.name.size()));
    put_text(output, target_.name);
  } else {
    structured_ = true;
  }
  put_reply(output, option, kNbdRepAck, 0);
  return Outcome::kMore;
}

NbdNegotiation::Outcome NbdNegotiation::export_name(std::span<const uint8_t> data, Bytes& output) {
  if (!knows(text_of(data))) {
    problem_ = "it asked for an export that is not here";
    return Outcome::kEnd;
  }
  nbd_put<uint64_t>(output, target_.size_bytes);
  nbd_put<uint16_t>(output, flags());
  if (!no_zeroes_) output.insert(output.end(), kZeroPadding, 0);
  return Outcome::kTransmit;
}

/// NBD_OPT_INFO and NBD_OPT_GO: length of the name, name, count of information requests, requests.
NbdNegotiation::Outcome NbdNegotiation::information(uint32_t option, std::span<const uint8_t> data,
                                                    Bytes& output) {
  const uint32_t name_bytes = data.size() >= 6 ? nbd_load<uint32_t>(data.data()) : UINT32_MAX;
  if (name_bytes > data.size() || data.size() - name_bytes < 6) {
    put_refusal(output, option, kNbdRepErrInvalid, "the option's lengths contradict each other");
    return Outcome::kMore;
  }
  const auto name = data.subspan(4, name_bytes);
  const auto count = nbd_load<uint16_t>(data.data() + 4 + name_bytes);
  const auto wanted = data.subspan(6 + name_bytes);
  if (wanted.size() != size_t{2} * count) {
    put_refusal(output, option, kNbdRepErrInvalid, "the option's lengths contradict each other");
    return Outcome::kMore;
  }
  if (!knows(text_of(name))) {
    put_refusal(output, option, kNbdRepErrUnknown, fmt::format("the only export here is \"{}\"", target_.name));
    return Outcome::kMore;
  }
  put_information(output, option, wanted);
  put_reply(output, option, kNbdRepAck, 0);
  return option == kNbdOptGo ? Outcome::kTransmit : Outcome::kMore;
}

void NbdNegotiation::put_information(Bytes& output, uint32_t option, std::span<const uint8_t> wanted) const {
  put_reply(output, option, kNbdRepInfo, 12);
  nbd_put<uint16_t>(output, kNbdInfoExport);
  nbd_put<uint64_t>(output, target_.size_bytes);
  nbd_put<uint16_t>(output, flags());
  put_reply(output, option, kNbdRepInfo, 14);
  nbd_put<uint16_t>(output, kNbdInfoBlockSize);
  nbd_put<uint32_t>(output, kNbdMinimumBlock);
  nbd_put<uint32_t>(output, kNbdMinimumBlock);
  nbd_put<uint32_t>(output, kNbdMaximumBlock);
  for (size_t i = 0; i + 2 <= wanted.size(); i += 2) {
    const auto type = nbd_load<uint16_t>(wanted.data() + i);
    if (type != kNbdInfoName && type != kNbdInfoDescription) continue;
    const std::string& text = type == kNbdInfoName ? target_.name : target_.description;
    put_reply(output, option, kNbdRepInfo, 2 + text.size());
    nbd_put<uint16_t>(output, type);
    put_text(output, text);
  }
}

}  // namespace baton::mirror
