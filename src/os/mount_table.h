// What is mounted where, from /proc/self/mountinfo: never touches the mounted filesystems, so it cannot hang.
// Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace baton {

struct MountEntry {
  std::string mount_point;
  std::string root;    // which directory of the filesystem is mounted
  std::string type;    // "ext4"
  std::string source;  // "/dev/loop0"
  std::string options;
  std::string device;  // "7:0", as in /proc/PID/maps but decimal
};

/// The mounts of this process's namespace, in mount order: of two on one mount point the later covers the
/// earlier.
Result<std::vector<MountEntry>> read_mount_table();
/// The same from the text of a mountinfo file.
std::vector<MountEntry> parse_mount_table(std::string_view text);

/// What is mounted on exactly this directory (the uppermost mount), if anything.
Result<std::optional<MountEntry>> find_mount(const std::string& mount_point);
/// Whether something is mounted there, and from which source.
Result<std::optional<std::string>> mounted_device(const std::string& mount_point);
/// Where this device is mounted, by its number, so that other names of it count too.
Result<std::vector<MountEntry>> mounts_of_device(const std::string& device_path);

/// Without trailing or doubled slashes: "/data//x/" becomes "/data/x".
std::string tidy_path(std::string_view path);

}  // namespace baton
