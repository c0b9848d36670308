// The loop device over the export's file: attach, detach, grow, find leftovers; and what other block devices
// share of it. Everything here blocks, and may do I/O on the disk that the mirror daemon serves: only for the
// child of a ForkedTask.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {

/// A loop device that is set up; `fd` keeps it, since it goes with its last user (autoclear).
struct LoopDevice {
  int number = -1;
  OwnedFd fd;
};

std::string loop_path(int number);

/// Sets up a free loop device over `file` with 4096-byte sectors and direct I/O. `tag` marks it as ours. A
/// device node that is missing is made.
Result<LoopDevice> attach_loop(int file, const std::string& tag, bool read_only = false);

/// The device takes the size that its file has now.
Status grow_loop(int number, int fd);

/// Writes out what is cached and takes the device away; within `limit` every other user must have let go of it.
/// After an error that names them it is still there (but goes with its last user). REQUIRES: `fd` is its only
/// own opener.
Status detach_loop(int number, int fd, Duration limit);

/// Takes the device away without waiting: at once if nobody uses it, else with its last user.
void detach_loop_lazily(int fd);

/// A device that an earlier daemon left behind, if `number` still carries `tag`: detached lazily. Says what was
/// done, empty: nothing was there.
std::string reclaim_loop(int number, const std::string& tag);

/// Who has the block device (its kernel name) open or mounted: "mounted at /srv/db; process 123 (postgres)".
/// Empty: nobody is seen.
std::string device_users(const std::string& name);

/// Opens the block device's node, making it if udev does not (containers, practice clusters).
Result<OwnedFd> open_device_node(const std::string& name, int flags);

/// Waits until nobody but the caller has the device, at most `limit`; then it is written out and claimed, so
/// that nobody mounts it any more, for as long as the descriptor lives. An error (kConflict) names the users.
Result<OwnedFd> claim_device(const std::string& name, Duration limit);

}  // namespace baton::mirror
