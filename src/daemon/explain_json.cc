// Reads the status as a person would who asks about one group.
#include "src/daemon/explain_json.h"

#include <fmt/format.h>

#include <algorithm>

namespace baton {

namespace {

using nlohmann::json;

bool anything_up(const json& group) {
  const auto& resources = group.at("resources");
  return std::any_of(resources.begin(), resources.end(), [](const json& resource) {
    const auto state = resource.at("state").get<std::string>();
    return state != "down" && state != "unknown";
  });
}

/// What becomes of a group whose owner has no majority: the protocol's "Leases".
std::string describe_lapse(const std::string& server, const json& group) {
  const std::string lapsed = fmt::format("the lease of {} has lapsed: no majority of servers and witness is within reach",
                                         server);
  if (anything_up(group))
    return lapsed + ". The group is frozen: reads, writes and its addresses wait, and go on when the lease is back";
  return lapsed + ". The group was ended here after it had been frozen for long; it is started again when there is a majority";
}

}  // namespace

json explain_now(const json& status, const std::string& name) {
  const auto& groups = status.at("groups");
  const auto named = [&](const json& each) { return each.at("name").get<std::string>() == name; };
  const auto group = std::find_if(groups.begin(), groups.end(), named);
  if (group == groups.end()) return nullptr;
  json waiting = json::array();
  const auto server = status.at("server").get<std::string>();
  const auto& database = status.at("database");
  const auto phase = group->at("phase").get<std::string>();
  const bool held = phase == "starting" || phase == "started" || phase == "stopping";
  const bool here = group->at("owner").get<std::string>() == server;
  if (held && here && !status.at("lease").at("valid").get<bool>())
    waiting.push_back(describe_lapse(server, *group));
  if (const auto why = database.at("waiting").get<std::string>(); !why.empty())
    waiting.push_back("the cluster database waits: " + why);
  // Without a majority nobody plans.
  if (const auto why = group->at("waiting").get<std::string>(); !why.empty() && database.at("serving").get<bool>())
    waiting.push_back(why);
  if (const auto why = group->value("failback", std::string()); !why.empty() && database.at("serving").get<bool>())
    waiting.push_back("with its failback: " + why);
  return {{"server", server}, {"phase", phase}, {"owner", group->at("owner")}, {"waiting", waiting}};
}

}  // namespace baton
