// Whether a server's files and devices can carry a configuration's mirrors, and what they hold already: asked by `baton
// cluster create` and by batond before a configuration is applied. Reads files only, changes nothing. Any thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "src/base/ids.h"
#include "src/model/configuration_toml.h"

namespace baton {

struct StoreCheckOptions {
  ServerId self;                                  // whose stores: decides which mirrors are looked at
  std::string state_directory = "/var/lib/baton";
  std::string file_name = "cluster.toml";         // in the messages
  std::set<std::string> used;                     // mirror_key()s that were promoted before: their data is their own
  bool make_directories = false;                  // of stores below the state directory
};

/// One line for each thing that is wrong: "cluster.toml:24:8: mirror data on server2: it is larger (512 MiB) than its
/// store ...". REQUIRES: the configuration is good.
std::vector<std::string> check_stores(const CheckedConfiguration& checked, const StoreCheckOptions& options);

/// The same for a text; an unreadable one gives its own lines.
std::vector<std::string> check_stores(const std::string& text, const StoreCheckOptions& options);

/// What a file or device holds by its first and last MiB: "an ext4 filesystem", "data of unknown kind"; empty if it is
/// blank, or not there.
Result<std::string> describe_content(const std::string& path);

}  // namespace baton
