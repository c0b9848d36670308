// See durable.h.
#include "src/daemon/durable.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace baton {

Status make_durable(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail("cannot open {}: {}", path, std::strerror(errno));
  const bool synced = ::fsync(fd) == 0;
  const int reason = errno;
  ::close(fd);
  if (!synced) return fail("cannot make {} durable: {}", path, std::strerror(reason));
  return {};
}

}  // namespace baton
