// Answers to OPEN and CREATE in the kernel's own format; see volatile_reply.h. Any thread.
#include "src/lab/volatile_reply.h"

#include <linux/fuse.h>

#include <cmath>
#include <cstddef>

// Declared here, because libfuse's headers and the kernel's define the same macros.
extern "C" int fuse_reply_buf(fuse_req* request, const char* buffer, size_t size);

namespace baton::lab {
namespace {

fuse_open_out open_answer(bool direct) {
  fuse_open_out answer{};
  if (direct) answer.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
  return answer;
}

}  // namespace

int reply_open(fuse_req* request, bool direct) {
  auto answer = open_answer(direct);
  return fuse_reply_buf(request, reinterpret_cast<const char*>(&answer), sizeof answer);
}

int reply_create(fuse_req* request, uint64_t node, const struct stat& attributes, double validity,
                 bool direct) {
  struct {
    fuse_entry_out entry;
    fuse_open_out open;
  } answer{};
  static_assert(sizeof answer == sizeof(fuse_entry_out) + sizeof(fuse_open_out));
  answer.entry.nodeid = node;
  answer.entry.entry_valid = answer.entry.attr_valid = uint64_t(std::floor(validity));
  auto& attr = answer.entry.attr;
  attr.ino = attributes.st_ino;
  attr.size = uint64_t(attributes.st_size);
  attr.blocks = uint64_t(attributes.st_blocks);
  attr.atime = uint64_t(attributes.st_atim.tv_sec);
  attr.mtime = uint64_t(attributes.st_mtim.tv_sec);
  attr.ctime = uint64_t(attributes.st_ctim.tv_sec);
  attr.atimensec = uint32_t(attributes.st_atim.tv_nsec);
  attr.mtimensec = uint32_t(attributes.st_mtim.tv_nsec);
  attr.ctimensec = uint32_t(attributes.st_ctim.tv_nsec);
  attr.mode = attributes.st_mode;
  attr.nlink = uint32_t(attributes.st_nlink);
  attr.uid = attributes.st_uid;
  attr.gid = attributes.st_gid;
  attr.rdev = uint32_t(attributes.st_rdev);
  attr.blksize = uint32_t(attributes.st_blksize);
  answer.open = open_answer(direct);
  return fuse_reply_buf(request, reinterpret_cast<const char*>(&answer), sizeof answer);
}

}  // namespace baton::lab
