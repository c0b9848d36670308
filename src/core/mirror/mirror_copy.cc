// Who gets which event, and the rounds of advance() at the end of each step until nothing more follows by
// itself.
#include "src/core/mirror/mirror_copy.h"

#include <deque>

#include "src/base/assert.h"
#include "src/core/mirror/copy_core.h"
#include "src/core/mirror/generations.h"
#include "src/core/mirror/report_watch.h"

namespace baton::mirror {

namespace {
constexpr uint64_t kIncarnationsApart = 1'000'000;  // starts after unclean stops until two origins could meet
constexpr uint64_t kIncarnationOrigins = 1'000'000'000;
constexpr int kMostRounds = 1000;  // of advance() in a step: more would be an endless loop
}  // namespace

StoredCopy blank_copy(const std::string& mirror, uint64_t size_blocks) {
  StoredCopy stored;
  stored.superblock.mirror = mirror;
  stored.superblock.size_blocks = size_blocks;
  return stored;
}

struct MirrorCopy::Implementation {
  Implementation(const Settings& settings, const StoredCopy& stored)
      : core(settings, stored), watch(core), journal_unreliable(stored.journal_unreliable) {}

  void start();
  bool ready();
  void handle(const Event& event);
  void advance();
  void on_state(const MirrorState& state);
  void on_link_up(ConnectionId connection);
  void on_message(const MessageReceived& received);
  void on_done(const OperationDone& done);
  void on_tick();

  struct EventHandler;
  struct MessageHandler;

  CopyCore core;
  ReportWatch watch;
  const bool journal_unreliable;
  uint64_t start_saved = 0;
  bool started = false;
  bool log_rewritten = false;
  std::deque<Event> early;  // until the start is on disk
};

// ---- Start ----

void MirrorCopy::Implementation::start() {
  Superblock& superblock = core.journal.superblock();
  if (superblock.incarnation.value == 0 && superblock.generation == Generation{} && core.settings.zeroed_store) {
    superblock.generation = superblock.base = kZeroGeneration;
  }
  // SAFETY: S4 after an unclean stop acknowledged writes may be missing: another incarnation, on disk first. A
  // new copy begins at a random one: what the set says of a disk that was replaced must not be taken for it.
  if (superblock.incarnation.value == 0) {
    superblock.incarnation.value = kIncarnationsApart * (1 + core.random() % kIncarnationOrigins) + 1;
  } else if (!superblock.clean) {
    ++superblock.incarnation.value;
  }
  superblock.clean = false;
  superblock.was_primary = false;
  start_saved = core.journal.save();
  if (journal_unreliable) {
    core.journal.dirty().mark_all();
    core.journal.dirty().want_all();
    core.note("the bitmap or the activity log was unreadable: every block counts as different");
  }
}

bool MirrorCopy::Implementation::ready() {
  // SAFETY: C5 the bitmap that covers everything first, then a readable log: as long as one of them cannot be
  // read the next start knows that it knows nothing.
  if (journal_unreliable && !log_rewritten && core.journal.dirty().all_durable()) {
    core.journal.activity().rewrite();
    core.journal.advance();
    log_rewritten = true;
  }
  if (journal_unreliable && !(log_rewritten && core.journal.log_and_bitmap_durable())) return false;
  return core.journal.saved(start_saved);
}

// ---- Events ----

struct MirrorCopy::Implementation::EventHandler {
  Implementation& self;
  CopyCore& core = self.core;

