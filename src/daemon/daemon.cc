// batond's wiring: start-up, events in, actions out. One thread: the loop's.
#include "src/daemon/daemon.h"

#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "src/base/overloaded.h"
#include "src/daemon/api.h"
#include "src/daemon/message_codec.h"
#include "src/daemon/status_json.h"
#include "src/daemon/wall_clock.h"
#include "src/model/configuration_toml.h"

namespace baton {

namespace {

constexpr const char* kProcessGroup = "baton";
constexpr Duration kEngineRestart = 100ms;
constexpr Duration kLinkInterval = 1s;
constexpr Duration kFirstBackup = 1min;

Result<std::string> read_text(const std::string& path, const char* what) {
  std::ifstream file(path);
  if (!file) return fail_as(ErrorCode::kNotFound, "cannot read {} ({}): run `baton cluster create` or `baton cluster join` on this server first", path, what);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text;
}

/// The mirror that a command is about; empty: none.
std::string mirror_of(const Command& command) {
  if (const auto* change = std::get_if<SetInSync>(&command)) return change->mirror;
  if (const auto* change = std::get_if<BreakMirror>(&command)) return change->mirror;
  if (const auto* change = std::get_if<ForceMirror>(&command)) return change->mirror;
  if (const auto* change = std::get_if<RestrictMirror>(&command)) return change->mirror;
  return "";
}

/// The group that a command is about; empty: none, or by its mirror.
std::string group_of(const Command& command) {
  return std::visit([](const auto& one) -> std::string {
    if constexpr (requires { one.group; }) return one.group;
    else return "";
  }, command);
}

/// Takeovers that may lose answered writes (A5), and what a person wanted and has not come about; empty: nothing of that.
std::string alert_of(const Command& command) {
  if (const auto* assign = std::get_if<AssignGroup>(&command); assign != nullptr && !assign->loss.empty())
    return "may be lost by the takeover: " + assign->loss;
  const auto* shutdown = std::get_if<SetShutdown>(&command);
  const auto* keys = std::get_if<RotateKeys>(&command);
  const bool called_off = (shutdown != nullptr && shutdown->given_up) || (keys != nullptr && keys->step == RotateKeys::Step::kCancel);
  return called_off ? describe(command) : "";
}

uint64_t random_start() {
  uint64_t value = 0;
  while (value == 0)
    if (getrandom(&value, sizeof value, 0) != sizeof value) value = 0;
  return value;
}

}  // namespace

Daemon::Daemon(EventLoop& loop, DaemonPaths paths)
    : loop_(loop), paths_(std::move(paths)), start_(random_start()), loop_door_(loop) {}
Daemon::~Daemon() { loop_door_.close(); }

Status Daemon::start() {
  if (auto identity = read_identity(); !identity) return pass(identity);
  if (auto stores = open_stores(); !stores) return pass(stores);
  std::error_code ignored;
  std::filesystem::remove(paths_.run_directory + "/stopped", ignored);  // somebody starts it again
  RunnerPaths runner_paths{paths_.run_directory, paths_.log_directory, paths_.program_directory + "/baton-shim"};
  runner_ = std::make_unique<ResourceRunner>(
      loop_, runner_paths, [this](const std::string& key) { return mirror(key); },
      [this](ServerId server) { return macs_[server]; },
      [this](const std::string& group, const std::string& resource, const std::string& reason) {
        feed(node::ResourceFailed{group, resource, reason});
      },
      [this](const node::Event& event) {
        feed(event);
        changed();
      });
  runner_->set_server_name(founding_.server_name(self_));
  log_limit_ = std::make_unique<LogLimit>(loop_, paths_.log_directory);
  if (const auto interfaces = list_interfaces()) {
    for (const auto& interface : *interfaces)
      if (interface.speaks_arp) own_macs_.push_back(interface.mac.text());
  }
  make_mirror_calls();
  monitor_checks_ = std::make_unique<MonitorChecks>(loop_, paths_.program_directory + "/baton-check",
                                                    [this](const node::CheckDone& done) { feed(done); });
  np_disk_ = std::make_unique<NpDiskClient>(loop_, [this] { return keys_.current; }, paths_.run_directory);
  echo_ = std::make_unique<IcmpEcho>(loop_, [this](uint64_t number, const std::string& address) {
    feed(node::PingAnswered{number, address, ""});
  });
  if (auto engine = start_engine(); !engine) return pass(engine);
  start_guard();
  messaging_ = std::make_unique<GroupMessaging>(
      loop_, kProcessGroup,
      GroupMessaging::Callbacks{
          [this](const GroupView& view) { on_view(view); },
          [this](const GroupMember& sender, std::span<const uint8_t> bytes) { on_message(sender, bytes); },
          [this](const std::string& reason) {
            spdlog::warn("corosync: {}", reason);
            feed(node::ViewChanged{});
            mirror_calls_->servers_left({});
            changed();
          }});
  messaging_->open();
  auto http = HttpServer::start(paths_.run_directory + "/api.sock",
                                [this](std::function<void()> call) { loop_.post(std::move(call)); },
                                [this](const HttpRequest& request, HttpRespond respond) {
                                  handle_api_request(*this, request, std::move(respond));
                                });
  if (!http) return pass(http);
  http_ = std::move(*http);
  link_reader_ = std::make_unique<LinkStatusReader>(loop_);
  read_links();
  daily_timer_ = loop_.after(kFirstBackup, [this] { back_up_daily(); });
  report_keys();
  spdlog::info("batond runs as {} of cluster {}", founding_.server_name(self_), founding_.cluster_name);
  return {};
}

Status Daemon::read_identity() {
  const auto name = read_text(paths_.configuration_directory + "/server", "the name of this server");
  if (!name) return pass(name);
  const auto text = read_text(paths_.configuration_directory + "/cluster.toml", "the cluster's configuration");
  if (!text) return pass(text);
  const auto keys = ClusterKeyFiles(paths_.configuration_directory).read();
  if (!keys) return pass(keys);
  keys_ = *keys;
  find_ring_key();
  auto configuration = parse_configuration(*text, paths_.configuration_directory + "/cluster.toml");
  if (!configuration) return pass(configuration);
  const auto* server = configuration->server(trimmed(*name));
  if (server == nullptr)
    return fail_as(ErrorCode::kInvalid, "{}/server says \"{}\", which {}/cluster.toml does not name",
                   paths_.configuration_directory, trimmed(*name), paths_.configuration_directory);
  self_ = server->id;
  founding_text_ = *text;
  founding_ = *configuration;
  joined_ = std::filesystem::exists(paths_.configuration_directory + "/joined");
  read_present_configuration();
  return {};
}

Status Daemon::open_stores() {
  std::error_code ignored;
  for (const auto* directory : {"", "/mirror", "/store"})
    std::filesystem::create_directories(paths_.state_directory + directory, ignored);
  std::filesystem::create_directories(paths_.run_directory, ignored);
  std::filesystem::create_directories(paths_.log_directory, ignored);
  const auto post = [this](std::function<void()> call) { loop_.post(std::move(call)); };
  const std::string database = paths_.state_directory + "/database.sqlite";
  if (auto restored = restore_from_backup(); !restored) return restored;
  const std::string founding_mark = paths_.state_directory + "/founding";
  if (std::filesystem::exists(founding_mark)) {
    // A crash between the two steps leaves both: the database is founded already then.
    if (!std::filesystem::exists(database))
      if (auto founded = VoterStore::found(database, self_); !founded) return pass(founded);
    GuardClient::forget_earlier_cluster(paths_.run_directory);
    std::filesystem::remove(founding_mark, ignored);
  }
  // The first start of one that joined: positions in an earlier cluster's log mean nothing here.
  if (joined_ && !std::filesystem::exists(database) && !std::filesystem::exists(paths_.state_directory + "/cluster.toml"))
    GuardClient::forget_earlier_cluster(paths_.run_directory);
  if (auto anew = begin_anew(); !anew) return anew;
  forget_that_it_was_given_up();
  auto voter = VoterStore::open(database, post, self_);
  if (!voter) return pass(voter);
  voter_store_ = std::move(*voter);
  auto stored = voter_store_->load();
  if (!stored) return pass(stored);
  auto events = EventStore::open(paths_.state_directory + "/events.sqlite", founding_.server_name(self_), post);
  if (!events) return pass(events);
  events_ = std::move(*events);
  alerts_ = std::make_unique<Alerts>(loop_, self_, *events_,
                                     Alerts::Links{[this](const Note& note) { write_note(note); }, [this] { changed(); },
                                                   [this]() -> const Configuration& { return present_; }});
  alerts_->configure();  // as it was known last, until the database serves
  auto page = LeaseWriter::open(paths_.run_directory + "/lease", self_);
  if (!page) return pass(page);
  lease_page_.emplace(std::move(*page));
  node::Settings settings;
  settings.self = self_;
  settings.founding_text = founding_text_;
  settings.founding = founding_;
  settings.joined = joined_;
  settings.given_up = std::filesystem::exists(paths_.state_directory + kGivenUpMark);
  settings.start = start_;
  settings.published_lease = lease_page_->deadline();
  node_ = std::make_unique<node::NodeCore>(settings, std::move(*stored), EventLoop::now());
  return {};
}

Status Daemon::start_engine() {
  EnginePaths paths;
  paths.runtime_directory = paths_.run_directory + "/corosync";
  paths.state_directory = paths_.state_directory + "/corosync";
  paths.log_file = paths_.log_directory + "/corosync.log";
  if (engine_ == nullptr) {
    engine_ = std::make_unique<CorosyncEngine>(loop_, paths, [this](const std::string& how) {
      write_note({.kind = "problem", .text = fmt::format("corosync {}: it is started again", how)});
      engine_timer_ = loop_.after(kEngineRestart, [this] {
        if (auto again = start_engine(); !again) spdlog::error("{}", again.error().message);
      });
    });
  }
  const auto started = engine_->start(engine_config(), ring_key_of(keys_.find(ring_key_)));
  if (!started) {
    engine_timer_ = loop_.after(kLinkInterval, [this] { (void)start_engine(); });
    return pass(started);
  }
  return {};
}

void Daemon::feed(const node::Event& event) {
  queue_.push_back(event);
  if (feeding_ || node_ == nullptr) return;
  feeding_ = true;
  while (!queue_.empty()) {
    const node::Event next = std::move(queue_.front());
    queue_.pop_front();
    std::vector<node::Action> actions;
    node_->lease_page(lease_page_->deadline());
    node_->time_of_day(time_of_day());
    node_->step(EventLoop::now(), next, actions);
    for (auto& action : actions) carry_out(action);
  }
  feeding_ = false;
  follow_membership();
  follow_alerts();
  follow_serving();
  arm_timer();
}

void Daemon::follow_serving() {
  const bool serves = node_->standing().serving;
  if (serves == served_) return;
  served_ = serves;
  not_served_since_ = EventLoop::now();
  changed();
}

/// Who may tell of what all servers know.
void Daemon::follow_alerts() {
  std::set<ServerId> answering{self_};
  for (const auto& [server, peer] : node_->peers())
    if (peer.in_view && !peer.silent) answering.insert(server);
  alerts_->members(answering);
}

/// What cannot even be sent is told at once.
void Daemon::send_ping(const node::SendPing& ping) {
  for (const std::string& address : ping.addresses) {
    const Status sent = is_own_address(address) ? fail_as(ErrorCode::kInvalid, "it is an address of this server itself")
                                                : echo_->send(address, ping.number);
    if (!sent) feed(node::PingAnswered{ping.number, address, sent.error().message});
  }
}

void Daemon::arm_timer() {
  const Instant next = node_->next_tick();
  if (next == timer_at_ && timer_.active()) return;
  timer_at_ = next;
  timer_ = loop_.at(next, [this] {
    timer_at_ = kNever;
    feed(node::Tick{});
  });
}

void Daemon::carry_out(node::Action& action) {
  std::visit(Overloaded{
                 [&](node::Send& wanted) { send(wanted.message, wanted.lineage); },
                 [&](node::Persist& wanted) {
                   const uint64_t token = wanted.token;
                   voter_store_->persist(wanted, [this, token](bool ok, const std::string& error) {
                     problems_.clear();
                     if (!ok) {
                       problems_.push_back(error);
                       spdlog::error("{}", error);
                     }
                     feed(node::Persisted{token, ok});
                   });
                 },
                 [&](node::TellGuard& wanted) { guard_->tell(wanted.tell); },
                 [&](node::RunStep& wanted) { run_step(wanted); },
                 [&](node::RunCheck& wanted) { monitor_checks_->run(wanted, runner_->helper_place(wanted.group)); },
                 [&](node::EndCheck& wanted) { monitor_checks_->end(wanted); },
                 [&](node::FenceServer& wanted) { fence(wanted); },
                 [&](node::EntryApplied& applied) { entry_applied(applied); },
                 [&](node::Decided& decided) {
                   auto found = requests_.find(decided.request);
                   if (found == requests_.end()) return;
                   auto done = std::move(found->second);
                   requests_.erase(found);
                   done(decided.decided, decided.outcome);
                 },
                 [&](node::Note& note) { write_note(note); },
                 [&](node::StandDown& wanted) { stand_down(wanted); },
                 [&](node::StartAnew& wanted) {
                   write_note({.kind = "alert", .text = "batond starts anew: " + wanted.reason});
                   start_anew_ = true;
                   loop_.stop();
                 },
                 [&](node::PeerGone& gone) {
                   for (auto& [key, client] : mirrors_)
                     if (client->settings().peer == gone.server) client->peer_lost(gone.reason);
                 },
                 [&](node::EndServer& end) { end_server(end); },
                 [&](node::FetchKey& wanted) { fetch_key(wanted); },
                 [&](node::ChangeKeys& wanted) { change_keys(wanted); },
                 [&](node::SetRingKey& wanted) { set_ring_key(wanted); },
                 [&](node::DiskRound& round) { np_disk_->run(round, [this](const node::DiskRoundDone& done) { feed(done); }); },
                 [&](node::SendPing& ping) { send_ping(ping); },
             },
             action);
}

void Daemon::on_view(const GroupView& view) {
  node::ViewChanged changed_view;
  for (const auto& member : view.members) changed_view.members.insert(member.server);
  for (const auto& departure : view.left) {
    auto& how = changed_view.departed[departure.member.server];
    switch (departure.reason) {
      case GroupDeparture::Reason::kServerDown: how = node::Departure::kServerDown; break;
      case GroupDeparture::Reason::kLeave: how = node::Departure::kLeft; break;
      default: how = node::Departure::kProcessDown; break;
    }
  }
  feed(changed_view);
  mirror_calls_->servers_left(changed_view.members);
  std::erase_if(peer_links_, [&](const auto& known) { return !changed_view.members.contains(known.first); });
  runner_->announce_addresses();
  look_for_addresses_of(changed_view.members);
  changed();
}

/// While the lease of a lost owner runs out.
void Daemon::look_for_addresses_of(const std::set<ServerId>& members) {
  if (members.empty()) return;
  for (const auto& [name, group] : node_->state().groups)
    if (group.owner != ServerId{} && !members.contains(group.owner)) runner_->look_for_addresses(name);
}

void Daemon::on_message(const GroupMember& sender, std::span<const uint8_t> bytes) {
  Epoch lineage;
  auto message = decode_message({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, &lineage);
  if (!message) {
    spdlog::warn("a message of {} is not understood: {}", founding_.server_name(sender.server), message.error().message);
    return;
  }
  // SAFETY: docs/protocol.md, R2. Of another lineage only the node hears, and its gate decides.
  if (!node_->gate().fits(lineage) || node_->gate().shut())
    return feed(node::MessageReceived{sender.server, std::move(*message), lineage});
  if (const auto* check = std::get_if<node::StoreCheck>(&*message)) return answer_store_check(*check);
  if (const auto* answer = std::get_if<node::StoreChecked>(&*message)) return take_store_answer(sender.server, *answer);
  if (const auto* ask = std::get_if<node::KeyAsk>(&*message)) return answer_key_ask(sender.server, *ask);
  if (const auto* given = std::get_if<node::KeyGiven>(&*message)) return take_key(sender.server, *given);
  if (const auto* call = std::get_if<node::MirrorCall>(&*message)) return mirror_calls_->take(*call);
  if (const auto* answer = std::get_if<node::MirrorAnswer>(&*message)) return mirror_calls_->take(*answer);
  if (const auto* beat = std::get_if<node::BeatMessage>(&*message)) {
    remember_macs(sender.server, beat->macs);
    take_details(sender.server, *beat);
    alerts_->heard(sender.server, beat->alerts);
    const auto known = node_->reports().find(sender.server);
    if (sender.server != self_ && (known == node_->reports().end() || known->second != beat->mirrors)) changed();
  }
  feed(node::MessageReceived{sender.server, std::move(*message), lineage});
}

void Daemon::remember_macs(ServerId server, const std::vector<std::string>& macs) {
  if (macs == known_macs_[server]) return;
  known_macs_[server] = macs;
  auto& parsed = macs_[server];
  parsed.clear();
  for (const auto& mac : macs)
    if (auto address = parse_mac_address(mac)) parsed.push_back(*address);
}

void Daemon::send(node::Message& message, Epoch lineage) {
  if (auto* beat = std::get_if<node::BeatMessage>(&message)) {
    beat->macs = own_macs_;
    beat->alerts = alerts_->reports();
    add_details(*beat);
  }
  const std::string encoded = encode_message(message, lineage);
  // What cannot be sent now is sent again by the node: it trusts nothing that has not come back.
  const auto sent = messaging_->send(Bytes(encoded.begin(), encoded.end()));
  if (!sent) spdlog::debug("not sent: {}", sent.error().message);
}

void Daemon::run_step(const node::RunStep& step) {
  const auto* run = node_->run(step.group);
  const auto* resource = run == nullptr ? nullptr : run->configuration().find(step.resource);
  if (resource == nullptr) return;
  runner_->run(step, run->configuration(), *resource, [this, token = step.token](bool ok, const std::string& detail) {
    feed(node::StepDone{token, ok, detail});
    changed();
  });
}

void Daemon::entry_applied(const node::EntryApplied& applied) {
  if (applied.outcome.applied && std::holds_alternative<ApplyConfiguration>(applied.entry.command)) {
    sync_mirrors();
    tell_duties();
  }
  keys_applied(applied);
  remember_in_sync(applied);
  remember_starts(applied);
  push_mirror_states();
  prepare_group(applied);
  settle_mirrors();
  // After a restart of batond the log is applied again from its begin: told once is enough.
  if (applied.entry.index > events_->history_before_start()) tell_entry(applied);
  // After its events: what ends batond in between has them told at the next start.
  events_->append_history(applied.entry, applied.outcome);
  changed();
}

void Daemon::tell_entry(const node::EntryApplied& applied) {
  const Command& command = applied.entry.command;
  if (std::holds_alternative<StartEpoch>(command)) return;
  node::Note note{.kind = "transition", .text = describe(command), .place = of_entry(applied.entry.index, 0)};
  note.severity = severity_of(command, applied.outcome.applied);
  if (!applied.outcome.applied) note.text += " (refused: " + applied.outcome.refusal + ")";
  if (const auto* assign = std::get_if<AssignGroup>(&command)) note.causes = assign->causes;
  note.group = group_of(command);
  if (const std::string key = mirror_of(command); !key.empty()) {
    note.group = key.substr(0, key.find('.'));
    note.resource = key.substr(key.find('.') + 1);
  }
  write_note(note);
  // What people should see to soon, not only on record.
  if (const std::string text = alert_of(command); !text.empty() && applied.outcome.applied)
    write_note({.kind = "alert", .group = note.group, .text = text, .causes = note.causes, .place = of_entry(applied.entry.index, 1)});
}

void Daemon::write_note(const node::Note& note) {
  const bool kept = journal_.send(to_journal(note, founding_.cluster_name, present_.server_name(self_)));
  if (!kept || !prints_into_journal_) spdlog::info("{}{}{}: {}", note.kind, note.group.empty() ? "" : " ", note.group, note.text);
  alerts_->recorded(events_->append(note, wall_now_ms(), to_ns(EventLoop::now()) / 1000));
  changed();
}

void Daemon::changed() {
  ++revision_;
  cursor_ = fmt::format("{:x}.{}", start_, revision_);
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    if (it->second.cursor == cursor_) {
      ++it;
      continue;
    }
    loop_.post(std::move(it->second.callback));
    it = waiters_.erase(it);
  }
}

}  // namespace baton
