// What the API asks of the daemon: status, waiting, proposals, checks of stores on all servers. One thread: the loop's.
#include "src/daemon/daemon.h"
#include "src/daemon/status_json.h"
#include "src/daemon/wall_clock.h"
#include "src/format/store_check.h"
#include "src/os/fence_agent.h"

namespace baton {

namespace {
constexpr Duration kStoreCheckLimit = 2s;
constexpr Duration kLinkInterval = 1s;
}  // namespace

nlohmann::json Daemon::status() const {
  StatusSources sources{*node_, self_, EventLoop::now()};
  sources.wall_ms = wall_now_ms();
  sources.cursor = cursor_;
  sources.engine_waiting = messaging_->waiting_for();
  sources.links = peer_links_;
  sources.links[self_] = link_watch_.reports();
  for (const auto& [key, client] : mirrors_) sources.mirror_problems[key] = client->problem();
  sources.details = &details_;
  sources.in_sync_until = &in_sync_until_;
  sources.usual_starts = &usual_starts_;
  sources.problems = problems_;
  if (const std::string missing = guard_->waiting_for(); !missing.empty()) sources.problems.push_back(missing);
  if (!guard_problem_.empty()) sources.problems.push_back("baton-guard: " + guard_problem_);
  for (const auto& problem : recovery_problems()) sources.problems.push_back(problem);
  if (const auto problem = events_->problem(); !problem.empty()) sources.problems.push_back(problem);
  nlohmann::json status = status_json(sources);
  status["alerts"] = alerts_->status();
  return status;
}

/// The committed transitions tell how long the starts took: on every server alike.
void Daemon::remember_starts(const node::EntryApplied& applied) {
  const auto* phase = std::get_if<SetGroupPhase>(&applied.entry.command);
  if (phase == nullptr || !applied.outcome.applied || phase->phase != GroupPhase::kStarted) return;
  for (const auto& step : phase->steps)
    if (step.action == "start" && step.outcome == "ok")
      usual_starts_.add(phase->group, step.resource, std::chrono::ceil<milliseconds>(std::chrono::microseconds(step.took_us)));
}

void Daemon::when_changed(const std::string& cursor, Duration limit, std::function<void()> callback) {
  if (cursor != cursor_) return loop_.post(std::move(callback));
  const uint64_t id = ++next_waiter_;
  auto& waiter = waiters_[id];
  waiter.cursor = cursor;
  waiter.callback = std::move(callback);
  waiter.deadline = loop_.after(limit, [this, id] {
    auto found = waiters_.find(id);
    if (found == waiters_.end()) return;
    auto due = std::move(found->second.callback);
    waiters_.erase(found);
    due();
  });
}

void Daemon::when_serving(std::function<void()> callback) {
  const Duration left = not_served_since_ + kServingPatience - EventLoop::now();
  if (served_ || left <= Duration{0}) return callback();
  when_changed(cursor_, left, [this, callback = std::move(callback)]() mutable { when_serving(std::move(callback)); });
}

void Daemon::request(const Command& command, RequestDone done) {
  const uint64_t id = ++next_request_;
  requests_[id] = std::move(done);
  feed(node::Requested{id, command, wall_now_ms()});
}

void Daemon::check_stores_everywhere(const std::string& text, StoresDone done) {
  const uint64_t id = ++next_request_;
  auto& question = store_questions_[id];
  for (const auto& [server, peer] : node_->peers())
    if (peer.in_view && !peer.silent) question.missing.insert(server);
  question.missing.insert(self_);
  question.done = std::move(done);
  question.deadline = loop_.after(kStoreCheckLimit, [this, id] {
    auto& late = store_questions_.at(id);
    for (const auto server : late.missing)
      late.problems.push_back(fmt::format("{} did not say within {} ms whether it can carry the mirrors",
                                          node_->configuration().server_name(server), to_ms(kStoreCheckLimit)));
    auto finished = std::move(late);
    store_questions_.erase(id);
    finished.done(finished.problems);
  });
  node::Message question_message = node::StoreCheck{self_, id, text};
  send(question_message, node_->lineage());
}

void Daemon::answer_store_check(const node::StoreCheck& check) {
  StoreCheckOptions options;
  options.self = self_;
  options.state_directory = paths_.state_directory;
  for (const auto& [key, mirror] : node_->state().mirrors)
    if (mirror.permit != Permit{}) options.used.insert(key);
  // A disk that hangs must not hold up the loop: the asker waits for a while only.
  store_worker_.run([this, door = loop_door_, check, options] {
    const auto problems = check_stores(check.configuration_text, options);
    door.post([this, check, problems] {
      node::Message answer = node::StoreChecked{check.origin, check.request, problems};
      send(answer, node_->lineage());
    });
  });
}

void Daemon::take_store_answer(ServerId from, const node::StoreChecked& answer) {
  if (answer.origin != self_) return;
  auto found = store_questions_.find(answer.request);
  if (found == store_questions_.end() || found->second.missing.erase(from) == 0) return;
  auto& question = found->second;
  question.problems.insert(question.problems.end(), answer.problems.begin(), answer.problems.end());
  if (!question.missing.empty()) return;
  auto finished = std::move(question);
  store_questions_.erase(found);
  finished.done(finished.problems);
}

/// Whether there is more to it than other figures.
bool Daemon::take_links(ServerId server, const std::vector<LinkReport>& links) {
  if (links.empty()) return false;
  auto& present = peer_links_[server];
  const bool news = !std::equal(present.begin(), present.end(), links.begin(), links.end(),
                                [](const LinkReport& left, const LinkReport& right) {
                                  return left.peer == right.peer && left.link == right.link &&
                                         left.connected == right.connected && left.flapping() == right.flapping();
                                });
  present = links;
  return news;
}

void Daemon::read_links() {
  const EngineConfig engine = engine_config();
  std::set<ServerId> peers;
  for (const auto& node : engine.nodes)
    if (node.id != self_) peers.insert(node.id);
  link_reader_->read(peers, static_cast<uint32_t>(engine.links.size()), [this](const Result<std::vector<LinkStatus>>& links) {
    const std::vector<LinkStatus> known = links ? *links : std::vector<LinkStatus>{};
    link_watch_.take(EventLoop::now(), known);
    if (known != links_) {
      links_ = known;
      runner_->announce_addresses();  // the network may have healed
      changed();
    }
    link_timer_ = loop_.after(kLinkInterval, [this] { read_links(); });
  });
}

void Daemon::fence(const node::FenceServer& wanted) {
  const auto* server = node_->configuration().server(wanted.server);
  if (server == nullptr) return;
  const FenceDevice device{server->fence.agent, server->fence.options, server->fence.timeout};
  const auto done = [this, wanted, device, name = server->name, restart = server->fence.restart](const Status& off) {
    const auto detail = off ? std::string("seen to be off") : off.error().message;
    feed(node::FenceDone{wanted.server, wanted.version, off.has_value(), detail});
    if (!off || !restart) return;
    restore_power(loop_, device, name, [this, name](const Status& on) {
      if (!on) write_note({.kind = "problem", .text = fmt::format("{} stays off: {}", name, on.error().message)});
    });
  };
  cut_power(loop_, device, server->name, done);
}

}  // namespace baton