  void operator()(const StateCommitted& event) const { self.on_state(event.state); }
  void operator()(const Promote& event) const { core.roles.promote(event.permit); }
  void operator()(const Demote&) const { core.roles.demote(); }
  void operator()(const Abort& event) const { core.roles.abort(event.reason); }
  void operator()(const PeerLost& event) const {
    core.drop_link(event.reason);
    core.primary.peer_lost();
  }
  void operator()(const LinkUp& event) const { self.on_link_up(event.connection); }
  void operator()(const LinkDown& event) const {
    if (core.link.is(event.connection)) core.link_lost(event.reason);
  }
  void operator()(const MessageReceived& event) const { self.on_message(event); }
  void operator()(const ClientRequest& event) const { core.writes.request(event); }
  void operator()(const OperationDone& event) const { self.on_done(event); }
  void operator()(const SetRate& event) const { core.copy.set_rate(event.bytes_per_second); }
  void operator()(const Discard&) const { core.maintenance.discard(); }
  void operator()(const Grow& event) const { core.maintenance.grow(event.size_blocks); }
  void operator()(const Backup& event) const { core.maintenance.backup(event.wanted); }
  void operator()(const StartVerify& event) const {
    const Standing standing = core.primary.standing();
    const bool connected = standing == Standing::kConnected || standing == Standing::kTrailing;
    if (core.role == MirrorRole::kPrimary && connected && !core.copy.running()) {
      return core.copy.start_verify(event.repair);
    }
    core.operations.emit(Verified{0, 0, 0, "the copies are not connected and in sync, or a verify is running"});
  }
  void operator()(const Stop&) const { core.roles.stop(); }
  void operator()(const Tick&) const { self.on_tick(); }
};

void MirrorCopy::Implementation::on_state(const MirrorState& state) {
  if (core.committed_known && state.version < core.committed.version) return;
  // A person rejoins the mirror: a disk that failed is taken for well again.
  if (core.committed.broken && !state.broken) core.secondary.forget_disk_failure();
  core.committed = state;
  core.committed_known = true;
  if (state.permit > core.permit()) {
    // SAFETY: P3 a newer permit: this primary never completes another request. P2: its connection is not
    // served.
    core.step_down("the cluster gave the group's mirror a newer permit");
    if (core.secondary.serving()) core.drop_link("a newer permit is known");
  }
  core.roles.permit_seen(core.committed.permit);
  core.primary.state_changed();
}

void MirrorCopy::Implementation::on_link_up(ConnectionId connection) {
  if (core.link.is(connection)) return;
  if (core.roles.stopping() || core.link.stale(connection)) {
    core.operations.emit(CloseLink{connection, core.roles.stopping() ? "the mirror's daemon is ending"
                                                                     : "there has been a newer connection"});
    return;
  }
  core.drop_link("replaced by a newer connection");
  core.link.opened(connection);
  if (core.role == MirrorRole::kPrimary) core.primary.link_up();
}

void MirrorCopy::Implementation::on_tick() {
  if (core.link.tick()) {
    core.drop_link("nothing was heard from the other copy for too long");
  }
  core.journal.tick();
  core.primary.tick();
}

// ---- Messages ----

struct MirrorCopy::Implementation::MessageHandler {
  CopyCore& core;
  BufferId buffer;
  bool primary;

