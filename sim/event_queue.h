// What is to happen in a simulated world, by time; of one time in the order in which it was asked for. Deterministic, one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "src/base/time.h"

namespace baton::sim {

class EventQueue {
 public:
  void add(Instant when, std::function<void()> what) {
    heap_.push_back({when, ++order_, std::move(what)});
    std::push_heap(heap_.begin(), heap_.end(), is_later);
  }
  /// kNever: there is nothing.
  Instant next() const { return heap_.empty() ? kNever : heap_.front().when; }
  /// REQUIRES: there is something.
  std::function<void()> take() {
    std::pop_heap(heap_.begin(), heap_.end(), is_later);
    std::function<void()> what = std::move(heap_.back().what);
    heap_.pop_back();
    return what;
  }
  /// Ever added.
  uint64_t added() const { return order_; }

 private:
  struct Due {
    Instant when;
    uint64_t order;
    std::function<void()> what;
  };
  static bool is_later(const Due& one, const Due& other) {
    return std::pair(one.when, one.order) > std::pair(other.when, other.order);
  }

  std::vector<Due> heap_;
  uint64_t order_ = 0;
};

}  // namespace baton::sim
