// How the lab is; see lab_status.h. One thread.
#include "src/lab/lab_status.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "src/lab/lab_faults.h"
#include "src/lab/lab_lifecycle.h"

namespace baton::lab {
namespace {

const char* lab_word(const Lab& lab) { return is_healthy(lab) ? "up" : "damaged"; }

pid_t living_init(const Member& member) {
  auto cgroup = Cgroup::at(member.name);
  return cgroup ? find_init(*cgroup) : 0;
}

}  // namespace

std::string status_json(const Lab& lab) {
  using nlohmann::ordered_json;
  ordered_json members = ordered_json::array();
  for (const auto& member : lab.members) {
    ordered_json links = ordered_json::array();
    ordered_json addresses = ordered_json::object();
    for (const auto& link : member.links) {
      links.push_back({{"n", link.number}, {"name", link.interface}, {"address", link.address}, {"mac", link.mac},
                       {"state", fault_name(link.fault)}});
      addresses[link.interface] = link.address;
    }
    members.push_back({{"name", member.name},
                       {"role", role_name(member.role)},
                       {"power", power_of(member)},
                       {"links", links},
                       {"init_pid", living_init(member)},
                       {"addresses", addresses},
                       {"directory", member.directory()}});
  }
  ordered_json whole = {{"lab", lab_word(lab)},
                        {"volatile_disks", lab.volatile_disks},
                        {"configured", lab.configured},
                        {"servers", members}};
  return whole.dump();
}

std::string status_table(const Lab& lab) {
  auto text = fmt::format("lab {}, {} disks\n\n{:<10} {:<8} {:<7} {:<24} {}\n", lab_word(lab),
                          lab.volatile_disks ? "volatile" : "plain", "NAME", "ROLE", "POWER",
                          "LINK 0 interconnect", "LINK 1 public LAN");
  for (const auto& member : lab.members) {
    std::string cells[2] = {"-", "-"};
    for (const auto& link : member.links) {
      cells[link.number] = fmt::format("{} {}", link.address, fault_name(link.fault));
    }
    auto line = fmt::format("{:<10} {:<8} {:<7} {:<24} {}", member.name, role_name(member.role),
                            power_of(member), cells[0], cells[1]);
    text += line + "\n";
  }
  return text;
}

}  // namespace baton::lab
