// See durable_file.h.
#include "src/cli/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace baton::cli {

Status write_durably(const std::string& path, const std::string& text, mode_t mode) {
  std::string draft = path + ".new";
  int fd = open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return fail("cannot write {}: {}", draft, strerror(errno));
  bool good = fchmod(fd, mode) == 0 &&
              write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  int error_number = errno;
  close(fd);
  if (good && rename(draft.c_str(), path.c_str()) == 0) {
    int directory = open(std::filesystem::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
      fsync(directory);
      close(directory);
    }
    return {};
  }
  if (good) error_number = errno;
  unlink(draft.c_str());
  return fail("cannot write {}: {}", path, strerror(error_number));
}

}  // namespace baton::cli
