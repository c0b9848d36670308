// VolumeSnapshot: a store on a ZFS volume or an LVM-thin volume, by the commands of those (zfs, lvcreate, ...).
// Written from their manuals and tested with stand-ins for the commands only: see docs/disk-format.md.
// The loop's thread.
#pragma once

#include <optional>
#include <vector>

#include "src/mirror/snapshot.h"

namespace baton::mirror {

class VolumeSnapshot : public Snapshot {
 public:
  /// The command lines of one kind of volume. `present` ends with status 0 while there is a snapshot; an empty `revert`
  /// means that the kind cannot put it back under an open device.
  struct Commands {
    std::string snapshot;
    std::vector<std::string> present, take, revert, drop;
  };
  /// Of /dev/zvol/POOL/VOLUME and /dev/VG/LV (which must be thin); nothing: it is neither.
  static std::optional<Commands> commands_of(const std::string& store);

  VolumeSnapshot(Ring& ring, Commands commands) : ring_(ring), commands_(std::move(commands)) {}

  void take(Done done) override;
  void revert(Done done) override;
  void drop(Done done) override;
  bool exists() const override;
  const std::string& name() const override { return commands_.snapshot; }

 private:
  Ring& ring_;
  Commands commands_;
};

}  // namespace baton::mirror
