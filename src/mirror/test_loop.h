// For tests: a loop device over a sparse file. It goes with its last user, also when the test is killed.
#pragma once

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <string>

#include "src/os/owned_fd.h"

namespace baton::mirror {

/// Its path; empty: there are no loop devices here. `holder` keeps it.
inline std::string make_loop_device(const std::string& file, uint64_t bytes, OwnedFd* holder) {
  OwnedFd backing(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!backing || ftruncate(backing.get(), static_cast<off_t>(bytes)) != 0) return "";
  OwnedFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) return "";
  for (int attempt = 0; attempt < 20; ++attempt) {
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return "";
    const std::string path = "/dev/loop" + std::to_string(number);
    OwnedFd device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    loop_config configuration{};
    configuration.fd = static_cast<uint32_t>(backing.get());
    configuration.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (device && ioctl(device.get(), LOOP_CONFIGURE, &configuration) == 0) {
      *holder = std::move(device);
      return path;
    }
  }
  return "";
}

}  // namespace baton::mirror
