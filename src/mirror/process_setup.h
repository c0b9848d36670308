// What a process that serves its own server's disk needs of the kernel: at its start, and after each fork.
#pragma once

#include <string>
#include <vector>

namespace baton::mirror {

/// Own session, memory locked, never the out-of-memory killer's choice, never waiting for write-back of its own disk.
/// Returns what could not be had: worth a warning, not worth refusing to start.
/// `kept`: files whose filesystems stay in sight, though they may be on loop devices: store and metadata.
std::vector<std::string> set_up_process(const std::vector<std::string>& kept);

/// After a fork, in the parent: what is present belongs to this process alone again. Else the first write to each page
/// would need memory for a copy as long as the child lives, in the midst of the data path.
void own_memory_alone();

}  // namespace baton::mirror
