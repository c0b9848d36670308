// Time limits of disk requests, and what becomes of memory that a timed-out request still has. (Trap 15 of replication:
// a timed-out disk request may still land later.)
#include "src/mirror/timed_device.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "src/mirror/device_fake.h"

namespace baton::mirror {
namespace {

class TimedDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
    auto fake = std::make_unique<DeviceFake>(64);
    fake_ = fake.get();
    timed_ = std::make_unique<TimedDevice>(*ring_, pool_, std::move(fake), 100ms);
  }
  bool wait(const std::optional<int>& outcome) {
    return ring_->run_until([&] { return outcome.has_value(); }, 5s);
  }
  BlockDevice::Done into(std::optional<int>& outcome) {
    return [&outcome](int error) { outcome = error; };
  }

  BufferPool pool_;
  std::unique_ptr<Ring> ring_;
  DeviceFake* fake_ = nullptr;
  std::unique_ptr<TimedDevice> timed_;
};

TEST_F(TimedDeviceTest, PassesOnWhatEndsInTime) {
  std::optional<int> written, failed, flushed;
  const BufferId buffer = pool_.allocate(4096);
  std::memset(pool_.data(buffer), 7, 4096);
  timed_->write({3, 1}, pool_.data(buffer), into(written));
  timed_->read({3, 1}, pool_.data(buffer), into(failed));
  timed_->flush(into(flushed));
  fake_->end(1, EIO);
  fake_->end(1);
  fake_->end();
  EXPECT_EQ(written, 0);
  EXPECT_EQ(failed, EIO);
  EXPECT_EQ(flushed, 0);
  EXPECT_EQ(fake_->content[3 * 4096], 7);
  EXPECT_EQ(timed_->oldest(), Duration::zero());
  ring_->run_until([] { return false; }, 250ms);
  EXPECT_FALSE(timed_->dead());
}

TEST_F(TimedDeviceTest, SlowIsToldBeforeItIsDead) {
  std::optional<int> outcome;
  timed_->flush(into(outcome));
  EXPECT_FALSE(timed_->slow());
  EXPECT_TRUE(ring_->run_until([&] { return timed_->slow(); }, 5s));
  EXPECT_FALSE(outcome);
  EXPECT_FALSE(timed_->dead());
  fake_->end();
  EXPECT_FALSE(timed_->slow());
}

TEST_F(TimedDeviceTest, TheLimitEndsEverythingUnderWay) {
  std::optional<int> first, second, later;
  timed_->flush(into(first));
  timed_->flush(into(second));
  ASSERT_TRUE(wait(second));
  EXPECT_EQ(first, ETIMEDOUT);
  EXPECT_EQ(second, ETIMEDOUT);
  EXPECT_TRUE(timed_->dead());
  EXPECT_EQ(timed_->still_at_the_disk(), 2u);
  timed_->flush(into(later));
  EXPECT_FALSE(later);  // never from inside
  ASSERT_TRUE(wait(later));
  EXPECT_EQ(later, EIO);
  EXPECT_EQ(fake_->begun.size(), 2u);
  fake_->end(1);
  fake_->end();
  EXPECT_EQ(timed_->still_at_the_disk(), 0u);
  EXPECT_TRUE(timed_->dead());
}

TEST_F(TimedDeviceTest, ALateReadHarmsNobodysBuffer) {
  std::optional<int> outcome;
  std::fill(fake_->content.begin(), fake_->content.end(), uint8_t{0xEE});
  const BufferId buffer = pool_.allocate(4096);
  uint8_t* old_memory = pool_.data(buffer);
  timed_->read({0, 1}, old_memory, into(outcome));
  ASSERT_TRUE(wait(outcome));
  // The buffer may be filled otherwise at once: the disk no longer knows its memory.
  EXPECT_NE(pool_.data(buffer), old_memory);
  std::memset(pool_.data(buffer), 1, 4096);
  pool_.release(buffer);
  std::vector<BufferId> others;
  for (int i = 0; i < 100; ++i) {
    others.push_back(pool_.allocate(4096));
    EXPECT_NE(pool_.data(others.back()), old_memory);
    std::memset(pool_.data(others.back()), 1, 4096);
  }
  fake_->end();
  for (BufferId other : others) EXPECT_EQ(pool_.data(other)[100], 1);
  for (BufferId other : others) pool_.release(other);
  EXPECT_EQ(pool_.in_use(), 0u);
}

TEST_F(TimedDeviceTest, ALateWriteWritesWhatItWasGiven) {
  std::optional<int> outcome;
  const BufferId buffer = pool_.allocate(8192);
  std::memset(pool_.data(buffer), 5, 8192);
  timed_->write({8, 2}, pool_.data(buffer), into(outcome));
  ASSERT_TRUE(wait(outcome));
  EXPECT_EQ(outcome, ETIMEDOUT);
  pool_.release(buffer);
  for (int i = 0; i < 100; ++i) std::memset(pool_.data(pool_.allocate(8192)), 9, 8192);
  fake_->end();
  EXPECT_EQ(fake_->content[8 * 4096], 5);
  EXPECT_EQ(fake_->content[10 * 4096 - 1], 5);
  EXPECT_FALSE(pool_.contains(buffer));
}

}  // namespace
}  // namespace baton::mirror
