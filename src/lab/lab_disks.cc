// The members' volatile disks; see lab_disks.h. One thread.
#include "src/lab/lab_disks.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "src/lab/lab_state.h"
#include "src/lab/lab_wait.h"

namespace baton::lab {

Result<Started> start_disk(const Lab& lab, const Member& member) {
  if (auto made = make_directories(member.disk_mount()); !made) return pass(made);
  auto cgroup = Cgroup::at(member.disk_cgroup());
  if (!cgroup) return pass(cgroup);
  (void)unlink(member.disk_socket().c_str());
  return start_detached(*cgroup, 0,
                        {lab.programs + "/baton-lab-disk", "--backing", member.directory() + "/disk", "--mount",
                         member.disk_mount(), "--control", member.disk_socket()},
                        member.disk_mount() + ".log");
}

Result<std::string> command_disk(const Member& member, const std::string& command, Duration limit) {
  int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un name{.sun_family = AF_UNIX};
  auto path = member.disk_socket();
  if (connection < 0 || path.size() >= sizeof name.sun_path) return fail("cannot reach the disk at {}", path);
  memcpy(name.sun_path, path.c_str(), path.size() + 1);
  auto line = command + "\n";
  if (connect(connection, reinterpret_cast<sockaddr*>(&name), sizeof name) != 0 ||
      send(connection, line.data(), line.size(), MSG_NOSIGNAL) != ssize_t(line.size())) {
    int error = errno;
    close(connection);
    return fail("{}'s volatile disk does not answer at {}: {}", member.name, path, strerror(error));
  }
  std::string answer;
  Status waited;
  char buffer[4096];
  ssize_t count = 1;
  while (count > 0 && (waited = wait_readable(member.name + "'s volatile disk to answer", limit, connection))) {
    count = read(connection, buffer, sizeof buffer);
    if (count > 0) answer.append(buffer, size_t(count));
  }
  close(connection);
  if (!waited) return pass(waited);
  while (!answer.empty() && answer.back() == '\n') answer.pop_back();
  auto parsed = nlohmann::json::parse(answer, nullptr, false);
  if (parsed.is_discarded())
    return fail("{}'s volatile disk ended in the middle of '{}'", member.name, command);
  if (parsed.is_object() && parsed.contains("error")) {
    return fail("{}'s volatile disk: {}", member.name, parsed.at("error").get<std::string>());
  }
  return answer;
}

}  // namespace baton::lab
