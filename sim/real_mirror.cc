// The copies' lives, and what their actions come to. Deterministic, one thread.
#include "sim/real_mirror.h"

#include <algorithm>

namespace baton::sim {

namespace {
constexpr uint64_t kSizeBlocks = 1024;  // four extents
}  // namespace

RealMirror::RealMirror(World& world, Surroundings& around, const std::string& key, Server& first, Server& second,
                       Duration freeze_limit)
    : world_(world), around_(around), key_(key), random_(world.random().fork()), history_(kSizeBlocks) {
  const bool zeroed = random_.chance(0.5);
  sides_[0].server = &first;
  sides_[1].server = &second;
  for (int index = 0; index < 2; ++index) {
    Side& side = sides_[index];
    side.disk = std::make_unique<MirrorDisk>(key, kSizeBlocks);
    side.settings.self = side.server->id();
    side.settings.peer = sides_[1 - index].server->id();
    side.settings.activity_capacity = 3;
    side.settings.cold_extent = 300ms;
    side.settings.freeze_limit = freeze_limit;
    side.settings.zeroed_store = zeroed;
    side.settings.peer_timeout = 3s;
    side.settings.copy_window = 4;
    side.settings.copy_step_blocks = 32;
  }
  connect_round();
  client_round();
}

RealMirror::~RealMirror() = default;

int RealMirror::index_of(ServerId server) const { return sides_[0].server->id() == server ? 0 : 1; }
MirrorStandIn& RealMirror::stand_in(int index) { return sides_[index].server->mirror(key_); }

// ---- Time. A machine that stands still does nothing; then everything comes at once, in order. ----

void RealMirror::later(int index, Duration delay, std::function<void()> what) {
  world_.after(delay, [this, index, boot = sides_[index].boot, what = std::move(what)] {
    Side& side = sides_[index];
    if (!side.copy || side.boot != boot) return;
    side.inbox.push_back(what);
    drain(index);
  });
}

void RealMirror::drain(int index) {
  Side& side = sides_[index];
  if (side.draining) return;
  if (side.server->machine_paused()) {
    side.draining = true;
    world_.after(3ms, [this, index] {
      sides_[index].draining = false;
      drain(index);
    });
    return;
  }
  while (!side.inbox.empty() && side.copy) {
    const auto next = std::move(side.inbox.front());
    side.inbox.pop_front();
    next();
  }
}

void RealMirror::arm_tick(int index) {
  Side& side = sides_[index];
  const Instant tick = side.copy->next_tick();
  if (tick == kNever || tick >= side.tick_at) return;
  side.tick_at = tick;
  const Duration wait = std::max(Duration{0}, tick - side.server->local_now());
  later(index, wait + wait / 100 + 10us, [this, index, tick] {
    Side& self = sides_[index];
    if (self.tick_at > tick) return;
    self.tick_at = kNever;
    feed(index, mirror::Tick{});
  });
}

void RealMirror::boot(int index) {
  Side& side = sides_[index];
  ++side.boot;
  side.settings.seed = random_.next();
  side.copy = std::make_unique<mirror::MirrorCopy>(side.settings, side.disk->stored());
  std::vector<mirror::Action> actions;
  side.copy->start({side.server->local_now(), side.server->lease_page()}, actions);
  for (const auto& action : actions) carry_out(index, action);
  arm_tick(index);
}

void RealMirror::forget(int index) {
  Side& side = sides_[index];
  down(index);
  answer(side.start_done, false);
  answer(side.stop_done, false);
  side.copy.reset();
  ++side.boot;
  side.inbox.clear();
  side.want_link = side.closing = false;
  side.connection = 0;
  side.tick_at = kNever;
  side.buffers.clear();
  side.requests.clear();
}

void RealMirror::feed(int index, const mirror::Event& event) {
  Side& side = sides_[index];
  if (!side.copy) return;
  std::vector<mirror::Action> actions;
  side.copy->step({side.server->local_now(), side.server->lease_page()}, event, actions);
  const uint64_t boot = side.boot;
  for (const auto& action : actions) {
    carry_out(index, action);
    if (side.boot != boot) return;
  }
  arm_tick(index);
}

// ---- From the servers ----

void RealMirror::power_on(ServerId server) { boot(index_of(server)); }

void RealMirror::power_off(ServerId server) {
  const int index = index_of(server);
  if (!sides_[index].copy) return;
  sides_[index].disk->power_loss(random_);
  forget(index);
}

void RealMirror::daemon_dies(ServerId server) {
  const int index = index_of(server);
  Side& side = sides_[index];
  if (!side.copy) return;
  const auto connection = side.connection;
  side.disk->daemon_loss(random_);
  forget(index);
  boot(index);
  if (connection != 0) close(index, connection);
}

void RealMirror::told(ServerId server, const MirrorState& state) {
  const int index = index_of(server);
  later(index, 0ms, [this, index, state] { feed(index, mirror::StateCommitted{state}); });
}

void RealMirror::peer_gone(ServerId server, ServerId gone) {
  const int index = index_of(server);
  if (sides_[index].settings.peer != gone) return;
  later(index, random_.between(50us, 2ms), [this, index] { feed(index, mirror::PeerLost{"left the view"}); });
}

void RealMirror::start(ServerId server, Permit permit, Done done) {
  const int index = index_of(server);
  Side& side = sides_[index];
  if (!side.copy) return done(false);
  answer(side.start_done, false);
  side.start_done = std::move(done);
  later(index, 0ms, [this, index, permit] { feed(index, mirror::Promote{permit}); });
}

void RealMirror::stop(ServerId server, Done done) {
  const int index = index_of(server);
  Side& side = sides_[index];
  if (!side.copy || !stand_in(index).up) return done(true);
  answer(side.stop_done, false);
  side.stop_done = std::move(done);
  side.closing = true;  // client_round() asks for the hand-over when nothing is under way
}

void RealMirror::kill(ServerId server, Done done) {
  const int index = index_of(server);
  Side& side = sides_[index];
  answer(side.start_done, false);
  answer(side.stop_done, false);
  if (!side.copy) return done(true);
  side.stop_done = std::move(done);
  side.closing = false;
  later(index, 0ms, [this, index] { feed(index, mirror::Abort{"killed"}); });
}

MirrorReport RealMirror::report(ServerId server) const {
  const Side& side = sides_[index_of(server)];
  return side.copy ? side.copy->report() : MirrorReport{};
}

void RealMirror::answer(Done& done, bool ok) {
  if (!done) return;
  const Done held = std::exchange(done, nullptr);
  held(ok);
}

void RealMirror::up(int index, Permit permit) {
  Side& side = sides_[index];
  MirrorStandIn& here = stand_in(index);
  if (!here.up || side.permit != permit) {
    const mirror::Superblock& durable = side.disk->stored().superblock;
    if (durable.permit != permit || !durable.was_primary) violated("permits", "promoted before the permit is on disk");
    side.permit = permit;
    here.up = true;
    here.permit = here.newest = permit;
    side.closing = false;
    if (!around_.truth().overtaken(key_, permit))
      judge_promotion(index, around_.truth().promoted(key_, side.server->id(), permit, ~uint64_t{0}));
    side.server->ownership_changed();
  }
  answer(side.start_done, true);
}

void RealMirror::down(int index) {
  Side& side = sides_[index];
  MirrorStandIn& here = stand_in(index);
  if (here.up) side.server->ownership_changed();
  here.up = false;
  side.closing = false;
  side.requests.clear();
}

// ---- Actions ----

void RealMirror::operation_later(int index, mirror::OperationId operation, Duration low, Duration high,
                                 std::function<mirror::OperationDone(Side&)> finish) {
  const Duration delay = random_.chance(0.02) ? random_.between(high, high * 20) : random_.between(low, high);
  later(index, delay, [this, index, operation, finish = std::move(finish)] {
    mirror::OperationDone done = finish(sides_[index]);
    done.operation = operation;
    feed(index, done);
  });
}

struct RealMirror::ActionHandler {
  RealMirror& whole;
  int index;
  Side& side = whole.sides_[index];

