// MirrorPair: time, starting copies, and what their actions come to. See mirror_pair.h.
#include "sim/mirror_pair.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace baton::sim {

namespace {
constexpr uint64_t kSizeBlocks = 4096;  // 16 extents
constexpr Duration kChaos = 12s;
constexpr uint64_t kRubbish = ~uint64_t{0};  // what a read that failed leaves in its buffer

std::string describe(const mirror::Event& event) {
  struct Names {
    std::string operator()(const mirror::StateCommitted& state) const {
      std::string set;
      for (const auto& [id, incarnation] : state.state.in_sync) set += fmt::format(" {}:{}", id, incarnation);
      return fmt::format("StateCommitted v{} permit {} holder {} set{}", state.state.version,
                         state.state.permit, state.state.holder, set);
    }
    std::string operator()(const mirror::Promote& promote) const {
      return fmt::format("Promote {}", promote.permit);
    }
    std::string operator()(const mirror::Demote&) const { return "Demote"; }
    std::string operator()(const mirror::Abort&) const { return "Abort"; }
    std::string operator()(const mirror::PeerLost&) const { return "PeerLost"; }
    std::string operator()(const mirror::LinkUp& up) const { return fmt::format("LinkUp {}", up.connection); }
    std::string operator()(const mirror::LinkDown& down) const {
      return fmt::format("LinkDown {}", down.connection);
    }
    std::string operator()(const mirror::MessageReceived& message) const {
      static const char* const names[] = {
          "Hello",     "HelloReply", "HelloRefused", "WriteData", "WriteDone", "FlushPeer", "FlushPeerDone",
          "CopyBegin", "CopyBegun",  "HashRequest",  "HashReply", "CopyEnd",   "CopyEnded", "Ping",
          "ZeroData",  "WriteReceived", "ReadPeer", "PeerData",  "Detach",    "Detached"};
      std::string text = fmt::format("{} on {}", names[message.message.index()], message.connection);
      if (const auto* write = std::get_if<mirror::WriteData>(&message.message)) {
        text += fmt::format(" {}+{} seq {}", write->range.first, write->range.count, write->sequence);
      } else if (const auto* done = std::get_if<mirror::WriteDone>(&message.message)) {
        text += fmt::format(" seq {}", done->sequence);
      }
      return text;
    }
    std::string operator()(const mirror::ClientRequest& request) const {
      return fmt::format("ClientRequest {} kind {} {}+{}", request.id, static_cast<int>(request.kind),
                         request.range.first, request.range.count);
    }
    std::string operator()(const mirror::OperationDone& done) const {
      return fmt::format("OperationDone {}{}", done.operation, done.ok ? "" : " failed");
    }
    std::string operator()(const mirror::StartVerify&) const { return "StartVerify"; }
    std::string operator()(const mirror::SetRate&) const { return "SetRate"; }
    std::string operator()(const mirror::Discard&) const { return "Discard"; }
    std::string operator()(const mirror::Grow&) const { return "Grow"; }
    std::string operator()(const mirror::Backup&) const { return "Backup"; }
    std::string operator()(const mirror::Stop&) const { return "Stop"; }
    std::string operator()(const mirror::Tick&) const { return "Tick"; }
  };
  return std::visit(Names{}, event);
}
}  // namespace

MirrorPair::MirrorPair(uint64_t seed, bool trace)
    : seed_(seed), trace_(trace), random_(seed), database_({ServerId{1}, ServerId{2}}), history_(kSizeBlocks) {
  // Some seeds have few extents in the log, so that it turns over all the time; some have disks that fail.
  const auto capacity =
      static_cast<uint32_t>(random_.chance(0.6) ? random_.between(2, 5) : random_.between(6, 20));
  const Duration cold = random_.chance(0.5) ? random_.between(Duration(50ms), Duration(300ms)) : Duration(2s);
  disk_error_ = random_.chance(0.2) ? 0.0005 : 0;
  protocol_ = random_.chance(0.5) ? MirrorProtocol::kC : random_.chance(0.5) ? MirrorProtocol::kB : MirrorProtocol::kA;
  const bool takes_over = protocol_ == MirrorProtocol::kA && random_.chance(0.7);  // A5
  const Duration max_lag = takes_over ? random_.between(Duration(60ms), Duration(900ms)) : Duration::zero();
  const bool zeroed = random_.chance(0.5);
  busy_blocks_ = random_.chance(0.5) ? 40 : kSizeBlocks;
  for (int index = 0; index < 2; ++index) {
    Node& node = nodes_[index];
    node.id = ServerId{static_cast<uint32_t>(index + 1)};
    node.disk = std::make_unique<MirrorDisk>("sim", kSizeBlocks);
    mirror::Settings& settings = settings_[index];
    settings.self = node.id;
    settings.peer = ServerId{static_cast<uint32_t>(2 - index)};
    settings.activity_capacity = capacity;
    settings.cold_extent = cold;
    settings.freeze_limit = 2s;
    settings.protocol = protocol_;
    settings.max_lag = max_lag;
    settings.zeroed_store = zeroed;
    settings.peer_timeout = 3s;
    settings.send_limit_blocks = random_.between(8, 200);
    settings.copy_window = static_cast<uint32_t>(random_.between(2, 16));
    settings.copy_step_blocks = static_cast<uint32_t>(random_.between(4, 64));
  }
}

