// The cluster's key as a file: hexadecimal digits of random bytes. One thread.
#pragma once

#include <string>

#include "src/base/result.h"

namespace baton::cli {

/// Errors name the file and what is expected.
Result<std::string> read_cluster_key(const std::string& path);
Result<std::string> make_cluster_key();

}  // namespace baton::cli
