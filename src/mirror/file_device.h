// FileDevice: a copy's data in a file or on a block device, by direct I/O through the ring. The loop's thread.
#pragma once

#include <memory>
#include <vector>

#include "src/mirror/block_device.h"
#include "src/mirror/ring.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {

class FileDevice : public BlockDevice {
 public:
  struct Opened {
    std::unique_ptr<FileDevice> device;
    bool created = false;     // the file was not there
    bool known_zero = false;  // it surely reads as zeroes everywhere: a file just made, or one that holds no data at all
  };

  /// Opens the store, which must hold at least `size_bytes`. A file that is missing is made (sparse) if its directory
  /// exists; one that is too small is refused, never grown: it may be something else than a mirror's store.
  static Result<Opened> open(Ring& ring, const std::string& path, uint64_t size_bytes);

  void read(BlockRange range, uint8_t* data, Done done) override;
  void write(BlockRange range, const uint8_t* data, Done done) override;
  void zero(BlockRange range, bool unmap, Done done) override;
  void flush(Done done) override;
  void retry() override;
  uint64_t size_blocks() const override { return size_blocks_; }
  Result<uint64_t> available_bytes() const override;
  Status grow(uint64_t size_bytes) override;
  const std::string& name() const override { return path_; }

  /// False when the filesystem below cannot do direct I/O: the page cache is then between, flushes still count.
  bool direct() const { return direct_; }

 private:
  struct Transfer {
    bool writing = false;
    bool unmap = false;
    uint8_t* data = nullptr;
    uint64_t left = 0;
    uint64_t offset = 0;
    Done done;
  };
  /// Ways to make zeroes, best first. What the store cannot do is not tried twice.
  enum class Zeroing { kPunch, kZeroRange, kWrite };

  FileDevice(Ring& ring, std::string path, OwnedFd fd, uint64_t size_blocks, bool direct)
      : ring_(ring), path_(std::move(path)), fd_(std::move(fd)), size_blocks_(size_blocks), direct_(direct) {}
  Transfer* take_transfer(Done done);
  void begin(bool writing, BlockRange range, uint8_t* data, Done done);
  void go_on(Transfer* transfer);
  void transferred(Transfer* transfer, int result);
  void go_on_zeroing(Transfer* transfer);
  void zeroed(Transfer* transfer, Zeroing way, uint64_t size, int result);
  void flushed(Transfer* transfer, uint64_t covered, int result);
  void finish(Transfer* transfer, int error_number);

  Ring& ring_;
  std::string path_;
  OwnedFd fd_;
  uint64_t size_blocks_ = 0;
  bool direct_ = true;
  uint64_t ended_writes_ = 1;    // the writes of an earlier process are one that has ended
  uint64_t flushed_writes_ = 0;  // of them, those that a flush has covered
  int flush_error_ = 0;          // of the first flush that failed: none counts until the disk is tried again
  Zeroing unmapping_ = Zeroing::kPunch;
  Zeroing zeroing_ = Zeroing::kZeroRange;
  std::vector<std::unique_ptr<Transfer>> transfers_;
  std::vector<Transfer*> free_transfers_;
};

}  // namespace baton::mirror
