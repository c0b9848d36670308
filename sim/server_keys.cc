// A server's keys, by their fingerprints: on disk, in corosync's file, and loaded. Deterministic, one thread.
#include "sim/server.h"

namespace baton::sim {

void Server::give_key(const std::string& key) {
  keys_ = Keys{key, "", ""};
  ring_file_ = key;
}

void Server::report_keys() {
  if (settings_.keys_change) feed(node::KeysReported{keys_.current, keys_.next, keys_.old, ring_file_});
}

/// Corosync starts, or is told to load: from then on it hears only who uses the same.
void Server::load_ring_key() {
  if (!settings_.keys_change) return;
  world_.mark('y', id_, static_cast<uint64_t>(ring_file_.size()), ring_file_.empty() ? 0 : static_cast<uint64_t>(ring_file_.back()));
  bus_.set_key(id_, ring_file_);
}

void Server::fetch_key(const node::FetchKey& wanted) {
  world_.after(random_.between(200us, 30ms), while_batond([this, wanted] {
                 if (wanted.from == id_ && made_key_ != wanted.fingerprint) {
                   const auto& rotation = node_->state().keys;
                   if (rotation.phase == KeyRotation::Phase::kStaging && rotation.staged.empty())
                     request(RotateKeys{rotation.number, RotateKeys::Step::kCancel, id_, "", "", "", "it is lost", 0, 0});
                   return;
                 }
                 if (wanted.from != id_ && !observer_.gives_key(wanted.from, *this, wanted.fingerprint)) return;
                 keys_.next = wanted.fingerprint;
                 report_keys();
               }));
}

void Server::change_keys(const node::ChangeKeys& wanted) {
  world_.after(random_.between(200us, 30ms), while_batond([this, wanted] {
                 switch (wanted.step) {
                   case node::ChangeKeys::Step::kAdopt:
                     if (keys_.current != wanted.fingerprint) {
                       if (keys_.next != wanted.fingerprint) return;
                       keys_ = Keys{keys_.next, "", keys_.current};
                     }
                     ring_file_ = keys_.current;
                     break;
                   case node::ChangeKeys::Step::kDropOld: keys_.old.clear(); break;
                   case node::ChangeKeys::Step::kDropNext: keys_.next.clear(); break;
                 }
                 report_keys();
               }));
}

void Server::set_ring_key(const node::SetRingKey& wanted) {
  if (wanted.fingerprint != keys_.current && wanted.fingerprint != keys_.next) return;
  ring_file_ = wanted.fingerprint;
  world_.after(random_.between(200us, 3ms), while_batond([this, wanted] {
                 report_keys();
                 if (!wanted.load) return;
                 observer_.load_ring_keys(*this);
                 world_.after(random_.between(1ms, 30ms),
                              while_batond([this, wanted] { feed(node::RingLoaded{wanted.fingerprint, true}); }));
               }));
}

void Server::rotate_keys(Duration limit) {
  const auto& rotation = node_->state().keys;
  made_key_ = fmt::format("key-{}-{}", id_, ++made_keys_);
  const uint64_t now_ms = node_->cluster_time(local_now());
  request(RotateKeys{rotation.number, RotateKeys::Step::kBegin, id_, keys_.current, made_key_, "operator", "", now_ms,
                     now_ms + static_cast<uint64_t>(to_ms(limit))});
}

}  // namespace baton::sim
