// Waiting with a deadline; see lab_wait.h. One thread.
#include "src/lab/lab_wait.h"

#include <poll.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace baton::lab {

int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

Status wait_until(const std::string& what, Duration limit, const std::function<bool()>& done) {
  int64_t deadline = monotonic_ns() + limit.count();
  int64_t pause = 200'000;
  while (!done()) {
    if (monotonic_ns() >= deadline) {
      return fail_as(ErrorCode::kTimeout, "waited {} ms for {}: in vain", to_ms(limit), what);
    }
    timespec request{0, long(pause)};
    nanosleep(&request, nullptr);
    pause = std::min<int64_t>(pause * 2, 10'000'000);
  }
  return {};
}

Status wait_readable(const std::string& what, Duration limit, int descriptor) {
  int64_t deadline = monotonic_ns() + limit.count();
  while (true) {
    int64_t left = deadline - monotonic_ns();
    if (left <= 0) return fail_as(ErrorCode::kTimeout, "waited {} ms for {}: in vain", to_ms(limit), what);
    pollfd entry{descriptor, POLLIN, 0};
    int count = poll(&entry, 1, int(left / 1'000'000) + 1);
    if (count > 0) return {};
    if (count < 0 && errno != EINTR) return fail("poll failed while waiting for {}: {}", what, strerror(errno));
  }
}

}  // namespace baton::lab
