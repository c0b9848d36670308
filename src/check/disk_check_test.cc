// Disks that work, that are full, that may not be written to, that are not there.
#include "src/check/disk_check.h"

#include <gtest/gtest.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>

#include "src/os/test_namespace.h"

namespace baton::check {
namespace {

TEST(DiskCheck, OneThatWorksIsWrittenAndRead) {
  const auto result = check_disk("/tmp");
  EXPECT_EQ(result.outcome, Outcome::kGood) << result.text;
  EXPECT_TRUE(result.text.starts_with("written and read in ")) << result.text;
}

TEST(DiskCheck, OneThatIsNotThereIsNotJudged) {
  EXPECT_EQ(check_disk("/no/such/directory").outcome, Outcome::kCouldNotCheck);
  EXPECT_EQ(check_disk("/etc/passwd").outcome, Outcome::kCouldNotCheck);
}

TEST(DiskCheck, FullIsNotBrokenButReadOnlyIs) {
  in_namespaces(0, [] {
    ASSERT_EQ(::mount("small", "/mnt", "tmpfs", 0, "size=64k"), 0);
    EXPECT_EQ(check_disk("/mnt").outcome, Outcome::kGood);
    std::ofstream("/mnt/fill") << std::string(1 << 20, 'x');
    const auto full = check_disk("/mnt");
    EXPECT_EQ(full.outcome, Outcome::kCouldNotCheck) << full.text;
    EXPECT_NE(full.text.find("No space left"), std::string::npos) << full.text;
    std::filesystem::remove("/mnt/fill");
    ASSERT_EQ(::mount(nullptr, "/mnt", nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
    const auto fixed = check_disk("/mnt");
    EXPECT_EQ(fixed.outcome, Outcome::kBad) << fixed.text;
    EXPECT_NE(fixed.text.find("Read-only file system"), std::string::npos) << fixed.text;
  });
}

}  // namespace
}  // namespace baton::check
