// See snmp_trap.h.
#include "src/format/snmp_trap.h"

#include <algorithm>

#include "src/base/assert.h"

namespace baton {

namespace {

enum Tag : uint8_t { kInteger = 0x02, kOctets = 0x04, kName = 0x06, kSequence = 0x30, kTimeTicks = 0x43, kTrap = 0xa7 };

constexpr uint32_t kVersion2c = 1;
const SnmpName kUptime = {1, 3, 6, 1, 2, 1, 1, 3, 0};                // sysUpTime.0
const SnmpName kTrapName = {1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0};        // snmpTrapOID.0

void append(Bytes& to, const Bytes& part) { to.insert(to.end(), part.begin(), part.end()); }

Bytes tagged(Tag tag, const Bytes& content) {
  Bytes out{tag};
  Bytes length;
  for (size_t left = content.size(); left > 0; left >>= 8U) length.insert(length.begin(), static_cast<uint8_t>(left));
  if (content.size() < 0x80) {
    out.push_back(static_cast<uint8_t>(content.size()));
  } else {
    out.push_back(static_cast<uint8_t>(0x80U | length.size()));
    append(out, length);
  }
  append(out, content);
  return out;
}

/// The shortest form that does not look negative.
Bytes number(Tag tag, uint32_t value) {
  Bytes content;
  do {
    content.insert(content.begin(), static_cast<uint8_t>(value));
    value >>= 8U;
  } while (value > 0);
  if ((content.front() & 0x80U) != 0) content.insert(content.begin(), 0);
  return tagged(tag, content);
}

Bytes octets(const std::string& text) { return tagged(kOctets, Bytes(text.begin(), text.end())); }

Bytes name(const SnmpName& numbers) {
  BATON_ASSERT(numbers.size() >= 2 && numbers[0] == 1);
  Bytes content{static_cast<uint8_t>(40 + numbers[1])};
  for (size_t i = 2; i < numbers.size(); ++i) {
    Bytes digits;  // of base 128, all but the last marked
    for (uint32_t left = numbers[i]; digits.empty() || left > 0; left >>= 7U)
      digits.insert(digits.begin(), static_cast<uint8_t>((left & 0x7fU) | (digits.empty() ? 0U : 0x80U)));
    append(content, digits);
  }
  return tagged(kName, content);
}

Bytes binding(const SnmpName& object, const Bytes& value) {
  Bytes content = name(object);
  append(content, value);
  return tagged(kSequence, content);
}

}  // namespace

Bytes encode_snmp_trap(const SnmpTrap& trap) {
  Bytes bindings = binding(kUptime, number(kTimeTicks, trap.uptime_centiseconds));
  append(bindings, binding(kTrapName, name(trap.name)));
  for (const auto& [object, text] : trap.texts) append(bindings, binding(object, octets(text)));
  Bytes body = number(kInteger, trap.request);
  append(body, number(kInteger, 0));  // no error,
  append(body, number(kInteger, 0));  // ... and so at no place
  append(body, tagged(kSequence, bindings));
  Bytes message = number(kInteger, kVersion2c);
  append(message, octets(trap.community));
  append(message, tagged(kTrap, body));
  return tagged(kSequence, message);
}

}  // namespace baton
