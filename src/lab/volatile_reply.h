// Answers to FUSE's OPEN and CREATE with flags that libfuse 3.14 cannot express: FOPEN_PARALLEL_DIRECT_WRITES,
// without which the kernel lets only one direct write at a time into a file. Any thread.
#pragma once

#include <sys/stat.h>

#include <cstdint>

struct fuse_req;

namespace baton::lab {

/// `direct`: the file was opened O_DIRECT and is never cached.
int reply_open(fuse_req* request, bool direct);
int reply_create(fuse_req* request, uint64_t node, const struct stat& attributes, double validity, bool direct);

}  // namespace baton::lab
