// The clocks of a scripted cluster's servers: machines that are suspended and wake up, wall clocks that are set, and the guard's
// look at them. Deterministic, one thread. docs/protocol.md, F5.
#include <utility>

#include "sim/scenario_server.h"

namespace baton::sim {

/// Suspended, its monotonic clock stands.
Instant Scenario::local_now(const Server& server) const { return std::min(now_, server.suspended_at) + server.clock_ahead; }

/// suspend SERVER | wake SERVER [unseen] | set-clock SERVER SECONDS
Status Scenario::run_on_clocks(Server& server, const Words& words, bool& known) {
  if (words[0] == "suspend") {
    if (!alive(server)) return fail("{} does not run", server.name);
    write(server.name, "the machine is suspended");
    server.suspended_at = now_;
    pause_machine(server, true);
  } else if (words[0] == "wake") {
    if (server.suspended_at == kNever) return fail("{} is not suspended", server.name);
    wake(server, words.size() > 2 && words[2] == "unseen");
  } else if (words[0] == "set-clock") {
    const Duration by = seconds(std::stoll(words.at(2)));
    write(server.name, fmt::format("its wall clock is set by {} s", words[2]));
    server.clocks_ahead.realtime += by;
    look_at_clocks_soon(server);
  } else {
    known = false;
  }
  return {};
}

void Scenario::wake(Server& server, bool unseen) {
  const Duration stood = now_ - std::exchange(server.suspended_at, kNever);
  server.clock_ahead -= stood;
  if (!unseen) {
    server.clocks_ahead.boottime += stood;
    server.clocks_ahead.realtime += stood;
  }
  write(server.name, unseen ? "the machine goes on, and no clock of it shows that it stood still" : "the machine wakes up");
  server.woken_until = local_now(server) + configuration_.timing.lease;
  look_at_clocks_soon(server);
  pause_machine(server, false);
  at(server.published - server.clock_ahead, [this, &server] { drop_addresses(server); });
}

void Scenario::look_at_clocks_soon(Server& server) {
  at(now_ + configuration_.timing.beat, [this, &server] { look_at_clocks(server); });
}

void Scenario::look_at_clocks(Server& server) {
  if (server.guard == nullptr || server.machine_paused) return;
  if (const auto unseen = guard::unseen_time(server.guard_clocks, server.clocks_ahead)) {
    write(server.name, fmt::format("its guard sees that {} ms have passed unseen", to_ms(*unseen)));
    server.woken_until = Instant{};
    feed_guard(server, guard::TimeJumped{*unseen});
  }
  server.guard_clocks = server.clocks_ahead;
}

}  // namespace baton::sim
