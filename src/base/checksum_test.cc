// The published check value of CRC32C.
#include "src/base/checksum.h"

#include <gtest/gtest.h>

#include <string_view>

TEST(Checksum, MatchesThePublishedCheckValue) {
  constexpr std::string_view kDigits = "123456789";
  EXPECT_EQ(baton::crc32c({reinterpret_cast<const uint8_t*>(kDigits.data()), kDigits.size()}), 0xE3069283u);
}
