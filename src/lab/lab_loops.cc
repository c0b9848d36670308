// A server's loop devices; see lab_loops.h. One thread.
#include "src/lab/lab_loops.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "src/lab/lab_state.h"
#include "src/lab/lab_wait.h"

namespace baton::lab {
namespace fs = std::filesystem;
namespace {

std::string backing_file(unsigned loop) {
  auto text = read_file(fmt::format("/sys/block/loop{}/loop/backing_file", loop));
  if (!text) return "";
  auto path = *text;
  while (!path.empty() && path.back() == '\n') path.pop_back();
  return path;
}

bool in_use(unsigned loop) { return access(fmt::format("/sys/block/loop{}/loop", loop).c_str(), F_OK) == 0; }

void add_open_loops(pid_t pid, std::set<unsigned>& loops) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(fmt::format("/proc/{}/fd", pid), error)) {
    char target[64] = "";
    unsigned loop = 0;
    if (readlink(entry.path().c_str(), target, sizeof target - 1) <= 0) continue;
    if (sscanf(target, "/dev/loop%u", &loop) == 1) loops.insert(loop);
  }
}

// Runs one loop ioctl in a child, because it may hang on the backing file. The result is an errno, 0 for
// success, or ETIMEDOUT.
int loop_ioctl(unsigned loop, unsigned long request) {
  pid_t child = fork();
  if (child < 0) return errno;
  if (child == 0) {
    int descriptor = open(fmt::format("/dev/loop{}", loop).c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) _exit(errno);
    loop_info64 info{};
    int result = request == LOOP_CLR_FD ? ioctl(descriptor, LOOP_CLR_FD, 0) : ioctl(descriptor, request, &info);
    _exit(result == 0 ? 0 : errno);
  }
  int status = 0;
  auto waited = wait_until("a loop device", 500ms, [&] { return waitpid(child, &status, WNOHANG) == child; });
  if (!waited) {
    kill(child, SIGKILL);  // ends as soon as the kernel lets it
    waitpid(child, &status, WNOHANG);
    return ETIMEDOUT;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

}  // namespace

std::vector<unsigned> loops_in_use() {
  std::vector<unsigned> loops;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/sys/block", error)) {
    unsigned loop = 0;
    if (sscanf(entry.path().filename().c_str(), "loop%u", &loop) == 1 && in_use(loop)) loops.push_back(loop);
  }
  return loops;
}

std::set<unsigned> loops_of(const std::set<pid_t>& processes, const OwnMounts& mounts,
                            const std::vector<std::string>& directories) {
  std::set<unsigned> touched = mounts.loops;
  for (pid_t pid : processes) add_open_loops(pid, touched);
  std::set<unsigned> loops;
  for (unsigned loop : loops_in_use()) {
    auto file = backing_file(loop);
    bool below = false;
    for (const auto& directory : directories)
      below |= file.compare(0, directory.size() + 1, directory + "/") == 0;
    if (below || touched.count(loop)) loops.insert(loop);
  }
  return loops;
}

std::set<unsigned> dead_loops() {
  std::set<unsigned> loops;
  for (unsigned loop : loops_in_use()) {
    int result = loop_ioctl(loop, LOOP_GET_STATUS64);
    if (result == ENOTCONN || result == ECONNABORTED) loops.insert(loop);
  }
  return loops;
}

Status reclaim_loops(const std::set<unsigned>& loops, Duration grace) {
  auto all_free = [&] {
    for (unsigned loop : loops) {
      if (in_use(loop)) return false;
    }
    return true;
  };
  for (unsigned loop : loops) {
    // One that does not clear itself: detached now, or at its last unmount, which may be on its way.
    auto clears = read_file(fmt::format("/sys/block/loop{}/loop/autoclear", loop));
    if (clears && clears->front() == '0') (void)loop_ioctl(loop, LOOP_CLR_FD);
  }
  if (wait_until("loop devices to clear", grace, all_free)) return {};
  for (unsigned loop : loops) {
    if (in_use(loop)) (void)loop_ioctl(loop, LOOP_CLR_FD);
  }
  std::string left;
  if (wait_until("loop devices to clear", 3s, all_free)) return {};
  for (unsigned loop : loops) {
    if (in_use(loop)) left += fmt::format(" /dev/loop{} ({})", loop, backing_file(loop));
  }
  return fail_as(ErrorCode::kTimeout, "loop devices that a powered-off server used are still in use:{}", left);
}

}  // namespace baton::lab
