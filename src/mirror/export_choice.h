// MirrorExport: all ways by which a mirror disk is offered on this server as one Export: a block device of the
// kind that the kernel has, and beside it the NBD socket. docs/exports.md. The loop's thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/mirror/block_device.h"
#include "src/mirror/export.h"
#include "src/mirror/forked_task.h"
#include "src/mirror/nbd_server.h"

namespace baton::mirror {

/// What the kernel was found to have.
struct KernelExports {
  bool ublk = false;
  bool nbd = false;
  bool operator==(const KernelExports&) const = default;
};

/// Kinds to be tried in this order, and why the first of them.
struct ExportChoice {
  std::vector<std::string> kinds;  // "ublk", "nbd", "fuse"
  std::string reason;
};

/// `wanted`: auto, or one kind. An error (kUnavailable, kInvalid) when it is not to be had.
Result<ExportChoice> choose_export(const std::string& wanted, const KernelExports& kernel);

/// Looks, and loads the drivers' modules where `wanted` could use them. Waits: for a child.
KernelExports probe_kernel_exports(const std::string& wanted);

class MirrorExport : public Export {
 public:
  struct Settings {
    std::string mirror;  // mirror_key()
    uint64_t size_bytes = 0;
    std::string directory;      // for records of devices, so that a successor can clean up after us
    std::string kind = "auto";  // auto, ublk, nbd, fuse
    std::string nbd_socket;     // empty: none
    BlockDevice* read_only =
        nullptr;  // a backup: reads come from here, nothing goes to the mirror; must outlive it
  };

  MirrorExport(Ring& ring, BufferPool& pool, Settings settings, OnRequest on_request, OnLost on_lost,
               Note note);
  ~MirrorExport() override;

  void open(std::function<void(Result<std::string>)> done) override;
  /// First the device, which must not be in use; then NBD clients are answered and disconnected.
  void close(std::function<void(Status)> done) override;
  void abort(std::function<void()> done) override;
  void complete(RequestId request, bool ok) override;
  void flush() override;
  void memory_came() override;
  void reclaim() override;
  State state() const override { return state_; }
  const std::string& device() const override;
  void grow(uint64_t size_bytes, std::function<void(Status)> done) override;
  std::string kind() const override { return device_ ? device_->kind() : ""; }

  /// Why this kind; empty while closed.
  const std::string& reason() const { return reason_; }
  /// Where NBD clients connect; empty while closed.
  const std::string& nbd_socket() const;
  size_t nbd_clients() const { return nbd_ ? nbd_->connections() : 0; }

 private:
  Export& device_of(const std::string& kind);
  void probed(const TaskAnswer& answer);
  void open_next();
  void device_opened(Result<std::string> device);
  void opened(Result<std::string> result);
  Status open_nbd();
  void close_nbd();
  void closed(Status status);
  void serve(const ClientRequest& request);
  void serve_read_only(const ClientRequest& request);

  Ring& ring_;
  BufferPool& pool_;
  Settings settings_;
  OnRequest on_request_;
  OnLost on_lost_;
  Note note_;

  State state_ = State::kClosed;
  std::shared_ptr<ForkedTask> probe_;
  std::vector<std::string> kinds_;  // left to try
  std::string reason_;
  // Made once and kept: the ids of their requests rise over all openings, so that a late answer finds nobody.
  std::map<std::string, std::unique_ptr<Export>> devices_;
  std::unique_ptr<NbdServer> nbd_;
  Export* device_ = nullptr;  // the one of the last opening
  std::function<void(Result<std::string>)> open_done_;
  std::function<void(Status)> close_done_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace baton::mirror
