// Users by name from /etc/passwd and /etc/group, read without the name service switch, which may block on a
// network. Any thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "src/base/result.h"

namespace baton {

struct SystemUser {
  std::string name;
  uid_t user_id = 0;
  gid_t group_id = 0;
  std::vector<gid_t> groups;  // with group_id
  std::string home;
};

/// kNotFound when /etc/passwd has no such user; users of a directory service are not looked up.
Result<SystemUser> find_system_user(const std::string& name);

}  // namespace baton
