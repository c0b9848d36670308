// See system_users.h.
#include "src/os/system_users.h"

#include <grp.h>
#include <pwd.h>

#include <cstdio>
#include <cstring>
#include <memory>

#include "src/os/owned_fd.h"

namespace baton {

namespace {
using File = std::unique_ptr<FILE, int (*)(FILE*)>;
File open_file(const char* path) { return File(std::fopen(path, "re"), &std::fclose); }
}  // namespace

Result<SystemUser> find_system_user(const std::string& name) {
  File users = open_file("/etc/passwd");
  if (!users) return fail("cannot read /etc/passwd: {}", errno_text());
  SystemUser user;
  char buffer[4096];
  passwd entry{};
  passwd* found = nullptr;
  while (::fgetpwent_r(users.get(), &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) {
    if (name != entry.pw_name) continue;
    user = {name, entry.pw_uid, entry.pw_gid, {entry.pw_gid}, entry.pw_dir};
    break;
  }
  if (user.name.empty()) {
    return fail_as(ErrorCode::kNotFound, "no user '{}' in /etc/passwd: create it, or name another one", name);
  }
  File groups = open_file("/etc/group");
  if (!groups) return fail("cannot read /etc/group: {}", errno_text());
  std::vector<char> group_buffer(256 * 1024);
  group group_entry{};
  group* group_found = nullptr;
  while (::fgetgrent_r(groups.get(), &group_entry, group_buffer.data(), group_buffer.size(), &group_found) ==
             0 &&
         group_found != nullptr) {
    for (char** member = group_entry.gr_mem; *member != nullptr; ++member) {
      if (name == *member && group_entry.gr_gid != user.group_id) user.groups.push_back(group_entry.gr_gid);
    }
  }
  return user;
}

}  // namespace baton
