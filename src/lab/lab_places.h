// The places on the host that the members mount their own directories on, and the files put into the members'
// directories: hosts, cluster.toml, cluster.key. One thread.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/lab/lab_model.h"

namespace baton::lab {

/// Creates /etc/baton, /var/lib/baton and so on where the host has none, and notes which, so that
/// remove_created_places() can take exactly those away again.
Status create_places();
void remove_created_places();

/// The members' /etc/hosts.
Status write_hosts(const Lab& lab);

/// Does the configuration name that member? One that it does not is a spare machine.
bool is_configured(const std::string& configuration, const std::string& member);

/// Puts the configuration and one fresh cluster key into the servers' and the witness's /etc/baton, spares left out.
Status place_configuration(const Lab& lab, const std::string& configuration);

}  // namespace baton::lab
