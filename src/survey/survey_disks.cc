// The disks under the database and the stores: room, and whether a flush takes as long as one must. A disk that lies cannot be
// found out for sure but by cutting its power: what is implausible can.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include <fmt/format.h>

#include "src/model/configuration_toml.h"
#include "src/survey/preflight.h"

namespace baton::survey {
namespace {

namespace fs = std::filesystem;

constexpr int kFlushes = 15;
constexpr double kRotationMs = 2.0;    // half a turn at 15,000 rpm
constexpr double kFastestMs = 0.015;   // below that no device can have been asked
constexpr double kSlowMs = 50;
constexpr uint64_t kDatabaseRoom = 256ull << 20;

std::string word_in(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The nearest directory above that exists.
std::string existing_directory(std::string path) {
  std::error_code error;
  while (!fs::is_directory(path, error) && path.size() > 1) path = fs::path(path).parent_path().string();
  return path;
}

std::string filesystem_name(const std::string& path) {
  struct statfs facts{};
  if (statfs(path.c_str(), &facts) != 0) return "";
  switch (static_cast<uint32_t>(facts.f_type)) {
    case 0xEF53: return "ext4";
    case 0x58465342: return "xfs";
    case 0x9123683E: return "btrfs";
    case 0x01021994: return "tmpfs";
    case 0x858458F6: return "ramfs";
    case 0x794C7630: return "overlay";
    case 0x6969: return "nfs";
    case 0x65735546: return "fuse";
    case 0x2FC12FC1: return "zfs";
    default: return "";
  }
}

/// Below mappings and RAID stands a disk: the first of several.
fs::path lowest_device(fs::path device) {
  std::error_code error;
  for (int depth = 0; depth < 8; ++depth) {
    fs::path slave;
    for (const auto& entry : fs::directory_iterator(device / "slaves", error)) {
      slave = entry.path();
      break;
    }
    if (slave.empty()) break;
    device = fs::canonical(slave, error);
  }
  if (fs::exists(device / "partition", error)) device = device.parent_path();
  return device;
}

void read_device(const std::string& path, DiskFacts& facts) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return;
  const dev_t number = S_ISBLK(status.st_mode) ? status.st_rdev : status.st_dev;
  std::error_code error;
  const fs::path link = fmt::format("/sys/dev/block/{}:{}", major(number), minor(number));
  if (!fs::exists(link, error)) return;
  const fs::path device = lowest_device(fs::canonical(link, error));
  facts.device = device.filename().string();
  facts.rotational = word_in(device / "queue/rotational") == "1";
  facts.write_through = word_in(device / "queue/write_cache") == "write through";
  const std::string model = word_in(device / "device/model") + word_in(device / "device/vendor");
  facts.virtual_disk = facts.device.starts_with("vd") || facts.device.starts_with("xvd") ||
                       model.find("QEMU") != std::string::npos || model.find("VMware") != std::string::npos ||
                       model.find("Virtual") != std::string::npos || model.find("VBOX") != std::string::npos;
}

/// The median of appending a block and flushing it; 0 when it cannot be done.
double measure_flush(const std::string& directory, std::string& why) {
  std::string path = directory + "/.baton-preflight-XXXXXX";
  const int fd = mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) {
    why = strerror(errno);
    return 0;
  }
  unlink(path.c_str());
  const std::string block(4096, 'b');
  std::vector<double> times;
  for (int turn = 0; turn < kFlushes; ++turn) {
    const auto begin = std::chrono::steady_clock::now();
    if (write(fd, block.data(), block.size()) != static_cast<ssize_t>(block.size()) || fdatasync(fd) != 0) {
      why = strerror(errno);
      break;
    }
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  close(fd);
  if (times.size() < kFlushes) return 0;
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void check_flush(const std::string& path, Findings& findings) {
  DiskFacts facts{.path = path};
  const bool device = fs::is_block_file(path);
  const std::string directory = existing_directory(path);
  if (!device) facts.filesystem = filesystem_name(directory);
  read_device(device ? path : directory, facts);
  std::string why = "a device is not written to for a test";
  if (!device) facts.flush_ms = measure_flush(directory, why);
  Finding finding = judge_disk(facts);
  if (facts.flush_ms == 0 && finding.verdict == Verdict::kUnknown) finding.text += ": " + why;
  findings.push_back(std::move(finding));
}

void check_room(const std::string& subject, const std::string& path, uint64_t needed, Findings& findings) {
  Finding finding{.check = "space", .subject = subject};
  struct statvfs room{};
  if (statvfs(existing_directory(path).c_str(), &room) != 0) {
    findings.push_back({"space", subject, Verdict::kUnknown, strerror(errno), ""});
    return;
  }
  const uint64_t free = static_cast<uint64_t>(room.f_bavail) * room.f_frsize;
  finding.text = fmt::format("{} MiB free, {} MiB needed", free >> 20, needed >> 20);
  if (free < needed) {
    finding.verdict = Verdict::kProblem;
    finding.remedy = "make room, or choose another place";
  }
  findings.push_back(std::move(finding));
}

/// Of a store that is a file: what it has not yet taken of its size.
uint64_t still_needed(const MirrorConfiguration& mirror) {
  struct stat status{};
  if (stat(mirror.store.c_str(), &status) != 0) return mirror.size_bytes;
  const uint64_t taken = static_cast<uint64_t>(status.st_blocks) * 512;
  return mirror.size_bytes > taken ? mirror.size_bytes - taken : 0;
}

}  // namespace

Finding judge_disk(const DiskFacts& facts) {
  Finding finding{.check = "disk", .subject = facts.path};
  const std::string where = facts.device.empty() ? facts.filesystem : facts.device;
  if (facts.filesystem == "tmpfs" || facts.filesystem == "ramfs") {
    finding.verdict = Verdict::kProblem;
    finding.text = facts.filesystem + ": everything there is lost with the power";
    finding.remedy = "put it on a disk";
  } else if (facts.filesystem == "nfs") {
    finding.verdict = Verdict::kWarning;
    finding.text = "on NFS: when that server is lost, this one is, too";
    finding.remedy = "put it on a disk of this server";
  } else if (facts.flush_ms == 0) {
    finding.verdict = Verdict::kUnknown;
    finding.text = "not measured";
  } else if (facts.flush_ms < kFastestMs || (facts.rotational && !facts.virtual_disk && facts.flush_ms < kRotationMs)) {
    finding.verdict = Verdict::kWarning;
    finding.text = fmt::format("a write with flush takes {:.3f} ms on {}{}: too fast to be true, unless its controller has a "
                               "battery", facts.flush_ms, where, facts.rotational ? ", a rotating disk" : "");
    finding.remedy = "cut its power under load and compare what was acknowledged with what is left; switch volatile caches off (hdparm "
                     "-W0), and eatmydata or mount options like nobarrier";
  } else if (facts.virtual_disk && facts.write_through) {
    finding.verdict = Verdict::kWarning;
    finding.text = fmt::format("{:.2f} ms for a write with flush; the hypervisor says that {} needs no flush: true only if its "
                               "cache mode is writethrough or directsync", facts.flush_ms, where);
    finding.remedy = "look at the cache mode of that disk at the hypervisor; with \"unsafe\" acknowledged data is lost";
  } else if (facts.flush_ms > kSlowMs) {
    finding.verdict = Verdict::kWarning;
    finding.text = fmt::format("a write with flush takes {:.0f} ms on {}: every commit and every failover waits for some", facts.flush_ms, where);
    finding.remedy = "a faster disk for it, if failovers shall be quick";
  } else {
    finding.text = fmt::format("{:.2f} ms for a write with flush{}; a disk that lies in a plausible time cannot be told from an "
                               "honest one", facts.flush_ms, where.empty() ? "" : " on " + where);
  }
  return finding;
}

void check_disks(const PreflightOptions& options, Findings& findings) {
  std::set<std::string> places = {options.state_directory};
  check_room("database", options.state_directory, kDatabaseRoom, findings);
  for (const auto& group : options.configuration->groups) {
    if (std::find(group.servers.begin(), group.servers.end(), options.self) == group.servers.end()) continue;
    for (const auto& resource : group.resources) {
      if (resource.kind != ResourceKind::kMirror) continue;
      const bool device = fs::is_block_file(resource.mirror.store);
      if (!device)
        check_room("store " + resource.mirror.store, resource.mirror.store, still_needed(resource.mirror), findings);
      places.insert(device ? resource.mirror.store : existing_directory(resource.mirror.store));
    }
  }
  for (const auto& place : places) check_flush(place, findings);
}

}  // namespace baton::survey
