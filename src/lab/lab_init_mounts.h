// What a member sees of the file system: the host's, with its own /proc, /sys, /run, /tmp, /dev/shm,
// /etc/baton, /var/lib/baton, /var/log/baton and /srv. Runs in a member's pid 1, before it starts anything.
#pragma once

#include <string>

#include "src/base/result.h"

namespace baton::lab {

struct MemberView {
  std::string name;       // also the host name
  std::string directory;  // the member's directory on the host
  std::string disk;       // what becomes /var/lib/baton
};

/// REQUIRES: mount, uts, pid and network namespaces of one's own, one thread.
Status build_member_view(const MemberView& view);

}  // namespace baton::lab
