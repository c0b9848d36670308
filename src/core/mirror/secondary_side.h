// SecondarySide: serves a primary: judges its hello, writes what it sends, flushes, hashes, reads, and is the target
// of copies. docs/protocol.md, P1, P2, O2, O4, G3, C5, A2, A3, D1, D3.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/core/mirror/operations.h"
#include "src/core/mirror/ordered_work.h"

namespace baton::mirror {

struct CopyCore;

class SecondarySide {
 public:
  explicit SecondarySide(CopyCore& core) : core_(core) {}

  void hello(const Hello& hello);
  void write(const WriteData& write, BufferId buffer);
  void zero(const ZeroData& zero);
  void flush(const FlushPeer& flush);
  void hash(const HashRequest& request);
  void read(const ReadPeer& request);
  void copy_begin(const CopyBegin& begin);
  void copy_end(const CopyEnd& end);
  void detach();

  void operation_done(Purpose purpose, uint64_t subject, bool ok, std::vector<BlockHash> hashes);
  void link_lost();
  /// A person says that the disk is well again (`baton mirror rejoin`).
  void forget_disk_failure();
  void advance();

  /// No write or read for a primary is under way (O2).
  bool drained() const { return under_way_ == 0 && order_.empty(); }
  bool serving() const { return accepted_; }
  bool copying() const { return copying_; }
  /// Up to date but for what is on its way (protocol A): not in the in-sync set.
  bool trailing() const { return accepted_ && protocol_ == MirrorProtocol::kA && !copying_; }
  CopyKind copy_kind() const { return copy_kind_; }
  std::string disk_failure() const;
  const std::string& problem() const { return disk_failure_.empty() ? problem_ : disk_failure_; }

 private:
  /// Something asked by the primary: waiting for its turn, or its disk operation is under way.
  struct Task {
    bool used = false;
    Purpose purpose = Purpose::kPeerWrite;
    ConnectionId connection = 0;
    uint64_t sequence = 0;
    BufferId buffer = 0;
    BlockRange range;
    bool zero = false;
    bool unmap = false;
  };
  enum class Wait { kNone, kSuperblock, kFlush, kCleared };

  uint64_t take_task(Purpose purpose, uint64_t sequence, BlockRange range, BufferId buffer);
  void enqueue(uint64_t task, OrderedWork::Kind kind, uint64_t epoch);
  void begin_task(uint64_t task);
  void begin_what_may();
  void refuse_task(uint64_t number);
  void lose_order();
  void take_data(uint64_t sequence, uint64_t task, uint64_t epoch);
  void answer_task(const Task& task, bool ok, std::vector<BlockHash> hashes);
  void disk_failed(Purpose purpose);
  std::string refusal(const Hello& hello, Permit& newer) const;
  bool range_ok(BlockRange range);
  void answer_hello();
  void snapshot_taken(uint64_t token, bool ok);
  void mark_inconsistent();
  void copy_end_flushed(bool ok);
  void advance_copy_end();
  void advance_detach();

  CopyCore& core_;
  std::vector<Task> tasks_;
  std::vector<uint64_t> free_;
  OrderedWork order_;
  bool order_lost_ = false;     // a write or flush failed: nothing of a later epoch goes to the disk (A2)
  std::vector<uint64_t> may_begin_;
  uint64_t under_way_ = 0;
  MirrorProtocol protocol_ = MirrorProtocol::kC;  // of the present connection
  bool accepted_ = false;       // the present connection's hello has been answered
  std::optional<Hello> hello_;  // not answered yet
  uint64_t hello_saved_ = 0;
  bool begin_pending_ = false;  // CopyBegin waits for the superblock
  bool snapshot_pending_ = false;
  uint64_t snapshot_token_ = 0;
  bool snapshot_running_ = false;
  bool snapshot_fits_ = false;  // what it keeps, or will, is what the store holds now
  Permit snapshot_permit_;      // under which it was begun
  bool no_snapshots_ = false;   // this store cannot
  uint64_t begin_saved_ = 0;
  std::optional<CopyEnd> end_;  // under way
  Wait end_wait_ = Wait::kNone;
  uint64_t end_saved_ = 0;
  uint64_t end_token_ = 0;  // names the flush that belongs to it
  uint64_t next_token_ = 1;
  bool detach_pending_ = false;
  uint64_t detach_saved_ = 0;
  bool copying_ = false;
  CopyKind copy_kind_ = CopyKind::kNone;
  std::string problem_;
  std::string disk_failure_;  // of the last failed write, until it is tried again or a person says otherwise
  Instant disk_failed_at_;
};

}  // namespace baton::mirror
