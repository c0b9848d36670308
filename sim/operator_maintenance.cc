// The operators' maintenance: drains, shutdowns, suspensions, returns, as they come to somebody at any moment, and the end of
// what has none of its own. Deterministic, one thread.
#include <algorithm>

#include "sim/operator.h"
#include "src/core/node/maintenance_wish.h"

namespace baton::sim {

namespace {

struct Verb {
  const char* scope;
  const char* verb;
  uint64_t weight;
};
constexpr Verb kVerbs[] = {
    {"cluster", "suspend", 2}, {"cluster", "resume", 1}, {"cluster", "shutdown", 1}, {"cluster", "cancel", 1},
    {"server", "suspend", 2},  {"server", "resume", 1},  {"server", "drain", 4},     {"server", "undrain", 2},
    {"server", "shutdown", 4}, {"server", "cancel", 1},  {"server", "return", 2},    {"group", "suspend", 2},
    {"group", "resume", 1},    {"group", "release", 2},
};

const Verb& some_verb(Random& random) {
  uint64_t all = 0;
  for (const Verb& verb : kVerbs) all += verb.weight;
  uint64_t drawn = random.below(all);
  for (const Verb& verb : kVerbs) {
    if (drawn < verb.weight) return verb;
    drawn -= verb.weight;
  }
  return kVerbs[0];
}

}  // namespace

void Operator::maintain(Server& server) {
  if (!server.running() || server.node().state().configuration_version == 0) return;
  const Verb& verb = some_verb(random_);
  const auto& configuration = server.node().configuration();
  node::MaintenanceWish wish;
  wish.scope = verb.scope;
  wish.verb = verb.verb;
  if (wish.scope == "server") wish.name = configuration.servers[random_.below(configuration.servers.size())].name;
  if (wish.scope == "group") wish.name = configuration.groups[random_.below(configuration.groups.size())].name;
  wish.reason = "maintenance";
  wish.lasts = random_.chance(0.8) ? random_.between(300ms, 6s) : Duration{0};
  wish.move = random_.chance(0.6);
  wish.limit = random_.between(500ms, 8s);
  const auto command = node::make_maintenance(server.node(), server.local_now(), wish);
  if (!command) return;
  maintained_ = true;
  ask(server, "operator maintenance", *command);
}

/// What has no end of its own. A shutdown has one: that is waited for.
void Operator::end_maintenance(Server& server) {
  const ClusterState state = server.node().state();
  const auto end = [&](const char* scope, const std::string& name, const char* verb) {
    node::MaintenanceWish wish;
    wish.scope = scope;
    wish.name = name;
    wish.verb = verb;
    const auto command = node::make_maintenance(server.node(), server.local_now(), wish);
    if (!command) return;
    ++repairs_;
    ask(server, "operator repair", *command);
  };
  if (state.suspension) end("cluster", "", "resume");
  for (const auto& [name, group] : state.groups)
    if (group.suspension) end("group", name, "resume");
  const bool wanting = std::any_of(state.groups.begin(), state.groups.end(), [](const auto& group) {
    return group.second.wanted && group.second.owner == ServerId{};
  });
  for (const auto& [id, record] : state.servers) {
    const std::string name = server.node().configuration().server_name(id);
    const bool kept_apart = record.standing == ServerStanding::kIsolated && record.hold_until_ms == 0;
    const bool empty = std::none_of(state.groups.begin(), state.groups.end(),
                                    [&, owner = id](const auto& group) { return group.second.owner == owner; });
    // One thing at a time: the record's version is another one then.
    if (record.suspension) end("server", name, "resume");
    else if (kept_apart) end("server", name, "return");
    else if (record.drain && (empty || wanting)) end("server", name, "undrain");
  }
}

}  // namespace baton::sim
