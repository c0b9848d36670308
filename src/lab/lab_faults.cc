// Power, links and pause of a lab that is up; see lab_faults.h. One thread.
#include "src/lab/lab_faults.h"

#include <sys/random.h>

#include "src/lab/lab_disks.h"
#include "src/lab/lab_network.h"
#include "src/lab/lab_state.h"

namespace baton::lab {
namespace {

constexpr auto kFreezeDeadline = 2s;

/// The lab under its lock, and one member of it.
struct Held {
  LabLock lock;
  Lab lab;
  Member* member = nullptr;
};

Result<Held> hold(const std::string& name) {
  auto lock = LabLock::take();
  if (!lock) return pass(lock);
  auto lab = load_state();
  if (!lab) return pass(lab);
  Held held{std::move(*lock), std::move(*lab)};
  if (name.empty()) return held;
  auto member = held.lab.find(name);
  if (!member) return pass(member);
  held.member = *member;  // stays valid: moving a Lab moves its vector's storage
  return held;
}

Status apply(const Member& member) {
  pid_t holder = find_switch_holder();
  if (holder == 0) return fail("the lab's switches have died; `baton lab down` and `up` make new ones");
  if (member.off || power_of(member) == "off")
    return {};  // its ports come, as the state says, when it is powered on
  return apply_ports(holder, member);
}

Status set_pause(const std::string& name, bool pause) {
  auto held = hold(name);
  if (!held) return pass(held);
  Member& member = *held->member;
  if (power_of(member) == "off") {
    return fail_as(ErrorCode::kInvalid, "{} is powered off; `baton lab power-on {}` first", name, name);
  }
  auto cgroup = Cgroup::at(name);
  if (!cgroup) return pass(cgroup);
  const bool before = member.paused;
  // The links are blocked before the freeze (the kernel would go on answering ARP and TCP) and open before the thaw:
  // who wakes is reachable with the first thing that it does, as a machine that really stood still.
  const auto become = [&](bool paused) -> Status {
    member.paused = paused;
    if (auto applied = apply(member); !applied) return applied;
    if (auto saved = save_state(held->lab); !saved) return saved;
    return cgroup->freeze(paused, kFreezeDeadline);
  };
  auto done = become(pause);
  if (!done) (void)become(before);  // what went wrong first is what is told
  return done;
}

}  // namespace

std::string power_of(const Member& member) {
  auto cgroup = Cgroup::at(member.name);
  if (member.off || !cgroup || find_init(*cgroup) == 0) return "off";
  return member.paused ? "paused" : "on";
}

Result<PowerCut> power_off(const std::string& name, std::optional<uint64_t> seed) {
  auto held = hold(name);
  if (!held) return pass(held);
  if (held->member->off) return fail_as(ErrorCode::kInvalid, "{} is powered off already", name);
  uint64_t chosen = seed.value_or(0);
  if (!seed) {
    uint32_t drawn = 0;
    (void)!getrandom(&drawn, sizeof drawn, 0);
    chosen = drawn;
  }
  auto cut = cut_power(held->lab, *held->member, chosen);
  // Half done is off too: what is left can be cut again by power-on or down.
  if (auto saved = save_state(held->lab); !saved) return pass(saved);
  return cut;
}

Status power_on(const std::string& name, const std::string& programs) {
  auto held = hold(name);
  if (!held) return pass(held);
  Member& member = *held->member;
  if (power_of(member) != "off") return fail_as(ErrorCode::kInvalid, "{} is powered on already", name);
  if (!programs.empty()) member.programs = programs;
  pid_t holder = find_switch_holder();
  if (holder == 0) return fail("the lab's switches have died; `baton lab down` and `up` make new ones");
  auto cgroup = Cgroup::at(name);
  if (!cgroup) return pass(cgroup);
  if (!member.off || cgroup->exists()) {  // its init died, or a power-off stopped half way
    if (auto cut = cut_power(held->lab, member, 0); !cut) return pass(cut);
  }
  auto started = start_member(held->lab, member);
  if (!started) return pass(started);
  if (auto finished = finish_member(holder, member, *started); !finished) {
    (void)cut_power(held->lab, member, 0);
    return finished;
  }
  if (auto saved = save_state(held->lab); !saved) return saved;
  return release(*started);
}

Status cut_links(const std::string& name, std::optional<int> link, LinkFault fault) {
  auto held = hold(name);
  if (!held) return pass(held);
  bool found = false;
  std::string numbers;
  for (auto& each : held->member->links) {
    numbers += fmt::format("{}{} ({})", numbers.empty() ? "" : ", ", each.number, each.interface);
    if (link && each.number != *link) continue;
    each.fault = fault;
    found = true;
  }
  if (!found) return fail_as(ErrorCode::kInvalid, "{} has no link {}; it has {}", name, *link, numbers);
  if (auto applied = apply(*held->member); !applied) return applied;
  return save_state(held->lab);
}

Status heal_links(const std::string& name) {
  auto held = hold(name);
  if (!held) return pass(held);
  for (auto& member : held->lab.members) {
    if (!name.empty() && member.name != name) continue;
    bool changed = false;
    for (auto& link : member.links) {
      changed |= link.fault != LinkFault::kNone;
      link.fault = LinkFault::kNone;
    }
    if (!changed) continue;
    if (auto applied = apply(member); !applied) return applied;
  }
  return save_state(held->lab);
}

Status pause_member(const std::string& name) { return set_pause(name, true); }
Status resume_member(const std::string& name) { return set_pause(name, false); }

Result<std::string> disturb_disk(const std::string& name, const std::string& command) {
  auto held = hold(name);
  if (!held) return pass(held);
  if (!held->lab.volatile_disks || !held->member->has_disk()) {
    return fail_as(ErrorCode::kInvalid, "{} has no volatile disk; use `baton lab up --volatile-disks`", name);
  }
  return command_disk(*held->member, command);
}

}  // namespace baton::lab
