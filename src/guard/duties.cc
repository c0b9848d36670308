// The end of a lease on this server, carried out by the guard alone. One thread: the loop's.
#include "src/guard/duties.h"

#include <fmt/format.h>

#include <algorithm>

#include "src/os/control_group.h"
#include "src/os/netlink_interfaces.h"

namespace baton::guard {

namespace {
constexpr Duration kAgain = 200ms;  // what comes up late without a lease
}  // namespace

void DutyRunner::look(Instant now, Instant lease_until, Duration gated_for) {
  if (now < lease_until) {
    if (lapsed_since_ != kNever) say_("the lease is valid");
    lapsed_since_ = kNever;
    killed_ = false;
    clean_ = false;
    next_ = lease_until;
    return;
  }
  if (lapsed_since_ == kNever) {
    lapsed_since_ = now;
    say_(fmt::format("no lease: floating addresses are dropped, services are killed in {} s",
                     to_ms(duties_.freeze_limit) / 1000));
  }
  // SAFETY: F6. The gate is shut already.
  const bool dropped = now >= lapsed_since_ + gated_for && drop_addresses();
  if (now >= lapsed_since_ + duties_.freeze_limit) kill_groups();
  clean_ = dropped && groups_empty();
  next_ = now < lapsed_since_ + gated_for ? lapsed_since_ + gated_for : now + kAgain;
}

/// True: none of them is here.
bool DutyRunner::drop_addresses() {
  if (duties_.addresses.empty()) return true;
  const auto present = list_addresses();
  if (!present) {
    say_("cannot read this server's addresses: " + present.error().message);
    return false;
  }
  bool all = true;
  for (const auto& each : *present) {
    const std::string text = each.address.address_text();
    if (std::find(duties_.addresses.begin(), duties_.addresses.end(), text) == duties_.addresses.end()) continue;
    const auto dropped = delete_address(each.interface_index, each.address);
    all = all && dropped;
    say_(dropped ? "dropped " + text : fmt::format("cannot drop {}: {}", text, dropped.error().message));
  }
  return all;
}

bool DutyRunner::groups_empty() const {
  return std::all_of(duties_.control_groups.begin(), duties_.control_groups.end(), [](const std::string& path) {
    const auto populated = control_group_populated(path);
    return populated && !*populated;
  });
}

void DutyRunner::kill_groups() {
  for (const auto& path : duties_.control_groups) {
    const auto populated = control_group_populated(path);
    if (populated && !*populated) continue;
    const auto killed = kill_control_group(path);
    say_(killed ? "killed everything in " + path : fmt::format("cannot kill {}: {}", path, killed.error().message));
  }
  if (!killed_) say_("the freeze has lasted its time");
  killed_ = true;
}

}  // namespace baton::guard
