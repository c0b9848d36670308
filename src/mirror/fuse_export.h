// FuseExport: the export that every kernel has: a FUSE file with a loop device of 4096-byte sectors over it. Whatever
// could wait for this very process runs in a child. The loop's thread.
#pragma once

#include <memory>

#include "src/mirror/buffer_pool.h"
#include "src/mirror/export.h"
#include "src/mirror/fuse_connection.h"
#include "src/mirror/ring.h"

namespace baton::mirror {

class FuseExport : public Export {
 public:
  /// `directory` keeps the record of the loop device, for a successor to clean up after us.
  FuseExport(Ring& ring, BufferPool& pool, std::string mirror, uint64_t size_bytes, std::string directory,
             OnRequest on_request, OnLost on_lost, Note note);
  ~FuseExport() override;

  void open(std::function<void(Result<std::string>)> done) override;
  void close(std::function<void(Status)> done) override;
  void abort(std::function<void()> done) override;
  void complete(RequestId request, bool ok) override;
  void reclaim() override;
  State state() const override { return state_; }
  const std::string& device() const override { return device_; }

 private:
  void attached(bool ok, const std::string& text, OwnedFd loop);
  void detached();
  void drop_loop(OwnedFd loop);
  std::string record_path() const { return directory_ + "/loop-device"; }
  void write_record(int number);

  Ring& ring_;
  BufferPool& pool_;
  std::string mirror_;
  uint64_t size_bytes_;
  std::string directory_;
  OnRequest on_request_;
  OnLost on_lost_;
  Note note_;

  State state_ = State::kClosed;
  uint64_t life_ = 0;  // rises with each open and abort: late answers of children are known by it
  RequestId last_request_ = 0;
  std::shared_ptr<FuseConnection> connection_;
  std::string tag_;
  int loop_number_ = -1;
  OwnedFd loop_;
  std::string device_;
  std::function<void(Result<std::string>)> open_done_;
  std::function<void(Status)> close_done_;
};

}  // namespace baton::mirror