MirrorPair::~MirrorPair() = default;

void MirrorPair::note(const std::string& text) {
  for (const char letter : text) outcome_.hash = (outcome_.hash ^ static_cast<uint8_t>(letter)) * 0x100000001b3;
  if (trace_) std::printf("%8.3f %s\n", static_cast<double>(to_ns(now_)) / 1e9, text.c_str());
}

void MirrorPair::violated(const std::string& text) { throw Violation{text}; }

// ---- Time ----

void MirrorPair::at(Instant when, std::function<void()> what) {
  queue_.add(std::max(when, now_), std::move(what));
}

bool MirrorPair::run_next() {
  if (queue_.next() == kNever) return false;
  now_ = queue_.next();
  queue_.take()();
  return true;
}

void MirrorPair::run_until(Instant end) {
  while (queue_.next() <= end) run_next();
  now_ = end;
}

// ---- Nodes ----

void MirrorPair::boot(int index) {
  Node& node = nodes_[index];
  if (node.copy) return;
  ++node.boot;
  node.lease_until = Instant{Duration::zero()};
  node.known_permit = Permit{};
  node.want_link = node.exported = node.moving = node.demoting = node.stopping = false;
  node.connection = 0;
  node.tick_at = kNever;
  node.crash_after_actions = -1;
  node.requests.clear();
  node.buffers.clear();
  node.reads.clear();
  note(fmt::format("node {} starts", index));
  settings_[index].seed = random_.next();
  node.copy = std::make_unique<mirror::MirrorCopy>(settings_[index], node.disk->stored());
  std::vector<mirror::Action> actions;
  node.copy->start({now_, node.lease_until}, actions);
  carry_out(index, actions);
  if (node.copy) schedule_tick(index);
}

void MirrorPair::schedule_tick(int index) {
  Node& node = nodes_[index];
  const Instant tick = node.copy->next_tick();
  if (tick == kNever || tick >= node.tick_at) return;
  node.tick_at = std::max(tick, now_);
  at(tick, [this, index, boot = node.boot, tick] {
    Node& self = nodes_[index];
    if (!self.copy || self.boot != boot || self.tick_at > std::max(tick, now_)) return;
    self.tick_at = kNever;
    ++self.ticks;
    feed(index, mirror::Tick{});
  });
}

void MirrorPair::feed(int index, const mirror::Event& event) {
  Node& node = nodes_[index];
  if (!node.copy) return;
  ++outcome_.steps;
  note(fmt::format("  {} <- {}", index, describe(event)));
  std::vector<mirror::Action> actions;
  node.copy->step({now_, node.lease_until}, event, actions);
  carry_out(index, actions);
  if (node.copy) schedule_tick(index);
}

// ---- Actions ----

void MirrorPair::operation_later(int index, OperationId operation, Duration low, Duration high, bool ok,
                                 std::function<mirror::OperationDone(Node&)> finish) {
  // Now and then something takes longer, and seldom very much longer.
  Duration delay = random_.chance(0.03) ? random_.between(high, high * 20) : random_.between(low, high);
  if (chaos_ && random_.chance(0.001)) delay = random_.between(Duration(100ms), Duration(900ms));
  if (!ok) last_failure_ = std::max(last_failure_, now_ + delay);
  after(delay, [this, index, operation, boot = nodes_[index].boot, finish = std::move(finish)] {
    Node& node = nodes_[index];
    if (!node.copy || node.boot != boot) return;
    mirror::OperationDone done = finish(node);
    done.operation = operation;
    feed(index, done);
  });
}

struct MirrorPair::ActionHandler {
  MirrorPair& pair;
  int index;
  Node& node = pair.nodes_[index];

  bool disk_ok() const {
    const bool fails = pair.random_.chance(pair.disk_error_) && !pair.last_of_the_set(index);
    return !fails && !node.disk_dead;
  }

