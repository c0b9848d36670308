// The servers of the cluster as batond carries them out: corosync's node list follows the configuration, servers that
// have a token are let in, and one that was removed goes. One thread: the loop's. docs/protocol.md, "Joining".
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "src/daemon/daemon.h"
#include "src/daemon/wall_clock.h"
#include "src/format/join_request.h"
#include "src/model/configuration_edit.h"
#include "src/model/configuration_toml.h"
#include "src/model/committed_members.h"
#include "src/os/file_text.h"

namespace baton {

namespace {

constexpr Duration kStayOnRing = 2s;      // of a removed server, so that it hears of its removal
constexpr Duration kRingAgain = 1s;       // after corosync refused its new configuration
constexpr Duration kLongestToken = std::chrono::hours(24);
constexpr int64_t kMostClockDifferenceMs = 60000;

std::string clock_problem(int64_t theirs) {
  const int64_t ahead = theirs - wall_now_ms();
  if (std::abs(ahead) <= kMostClockDifferenceMs) return {};
  return fmt::format("the clock of the joining server is {} s {} this cluster's: set it (NTP) and try again",
                     std::abs(ahead) / 1000, ahead > 0 ? "ahead of" : "behind");
}

/// /etc and /var may be different filesystems. What is not there is no failure.
Status move_file(const std::string& from, const std::string& to) {
  std::error_code failed;
  if (!std::filesystem::exists(from, failed)) return {};
  std::filesystem::rename(from, to, failed);
  if (!failed) return {};
  std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing, failed);
  if (!failed) std::filesystem::remove(from, failed);
  if (failed) return fail("cannot move {} to {}: {}", from, to, failed.message());
  return {};
}

}  // namespace

/// The configuration as this server knew it last: /etc/baton/cluster.toml is only how the server began.
void Daemon::read_present_configuration() {
  present_ = founding_;
  const auto text = read_text_file(paths_.state_directory + "/cluster.toml");
  if (!text) return;
  auto parsed = parse_configuration(*text, paths_.state_directory + "/cluster.toml");
  if (parsed && parsed->server(self_) != nullptr) present_ = *parsed;
}

EngineConfig Daemon::engine_config() const {
  EngineConfig config;
  config.cluster_name = founding_.cluster_name;
  config.self = self_;
  size_t links = 0;
  for (const auto& server : present_.servers) {
    config.nodes.push_back(EngineNode{server.id, server.name, server.interconnects});
    links = std::max(links, server.interconnects.size());
  }
  for (const auto& [id, node] : leaving_)
    if (node.addresses.size() == links) config.nodes.push_back(node);
  for (size_t link = 0; link < links; ++link) config.links.push_back(EngineLink{present_.link_priorities.at(link), 0});
  config.passive = present_.link_mode == LinkMode::kPassive;
  const auto& timing = present_.timing;
  config.timing.name = timing.name;
  config.timing.token_ms = static_cast<uint32_t>(timing.token.count());
  config.timing.consensus_ms = static_cast<uint32_t>(timing.consensus.count());
  config.timing.ping_interval_ms = static_cast<uint32_t>(timing.link_ping_interval.count());
  config.timing.ping_timeout_ms = static_cast<uint32_t>(timing.link_ping_timeout.count());
  config.timing.pong_count = 1;
  const char* real_time = std::getenv("BATON_REAL_TIME");
  config.real_time = real_time == nullptr || std::string_view(real_time) != "no";
  return config;
}

/// After each step: has the committed configuration, or who votes, changed? Only while the database serves: before, what
/// is applied may be long past, from before this server was one of the cluster.
void Daemon::follow_membership() {
  if (!node_->standing().serving || node_->state().configuration_version == 0) return;
  if (followed_version_ == node_->state().configuration_version && followed_voters_ == node_->state().voters) return;
  followed_version_ = node_->state().configuration_version;
  // SAFETY: J5. The committed ones: by this server's log alone a removal is not settled yet, and may be cut off again.
  followed_voters_ = node_->state().voters;
  const Configuration& wanted = node_->configuration();
  for (const auto& server : present_.servers)
    if (wanted.server(server.id) == nullptr)
      leaving_[server.id] = EngineNode{server.id, server.name, server.interconnects};
  std::erase_if(leaving_, [&](const auto& node) { return wanted.server(node.first) != nullptr; });
  if (wanted.server(self_) == nullptr) {
    if (has_left(node_->state(), wanted, self_)) ring_timer_ = loop_.after(kStayOnRing / 2, [this] { leave_for_good(); });
    return;
  }
  present_ = wanted;
  alerts_->configure();
  const std::string file = paths_.state_directory + "/cluster.toml";
  if (auto kept = replace_text_file(file, node_->state().configuration_text); !kept)
    write_note({.kind = "problem", .text = kept.error().message});
  const bool somebody_goes = std::any_of(leaving_.begin(), leaving_.end(), [&](const auto& node) {
    return has_left(node_->state(), wanted, node.first);
  });
  renew_ring();
  if (!somebody_goes) return;
  ring_timer_ = loop_.after(kStayOnRing, [this] {
    std::erase_if(leaving_, [&](const auto& node) { return has_left(node_->state(), node_->configuration(), node.first); });
    renew_ring();
  });
}

