// NbdNegotiation: the server's half of NBD's fixed newstyle handshake, from the greeting to the first request.
// Pure: it is fed bytes and gives bytes. Any thread.
#pragma once

#include "src/mirror/nbd_protocol.h"

namespace baton::mirror {

class NbdNegotiation {
 public:
  enum class Outcome {
    kMore,      // wants more bytes
    kTransmit,  // requests follow
    kEnd,       // close the connection once the output has been sent
  };

  /// `target` must outlive it.
  explicit NbdNegotiation(const NbdExport& target) : target_(target) {}

  void greet(Bytes& output) const;
  /// Takes what it can from the front of `input`; `used` says how much.
  Outcome consume(std::span<const uint8_t> input, size_t* used, Bytes& output);

  /// What the client and we have agreed on.
  bool structured_replies() const { return structured_; }
  const std::string& problem() const { return problem_; }

 private:
  Outcome consume_client_flags(std::span<const uint8_t> input, size_t* used);
  Outcome consume_option(std::span<const uint8_t> input, size_t* used, Bytes& output);
  Outcome handle_option(uint32_t option, std::span<const uint8_t> data, Bytes& output);
  Outcome export_name(std::span<const uint8_t> data, Bytes& output);
  Outcome information(uint32_t option, std::span<const uint8_t> data, Bytes& output);
  void put_information(Bytes& output, uint32_t option, std::span<const uint8_t> wanted) const;
  bool knows(std::string_view name) const { return name.empty() || name == target_.name; }
  uint16_t flags() const;

  const NbdExport& target_;
  bool flags_taken_ = false;
  bool no_zeroes_ = false;
  bool structured_ = false;
  uint64_t skip_ = 0;  // bytes of an option that is too long
  uint32_t options_ = 0;
  std::string problem_;
};

}  // namespace baton::mirror
