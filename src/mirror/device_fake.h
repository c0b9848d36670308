// For tests of the wrappers: a BlockDevice in memory whose requests end when the test says so.
#pragma once

#include <cstring>
#include <deque>
#include <vector>

#include "src/mirror/block_device.h"

namespace baton::mirror {

class DeviceFake : public BlockDevice {
 public:
  explicit DeviceFake(uint64_t blocks) : content(blocks * kBlockBytes, 0) {}

  void read(BlockRange range, uint8_t* data, Done done) override {
    begun.push_back([this, range, data, done](int error) {
      if (error == 0) std::memcpy(data, content.data() + range.first * kBlockBytes, range.count * kBlockBytes);
      done(error);
    });
  }
  void write(BlockRange range, const uint8_t* data, Done done) override {
    begun.push_back([this, range, data, done](int error) {
      if (error == 0) std::memcpy(content.data() + range.first * kBlockBytes, data, range.count * kBlockBytes);
      done(error);
    });
  }
  void zero(BlockRange range, bool, Done done) override {
    begun.push_back([this, range, done](int error) {
      if (error == 0) std::memset(content.data() + range.first * kBlockBytes, 0, range.count * kBlockBytes);
      done(error);
    });
  }
  void flush(Done done) override { begun.push_back(done); }
  void retry() override {}
  uint64_t size_blocks() const override { return content.size() / kBlockBytes; }
  Result<uint64_t> available_bytes() const override { return content.size(); }
  Status grow(uint64_t size_bytes) override { return content.resize(size_bytes), Status{}; }
  const std::string& name() const override { return name_; }

  void end(size_t index = 0, int error = 0) {
    auto request = std::move(begun[index]);
    begun.erase(begun.begin() + static_cast<ptrdiff_t>(index));
    request(error);
  }

  std::vector<uint8_t> content;
  std::deque<Done> begun;  // oldest first

 private:
  std::string name_ = "fake";
};

}  // namespace baton::mirror
