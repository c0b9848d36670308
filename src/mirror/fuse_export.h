// FuseExport: the export that every kernel has: a FUSE file with a loop device of 4096-byte sectors over it.
// Whatever could wait for this very process is done by a child. The loop's thread.
#pragma once

#include <memory>

#include "src/mirror/buffer_pool.h"
#include "src/mirror/export.h"
#include "src/mirror/forked_task.h"
#include "src/mirror/fuse_connection.h"
#include "src/mirror/ring.h"

namespace baton::mirror {

class FuseExport : public Export {
 public:
  /// `directory` keeps the record of the loop device, for a successor to clean up after us.
  FuseExport(Ring& ring, BufferPool& pool, std::string mirror, uint64_t size_bytes, std::string directory,
             OnRequest on_request, OnLost on_lost, Note note, bool read_only = false);
  ~FuseExport() override;

  void open(std::function<void(Result<std::string>)> done) override;
  void close(std::function<void(Status)> done) override;
  void abort(std::function<void()> done) override;
  void complete(RequestId request, bool ok) override;
  void memory_came() override;
  void reclaim() override;
  State state() const override { return state_; }
  const std::string& device() const override { return device_; }
  void grow(uint64_t size_bytes, std::function<void(Status)> done) override;
  std::string kind() const override { return "fuse"; }

 private:
  void attached(bool ok, const std::string& text);
  void let_keeper_go();
  void keeper_ended();
  void connection_lost(const std::string& reason);
  void detached();
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
  bool read_only_;

  State state_ = State::kClosed;
  RequestId last_request_ = 0;
  std::shared_ptr<FuseConnection> connection_;
  std::string tag_;
  std::shared_ptr<ForkedTask> keeper_;
  bool growing_ = false;   // the keeper works on it
  bool detached_ = false;  // in a close: the device goes when the keeper has ended
  std::string device_;
  std::string lost_;  // why the connection ended during a close
  std::function<void(Result<std::string>)> open_done_;
  std::function<void(Status)> close_done_;
};

}  // namespace baton::mirror
