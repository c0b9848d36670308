// Starting the members' volatile disks (baton-lab-disk, one process each) and talking to them over their
// control sockets. One thread.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/lab/lab_model.h"
#include "src/lab/lab_process.h"

namespace baton::lab {

/// Starts a member's disk over its backing directory; wait_ready() tells when it is mounted.
Result<Started> start_disk(const Lab& lab, const Member& member);

/// Sends one command ("lose 42", "full on", "eio PATH on", "stats") and gives the answer, one line of JSON.
Result<std::string> command_disk(const Member& member, const std::string& command, Duration limit = 30s);

}  // namespace baton::lab
