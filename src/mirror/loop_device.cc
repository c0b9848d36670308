// Loop devices are host-wide: between asking for a free one and taking it another process may be quicker.
#include "src/mirror/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

namespace baton::mirror {
namespace {

namespace fs = std::filesystem;
constexpr int kTries = 50;

std::string loop_name(int number) { return "loop" + std::to_string(number); }

loop_config configuration_for(int file, const std::string& tag, bool read_only) {
  loop_config configuration{};
  configuration.fd = static_cast<uint32_t>(file);
  configuration.block_size = 4096;
  configuration.info.lo_flags = LO_FLAGS_DIRECT_IO | LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0);
  tag.copy(reinterpret_cast<char*>(configuration.info.lo_file_name), LO_NAME_SIZE - 1);
  return configuration;
}

/// Mount points of the device in one process's view.
void add_mounts(const std::string& mountinfo, const std::string& device, std::set<std::string>& found) {
  std::ifstream file(mountinfo);
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string id, parent, numbers, root, point;
    if (fields >> id >> parent >> numbers >> root >> point && numbers == device)
      found.insert("mounted at " + point);
  }
}

void add_openers(const fs::path& process, const std::string& path, std::set<std::string>& found) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(process / "fd", ignored)) {
    if (fs::read_symlink(entry.path(), ignored) != path) continue;
    std::string name;
    std::getline(std::ifstream(process / "comm"), name);
    found.insert("process " + process.filename().string() + " (" + name + ")");
    return;
  }
}

}  // namespace

std::string loop_path(int number) { return "/dev/" + loop_name(number); }

Result<OwnedFd> open_device_node(const std::string& name, int flags) {
  const std::string path = "/dev/" + name;
  OwnedFd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (fd || errno != ENOENT) {
    if (!fd) return fail("cannot open {}: {}", path, errno_text());
    return fd;
  }
  unsigned major_number = 0;
  unsigned minor_number = 0;
  char colon = 0;
  if (!(std::ifstream("/sys/block/" + name + "/dev") >> major_number >> colon >> minor_number)) {
    return fail("there is no block device {}", name);
  }
  if (mknod(path.c_str(), S_IFBLK | 0600, makedev(major_number, minor_number)) != 0 && errno != EEXIST) {
    return fail("cannot make {}: {}", path, errno_text());
  }
  fd = OwnedFd(::open(path.c_str(), flags | O_CLOEXEC));
  if (!fd) return fail("cannot open {}: {}", path, errno_text());
  return fd;
}

Result<LoopDevice> attach_loop(int file, const std::string& tag, bool read_only) {
  OwnedFd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control)
    return fail("cannot open /dev/loop-control: {}. The kernel needs its loop driver", errno_text());
  int error = EBUSY;
  for (int tries = 0; tries < kTries && error == EBUSY; ++tries) {
    LoopDevice loop;
    loop.number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (loop.number < 0) return fail("there is no free loop device: {}", errno_text());
    auto fd = open_device_node(loop_name(loop.number), O_RDWR);
    if (!fd) return pass(fd);
    const loop_config configuration = configuration_for(file, tag, read_only);
    if (ioctl(fd->get(), LOOP_CONFIGURE, &configuration) == 0) {
      loop.fd = std::move(*fd);
      return loop;
    }
    error = errno;
  }
  return fail("cannot set up a loop device: {}", errno_text(error));
}

Status detach_loop(int number, int fd, Duration limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  bool asked = false;
  while (true) {
    // Claimed by a mount or another holder; a passing look (udev, blkid) goes away by itself.
    OwnedFd exclusive(::open(loop_path(number).c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
    const bool claimed = !exclusive && errno == EBUSY;
    exclusive.close();
    if (!claimed) {
      if (fsync(fd) != 0) return fail("cannot write out {}: {}", loop_path(number), errno_text());
      if (ioctl(fd, LOOP_CLR_FD) != 0 && errno != ENXIO) {
        return fail("cannot detach {}: {}", loop_path(number), errno_text());
      }
      asked = true;
    }
    // A device that is only ours answers no longer: it goes when its last descriptor is closed.
    loop_info64 information{};
    if (asked && ioctl(fd, LOOP_GET_STATUS64, &information) != 0 && errno == ENXIO) return {};
    if (std::chrono::steady_clock::now() >= deadline) {
      const std::string users = device_users(loop_name(number));
      return fail_as(ErrorCode::kConflict, "{} is still in use{}{}: end that, then try again",
                     loop_path(number), users.empty() ? "" : ": ", users);
    }
    std::this_thread::sleep_for(20ms);
  }
}

Result<OwnedFd> claim_device(const std::string& name, Duration limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (true) {
    OwnedFd exclusive(::open(("/dev/" + name).c_str(), O_RDWR | O_EXCL | O_CLOEXEC));
    if (!exclusive && errno == EROFS)
      exclusive = OwnedFd(::open(("/dev/" + name).c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
    const int error = errno;
    if (!exclusive && error != EBUSY) return fail("cannot open /dev/{}: {}", name, errno_text(error));
    const std::string users = device_users(name);
    if (exclusive && users.empty()) {
      if (fsync(exclusive.get()) != 0) return fail("cannot write out /dev/{}: {}", name, errno_text());
      return exclusive;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return fail_as(ErrorCode::kConflict, "/dev/{} is still in use{}{}: end that, then try again", name,
                     users.empty() ? "" : ": ", users);
    }
    exclusive.close();
    std::this_thread::sleep_for(20ms);
  }
}

Status grow_loop(int number, int fd) {
  if (ioctl(fd, LOOP_SET_CAPACITY, 0) != 0)
    return fail("cannot enlarge {}: {}", loop_path(number), errno_text());
  return {};
}

void detach_loop_lazily(int fd) { ioctl(fd, LOOP_CLR_FD); }

std::string reclaim_loop(int number, const std::string& tag) {
  auto fd = open_device_node(loop_name(number), O_RDWR);
  if (!fd) return "";
  loop_info64 information{};
  if (ioctl(fd->get(), LOOP_GET_STATUS64, &information) != 0) return "";
  char name[LO_NAME_SIZE + 1] = {};
  std::memcpy(name, information.lo_file_name, LO_NAME_SIZE);
  if (tag.substr(0, LO_NAME_SIZE - 1) != name) return "";
  const std::string users = device_users(loop_name(number));
  detach_loop_lazily(fd->get());
  if (users.empty())
    return fmt::format("{}, left behind by an earlier daemon, was detached", loop_path(number));
  return fmt::format(
      "{}, left behind by an earlier daemon, gives only errors and is still in use: {}; it goes with its "
      "last user",
      loop_path(number), users);
}

std::string device_users(const std::string& block_name) {
  std::set<std::string> found;
  std::set<std::string> namespaces;
  std::string device;
  std::getline(std::ifstream("/sys/block/" + block_name + "/dev"), device);
  std::error_code ignored;
  const std::string self = std::to_string(getpid());
  const std::string parent = std::to_string(getppid());
  for (const auto& process : fs::directory_iterator("/proc", ignored)) {
    const std::string name = process.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const fs::path view = fs::read_symlink(process.path() / "ns/mnt", ignored);
    if (!view.empty() && namespaces.insert(view.string()).second)
      add_mounts(process.path() / "mountinfo", device, found);
    if (name != self && name != parent) add_openers(process.path(), "/dev/" + block_name, found);
  }
  std::string text;
  for (const std::string& user : found) text += (text.empty() ? "" : "; ") + user;
  return text;
}

}  // namespace baton::mirror
