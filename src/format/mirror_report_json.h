// MirrorReport and MirrorDetails as JSON: what the mirror daemon tells batond, and batond's API its clients. Plain
// functions, any thread.
#pragma once

#include <nlohmann/json.hpp>

#include "src/base/result.h"
#include "src/model/mirror_details.h"
#include "src/model/mirror_report.h"

namespace baton {

nlohmann::json mirror_report_to_json(const MirrorReport& report);

/// Members that are missing keep their defaults, unknown ones are ignored: the two sides may differ by a version.
/// A member of the wrong type, or an unknown name of a role, link or copy, is an error that names it.
Result<MirrorReport> mirror_report_from_json(const nlohmann::json& json);

nlohmann::json mirror_details_to_json(const MirrorDetails& details);
/// As above.
Result<MirrorDetails> mirror_details_from_json(const nlohmann::json& json);

}  // namespace baton
