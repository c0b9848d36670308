// ReflinkSnapshot: a file on XFS, btrfs or another filesystem with shared extents, kept as STORE.before-copy.
// The loop's thread.
#pragma once

#include "src/mirror/snapshot.h"

namespace baton::mirror {

class ReflinkSnapshot : public Snapshot {
 public:
  ReflinkSnapshot(Ring& ring, std::string store) : ring_(ring), store_(std::move(store)), kept_(store_ + ".before-copy") {}

  void take(Done done) override;
  void revert(Done done) override;
  void drop(Done done) override;
  bool exists() const override;
  const std::string& name() const override { return kept_; }

 private:
  Ring& ring_;
  std::string store_;
  std::string kept_;
};

}  // namespace baton::mirror
