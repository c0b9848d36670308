// Operations and the step's actions: which part waits for which OperationDone, and fresh names for buffers.
// Pure.
#pragma once

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <vector>

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

/// What an outstanding operation is for; `subject` names the thing within the part that asked.
enum class Purpose {
  kClientRead,
  kClientWrite,
  kFlushRound,
  kSuperblock,
  kActivity,
  kBitmap,
  kCopyRead,
  kPeerWrite,
  kPeerFlush,
  kPeerHash,
  kPeerCopyEnd,
  kPeerRead,
  kPeerOrderFlush,
  kStopFlush,
  kPromotionFlush,
  kRepair,
  kClientFlush,
  kSnapshot,
  kRevert,
};

struct Outstanding {
  Purpose purpose;
  uint64_t subject;
};

class Operations {
 public:
  /// The actions of the present step go to `actions`.
  void begin_step(std::vector<Action>& actions) { actions_ = &actions; }

  void emit(Action action) { actions_->push_back(std::move(action)); }

  OperationId begin(Purpose purpose, uint64_t subject) {
    const OperationId operation = next_operation_++;
    outstanding_.emplace(operation, Outstanding{purpose, subject});
    return operation;
  }

  std::optional<Outstanding> end(OperationId operation) {
    const auto found = outstanding_.find(operation);
    if (found == outstanding_.end()) return std::nullopt;
    const Outstanding outstanding = found->second;
    outstanding_.erase(found);
    return outstanding;
  }

  BufferId new_buffer() { return next_buffer_++; }
  void release(BufferId& buffer) {
    if (buffer != 0) emit(ReleaseBuffer{buffer});
    buffer = 0;
  }

 private:
  std::vector<Action>* actions_ = nullptr;
  OperationId next_operation_ = 1;
  BufferId next_buffer_ = uint64_t{1} << 63;                  // the outer program's names are below
  std::unordered_map<OperationId, Outstanding> outstanding_;  // looked up only: its order decides nothing
};

/// A time at which a Tick is wanted; kNever: none.
inline void want_tick(Instant& tick, Instant at) { tick = std::min(tick, at); }

}  // namespace baton::mirror
