// The lines of a script, word by word: what happens to servers, cables and groups, and what people ask. The language is
// described in tests/scenarios/README.md.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "sim/scenario_server.h"
#include "src/core/database/restored_voter.h"
#include "src/core/node/maintenance_wish.h"
#include "src/model/configuration_toml.h"

namespace baton::sim {

namespace {

constexpr Duration kJoinDelay = 50ms;

Duration milliseconds_of(const std::string& word) { return milliseconds(std::stoll(word)); }

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word && word[0] != '#';) words.push_back(word);
  return words;
}

}  // namespace

Status Scenario::run_line(const std::string& line) {
  const auto words = words_of(line);
  if (words.empty()) return {};
  try {
    Status run = run_general(words);
    observe();
    if (!run) return fail("{}: {}", line, run.error().message);
  } catch (const std::out_of_range&) {
    return fail("{}: words are missing, or too large a number", line);
  } catch (const std::invalid_argument&) {
    return fail("{}: a number is expected", line);
  }
  return {};
}

Status Scenario::run_general(const Words& words) {
  const std::string& verb = words[0];
  if (verb == "run") {
    run_for(milliseconds_of(words.at(1)));
  } else if (verb == "log") {
    level_ = words.at(1) == "all" ? Level::kAll : words[1] == "groups" ? Level::kGroups : Level::kNone;
  } else if (verb == "boot-all") {
    for (auto& [id, server] : servers_) boot(*server);
  } else if (verb == "begin") {  // a cluster at work, with nothing said about how it came up
    const Level wanted = std::exchange(level_, Level::kNone);
    for (auto& [id, server] : servers_) boot(*server);
    run_for(3s);
    level_ = wanted;
    mark();
    write_state();
  } else if (verb == "time-of-day") {
    midnight_ = std::chrono::minutes(std::stoll(words.at(1)) * 60 + std::stoll(words.at(2))) - now_.time_since_epoch();
  } else if (verb == "state") {
    write_state();
  } else if (verb == "explain") {
    explain(words.at(1));
  } else if (verb == "mark") {
    mark();
  } else if (verb == "two-owners") {
    two_owners_ = true;
  } else if (verb == "expect") {
    return expect(words);
  } else if (verb.starts_with("expect-") && verb != "expect-refused") {
    return expect_since_mark(words);
  } else if (verb == "heal" || verb == "cut-way" || verb == "mend-way") {
    return run_network(words);
  } else if (words.size() > 1 && verb != "fence" && find(words[1]) != nullptr) {
    return run_on_server(*find(words[1]), words);
  } else {
    return run_request(words);
  }
  return {};
}

Status Scenario::run_network(const Words& words) {
  if (words[0] == "heal") {
    network_.heal();
    write("network", "healed");
    network_changed(true);
    return {};
  }
  const Server* from = find(words.at(1));
  const Server* to = find(words.at(2));
  if (from == nullptr || to == nullptr) return fail("no such server");
  const bool open = words[0] == "mend-way";
  network_.set_way_open(from->id, to->id, open);
  write("network", fmt::format("{} {} {}", from->name, open ? "gets through again to" : "no longer gets through to", to->name));
  network_changed(open);
  return {};
}

/// VERB SERVER ...
Status Scenario::run_on_server(Server& server, const Words& words) {
  for (const auto part : {&Scenario::run_on_machine, &Scenario::run_on_clocks, &Scenario::run_on_cables, &Scenario::run_on_programs,
                          &Scenario::run_on_resources}) {
    bool known = true;
    if (auto run = (this->*part)(server, words, known); known || !run) return run;
  }
  return fail("unknown line");
}

