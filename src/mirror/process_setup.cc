// Memory pressure may write pages back to the very disk that we serve: we must never wait for that. So what the data
// path touches is present and locked from the start; the rest (most of the libraries) is locked when it is first touched.
#include "src/mirror/process_setup.h"

#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include "src/os/owned_fd.h"

namespace baton::mirror {
namespace {

constexpr int kPriority = -15;
constexpr size_t kPage = 4096;
constexpr size_t kStackBytes = 256u << 10;
constexpr int kHeapBytes = 512 << 10;
/// Whose code the data path runs through, besides the program's own.
constexpr const char* kHotLibraries[] = {"/libc.so", "/libc-", "/liburing", "/libxxhash", "/libisal"};

/// Faults in the code (not the data) of the program and of the libraries of the data path.
void touch_code() {
  char program[512];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program);
  const std::string own(program, length > 0 ? static_cast<size_t>(length) : 0);
  std::ifstream table("/proc/self/maps");
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string addresses, rights, offset, device, inode, path;
    fields >> addresses >> rights >> offset >> device >> inode >> path;
    bool hot = !own.empty() && path == own;
    for (const char* library : kHotLibraries) hot = hot || path.find(library) != std::string::npos;
    if (!hot || rights != "r-xp") continue;
    uintptr_t from = 0, to = 0;
    if (sscanf(addresses.c_str(), "%lx-%lx", &from, &to) != 2) continue;
    for (; from < to; from += page) static_cast<void>(*reinterpret_cast<const volatile char*>(from));
  }
}

/// Faults in the stack that the loop will need. Not inlined: it must give it back.
[[gnu::noinline]] void touch_stack() {
  volatile char room[kStackBytes];
  for (size_t i = 0; i < sizeof room; i += 4096) room[i] = 0;
}

/// A heap that small allocations find ready; it is never given back.
void touch_heap() {
  mallopt(M_MMAP_THRESHOLD, 2 * kHeapBytes);
  auto* room = static_cast<volatile char*>(malloc(kHeapBytes));
  for (int i = 0; room != nullptr && i < kHeapBytes; i += 4096) room[i] = 0;
  free(const_cast<char*>(room));
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
}

/// Locks what is present now and whatever is touched later.
bool lock_memory() {
#ifdef MCL_ONFAULT
  if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0) return true;
#endif
  return mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
}

void make_writable(uint8_t* memory, size_t bytes) {
#ifdef MADV_POPULATE_WRITE
  if (madvise(memory, bytes, MADV_POPULATE_WRITE) == 0) return;
#endif
  // A kernel before 5.14. Atomic: the kernel may be receiving into it.
  for (size_t at = 0; at < bytes; at += kPage) __atomic_fetch_or(memory + at, uint8_t{0}, __ATOMIC_RELAXED);
}

/// The present pages of one mapping.
void own_mapping_alone(uint8_t* memory, size_t bytes) {
  std::vector<unsigned char> pages(bytes / kPage);
  if (mincore(memory, bytes, pages.data()) != 0) return;
  for (size_t first = 0, end = 0; first < pages.size(); first = end + 1) {
    for (end = first; end < pages.size() && (pages[end] & 1) != 0; ++end) {
    }
    if (end > first) make_writable(memory + first * kPage, (end - first) * kPage);
  }
}

}  // namespace

void own_memory_alone() {
  std::ifstream table("/proc/self/maps");
  std::vector<std::pair<uintptr_t, uintptr_t>> writable;
  for (std::string line; std::getline(table, line);) {
    uintptr_t from = 0, to = 0;
    char rights[5] = "";
    if (sscanf(line.c_str(), "%lx-%lx %4s", &from, &to, rights) != 3) continue;
    if (std::string_view(rights) == "rw-p") writable.emplace_back(from, to);
  }
  for (const auto& [from, to] : writable) own_mapping_alone(reinterpret_cast<uint8_t*>(from), to - from);
}

/// A mount namespace without the filesystems that stand on mirrors. As the last process of one that has them, this one
/// would have to unmount at its end, and so wait for a disk that it no longer serves, for ever.
std::string leave_users_of_mirrors(const std::vector<std::string>& kept) {
  if (unshare(CLONE_NEWNS) != 0) return "a mount namespace of its own: " + errno_text();
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "private mounts: " + errno_text();
  std::ifstream table("/proc/self/mountinfo");
  std::vector<std::string> on_loop_devices;
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string number, parent, device, root, mount_point;
    fields >> number >> parent >> device >> root >> mount_point;
    const bool needed = std::any_of(kept.begin(), kept.end(), [&](const std::string& path) {
      return path.starts_with(mount_point + "/");
    });
    if (device.starts_with("7:") && !needed) on_loop_devices.push_back(mount_point);
  }
  for (auto at = on_loop_devices.rbegin(); at != on_loop_devices.rend(); ++at) umount2(at->c_str(), MNT_DETACH);
  return "";
}

std::vector<std::string> set_up_process(const std::vector<std::string>& kept) {
  std::vector<std::string> missing;
  if (std::string wrong = leave_users_of_mirrors(kept); !wrong.empty()) missing.push_back(std::move(wrong));
  setsid();  // refused when batond made the session already
  // A disk's driver in all but name: every commit of a database waits for it, batch work should not.
  if (setpriority(PRIO_PROCESS, 0, kPriority) != 0) missing.push_back("a higher priority: " + errno_text());
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  rlimit files{4096, 4096};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) missing.push_back("descriptors: " + errno_text());
  if (!(std::ofstream("/proc/self/oom_score_adj") << "-1000" << std::flush)) {
    missing.push_back("protection from the out-of-memory killer");
  }
#ifdef PR_SET_IO_FLUSHER
  if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0) missing.push_back("PR_SET_IO_FLUSHER: " + errno_text());
#endif
  if (!lock_memory()) missing.push_back("locked memory: " + errno_text());
  touch_code();
  touch_stack();
  touch_heap();
  return missing;
}

}  // namespace baton::mirror
