// A watchdog device by its plain interface: a byte feeds it, "V" before the close switches it off. One thread.
#include "src/guard/watchdog.h"

#include <fcntl.h>

namespace baton::guard {

Result<Watchdog> Watchdog::open(const std::string& path) {
  OwnedFd device(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  if (!device)
    return fail("cannot open the watchdog {}: {}. Load its driver (softdog is one in software), or take it from whoever has it",
                path, errno_text());
  return Watchdog(std::move(device));
}

Status Watchdog::feed() {
  if (!device_ || ::write(device_.get(), "+", 1) == 1) return {};
  return fail("the watchdog cannot be fed: {}", errno_text());
}

void Watchdog::close_in_order() {
  if (device_) (void)!::write(device_.get(), "V", 1);
  device_.close();
}

}  // namespace baton::guard
