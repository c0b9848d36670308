// The files of the cluster's keys: each step on disk, and what a crash between two of them leaves.
#include "src/daemon/cluster_keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace baton {
namespace {

const std::string kOne(128, '1');
const std::string kTwo(128, '2');

class ClusterKeysTest : public testing::Test {
 protected:
  ClusterKeysTest() {
    char name[] = "/tmp/baton-keys-XXXXXX";
    directory_ = ::mkdtemp(name);
    put("cluster.key", kOne);
  }
  ~ClusterKeysTest() override { std::filesystem::remove_all(directory_); }

  void put(const std::string& name, const std::string& key) { std::ofstream(directory_ + "/" + name) << key << "\n"; }
  bool there(const std::string& name) { return std::filesystem::exists(directory_ + "/" + name); }
  ClusterKeyFiles files() { return ClusterKeyFiles(directory_); }
  void expect(const std::string& current, const std::string& next, const std::string& old) {
    const auto keys = files().read();
    ASSERT_TRUE(keys) << keys.error().message;
    EXPECT_EQ(keys->current, current);
    EXPECT_EQ(keys->next, next);
    EXPECT_EQ(keys->old, old);
  }

  std::string directory_;
};

TEST_F(ClusterKeysTest, AKeyIsStagedAdoptedAndTheFormerOneDropped) {
  expect(kOne, "", "");
  ASSERT_TRUE(files().stage(kTwo));
  expect(kOne, kTwo, "");
  struct stat about {};
  ASSERT_EQ(::stat((directory_ + "/cluster.next.key").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600);
  ASSERT_TRUE(files().adopt());
  expect(kTwo, "", kOne);
  ASSERT_EQ(::stat((directory_ + "/cluster.old.key").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600);
  ASSERT_TRUE(files().drop_old());
  expect(kTwo, "", "");
  EXPECT_FALSE(there("cluster.old.key"));
  EXPECT_FALSE(there("cluster.next.key"));
}

TEST_F(ClusterKeysTest, ACrashBetweenTheStepsOfAnAdoptionReplacesNothing) {
  ASSERT_TRUE(files().stage(kTwo));
  put("cluster.old.key", kOne);  // the first step was done
  expect(kOne, kTwo, "");
  ASSERT_TRUE(files().adopt());
  expect(kTwo, "", kOne);
}

TEST_F(ClusterKeysTest, WhatWasHalfWrittenCountsForNothing) {
  put("cluster.next.key.new", "22");
  expect(kOne, "", "");
  ASSERT_TRUE(files().stage(kTwo));
  expect(kOne, kTwo, "");
  EXPECT_FALSE(there("cluster.next.key.new"));
}

TEST_F(ClusterKeysTest, AStagedKeyIsDroppedAndNoneAdopted) {
  ASSERT_TRUE(files().stage(kTwo));
  ASSERT_TRUE(files().drop_next());
  ASSERT_TRUE(files().drop_next());
  EXPECT_FALSE(files().adopt());
  expect(kOne, "", "");
}

TEST_F(ClusterKeysTest, KeysAreFoundByTheirFingerprints) {
  ASSERT_TRUE(files().stage(kTwo));
  const auto keys = files().read();
  EXPECT_EQ(keys->find(fingerprint_of(kTwo)), kTwo);
  EXPECT_EQ(keys->find(fingerprint_of(kOne)), kOne);
  EXPECT_EQ(keys->find("0123456789abcdef"), "");
  EXPECT_EQ(keys->find(""), "");
  EXPECT_EQ(ring_key_of(kOne).size(), 128U);
  EXPECT_NE(ring_key_of(kOne), ring_key_of(kTwo));
  EXPECT_EQ(make_cluster_key()->size(), 128U);
  EXPECT_NE(*make_cluster_key(), *make_cluster_key());
}

TEST_F(ClusterKeysTest, WithoutAKeyNothingIsRead) {
  put("cluster.key", "12");
  EXPECT_FALSE(files().read());
  std::filesystem::remove(directory_ + "/cluster.key");
  EXPECT_FALSE(files().read());
}

}  // namespace
}  // namespace baton
