// The judge of the demo must bite: what it calls lost, duplicated and extra.
#include "src/ledger/ledger_check.h"

#include <gtest/gtest.h>

#include "src/ledger/ledger_file.h"

namespace baton::ledger {
namespace {

TEST(LedgerCheck, EverythingThereOnce) {
  const auto result = compare({1, 2, 3}, {{1, 1}, {2, 1}, {3, 1}});
  EXPECT_EQ(result.committed, 3u);
  EXPECT_TRUE(result.lost.empty());
  EXPECT_TRUE(result.duplicated.empty());
  EXPECT_EQ(result.unacknowledged_extra, 0u);
}

TEST(LedgerCheck, LostDuplicatedAndExtraRowsAreFound) {
  const auto result = compare({1, 2, 3}, {{1, 2}, {3, 1}, {4, 1}});
  EXPECT_EQ(result.lost, std::vector<int64_t>{2});
  EXPECT_EQ(result.duplicated, std::vector<int64_t>{1});
  EXPECT_EQ(result.unacknowledged_extra, 1u);
}

TEST(LedgerFile, ReadsItsLinesAndLeavesAnUnfinishedOneOut) {
  const auto rows = parse_ledger("1 100 commit\n2 250 resolved\n3 30");
  ASSERT_TRUE(rows.has_value());
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ((*rows)[1].number, 2);
  EXPECT_EQ((*rows)[1].acknowledged_ns, 250);
  EXPECT_TRUE((*rows)[1].resolved);
}

TEST(LedgerFile, RefusesWhatIsNoLedger) {
  EXPECT_FALSE(parse_ledger("1 100 perhaps\n").has_value());
  EXPECT_TRUE(parse_ledger("").has_value());
}

}  // namespace
}  // namespace baton::ledger
