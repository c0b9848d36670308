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

/// "[####------]  43%  fast copy, 1.2 GiB of 3 GiB, 1 GiB sent, 48 MiB/s, 40 s left".
std::string format_progress(const json& copy, size_t indent);
/// Is a copy under way that this report of one of the two copies knows of?
bool is_copying(const json& mirror_copy);
/// Requests and latencies of the last second; empty if nothing is known.
std::string format_metrics_line(const json& copy);

/// One line: "starting on server2; filesystem files is starting".
std::string describe_group(const json& group);

}  // namespace baton::cli
