// The simulated world's time: one queue of events, a trace of what happened with its hash, and the first
// violation. Deterministic, one thread. Time here is the world's; servers have clocks of their own
// (sim/server.h).
#pragma once

#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "sim/event_queue.h"
#include "sim/random.h"
#include "src/base/ids.h"
#include "src/base/time.h"

namespace baton::sim {

/// Thrown by a checker (and by BATON_ASSERT in the simulation): ends the run.
struct Violation : std::runtime_error {
  Violation(const std::string& checker, const std::string& text) : std::runtime_error(checker + ": " + text) {}
};

class World {
 public:
  World(uint64_t seed, bool verbose) : random_(seed), verbose_(verbose) {}

  Instant now() const { return now_; }
  Random& random() { return random_; }
  bool verbose() const { return verbose_; }

  void at(Instant when, std::function<void()> what);
  void after(Duration delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }
  /// The next event, if it is not after `end`.
  bool run_next(Instant end);

  /// Part of the trace: who, what, and numbers that tell runs apart.
  template <class... Numbers>
  void mark(char kind, ServerId server, Numbers... numbers) {
    mix(static_cast<uint64_t>(now_.time_since_epoch().count()));
    mix(static_cast<uint64_t>(kind) << 32 | server.value);
    (mix(static_cast<uint64_t>(numbers)), ...);
  }
  template <class... Args>
  void say(const std::string& who, fmt::format_string<Args...> format, Args&&... args) {
    if (verbose_) print(who, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void say(ServerId who, fmt::format_string<Args...> format, Args&&... args) {
    if (verbose_) print(fmt::format("server {}", who), fmt::format(format, std::forward<Args>(args)...));
  }
  /// A fault, or what else a report counts, by its name.
  void count(const char* kind) { ++counts_[kind]; }
  void count_more(const char* kind, uint64_t more) { counts_[kind] += more; }
  const std::map<std::string, uint64_t>& counts() const { return counts_; }
  uint64_t hash() const { return hash_; }
  uint64_t events() const { return queue_.added(); }

 private:
  void mix(uint64_t number);
  void print(const std::string& who, const std::string& text) const;

  Instant now_{};
  Random random_;
  bool verbose_;
  uint64_t hash_ = 0xcbf29ce484222325;
  std::map<std::string, uint64_t> counts_;
  EventQueue queue_;
};

}  // namespace baton::sim
