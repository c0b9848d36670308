// A trap byte by byte, as RFC 3416 and X.690 have it; long texts and large numbers.
#include "src/format/snmp_trap.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace baton {
namespace {

std::string hex(const Bytes& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

const SnmpName kName = {1, 3, 6, 1, 4, 1, 32473, 1, 0, 2};
const SnmpName kText = {1, 3, 6, 1, 4, 1, 32473, 1, 1, 6, 0};

TEST(SnmpTrap, ByteByByte) {
  EXPECT_EQ(hex(encode_snmp_trap({"public", 5, 300, kName, {{kText, "lost"}}})),
            "3059"                                                        // a message
            "020101"                                                      // of version 2c
            "04067075626c6963"                                            // public
            "a74c"                                                        // a trap
            "020105020100020100"                                          // number 5, no error
            "3041"                                                        // its objects
            "300e06082b060102010103004302012c"                            // sysUpTime.0: 300
            "301906" "0a2b060106030101040100" "060b2b0601040181fd59010002"  // snmpTrapOID.0: kName
            "3014060c2b0601040181fd5901010600" "04046c6f7374");           // kText: lost
}

TEST(SnmpTrap, LongAndLarge) {
  const std::string trap =
      hex(encode_snmp_trap({"public", 0x7fffffff, 0xffffffff, kName, {{kText, std::string(200, 'a')}, {kText, std::string(300, 'b')}}}));
  EXPECT_EQ(trap.substr(0, 4), "3082") << "two bytes say how long it is";
  EXPECT_NE(trap.find("02047fffffff"), std::string::npos);
  EXPECT_NE(trap.find("430500ffffffff"), std::string::npos) << "not a negative number";
  EXPECT_NE(trap.find("0481c8" "6161"), std::string::npos) << "200 letters";
  EXPECT_NE(trap.find("0482012c" "6262"), std::string::npos) << "300 letters";
  EXPECT_EQ(encode_snmp_trap({"public", 1, 0, kName, {}}).size() % 256, encode_snmp_trap({"public", 1, 0, kName, {}})[1] + 2u);
}

}  // namespace
}  // namespace baton
