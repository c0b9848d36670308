// See file_text.h.
#include "src/os/file_text.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "src/os/owned_fd.h"

namespace baton {

namespace {

Status write_all(int fd, const std::string& path, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    ssize_t count = ::write(fd, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return fail_as(errno == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kFailed, "cannot write {}: {}", path,
                     errno_text());
    }
    done += static_cast<size_t>(count);
  }
  return {};
}

}  // namespace

Result<std::string> read_text_file(const std::string& path) {
  OwnedFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    return fail_as(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kFailed, "cannot open {}: {}", path,
                   errno_text());
  }
  std::string text;
  char buffer[16 * 1024];
  for (;;) {
    ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail("cannot read {}: {}", path, errno_text());
    if (count == 0) return text;
    text.append(buffer, static_cast<size_t>(count));
  }
}

Status write_control_file(const std::string& path, const std::string& text) {
  OwnedFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) {
    return fail_as(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kFailed, "cannot open {}: {}", path,
                   errno_text());
  }
  if (::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) return {};
  return fail("cannot write '{}' to {}: {}", text, path, errno_text());
}

Status replace_text_file(const std::string& path, const std::string& text, mode_t mode) {
  const std::string temporary = path + ".new";
  ::unlink(temporary.c_str());
  OwnedFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file) return fail("cannot create {}: {}", temporary, errno_text());
  auto written = write_all(file.get(), temporary, text);
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  if (::rename(temporary.c_str(), path.c_str()) == 0) return {};
  return fail("cannot rename {} to {}: {}", temporary, path, errno_text());
}

Status make_directories(const std::string& path, mode_t mode) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      return fail("cannot create directory {}: {}", part, errno_text());
    }
    if (slash == std::string::npos) return {};
  }
}

}  // namespace baton
