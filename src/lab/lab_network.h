// The lab's two switches, bridges in a network namespace of their own, and the members' links to them. Never
// touches the host's own interfaces or addresses. One thread.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/lab/lab_model.h"

namespace baton::lab {

/// Creates the two bridges in the namespace of process `holder`.
Status create_switches(pid_t holder);

/// Makes a member's links (veth pairs), with addresses inside and ports outside; ports as the faults say.
/// REQUIRES: the member's init is alive.
Status connect_member(pid_t holder, const Member& member);

/// Puts a member's ports into the state that its faults, pause and power ask for: down (cut or off), out of the
/// bridge with the carrier up (silent or paused), or forwarding. When it returns, the kernel has done it.
Status apply_ports(pid_t holder, const Member& member);

/// Takes all of a member's ports down, those that exist; a port that is missing lets nothing through either.
void take_ports_down(pid_t holder, const Member& member);

/// Deletes what is left of a member's ports; none left is no error.
void disconnect_member(pid_t holder, const Member& member);

/// The commands behind the above, for `ip -batch`.
std::string port_commands(const Member& member);

}  // namespace baton::lab
