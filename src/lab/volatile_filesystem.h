// The FUSE side of a volatile disk: names and attributes pass through to the backing directory at once; data
// goes through VolatileNodes and reaches the backing files only at a sync. Called by libfuse's threads.
#pragma once

#include <fuse3/fuse_lowlevel.h>

#include "src/lab/volatile_nodes.h"

namespace baton::lab {

/// The handlers; the session's user data is a VolatileNodes.
const fuse_lowlevel_ops& volatile_operations();

/// The kernel's number for a node.
fuse_ino_t kernel_number(VolatileNodes& nodes, const VolatileNode* node);

/// Makes the kernel write back, and then forget, all that it has cached. Not from a handler's thread.
void drop_kernel_caches(fuse_session* session, VolatileNodes& nodes);

}  // namespace baton::lab