  void operator()(const mirror::LocalRead& read) const {
    mirror::BufferId buffer = read.buffer;
    if (buffer == 0) {
      buffer = read.new_buffer;
      if (node.buffers.contains(buffer)) pair.violated("a new buffer has a name that is in use");
      node.buffers[buffer].resize(read.range.count);
    }
    if (node.disk->busy(read.range)) pair.violated("O1: a read overlaps a write under way");
    node.reads[read.operation] = read.range;
    const bool ok = disk_ok();
    pair.operation_later(index, read.operation, 50us, 2ms, ok, [read, buffer, ok](Node& self) {
      mirror::OperationDone done{0, ok, {}};
      const auto values = self.disk->read(read.range);
      self.reads.erase(read.operation);
      const auto place = self.buffers.find(buffer);
      if (ok && place != self.buffers.end()) place->second = values;
      if (!ok && place != self.buffers.end()) std::fill(place->second.begin(), place->second.end(), kRubbish);
      done.zero = ok && read.want_zero &&
                  std::all_of(values.begin(), values.end(), [](uint64_t value) { return value == 0; });
      if (ok && read.want_hashes) {
        for (const uint64_t value : values) done.hashes.push_back({value, ~value});
      }
      return done;
    });
  }
  void write(OperationId operation, BlockRange range, std::vector<uint64_t> values) const {
    if (node.disk->busy(range)) pair.violated("O1: a write overlaps a write under way");
    for (const auto& [other, read] : node.reads) {
      if (read.overlaps(range)) pair.violated("O1: a write overlaps a read under way");
    }
    node.disk->begin_write(operation, range, std::move(values));
    const bool ok = disk_ok();
    pair.operation_later(index, operation, 50us, 3ms, ok, [this_pair = &pair, operation, ok](Node& self) {
      self.disk->end_write(operation, ok, this_pair->random_);
      return mirror::OperationDone{0, ok, {}};
    });
  }
  void operator()(const mirror::LocalWrite& action) const {
    const auto data = node.buffers.find(action.buffer);
    if (data == node.buffers.end()) pair.violated("a write from a buffer that was released");
    write(action.operation, action.range, data->second);
  }
  /// A copy's zeroes (which give space back) are what was never written; a client's count as a value of their own.
  void operator()(const mirror::LocalZero& action) const {
    const auto place = pair.zeroed_.find({action.range.first, action.range.count});
    const bool of_client = !action.unmap && place != pair.zeroed_.end();
    write(action.operation, action.range,
          of_client ? place->second : std::vector<uint64_t>(action.range.count, 0));
  }
  void operator()(const mirror::CopyBuffer& action) const {
    const auto from = node.buffers.find(action.from);
    const auto to = node.buffers.find(action.to);
    if (from == node.buffers.end() || to == node.buffers.end()) pair.violated("a copy of a buffer that was released");
    std::copy_n(from->second.begin(), action.blocks, to->second.begin());
  }
  void operator()(const mirror::TakeSnapshot& action) const {
    node.disk->take_snapshot();
    pair.operation_later(index, action.operation, 1ms, 30ms, true,
                         [](Node&) { return mirror::OperationDone{0, true, {}}; });
  }
  void operator()(const mirror::RevertToSnapshot& action) const {
    node.disk->revert_to_snapshot();
    pair.operation_later(index, action.operation, 1ms, 30ms, true,
                         [](Node&) { return mirror::OperationDone{0, true, {}}; });
  }
  void operator()(const mirror::DropSnapshot&) const { node.disk->drop_snapshot(); }
  void operator()(const mirror::Discarded&) const {}
  void operator()(const mirror::DiskRetried&) const {}
  void operator()(const mirror::Grown&) const {}
  void operator()(const mirror::BackupReady&) const {}
  void operator()(const mirror::Alerted& action) const {
    pair.note(fmt::format("    {} alerts: {}", index, action.text));
  }
  void operator()(const mirror::LocalFlush& flush) const {
    node.disk->begin_flush(flush.operation);
    const bool ok = disk_ok();
    pair.operation_later(index, flush.operation, 200us, 8ms, ok, [flush, ok](Node& self) {
      self.disk->end_flush(flush.operation, ok);
      return mirror::OperationDone{0, ok, {}};
    });
  }
  void persist(OperationId operation, std::function<void(mirror::StoredCopy&)> apply) const {
    node.disk->begin_persist(operation, std::move(apply));
    const bool ok = !pair.random_.chance(pair.disk_error_ * 10);
    pair.operation_later(index, operation, 100us, 6ms, ok, [this_pair = &pair, operation, ok](Node& self) {
      self.disk->end_persist(operation, ok, this_pair->random_);
      return mirror::OperationDone{0, ok, {}};
    });
  }
  void operator()(const mirror::PersistSuperblock& action) const {
    persist(action.operation,
            [superblock = action.superblock](mirror::StoredCopy& stored) { stored.superblock = superblock; });
  }
  void operator()(const mirror::PersistActivity& action) const {
    if (action.extents.size() > pair.settings_[index].activity_capacity)
      pair.violated("the activity log overflows");
    persist(action.operation, [extents = action.extents](mirror::StoredCopy& stored) {
      stored.activity = extents;
      stored.journal_unreliable = false;
    });
  }
  void operator()(const mirror::PersistBitmap& action) const {
    persist(action.operation, [pages = action.pages](mirror::StoredCopy& stored) {
      if (pages.contains(0)) stored.dirty = pages.at(0);  // the device is smaller than a page's blocks
    });
  }
  void operator()(const mirror::SendMessage& action) const { pair.send(index, action); }
  void operator()(const mirror::CloseLink& action) const { pair.close(index, action.connection); }
  void operator()(const mirror::CompleteRequest& action) const { pair.completed(index, action); }
  void operator()(const mirror::ReleaseBuffer& action) const {
    if (node.buffers.erase(action.buffer) != 1) pair.violated("a buffer is released twice");
  }
  void operator()(const mirror::ProposeInSync& action) const { pair.propose(index, action); }
  void operator()(const mirror::Promoted& action) const { pair.promoted(index, action.permit); }
  void operator()(const mirror::Demoted&) const { pair.released(index); }
  void operator()(const mirror::RoleRefused& action) const {
    pair.note(fmt::format("    {} refuses: {}", index, action.reason));
    if (!node.demoting && !node.exported) pair.released(index);
    node.demoting = node.moving = false;
  }
  void operator()(const mirror::AbortExport& action) const {
    pair.note(fmt::format("    {} aborts: {}", index, action.reason));
    pair.released(index);
  }
  void operator()(const mirror::Stopped&) const {
    if (!node.stopping) pair.violated("stopped without having been asked");
  }
  void operator()(const mirror::WantLink& action) const { node.want_link = action.wanted; }
  void operator()(const mirror::Reported& action) const {
    pair.note(fmt::format("    {} reports {} {} inc {} gen {} consistent {} waiting '{}'", index,
                          to_string(action.report.role), to_string(action.report.link),
                          action.report.incarnation, action.report.generation.counter, action.report.consistent,
                          action.report.waiting));
    // A disk that failed, or a copy that was forced, is refused with reason.
    const auto& other = pair.nodes_[1 - index].copy;
    const bool usable = other && !other->report().detached && other->report().generation.counter > 0;
    const bool apart = action.report.problem.find("the copies are not connected") != std::string::npos;
    if (action.report.link == MirrorLink::kRefused && apart && usable && !pair.may_diverge_)
      pair.violated("the copies refuse each other: " + action.report.problem);
    if (action.report.link == MirrorLink::kCopying && action.report.role == MirrorRole::kPrimary) {
      ++(action.report.copy == CopyKind::kFull ? pair.outcome_.full_copies : pair.outcome_.fast_copies);
    }
    pair.after(pair.random_.between(Duration(1ms), Duration(40ms)),
               [this_pair = &pair, at = index, boot = node.boot, report = action.report] {
                 const Node& self = this_pair->nodes_[at];
                 if (self.boot == boot && self.copy && !self.isolated)
                   this_pair->database_.member(at).report = report;
               });
  }
  void operator()(const mirror::Noted& action) const {
    pair.note(fmt::format("    {} notes: {}", index, action.text));
  }
  void operator()(const mirror::Verified& action) const {
    if (action.failure.empty() && action.different > 0) pair.violated("a verify finds differences");
  }
};

