// The lab's members, links and addresses as plain values, and the names of everything the lab makes on the
// host, so that all of it can be found again without a state file. Plain values, any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace baton::lab {

inline constexpr const char* kRunDirectory = "/run/baton-lab";          // state, control sockets, mounts
inline constexpr const char* kDisksDirectory = "/run/baton-lab/disks";  // volatile disks' mounts and sockets
inline constexpr const char* kDataDirectory = "/var/lib/baton-lab";     // the servers' own directories
inline constexpr const char* kSwitchName = "switch";                    // the cgroup of the switches' holder
inline constexpr int kMaximumServers = 16;

enum class Role { kServer, kWitness, kClient };

/// What a person or a test did to a link. kCut: no carrier; kSilent: frames vanish, the carrier stays.
enum class LinkFault { kNone, kCut, kSilent };

/// One network interface of a member and the switch it is plugged into.
struct Link {
  int number = 0;         // 0: interconnect, 1: public LAN
  std::string interface;  // inside the member
  std::string bridge;     // in the switches' namespace
  std::string address;    // IPv4, without the prefix length (always 24)
  std::string mac;
  LinkFault fault = LinkFault::kNone;
};

struct Member {
  std::string name;
  Role role = Role::kServer;
  std::vector<Link> links;
  bool off = false;     // its power is off
  bool paused = false;  // frozen, with its links blocked
  pid_t init_pid = 0;   // as the host sees it; verified before use
  std::string programs;  // the directory with its batond, baton-lab-init and so on

  std::string directory() const { return std::string(kDataDirectory) + "/" + name; }
  std::string disk_mount() const { return std::string(kDisksDirectory) + "/" + name; }
  std::string disk_socket() const { return disk_mount() + ".sock"; }
  std::string disk_cgroup() const { return "disk-" + name; }
  /// The switch's end of a link: at most 15 characters.
  std::string port(const Link& link) const { return name + "-" + link.interface; }
  /// Where the member keeps its own /var/lib/baton: on its volatile disk or in a plain directory.
  bool has_disk() const { return role != Role::kClient; }
};

/// The whole lab, as kept in /run/baton-lab/state.json.
struct Lab {
  bool complete = false;  // `up` came to its end
  bool volatile_disks = false;
  bool configured = false;  // with a cluster.toml
  std::string programs;     // the directory of those that the lab itself uses
  std::string daemon;       // what each server's init keeps running in place of its batond; empty: batond
  std::vector<Member> members;

  Result<Member*> find(const std::string& name);
  std::string daemon_of(const Member& member) const { return daemon.empty() ? member.programs + "/batond" : daemon; }
};

/// The members of a lab with so many servers; the client is always there.
std::vector<Member> plan_members(int servers, bool witness);

const char* role_name(Role role);
const char* fault_name(LinkFault fault);

}  // namespace baton::lab
