// Whether this server's files and devices can carry a configuration's mirrors. Any thread; looks at files only.
#pragma once

#include <string>
#include <vector>

#include "src/base/ids.h"

namespace baton {

/// One line for each thing that is wrong: "cluster.toml:24:8: mirror db.data is 512 MiB but /dev/sdb of server2 has
/// only 256 MiB: ...". `self` decides which mirrors are looked at. An unreadable configuration gives its own lines.
std::vector<std::string> check_stores(const std::string& configuration_text, ServerId self);

}  // namespace baton
