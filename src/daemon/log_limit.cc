// See log_limit.h.
#include "src/daemon/log_limit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "src/os/owned_fd.h"

namespace baton {

namespace {

bool is_log_of_others(const std::string& name) {
  return name.ends_with(".log") && (name.starts_with("service-") || name.starts_with("script-") || name.starts_with("program-"));
}

/// They write with O_APPEND: after the cut they go on at the file's begin.
void cut(const std::string& path, uint64_t size, uint64_t kept) {
  const OwnedFd log(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!log || ::fstat(log.get(), &status) != 0 || !S_ISREG(status.st_mode)) return;
  std::string tail(std::min(size, kept), '\0');
  const ssize_t read = ::pread(log.get(), tail.data(), tail.size(), static_cast<off_t>(size - tail.size()));
  const std::string beside = path + ".1";
  ::unlink(beside.c_str());
  const OwnedFd old(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
  // A disk that is full is a reason more to cut it.
  if (old && read > 0) (void)(::write(old.get(), tail.data(), static_cast<size_t>(read)) == read);
  (void)(::ftruncate(log.get(), 0) == 0);
}

}  // namespace

void cut_long_logs(const std::string& directory, const LogLimits& limits) {
  std::error_code failed;
  for (auto entry = std::filesystem::directory_iterator(directory, failed); !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    std::error_code gone;
    const uint64_t size = entry->is_regular_file(gone) && !entry->is_symlink(gone) ? entry->file_size(gone) : 0;
    if (!gone && size > limits.bytes && is_log_of_others(entry->path().filename())) cut(entry->path(), size, limits.kept);
  }
}

LogLimit::LogLimit(EventLoop& loop, std::string directory, LogLimits limits)
    : loop_(loop), directory_(std::move(directory)), limits_(limits), door_(loop) {
  timer_ = loop_.after(limits_.interval, [this] { look(); });
}

LogLimit::~LogLimit() { door_.close(); }

/// The next look follows the end of this one: a disk that hangs is not asked again and again.
void LogLimit::look() {
  worker_.run([this, door = door_, directory = directory_, limits = limits_] {
    cut_long_logs(directory, limits);
    door.post([this] { timer_ = loop_.after(limits_.interval, [this] { look(); }); });
  });
}

}  // namespace baton