  void operator()(const Hello& message) const {
    if (primary && message.permit > core.permit()) {
      // SAFETY: P3 the peer is primary under a newer permit. Its connection is dropped; it comes again.
      return core.step_down("the other copy is primary under a newer permit");
    }
    if (primary)
      return core.link.send(HelloRefused{core.permit(), "this copy is primary under a newer permit"});
    core.secondary.hello(message);
  }
  void operator()(const HelloReply& message) const {
    if (primary) core.primary.hello_reply(message);
  }
  void operator()(const HelloRefused& message) const {
    if (primary) core.primary.hello_refused(message);
  }
  void operator()(const WriteData& message) const {
    if (!primary) return core.secondary.write(message, buffer);
    BufferId unused = buffer;
    core.operations.release(unused);
  }
  void operator()(const ZeroData& message) const {
    if (!primary) core.secondary.zero(message);
  }
  void operator()(const WriteReceived& message) const {
    if (primary) core.writes.peer_received(message.sequence);
  }
  void operator()(const ReadPeer& message) const {
    if (!primary) core.secondary.read(message);
  }
  void operator()(const PeerData& message) const {
    core.link.answered(message.sequence);
    if (primary) return core.writes.peer_data(message.sequence, message.ok, buffer);
    BufferId unused = buffer;
    core.operations.release(unused);
  }
  void operator()(const Detach&) const {
    if (!primary) core.secondary.detach();
  }
  void operator()(const Detached& message) const {
    if (primary) core.primary.peer_detached(message);
  }
  void operator()(const WriteDone& message) const {
    core.link.answered(message.sequence);
    if (primary && !core.writes.peer_done(message.sequence, message.ok)) {
      core.copy.write_done(message.sequence, message.ok);
    }
  }
  void operator()(const FlushPeer& message) const {
    if (!primary) core.secondary.flush(message);
  }
  void operator()(const FlushPeerDone& message) const {
    core.link.answered(message.sequence);
    if (primary) core.writes.flushes().peer_done(message.sequence, message.ok);
  }
  void operator()(const CopyBegin& message) const {
    if (!primary) core.secondary.copy_begin(message);
  }
  void operator()(const CopyBegun&) const {
    if (primary) core.primary.copy_begun();
  }
  void operator()(const HashRequest& message) const {
    if (!primary) core.secondary.hash(message);
  }
  void operator()(const HashReply& message) const {
    core.link.answered(message.sequence);
    if (primary) core.copy.hashes_arrived(message);
  }
  void operator()(const CopyEnd& message) const {
    if (!primary) core.secondary.copy_end(message);
  }
  void operator()(const CopyEnded& message) const {
    if (primary) core.primary.copy_ended(message);
  }
  void operator()(const Ping&) const {}
};

void MirrorCopy::Implementation::on_message(const MessageReceived& received) {
  if (!core.link.is(received.connection)) {
    BufferId unused = received.buffer;
    return core.operations.release(unused);
  }
  core.link.heard();
  std::visit(MessageHandler{core, received.buffer, core.role == MirrorRole::kPrimary}, received.message);
}

void MirrorCopy::Implementation::on_done(const OperationDone& done) {
  const auto outstanding = core.operations.end(done.operation);
  if (!outstanding) return;
  switch (outstanding->purpose) {
    case Purpose::kClientRead:
    case Purpose::kClientWrite:
    case Purpose::kRepair:
      return core.writes.operation_done(outstanding->purpose, outstanding->subject, done.ok);
    case Purpose::kFlushRound:
      return core.writes.flushes().operation_done(outstanding->subject, done.ok);
    case Purpose::kSuperblock:
    case Purpose::kActivity:
    case Purpose::kBitmap:
      return core.journal.operation_done(outstanding->purpose, done.ok);
    case Purpose::kCopyRead:
      return core.copy.read_done(outstanding->subject, done.ok, done.zero, done.hashes);
    case Purpose::kClientFlush:
      return core.writes.flushes().local_done(outstanding->subject, done.ok);
    case Purpose::kPromotionFlush:
      return core.roles.flushed_first(outstanding->subject, done.ok);
    case Purpose::kRevert:
      return core.roles.reverted(done.ok);
    case Purpose::kPeerWrite:
    case Purpose::kPeerRead:
    case Purpose::kPeerOrderFlush:
    case Purpose::kSnapshot:
    case Purpose::kPeerFlush:
    case Purpose::kPeerHash:
    case Purpose::kPeerCopyEnd:
      return core.secondary.operation_done(outstanding->purpose, outstanding->subject, done.ok, done.hashes);
    case Purpose::kStopFlush:
      return core.roles.operation_done(outstanding->subject, done.ok);
  }
}

void MirrorCopy::Implementation::handle(const Event& event) {
  const bool before_start = std::holds_alternative<OperationDone>(event) || std::holds_alternative<Tick>(event);
  if (!started && !before_start) {
    early.push_back(event);
    return;
  }
  std::visit(EventHandler{*this}, event);
}

void MirrorCopy::Implementation::advance() {
  for (int round = 0; round < kMostRounds; ++round) {
    core.again = false;
    core.journal.advance();
    if (!started) {
      if (!ready()) return;
      started = true;
      std::deque<Event> events;
      events.swap(early);
      for (const Event& event : events) handle(event);
      core.again = true;
      continue;
    }
    core.roles.advance();
    core.maintenance.advance();
    core.primary.advance();
    core.secondary.advance();
    core.copy.advance();
    core.writes.advance();
    if (!core.again) {
      core.journal.advance();  // what the others have asked for
      if (!core.again) return;
    }
  }
  BATON_ASSERT(!"a mirror copy's step does not come to rest");
}

// ---- The class ----

MirrorCopy::MirrorCopy(const Settings& settings, StoredCopy stored)
    : implementation_(std::make_unique<Implementation>(settings, stored)) {}

MirrorCopy::~MirrorCopy() = default;

void MirrorCopy::start(const Context& context, std::vector<Action>& actions) {
  implementation_->core.context = context;
  implementation_->core.operations.begin_step(actions);
  implementation_->start();
  implementation_->advance();
}

void MirrorCopy::step(const Context& context, const Event& event, std::vector<Action>& actions) {
  implementation_->core.context = context;
  implementation_->core.operations.begin_step(actions);
  implementation_->handle(event);
  implementation_->advance();
  if (implementation_->started) implementation_->watch.update();
}

Instant MirrorCopy::next_tick() const {
  const CopyCore& core = implementation_->core;
  Instant tick = std::min(core.journal.next_tick(), core.link.next_tick());
  want_tick(tick, core.writes.next_tick());
  want_tick(tick, core.primary.next_tick());
  want_tick(tick, core.copy.next_tick());
  want_tick(tick, implementation_->watch.next_tick());
  return tick;
}

const Counters& MirrorCopy::counters() const { return implementation_->core.counters; }

const MirrorReport& MirrorCopy::report() const { return implementation_->watch.report(); }

}  // namespace baton::mirror
