// Power of one member: on, and off the hard way, in the order that lets nothing out of a dying server that a
// real power cut would not let out. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/lab/lab_model.h"
#include "src/lab/lab_process.h"

namespace baton::lab {

/// The process that holds the switches' network namespace; 0 when there is none.
pid_t find_switch_holder();

/// First phase of power-on: init starts, mounts the member's view and waits. Several members' can run at once.
Result<Started> start_member(const Lab& lab, const Member& member);
/// Second phase: waits for the first, connects the links. Sets the member's init_pid.
Status finish_member(pid_t holder, Member& member, Started& started);

/// What a power cut did to a member.
struct PowerCut {
  uint64_t seed = 0;
  std::string losses;  // the volatile disk's report, JSON; empty without volatile disks
};

/// Links down, programs stopped, exports aborted, everything killed, loop devices reclaimed, unsynced data
/// lost. A member that is paused, half dead or off already is no error.
Result<PowerCut> cut_power(const Lab& lab, Member& member, uint64_t seed);

/// All processes of a member: those in its cgroup, and those in its pid namespace that left the cgroup.
std::set<pid_t> processes_of(const Cgroup& cgroup);

}  // namespace baton::lab