Status Scenario::run_on_machine(Server& server, const Words& words, bool& known) {
  const std::string& verb = words[0];
  if (verb == "power-off") {
    power_off(server);
  } else if (verb == "power-on") {
    boot(server);
  } else if (verb == "takeover") {
    return take_over(server);
  } else if (verb == "rotate-keys") {
    if (words.size() != 3) return fail("rotate-keys SERVER MILLISECONDS");
    return rotate_keys(server, milliseconds(std::stoll(words[2])));
  } else if (verb == "waits") {
    const std::string waiting = server.node->partition_waiting(local_now(server));
    write(server.name, waiting.empty() ? "waits for nothing" : "waits: " + waiting);
  } else if (verb == "pause-machine" || verb == "resume-machine") {
    write(server.name, verb == "pause-machine" ? "the machine stands still" : "the machine goes on");
    pause_machine(server, verb == "pause-machine");
  } else if (verb == "clock-jump") {
    server.clock_ahead += milliseconds_of(words.at(2));
    write(server.name, fmt::format("its clock jumps ahead by {} ms", words[2]));
    feed(server, node::Tick{});
  } else if (verb == "disk-full" || verb == "disk-free") {
    server.disk_full = verb == "disk-full";
    write(server.name, server.disk_full ? "the disk under its database is full"
                                        : "the disk under its database has room again");
  } else if (verb == "np-disk-fails" || verb == "np-disk-hangs" || verb == "np-disk-works") {
    shared_disk_.set_access(server.id, verb == "np-disk-fails"   ? SharedDisk::Access::kFails
                                       : verb == "np-disk-hangs" ? SharedDisk::Access::kHangs
                                                                 : SharedDisk::Access::kWorks);
    write(server.name, "the disk in common " + verb.substr(8) + " there");
  } else if (verb == "np-disk") {
    const std::string standing = server.node->disk_standing();
    write(server.name, "the disk in common: " + (standing.empty() ? "all is well" : standing));
  } else if (verb == "prepare-np-disk") {
    const std::string refusal = server.node->why_not_prepare_disk(local_now(server), words.at(2));
    refused_ = !refusal.empty();
    if (!refused_) shared_disk_.clear();
    write("operator", refused_ ? "refused: " + refusal : "prepares the disk in common anew");
  } else if (verb == "ping-cut" || verb == "ping-own" || verb == "ping-mend") {
    using Targets = Server::Targets;
    server.targets = verb == "ping-cut" ? Targets::kCut : verb == "ping-own" ? Targets::kOwn : Targets::kByCable;
    write(server.name, verb == "ping-cut"   ? "it reaches no ping target"
                       : verb == "ping-own" ? "a ping target is on its own side of every cut"
                                            : "it reaches the ping targets by its cable");
  } else if (verb == "ping") {
    const std::string standing = server.node->ping_standing();
    write(server.name, "the ping targets: " + (standing.empty() ? "all is well" : standing));
  } else if (verb == "lose-database") {
    server.disk = database::StoredVoter{};
    server.given_up = false;
    write(server.name, "its database is lost");
  } else if (verb == "backup") {
    if (server.node == nullptr) return fail("{} does not run", server.name);
    const auto& entries = server.disk.entries;
    const size_t committed = std::min<size_t>(server.node->standing().committed, entries.size());
    backup_.assign(entries.begin(), entries.begin() + static_cast<ptrdiff_t>(committed));
    write(server.name, "a backup of the cluster database is made");
  } else if (verb == "restore") {
    if (server.powered || backup_.empty()) return fail("{} has power, or there is no backup", server.name);
    restore(server);
  } else if (verb == "replace-disk") {
    for (auto& [key, incarnation] : server.incarnations) incarnation.value += 1000;  // a new copy begins at a random one
    write(server.name, "its disk is replaced by a new one");
  } else if (verb == "fence-fails" || verb == "fence-lies") {
    fence_faults_[server.id] = verb;
  } else if (verb == "fence-works") {
    fence_faults_.erase(server.id);
  } else {
    known = false;
  }
  return {};
}

/// As `baton cluster restore` on it, batond being stopped.
void Scenario::restore(Server& server) {
  const uint64_t round = database::restore_round(wall_ms(), 0);
  server.disk = database::restored_voter(backup_, {server.id, {server.id}, round, wall_ms(), wall_ms(), "a server", "operator",
                                                  server.key});
  server.given_up = false;
  applied_index_ = backup_.size();
  write(server.name, "the operator begins with the backup here");
}

Status Scenario::run_on_cables(Server& server, const Words& words, bool& known) {
  const std::string& verb = words[0];
  const bool in = verb == "plug" || verb == "mend";
  known = in || verb == "unplug" || verb == "cut";
  if (!known) return {};
  if (verb == "cut" || verb == "mend") {
    network_.set_all_plugged(server.id, in);
    write(server.name, in ? "every cable is back in" : "every link is cut");
  } else if (words.at(2) == "mirror") {
    network_.set_mirror_open(server.id, in);
    write(server.name, in ? "its mirror port is open again" : "its mirror port is closed by a firewall");
    return {};
  } else {
    if (auto plugged = network_.set_plugged(server.id, words.at(2), in); !plugged) return plugged;
    write(server.name, fmt::format("cable {} is {}", words[2], in ? "back in" : "out"));
  }
  network_changed(in);
  return {};
}

