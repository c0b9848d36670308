// `baton lab ...`: a whole practice cluster on one machine. One thread.
#pragma once

#include <string>
#include <vector>

namespace baton {

/// Runs a lab command; `arguments` are what follows `baton lab`. Returns the program's exit status: 0; 1 if the
/// command failed; 2 for wrong usage; for `exec` the command's own status, 125 if it could not be started.
int run_lab_command(const std::vector<std::string>& arguments);

}  // namespace baton
