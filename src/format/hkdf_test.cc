// HKDF by the test cases of its specification.
#include "src/format/hkdf.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

namespace baton {
namespace {

std::string made(std::string_view secret, std::string_view salt, std::string_view info) {
  std::array<uint8_t, 42> out{};
  hkdf_sha256(secret, salt, info, out);
  return fmt::format("{:02x}", fmt::join(out, ""));
}

/// Test cases 1 and 3 of RFC 5869, appendix A.
TEST(Hkdf, MakesTheBytesOfItsSpecification) {
  const std::string secret(22, '\x0b');
  std::string salt, info;
  for (char byte = 0; byte < 13; ++byte) salt += byte;
  for (int byte = 0xf0; byte < 0xfa; ++byte) info += static_cast<char>(byte);
  EXPECT_EQ(made(secret, salt, info), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  EXPECT_EQ(made(secret, "", ""), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

}  // namespace
}  // namespace baton
