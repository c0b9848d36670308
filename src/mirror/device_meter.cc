// Figures are of the last whole second: the present one fills up beside it.
#include "src/mirror/device_meter.h"

#include <bit>

#include "src/mirror/ring.h"

namespace baton::mirror {

void DeviceMeter::read(BlockRange range, uint8_t* data, Done done) {
  inner_->read(range, data, ended(begin(Kind::kRead, range.count, std::move(done))));
}

void DeviceMeter::write(BlockRange range, const uint8_t* data, Done done) {
  inner_->write(range, data, ended(begin(Kind::kWrite, range.count, std::move(done))));
}

void DeviceMeter::zero(BlockRange range, bool unmap, Done done) {
  inner_->zero(range, unmap, ended(begin(Kind::kZero, range.count, std::move(done))));
}

void DeviceMeter::flush(Done done) { inner_->flush(ended(begin(Kind::kFlush, 0, std::move(done)))); }

DeviceMeter::Request* DeviceMeter::begin(Kind kind, uint64_t blocks, Done done) {
  if (free_.empty()) {
    requests_.emplace_back();
    free_.push_back(&requests_.back());
  }
  Request* request = free_.back();
  free_.pop_back();
  request->kind = kind;
  request->bytes = blocks * kBlockBytes;
  request->since = Ring::now();
  request->done = std::move(done);
  return request;
}

void DeviceMeter::end(Request* request, int error) {
  const Instant now = Ring::now();
  turn(now);
  const Duration took = now - request->since;
  Account& account = accounts_[static_cast<size_t>(request->kind)];
  ++account.count;
  account.bytes += request->bytes;
  if (error != 0) ++account.errors;
  ++account.present.count;
  account.present.bytes += request->bytes;
  account.present.sum += took;
  ++account.present.histogram[bucket_of(static_cast<uint64_t>(took.count()) / 1000)];
  Done done = std::exchange(request->done, nullptr);
  free_.push_back(request);
  done(error);
}

void DeviceMeter::turn(Instant now) {
  if (now - second_began_ < 1s) return;
  const bool gap = now - second_began_ >= 2s;
  for (Account& account : accounts_) {
    account.last = gap ? Second{} : account.present;
    account.present = Second{};
  }
  second_began_ = gap ? now : second_began_ + 1s;
}

DeviceMeter::Figures DeviceMeter::figures(Kind kind) {
  turn(Ring::now());
  const Account& account = accounts_[static_cast<size_t>(kind)];
  Figures figures{account.count, account.bytes, account.errors, account.last.count, account.last.bytes};
  if (account.last.count > 0) {
    figures.mean_us = static_cast<double>(account.last.sum.count()) / 1000 / static_cast<double>(account.last.count);
    figures.p99_us = p99(account.last);
  }
  return figures;
}

size_t DeviceMeter::bucket_of(uint64_t us) {
  us = std::min<uint64_t>(us, UINT32_MAX) | 1;
  const auto log = static_cast<unsigned>(std::bit_width(us)) - 1;
  const uint64_t quarter = log >= 2 ? us >> (log - 2) & 3 : us << (2 - log) & 3;
  return 4 * log + quarter;
}

double DeviceMeter::middle_of(size_t bucket) {
  const double start = static_cast<double>(uint64_t{1} << (bucket / 4));
  return start * (1 + (static_cast<double>(bucket % 4) + 0.5) / 4);
}

double DeviceMeter::p99(const Second& second) {
  uint64_t left = second.count - second.count * 99 / 100;  // from the slow end, at least one
  for (size_t bucket = kBuckets; bucket-- > 0;) {
    if (second.histogram[bucket] >= left) return middle_of(bucket);
    left -= second.histogram[bucket];
  }
  return 0;
}

}  // namespace baton::mirror
