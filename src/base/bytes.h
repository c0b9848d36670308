// Little-endian fields in byte buffers, for records on disk and in the data path. Any thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace baton {

using Bytes = std::vector<uint8_t>;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "Baton runs on little-endian machines");

/// Appends fields to a buffer.
class ByteWriter {
 public:
  explicit ByteWriter(Bytes& out) : out_(out) {}

  template <class Number>
    requires std::is_integral_v<Number>
  void put(Number number) {
    const auto* raw = reinterpret_cast<const uint8_t*>(&number);
    out_.insert(out_.end(), raw, raw + sizeof number);
  }
  void put_bytes(std::span<const uint8_t> bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  /// A length of 32 bits, then the bytes.
  void put_string(std::string_view text) {
    put(static_cast<uint32_t>(text.size()));
    out_.insert(out_.end(), text.begin(), text.end());
  }

 private:
  Bytes& out_;
};

/// Takes fields from a buffer. A read past the end gives zeroes and sets failed(): check it once at the end.
class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> in) : in_(in) {}

  template <class Number>
    requires std::is_integral_v<Number>
  Number take() {
    Number number{};
    if (in_.size() < sizeof number) {
      failed_ = true;
      in_ = {};
      return number;
    }
    std::memcpy(&number, in_.data(), sizeof number);
    in_ = in_.subspan(sizeof number);
    return number;
  }
  std::span<const uint8_t> take_bytes(size_t count) {
    if (in_.size() < count) {
      failed_ = true;
      in_ = {};
      return {};
    }
    auto bytes = in_.first(count);
    in_ = in_.subspan(count);
    return bytes;
  }
  std::string take_string() {
    auto bytes = take_bytes(take<uint32_t>());
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  bool failed() const { return failed_; }
  size_t left() const { return in_.size(); }

 private:
  std::span<const uint8_t> in_;
  bool failed_ = false;
};

}  // namespace baton
