// The scripted cluster: servers, an ideal bus, mirrors that copy in half a second. Deterministic, one thread.
#include "sim/scenario.h"
#include "sim/scenario_server.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <sstream>

#include "src/base/assert.h"
#include "src/model/configuration_toml.h"
#include "src/model/mirror_place.h"

namespace baton::sim {

namespace {

constexpr Duration kMessageDelay = 200us;
constexpr Duration kPersistDelay = 1ms;
constexpr Duration kStepDelay = 20ms;
constexpr Duration kCopyTime = 500ms;
constexpr Duration kJoinDelay = 50ms;
constexpr Duration kMirrorTick = 100ms;

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

}  // namespace

Scenario::Scenario(const std::string& configuration_text) : text_(configuration_text) {
  auto parsed = parse_configuration(text_);
  BATON_ASSERT(parsed.has_value());
  configuration_ = *parsed;
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

void Scenario::write(const std::string& server, const std::string& text) {
  log_.push_back(fmt::format("[{:8.3f}] {}: {}", static_cast<double>(to_ns(now_)) / 1e9 - 1.0, server, text));
}

Scenario::Server* Scenario::find(const std::string& name) {
  for (auto& [id, server] : servers_)
    if (server->name == name) return server.get();
  return nullptr;
}

void Scenario::boot(Server& server) {
  if (server.node != nullptr) return;
  ++server.boots;
  node::Settings settings;
  settings.self = server.id;
  settings.founding_text = text_;
  settings.founding = configuration_;
  settings.start = server.boots * 64 + server.id.value;
  for (const auto& group : configuration_.groups) {
    for (const auto& resource : group.resources)
      if (resource.kind == ResourceKind::kMirror) ++server.incarnations[mirror_key(group.name, resource.name)].value;
  }
  server.node = std::make_unique<node::NodeCore>(settings, server.disk, now_);
  write(server.name, "powered on");
  start_guard(server);
  report_mirrors(server);
  const uint64_t boots = server.boots;
  at(now_ + kMirrorTick, [this, &server, boots] {
    if (server.boots == boots && server.node != nullptr) mirror_tick(server);
  });
  change_views(kJoinDelay);
}

void Scenario::power_off(Server& server, bool silent) {
  if (server.node == nullptr) return;
  server.node.reset();
  server.guard.reset();
  server.view.clear();
  server.resources.clear();
  server.copying_since.clear();
  server.inbox.clear();
  server.published = Instant{};
  write(server.name, "power is cut");
  change_views(silent ? configuration_.timing.token + configuration_.timing.consensus : kJoinDelay);
}

std::set<ServerId> Scenario::component(ServerId of) const {
  std::set<ServerId> members;
  for (const auto& [id, server] : servers_) {
    if (server->node == nullptr) continue;
    if (id == of || (!cut_.contains(id) && !cut_.contains(of))) members.insert(id);
  }
  return members;
}

void Scenario::change_views(Duration after) {
  at(now_ + after, [this] {
    for (auto& [id, server] : servers_) {
      if (server->node == nullptr) continue;
      const auto members = component(id);
      if (members == server->view) continue;
      node::ViewChanged change{members, {}};
      for (const auto member : server->view)
        if (!members.contains(member)) change.departed[member] = node::Departure::kServerDown;
      server->view = members;
      feed_guard(*server, guard::ViewChanged{members});
      feed(*server, change);
    }
  });
}

void Scenario::feed(Server& server, const node::Event& event) {
  server.inbox.push_back(event);
  if (server.feeding) return;
  server.feeding = true;
  while (!server.inbox.empty() && server.node != nullptr && !server.frozen) {
    const node::Event next = std::move(server.inbox.front());
    server.inbox.pop_front();
    std::vector<node::Action> actions;
    server.node->lease_page(server.published);
    server.node->step(now_, next, actions);
    for (auto& action : actions) carry_out(server, action);
  }
  server.feeding = false;
  if (server.node == nullptr || server.frozen) return;
  const Instant tick = server.node->next_tick();
  if (tick == kNever || tick == server.tick_at) return;
  server.tick_at = tick;
  at(std::max(tick, now_), [this, &server, tick, boots = server.boots] {
    if (server.boots != boots || server.node == nullptr || server.tick_at != tick) return;
    server.tick_at = kNever;
    feed(server, node::Tick{});
  });
}

void Scenario::deliver(Server& from, const node::Message& message) {
  auto view = from.view;
  const auto reach = component(from.id);
  std::erase_if(view, [&](ServerId id) { return !reach.contains(id); });
  at(now_ + kMessageDelay, [this, sender = from.id, view, message] {
    for (auto& [id, server] : servers_)
      if (server->node != nullptr && view.contains(id) && server->view.contains(sender))
        feed(*server, node::MessageReceived{sender, message});
  });
}

void Scenario::carry_out(Server& server, node::Action& action) {
  const uint64_t boots = server.boots;
  if (auto* send = std::get_if<node::Send>(&action)) {
    deliver(server, send->message);
  } else if (auto* persist = std::get_if<node::Persist>(&action)) {
    at(now_ + kPersistDelay, [this, &server, boots, wanted = *persist] {
      if (server.boots != boots || server.node == nullptr) return;
      if (wanted.promised) server.disk.promised = *wanted.promised;
      if (wanted.counting) server.disk.counting = *wanted.counting;
      if (wanted.keep_up_to) server.disk.entries.resize(std::min<size_t>(*wanted.keep_up_to, server.disk.entries.size()));
      server.disk.entries.insert(server.disk.entries.end(), wanted.append.begin(), wanted.append.end());
      feed(server, node::Persisted{wanted.token, true});
    });
  } else if (auto* tell = std::get_if<node::TellGuard>(&action)) {
    at(now_ + 20us, [this, &server, boots, event = tell->tell] {
      if (server.boots == boots && server.guard != nullptr) feed_guard(server, event);
    });
  } else if (auto* step = std::get_if<node::RunStep>(&action)) {
    step_done_later(server, *step);
  } else if (auto* applied = std::get_if<node::EntryApplied>(&action)) {
    // Once is enough: every server applies the same; the leader's log line stands for all.
    if (server.node->standing().leader == server.id && !std::holds_alternative<StartEpoch>(applied->entry.command))
      write("cluster", describe(applied->entry.command) +
                           (applied->outcome.applied ? "" : " (refused: " + applied->outcome.refusal + ")"));
  } else if (auto* note = std::get_if<node::Note>(&action)) {
    if (note->kind != "step") write(server.name, note->text);
  }
}

void Scenario::step_done_later(Server& server, const node::RunStep& step) {
  const std::string key = step.group + "." + step.resource;
  const bool adopt = step.action == group::StepAction::kAdopt;
  const auto failing = failing_.find(server.name + " " + key);
  const bool fails = step.action == group::StepAction::kStart && failing != failing_.end();
  if (!adopt) write(server.name, fmt::format("{} {}{}", group::to_string(step.action), key, fails ? " fails" : ""));
  at(now_ + kStepDelay, [this, &server, step, key, adopt, fails, boots = server.boots,
                         error = fails ? failing->second : std::string()] {
    if (server.boots != boots || server.node == nullptr) return;
    bool ok = !fails;
    if (adopt) ok = server.resources[key];
    if (step.action == group::StepAction::kStart) server.resources[key] = ok;
    if (step.action == group::StepAction::kStop || step.action == group::StepAction::kKill) server.resources[key] = false;
    feed(server, node::StepDone{step.token, ok, error});
    report_mirrors(server);
  });
}

void Scenario::report_mirrors(Server& server) {
  for (const auto& [key, incarnation] : server.incarnations) {
    if (server.witness || server.node == nullptr) continue;
    MirrorReport report;
    report.incarnation = incarnation;
    report.role = server.resources[key] ? MirrorRole::kPrimary : MirrorRole::kSecondary;
    report.exported = server.resources[key];
    feed(server, node::MirrorReported{key, report});
  }
}

void Scenario::mirror_tick(Server& server) {
  at(now_ + kMirrorTick, [this, &server, boots = server.boots] {
    if (server.boots == boots && server.node != nullptr) mirror_tick(server);
  });
  for (const auto& [key, incarnation] : server.incarnations) {
    const auto& mirrors = server.node->state().mirrors;
    const auto found = mirrors.find(key);
    const MirrorPlace place = find_mirror(configuration_, key);
    const bool behind = trailing_may_take_over(configuration_, key);  // A5: named beside the set, not in it
    if (place && place.resource->mirror.protocol == MirrorProtocol::kA && !behind) continue;
    if (!server.resources[key] || found == mirrors.end() || found->second.holder != server.id) continue;
    for (auto& [id, other] : servers_) {
      if (id == server.id || other->witness) continue;
      const bool reachable = other->node != nullptr && server.view.contains(id);
      const auto& named = behind ? found->second.trailing : found->second.in_sync;
      const auto member = named.find(id);
      const bool in_set = member != named.end();
      const bool valid = in_set && member->second == other->incarnations[key];
      SetInSync change{key, found->second.version, found->second.permit, {{server.id, incarnation}}, ""};
      if (in_set && (!reachable || !valid)) {
        change.reason = fmt::format("{} is not reached", other->name);
        feed(server, node::MirrorProposed{change});
      } else if (!in_set && reachable) {
        auto& since = server.copying_since[key];
        if (since == Instant{}) since = now_;
        if (now_ - since < kCopyTime) continue;
        since = Instant{};
        (behind ? change.trailing : change.in_sync)[id] = other->incarnations[key];
        change.reason = other->name + (behind ? " trails behind" : " holds everything again");
        feed(server, node::MirrorProposed{change});
      }
    }
  }
}

bool Scenario::run_next(Instant until) {
  if (queue_.empty() || queue_.begin()->first.first > until) return false;
  auto first = queue_.extract(queue_.begin());
  now_ = std::max(now_, first.key().first);
  first.mapped()();
  return true;
}

void Scenario::run_for(Duration duration) {
  const Instant until = now_ + duration;
  while (run_next(until)) {
  }
  now_ = until;
}

Status Scenario::wish(const std::vector<std::string>& words) {
  // wish GROUP start|stop|move [SERVER]: asked at the first server that runs
  for (auto& [id, server] : servers_) {
    if (server->node == nullptr || !server->node->standing().serving) continue;
    const auto group = server->node->state().groups.find(words.at(1));
    if (group == server->node->state().groups.end()) return fail("no group {}", words[1]);
    WishGroup command;
    command.group = words[1];
    command.expected_version = group->second.version;
    command.wanted = words.at(2) != "stop";
    if (words.size() > 3) command.target = find(words[3])->id;
    command.reason = words[2] + " asked by the operator";
    command.author = "operator";
    const auto possible = server->node->check_wish(now_, command);
    if (!possible) {
      write("operator", "refused: " + possible.error().message);
      return {};
    }
    feed(*server, node::Requested{++order_, command, 0});
    return {};
  }
  write("operator", "refused: no server serves");
  return {};
}

Status Scenario::fail_resource(const std::vector<std::string>& words) {
  // fail SERVER GROUP.RESOURCE: what is up ends
  Server* server = find(words.at(1));
  const auto dot = words.at(2).find('.');
  if (server == nullptr || server->node == nullptr || dot == std::string::npos) return fail("cannot fail {}", words[2]);
  server->resources[words[2]] = false;
  feed(*server, node::ResourceFailed{words[2].substr(0, dot), words[2].substr(dot + 1), "it ended (scripted)"});
  return {};
}

Status Scenario::run_line(const std::string& line) {
  const auto words = words_of(line);
  if (words.empty() || words[0][0] == '#') return {};
  const std::string verb = words[0];
  if (verb == "run") {
    run_for(milliseconds(std::stoll(words.at(1))));
    return {};
  }
  if (verb == "boot-all") {
    for (auto& [id, server] : servers_) boot(*server);
    return {};
  }
  if (verb == "heal") {
    cut_.clear();
    write("network", "healed");
    change_views(kJoinDelay);
    return {};
  }
  if (verb == "wish") return wish(words);
  if (verb == "fail") return fail_resource(words);
  if (words.size() < 2 || find(words[1]) == nullptr) return fail("unknown line: {}", line);
  Server& server = *find(words[1]);
  if (verb == "power-off") power_off(server, true);
  else if (verb == "power-on") boot(server);
  else if (verb == "lose-database") server.disk = database::StoredVoter{};
  else if (verb == "start-fails") failing_[words[1] + " " + words.at(2)] = "it does not start (scripted)";
  else if (verb == "start-works") failing_.erase(words[1] + " " + words.at(2));
  else if (verb == "pause") { server.frozen = true; write(server.name, "batond is stopped (SIGSTOP)"); }
  else if (verb == "resume") { server.frozen = false; write(server.name, "batond goes on (SIGCONT)"); feed(server, node::Tick{}); }
  else if (verb == "cut") {
    cut_.insert(server.id);
    write(server.name, "every link is cut");
    change_views(configuration_.timing.token + configuration_.timing.consensus);
  } else {
    return fail("unknown line: {}", line);
  }
  return {};
}

std::string run_scenario_folder(const std::string& folder, bool write_expected) {
  const auto read = [&](const std::string& name) {
    std::ifstream file(folder + "/" + name);
    std::stringstream text;
    text << file.rdbuf();
    return std::pair(file.good() || !text.str().empty(), text.str());
  };
  const auto [has_readme, readme] = read("README");
  const auto [has_cluster, cluster] = read("cluster.toml");
  const auto [has_script, script] = read("script");
  if (!has_readme || !has_cluster || !has_script) return folder + ": README, cluster.toml or script is missing";
  Scenario scenario(cluster);
  std::istringstream lines(script);
  for (std::string line; std::getline(lines, line);)
    if (auto run = scenario.run_line(line); !run) return folder + ": " + run.error().message;
  std::string log;
  for (const auto& line : scenario.log()) log += line + "\n";
  if (write_expected) {
    std::ofstream(folder + "/expect.log") << log;
    return "";
  }
  const auto [has_expected, expected] = read("expect.log");
  if (!has_expected) return folder + ": expect.log is missing; look at what happened and keep it if it is right:\n" + log;
  if (expected == log) return "";
  std::istringstream wanted(expected), got(log);
  std::string wanted_line, got_line;
  int number = 0;
  do {
    ++number;
    wanted_line = got_line = "(end)";
    std::getline(wanted, wanted_line);
    std::getline(got, got_line);
  } while (wanted_line == got_line);
  return fmt::format("{}: line {}\n  expected: {}\n  got:      {}", folder, number, wanted_line, got_line);
}

}  // namespace baton::sim
