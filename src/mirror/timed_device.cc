// All requests have the same limit, so the oldest is the first to pass it: one timer is enough, and none while idle.
#include "src/mirror/timed_device.h"

#include <algorithm>
#include <cerrno>

#include "src/base/assert.h"

namespace baton::mirror {

TimedDevice::~TimedDevice() {
  if (timer_ != 0) ring_.cancel_timer(timer_);
}

void TimedDevice::read(BlockRange range, uint8_t* data, Done done) {
  if (dead_) return refuse(std::move(done));
  inner_->read(range, data, ended(begin(data, true, std::move(done))));
}

void TimedDevice::write(BlockRange range, const uint8_t* data, Done done) {
  if (dead_) return refuse(std::move(done));
  inner_->write(range, data, ended(begin(data, false, std::move(done))));
}

void TimedDevice::zero(BlockRange range, bool unmap, Done done) {
  if (dead_) return refuse(std::move(done));
  inner_->zero(range, unmap, ended(begin(nullptr, false, std::move(done))));
}

void TimedDevice::flush(Done done) {
  if (dead_) return refuse(std::move(done));
  inner_->flush(ended(begin(nullptr, false, std::move(done))));
}

void TimedDevice::refuse(Done done) {
  ring_.after(Duration::zero(), [done = std::move(done)] { done(EIO); });
}

TimedDevice::Request* TimedDevice::begin(const uint8_t* memory, bool reading, Done done) {
  if (free_.empty()) {
    requests_.emplace_back();
    free_.push_back(&requests_.back());
  }
  waiting_.splice(waiting_.end(), free_, free_.begin());
  Request* request = waiting_.back();
  request->place = std::prev(waiting_.end());
  request->since = Ring::now();
  request->done = std::move(done);
  request->memory = memory;
  request->reading = reading;
  request->kept = 0;
  if (timer_ == 0) watch();
  return request;
}

void TimedDevice::end(Request* request, int error) {
  if (!request->done) {
    // Given up long ago; only now is its memory nobody's.
    --given_up_;
    if (request->kept != 0) pool_.release(request->kept);
    return;
  }
  Done done = std::exchange(request->done, nullptr);
  free_.splice(free_.begin(), waiting_, request->place);
  done(error);
}

void TimedDevice::watch() {
  timer_ = ring_.at(waiting_.front()->since + limit_, [this] {
    timer_ = 0;
    if (waiting_.empty()) return;
    if (Ring::now() - waiting_.front()->since >= limit_) return die();
    watch();
  });
}

void TimedDevice::die() {
  dead_ = true;
  // Requests that are given up stay in requests_ for good: what they point at must not be used again.
  std::list<Request*> given_up = std::move(waiting_);
  waiting_.clear();
  given_up_ = given_up.size();
  for (Request* request : given_up) keep_memory(request);
  for (Request* request : given_up) std::exchange(request->done, nullptr)(ETIMEDOUT);
}

/// SAFETY: a request that the disk still has may write into a read's memory, or write a write's memory to the disk, at any
/// time to come.
void TimedDevice::keep_memory(Request* request) {
  const BufferId name = request->memory == nullptr ? 0 : pool_.name_of(request->memory);
  if (name == 0) return;
  const bool kept_already = std::any_of(requests_.begin(), requests_.end(),
                                        [&](const Request& other) { return other.kept == name && &other != request; });
  if (request->reading && !kept_already) {
    request->kept = pool_.part_with_memory(name);
  } else {
    pool_.retain(name);
    request->kept = name;
  }
}

}  // namespace baton::mirror
