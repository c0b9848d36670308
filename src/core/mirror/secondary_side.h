// SecondarySide: serves a primary: judges its hello, writes what it sends, flushes, hashes, and is the target
// of copies. docs/protocol.md, P1, P2, O2, O4, G3, C5.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/core/mirror/operations.h"

namespace baton::mirror {

struct CopyCore;

class SecondarySide {
 public:
  explicit SecondarySide(CopyCore& core) : core_(core) {}

  void hello(const Hello& hello);
  void write(const WriteData& write, BufferId buffer);
  void flush(const FlushPeer& flush);
  void hash(const HashRequest& request);
  void copy_begin(const CopyBegin& begin);
  void copy_end(const CopyEnd& end);

  void operation_done(Purpose purpose, uint64_t subject, bool ok, std::vector<BlockHash> hashes);
  void link_lost();
  void advance();

  /// No write or read for a primary is under way (O2).
  bool drained() const { return under_way_ == 0; }
  bool serving() const { return accepted_; }
  bool copying() const { return copying_; }
  CopyKind copy_kind() const { return copy_kind_; }
  const std::string& problem() const { return problem_; }

 private:
  /// Something asked by the primary whose disk operation is under way.
  struct Task {
    bool used = false;
    ConnectionId connection = 0;
    uint64_t sequence = 0;
    BufferId buffer = 0;
    BlockRange range;
  };
  enum class Wait { kNone, kSuperblock, kFlush, kCleared };

  uint64_t take_task(uint64_t sequence, BlockRange range, BufferId buffer);
  std::string refusal(const Hello& hello, Permit& newer) const;
  bool range_ok(BlockRange range);
  void answer_hello();
  void advance_copy_end();

  CopyCore& core_;
  std::vector<Task> tasks_;
  std::vector<uint64_t> free_;
  uint64_t under_way_ = 0;
  bool accepted_ = false;       // the present connection's hello has been answered
  std::optional<Hello> hello_;  // not answered yet
  uint64_t hello_saved_ = 0;
  bool begin_pending_ = false;  // CopyBegin waits for the superblock
  uint64_t begin_saved_ = 0;
  std::optional<CopyEnd> end_;  // under way
  Wait end_wait_ = Wait::kNone;
  uint64_t end_saved_ = 0;
  uint64_t end_token_ = 0;  // names the flush that belongs to it
  bool copying_ = false;
  CopyKind copy_kind_ = CopyKind::kNone;
  std::string problem_;
};

}  // namespace baton::mirror
