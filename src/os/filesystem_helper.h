// Filesystems on mirror disks: made, checked, mounted, unmounted. Each step that touches the device runs in a
// helper process with a deadline, so a frozen or broken device never stops the loop. One thread: the loop's.
#pragma once

#include <functional>
#include <string>

#include "src/base/result.h"
#include "src/os/event_loop.h"

namespace baton {

struct MountRequest {
  std::string device;
  std::string mount_point;  // created if missing
  std::string type = "ext4";
  std::string options;             // as for mount -o; empty: defaults
  Duration deadline = 30s;         // for mounting, journal replay included
  Duration check_deadline = 600s;  // for a repair before it, when the superblock asks for one
};

struct MountReport {
  bool already_mounted = false;
  bool repaired = false;  // e2fsck ran because the superblock asked for it
  std::string repair_output;
  Duration took{};
};

/// Mounts; success at once if this device is mounted there already (a restarted batond). ext4's journal is
/// replayed by the kernel; only a superblock that records errors, or was not cleanly unmounted without a
/// journal, is repaired first (e2fsck -p). Errors: kConflict when something else is mounted there or the device
/// is mounted elsewhere; damage that needs a person; kTimeout.
void mount_filesystem(EventLoop& loop, MountRequest request, std::function<void(Result<MountReport>)> callback);

/// Unmounts; fine if nothing is mounted there. kConflict when busy, with the names and numbers of the processes
/// that hold it: the escalation is the caller's. kTimeout when it hangs.
void unmount_filesystem(EventLoop& loop, const std::string& mount_point, Duration deadline,
                        std::function<void(Status)> callback);

/// Takes the mount out of the tree although it is busy (umount -l); it ends when its last user does.
void detach_filesystem(EventLoop& loop, const std::string& mount_point, Duration deadline,
                       std::function<void(Status)> callback);

/// Makes a filesystem if the device is blank: no signature known to blkid, and first MiB and last 64 KiB all
/// zero. True: made; false: it holds a filesystem of this type already. kConflict: it holds something else,
/// which is named and left alone.
void make_filesystem_if_blank(EventLoop& loop, const std::string& device, const std::string& type,
                              Duration deadline, std::function<void(Result<bool>)> callback);

}  // namespace baton
