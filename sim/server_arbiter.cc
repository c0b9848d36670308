// A simulated server's rounds on the disk that two servers have in common (a write and then a read, each somewhen; a hanging disk
// answers when it is well again), and its echoes to ping targets. Deterministic, one thread. docs/protocol.md, "The arbiter on a disk"
// and "The arbiter by ping targets".
#include "sim/ping_targets.h"
#include "sim/server.h"
#include "sim/shared_disk.h"

namespace baton::sim {

namespace {

Duration some_delay(Random& random) {
  if (random.chance(0.03)) return random.between(5ms, 400ms);
  return random.between(100us, 3ms);
}

}  // namespace

void Server::disk_round(const arbiter::Round& round) {
  round_ = round;
  round_written_ = false;
  world_.after(some_delay(random_), while_batond([this] { write_round(); }));
}

void Server::write_round() {
  SharedDisk& disk = *settings_.shared_disk;
  const auto access = disk.access(id_);
  if (access == SharedDisk::Access::kHangs) {
    world_.after(50ms, while_batond([this] { write_round(); }));
    return;
  }
  if (access == SharedDisk::Access::kFails) return round_fails();
  if (round_->own) disk.write(id_, *round_->own);
  round_written_ = true;
  world_.mark('q', id_, round_->number, round_->own ? round_->own->claim : 0);
  world_.after(some_delay(random_), while_batond([this] { read_round(); }));
}

void Server::read_round() {
  SharedDisk& disk = *settings_.shared_disk;
  const auto access = disk.access(id_);
  if (access == SharedDisk::Access::kHangs) {
    world_.after(50ms, while_batond([this] { read_round(); }));
    return;
  }
  if (access == SharedDisk::Access::kFails) return round_fails();
  const arbiter::Round round = *std::exchange(round_, std::nullopt);
  const arbiter::RoundDone done{round.number, true, disk.read(id_), disk.read(round.other), ""};
  // The answer is on its way for a moment.
  world_.after(some_delay(random_), while_batond([this, done] { feed(done); }));
}

/// The write may have reached the disk all the same.
void Server::round_fails() {
  const arbiter::Round round = *std::exchange(round_, std::nullopt);
  if (!round_written_ && round.own && random_.chance(0.5)) settings_.shared_disk->write(id_, *round.own);
  feed(arbiter::RoundDone{round.number, false, {}, {}, "input/output error"});
}

/// Batond or the power ends: what was under way happens before the next batond's first round, or never (torn: as if never).
void Server::interrupt_round() {
  if (!round_) return;
  const arbiter::Round round = *std::exchange(round_, std::nullopt);
  const bool works = settings_.shared_disk->access(id_) == SharedDisk::Access::kWorks;
  if (!round_written_ && round.own && works && random_.chance(0.5)) settings_.shared_disk->write(id_, *round.own);
}

/// There, and back, if they get there: a little later, or much.
void Server::send_ping(const arbiter::Ping& ping) {
  for (const auto& address : ping.addresses) {
    world_.after(some_delay(random_), while_batond([this, number = ping.number, address, sent = world_.now()] {
                   if (!observer_.echo_answered(*this, address)) return;
                   const Duration back = some_delay(random_) + settings_.ping_targets->delay(world_.now(), id_);
                   world_.after(back, while_batond([this, number, address, sent] {
                                  settings_.ping_targets->answered(world_.now(), id_, sent);
                                  feed(arbiter::PingAnswer{number, address, ""});
                                }));
                 }));
  }
}

}  // namespace baton::sim
