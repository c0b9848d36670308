// The lab's members, links and addresses; see lab_model.h. Any thread.
#include "src/lab/lab_model.h"

#include <fmt/format.h>

namespace baton::lab {
namespace {

Member make_member(const std::string& name, Role role, int host) {
  Member member{.name = name, .role = role};
  auto link = [&](int number, const char* interface, const char* bridge) {
    member.links.push_back({.number = number,
                            .interface = interface,
                            .bridge = bridge,
                            .address = fmt::format("10.88.{}.{}", number == 0 ? 1 : 0, host),
                            .mac = fmt::format("02:ba:70:00:{:02x}:{:02x}", number, host)});
  };
  if (role != Role::kClient) link(0, "ic0", "interconnect");
  link(1, "lan0", "lan");
  return member;
}

}  // namespace

std::vector<Member> plan_members(int servers, bool witness) {
  std::vector<Member> members;
  for (int number = 1; number <= servers; number++) {
    members.push_back(make_member(fmt::format("server{}", number), Role::kServer, 10 + number));
  }
  if (witness) members.push_back(make_member("witness", Role::kWitness, 9));
  members.push_back(make_member("client", Role::kClient, 100));
  return members;
}

Result<Member*> Lab::find(const std::string& name) {
  for (auto& member : members) {
    if (member.name == name) return &member;
  }
  std::string known;
  for (const auto& member : members) known += (known.empty() ? "" : ", ") + member.name;
  return fail_as(ErrorCode::kNotFound, "the lab has no member '{}'; it has {}", name, known);
}

const char* role_name(Role role) {
  switch (role) {
    case Role::kServer:
      return "server";
    case Role::kWitness:
      return "witness";
    case Role::kClient:
      return "client";
  }
  return "?";
}

const char* fault_name(LinkFault fault) {
  switch (fault) {
    case LinkFault::kNone:
      return "up";
    case LinkFault::kCut:
      return "cut";
    case LinkFault::kSilent:
      return "silent";
  }
  return "?";
}

}  // namespace baton::lab
