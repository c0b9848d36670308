// MirrorPair: what goes wrong, and the end at which everything must come right again.
#include <fmt/format.h>

#include <algorithm>

#include "sim/mirror_pair.h"

namespace baton::sim {

namespace {
constexpr Duration kHealBound = 40s;
constexpr Duration kRest = 8s;
}  // namespace

void MirrorPair::power_off(int index, bool keep_cache) {
  Node& node = nodes_[index];
  if (!node.copy) return;
  note(fmt::format("node {} {}", index, keep_cache ? "loses its daemon" : "loses power"));
  ++outcome_.power_losses;
  node.copy.reset();
  ++node.boot;
  node.exported = false;
  node.lease_until = std::min(node.lease_until, now_);  // the export went with it
  if (keep_cache) {
    node.disk->daemon_loss(random_);
  } else {
    node.disk->power_loss(random_);
  }
  // The database goes on believing the last report until it hears another one.
  const mirror::ConnectionId connection = node.connection;
  node.connection = 0;
  const int peer = 1 - index;
  if (connection == 0) return;
  connections_.at(connection).cut = true;
  if (!keep_cache && random_.chance(0.4)) return;  // silence: the peer time-out finds it
  after(random_.between(Duration(1ms), Duration(80ms)), [this, peer, connection, boot = nodes_[peer].boot] {
    Node& other = nodes_[peer];
    if (!other.copy || other.boot != boot || other.connection != connection) return;
    other.connection = 0;
    feed(peer, mirror::LinkDown{connection, "reset"});
  });
}

void MirrorPair::power_on_later(int index) {
  const Duration longest = random_.chance(0.3) ? Duration(100ms) : Duration(2s);
  after(random_.between(Duration(5ms), longest), [this, index] {
    Node& node = nodes_[index];
    if (node.copy) return;
    const int peer = 1 - index;
    const bool not_needed =
        database_.committed().in_sync.size() == 1 && database_.committed().in_sync.contains(nodes_[peer].id);
    if (chaos_ && not_needed && random_.chance(0.08)) {
      note(fmt::format("node {} gets a new disk", index));
      node.disk = std::make_unique<MirrorDisk>("sim", history_.size());
    } else if (chaos_ && random_.chance(0.05)) {
      note(fmt::format("node {} finds its journal unreadable", index));
      node.disk->stored().journal_unreliable = true;
      node.disk->stored().activity.clear();
      node.disk->stored().dirty.clear();
    }
    // batond on a machine that has just started holds nothing.
    if (database_.holder_index() == index) database_.member(index).released = true;
    boot(index);
  });
}

/// A person moves the group: the client stops, the copy is handed over.
void MirrorPair::begin_move() {
  const int holder = database_.holder_index();
  if (holder < 0 || !nodes_[holder].exported || nodes_[holder].moving) return;
  nodes_[holder].moving = true;
  after(random_.between(Duration(20ms), Duration(150ms)), [this, holder, boot = nodes_[holder].boot] {
    Node& node = nodes_[holder];
    if (!node.copy || node.boot != boot || !node.moving || !node.exported) return;
    if (!node.requests.empty()) {
      node.moving = false;
      return;
    }
    node.demoting = true;
    feed(holder, mirror::Demote{});
  });
}

void MirrorPair::fault() {
  if (!chaos_) return;
  after(random_.between(Duration(20ms), random_.chance(0.5) ? Duration(300ms) : Duration(1500ms)),
        [this] { fault(); });
  const int index = static_cast<int>(random_.below(2));
  Node& node = nodes_[index];
  const uint64_t dice = random_.below(100);
  if (dice < 22) {
    if (node.copy) node.crash_after_actions = static_cast<int>(random_.below(25));
  } else if (dice < 30) {
    for (int each = 0; each < 2; ++each) {
      if (!nodes_[each].copy) continue;
      power_off(each, random_.chance(0.1));
      power_on_later(each);
    }
  } else if (dice < 52) {
    cut_link(random_.chance(0.3));
    network_up_ = false;
    after(random_.chance(0.6) ? random_.between(Duration(0ms), Duration(100ms))
                              : random_.between(Duration(0ms), Duration(2s)),
          [this] { network_up_ = true; });
  } else if (dice < 64) {
    node.isolated = true;
    note(fmt::format("node {} is isolated from the cluster", index));
    after(random_.between(Duration(50ms), Duration(2500ms)), [this, index] { nodes_[index].isolated = false; });
  } else if (dice < 76) {
    node.lease_withheld_until = now_ + random_.between(Duration(100ms), Duration(3s));
    note(fmt::format("node {} gets no lease", index));
  } else if (dice < 90) {
    begin_move();
  } else if (dice < 92) {
    if (node.exported) feed(index, mirror::Abort{"by chance"});
  } else if (dice < 96) {
    if (node.copy && !node.exported && !node.stopping && database_.holder_index() != index) {
      node.stopping = true;
      feed(index, mirror::Stop{});
    }
  } else {
    feed(index, mirror::StartVerify{});
  }
}

void MirrorPair::heal() {
  note("everything is repaired");
  chaos_ = false;
  client_paused_ = false;
  disk_error_ = 0;
  network_up_ = true;
  for (int index = 0; index < 2; ++index) {
    Node& node = nodes_[index];
    node.isolated = false;
    node.lease_withheld_until = now_;
    node.crash_after_actions = -1;
  }
}

void MirrorPair::check_healed() {
  const Instant end = now_ + kHealBound;
  while (!at_rest() && now_ < end) {
    run_next();
    // The client goes on until the copies are connected.
    const bool both = database_.committed().in_sync.size() == 2;
    client_stopped_ = both && now_ > end - kHealBound + Duration(3s);
  }
  if (!at_rest()) violated("no way back: the copies are not connected and at rest after the repair");
  check_equal("connected at the end");
  client_stopped_ = true;
  run_until(now_ + kRest);
  for (Node& node : nodes_) node.ticks = 0;
  run_until(now_ + 2s);
  for (const Node& node : nodes_) {
    if (node.ticks > 16) violated(fmt::format("{} ticks in 2 s at rest: more than pings need", node.ticks));
  }
  if (!at_rest()) violated("the copies do not stay connected at rest");
  check_equal("connected at the end, at rest");
  for (int index = 0; index < 2; ++index) {
    const Node& node = nodes_[index];
    if (!node.disk->stored().activity.empty())
      violated(fmt::format("the activity log of {} does not come to rest", index));
    if (!node.disk->stored().dirty.empty()) violated(fmt::format("copy {} has dirty blocks at rest", index));
    if (!node.buffers.empty())
      violated(fmt::format("copy {} keeps {} buffers at rest", index, node.buffers.size()));
    const auto& content = node.disk->current();
    for (uint64_t block = 0; block < content.size(); ++block) {
      const std::string wrong = history_.judge(block, content[block], history_.acknowledged_floor(block));
      if (!wrong.empty()) violated("I2 at the end: " + wrong);
    }
  }
}

}  // namespace baton::sim
