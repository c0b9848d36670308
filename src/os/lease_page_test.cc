// The lease page across restarts of its writer, and every way in which it can be missing or wrong.
#include "src/os/lease_page.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/os/file_text.h"

namespace baton {
namespace {

std::string page_path() { return fmt::format("{}lease_page_test.{}", ::testing::TempDir(), ::getpid()); }

TEST(LeasePage, WriterAndReaderOfOtherProcesses) {
  const std::string path = page_path();
  ::unlink(path.c_str());
  LeaseReader reader(path);
  EXPECT_FALSE(reader.mapped());
  EXPECT_FALSE(reader.holds(Instant(1ns)));
  {
    auto writer = LeaseWriter::open(path, ServerId(1));
    ASSERT_TRUE(writer.has_value()) << writer.error().message;
    EXPECT_EQ(writer->deadline(), Instant{});
    ASSERT_TRUE(reader.reopen());
    if (pid_t child = ::fork(); child == 0) {
      writer->set_deadline(Instant(100s));
      ::_exit(0);
    } else {
      ::waitpid(child, nullptr, 0);
    }
    EXPECT_TRUE(reader.holds(Instant(99s)));
    EXPECT_FALSE(reader.holds(Instant(100s)));
  }
  auto restarted = LeaseWriter::open(path, ServerId(1));
  EXPECT_EQ(restarted->deadline(), Instant(100s));
  restarted->end();
  EXPECT_FALSE(reader.holds(Instant(1ns)));
  ::unlink(path.c_str());
}

TEST(LeasePage, ForeignOrBrokenPagesAreReplacedByTheWriterAndRefusedByReaders) {
  const std::string path = page_path();
  {
    auto writer = LeaseWriter::open(path, ServerId(1));
    writer->set_deadline(Instant(100s));
  }
  EXPECT_EQ(LeaseWriter::open(path, ServerId(2))->deadline(), Instant{});
  for (const std::string& text : {std::string("short"), std::string(kLeasePageBytes, 'x')}) {
    ASSERT_TRUE(replace_text_file(path, text).has_value());
    EXPECT_FALSE(LeaseReader(path).mapped());
    EXPECT_TRUE(LeaseWriter::open(path, ServerId(2)).has_value());
    EXPECT_TRUE(LeaseReader(path).mapped());
  }
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace baton
