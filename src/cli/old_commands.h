// The commands of old, as scripts for EXPRESSCLUSTER call them: thin aliases of `baton` subcommands (docs/operations.md, "The commands
// of old"). One thread.
#pragma once

#include <string>
#include <vector>

namespace baton::cli {

/// Whether a program of this name is one of them.
bool is_old_command(const std::string& name);
/// The exit status. Options as of old ("/R 2") or with a dash ("-R 2"), in either case.
int run_old_command(const std::string& name, const std::vector<std::string>& words);

}  // namespace baton::cli
