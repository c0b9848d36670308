// A server's power by a program of fence-agents (the interface that Pacemaker's agents have: options on the standard
// input, "off" and "status", exit status 2 for a status of off). An agent's word is verified, not believed: a server
// counts as off only when the agent, asked anew, says that its power is off. One thread: the loop's.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "src/base/result.h"
#include "src/os/event_loop.h"

namespace baton {

struct FenceDevice {
  std::string agent;                           // a program's name or path: fence_ipmilan
  std::map<std::string, std::string> options;  // as in the agent's manual: ip, username, plug ...
  Duration timeout = 30s;                      // for all of it
};

enum class PowerState { kOn, kOff };

/// Asks for the power's state. Errors: the agent is not there, failed (with what it said), or took too long.
void ask_power(EventLoop& loop, const FenceDevice& device, const std::string& server,
               std::function<void(Result<PowerState>)> callback);

/// Switches the power off, and calls back with success only when the agent says afterwards that it is off. Errors as
/// above, or that the server is on although the agent reported success.
void cut_power(EventLoop& loop, const FenceDevice& device, const std::string& server, std::function<void(Status)> callback);

/// Switches it on, likewise.
void restore_power(EventLoop& loop, const FenceDevice& device, const std::string& server,
                   std::function<void(Status)> callback);

}  // namespace baton
