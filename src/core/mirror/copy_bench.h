// Bench: one copy under test, by hand: its actions, operations that end when the test says so, and a peer that answers
// when told to. For the *_test.cc of this folder only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "src/core/mirror/mirror_copy.h"

namespace baton::mirror {

constexpr uint64_t kBenchSize = 16384;  // 64 extents
constexpr Incarnation kPeerIncarnation{77};
constexpr BufferId kPeerBuffer = 5000;  // of what the peer sends

/// A copy that has been written, was stopped in order, and is no new one.
inline StoredCopy written_copy(Generation generation = {2, 2}) {
  StoredCopy stored = blank_copy("m", kBenchSize);
  stored.superblock.incarnation = Incarnation{4};
  stored.superblock.generation = stored.superblock.base = generation;
  return stored;
}

class Bench {
 public:
  explicit Bench(StoredCopy stored = blank_copy("m", kBenchSize), MirrorProtocol protocol = MirrorProtocol::kC)
      : stored_(std::move(stored)) {
    settings_.self = ServerId{1};
    settings_.peer = ServerId{2};
    settings_.seed = 5;
    settings_.activity_capacity = 960;
    settings_.cold_extent = 1s;
    settings_.protocol = protocol;
  }

  // ---- Events ----
  void start() {
    copy_ = std::make_unique<MirrorCopy>(settings_, stored_);
    std::vector<Action> actions;
    copy_->start({now_, lease_}, actions);
    take(std::move(actions));
  }
  void feed(const Event& event) {
    std::vector<Action> actions;
    copy_->step({now_, lease_}, event, actions);
    take(std::move(actions));
  }
  void receive(const Message& message, BufferId buffer = 0) {
    feed(MessageReceived{connection_, message, buffer});
  }
  void link_up() { feed(LinkUp{++connection_}); }
  void link_down() { feed(LinkDown{connection_, "cut"}); }
  /// Ticks as they are asked for; operations end at once.
  void pass(Duration time) {
    const Instant end = now_ + time;
    while (copy_->next_tick() <= end) {
      now_ = std::max(now_, copy_->next_tick());
      feed(Tick{});
      ++ticks_;
      finish_all();
    }
    now_ = end;
  }
  void write(RequestId id, uint64_t first, uint64_t count = 1, bool fua = false) {
    feed(ClientRequest{id, RequestKind::kWrite, {first, count}, id + 1000, fua});
  }
  void read(RequestId id, uint64_t first, uint64_t count = 1) {
    feed(ClientRequest{id, RequestKind::kRead, {first, count}, id + 1000});
  }
  void flush(RequestId id) { feed(ClientRequest{id, RequestKind::kFlush, {}, 0}); }

  // ---- The committed record ----
  void commit(std::map<ServerId, Incarnation> in_sync) {
    ++state_.version;
    state_.in_sync = std::move(in_sync);
    feed(StateCommitted{state_});
  }
  Incarnation own() const { return copy_->report().incarnation; }
  void commit_alone() { commit({{ServerId{1}, own()}}); }
  void commit_both() { commit({{ServerId{1}, own()}, {ServerId{2}, kPeerIncarnation}}); }
  void commit_peer() { commit({{ServerId{2}, kPeerIncarnation}}); }
  void give_permit(uint64_t permit, bool with_peer = false) {
    state_.version = std::max(state_.version, permit - 1);
    state_.permit = Permit{permit};
    state_.holder = ServerId{1};
    with_peer ? commit_both() : commit_alone();
  }

