// What has been written or renamed is on the disk. Any thread that may wait for one.
#pragma once

#include <string>

#include "src/base/result.h"

namespace baton {

/// fsync(2) of a file or directory.
Status make_durable(const std::string& path);

}  // namespace baton
