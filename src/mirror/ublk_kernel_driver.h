// The UblkDriver of a real kernel: /dev/ublk-control and the device's queue, over an io_uring of its own
// (commands need entries of 128 bytes), which the loop watches. docs/exports.md says where it has run. The
// loop's thread.
#pragma once

#include <memory>

#include "src/mirror/ring.h"
#include "src/mirror/ublk_driver.h"

namespace baton::mirror {

Result<std::shared_ptr<UblkDriver>> make_ublk_driver(Ring& ring);

/// Whether /dev/ublk-control answers and offers what is used here (Linux 6.5). Waits: for a child.
bool probe_ublk();

/// Takes away device `number` if its server is process `owner` of an earlier daemon, or nobody. Waits. Says
/// what was done; empty: nothing was there.
std::string reclaim_ublk(int number, int owner);

}  // namespace baton::mirror
