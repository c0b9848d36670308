// The lab's switches and links; see lab_network.h. One thread.
#include "src/lab/lab_network.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "src/lab/lab_process.h"

namespace baton::lab {
namespace {

constexpr auto kIpDeadline = 10s;

// Runs `ip -batch` in the network namespace of a process.
Status run_ip(pid_t where, const std::string& commands, bool forgive) {
  auto enter = [where]() -> Status {
    auto path = fmt::format("/proc/{}/ns/net", where);
    int space = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (space < 0) return fail("cannot open {}: {}", path, strerror(errno));
    if (setns(space, CLONE_NEWNET) != 0) return fail("cannot enter {}: {}", path, strerror(errno));
    return {};
  };
  std::vector<std::string> command = {"ip"};
  if (forgive) command.push_back("-force");
  command.insert(command.end(), {"-batch", "-"});
  auto result = run_command(command, commands, kIpDeadline, enter);
  if (!result && !forgive) return fail("{}(commands were:\n{})", result.error().message, commands);
  return {};
}

}  // namespace

Status create_switches(pid_t holder) {
  std::string commands = "link set lo up\n";
  for (const char* bridge : {"lan", "interconnect"}) {
    commands += fmt::format(
        "link add {0} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set {0} up\n", bridge);
  }
  return run_ip(holder, commands, false);
}

std::string port_commands(const Member& member) {
  std::string commands;
  for (const auto& link : member.links) {
    auto port = member.port(link);
    if (member.off || link.fault == LinkFault::kCut) {
      commands += fmt::format("link set {} down\n", port);
    } else if (member.paused || link.fault == LinkFault::kSilent) {
      commands += fmt::format("link set {} nomaster\nlink set {} up\n", port, port);
    } else {
      commands += fmt::format("link set {} master {}\nlink set {} up\n", port, link.bridge, port);
    }
  }
  return commands;
}

Status connect_member(pid_t holder, const Member& member) {
  std::string outside, inside = "link set lo up\n";
  for (const auto& link : member.links) {
    outside += fmt::format("link add {} type veth peer name {} address {} mtu 1500 netns {}\n",
                           member.port(link), link.interface, link.mac, member.init_pid);
    inside += fmt::format("addr add {}/24 broadcast + dev {}\nlink set {} up\n", link.address, link.interface,
                          link.interface);
  }
  if (auto made = run_ip(holder, outside + port_commands(member), false); !made) return made;
  return run_ip(member.init_pid, inside, false);
}

Status apply_ports(pid_t holder, const Member& member) { return run_ip(holder, port_commands(member), false); }

void take_ports_down(pid_t holder, const Member& member) {
  std::string commands;
  for (const auto& link : member.links) commands += fmt::format("link set {} down\n", member.port(link));
  (void)run_ip(holder, commands, true);
}

void disconnect_member(pid_t holder, const Member& member) {
  std::string commands;
  for (const auto& link : member.links) commands += fmt::format("link delete {}\n", member.port(link));
  (void)run_ip(holder, commands, true);
}

}  // namespace baton::lab
