// A server's clock, power, program and inbox. Its daemons' stand-ins are in sim/server_daemons.cc.
#include "sim/server.h"

#include <algorithm>

#include "sim/real_mirror.h"
#include "src/model/known_configuration.h"

namespace baton::sim {

namespace {

/// Just within what the leases allow for: 1% between any two clocks.
constexpr int64_t kMostDriftPpm = 4970;

int64_t some_drift(Random& random, bool extreme) {
  if (extreme) return random.chance(0.5) ? kMostDriftPpm : -kMostDriftPpm;
  return random.between(-kMostDriftPpm, kMostDriftPpm);
}

}  // namespace

Server::Server(World& world, Bus& bus, Bus& guard_bus, const ClusterSettings& settings, ServerId id,
               Observer& observer)
    : world_(world),
      bus_(bus),
      guard_bus_(guard_bus),
      settings_(settings),
      id_(id),
      observer_(observer),
      random_(world.random().fork()),
      clock_offset_(random_.between(1000s, 100000s)),
      clock_drift_ppm_(some_drift(random_, settings.extreme_clocks)) {
  const auto* founder = settings.configuration.server(id);
  enlisted_ = founder != nullptr;
  if (!enlisted_) disk_.lose_everything();
  witness_ = enlisted_ && founder->role == ServerRole::kWitness;
  if (witness_) return;
  for (const auto& group : settings.configuration.groups) {
    if (std::find(group.servers.begin(), group.servers.end(), id) == group.servers.end()) continue;
    for (const auto& resource : group.resources)
      if (resource.kind == ResourceKind::kMirror) mirrors_[mirror_key(group.name, resource.name)];
  }
}

Instant Server::local_now() const {
  const Instant when = std::min(world_.now(), clock_stands_since_);
  const Duration world = when.time_since_epoch() - clock_stood_;
  return Instant{clock_offset_ + world + Duration{world.count() / 1000 * clock_drift_ppm_ / 1000}};
}

/// For people only: it jumps, also back.
int64_t Server::wall_ms() const { return to_ms(world_.now().time_since_epoch() + wall_offset_); }

void Server::enlist(const std::string& text) {
  world_.mark('e', id_);
  world_.say(id_, "joins the cluster");
  joined_text_ = text;
  enlisted_ = true;
}

void Server::dismiss() {
  world_.mark('f', id_);
  world_.say(id_, "has left the cluster");
  power_off();
  clear();
  lost_ = false;
  enlisted_ = false;
}

void Server::power_on() {
  if (powered_ || !enlisted_ || lost_) return;
  world_.mark('+', id_);
  world_.say(id_, "power on");
  powered_ = true;
  ++boot_;
  for (auto& [key, mirror] : mirrors_) {
    if (RealMirror* real = observer_.real_mirror(key)) {
      real->power_on(id_);
      continue;
    }
    if (!ended_in_order_) ++mirror.incarnation.value;  // else power is always lost uncleanly here
    mirror.newest = mirror.permit;
  }
  ended_in_order_ = false;
  ring_file_ = keys_.current;
  load_ring_key();
  bus_.engine_up(id_);
  start_batond();
  mirror_tick(boot_);
}

void Server::power_off() {
  if (!powered_) return;
  world_.mark('-', id_);
  world_.say(id_, "power off");
  bus_.engine_down(id_);
  kill_batond();
  guard_spared_ = false;
  kill_guard();
  guard_page_ = guard::Knowledge{};
  guard_page_clocks_.reset();
  powered_ = false;
  machine_paused_ = false;
  ++boot_;
  page_ = Instant{};
  resources_.clear();
  known_groups_.clear();
  known_index_ = 0;
  for (auto& [key, mirror] : mirrors_) {
    if (RealMirror* real = observer_.real_mirror(key)) real->power_off(id_);
    mirror_loses_power(mirror);
  }
  clock_goes_on();
  woken_until_ = Instant{};
  engine_lost_ = false;
  ownership_changed_ = true;
}

void Server::end_in_order() {
  world_.say(id_, "has ended in order");
  for (auto& [key, mirror] : mirrors_) mirror.flushed = mirror.written;
  power_off();
  ended_in_order_ = true;
  world_.after(random_.between(300ms, 5s), [this] { power_on(); });
}

void Server::start_batond() {
  // A batond whose database is damaged says so and ends.
  if (!powered_ || node_ != nullptr || machine_paused_ || disk_.rotten) return;
  ++start_;
  world_.mark('b', id_, start_);
  world_.say(id_, "batond starts");
  node::Settings settings;
  settings.self = id_;
  settings.founding_text = settings_.texts.front();
  settings.founding = settings_.founding;
  if (!joined_text_.empty()) {
    settings.founding_text = joined_text_;
    settings.founding = *known_configuration(joined_text_);
    settings.joined = true;
  }
  settings.given_up = given_up_;
  settings.start = random_.below(uint64_t{1} << 38) + 1;
  settings.published_lease = page_;
  settings.freeze_limit = settings_.freeze_limit;
  settings.most_entries = settings_.most_entries;
  node_ = std::make_unique<node::NodeCore>(settings, disk_.stored(), local_now());
  checks_.clear();
  inbox_.clear();
  pumping_ = false;
  batond_paused_ = false;
  tick_at_ = kNever;
  made_key_.clear();
  report_keys();
  if (!engine_lost_) bus_.process_started(id_);
  for (auto& [key, mirror] : mirrors_) {
    mirror.told = 0;
    report_mirror(key);
  }
  if (guard_runs()) feed(node::GuardReported{guard_->report(local_now())});
  watch_guard();
  arm_tick();
}

void Server::delivered(const BusEvent& event) {
  if (event.view) return feed(*event.view);
  const auto sent = std::static_pointer_cast<const node::Send>(event.message);
  feed(node::MessageReceived{event.from, sent->message, sent->lineage});
}

/// What batond keeps of it is durable before it does anything else.
void Server::stand_down(const node::StandDown& wanted) {
  world_.mark('u', id_, wanted.survivor);
  if (!wanted.survivor) {
    given_up_ = true;
    return;
  }
  kill_batond();
  guard_page_ = guard::Knowledge{};
  kill_guard();
  disk_.lose_everything();
  world_.after(random_.between(100ms, 1s), [this] { start_batond(); });
}

void Server::clear() {
  power_off();
  disk_.lose_everything();
  given_up_ = false;
}

void Server::kill_batond() {
  if (node_ == nullptr) return;
  world_.mark('k', id_, start_);
  world_.say(id_, "batond ends");
  disk_.interrupt(random_);
  interrupt_round();
  node_.reset();
  ++start_;
  inbox_.clear();
  batond_paused_ = false;
  if (!engine_lost_) bus_.process_ended(id_, powered_);
}

void Server::feed(node::Event event) {
  if (node_ == nullptr) return;
  inbox_.push_back(std::move(event));
  pump();
}

uint64_t Server::request(const Command& command) {
  feed(node::Requested{++next_request_, command, wall_ms()});
  return next_request_;
}

/// In the middle of something, and back after a while.
void Server::crash() {
  if (random_.chance(0.5)) {
    power_off();
  } else {
    kill_batond();
  }
  const Duration away = random_.chance(0.5) ? random_.between(1ms, 50ms) : random_.between(50ms, 3s);
  world_.after(away, [this] {
    power_on();
    start_batond();
  });
}

/// One event after the other, each a little later.
void Server::pump() {
  if (pumping_ || inbox_.empty() || node_ == nullptr || paused()) return;
  pumping_ = true;
  world_.after(random_.between(5us, 60us), while_batond([this] {
                 pumping_ = false;
                 if (inbox_.empty() || paused()) return;
                 const node::Event event = std::move(inbox_.front());
                 inbox_.pop_front();
                 handle(event);
                 pump();
               }));
}

void Server::handle(const node::Event& event) {
  std::vector<node::Action> actions;
  node_->lease_page(page_);
  node_->time_of_day(std::chrono::floor<std::chrono::minutes>(world_.now().time_since_epoch()) % 24h);
  node_->step(local_now(), event, actions);
  world_.mark('s', id_, event.index(), actions.size(), node_->standing().committed,
              node_->standing().epoch.value);
  learn_state();
  const uint64_t start = start_;
  // What is applied is known here from now on (to mirrors, too), whatever of this step is still carried out.
  for (const auto& action : actions)
    if (const auto* applied = std::get_if<node::EntryApplied>(&action)) observer_.applied(*this, *applied);
  for (auto& action : actions) {
    carry_out(std::move(action));
    if (crashing_ && random_.chance(settings_.crash_chance)) crash();
    if (start_ != start) break;  // ended in the middle
  }
  observer_.stepped(*this);
  if (start_ == start) arm_tick();
}

void Server::arm_tick() {
  if (node_ == nullptr || paused()) return;
  const Instant next = node_->next_tick();
  if (next == kNever || next == tick_at_) return;
  tick_at_ = next;
  // A little late, as timers are; the clock may run slow.
  const Duration wait = std::max(Duration{0}, next - local_now());
  world_.after(wait + wait / 100 + random_.between(1us, 50us), while_batond([this, next] {
                 if (tick_at_ != next || paused()) return;
                 tick_at_ = kNever;
                 feed(node::Tick{});
               }));
}

void Server::persist(const database::Persist& persist) {
  disk_.begin(persist);
  Duration takes = random_.between(200us, settings_.persist_at_most);
  if (random_.chance(0.03)) takes = random_.between(4ms, 80ms);
  if (disk_.slow) takes = random_.between(50ms, 600ms);
  world_.after(takes, while_batond([this, token = persist.token] {
                 const bool ok = disk_.finish();
                 world_.mark('d', id_, token, ok);
                 feed(node::Persisted{token, ok});
               }));
}

bool Server::believes_to_own(const std::string& group) const {
  const auto found = known_groups_.find(group);
  return found != known_groups_.end() && found->second.owner == id_;
}

/// A restarted batond knows nothing until the others tell: until then what was known counts on.
void Server::learn_state() {
  if (node_->state().configuration_version == 0) return;
  if (!node_->standing().serving && node_->standing().committed < known_index_) return;
  if (known_index_ == node_->standing().committed && known_start_ == start_) return;
  known_index_ = node_->standing().committed;
  known_start_ = start_;
  known_groups_ = node_->state().groups;
  ownership_changed_ = true;
}

void Server::carry_out(node::Action action) {
  if (auto* send = std::get_if<node::Send>(&action)) {
    bus_.send(id_, std::make_shared<const node::Send>(std::move(*send)));
  } else if (const auto* wanted = std::get_if<node::Persist>(&action)) {
    persist(*wanted);
  } else if (const auto* tell = std::get_if<node::TellGuard>(&action)) {
    tell_guard(tell->tell);
  } else if (const auto* step = std::get_if<node::RunStep>(&action)) {
    run_step(*step);
  } else if (const auto* check = std::get_if<node::RunCheck>(&action)) {
    run_check(*check);
  } else if (const auto* dropped = std::get_if<node::EndCheck>(&action)) {
    checks_.erase(dropped->token);
  } else if (const auto* applied = std::get_if<node::EntryApplied>(&action)) {
    if (world_.verbose())
      world_.say(id_, "applied {}: {}{}", applied->entry.index,
               describe(applied->entry.command),
               applied->outcome.applied ? "" : " (refused: " + applied->outcome.refusal + ")");
    tell_mirrors();
  } else if (const auto* decided = std::get_if<node::Decided>(&action)) {
    observer_.decided(*this, *decided);
  } else if (const auto* gone = std::get_if<node::PeerGone>(&action)) {
    for (const auto& [key, mirror] : mirrors_)
      if (RealMirror* real = observer_.real_mirror(key)) real->peer_gone(id_, gone->server);
  } else if (const auto* wanted_off = std::get_if<node::FenceServer>(&action)) {
    observer_.fence(*this, *wanted_off);
  } else if (const auto* round = std::get_if<node::DiskRound>(&action)) {
    disk_round(*round);
  } else if (const auto* ping = std::get_if<node::SendPing>(&action)) {
    send_ping(*ping);
  } else if (const auto* down = std::get_if<node::StandDown>(&action)) {
    stand_down(*down);
  } else if (const auto* anew = std::get_if<node::StartAnew>(&action)) {
    world_.say(id_, "starts anew: {}", anew->reason);
    world_.after(0ms, while_batond([this] {
                   kill_batond();
                   start_batond();
                 }));
  } else if (const auto* end = std::get_if<node::EndServer>(&action)) {
    observer_.ends(*this, *end);
    world_.after(random_.between(20ms, 1500ms), while_batond([this] { end_in_order(); }));
  } else if (const auto* fetch = std::get_if<node::FetchKey>(&action)) {
    fetch_key(*fetch);
  } else if (const auto* change = std::get_if<node::ChangeKeys>(&action)) {
    change_keys(*change);
  } else if (const auto* ring = std::get_if<node::SetRingKey>(&action)) {
    set_ring_key(*ring);
  } else if (const auto* note = std::get_if<node::Note>(&action)) {
    world_.say(id_, "{}", note->text);
    watch_monitors(*note);
  }
}

}  // namespace baton::sim
