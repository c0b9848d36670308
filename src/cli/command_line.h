// `baton ...` but `baton lab`: reads the command line and runs the command. One thread.
#pragma once

#include <string>
#include <vector>

namespace baton::cli {

/// Returns the program's exit status: 0; 1 if the command failed; 2 for wrong usage.
int run_command_line(const std::vector<std::string>& arguments);

}  // namespace baton::cli
