// The whole lab's beginning and end: `up` and `down`. `down` finds everything by fixed names (cgroup tree,
// mounts, directories), so it clears away a lab in whatever state, also without its state file. One thread.
#pragma once

#include <functional>
#include <string>

#include "src/base/result.h"
#include "src/lab/lab_model.h"

namespace baton::lab {

struct UpOptions {
  int servers = 2;
  bool witness = true;
  bool volatile_disks = false;
  bool replace = false;       // take down a healthy lab that is up
  bool create = true;         // run `baton cluster create` in each server
  std::string configuration;  // a cluster.toml; empty for none
  std::string programs;       // the directory of the running program
  std::string servers_run;    // the directory of what the servers run, if another
  std::string daemon;         // what each server's init keeps running in place of its batond; empty: batond
};

/// Told what happens, one line each.
using Progress = std::function<void(const std::string&)>;

/// Clears a crashed lab away, then builds a new one. On an error nothing is left of it.
Result<Lab> bring_up(const UpOptions& options, const Progress& progress);

/// Ends and removes everything of the lab. No lab at all is no error.
Status clear_away();

/// Whether the lab runs as its state says: `up` came to its end and nothing that should be alive has died.
bool is_healthy(const Lab& lab);

}  // namespace baton::lab
