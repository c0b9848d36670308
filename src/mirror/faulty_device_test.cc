// Faults as the orders' file says, as they come and go.
#include "src/mirror/faulty_device.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "src/mirror/device_fake.h"

namespace baton::mirror {
namespace {

class FaultyDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/var/tmp/baton-faults-XXXXXX";
    directory_ = mkdtemp(pattern);
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
    auto fake = std::make_unique<DeviceFake>(64);
    fake_ = fake.get();
    faulty_ = std::make_unique<FaultyDevice>(*ring_, std::move(fake), directory_ + "/faults",
                                             [this](const std::string& text) { told_.push_back(text); });
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  /// Waits until the device must have seen it: a read of the block that only this order fails.
  void order(const std::string& text) {
    const std::string sentinel = fmt::format("read-error {} 1\n", 63 - ++orders_ % 2);
    std::ofstream(directory_ + "/new") << text << "\n" << sentinel;
    std::filesystem::rename(directory_ + "/new", directory_ + "/faults");
    ASSERT_TRUE(ring_->run_until([&] { return read(63 - orders_ % 2) == EIO; }, 5s));
  }
  void no_orders() {
    std::filesystem::remove(directory_ + "/faults");
    ASSERT_TRUE(ring_->run_until([&] { return read(63 - orders_ % 2) == 0; }, 5s));
  }
  std::optional<int> begin(const std::function<void(BlockDevice::Done)>& request, Duration limit = 1s) {
    auto outcome = std::make_shared<std::optional<int>>();
    request([outcome](int error) { *outcome = error; });
    ring_->run_until([&] {
      while (!fake_->begun.empty()) fake_->end();
      return outcome->has_value();
    }, limit);
    return *outcome;
  }
  std::optional<int> read(uint64_t block) {
    return begin([&](auto done) { faulty_->read({block, 1}, memory_, done); });
  }
  std::optional<int> write(uint64_t block) {
    return begin([&](auto done) { faulty_->write({block, 1}, memory_, done); });
  }

  alignas(4096) uint8_t memory_[4096] = {};
  std::string directory_;
  unsigned orders_ = 0;
  std::vector<std::string> told_;
  std::unique_ptr<Ring> ring_;
  DeviceFake* fake_ = nullptr;
  std::unique_ptr<FaultyDevice> faulty_;
};

TEST_F(FaultyDeviceTest, NoFileNoFaults) {
  EXPECT_EQ(read(0), 0);
  EXPECT_EQ(write(0), 0);
}

TEST_F(FaultyDeviceTest, ErrorsWhereTheyAreOrdered) {
  order("read-error 10 5\nwrite-error 20 1  # a bad spot");
  EXPECT_EQ(read(9), 0);
  EXPECT_EQ(read(10), EIO);
  EXPECT_EQ(read(14), EIO);
  EXPECT_EQ(read(15), 0);
  EXPECT_EQ(read(20), 0);
  std::memset(memory_, 3, sizeof memory_);
  EXPECT_EQ(write(20), EIO);
  EXPECT_EQ(fake_->content[20 * 4096], 0);
  EXPECT_EQ(write(21), 0);
  EXPECT_EQ(begin([&](auto done) { faulty_->zero({18, 4}, true, done); }), EIO);
  EXPECT_EQ(fake_->content[21 * 4096], 3);
  no_orders();
  EXPECT_EQ(read(10), 0);
  EXPECT_EQ(write(20), 0);
}

TEST_F(FaultyDeviceTest, OnceFullAndFlushes) {
  order("read-error-once 5 1\nfull\nflush-error");
  EXPECT_EQ(read(5), EIO);
  EXPECT_EQ(read(5), 0);
  EXPECT_EQ(write(5), ENOSPC);
  EXPECT_EQ(begin([&](auto done) { faulty_->flush(done); }), EIO);
  order("write-error");
  EXPECT_EQ(write(5), EIO);
  EXPECT_EQ(begin([&](auto done) { faulty_->flush(done); }), 0);
}

TEST_F(FaultyDeviceTest, HangsUntilTheLineIsGone) {
  order("# nothing yet");
  std::ofstream(directory_ + "/new") << "hang\n";
  std::filesystem::rename(directory_ + "/new", directory_ + "/faults");
  std::vector<int> order_of_ends;
  int begun = 0;
  // The order is seen when a request no longer reaches the disk.
  EXPECT_TRUE(ring_->run_until([&] {
    while (!fake_->begun.empty()) fake_->end();
    faulty_->flush([&order_of_ends, number = ++begun](int error) { order_of_ends.push_back(error == 0 ? number : -1); });
    return fake_->begun.empty();
  }, 5s));
  faulty_->flush([&order_of_ends, number = ++begun](int) { order_of_ends.push_back(number); });
  EXPECT_TRUE(fake_->begun.empty());
  EXPECT_EQ(static_cast<int>(order_of_ends.size()), begun - 2);
  std::filesystem::remove(directory_ + "/faults");
  EXPECT_TRUE(ring_->run_until([&] {
    while (!fake_->begun.empty()) fake_->end();
    return static_cast<int>(order_of_ends.size()) == begun;
  }, 5s));
  EXPECT_TRUE(std::is_sorted(order_of_ends.begin(), order_of_ends.end()));
}

TEST_F(FaultyDeviceTest, SlowIsLate) {
  order("slow 60");
  const Instant before = Ring::now();
  EXPECT_EQ(begin([&](auto done) { faulty_->flush(done); }, 5s), 0);
  EXPECT_GE(Ring::now() - before, 60ms);
}

TEST_F(FaultyDeviceTest, TellsWhatItHasRead) {
  EXPECT_TRUE(told_.empty());
  const std::string head = "the disk's faults, as " + directory_ + "/faults says: ";
  order("slow 1\n");  // and a sentinel
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0], head + "slow 1; read-error 62 1");
  no_orders();
  ASSERT_EQ(told_.size(), 2u);
  EXPECT_EQ(told_[1], head + "none");
  order("explode");
  ASSERT_EQ(told_.size(), 4u);
  EXPECT_NE(told_[3].find("explode; that line is ignored"), std::string::npos) << told_[3];
}

TEST(FaultOrders, SenseAndNonsense) {
  FaultOrders orders = parse_fault_orders("\n  # x\nslow 5\nread-error\nwrite-error 3 18446744073709551615\nhang\n");
  EXPECT_EQ(orders.problem, "");
  EXPECT_EQ(orders.slow, 5ms);
  EXPECT_TRUE(orders.hang);
  EXPECT_EQ(orders.read_errors.size(), 1u);
  EXPECT_TRUE(orders.read_errors[0].overlaps({123456789, 1}));
  EXPECT_EQ(orders.write_errors.at(0).end(), UINT64_MAX);
  for (const char* bad : {"slow", "slow -1", "read-error 5", "read-error x y", "explode", "full 3", "read-error 1 0"}) {
    EXPECT_NE(parse_fault_orders(bad).problem, "") << bad;
  }
}

}  // namespace
}  // namespace baton::mirror
