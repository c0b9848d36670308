// The computed failover times as text: a line in `baton status`, a table in `baton plan`. Pure. Any thread.
#pragma once

#include <string>

#include "src/cli/json_access.h"
#include "src/cli/terminal.h"

namespace baton::cli {

/// "if its server is lost: back after about 1.4 s, at worst 92 s"; empty if the answer has none.
std::string failover_line(const json& failover);

/// The parts of one group's failover time; empty if the answer has none.
std::string format_failover(const std::string& group, const json& failover, const Painter& painter);

/// "950 ms", "1.25 s", "2 min 5 s".
std::string short_duration(int64_t duration_ms);

}  // namespace baton::cli