void MirrorPair::carry_out(int index, const std::vector<mirror::Action>& actions) {
  Node& node = nodes_[index];
  bool stopped = false;
  for (const mirror::Action& action : actions) {
    if (node.crash_after_actions == 0) {  // the power fails between two actions
      power_off(index, random_.chance(0.3));
      power_on_later(index);
      return;
    }
    if (node.crash_after_actions > 0) --node.crash_after_actions;
    std::visit(ActionHandler{*this, index}, action);
    stopped = stopped || std::holds_alternative<mirror::Stopped>(action);
  }
  if (!stopped) return;
  note(fmt::format("node {} has ended in order", index));
  power_off(index, true);
  power_on_later(index);
}

// ---- The run ----

PairOutcome MirrorPair::run() {
  try {
    boot(0);
    boot(1);
    cluster_round();
    client_round();
    repair_round();
    after(random_.between(Duration(200ms), Duration(1s)), [this] { fault(); });
    run_until(Instant{kChaos});
    heal();
    check_healed();
  } catch (const Violation& violation) {
    outcome_.ok = false;
    outcome_.violation = fmt::format("seed {}, step {}, at {:.3f} s: {}", seed_, outcome_.steps,
                                     static_cast<double>(to_ns(now_)) / 1e9, violation.text);
    note(outcome_.violation);
  }
  outcome_.simulated = now_.time_since_epoch();
  return outcome_;
}

PairOutcome run_mirror_pair(uint64_t seed, bool trace) { return MirrorPair(seed, trace).run(); }

}  // namespace baton::sim
