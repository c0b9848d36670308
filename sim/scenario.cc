// The scripted cluster: power, batond, the node's events and actions, steps that take 20 ms. Deterministic, one thread.
#include "sim/scenario.h"

#include <algorithm>

#include "sim/scenario_server.h"
#include "src/base/assert.h"
#include "src/model/configuration_toml.h"
#include "src/model/mirror_place.h"

namespace baton::sim {

namespace {

constexpr Duration kPersistDelay = 1ms;
constexpr Duration kPingDelay = 1ms;
constexpr Duration kStepDelay = 20ms;
constexpr Duration kJoinDelay = 50ms;
constexpr Duration kSocketDelay = 20us;
constexpr Duration kProcessEndDelay = 2ms;

Configuration parsed(const std::string& text) {
  auto configuration = parse_configuration(text);
  BATON_ASSERT(configuration.has_value());
  return *configuration;
}

/// That a server is lost or is a member stands in the log already, where it is noticed.
bool is_worth_a_line(const Command& command) {
  const auto* standing = std::get_if<SetStanding>(&command);
  const bool ordinary = standing != nullptr && standing->author.empty() &&
                        (standing->standing == ServerStanding::kDown || standing->standing == ServerStanding::kNormal);
  return !ordinary && !std::holds_alternative<StartEpoch>(command) && !std::holds_alternative<RaiseFormatLevel>(command);
}

/// A scenario that says nothing of it does not wait for missing servers at a start.
std::string with_startup_wait(std::string text) {
  const auto section = text.find("[cluster]\n");
  if (section == std::string::npos || text.find("startup_wait") != std::string::npos) return text;
  return text.insert(section + std::string("[cluster]\n").size(), "startup_wait = \"0 s\"\n");
}

}  // namespace

Scenario::Scenario(const std::string& configuration_text, std::string folder)
    : text_(with_startup_wait(configuration_text)), folder_(std::move(folder)), configuration_(parsed(text_)), network_(configuration_) {
  for (const auto& configured : configuration_.servers) {
    auto server = std::make_unique<Server>();
    server->id = configured.id;
    server->name = configured.name;
    server->witness = configured.role == ServerRole::kWitness;
    server->disk.counting = true;
    servers_[configured.id] = std::move(server);
  }
}

Scenario::~Scenario() = default;

void Scenario::at(Instant when, std::function<void()> what) { queue_[{when, ++order_}] = std::move(what); }

void Scenario::write(const std::string& who, const std::string& text, Level level) {
  if (level_ < level) return;
  log_.push_back(fmt::format("[{:8.3f}] {}: {}", static_cast<double>(to_ns(now_)) / 1e9 - 1.0, who, text));
}

Scenario::Server* Scenario::find(const std::string& name) {
  for (auto& [id, server] : servers_)
    if (server->name == name) return server.get();
  return nullptr;
}

void Scenario::boot(Server& server) {
  if (server.powered) return;
  server.powered = server.engine = true;
  server.ring_file = server.key;
  load_ring_key(server);
  ++server.boots;
  for (const auto& group : configuration_.groups) {
    if (std::find(group.servers.begin(), group.servers.end(), server.id) == group.servers.end()) continue;
    for (const auto& resource : group.resources) {  // power is always lost uncleanly here
      if (resource.kind != ResourceKind::kMirror) continue;
      auto& incarnation = server.incarnations[mirror_key(group.name, resource.name)];
      if (!server.ended_in_order) ++incarnation.value;
    }
  }
  server.ended_in_order = false;
  write(server.name, "powered on");
  start_guard(server);
  start_batond(server, Duration{0});
  mirror_tick(server);
  change_rings(kJoinDelay);
}

/// Baton has been shut down there: its copies are clean, and corosync says good-bye.
void Scenario::end_in_order(Server& server) {
  if (!server.powered) return;
  server.ended_in_order = true;
  write(server.name, "Baton has ended, the power is off");
  take_power(server);
  change_rings(kJoinDelay);
}

void Scenario::power_off(Server& server) {
  if (!server.powered) return;
  write(server.name, "power is cut");
  take_power(server);
  change_rings(configuration_.timing.token + configuration_.timing.consensus);
}

void Scenario::take_power(Server& server) {
  server.node.reset();
  server.guard.reset();
  server.powered = server.engine = server.engine_paused = server.machine_paused = server.joined = server.frozen = false;
  server.ring = 0;
  server.ring_members.clear();
  server.view.clear();
  server.resources.clear();
  server.suspended.clear();
  server.copying_since.clear();
  server.inbox.clear();
  server.outgoing.clear();
  server.held.clear();
  server.missed.clear();
  server.published = Instant{};
  server.guard_knowledge = {};
  server.guard_clocks = server.clocks_ahead;
  server.suspended_at = kNever;
  server.woken_until = Instant{};
}

void Scenario::start_batond(Server& server, Duration joins_after) {
  if (server.node != nullptr || !server.powered) return;
  ++server.starts;
  node::Settings settings;
  settings.self = server.id;
  settings.founding_text = text_;
  settings.founding = configuration_;
  settings.given_up = server.given_up;
  settings.start = server.starts * 64 + server.id.value;
  settings.published_lease = server.published;
  server.node = std::make_unique<node::NodeCore>(settings, server.disk, local_now(server));
  server.tick_at = kNever;
  server.made_key.clear();
  report_keys(server);
  feed(server, node::GuardReported{server.guard->report(local_now(server))});
  report_mirrors(server);
  if (joins_after == Duration{0}) {
    server.joined = true;  // with the next ring
    return;
  }
  at(now_ + joins_after, [this, &server, starts = server.starts] {
    if (server.starts != starts || server.node == nullptr) return;
    server.joined = true;
    if (server.ring != 0) give_views_of_ring(server);
  });
}

void Scenario::kill_batond(Server& server) {
  if (server.node == nullptr) return;
  server.node.reset();
  server.joined = server.frozen = false;
  server.view.clear();
  server.inbox.clear();
  std::erase_if(server.outgoing, [](const Packet& each) { return std::holds_alternative<node::Send>(each); });
  std::erase_if(server.held, [](const Held& each) { return std::holds_alternative<node::Send>(each.message); });
  at(now_ + kProcessEndDelay, [this, &server] {
    if (server.ring != 0 && !server.joined) give_views_of_ring(server);
  });
}

void Scenario::pause_machine(Server& server, bool paused) {
  server.machine_paused = paused;
  network_changed(!paused);
  if (paused) return;
  for (const auto& what : std::exchange(server.missed, {})) what();
  feed_guard(server, guard::Tick{});
  feed(server, node::Tick{});
}

void Scenario::feed(Server& server, const node::Event& event) {
  if (server.node == nullptr) return;
  server.inbox.push_back(event);
  if (server.feeding) return;
  server.feeding = true;
  while (!server.inbox.empty() && server.node != nullptr && !server.frozen && !server.machine_paused) {
    const node::Event next = std::move(server.inbox.front());
    server.inbox.pop_front();
    std::vector<node::Action> actions;
    server.node->lease_page(server.published);
    server.node->time_of_day(time_of_day());
    server.node->step(local_now(server), next, actions);
    for (auto& action : actions) carry_out(server, action);
  }
  server.feeding = false;
  arm_tick(server);
}

void Scenario::arm_tick(Server& server) {
  if (server.node == nullptr || server.frozen || server.machine_paused) return;
  const Instant tick = server.node->next_tick();
  if (tick == kNever || tick == server.tick_at) return;
  server.tick_at = tick;
  at(std::max(tick - server.clock_ahead, now_), [this, &server, tick, starts = server.starts] {
    if (server.starts != starts || server.node == nullptr || server.tick_at != tick) return;
    server.tick_at = kNever;
    if (!server.frozen && !server.machine_paused) feed(server, node::Tick{});
  });
}

void Scenario::carry_out(Server& server, node::Action& action) {
  if (carry_out_keys(server, action)) return;
  if (auto* message = std::get_if<node::Send>(&action)) {
    send(server, *message);
  } else if (auto* wanted = std::get_if<node::Persist>(&action)) {
    persist(server, *wanted);
  } else if (auto* told = std::get_if<node::TellGuard>(&action)) {
    at(now_ + kSocketDelay, [this, &server, boots = server.boots, event = told->tell] {
      if (server.boots == boots && server.guard != nullptr) feed_guard(server, event);
    });
  } else if (auto* round = std::get_if<node::DiskRound>(&action)) {
    disk_round(server, *round);
  } else if (auto* ping = std::get_if<node::SendPing>(&action)) {
    send_ping(server, *ping);
  } else if (auto* step = std::get_if<node::RunStep>(&action)) {
    begin_step(server, *step);
  } else if (auto* check = std::get_if<node::RunCheck>(&action)) {
    run_check(server, *check);
  } else if (auto* fenced = std::get_if<node::FenceServer>(&action)) {
    fence(server, *fenced);
  } else if (auto* entry = std::get_if<node::EntryApplied>(&action)) {
    applied(*entry);
  } else if (auto* decided = std::get_if<node::Decided>(&action)) {
    if (decided->decided && decided->outcome.applied) return;
    refused_ = decided->decided;
    write("operator", decided->decided ? "refused: " + decided->outcome.refusal : "not known whether it was done");
  } else if (auto* down = std::get_if<node::StandDown>(&action)) {
    stand_down(server, *down);
  } else if (auto* anew = std::get_if<node::StartAnew>(&action)) {
    write(server.name, "batond starts anew: " + anew->reason);
    at(now_, [this, &server, boots = server.boots] {
      if (server.boots != boots || server.node == nullptr) return;
      kill_batond(server);
      start_batond(server, milliseconds(50));
    });
  } else if (std::holds_alternative<node::EndServer>(action)) {
    at(now_, [this, &server, boots = server.boots] {
      if (server.boots == boots) end_in_order(server);
    });
  } else if (auto* note = std::get_if<node::Note>(&action)) {
    const bool of_the_lease = note->text.starts_with("the lease") || note->text.starts_with("lease");
    const bool detail = (note->kind == "database" && !of_the_lease) || note->kind == "membership";
    if (note->kind != "step") write(server.name, note->text, detail ? Level::kAll : Level::kGroups);
  }
}

/// A survivor's batond ends and is started again with an empty database, as it does.
void Scenario::stand_down(Server& server, const node::StandDown& wanted) {
  if (!wanted.survivor) {
    server.given_up = true;
    return;
  }
  at(now_ + kStepDelay, [this, &server, starts = server.starts] {
    if (server.starts != starts) return;
    kill_batond(server);
    kill_guard(server);
    server.guard_knowledge = {};
    server.disk = database::StoredVoter{};
    start_guard_again(server);
    start_batond(server, kJoinDelay);
  });
}

void Scenario::persist(Server& server, const node::Persist& wanted) {
  at(now_ + kPersistDelay, [this, &server, starts = server.starts, wanted] {
    if (server.starts != starts || server.node == nullptr) return;
    const bool ok = !server.disk_full;
    if (ok) {
      auto& disk = server.disk;
      if (wanted.promised) disk.promised = *wanted.promised;
      if (wanted.counting) disk.counting = *wanted.counting;
      if (wanted.keep_up_to) disk.entries.resize(std::min<size_t>(*wanted.keep_up_to, disk.entries.size()));
      disk.entries.insert(disk.entries.end(), wanted.append.begin(), wanted.append.end());
    }
    feed(server, node::Persisted{wanted.token, ok});
  });
}

/// On the disk that two servers have in common. One that hangs is tried until it answers.
void Scenario::disk_round(Server& server, const node::DiskRound& round) {
  at(now_ + kPersistDelay, [this, &server, starts = server.starts, round] {
    if (server.starts != starts || server.node == nullptr) return;
    const auto access = shared_disk_.access(server.id);
    if (access == SharedDisk::Access::kHangs) return disk_round(server, round);
    const bool works = access == SharedDisk::Access::kWorks;
    if (works && round.own) shared_disk_.write(server.id, *round.own);
    at(now_ + kPersistDelay, [this, &server, starts, round, works] {
      if (server.starts != starts || server.node == nullptr) return;
      feed(server, node::DiskRoundDone{round.number, works, works ? shared_disk_.read(server.id) : arbiter::DiskBlock{},
                                       works ? shared_disk_.read(round.other) : arbiter::DiskBlock{}, works ? "" : "input/output error"});
    });
  });
}

bool Scenario::echo_answered(const Server& server, const std::string& address) const {
  const auto& targets = configuration_.ping_targets;
  if (std::find(targets.begin(), targets.end(), address) != targets.end())
    return server.targets == Server::Targets::kOwn || (server.targets == Server::Targets::kByCable && network_.public_plugged(server.id));
  for (const auto& group : configuration_.groups)
    for (const auto& [id, holder] : servers_)
      if (holds_address(*holder, group) && network_.public_plugged(server.id) &&
          std::any_of(group.resources.begin(), group.resources.end(), [&](const auto& each) { return each.address.address == address; }))
        return true;
  return false;
}

void Scenario::send_ping(Server& server, const node::SendPing& ping) {
  at(now_ + kPingDelay, [this, &server, starts = server.starts, ping] {
    if (server.starts != starts || server.node == nullptr || server.machine_paused) return;
    for (const auto& address : ping.addresses)
      if (echo_answered(server, address)) feed(server, node::PingAnswered{ping.number, address, ""});
  });
}

/// Every server applies the same: the first that does stands for all.
void Scenario::applied(const node::EntryApplied& entry) {
  if (entry.entry.index <= applied_index_) return;
  applied_index_ = entry.entry.index;
  const auto& command = entry.entry.command;
  if (!is_worth_a_line(command)) return;
  write("cluster", describe(command) + (entry.outcome.applied ? "" : " (refused: " + entry.outcome.refusal + ")"));
  if (!entry.outcome.applied) return;
  if (const auto* assign = std::get_if<AssignGroup>(&command)) {
    Service& service = services_[assign->group];
    ++service.moves;
    service.explained = {describe(command)};
    for (const auto& cause : assign->causes) service.explained.push_back("  cause: " + cause);
  } else if (const auto* phase = std::get_if<SetGroupPhase>(&command)) {
    services_[phase->group].explained.push_back(describe(command));
  } else if (const auto* wanted = std::get_if<WishGroup>(&command)) {
    services_[wanted->group].explained.push_back(describe(command));
  } else if (const auto* configuration = std::get_if<ApplyConfiguration>(&command)) {
    configuration_ = parsed(configuration->text);
  }
}

/// What a script that is started is told.
std::string Scenario::told_of(const node::RunStep& step) const {
  const auto* group = configuration_.group(step.group);
  const auto* resource = group == nullptr ? nullptr : group->find(step.resource);
  const bool starts = step.action == group::StepAction::kStart || step.action == group::StepAction::kRunOnce;
  if (!starts || resource == nullptr || resource->kind != ResourceKind::kScript) return "";
  return fmt::format(" ({}, {}{})", node::to_string(step.event), step.home ? "HOME" : "OTHER",
                     step.action == group::StepAction::kRunOnce ? ", without disk" : "");
}

void Scenario::begin_step(Server& server, const node::RunStep& wanted) {
  Step step{wanted, wanted.group + "." + wanted.resource, server.boots, server.starts, 0, ""};
  const std::string place = server.name + " " + step.key;
  const bool start = wanted.action == group::StepAction::kStart;
  const bool kill = wanted.action == group::StepAction::kKill;
  const bool in_order = start || wanted.action == group::StepAction::kStop;
  const bool hangs = (in_order && hanging_.contains(place)) || (kill && unkillable_.contains(place));
  if (kill) ++server.kills[step.key];
  step.kills = server.kills[step.key];
  if (start && failing_.contains(place)) step.error = failing_.at(place);
  if (wanted.action != group::StepAction::kAdopt)
    write(server.name, fmt::format("{} {}{}{}{}{}", group::to_string(wanted.action), step.key, wanted.program.empty() ? "" : "/" + wanted.program,
                                   told_of(wanted), step.error.empty() ? "" : " fails", hangs ? " hangs" : ""));
  if (hangs) return;
  const auto slow = slow_.find(place);
  at(now_ + (start && slow != slow_.end() ? slow->second : kStepDelay),
     [this, &server, step] { finish_step(server, step); });
}

void Scenario::run_check(Server& server, const node::RunCheck& check) {
  const auto scripted = findings_.find(fmt::format("{} {}.{}", server.name, check.group, check.monitor.name));
  const group::Verdict verdict = scripted == findings_.end() ? group::Verdict::kGood : scripted->second;
  node::CheckDone done{check.token, verdict, "answered (scripted)"};
  if (verdict == group::Verdict::kBad) done.detail = "it does not answer (scripted)";
  if (verdict == group::Verdict::kUnknown) done.detail = "it could not be asked (scripted)";
  at(now_ + kSocketDelay, [this, &server, boots = server.boots, starts = server.starts, done] {
    if (server.boots == boots && server.starts == starts && server.node != nullptr) feed(server, done);
  });
}

void Scenario::finish_step(Server& server, const Step& step) {
  if (server.boots != step.boots || !server.powered) return;
  if (server.machine_paused) {
    server.missed.push_back([this, &server, step] { finish_step(server, step); });
    return;
  }
  const auto action = step.wanted.action;
  const bool overtaken = action != group::StepAction::kKill && server.kills[step.key] != step.kills;
  const auto* group = configuration_.group(step.wanted.group);
  const auto* resource = group == nullptr ? nullptr : group->find(step.wanted.resource);
  // batond itself takes and drops an address: that ends with it. Other things are done by daemons and helpers.
  const bool by_batond = resource != nullptr && resource->kind == ResourceKind::kAddress;
  if (by_batond && server.starts != step.starts) return;
  bool ok = step.error.empty() && !overtaken;
  const bool changes_nothing = action == group::StepAction::kRunOnce || action == group::StepAction::kRestartProgram;
  // An address that was dropped while the lease was over is not found.
  if (action == group::StepAction::kAdopt) ok = server.resources[step.key] && !(by_batond && server.suspended.contains(step.key));
  if (action == group::StepAction::kStart && !overtaken) server.resources[step.key] = ok;
  if (action == group::StepAction::kStart && server.resources[step.key] && server.node != nullptr &&
      server.incarnations.contains(step.key))
    look_for_stale_start(server, step.key);
  if (action == group::StepAction::kStop || action == group::StepAction::kKill) server.resources[step.key] = false;
  if (action == group::StepAction::kResume && by_batond) server.resources[step.key] = ok;  // the guard may have dropped it
  if (action == group::StepAction::kSuspend) {
    server.suspended.insert(step.key);
  } else if (action != group::StepAction::kAdopt && !changes_nothing) {
    server.suspended.erase(step.key);
  }
  if (server.starts == step.starts) feed(server, node::StepDone{step.wanted.token, ok, step.error});
  report_mirrors(server);
}

bool Scenario::run_next(Instant until) {
  if (queue_.empty() || queue_.begin()->first.first > until) return false;
  auto first = queue_.extract(queue_.begin());
  now_ = std::max(now_, first.key().first);
  first.mapped()();
  observe();
  return true;
}

void Scenario::run_for(Duration duration) {
  const Instant until = now_ + duration;
  while (run_next(until)) {
  }
  now_ = until;
}

}  // namespace baton::sim