  // ---- Roles ----
  void start_and_promote(bool with_peer = false) {
    start();
    finish_all();
    give_permit(stored_.superblock.permit.value + 1, with_peer);
    feed(Promote{state_.permit});
    finish_all();
    ASSERT_TRUE(last<Promoted>());
  }
  HelloReply equal_peer() const {
    HelloReply reply;
    reply.permit = stored_.superblock.permit;
    reply.incarnation = kPeerIncarnation;
    reply.size_blocks = stored_.superblock.size_blocks;
    reply.generation = stored_.superblock.generation;
    reply.ancestors = stored_.superblock.ancestors;
    return reply;
  }
  /// Primary, connected to a peer that has the same (protocol A: which trails).
  void connect() {
    start_and_promote(true);
    link_up();
    receive(equal_peer());
    if (settings_.protocol == MirrorProtocol::kA) commit_alone();
    settle();
    ASSERT_EQ(copy_->report().link, MirrorLink::kConnected);
    forget();
  }
  /// Secondary of a primary that has the same.
  void serve(Generation generation = {2, 2}) {
    start();
    finish_all();
    link_up();
    receive(Hello{settings_.protocol, Permit{1}, kBenchSize, generation, {}, generation});
    finish_all();
    ASSERT_TRUE(sent<HelloReply>());
    forget();
  }

  // ---- What it did ----
  /// The newest action of a kind, if any.
  template <class Kind>
  std::optional<Kind> last() const {
    for (auto action = log_.rbegin(); action != log_.rend(); ++action) {
      if (const auto* found = std::get_if<Kind>(&*action)) return *found;
    }
    return std::nullopt;
  }
  template <class Kind>
  size_t count() const {
    return static_cast<size_t>(
        std::count_if(log_.begin(), log_.end(), [](const Action& each) { return std::holds_alternative<Kind>(each); }));
  }
  template <class Kind>
  std::vector<Kind> all_sent() const {
    std::vector<Kind> found;
    for (const Action& action : log_) {
      const auto* send = std::get_if<SendMessage>(&action);
      if (send != nullptr && std::holds_alternative<Kind>(send->message)) found.push_back(std::get<Kind>(send->message));
    }
    return found;
  }
  template <class Kind>
  std::optional<Kind> sent() const {
    const auto found = all_sent<Kind>();
    return found.empty() ? std::nullopt : std::optional<Kind>(found.back());
  }
  bool completed(RequestId id, bool ok = true) const {
    return std::any_of(log_.begin(), log_.end(), [&](const Action& action) {
      const auto* done = std::get_if<CompleteRequest>(&action);
      return done != nullptr && done->id == id && done->ok == ok;
    });
  }
  bool released(BufferId buffer) const {
    return std::any_of(log_.begin(), log_.end(), [&](const Action& action) {
      const auto* release = std::get_if<ReleaseBuffer>(&action);
      return release != nullptr && release->buffer == buffer;
    });
  }
  void forget() { log_.clear(); }

  // ---- Operations ----
  template <class Kind>
  bool pending() const {
    return std::any_of(pending_.begin(), pending_.end(),
                       [](const Action& each) { return std::holds_alternative<Kind>(each); });
  }
  bool idle() const { return pending_.empty(); }
  /// Ends every operation under way, and those that follow.
  void finish_all(bool ok = true) {
    while (!pending_.empty()) finish_one(ok);
  }
  void finish_one(bool ok = true) { end(pending_.begin(), ok); }
  /// Ends the oldest operation of a kind.
  template <class Kind>
  void finish(bool ok = true) {
    const auto place = std::find_if(pending_.begin(), pending_.end(),
                                    [](const Action& each) { return std::holds_alternative<Kind>(each); });
    ASSERT_NE(place, pending_.end()) << "no such operation is under way";
    end(place, ok);
  }
  /// Ends the journal's writes only.
  void finish_journal() {
    while (pending<PersistActivity>() || pending<PersistBitmap>() || pending<PersistSuperblock>()) {
      if (pending<PersistActivity>()) finish<PersistActivity>();
      if (pending<PersistBitmap>()) finish<PersistBitmap>();
      if (pending<PersistSuperblock>()) finish<PersistSuperblock>();
    }
  }

