// Who has fallen silent is judged by this batond's own beats that came back.
#include "src/core/node/silence.h"

#include <gtest/gtest.h>

namespace baton::node {
namespace {

constexpr ServerId kOne{1}, kTwo{2};
constexpr Instant at(Duration duration) { return Instant{} + 100s + duration; }

TEST(Silence, IsJudgedByOwnBeatsThatCameBack) {
  Silence silence{kOne, 11};
  silence.view_changed(at(0ms), {kOne, kTwo});
  silence.beat_received(at(20ms), kOne, 11, silence.beat_sent(at(10ms)));
  EXPECT_TRUE(silence.silent(500ms).empty());
  const uint64_t late = silence.beat_sent(at(800ms));  // this one was paused, or the other: not known yet
  EXPECT_TRUE(silence.silent(500ms).empty());
  silence.beat_received(at(810ms), kOne, 11, late);
  EXPECT_EQ(silence.silent(500ms), std::set<ServerId>{kTwo});
  silence.beat_received(at(820ms), kTwo, 22, 1);
  EXPECT_TRUE(silence.silent(500ms).empty());
}

TEST(Silence, OwnBeatsOfAnEarlierStartOrViewDoNotCount) {
  Silence silence{kOne, 11};
  silence.view_changed(at(0ms), {kOne, kTwo});
  const uint64_t beat = silence.beat_sent(at(900ms));
  silence.beat_received(at(910ms), kOne, 10, beat);
  EXPECT_TRUE(silence.silent(500ms).empty());
  silence.view_changed(at(920ms), {kOne, kTwo});
  silence.beat_received(at(2000ms), kOne, 11, beat);
  EXPECT_TRUE(silence.silent(500ms).empty());
}

}  // namespace
}  // namespace baton::node
