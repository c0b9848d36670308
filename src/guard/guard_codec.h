// The bytes of baton-guard: its beats among the guards, what batond tells it, its reports, and the page in which it
// keeps what it was told. All of one version: docs/operations.md, "Versions". Any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "src/core/guard/clocks.h"
#include "src/core/guard/guard.h"

namespace baton::guard {

/// What this server's guard drops and ends when the lease has ended, also when batond is dead.
struct Duties {
  std::vector<std::string> addresses;       // floating addresses that this server may hold, "10.0.0.9"
  std::vector<std::string> control_groups;  // of services that may run here
  Duration freeze_limit = 10s;              // from the end of the lease to the kill
  std::string watchdog;                     // device; empty: none
  bool operator==(const Duties&) const = default;
};

using FromBatond = std::variant<Tell, Duties>;

Bytes encode_beat(const Beat& beat);
Result<Beat> decode_beat(std::span<const uint8_t> bytes);

Bytes encode(const Tell& tell);
Bytes encode(const Duties& duties);
Result<FromBatond> decode_from_batond(std::span<const uint8_t> bytes);

/// The report that batond gets, with what the guard has to say for people ("" : nothing).
Bytes encode_report(const Report& report, const std::string& problem);
struct ReportMessage {
  Report report;
  std::string problem;
};
Result<ReportMessage> decode_report(std::span<const uint8_t> bytes);

/// What the page keeps.
struct Kept {
  Knowledge knowledge;
  Duties duties;
  std::optional<ClocksAhead> clocks_ahead{};  // when a guard looked last (F5); none: of a version that did not keep it
};
Bytes encode_kept(const Kept& kept);
Result<Kept> decode_kept(std::span<const uint8_t> bytes);

}  // namespace baton::guard
