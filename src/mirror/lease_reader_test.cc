// The lease page as the mirror daemon reads it, also when it comes, goes or is wrong.
#include "src/mirror/lease_reader.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace baton::mirror {
namespace {

void write_page(const std::string& path, uint64_t magic, uint32_t server, int64_t deadline_ns) {
  std::string bytes(4096, '\0');
  const uint32_t version = 1;
  std::memcpy(bytes.data(), &magic, 8);
  std::memcpy(bytes.data() + 8, &version, 4);
  std::memcpy(bytes.data() + 12, &server, 4);
  std::memcpy(bytes.data() + 16, &deadline_ns, 8);
  std::ofstream(path + ".new", std::ios::binary) << bytes;
  std::filesystem::rename(path + ".new", path);
}

TEST(LeaseReader, NoPageIsNoLease) {
  char pattern[] = "/var/tmp/baton-lease-XXXXXX";
  const std::string directory = mkdtemp(pattern);
  const std::string path = directory + "/lease";
  LeaseReader reader(path, ServerId(2));
  EXPECT_EQ(reader.until(), Instant{});
  EXPECT_NE(reader.problem().find(path), std::string::npos);

  write_page(path, kLeasePageMagic, 2, 12345);
  reader.refresh();
  EXPECT_EQ(to_ns(reader.until()), 12345);
  EXPECT_TRUE(reader.problem().empty());

  write_page(path, kLeasePageMagic, 2, 99999);  // a new file under the name
  reader.refresh();
  EXPECT_EQ(to_ns(reader.until()), 99999);

  write_page(path, kLeasePageMagic, 1, 99999);
  reader.refresh();
  EXPECT_EQ(reader.until(), Instant{});
  write_page(path, 7, 2, 99999);
  reader.refresh();
  EXPECT_EQ(reader.until(), Instant{});
  std::ofstream(path, std::ios::trunc) << "x";
  reader.refresh();
  EXPECT_EQ(reader.until(), Instant{});
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace baton::mirror
