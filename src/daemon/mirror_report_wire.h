// A mirror copy's report as part of a beat (message_codec.cc). Pure functions, any thread.
#pragma once

#include <optional>
#include <string>

#include "src/model/mirror_report.h"

namespace baton {
namespace wire {
class MirrorReport;
}

void put_mirror_report(const std::string& mirror, const MirrorReport& report, wire::MirrorReport& out);

/// Nothing when the report says something that only a newer version knows.
std::optional<MirrorReport> take_mirror_report(const wire::MirrorReport& from);

}  // namespace baton