/// Corosync reads the node list anew, on every server: whoever writes last has all do it with the new one. A link on which
/// an address changes goes first, and comes back when all servers have had the time to take it away.
void Daemon::renew_ring() {
  if (engine_ == nullptr || renewing_) return;  // its end looks again
  // SAFETY: K5. A reload reads keys, too, and not everybody has the new one in place. The rotation's end looks again.
  if (node_->state().keys.phase == KeyRotation::Phase::kInForce) return;
  EngineConfig wanted = engine_config();
  if (!engine_->differs(wanted)) return;
  const bool first_step = take_changed_links_out(wanted, engine_->addresses());
  spdlog::info("corosync reads its new list of servers and interconnects{}", first_step ? ", without those that change" : "");
  renewing_ = true;
  engine_->apply(wanted, [this, first_step](const Status& done) {
    if (!done) write_note({.kind = "problem", .text = done.error().message + "; it is tried again"});
    changed();
    renew_timer_ = loop_.after(!done ? kRingAgain : first_step ? kStayOnRing : Duration{1}, [this] {
      renewing_ = false;
      renew_ring();
    });
  });
}

/// Removed, and the removal is settled: nothing of the cluster stays in force here. What it held is kept beside.
void Daemon::leave_for_good() {
  const std::string aside = fmt::format("{}/left-{}", paths_.state_directory, wall_now_ms());
  write_note({.kind = "membership", .text = "this server was removed from the cluster: batond ends; what it held is in " + aside});
  engine_->stop(5s, [this, aside](const Status&) {
    guard_.reset();
    GuardClient::forget_earlier_cluster(paths_.run_directory);
    std::error_code ignored;  // what follows fails with it
    std::filesystem::create_directories(aside, ignored);
    std::filesystem::permissions(aside, std::filesystem::perms::owner_all, ignored);
    Status moved;
    const auto move = [&](const std::string& directory, const std::string& file) {
      if (moved) moved = move_file(directory + "/" + file, aside + "/" + file);
    };
    // The name goes first: without it nothing here starts as a server of the cluster again.
    for (const char* file : {"server", "joined", "cluster.key", "cluster.next.key", "cluster.old.key", "cluster.toml"})
      move(paths_.configuration_directory, file);
    for (const char* file : {"database.sqlite", "database.sqlite-wal", "database.sqlite-shm", "database.sqlite-journal"})
      move(paths_.state_directory, file);
    std::filesystem::remove(paths_.state_directory + "/cluster.toml", ignored);
    if (!moved) spdlog::error("{}: move it by hand before batond is started again", moved.error().message);
    loop_.stop();
  });
}

// ---- Joining ----

Result<std::string> Daemon::make_token(Duration good_for) {
  if (good_for < 1s || good_for > kLongestToken)
    return fail_as(ErrorCode::kInvalid, "a join token is good for 1 s to 24 h");
  if (!node_->standing().serving)
    return fail_as(ErrorCode::kUnavailable, "nobody can join now: {}", node_->standing().waiting);
  if (node_->state().keys.under_way())
    return fail_as(ErrorCode::kConflict, "nobody can join now: the cluster's keys are being replaced (`baton status` shows what that waits for)");
  if (join_door_ == nullptr) {
    auto door = JoinDoor::open(kJoinPort, [this](std::function<void()> call) { loop_.post(std::move(call)); },
                               [this](const std::string& line, JoinDoor::Answer done) { let_in(line, std::move(done)); });
    if (!door) return pass(door);
    join_door_ = std::move(*door);
  }
  auto token = make_join_token();
  if (!token) return pass(token);
  token->addresses = node_->configuration().server(self_)->interconnects;
  token->port = join_door_->port();
  token->fingerprint = fingerprint_of(keys_.current);
  join_door_->add(*token, EventLoop::now() + good_for);
  write_note({.kind = "membership", .text = fmt::format("a join token was given out, good for {} s", good_for / 1s)});
  return write_join_token(*token);
}

/// Somebody who has proved to have a good token asks to become a server.
void Daemon::let_in(const std::string& line, JoinDoor::Answer done) {
  const auto say_no = [done](const std::string& why) { done(write_join_answer({.error = why}), false); };
  const auto request = read_join_request(line);
  if (!request) return say_no(request.error().message);
  if (const auto problem = clock_problem(request->wall_ms); !problem.empty()) return say_no(problem);
  when_serving([this, request = *request, done] { admit(request, done); });
}

void Daemon::admit(const JoinRequest& request, const JoinDoor::Answer& done) {
  const auto say_no = [done](const std::string& why) { done(write_join_answer({.error = why}), false); };
  if (!node_->standing().serving) return say_no("the cluster database does not serve now: " + node_->standing().waiting);
  const ServerId id = free_id(node_->state(), node_->configuration());
  if (id == ServerId{}) return say_no("all 63 ids are taken");
  ServerConfiguration server;
  server.name = request.name;
  server.id = id;
  server.role = request.witness ? ServerRole::kWitness : ServerRole::kServer;
  server.interconnects = request.interconnects;
  const auto text = add_server(node_->state().configuration_text, server);
  if (!text) return say_no(text.error().message);
  const ApplyConfiguration command{node_->state().configuration_version, *text, "baton cluster join " + server.name};
  this->request(command, [this, done, say_no, server, given = *text](bool decided, const Applied& outcome) {
    if (!decided) return say_no("the cluster could not decide (no majority): try again with the same token");
    if (!outcome.applied) return say_no(outcome.refusal);
    done(write_join_answer({.name = server.name, .id = server.id, .key = keys_.current, .configuration = given}), true);
  });
}

}  // namespace baton
