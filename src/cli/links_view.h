// The interconnects between every two servers, as `baton status --links` shows them. Pure. Any thread.
#pragma once

#include <string>

#include "src/cli/json_access.h"
#include "src/cli/terminal.h"

namespace baton::cli {

/// {"mode", "links": [{"from", "to", "link", "priority", "state": "up|down|one way|flapping", ...}], "silent": [servers]}: each
/// direction of each link for itself, from GET /v1/status.
json collect_links(const json& status);

/// The same as a table of at most 80 columns, with what is remarkable below it.
std::string format_links(const json& links, const Painter& painter);

/// What is wrong with the links that a server reports, in a few words: "server2 1(cut)"; empty if nothing.
std::string broken_links(const json& server);

}  // namespace baton::cli
