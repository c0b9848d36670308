// The cluster's keys as batond carries them out: files, the exchange with other servers, corosync's key, the mirror daemons,
// and a person's word. The node decides. One thread: the loop's; files are written by the store worker. docs/protocol.md, "Keys".
#include <spdlog/spdlog.h>

#include "src/daemon/daemon.h"
#include "src/daemon/wall_clock.h"
#include "src/os/file_text.h"

namespace baton {

namespace {
constexpr milliseconds kShortestStaging{1000};
constexpr milliseconds kLongestStaging{24 * 3600 * 1000};
constexpr Duration kKeysRetry = 5s;  // of a mirror daemon that has not read them
}  // namespace

/// What corosync reads by its file, which outlives batond but no reboot: then it is the key in use.
void Daemon::find_ring_key() {
  ring_key_ = fingerprint_of(keys_.current);
  const auto text = read_text_file(paths_.run_directory + "/corosync/authkey");
  if (!text) return;
  const Bytes present(text->begin(), text->end());
  for (const std::string* key : {&keys_.current, &keys_.next, &keys_.old})
    if (!key->empty() && ring_key_of(*key) == present) ring_key_ = fingerprint_of(*key);
}

void Daemon::report_keys() {
  // One that a mirror daemon here does not accept counts as not here.
  const std::string next = keys_problem_.empty() ? fingerprint_of(keys_.next) : "";
  feed(node::KeysReported{fingerprint_of(keys_.current), next, fingerprint_of(keys_.old), ring_key_});
  changed();
}

/// A step with the files, on the worker, since a disk may hang; then what follows from the files as they are.
void Daemon::change_key_files(std::function<Status(const ClusterKeyFiles&)> step, std::function<void()> then) {
  const ClusterKeyFiles files(paths_.configuration_directory);
  store_worker_.run([this, door = loop_door_, files, step = std::move(step), then = std::move(then)] {
    Status done = step(files);
    auto keys = files.read();
    if (done && !keys) done = pass(keys);
    door.post([this, done, keys = keys ? *keys : ClusterKeys{}, then] {
      if (!keys.current.empty()) keys_ = keys;
      if (!done) return write_note({.kind = "problem", .text = "the cluster's keys: " + done.error().message + "; it is tried again"});
      if (then) then();
      tell_mirrors_keys();
    });
  });
}

/// SAFETY: K2, K4. They accept the other key before anybody is told that it is here.
void Daemon::tell_mirrors_keys() {
  auto missing = std::make_shared<size_t>(mirrors_.size() + 1);
  auto problem = std::make_shared<std::string>();
  const auto one_done = [this, missing, problem](const Status& done) {
    if (!done) *problem = done.error().message;
    if (--*missing > 0) return;
    if (!problem->empty() && *problem != keys_problem_)
      write_note({.kind = "problem", .text = "the cluster's keys: " + *problem + "; it is tried again"});
    keys_problem_ = *problem;
    if (!problem->empty()) keys_retry_ = loop_.after(kKeysRetry, [this] { tell_mirrors_keys(); });
    // One that cannot accept it must not hold up what is in force already.
    if (problem->empty() || keys_.next.empty()) report_keys();
  };
  for (auto& [key, client] : mirrors_) client->read_keys(false, one_done);
  one_done({});
}

void Daemon::change_keys(const node::ChangeKeys& wanted) {
  switch (wanted.step) {
    case node::ChangeKeys::Step::kAdopt:
      return change_key_files(
          [fingerprint = wanted.fingerprint](const ClusterKeyFiles& files) -> Status {
            const auto keys = files.read();
            if (!keys) return pass(keys);
            if (fingerprint_of(keys->current) == fingerprint) return {};
            if (fingerprint_of(keys->next) != fingerprint) return fail("the staged key is not the one that is in force");
            return files.adopt();
          },
          [this] {
            join_door_.reset();  // tokens that are out name the former key
            write_ring_key(fingerprint_of(keys_.current));
          });
    case node::ChangeKeys::Step::kDropOld:
      return change_key_files([](const ClusterKeyFiles& files) { return files.drop_old(); }, nullptr);
    case node::ChangeKeys::Step::kDropNext:
      return change_key_files([](const ClusterKeyFiles& files) { return files.drop_next(); }, nullptr);
  }
}

bool Daemon::write_ring_key(const std::string& fingerprint) {
  const std::string& key = keys_.find(fingerprint);
  if (key.empty()) return false;
  const auto written = engine_->write_key(ring_key_of(key));
  if (!written) {
    write_note({.kind = "problem", .text = "the interconnects' key: " + written.error().message + "; it is tried again"});
    return false;
  }
  ring_key_ = fingerprint;
  return true;
}

void Daemon::set_ring_key(const node::SetRingKey& wanted) {
  const bool written = write_ring_key(wanted.fingerprint);
  if (written) report_keys();
  if (!wanted.load) return;
  if (!written) return feed(node::RingLoaded{wanted.fingerprint, false});
  engine_->load([this, fingerprint = wanted.fingerprint](const Status& done) {
    if (!done) write_note({.kind = "problem", .text = done.error().message + "; it is tried again"});
    feed(node::RingLoaded{fingerprint, done.has_value()});
  });
}

// ---- The exchange ----

void Daemon::fetch_key(const node::FetchKey& wanted) {
  if (wanted.from == self_) {
    if (fingerprint_of(made_key_) == wanted.fingerprint) return stage_key(made_key_);
    // It was in the memory of an earlier batond, and is on nobody's disk.
    const auto& rotation = node_->state().keys;
    if (rotation.phase != KeyRotation::Phase::kStaging || !rotation.staged.empty()) return;
    return request(RotateKeys{rotation.number, RotateKeys::Step::kCancel, self_, "", "", "",
                              fmt::format("batond on {} was started anew before the new key was on its disk: begin again",
                                          node_->configuration().server_name(self_)),
                              node_->cluster_time(EventLoop::now()), 0},
                   [](bool, const Applied&) {});
  }
  auto asker = KeyAsker::make();
  if (!asker) return write_note({.kind = "problem", .text = asker.error().message});
  key_asker_.emplace(std::move(*asker));
  key_asked_ = wanted;
  node::Message ask = node::KeyAsk{self_, wanted.from, wanted.fingerprint, fingerprint_of(keys_.current), key_asker_->public_key()};
  send(ask, node_->lineage());
}

/// SAFETY: K2. Only the key that the database names, and only to a configured server that asks under a key both have.
void Daemon::answer_key_ask(ServerId asker, const node::KeyAsk& ask) {
  const auto& rotation = node_->state().keys;
  if (ask.to != self_ || ask.origin != asker || !rotation.under_way() || ask.fingerprint != rotation.after) return;
  if (node_->configuration().server(asker) == nullptr) return;
  const std::string& key = fingerprint_of(made_key_) == ask.fingerprint ? made_key_ : keys_.find(ask.fingerprint);
  const std::string& shared = keys_.find(ask.shared);
  if (key.empty() || shared.empty()) return;
  const auto sealed = seal_key(key, ask.public_key, {shared, ask.fingerprint, self_, asker});
  if (!sealed) return write_note({.kind = "problem", .text = sealed.error().message});
  node::Message given = node::KeyGiven{asker, ask.fingerprint, *sealed};
  send(given, node_->lineage());
}

void Daemon::take_key(ServerId giver, const node::KeyGiven& given) {
  if (given.origin != self_ || !key_asker_ || !key_asked_ || given.fingerprint != key_asked_->fingerprint || giver != key_asked_->from)
    return;
  const auto key = key_asker_->open(given.sealed, {keys_.current, given.fingerprint, giver, self_});
  key_asker_.reset();
  if (!key) return write_note({.kind = "problem", .text = key.error().message + "; it is asked for again"});
  // SAFETY: K2. What is committed is the fingerprint.
  if (fingerprint_of(*key) != given.fingerprint)
    return write_note({.kind = "problem", .text = "the key that came is not the one that the cluster wants: it is asked for again"});
  stage_key(*key);
}

void Daemon::stage_key(const std::string& key) {
  change_key_files([key](const ClusterKeyFiles& files) { return files.stage(key); }, nullptr);
}

// ---- What is committed, and a person's word ----

void Daemon::keys_applied(const node::EntryApplied& applied) {
  const auto* command = std::get_if<RotateKeys>(&applied.entry.command);
  if (command == nullptr || !applied.outcome.applied) return;
  const bool told = applied.entry.index <= events_->history_before_start();
  if (command->step == RotateKeys::Step::kCertificates && !told)
    for (auto& [key, client] : mirrors_)
      client->read_keys(true, [this, key = key](const Status& done) {
        if (!done) mirror_note("problem", key, "its certificate was not issued anew: " + done.error().message);
      });
  if (command->step == RotateKeys::Step::kDone || command->step == RotateKeys::Step::kCancel) {
    made_key_.clear();
    renew_ring();  // what was held back meanwhile
  }
}

void Daemon::rotate_keys(milliseconds limit, const std::string& author, RequestDone done) {
  const auto refuse = [&](const std::string& why) { done(true, Applied{false, why}); };
  if (limit < kShortestStaging || limit > kLongestStaging) return refuse("the time for handing out the new key is from 1 s to 24 h");
  const auto& rotation = node_->state().keys;
  if (!made_key_.empty() && rotation.under_way()) return refuse("the keys are being replaced already: look at `baton status`");
  auto key = make_cluster_key();
  if (!key) return refuse(key.error().message);
  made_key_ = *key;
  const uint64_t now_ms = node_->cluster_time(EventLoop::now());
  request(RotateKeys{rotation.number, RotateKeys::Step::kBegin, self_, fingerprint_of(keys_.current), fingerprint_of(made_key_), author, "",
                     now_ms, now_ms + static_cast<uint64_t>(limit.count())},
          std::move(done));
}

}  // namespace baton
