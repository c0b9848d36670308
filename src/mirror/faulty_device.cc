// Whatever delays requests keeps their order; a fault is judged when a request is begun, not when it comes.
#include "src/mirror/faulty_device.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

namespace baton::mirror {
namespace {

constexpr BlockRange kWholeDisk{0, UINT64_MAX};

bool hits(const std::vector<BlockRange>& faults, BlockRange range) {
  return std::any_of(faults.begin(), faults.end(), [&](const BlockRange& fault) { return fault.overlaps(range); });
}

/// The rest of a line: a range, or nothing for the whole disk. Nothing: it is neither.
std::optional<BlockRange> take_range(std::istringstream& words) {
  BlockRange range;
  if (!(words >> std::ws) || words.eof()) return kWholeDisk;
  if (!(words >> range.first >> range.count) || range.count == 0) return std::nullopt;
  range.count = std::min(range.count, UINT64_MAX - range.first);
  return range;
}

bool take_line(const std::string& order, std::istringstream& words, FaultOrders* orders) {
  for (auto [name, list] : {std::pair{"read-error", &orders->read_errors},
                            std::pair{"read-error-once", &orders->read_errors_once},
                            std::pair{"write-error", &orders->write_errors}}) {
    if (order != name) continue;
    const auto range = take_range(words);
    if (range) list->push_back(*range);
    return range.has_value();
  }
  if (order == "flush-error") return orders->flush_error = true;
  if (order == "full") return orders->full = true;
  if (order == "hang") return orders->hang = true;
  int64_t delay_ms = 0;
  if (order != "slow" || !(words >> delay_ms) || delay_ms < 0 || delay_ms > 3'600'000) return false;
  orders->slow = milliseconds(delay_ms);
  return true;
}

}  // namespace

FaultOrders parse_fault_orders(const std::string& text) {
  FaultOrders orders;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string order, more;
    if (!(words >> order)) continue;
    const bool sense = take_line(order, words, &orders) && !(words >> more);
    if (!sense && orders.problem.empty()) orders.problem = "a fault that makes no sense: " + line;
  }
  return orders;
}

FaultyDevice::FaultyDevice(Ring& ring, std::unique_ptr<BlockDevice> inner, std::string orders_path, Told told)
    : ring_(ring), inner_(std::move(inner)), path_(std::move(orders_path)), told_(std::move(told)) {
  look();
}

FaultyDevice::~FaultyDevice() { ring_.cancel_timer(timer_); }

void FaultyDevice::look() {
  timer_ = ring_.after(kLookInterval, [this] { look(); });
  struct stat status {};
  std::string found;
  if (stat(path_.c_str(), &status) == 0) {
    found = fmt::format("{} {} {}.{:09}", status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  }
  if (found == seen_) return;
  seen_ = found;
  std::stringstream text;
  if (!found.empty()) text << std::ifstream(path_).rdbuf();
  orders_ = parse_fault_orders(text.str());
  tell(text.str());
  if (orders_.hang) return;
  for (auto hanging = std::exchange(hanging_, {}); !hanging.empty(); hanging.pop_front()) {
    take(std::move(hanging.front()));
  }
}

void FaultyDevice::tell(const std::string& text) const {
  if (!told_) return;
  std::string faults;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) faults += (faults.empty() ? "" : "; ") + line;
  }
  told_(fmt::format("the disk's faults, as {} says: {}", path_, faults.empty() ? "none" : faults));
  if (!orders_.problem.empty()) told_(fmt::format("in {}: {}; that line is ignored", path_, orders_.problem));
}

void FaultyDevice::read(BlockRange range, uint8_t* data, Done done) {
  take({Kind::kRead, range, data, false, std::move(done)});
}
void FaultyDevice::write(BlockRange range, const uint8_t* data, Done done) {
  take({Kind::kWrite, range, const_cast<uint8_t*>(data), false, std::move(done)});
}
void FaultyDevice::zero(BlockRange range, bool unmap, Done done) {
  take({Kind::kZero, range, nullptr, unmap, std::move(done)});
}
void FaultyDevice::flush(Done done) { take({Kind::kFlush, {}, nullptr, false, std::move(done)}); }

void FaultyDevice::take(Request request) {
  if (orders_.hang) return hanging_.push_back(std::move(request));
  if (orders_.slow == Duration::zero()) return begin(std::move(request));
  ring_.after(orders_.slow, [this, held = std::make_shared<Request>(std::move(request))] {
    if (orders_.hang) return hanging_.push_back(std::move(*held));
    begin(std::move(*held));
  });
}

int FaultyDevice::fault_of(const Request& request) {
  auto& once = orders_.read_errors_once;
  switch (request.kind) {
    case Kind::kRead: {
      const auto hit = std::find_if(once.begin(), once.end(), [&](const auto& fault) { return fault.overlaps(request.range); });
      if (hit != once.end()) return once.erase(hit), EIO;
      return hits(orders_.read_errors, request.range) ? EIO : 0;
    }
    case Kind::kWrite:
    case Kind::kZero:
      return hits(orders_.write_errors, request.range) ? EIO : orders_.full ? ENOSPC : 0;
    case Kind::kFlush:
      return orders_.flush_error ? EIO : 0;
  }
  return 0;
}

void FaultyDevice::begin(Request request) {
  if (const int error = fault_of(request); error != 0) {
    ring_.after(Duration::zero(), [error, done = std::move(request.done)] { done(error); });
    return;
  }
  switch (request.kind) {
    case Kind::kRead:
      return inner_->read(request.range, request.data, std::move(request.done));
    case Kind::kWrite:
      return inner_->write(request.range, request.data, std::move(request.done));
    case Kind::kZero:
      return inner_->zero(request.range, request.unmap, std::move(request.done));
    case Kind::kFlush:
      return inner_->flush(std::move(request.done));
  }
}

}  // namespace baton::mirror
