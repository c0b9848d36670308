// The status of the cluster as text that a person likes to read, and parts of it. Pure. Any thread.
#pragma once

#include <string>

#include "src/cli/json_access.h"
#include "src/cli/terminal.h"

namespace baton::cli {

/// Everything of GET /v1/status, at most 80 columns wide.
std::string format_status(const json& status, const Painter& painter);

/// The groups alone; with their resources if `resources`.
std::string format_groups(const json& status, const Painter& painter, bool resources);

/// The mirrors alone, or one of them if a name is given.
std::string format_mirrors(const json& status, const Painter& painter, const std::string& only = "");

/// One mirror with every figure of its copies.
std::string format_mirror_details(const json& mirror, const Painter& painter);

/// One line: "starting on server2; filesystem files is starting".
std::string describe_group(const json& group);

}  // namespace baton::cli
