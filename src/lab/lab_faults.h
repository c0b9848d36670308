// What can be done to a lab that is up: power, links, pause. Each takes the lab's lock, changes the lab and its
// state file, and returns when the kernel has done it. One thread.
#pragma once

#include <optional>
#include <string>

#include "src/base/result.h"
#include "src/lab/lab_model.h"
#include "src/lab/lab_power.h"

namespace baton::lab {

/// A fresh seed is drawn when none is given.
Result<PowerCut> power_off(const std::string& name, std::optional<uint64_t> seed);
/// With `programs`, from now on it runs those of that directory; otherwise the same as before.
Status power_on(const std::string& name, const std::string& programs = "");

/// `link`: a link's number, or nothing for all of the member's links.
Status cut_links(const std::string& name, std::optional<int> link, LinkFault fault);
/// An empty name: every member.
Status heal_links(const std::string& name);

Status pause_member(const std::string& name);
Status resume_member(const std::string& name);

/// A command for a member's volatile disk, as the disk understands it; the answer is JSON.
Result<std::string> disturb_disk(const std::string& name, const std::string& command);

/// How a member is: "on", "off" or "paused"; a member whose init has died is off.
std::string power_of(const Member& member);

}  // namespace baton::lab