  // ---- The peer ----
  /// Answers everything that was sent to it; `ok`: what its disk says.
  void answer_peer(bool ok = true) {
    while (!to_peer_.empty()) {
      const Message message = to_peer_.front();
      to_peer_.pop_front();
      answer(message, ok);
    }
  }
  /// What was sent is lost, or on its way for ever.
  void lose_messages() { to_peer_.clear(); }
  /// A copy run goes on until a message of this kind is sent (which is not answered).
  template <class Kind>
  void run_until_sent() {
    for (int round = 0; round < 1000 && !sent<Kind>(); ++round) {
      finish_all();
      if (!sent<Kind>()) answer_peer();
      if (!sent<Kind>()) pass(5ms);
    }
    ASSERT_TRUE(sent<Kind>());
  }
  /// Disk and peer, until nothing is under way.
  void settle() {
    while (!pending_.empty() || !to_peer_.empty()) {
      finish_all();
      answer_peer();
    }
  }

  Settings settings_;
  StoredCopy stored_;
  MirrorState state_;
  std::unique_ptr<MirrorCopy> copy_;
  ConnectionId connection_ = 0;
  std::vector<BlockRange> there_differs_;  // blocks whose hashes at the peer are others
  bool here_is_zero_ = false;               // what LocalRead says to want_zero
  Instant now_{1s};
  Instant lease_ = kNever;
  int ticks_ = 0;

 private:
  void answer(const Message& message, bool ok) {
    if (const auto* write = std::get_if<WriteData>(&message)) {
      receive(WriteDone{write->sequence, ok});
    } else if (const auto* zero = std::get_if<ZeroData>(&message)) {
      receive(WriteDone{zero->sequence, ok});
    } else if (const auto* flush = std::get_if<FlushPeer>(&message)) {
      receive(FlushPeerDone{flush->sequence, ok});
    } else if (const auto* hash = std::get_if<HashRequest>(&message)) {
      std::vector<BlockHash> hashes(ok ? hash->range.count : 0);
      for (uint64_t index = 0; index < hashes.size(); ++index) {
        const BlockRange block{hash->range.first + index, 1};
        const bool differs = std::any_of(there_differs_.begin(), there_differs_.end(),
                                         [&](const BlockRange& each) { return each.overlaps(block); });
        hashes[index].low = differs ? 9 : 0;
      }
      receive(HashReply{hash->sequence, hashes});
    } else if (const auto* read = std::get_if<ReadPeer>(&message)) {
      receive(PeerData{read->sequence, read->range.count, ok}, ok ? kPeerBuffer + read->sequence : 0);
    } else if (std::holds_alternative<CopyBegin>(message)) {
      receive(CopyBegun{});
    } else if (std::holds_alternative<CopyEnd>(message)) {
      receive(CopyEnded{kPeerIncarnation});
    }
  }

  void end(std::vector<Action>::iterator place, bool ok) {
    const Action action = *place;
    pending_.erase(place);
    OperationDone done;
    done.ok = ok;
    std::visit([&](const auto& each) { ended(each, done); }, action);
    feed(done);
  }
  void ended(const PersistSuperblock& action, OperationDone& done) {
    done.operation = action.operation;
    if (done.ok) stored_.superblock = action.superblock;
  }
  void ended(const PersistActivity& action, OperationDone& done) {
    done.operation = action.operation;
    if (done.ok) stored_.activity = action.extents;
  }
  void ended(const PersistBitmap& action, OperationDone& done) {
    done.operation = action.operation;
    if (done.ok && action.pages.contains(0)) stored_.dirty = action.pages.at(0);
  }
  void ended(const LocalRead& action, OperationDone& done) {
    done.operation = action.operation;
    if (action.want_hashes && done.ok) done.hashes.resize(action.range.count);
    done.zero = action.want_zero && here_is_zero_;
  }
  template <class Other>
  void ended(const Other& action, OperationDone& done) {
    if constexpr (requires { action.operation; }) done.operation = action.operation;
  }

  void take(std::vector<Action> actions) {
    for (Action& action : actions) {
      const bool operation = std::visit([](const auto& each) { return requires { each.operation; }; }, action);
      if (operation) pending_.push_back(action);
      if (const auto* send = std::get_if<SendMessage>(&action)) to_peer_.push_back(send->message);
      if (std::holds_alternative<CloseLink>(action)) to_peer_.clear();
      log_.push_back(std::move(action));
    }
  }

  std::vector<Action> log_;
  std::vector<Action> pending_;
  std::deque<Message> to_peer_;
};

}  // namespace baton::mirror
