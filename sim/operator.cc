// What operators ask for. Deterministic, one thread.
#include "sim/operator.h"

#include <algorithm>

#include "sim/mirror_truth.h"
#include "src/core/planner/planner.h"
#include "src/model/known_configuration.h"
#include "src/model/mirror_place.h"

namespace baton::sim {

namespace {

/// By then a server that was asked has taken over, or never will.
constexpr Duration kTakeoverIsKnown = 20s;

template <class Map>
auto some_of(const Map& map, Random& random) {
  auto place = map.begin();
  std::advance(place, static_cast<ptrdiff_t>(random.below(map.size())));
  return place;
}

}  // namespace

Operator::Operator(World& world, const ClusterSettings& settings,
                   const std::map<ServerId, std::unique_ptr<Server>>& servers, RequestHistory& history)
    : world_(world), settings_(settings), servers_(servers), history_(history), random_(world.random().fork()) {}

void Operator::ask(Server& server, const char* kind, Command command) {
  const uint64_t number = history_.begin(std::holds_alternative<TakeOver>(command));
  std::visit(
      [&](auto& one) {
        if constexpr (requires { one.author; }) one.author = RequestHistory::author(number);
      },
      command);
  world_.count(kind);
  world_.say("sim", "operator {} at server {}: {}", number, server.id(), describe(command));
  history_.sent(number, server.id(), server.request(command));
}

void Operator::act(Server& server) {
  if (!server.running() || server.node().state().groups.empty()) return;
  const uint64_t kind = random_.below(10);
  if (kind < 6) return wish(server);
  if (kind < 8) return change_configuration(server);
  handle_mirror(server);
}

void Operator::move(Server& server, const std::string& group, ServerId target) {
  WishGroup wish;
  wish.group = group;
  wish.expected_version = server.node().state().groups.at(group).version;
  wish.wanted = true;
  wish.target = target;
  wish.reason = "moved by hand";
  ask(server, "operator move", wish);
}

void Operator::want(Server& server, const std::string& group, bool wanted) {
  WishGroup wish;
  wish.group = group;
  wish.expected_version = server.node().state().groups.at(group).version;
  wish.wanted = wanted;
  wish.reason = wanted ? "started by hand" : "stopped by hand";
  ask(server, wanted ? "operator start" : "operator stop", wish);
}

void Operator::wish(Server& server) {
  const auto group = some_of(server.node().state().groups, random_);
  const auto* policy = server.node().configuration().group(group->first);
  if (policy == nullptr || !random_.chance(0.7)) return want(server, group->first, random_.chance(0.7));
  move(server, group->first, policy->servers[random_.below(policy->servers.size())]);
}

/// Both servers are up, and see each other: only then he changes who goes on when they do not.
bool Operator::both_are_well() const {
  return std::all_of(servers_.begin(), servers_.end(), [](const auto& each) {
    const Server& server = *each.second;
    return !server.enlisted() || (server.running() && !server.paused() && server.node().standing().serving && !server.node().taken_over());
  });
}

void Operator::change_configuration(Server& server) { apply_text(server, settings_.texts[random_.below(settings_.texts.size())]); }

/// Where a disk decides, or is to, he looks first; with ping targets it is refused where it must be (T9).
void Operator::apply_text(Server& server, const std::string& text) {
  const NpKind before = server.node().configuration().np;
  const NpKind after = known_configuration(text)->np;
  if (before != after && (before == NpKind::kDisk || after == NpKind::kDisk) && !both_are_well()) return;
  ask(server, before == after ? "operator apply" : "operator changes np", ApplyConfiguration{server.node().state().configuration_version, text, ""});
}

void Operator::change_np(Server& server) {
  if (!server.running()) return;
  const auto& texts = settings_.texts;
  const auto present = std::find(texts.begin(), texts.end(), server.node().state().configuration_text);
  if (present == texts.end()) return;  // others have joined
  // As many for each np, in the same order.
  const size_t each = texts.size() / settings_.nps;
  const size_t place = static_cast<size_t>(present - texts.begin());
  const size_t other = (place / each + random_.between(1, settings_.nps - 1)) % settings_.nps;
  apply_text(server, texts[other * each + place % each]);
}

void Operator::handle_mirror(Server& server) {
  const auto& mirrors = server.node().state().mirrors;
  if (mirrors.empty()) return;
  const auto mirror = some_of(mirrors, random_);
  if (random_.chance(0.6)) {
    const bool broken = random_.chance(0.8) ? !mirror->second.broken : mirror->second.broken;
    return ask(server, broken ? "operator break" : "operator rejoin",
               BreakMirror{mirror->first, mirror->second.version, broken, ""});
  }
  const ServerId target = settings_.configuration.servers[random_.below(settings_.configuration.servers.size())].id;
  const bool restricted = !mirror->second.restricted.contains(target);
  ask(server, "operator restrict", RestrictMirror{mirror->first, mirror->second.version, target, restricted, ""});
}

/// In memory or on disk, committed or not, and no vote of the other one since.
bool Operator::decides_alone(const Server& server) const {
  if (server.running() && server.node().taken_over()) return true;
  const auto& log = server.disk().stored().entries;
  for (auto entry = log.rbegin(); entry != log.rend(); ++entry) {
    if (const auto* takeover = std::get_if<TakeOver>(&entry->command)) return takeover->server == server.id();
    if (std::holds_alternative<SetVoters>(entry->command)) return false;
  }
  return false;
}

/// By what is on their disks. With targets it is enough that he sees the other one off: it does not go on by them when it is started.
bool Operator::may_go_by_another_word(const Server& server, const Server& other) const {
  if (!other.enlisted() || !other.disk().stored().counting) return false;
  const auto np = [](const Server& one) {
    ClusterState state;
    for (const auto& entry : one.disk().stored().entries) apply_command(state, entry.command, entry.index);
    const auto configuration = known_configuration(state.configuration_text);
    return configuration ? configuration->np : NpKind::kOperator;
  };
  const NpKind own = np(server), others = np(other);
  return own != others && (other.powered() || own == NpKind::kDisk || others == NpKind::kDisk);
}

void Operator::take_over(Server& server) {
  if (!server.running() || server.paused()) return;
  const auto offer = server.node().offer_takeover(server.local_now(), "");
  if (!offer) return;
  const bool just_now = last_taken_over_ != server.id() && world_.now() < taken_over_at_ + kTakeoverIsKnown;
  if (just_now) return;
  // He is told to switch the other one off first, and to leave it off.
  if (server.node().disk_lock().in_use() && !server.node().disk_lock().answers(server.local_now())) return;
  for (const auto& [id, other] : servers_)
    if (id != server.id() && decides_alone(*other)) return;
  // "If one is lost within the same second, ... a takeover is safe only when the other server is off and stays off": he waits.
  for (const auto& [id, other] : servers_)
    if (id != server.id() && may_go_by_another_word(server, *other)) return;
  last_taken_over_ = server.id();
  taken_over_at_ = world_.now();
  ask(server, "operator takeover", offer->command);
}

void Operator::name_copies(Server& server, MirrorTruth& truth) {
  const ClusterState state = server.node().state();
  for (const auto& [key, mirror] : state.mirrors) {
    const MirrorPlace place = find_mirror(server.node().configuration(), key);
    if (!mirror.unknown || !place) continue;
    const Server* best = nullptr;
    for (const ServerId id : place.group->servers) {
      const Server* other = servers_.at(id).get();
      if (best == nullptr || other->mirrors().at(key).written > best->mirrors().at(key).written) best = other;
    }
    if (best == nullptr || !best->running()) continue;
    if (mirror.restricted.contains(best->id())) {
      ask(server, "operator lifts", RestrictMirror{key, mirror.version, best->id(), false, ""});
      continue;
    }
    const MirrorStandIn& copy = best->mirrors().at(key);
    truth.accept_loss(key, copy.written, copy.flushed);
    ask(server, "operator names a copy", ForceMirror{key, mirror.version, best->id(), copy.incarnation, "as shown", ""});
  }
}

void Operator::put_right(Server& server) {
  if (!server.running() || !server.node().standing().serving) return;
  end_maintenance(server);
  const ClusterState state = server.node().state();
  const auto repair = [&](Command command) {
    ++repairs_;
    ask(server, "operator repair", std::move(command));
  };
  for (const auto& [key, mirror] : state.mirrors) {
    if (server.node().configuration().group(key.substr(0, key.find('.'))) == nullptr) continue;
    if (mirror.broken) repair(BreakMirror{key, mirror.version, false, ""});
    for (const ServerId restricted : mirror.restricted) {
      repair(RestrictMirror{key, mirror.version, restricted, false, ""});
      break;  // the version is another one then
    }
  }
  for (const auto& [name, group] : state.groups) {
    const bool given_up = std::any_of(group.refused.begin(), group.refused.end(),
                                      [](const auto& each) { return each.second.attempts >= planner::kMaximumAttempts; });
    const bool is_down = group.phase == GroupPhase::kStopped || group.phase == GroupPhase::kFailed;
    if (!group.wanted || !is_down || !given_up) continue;
    WishGroup wish;
    wish.group = name;
    wish.expected_version = group.version;
    wish.wanted = true;
    wish.reason = "the cause was removed";
    repair(wish);
  }
}

}  // namespace baton::sim
