// A trap of SNMPv2c as it goes over the wire (RFC 3416, RFC 1901; BER). What Baton's traps say is in docs/BATON-MIB.txt. Stateless, any
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "src/base/bytes.h"

namespace baton {

/// An object's name: 1.3.6.1.4.1...
using SnmpName = std::vector<uint32_t>;

struct SnmpTrap {
  std::string community;
  uint32_t request = 0;
  uint32_t uptime_centiseconds = 0;
  SnmpName name;                                        // which trap it is
  std::vector<std::pair<SnmpName, std::string>> texts;  // its objects, all of them OCTET STRINGs
};

/// REQUIRES: names of at least two numbers, the first of them 1.
Bytes encode_snmp_trap(const SnmpTrap& trap);

}  // namespace baton
