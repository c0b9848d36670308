// Two batches take turns, so that their memory is used again and no request allocates.
#include "src/mirror/nbd_output.h"

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr size_t kMaxParts = 400;  // each takes up to two vectors: stays below IOV_MAX

}  // namespace

const msghdr* NbdOutput::begin() {
  BATON_ASSERT(queued() && sending_.empty());
  std::swap(queued_, sending_);
  if (sending_.parts.size() > kMaxParts) {
    // The rest goes with the next batch.
    const size_t cut = sending_.parts[kMaxParts - 1].head_end;
    queued_.heads.assign(sending_.heads.begin() + static_cast<ptrdiff_t>(cut), sending_.heads.end());
    for (size_t i = kMaxParts; i < sending_.parts.size(); ++i) {
      queued_.parts.push_back(sending_.parts[i]);
      queued_.parts.back().head_end -= cut;
    }
    sending_.heads.resize(cut);
    sending_.parts.resize(kMaxParts);
  }
  vectors_.clear();
  vector_start_ = 0;
  size_t start = 0;
  for (const Part& part : sending_.parts) {
    if (part.head_end > start) vectors_.push_back({sending_.heads.data() + start, part.head_end - start});
    vectors_.push_back({pool_.data(part.buffer), part.bytes});
    start = part.head_end;
  }
  if (start < sending_.heads.size())
    vectors_.push_back({sending_.heads.data() + start, sending_.heads.size() - start});
  message_ = {};
  message_.msg_iov = vectors_.data();
  message_.msg_iovlen = vectors_.size();
  return &message_;
}

const msghdr* NbdOutput::advance(size_t sent, uint64_t* freed) {
  while (vector_start_ < vectors_.size() && sent >= vectors_[vector_start_].iov_len) {
    sent -= vectors_[vector_start_++].iov_len;
  }
  if (vector_start_ < vectors_.size()) {
    vectors_[vector_start_].iov_base = static_cast<uint8_t*>(vectors_[vector_start_].iov_base) + sent;
    vectors_[vector_start_].iov_len -= sent;
    message_.msg_iov = vectors_.data() + vector_start_;
    message_.msg_iovlen = vectors_.size() - vector_start_;
    return &message_;
  }
  *freed = release(sending_);
  return nullptr;
}

void NbdOutput::clear() {
  release(queued_);
  release(sending_);
}

uint64_t NbdOutput::release(Batch& batch) {
  uint64_t bytes = 0;
  for (const Part& part : batch.parts) {
    pool_.release(part.buffer);
    bytes += part.bytes;
  }
  batch.parts.clear();
  batch.heads.clear();
  return bytes;
}

}  // namespace baton::mirror
