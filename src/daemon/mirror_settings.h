// What a mirror daemon is started with, from the configuration, and when a change of it may be carried out while the
// daemon runs. Pure functions but for make_mirror_directories(). Any thread.
#pragma once

#include <string>

#include "src/format/mirror_control.h"
#include "src/model/cluster_state.h"
#include "src/model/configuration.h"

namespace baton {

/// Where batond keeps things, as far as mirror daemons are told.
struct MirrorPlaces {
  std::string configuration_directory;
  std::string state_directory;
  std::string run_directory;
};

/// REQUIRES: `self` is one of the group's two servers, `resource` a mirror of it.
mirror_control::DaemonSettings make_mirror_settings(const Configuration& configuration, ServerId self,
                                                    const GroupConfiguration& group,
                                                    const ResourceConfiguration& resource, const MirrorPlaces& places);

/// Makes the directories that the settings name.
void make_mirror_directories(const mirror_control::DaemonSettings& settings);

/// The settings that differ and take effect only with a restart of the daemon: "protocol, peer_timeout"; empty: none.
/// Size and rate are not among them: they are sent to the running daemon.
std::string settings_that_need_a_restart(const mirror_control::DaemonSettings& running,
                                         const mirror_control::DaemonSettings& wanted);

/// May the mirror daemon of this server be restarted now without anybody losing anything? The group is down and stays
/// so, or has settled on the other server. (Between two servers this copy may be about to be promoted.)
bool may_restart_mirror(const GroupState& group, ServerId self);

}  // namespace baton
