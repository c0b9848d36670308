// KernelNbdExport: the export by the kernel's own NBD client: /dev/nbdN over socket pairs, our end of which an
// NbdServer serves. The loop's thread.
#pragma once

#include <memory>
#include <string>

#include "src/mirror/export.h"
#include "src/mirror/forked_task.h"
#include "src/mirror/kernel_nbd_netlink.h"
#include "src/mirror/nbd_server.h"

namespace baton::mirror {

/// Marks the requests of this export.
constexpr RequestId kKernelNbdRequests = RequestId{1} << 62;

class KernelNbdExport : public Export {
 public:
  /// `directory` keeps the record of the device, for a successor to clean up after us.
  KernelNbdExport(Ring& ring, BufferPool& pool, std::string mirror, uint64_t size_bytes, std::string directory,
                  bool read_only, OnRequest on_request, OnLost on_lost, Note note);
  ~KernelNbdExport() override;

  void open(std::function<void(Result<std::string>)> done) override;
  void close(std::function<void(Status)> done) override;
  void abort(std::function<void()> done) override;
  void complete(RequestId request, bool ok) override { server_.complete(request, ok); }
  void flush() override { server_.flush(); }
  void memory_came() override { server_.memory_came(); }
  void reclaim() override;
  State state() const override { return state_; }
  const std::string& device() const override { return device_; }
  void grow(uint64_t size_bytes, std::function<void(Status)> done) override;
  std::string kind() const override { return "nbd"; }

 private:
  void attached(bool ok, const std::string& text);
  void detached();
  void lost(const std::string& reason);
  void let_keeper_go();
  std::string record_path() const { return directory_ + "/nbd-device"; }
  void write_record(int number);

  Ring& ring_;
  std::string mirror_;
  uint64_t size_bytes_;
  std::string directory_;
  bool read_only_;
  OnLost on_lost_;
  Note note_;
  NbdServer server_;

  State state_ = State::kClosed;
  std::string tag_;
  std::shared_ptr<ForkedTask> keeper_;
  bool asking_ = false;  // the keeper works on something
  std::string device_;
  std::function<void(Result<std::string>)> open_done_;
  std::function<void(Status)> close_done_;
};

}  // namespace baton::mirror
