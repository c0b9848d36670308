// The world's clock and trace. Deterministic, one thread.
#include "sim/world.h"

#include <algorithm>
#include <cstdio>

namespace baton::sim {

void World::at(Instant when, std::function<void()> what) {
  queue_.add(std::max(when, now_), std::move(what));
}

bool World::run_next(Instant end) {
  if (queue_.next() == kNever || queue_.next() > end) {
    now_ = std::max(now_, end);
    return false;
  }
  now_ = queue_.next();
  queue_.take()();
  return true;
}

void World::mix(uint64_t number) {
  hash_ = (hash_ ^ number) * 0x100000001b3;
  hash_ ^= hash_ >> 29;
}

void World::print(const std::string& who, const std::string& text) const {
  std::fputs(fmt::format("[{:10.6f}] {}: {}\n", static_cast<double>(to_ns(now_)) / 1e9, who, text).c_str(),
             stdout);
}

}  // namespace baton::sim
