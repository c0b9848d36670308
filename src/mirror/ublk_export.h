// UblkExport: the export by the kernel's ublk driver: /dev/ublkbN, whose requests come to this process through
// io_uring. No user recovery: when this process ends, I/O on the device fails. The loop's thread.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "src/mirror/buffer_pool.h"
#include "src/mirror/export.h"
#include "src/mirror/forked_task.h"
#include "src/mirror/ublk_driver.h"

namespace baton::mirror {

/// Marks the requests of this export.
constexpr RequestId kUblkRequests = RequestId{1} << 61;

/// Whether the driver is there and can what is needed of it. Waits: for a child.
bool kernel_has_ublk();

class UblkExport : public Export {
 public:
  /// Makes the driver's side of one device, at each opening.
  using MakeDriver = std::function<Result<std::shared_ptr<UblkDriver>>()>;

  /// `directory` keeps the record of the device, for a successor to clean up after us.
  UblkExport(Ring& ring, BufferPool& pool, std::string mirror, uint64_t size_bytes, std::string directory,
             bool read_only, OnRequest on_request, OnLost on_lost, Note note, MakeDriver make_driver = {});
  ~UblkExport() override;

  void open(std::function<void(Result<std::string>)> done) override;
  void close(std::function<void(Status)> done) override;
  void abort(std::function<void()> done) override;
  void complete(RequestId request, bool ok) override;
  void flush() override;
  void memory_came() override;
  void reclaim() override;
  State state() const override { return state_; }
  const std::string& device() const override { return device_; }
  void grow(uint64_t size_bytes, std::function<void(Status)> done) override;
  std::string kind() const override { return "ublk"; }

 private:
  struct Tag {
    RequestId request = 0;  // 0: none is under way
    uint32_t use = 0;
    BufferId buffer = 0;
    bool reading = false;
    uint32_t bytes = 0;
  };

  void added(int result);
  void parameters_set(int result);
  void started(int result);
  void open_failed(const std::string& what, int result);
  void fetched(uint32_t tag, int result);
  void begin(uint32_t tag, const UblkDriver::Request& request);
  bool must_wait(uint32_t bytes) const;
  void finish(uint32_t tag, int result);
  void claimed(const TaskAnswer& answer);
  void stopped(int result);
  void give_up_driver();
  void drop_requests();
  std::string record_path() const { return directory_ + "/ublk-device"; }

  Ring& ring_;
  BufferPool& pool_;
  std::string mirror_;
  uint64_t size_bytes_;
  std::string directory_;
  bool read_only_;
  OnRequest on_request_;
  OnLost on_lost_;
  Note note_;
  MakeDriver make_driver_;

  State state_ = State::kClosed;
  std::shared_ptr<UblkDriver> driver_;
  std::vector<std::shared_ptr<UblkDriver>> leaving_;  // given up: what still arrives there fails
  std::vector<Tag> tags_;
  std::deque<uint32_t> held_;  // they wait for memory
  int number_ = -1;
  std::string device_;
  Ring::Timer deadline_ = 0;
  std::shared_ptr<ForkedTask> claim_;  // holds the device while it is being stopped
  std::function<void(Result<std::string>)> open_done_;
  std::function<void(Status)> close_done_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace baton::mirror
