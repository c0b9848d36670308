// Who answered for an address, and when: spans of answers by server, and how long two servers' spans overlap. Plain
// values of one thread; times are microseconds of the monotonic clock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace baton::bench {

struct Span {
  int64_t begin = 0;
  int64_t end = 0;
};

/// One server's answers. A pause up to `joined` between two answers is taken for lost frames, not for an address that
/// went and came: it may make an overlap longer than it was, never shorter.
class Answers {
 public:
  explicit Answers(std::string server, int64_t joined) : server_(std::move(server)), joined_(joined) {}

  void answered(int64_t at) {
    ++count_;
    if (spans_.empty() || at > spans_.back().end + joined_) {
      spans_.push_back({at, at});
    } else {
      spans_.back().end = std::max(spans_.back().end, at);
    }
  }

  const std::string& server() const { return server_; }
  const std::vector<Span>& spans() const { return spans_; }
  uint64_t count() const { return count_; }

 private:
  std::string server_;
  int64_t joined_;
  std::vector<Span> spans_;
  uint64_t count_ = 0;
};

/// The longest time in which both answered; {0, 0}: none.
inline Span longest_overlap(const std::vector<Answers>& all) {
  Span longest;
  for (size_t one = 0; one < all.size(); ++one) {
    for (size_t other = one + 1; other < all.size(); ++other) {
      for (const auto& first : all[one].spans()) {
        for (const auto& second : all[other].spans()) {
          const Span both{std::max(first.begin, second.begin), std::min(first.end, second.end)};
          if (both.end - both.begin > longest.end - longest.begin) longest = both;
        }
      }
    }
  }
  return longest;
}

}  // namespace baton::bench