Status Scenario::run_on_programs(Server& server, const Words& words, bool& known) {
  const std::string& verb = words[0];
  if (verb == "pause") {
    server.frozen = true;
    write(server.name, "batond is stopped (SIGSTOP)");
  } else if (verb == "resume") {
    server.frozen = false;
    write(server.name, "batond goes on (SIGCONT)");
    feed(server, node::Tick{});
  } else if (verb == "recover") {
    write(server.name, "the operator gives up those that are not here, and recovers the cluster");
    feed(server, node::Recover{0, "operator"});
  } else if (verb == "kill-batond") {
    write(server.name, "batond is killed");
    kill_batond(server);
  } else if (verb == "start-batond") {
    write(server.name, "batond is started");
    start_batond(server, kJoinDelay);
  } else if (verb == "kill-guard") {
    write(server.name, "its guard is killed");
    kill_guard(server);
  } else if (verb == "start-guard") {
    write(server.name, "its guard is there again");
    start_guard_again(server);
  } else if (verb == "kill-corosync") {
    write(server.name, "corosync is killed");
    kill_corosync(server);
  } else if (verb == "start-corosync") {
    write(server.name, "corosync is started");
    server.engine = true;
    change_rings(kJoinDelay);
  } else if (verb == "pause-corosync" || verb == "resume-corosync") {
    server.engine_paused = verb == "pause-corosync";
    write(server.name, server.engine_paused ? "corosync is stopped (SIGSTOP)" : "corosync goes on (SIGCONT)");
    network_changed(!server.engine_paused);
  } else {
    known = false;
  }
  return {};
}

/// takeover SERVER: an operator looks at what it means, and accepts it.
Status Scenario::take_over(Server& server) {
  if (server.node == nullptr) return fail("{} is off", server.name);
  refused_ = false;
  const auto offer = server.node->offer_takeover(local_now(server), "operator");
  if (!offer) {
    refused_ = true;
    write("operator", "refused: " + offer.error().message);
    return {};
  }
  write("operator", "lets " + server.name + " go on alone");
  for (const auto& fact : offer->facts) write("operator", "  is shown: " + fact);
  feed(server, node::Requested{++order_, offer->command, wall_ms()});
  return {};
}

/// VERB SERVER GROUP.RESOURCE
Status Scenario::run_on_resources(Server& server, const Words& words, bool& known) {
  const std::string& verb = words[0];
  const std::string place = server.name + " " + words.at(2);
  if (verb == "fail") return fail_resource(server, words[2]);
  if (verb == "start-fails") {
    failing_[place] = "it does not start (scripted)";
  } else if (verb == "start-works") {
    failing_.erase(place);
  } else if (verb == "finds") {
    return set_finding(place, words.at(3));
  } else if (verb == "program" || verb == "program-ends") {
    return verb == "program" ? start_program(server, words) : end_program(server, words);
  } else if (verb == "hangs") {
    hanging_.insert(place);
  } else if (verb == "hangs-no-more") {
    hanging_.erase(place);
  } else if (verb == "unkillable") {
    unkillable_.insert(place);
  } else if (verb == "killable") {
    unkillable_.erase(place);
  } else if (verb == "mirror-daemon-gone") {
    server.incarnations.erase(words[2]);
    write(server.name, fmt::format("the mirror daemon of {} is gone, and does not come back", words[2]));
    feed(server, node::MirrorGone{words[2]});
  } else if (verb == "slow") {
    slow_[place] = milliseconds_of(words.at(3));
  } else {
    known = false;
  }
  return {};
}

/// What a monitor finds there from now on.
Status Scenario::set_finding(const std::string& place, const std::string& word) {
  const std::map<std::string, group::Verdict> known = {{"good", group::Verdict::kGood}, {"bad", group::Verdict::kBad},
                                                       {"unknown", group::Verdict::kUnknown}};
  const auto verdict = known.find(word);
  if (verdict == known.end()) return fail("monitors find good, bad or unknown");
  findings_[place] = verdict->second;
  return {};
}

/// program SERVER GROUP.SCRIPT ID RESTARTS [with-script] [ACTION]: the script has it supervised.
Status Scenario::start_program(Server& server, const Words& words) {
  const auto dot = words.at(2).find('.');
  if (dot == std::string::npos || words.size() < 5) return fail("write GROUP.SCRIPT ID RESTARTS");
  node::ProgramStarted started{words[2].substr(0, dot), words[2].substr(dot + 1), {}};
  started.policy.id = words[3];
  started.policy.restarts = static_cast<uint32_t>(std::stoul(words[4]));
  for (size_t place = 5; place < words.size(); ++place) {
    if (words[place] == "with-script") {
      started.policy.with_script = true;
    } else if (const auto action = final_action(words[place])) {
      started.policy.on_failure = *action;
    } else {
      return fail("\"{}\" is no action", words[place]);
    }
  }
  feed(server, started);
  return {};
}

Status Scenario::end_program(Server& server, const Words& words) {
  const auto dot = words.at(2).find('.');
  if (dot == std::string::npos) return fail("write GROUP.SCRIPT ID");
  feed(server, node::ProgramEnded{words[2].substr(0, dot), words[2].substr(dot + 1), words.at(3), "ended with status 1 (scripted)"});
  return {};
}

