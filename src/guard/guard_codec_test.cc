// Round trips of the guard's messages and of its page, and what is damaged.
#include "src/guard/guard_codec.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "src/guard/guard_page.h"

namespace baton::guard {
namespace {

Knowledge knowledge() {
  return {true, {Epoch{65}, 7}, {Epoch{65}, 6}, {{ServerId{1}, {Epoch{65}, 5}}, {ServerId{2}, {Epoch{130}, 9}}},
          {{ServerId{1}, ServerId{4}}, {ServerId{1}}}, {Epoch{65}, 4}, true, 3, Instant{} + 7s, 4, Epoch{7}, Epoch{8}};
}
constexpr size_t kLaterBytes = 24;
Duties duties() { return {{"10.0.0.9"}, {"/sys/fs/cgroup/a", "/sys/fs/cgroup/b"}, 7s, "/dev/watchdog"}; }

TEST(GuardCodec, BeatsRoundTrip) {
  const Beat beat{17, UINT64_MAX, {Epoch{65}, 7}, {{ServerId{2}, {3, 4}}}};
  const auto decoded = decode_beat(encode_beat(beat));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->sequence, 17u);
  EXPECT_EQ(decoded->start, UINT64_MAX);
  EXPECT_EQ(decoded->knows, beat.knows);
  EXPECT_EQ(decoded->granted, beat.granted);
}

/// Guards of before know no lineages, and most clusters have none.
TEST(GuardCodec, ABeatWithoutALineageIsAsItWas) {
  Beat beat{17, 18, {Epoch{65}, 7}, {{ServerId{2}, {3, 4}}}};
  const Bytes before = encode_beat(beat);
  beat.lineage = Epoch{9};
  const Bytes after = encode_beat(beat);
  ASSERT_EQ(after.size(), before.size() + 8);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin()));
  EXPECT_EQ(decode_beat(before)->lineage, Epoch{});
  EXPECT_EQ(decode_beat(after)->lineage, Epoch{9});
}

TEST(GuardCodec, WhatBatondSaysRoundTrips) {
  const auto tell = decode_from_batond(encode(Tell{5, 6, knowledge()}));
  ASSERT_TRUE(tell);
  EXPECT_EQ(std::get<Tell>(*tell).teller, 5u);
  EXPECT_EQ(std::get<Tell>(*tell).number, 6u);
  EXPECT_EQ(std::get<Tell>(*tell).knowledge, knowledge());
  const auto list = decode_from_batond(encode(duties()));
  ASSERT_TRUE(list);
  EXPECT_EQ(std::get<Duties>(*list), duties());
}

TEST(GuardCodec, ReportsRoundTrip) {
  const Report report{1, 2, 3, knowledge(), {{ServerId{1}, Instant{5s}}}, {{ServerId{2}, Instant{6s}}}, {ServerId{3}, ServerId{4}},
                      {ServerId{4}}};
  const auto decoded = decode_report(encode_report(report, "no real-time priority"));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->report.start, 1u);
  EXPECT_EQ(decoded->report.teller, 2u);
  EXPECT_EQ(decoded->report.number, 3u);
  EXPECT_EQ(decoded->report.knowledge, knowledge());
  EXPECT_EQ(decoded->report.account, report.account);
  EXPECT_EQ(decoded->report.account_below_fences, report.account_below_fences);
  EXPECT_EQ(decoded->report.members, report.members);
  EXPECT_EQ(decoded->report.heard, report.heard);
  EXPECT_EQ(decoded->problem, "no real-time priority");
}

/// A server's guard goes on while its batond is replaced by one of the next version, and the other way round.
TEST(GuardCodec, OfAVersionThatKnowsNoLineages) {
  Knowledge before = knowledge();
  before.lineage = before.newest_lineage = Epoch{};
  before.right_by = Instant{};
  const Bytes tell = encode(Tell{5, 6, knowledge()});
  EXPECT_EQ(std::get<Tell>(*decode_from_batond(std::span(tell).first(tell.size() - kLaterBytes))).knowledge, before);
  const Bytes kept = encode_kept({knowledge(), duties()});
  EXPECT_EQ(decode_kept(std::span(kept).first(kept.size() - kLaterBytes))->knowledge, before);
  EXPECT_EQ(decode_kept(kept)->clocks_ahead, std::nullopt) << "of one that kept no clocks";
  const Bytes report = encode_report({1, 2, 3, knowledge(), {}, {}, {ServerId{3}}, {}}, "");
  const auto decoded = decode_report(std::span(report).first(report.size() - kLaterBytes - 4));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->report.knowledge, before);
  EXPECT_EQ(decoded->report.heard, std::set<ServerId>{ServerId{3}}) << "not waited for";
}

TEST(GuardCodec, WhatIsCutShortIsRefused) {
  const Bytes whole = encode(Tell{5, 6, knowledge()});
  for (size_t bytes = 0; bytes < whole.size(); ++bytes)
    EXPECT_EQ(decode_from_batond(std::span(whole).first(bytes)).has_value(), bytes == whole.size() - kLaterBytes) << bytes;
  const Bytes beat = encode_beat({1, 2, {}, {{ServerId{2}, {3, 4}}}});
  for (size_t bytes = 0; bytes < beat.size(); ++bytes) EXPECT_FALSE(decode_beat(std::span(beat).first(bytes))) << bytes;
}

struct PageTest : testing::Test {
  PageTest() { ::unlink(path.c_str()); }
  ~PageTest() override { ::unlink(path.c_str()); }
  void damage(off_t offset) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    uint8_t byte = 0;
    ASSERT_EQ(::pread(fd, &byte, 1, offset), 1);
    byte ^= 0x40;
    ASSERT_EQ(::pwrite(fd, &byte, 1, offset), 1);
    ::close(fd);
  }
  std::string path = std::filesystem::temp_directory_path() / fmt::format("guard-page-{}", ::getpid());
};

TEST_F(PageTest, ANewPageGrantsNothing) {
  auto page = GuardPage::open(path);
  ASSERT_TRUE(page);
  EXPECT_FALSE(page->load().knowledge.grants);
}

TEST_F(PageTest, KeepsTheNewestAndFallsBackToTheOneBefore) {
  {
    auto page = GuardPage::open(path);
    ASSERT_TRUE(page);
    Kept older{knowledge(), duties()};
    older.knowledge.knows.index = 6;
    ASSERT_TRUE(page->keep(older));
    ASSERT_TRUE(page->keep({knowledge(), duties(), ClocksAhead{3s, -5s}}));
  }
  {
    auto page = GuardPage::open(path);
    ASSERT_TRUE(page);
    EXPECT_EQ(page->load().knowledge, knowledge());
    EXPECT_EQ(page->load().duties, duties());
    EXPECT_EQ(page->load().clocks_ahead, (ClocksAhead{3s, -5s})) << "the next guard knows of a gap that this one does not see (F5)";
  }
  damage(64 * 1024 + 40);  // the newest is in the second place
  auto page = GuardPage::open(path);
  ASSERT_TRUE(page);
  EXPECT_EQ(page->load().knowledge.knows.index, 6u);
}

}  // namespace
}  // namespace baton::guard
