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
  check_durability();
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
    if (chaos_ && not_needed && !nodes_[peer].disk_dead && random_.chance(0.08)) {
      note(fmt::format("node {} gets a new disk", index));
      replace_disk(index);
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

void MirrorPair::replace_disk(int index) {
  Node& node = nodes_[index];
  node.disk = std::make_unique<MirrorDisk>("sim", history_.size());
  node.disk_dead = false;
  database_.member(index).report.reset();  // `baton mirror replace` goes through the cluster
}

/// The data disk of one of two copies that are in sync stops working; one of a pair that lost power may be found dead.
void MirrorPair::kill_disk(int index) {
  const auto& set = database_.committed().in_sync;
  const int peer = 1 - index;
  const mirror::Superblock& other = nodes_[peer].disk->stored().superblock;
  if (set.size() != 2 || nodes_[peer].disk_dead || nodes_[index].disk_dead) return;
  if (other.detached || !other.consistent || other.generation.counter == 0) return;  // two disks at once are more than is promised
  if (nodes_[index].copy && !nodes_[peer].copy) return;
  note(fmt::format("node {}: its disk dies", index));
  ++outcome_.dead_disks;
  nodes_[index].disk_dead = true;
}

/// The set still names two copies, but the other one's disk has just been replaced: two disks lost at once are more than
/// is promised.
bool MirrorPair::last_of_the_set(int index) const {
  return database_.committed().in_sync.size() == 2 &&
         nodes_[1 - index].disk->stored().superblock.generation.counter == 0;
}

/// The only copy in sync stands on a dead disk: a person goes on from the other one, whatever is lost with it.
void MirrorPair::force_other(int index) {
  const int peer = 1 - index;
  const MirrorMember& member = database_.member(peer);
  const int holder = database_.holder_index();
  const bool stopped = holder >= 0 && database_.member(holder).released && !nodes_[holder].exported;
  const bool there = nodes_[peer].copy && !nodes_[peer].exported && !nodes_[peer].disk_dead && member.in_view;
  if (database_.committed().in_sync.size() != 1) return;
  group_stopped_ = true;
  if (!stopped || !there || !member.report) return;
  if (member.report->incarnation != nodes_[peer].copy->report().incarnation) return;
  if (member.report->generation.counter == 0) return;
  note(fmt::format("a person forces the copy of node {}", peer));
  ++outcome_.forced;
  group_stopped_ = false;
  may_diverge_ = true;
  database_.force(peer);
  for (int told = 0; told < 2; ++told) tell_state(told, 1ms, 60ms);
}

bool MirrorPair::connected(int primary) const {
  const auto& copy = nodes_[primary].copy;
  return copy && copy->report().role == MirrorRole::kPrimary && copy->report().link == MirrorLink::kConnected;
}

bool MirrorPair::refuses(int primary) const {
  const auto& copy = nodes_[primary].copy;
  return copy && copy->report().role == MirrorRole::kPrimary && copy->report().link == MirrorLink::kRefused &&
         copy->report().problem.find("the copies are not connected") != std::string::npos;
}

/// Somebody looks after broken disks: a dead one is replaced, one that is well is taken for well again.
void MirrorPair::repair_round() {
  after(random_.between(Duration(300ms), Duration(900ms)), [this] { repair_round(); });
  // The holder's own word: a former primary may believe itself connected for a while.
  const int holder = database_.holder_index();
  may_diverge_ = may_diverge_ && !(set_as_wanted() && holder >= 0 && connected(holder));
  for (int index = 0; index < 2; ++index) {
    Node& node = nodes_[index];
    if (!node.copy || node.isolated) continue;
    const MirrorReport& report = node.copy->report();
    const bool broken = report.detached || report.problem.find("disk reports errors") != std::string::npos;
    // What a copy that trailed did not have, and what came after it: nobody merges that (G2).
    const bool diverged = may_diverge_ && refuses(1 - index);
    if (!broken && !node.disk_dead && !diverged) continue;
    if (node.exported) {
      if (report.detached && !node.moving) {
        ++outcome_.detached;
        begin_move();
      }
      continue;
    }
    // The set relies on this disk, as far as anybody knows.
    const auto listed = database_.committed().in_sync.find(node.id);
    const size_t members = database_.committed().in_sync.size();
    const bool relied_on =
        listed != database_.committed().in_sync.end() && (members == 1 || !holds_every_write(1 - index));
    if (!relied_on) group_stopped_ = false;
    if (relied_on && node.disk_dead) force_other(index);
    if (relied_on && (node.disk_dead || report.detached)) continue;
    if (!relied_on && database_.holder_index() == index) continue;
    const bool replace = !relied_on && (node.disk_dead || report.detached || diverged || random_.chance(0.3));
    // A failure of the other disk that is on its way already would be the second at once.
    if (replace && listed != database_.committed().in_sync.end() && now_ <= last_failure_) continue;
    note(fmt::format("node {} {}", index, replace ? "gets a new disk" : "is restarted: its disk is well"));
    power_off(index, true);
    if (replace) replace_disk(index);
    power_on_later(index);
  }
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
    if (random_.chance(0.2)) kill_disk(static_cast<int>(random_.below(2)));
  } else if (dice < 33) {
    kill_disk(index);
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
    feed(index, mirror::StartVerify{random_.chance(0.5)});
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
  while (!rest_begins() && now_ < end) {
    run_next();
    // The client goes on until the copies are connected.
    const bool both = set_as_wanted();
    client_stopped_ = both && now_ > end - kHealBound + Duration(3s);
  }
  if (!rest_begins()) violated("no way back: the copies are not connected and at rest after the repair");
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