Status Scenario::fail_resource(Server& server, const std::string& key) {
  const auto dot = key.find('.');
  if (dot == std::string::npos) return fail("write GROUP.RESOURCE");
  if (!server.resources[key]) return fail("{} is not up there", key);
  server.resources[key] = false;
  feed(server, node::ResourceFailed{key.substr(0, dot), key.substr(dot + 1), "it ended (scripted)"});
  return {};
}

/// What people ask.
Status Scenario::run_request(const Words& words) {
  if (words[0] == "expect-refused") return refused_ ? Status{} : fail("the last request was not refused");
  refused_ = false;
  if (words[0] == "wish") return wish(words);
  if (words[0] == "maintenance") return maintenance(words);
  if (words[0] == "mirror") return mirror_command(words);
  if (words[0] == "fence") return fence_command(words);
  if (words[0] == "apply") return apply_file(words.at(1));
  return fail("unknown line");
}

/// At the first server that knows the present state.
void Scenario::request(const Command& command) {
  for (auto& [id, server] : servers_) {
    if (server.get() != knowing()) continue;
    feed(*server, node::Requested{++order_, command, 0});
    return;
  }
  refused_ = true;
  write("operator", "refused: no server serves");
}

/// wish GROUP start|stop|move [SERVER]
Status Scenario::wish(const Words& words) {
  const Server* server = knowing();
  WishGroup command;
  command.group = words.at(1);
  command.wanted = words.at(2) != "stop";
  command.reason = words[2] + " asked by the operator";
  command.author = "operator";
  if (words.size() > 3) {
    if (find(words[3]) == nullptr) return fail("no server {}", words[3]);
    command.target = find(words[3])->id;
  }
  if (server != nullptr) {
    const auto group = server->node->state().groups.find(words[1]);
    if (group == server->node->state().groups.end()) return fail("no group {}", words[1]);
    command.expected_version = group->second.version;
    if (const auto possible = server->node->check_wish(local_now(*server), command); !possible) {
      refused_ = true;
      write("operator", "refused: " + possible.error().message);
      return {};
    }
  }
  request(command);
  return {};
}

/// maintenance cluster VERB | server|group NAME VERB, then SECONDS (of a suspension, or the limit of a shutdown) or stop (of a
/// shutdown)
Status Scenario::maintenance(const Words& words) {
  const Server* server = knowing();
  const bool cluster = words.at(1) == "cluster";
  node::MaintenanceWish asked;
  asked.scope = words[1];
  asked.name = cluster ? "" : words.at(2);
  asked.verb = words.at(cluster ? 2 : 3);
  asked.author = "operator";
  const std::string& last = words.back();
  if (std::find(words.begin(), words.end(), "stop") != words.end()) asked.move = false;
  if (last[0] >= '0' && last[0] <= '9') (asked.verb == "shutdown" ? asked.limit : asked.lasts) = seconds(std::stoll(last));
  if (server == nullptr) {
    refused_ = true;
    write("operator", "refused: no server serves");
    return {};
  }
  const auto command = node::make_maintenance(*server->node, local_now(*server), asked);
  if (command) {
    request(*command);
  } else {
    refused_ = true;
    write("operator", "refused: " + command.error().message);
  }
  return {};
}

/// mirror GROUP.RESOURCE break|rejoin | force|restrict|lift SERVER
Status Scenario::mirror_command(const Words& words) {
  const Server* server = knowing();
  if (server == nullptr || !server->node->state().mirrors.contains(words.at(1))) return fail("the mirror is not known");
  const uint64_t version = server->node->state().mirrors.at(words[1]).version;
  const std::string& verb = words.at(2);
  if (verb == "break" || verb == "rejoin") {
    request(BreakMirror{words[1], version, verb == "break", "operator"});
    return {};
  }
  Server* target = find(words.at(3));
  if (target == nullptr) return fail("no server {}", words[3]);
  if (verb == "force") {
    request(ForceMirror{words[1], version, target->id, target->incarnations[words[1]], "what it lacks", "operator"});
  } else {
    request(RestrictMirror{words[1], version, target->id, verb == "restrict", "operator"});
  }
  return {};
}

/// apply FILE: a whole new configuration, from the scenario's folder.
Status Scenario::apply_file(const std::string& name) {
  std::ifstream file(folder_ + "/" + name);
  std::stringstream text;
  text << file.rdbuf();
  auto changed = parse_configuration(text.str());
  if (!changed) return changed.error().message.empty() ? fail("{} cannot be read", name) : fail("{}", changed.error().message);
  const Server* server = knowing();
  request(ApplyConfiguration{server == nullptr ? 0 : server->node->state().configuration_version, text.str(), "operator"});
  return {};
}

}  // namespace baton::sim
