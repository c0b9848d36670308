// Unix socket files. The caller's thread.
#include "src/daemon/http_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace baton {
namespace {

constexpr int kBacklog = 64;

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail_as(ErrorCode::kInvalid, "socket path {} has {} characters: at most {} are possible; choose a shorter directory",
                   path, path.size(), sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

/// Whether the path may be taken: nothing there, or a socket without a listener.
Status check_free(const std::string& path, const sockaddr_un& address) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return {};
  if (!S_ISSOCK(found.st_mode)) return fail("{} is in the way: it is no socket; remove it", path);
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return fail("cannot make a socket: {}", std::strerror(errno));
  const int connected = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int reason = errno;
  ::close(probe);
  // EAGAIN: somebody listens, with a full queue.
  if (connected == 0 || reason == EAGAIN)
    return fail_as(ErrorCode::kConflict, "{} answers already: another batond runs on this server", path);
  return {};
}

Status bind_and_listen(int fd, const std::string& path, const sockaddr_un& address) {
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail("cannot create socket {}: {}", path, std::strerror(errno));
  if (::chmod(path.c_str(), 0600) != 0) return fail("cannot set the mode of {}: {}", path, std::strerror(errno));
  if (::listen(fd, kBacklog) != 0) return fail("cannot listen on {}: {}", path, std::strerror(errno));
  return {};
}

}  // namespace

Result<HttpListener> open_http_listener(const std::string& path) {
  // Bound beside its place and moved there when it listens with the right mode: no client meets anything in between.
  const std::string made = path + ".new";
  const auto address = address_of(path);
  if (!address) return pass(address);
  const auto made_address = address_of(made);
  if (!made_address) return pass(made_address);
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::absolute(path).parent_path(), failed);
  if (auto free = check_free(path, *address); !free) return pass(free);
  ::unlink(made.c_str());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail("cannot make a socket: {}", std::strerror(errno));
  auto listening = bind_and_listen(fd, made, *made_address);
  if (listening && ::rename(made.c_str(), path.c_str()) != 0)
    listening = fail("cannot move {} to {}: {}", made, path, std::strerror(errno));
  struct stat created {};
  if (listening && ::lstat(path.c_str(), &created) != 0)
    listening = fail("cannot look at {}: {}", path, std::strerror(errno));
  if (!listening) {
    ::unlink(made.c_str());
    ::close(fd);
    return pass(listening);
  }
  return HttpListener{fd, created.st_ino};
}

void remove_http_socket(const std::string& path, ino_t inode) {
  struct stat present {};
  if (::lstat(path.c_str(), &present) == 0 && present.st_ino == inode) ::unlink(path.c_str());
}

}  // namespace baton
