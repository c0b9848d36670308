// Which way a store has is told by what it is: a file may share extents (tried when needed), a device by its name.
#include "src/mirror/snapshot.h"

#include <sys/stat.h>

#include "src/mirror/snapshot_reflink.h"
#include "src/mirror/snapshot_volume.h"

namespace baton::mirror {
namespace {

class NoSnapshot : public Snapshot {
 public:
  NoSnapshot(Ring& ring, std::string store) : ring_(ring), store_(std::move(store)) {}

  void take(Done done) override { refuse(std::move(done)); }
  void revert(Done done) override { refuse(std::move(done)); }
  void drop(Done done) override {
    ring_.after(Duration::zero(), [done = std::move(done)] { done({}); });
  }
  bool exists() const override { return false; }
  const std::string& name() const override { return store_; }

 private:
  void refuse(Done done) {
    ring_.after(Duration::zero(), [this, done = std::move(done)] {
      done(fail_as(ErrorCode::kUnavailable, "the store {} is neither a file nor an LVM-thin or ZFS volume: its state "
                   "before a copy cannot be kept", store_));
    });
  }

  Ring& ring_;
  std::string store_;
};

}  // namespace

std::unique_ptr<Snapshot> Snapshot::for_store(Ring& ring, const std::string& store) {
  struct stat status {};
  if (stat(store.c_str(), &status) == 0 && S_ISREG(status.st_mode)) return std::make_unique<ReflinkSnapshot>(ring, store);
  if (auto commands = VolumeSnapshot::commands_of(store)) return std::make_unique<VolumeSnapshot>(ring, *commands);
  return std::make_unique<NoSnapshot>(ring, store);
}

}  // namespace baton::mirror
