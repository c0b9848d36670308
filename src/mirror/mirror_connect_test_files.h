// For tests: a mirror connect whose ends have certificates in a directory of the test's own.
#pragma once

#include <stdlib.h>

#include <filesystem>

#include "src/mirror/mirror_connect_test_pair.h"
#include "src/mirror/tls_authority.h"

namespace baton::mirror {

inline ClusterKey key_of(uint8_t byte) {
  ClusterKey key;
  key.bytes.fill(byte);
  return key;
}

class MirrorConnectFiles : public MirrorConnectPair {
 protected:
  void SetUp() override {
    MirrorConnectPair::SetUp();
    char name[] = "/tmp/baton-connect-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override {
    MirrorConnectPair::TearDown();
    std::filesystem::remove_all(directory_);
  }

  std::filesystem::path directory_;
};

}  // namespace baton::mirror
