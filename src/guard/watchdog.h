// Watchdog: the port to a watchdog device, which resets the machine unless it is fed. Any writable stream stands in
// for it in tests. One thread: the loop's. docs/operations.md, "Watchdog".
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/os/owned_fd.h"

namespace baton::guard {

class Watchdog {
 public:
  /// Opens the device: from then on it must be fed. Errors: it is missing, or somebody else has it.
  static Result<Watchdog> open(const std::string& path);
  Watchdog() = default;

  bool is_open() const { return static_cast<bool>(device_); }
  /// Error: the device refuses.
  Status feed();
  /// The magic close: nothing is to be watched any more. Without it (a guard that was killed) the device goes on, and
  /// the next guard must feed it in time.
  void close_in_order();

 private:
  explicit Watchdog(OwnedFd device) : device_(std::move(device)) {}
  OwnedFd device_;
};

}  // namespace baton::guard
