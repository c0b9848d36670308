// The mirror daemons of this server: which there are, with what settings, what they report, and what is told of them to the
// other servers. One thread: the loop's.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "src/daemon/daemon.h"
#include "src/daemon/mirror_settings.h"
#include "src/daemon/wall_clock.h"

namespace baton {

namespace {

constexpr Duration kDetailsInterval = 1s;

/// Figures change all the time and are no news.
bool is_news(MirrorDetails before, MirrorDetails after) {
  before.metrics = after.metrics = {};
  for (auto* details : {&before, &after})
    for (auto& path : details->paths) path.round_trip_ms = 0;
  return before != after;
}

}  // namespace

MirrorClient* Daemon::mirror(const std::string& key) {
  auto found = mirrors_.find(key);
  return found == mirrors_.end() ? nullptr : found->second.get();
}

void Daemon::make_mirror_calls() {
  MirrorCalls::Links links;
  links.send = [this](node::Message message) { send(message, node_->lineage()); };
  links.find = [this](const std::string& key) { return mirror(key); };
  links.note = [this](const std::string& key, const std::string& text) { mirror_note("mirror", key, text); };
  mirror_calls_ = std::make_unique<MirrorCalls>(loop_, self_, std::move(links));
}

void Daemon::sync_mirrors() {
  const auto& configuration = node_->configuration();
  const MirrorPlaces places{paths_.configuration_directory, paths_.state_directory, paths_.run_directory};
  std::set<std::string> wanted;
  for (const auto& group : configuration.groups) {
    if (std::find(group.servers.begin(), group.servers.end(), self_) == group.servers.end()) continue;
    for (const auto& resource : group.resources) {
      if (resource.kind != ResourceKind::kMirror) continue;
      const auto key = mirror_key(group.name, resource.name);
      wanted.insert(key);
      mirror_owners_[key] = {group.name, resource.name};
      const auto settings = make_mirror_settings(configuration, self_, group, resource, places);
      if (auto* present = mirror(key)) {
        present->want_settings(settings);
        continue;
      }
      mirrors_[key] = make_mirror(settings);
      mirrors_[key]->start();
    }
  }
  std::vector<std::string> unwanted;
  for (const auto& [key, client] : mirrors_)
    if (!wanted.contains(key)) unwanted.push_back(key);
  for (const auto& key : unwanted) retire(key);
}

/// Its daemon is told to end; the client stays, since calls of it may still be on their way.
void Daemon::retire(const std::string& key) {
  auto client = mirrors_.extract(key);
  client.mapped()->stop();
  retired_.push_back(std::move(client.mapped()));
}

std::unique_ptr<MirrorClient> Daemon::make_mirror(const mirror_control::DaemonSettings& settings) {
  const std::string key = settings.key;
  MirrorClient::Callbacks callbacks;
  callbacks.on_report = [this, key](const mirror_control::Report& report) { mirror_reported(key, report); };
  callbacks.on_propose = [this](const SetInSync& change) { feed(node::MirrorProposed{change, wall_now_ms()}); };
  callbacks.on_export_lost = [this, key](const std::string& reason) {
    const auto& [group_name, resource_name] = mirror_owners_.at(key);
    runner_->mirror_export_lost(group_name, resource_name, reason);
  };
  callbacks.on_gone = [this, key] {
    details_[self_].erase(key);
    feed(node::MirrorGone{key});
    changed();
  };
  callbacks.on_note = [this, key](const std::string& text) { mirror_note("mirror", key, text); };
  callbacks.on_alert = [this, key](const std::string& text) { mirror_note("alert", key, text); };
  return std::make_unique<MirrorClient>(loop_, settings, paths_.program_directory + "/baton-mirrord",
                                        paths_.run_directory, paths_.log_directory + "/mirror-" + key + ".log",
                                        std::move(callbacks));
}

void Daemon::mirror_note(const std::string& kind, const std::string& key, const std::string& text) {
  node::Note note{.kind = kind, .text = key + ": " + text};
  if (const auto owner = mirror_owners_.find(key); owner != mirror_owners_.end()) {
    note.group = owner->second.first;
    note.resource = owner->second.second;
  }
  write_note(note);
}

void Daemon::push_mirror_states() {
  for (const auto& [key, state] : node_->state().mirrors)
    if (auto* client = mirror(key)) client->set_state(state);
}

/// While a group is stopped elsewhere to come here, the devices of its mirrors can be made, and its addresses probed.
void Daemon::prepare_group(const node::EntryApplied& applied) {
  const auto* wish = std::get_if<WishGroup>(&applied.entry.command);
  if (wish == nullptr || !applied.outcome.applied || wish->target != self_) return;
  if (applied.entry.index <= events_->history_before_start()) return;
  const auto group = node_->state().groups.find(wish->group);
  if (group == node_->state().groups.end() || group->second.owner == self_ || group->second.owner == ServerId{}) return;
  for (const auto& [key, owner] : mirror_owners_)
    if (auto* client = owner.first == wish->group ? mirror(key) : nullptr) client->prepare();
  runner_->look_for_addresses(wish->group);
}

/// Restarts the mirror daemons for whose changed settings the time has come.
void Daemon::settle_mirrors() {
  for (const auto& [key, client] : mirrors_) {
    const auto group = node_->state().groups.find(mirror_owners_.at(key).first);
    if (group == node_->state().groups.end() || !may_restart_mirror(group->second, self_)) continue;
    // The log may be behind what runs here: the daemon's own word counts, too.
    const auto& report = client->report();
    if (report && report->role == MirrorRole::kSecondary && !report->exported && !report->backup)
      client->restart_for_settings();
  }
}

// ---- What they report ----

void Daemon::mirror_reported(const std::string& key, const mirror_control::Report& report) {
  const auto known = node_->reports().find(self_);
  const bool same = known != node_->reports().end() && known->second.contains(key) &&
                    known->second.at(key) == report.report;
  const MirrorClient* client = mirror(key);
  MirrorDetails details{report.device,        report.metrics,    report.paths, report.export_kind,
                        report.export_reason, report.nbd_socket, client == nullptr ? "" : client->pending_settings()};
  MirrorDetails& present = details_[self_][key];
  const bool news = is_news(present, details);
  present = std::move(details);
  if (news) details_sent_ = Instant{};
  if (!same) feed(node::MirrorReported{key, report.report});
  if (!same || news) changed();
  settle_mirrors();
}

/// At most once a second: a beat is small and goes to everybody.
void Daemon::add_details(node::BeatMessage& beat) {
  const Instant now = EventLoop::now();
  if (details_sent_ != Instant{} && now < details_sent_ + kDetailsInterval) return;
  details_sent_ = now;
  for (auto& [key, details] : details_[self_])
    if (const auto* client = mirror(key)) details.pending = client->pending_settings();
  beat.details = details_[self_];
  beat.links = link_watch_.reports();
}

void Daemon::take_details(ServerId server, const node::BeatMessage& beat) {
  if (server == self_) return;
  bool news = take_links(server, beat.links);
  if (!beat.details.empty()) {
    auto& present = details_[server];
    news = news || present.size() != beat.details.size();
    for (const auto& [key, one] : beat.details) news = news || is_news(present[key], one);
    present = beat.details;
  }
  if (news) changed();
}

/// Until when a copy that is not in the in-sync set was in it, for people who must choose.
void Daemon::remember_in_sync(const node::EntryApplied& applied) {
  if (!applied.outcome.applied) return;
  const bool old = applied.entry.index <= events_->history_before_start();
  const int64_t when = applied.entry.wall_ms != 0 ? applied.entry.wall_ms : old ? 0 : wall_now_ms();
  const auto left_alone = [&](const std::string& key, const std::set<ServerId>& members) {
    auto& standing = in_sync_until_[key];
    for (const auto server : standing.members)
      if (!members.contains(server)) standing.left_ms[server] = when;
    for (const auto server : members) standing.left_ms.erase(server);
    standing.members = members;
  };
  if (const auto* change = std::get_if<SetInSync>(&applied.entry.command)) {
    std::set<ServerId> members;
    for (const auto& [server, incarnation] : change->in_sync) members.insert(server);
    left_alone(change->mirror, members);
  } else if (const auto* force = std::get_if<ForceMirror>(&applied.entry.command)) {
    left_alone(force->mirror, {force->server});
  } else if (const auto* assign = std::get_if<AssignGroup>(&applied.entry.command); assign != nullptr && assign->alone) {
    for (const auto& [key, version] : assign->mirror_versions) left_alone(key, {assign->server});
  }
}

}  // namespace baton