  void operator()(const mirror::LocalRead& read) const {
    mirror::BufferId buffer = read.buffer;
    if (buffer == 0) {
      buffer = read.new_buffer;
      side.buffers[buffer].resize(read.range.count);
    }
    if (side.disk->busy(read.range)) whole.violated("order", "O1: a read overlaps a write under way");
    whole.operation_later(index, read.operation, 50us, 2ms, [read, buffer](Side& self) {
      mirror::OperationDone done{0, true, {}};
      const auto values = self.disk->read(read.range);
      const auto place = self.buffers.find(buffer);
      if (place != self.buffers.end()) place->second = values;
      done.zero = read.want_zero && std::all_of(values.begin(), values.end(), [](uint64_t value) { return value == 0; });
      if (read.want_hashes)
        for (const uint64_t value : values) done.hashes.push_back({value, ~value});
      return done;
    });
  }
  void write(mirror::OperationId operation, BlockRange range, std::vector<uint64_t> values) const {
    if (side.disk->busy(range)) whole.violated("order", "O1: a write overlaps a write under way");
    side.disk->begin_write(operation, range, std::move(values));
    whole.operation_later(index, operation, 50us, 3ms, [&random = whole.random_, operation](Side& self) {
      self.disk->end_write(operation, true, random);
      return mirror::OperationDone{0, true, {}};
    });
  }
  void operator()(const mirror::LocalWrite& action) const {
    write(action.operation, action.range, side.buffers.at(action.buffer));
  }
  void operator()(const mirror::LocalZero& action) const {
    write(action.operation, action.range, std::vector<uint64_t>(action.range.count, 0));
  }
  void operator()(const mirror::CopyBuffer& action) const {
    std::copy_n(side.buffers.at(action.from).begin(), action.blocks, side.buffers.at(action.to).begin());
  }
  void simple(mirror::OperationId operation) const {
    whole.operation_later(index, operation, 1ms, 20ms, [](Side&) { return mirror::OperationDone{0, true, {}}; });
  }
  void operator()(const mirror::TakeSnapshot& action) const {
    side.disk->take_snapshot();
    simple(action.operation);
  }
  void operator()(const mirror::RevertToSnapshot& action) const {
    side.disk->revert_to_snapshot();
    simple(action.operation);
  }
  void operator()(const mirror::DropSnapshot&) const { side.disk->drop_snapshot(); }
  void operator()(const mirror::LocalFlush& flush) const {
    side.disk->begin_flush(flush.operation);
    whole.operation_later(index, flush.operation, 200us, 6ms, [flush](Side& self) {
      self.disk->end_flush(flush.operation, true);
      return mirror::OperationDone{0, true, {}};
    });
  }
  void persist(mirror::OperationId operation, std::function<void(mirror::StoredCopy&)> apply) const {
    side.disk->begin_persist(operation, std::move(apply));
    whole.operation_later(index, operation, 100us, 5ms, [&random = whole.random_, operation](Side& self) {
      self.disk->end_persist(operation, true, random);
      return mirror::OperationDone{0, true, {}};
    });
  }
  void operator()(const mirror::PersistSuperblock& action) const {
    persist(action.operation, [superblock = action.superblock](mirror::StoredCopy& stored) { stored.superblock = superblock; });
  }
  void operator()(const mirror::PersistActivity& action) const {
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
  void operator()(const mirror::SendMessage& action) const { whole.send(index, action); }
  void operator()(const mirror::CloseLink& action) const { whole.close(index, action.connection); }
  void operator()(const mirror::CompleteRequest& action) const { whole.completed(index, action); }
  void operator()(const mirror::ReleaseBuffer& action) const { side.buffers.erase(action.buffer); }
  void operator()(const mirror::ProposeInSync& action) const {
    side.server->mirror_proposes(SetInSync{whole.key_, action.expected_version, action.permit, action.in_sync, action.reason,
                                           action.trailing});
  }
  void operator()(const mirror::Promoted& action) const { whole.up(index, action.permit); }
  void operator()(const mirror::Demoted&) const {
    whole.down(index);
    answer(side.stop_done, true);
  }
  void operator()(const mirror::RoleRefused& action) const {
    whole.world_.say(fmt::format("mirror {}", whole.key_), "server {} refuses: {}", side.server->id(), action.reason);
    answer(side.start_done, false);
    answer(side.stop_done, false);
    side.closing = false;
  }
  void operator()(const mirror::AbortExport& action) const {
    const bool was_up = whole.stand_in(index).up;
    whole.down(index);
    if (was_up) side.server->mirror_aborted(whole.key_, action.reason);
  }
  void operator()(const mirror::WantLink& action) const { side.want_link = action.wanted; }
  void operator()(const mirror::Reported& action) const {
    whole.stand_in(index).incarnation = action.report.incarnation;
    side.server->mirror_reports(whole.key_, action.report);
  }
  void operator()(const mirror::Noted& action) const {
    whole.world_.say(fmt::format("mirror {}", whole.key_), "server {}: {}", side.server->id(), action.text);
  }
  void operator()(const mirror::Alerted&) const {}
  void operator()(const mirror::Stopped&) const {}
  void operator()(const mirror::Verified&) const {}
  void operator()(const mirror::Discarded&) const {}
  void operator()(const mirror::DiskRetried&) const {}
  void operator()(const mirror::Grown&) const {}
  void operator()(const mirror::BackupReady&) const {}
};

void RealMirror::carry_out(int index, const mirror::Action& action) { std::visit(ActionHandler{*this, index}, action); }

}  // namespace baton::sim
