// What the kernel and the installation must offer: names, memory locks, real-time, FUSE, ublk, NBD, nftables, cgroup v2.
#include <linux/netlink.h>
#include <netdb.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "src/survey/preflight.h"

namespace baton::survey {
namespace {

namespace fs = std::filesystem;

constexpr rlim_t kLockedMemory = 256ull << 20;

bool exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool in_path(const std::string& program) {
  for (const char* directory : {"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/", "/usr/local/sbin/", "/usr/local/bin/"})
    if (access((directory + program).c_str(), X_OK) == 0) return true;
  return false;
}

Finding need(const std::string& subject, bool there, const std::string& text, Verdict otherwise, const std::string& missing,
             const std::string& remedy) {
  if (there) return {"kernel", subject, Verdict::kOk, text, ""};
  return {"kernel", subject, otherwise, missing, remedy};
}

void check_programs(Findings& findings) {
  for (const auto& [program, package] : std::vector<std::pair<const char*, const char*>>{
           {"corosync", "corosync"}, {"mkfs.ext4", "e2fsprogs"}, {"fsck", "util-linux"}})
    findings.push_back(need(program, in_path(program), "installed", Verdict::kProblem, "not installed",
                            fmt::format("apt-get install {}", package)));
}

void check_exports(Findings& findings) {
  const bool fuse = exists("/dev/fuse") && exists("/dev/loop-control");
  const bool ublk = exists("/dev/ublk-control");
  const bool nbd = exists("/dev/nbd0");
  findings.push_back(need("FUSE and loop devices", fuse, "there: mirrors can be exported", ublk || nbd ? Verdict::kWarning : Verdict::kProblem,
                          "/dev/fuse or /dev/loop-control is missing", "modprobe fuse loop"));
  findings.push_back({"kernel", "ublk", Verdict::kOk,
                      ublk ? "there: mirrors are exported by it" : "not there: another export is taken, which is slower", ""});
  findings.push_back({"kernel", "NBD", Verdict::kOk, nbd ? "there" : "not there: not needed", ""});
}

void check_nftables(Findings& findings) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  const bool there = fd >= 0;
  if (fd >= 0) close(fd);
  findings.push_back(need("nftables", there && in_path("nft"), "there", Verdict::kWarning,
                          there ? "the kernel has it, but the program nft is missing" : "the kernel has none",
                          there ? "apt-get install nftables" : "a kernel with nf_tables: without it the address gate does not work"));
}

void check_control_groups(Findings& findings) {
  bool version_2 = false;
  std::ifstream mounts("/proc/mounts");
  for (std::string line; std::getline(mounts, line);) version_2 = version_2 || line.find(" cgroup2 ") != std::string::npos;
  findings.push_back(need("cgroup v2", version_2, "mounted", Verdict::kProblem, "not mounted: services could not be ended for sure",
                          "mount -t cgroup2 none /sys/fs/cgroup (systemd does it by itself)"));
}

void check_memory_lock(Findings& findings) {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  const bool enough = limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= kLockedMemory || geteuid() == 0;
  findings.push_back(need("memory locks", enough,
                          geteuid() == 0 ? "root may raise the limit" : "the limit is high enough", Verdict::kWarning,
                          fmt::format("at most {} KiB may be locked: corosync could be paged out", limit.rlim_max >> 10),
                          "LimitMEMLOCK=infinity in the unit of batond"));
}

/// In another process's place, so that this one stays as it is.
void check_real_time(Findings& findings) {
  const int policy = sched_getscheduler(0);
  sched_param before{};
  sched_getparam(0, &before);
  sched_param wanted{};
  wanted.sched_priority = 1;
  const bool possible = sched_setscheduler(0, SCHED_RR, &wanted) == 0;
  const int error = errno;
  if (possible) sched_setscheduler(0, policy, &before);
  findings.push_back(need("real-time priority", possible, "allowed", Verdict::kWarning,
                          fmt::format("not allowed here ({}): a busy machine delays the renewal of the lease", strerror(error)),
                          "run batond outside of a CPU-limited cgroup (RT_GROUP_SCHED), or with CAP_SYS_NICE"));
}

void check_names(const PreflightOptions& options, Findings& findings) {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  const auto* server = options.configuration->server(options.self);
  const std::string short_name = std::string(host).substr(0, std::string(host).find('.'));
  if (strcasecmp(short_name.c_str(), server->name.c_str()) != 0)
    findings.push_back({"names", host, Verdict::kOk,
                        fmt::format("this machine is called {}, the server {}: no harm, but easily mixed up", host, server->name), ""});
  for (const auto& other : options.configuration->servers) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_family = AF_INET;
    if (getaddrinfo(other.name.c_str(), nullptr, &hints, &found) != 0 || found == nullptr) continue;
    char text[INET_ADDRSTRLEN] = {};
    inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_addr, text, sizeof text);
    freeaddrinfo(found);
    const auto floating = [&] {
      for (const auto& group : options.configuration->groups)
        for (const auto& resource : group.resources)
          if (resource.kind == ResourceKind::kAddress && resource.address.address == text) return true;
      return false;
    }();
    if (floating)
      findings.push_back({"names", other.name, Verdict::kProblem,
                          fmt::format("the name {} resolves to the floating address {}", other.name, text),
                          "give the server's name an address of its own in DNS or /etc/hosts"});
  }
}

}  // namespace

void check_kernel(const PreflightOptions& options, Findings& findings) {
  check_names(options, findings);
  check_programs(findings);
  check_control_groups(findings);
  check_memory_lock(findings);
  check_real_time(findings);
  check_nftables(findings);
  if (options.configuration->server(options.self)->role == ServerRole::kServer) check_exports(findings);
}

Findings run_preflight(const PreflightOptions& options) {
  Findings findings;
  check_addresses(options, findings);
  check_ports(options, findings);
  check_peers(options, findings);
  check_floating(options, findings);
  check_foreign(options, findings);
  check_disks(options, findings);
  check_np_disk(options, findings);
  check_np_ping(options, findings);
  check_kernel(options, findings);
  return findings;
}

}  // namespace baton::survey
