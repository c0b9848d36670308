// What the kernel has is looked up by a child at each opening: loading a module can take long, and a module may
// have come or gone since. In `auto` a kind that is there and fails gives way to the next one.
#include "src/mirror/export_choice.h"

#include <sys/wait.h>

#include "src/base/assert.h"
#include "src/mirror/fuse_export.h"
#include "src/mirror/kernel_nbd_export.h"
#include "src/mirror/ublk_export.h"

namespace baton::mirror {
namespace {

constexpr Duration kProbeLimit = 10s;
constexpr const char* kModprobe = "/sbin/modprobe";

/// A failure is as good as a module that is not there: the caller looks again.
void load_module(const char* name) {
  if (access(kModprobe, X_OK) != 0) return;
  const pid_t pid = fork();
  if (pid == 0) {
    execl(kModprobe, kModprobe, "-q", name, static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = 0;
  if (pid > 0) waitpid(pid, &status, 0);
}

}  // namespace

// ---- The choice ----

Result<ExportChoice> choose_export(const std::string& wanted, const KernelExports& kernel) {
  if (wanted == "auto") {
    ExportChoice choice;
    if (kernel.ublk) choice.kinds.push_back("ublk");
    if (kernel.nbd) choice.kinds.push_back("nbd");
    choice.kinds.push_back("fuse");
    choice.reason = kernel.ublk  ? "this kernel has ublk"
                    : kernel.nbd ? "this kernel has an NBD driver, but no ublk"
                                 : "this kernel has neither ublk nor an NBD driver";
    return choice;
  }
  if (wanted != "ublk" && wanted != "nbd" && wanted != "fuse") {
    return fail_as(ErrorCode::kInvalid, "the export \"{}\" is unknown: write auto, ublk, nbd or fuse", wanted);
  }
  if ((wanted == "ublk" && !kernel.ublk) || (wanted == "nbd" && !kernel.nbd)) {
    return fail_as(
        ErrorCode::kUnavailable,
        "the mirror is to be exported by {}, but this kernel has no {} (module {}). Load it, or set the "
        "mirror's export to auto",
        wanted, wanted == "ublk" ? "ublk driver" : "NBD driver", wanted == "ublk" ? "ublk_drv" : "nbd");
  }
  return ExportChoice{{wanted}, "as configured"};
}

KernelExports probe_kernel_exports(const std::string& wanted) {
  KernelExports found;
  if (wanted == "auto" || wanted == "ublk") {
    if (!kernel_has_ublk()) load_module("ublk_drv");
    found.ublk = kernel_has_ublk();
  }
  if (wanted == "nbd" || (wanted == "auto" && !found.ublk)) {
    if (!kernel_has_nbd()) load_module("nbd");
    found.nbd = kernel_has_nbd();
  }
  return found;
}

// ---- Opening ----

MirrorExport::MirrorExport(Ring& ring, BufferPool& pool, Settings settings, OnRequest on_request,
                           OnLost on_lost, Note note)
    : ring_(ring),
      pool_(pool),
      settings_(std::move(settings)),
      on_request_(std::move(on_request)),
      on_lost_(std::move(on_lost)),
      note_(std::move(note)) {}

MirrorExport::~MirrorExport() {
  *alive_ = false;
  if (probe_) probe_->let_go();
}

void MirrorExport::open(std::function<void(Result<std::string>)> done) {
  BATON_ASSERT(state_ == State::kClosed);
  state_ = State::kOpening;
  open_done_ = std::move(done);
  if (settings_.kind == "fuse") {
    // Nothing to be looked up, and the usual way of tests.
    kinds_ = {"fuse"};
    reason_ = "as configured";
    return open_next();
  }
  probe_ = ForkedTask::start(
      ring_, "looking for the kernel's block drivers", {}, kProbeLimit,
      [wanted = settings_.kind](TaskChannel& parent) {
        const KernelExports found = probe_kernel_exports(wanted);
        parent.answer(true, std::string(found.ublk ? "ublk " : "") + (found.nbd ? "nbd " : ""));
      },
      [this](const TaskAnswer& answer) { probed(answer); });
}

void MirrorExport::probed(const TaskAnswer& answer) {
  probe_->let_go();
  probe_.reset();
  if (!answer.ok) note_(answer.text + ": the export goes on without them");
  const bool ublk = answer.ok && answer.text.find("ublk ") != std::string::npos;
  const bool nbd = answer.ok && answer.text.find("nbd ") != std::string::npos;
  auto choice = choose_export(settings_.kind, {ublk, nbd});
  if (!choice) return opened(pass(choice));
  kinds_ = choice->kinds;
  reason_ = choice->reason;
  open_next();
}

Export& MirrorExport::device_of(const std::string& kind) {
  std::unique_ptr<Export>& device = devices_[kind];
  if (device) return *device;
  const OnRequest on_request = [this](const ClientRequest& request) { serve(request); };
  const bool read_only = settings_.read_only != nullptr;
  if (kind == "ublk") {
    device = std::make_unique<UblkExport>(ring_, pool_, settings_.mirror, settings_.size_bytes,
                                          settings_.directory, read_only, on_request, on_lost_, note_);
  } else if (kind == "nbd") {
    device = std::make_unique<KernelNbdExport>(ring_, pool_, settings_.mirror, settings_.size_bytes,
                                               settings_.directory, read_only, on_request, on_lost_, note_);
  } else {
    device = std::make_unique<FuseExport>(ring_, pool_, settings_.mirror, settings_.size_bytes,
                                          settings_.directory, on_request, on_lost_, note_, read_only);
  }
  return *device;
}

void MirrorExport::open_next() {
  const std::string kind = kinds_.front();
  kinds_.erase(kinds_.begin());
  device_ = &device_of(kind);
  device_->open([this, kind](Result<std::string> device) {
    if (state_ != State::kOpening) return;  // aborted
    if (device || kinds_.empty()) return device_opened(std::move(device));
    reason_ = fmt::format("{} failed: {}", kind, device.error().message);
    note_("the disk is exported in another way: " + reason_);
    open_next();
  });
}

void MirrorExport::device_opened(Result<std::string> device) {
  if (!device) return opened(std::move(device));
  if (auto listening = open_nbd(); !listening) {
    device_->abort([this, alive = alive_, error = listening.error()] {
      if (*alive && state_ == State::kOpening) opened(tl::unexpected<Error>(error));
    });
    return;
  }
  opened(std::move(device));
}

void MirrorExport::opened(Result<std::string> result) {
  state_ = result ? State::kOpen : State::kClosed;
  if (!result) reason_.clear();
  if (auto done = std::exchange(open_done_, nullptr)) done(std::move(result));
}

Status MirrorExport::open_nbd() {
  if (settings_.nbd_socket.empty()) return {};
  if (!nbd_) {
    const NbdExport target{settings_.mirror, "Baton's mirror disk " + settings_.mirror, settings_.size_bytes,
                           0};
    nbd_ = settings_.read_only != nullptr
               ? std::make_unique<NbdServer>(ring_, pool_, target, *settings_.read_only, note_)
               : std::make_unique<NbdServer>(ring_, pool_, target, kNbdSocketRequests, on_request_, note_);
  }
  return nbd_->listen(settings_.nbd_socket);
}

// ---- Requests ----

void MirrorExport::serve(const ClientRequest& request) {
  if (settings_.read_only != nullptr) return serve_read_only(request);
  on_request_(request);
}

void MirrorExport::serve_read_only(const ClientRequest& request) {
  const auto answer = [this, alive = alive_, &pool = pool_, request](bool ok) {
    if (request.buffer != 0) pool.release(request.buffer);
    if (*alive && device_) device_->complete(request.id, ok);
  };
  if (request.kind == RequestKind::kRead) {
    return settings_.read_only->read(request.range, pool_.data(request.buffer),
                                     [answer](int error) { answer(error == 0); });
  }
  ring_.after(Duration::zero(), [answer, ok = request.kind == RequestKind::kFlush] { answer(ok); });
}

void MirrorExport::complete(RequestId request, bool ok) {
  if ((request & kNbdSocketRequests) != 0) {
    if (nbd_) nbd_->complete(request, ok);
  } else if (device_) {
    device_->complete(request, ok);
  }
}

void MirrorExport::flush() {
  if (nbd_) nbd_->flush();
  if (device_) device_->flush();
}

void MirrorExport::memory_came() {
  if (nbd_) nbd_->memory_came();
  if (device_) device_->memory_came();
}

const std::string& MirrorExport::device() const {
  static const std::string kNone;
  return device_ && state_ != State::kOpening ? device_->device() : kNone;
}

const std::string& MirrorExport::nbd_socket() const {
  static const std::string kNone;
  return nbd_ ? nbd_->path() : kNone;
}

void MirrorExport::grow(uint64_t size_bytes, std::function<void(Status)> done) {
  settings_.size_bytes = size_bytes;
  if (nbd_) nbd_->set_size(size_bytes);
  for (const auto& [kind, device] : devices_) {
    if (device.get() != device_) device->grow(size_bytes, [](const Status&) {});
  }
  if (device_) return device_->grow(size_bytes, std::move(done));
  ring_.after(Duration::zero(), [done = std::move(done)] { done({}); });
}

void MirrorExport::reclaim() {
  // Each looks for its own record.
  for (const char* kind : {"ublk", "nbd", "fuse"}) device_of(kind).reclaim();
}

// ---- The end ----

void MirrorExport::close(std::function<void(Status)> done) {
  BATON_ASSERT(state_ == State::kOpen);
  state_ = State::kClosing;
  close_done_ = std::move(done);
  // A device that went in an earlier attempt is not asked again.
  if (device_->state() != State::kOpen) return close_nbd();
  device_->close([this](Status status) {
    if (!status) return closed(std::move(status));
    close_nbd();
  });
}

void MirrorExport::close_nbd() {
  if (!nbd_) return closed({});
  nbd_->close([this](Status status) { closed(std::move(status)); });
}

void MirrorExport::closed(Status status) {
  if (state_ != State::kClosing) return;  // aborted
  state_ = status ? State::kClosed : State::kOpen;
  if (status) reason_.clear();
  if (auto done = std::exchange(close_done_, nullptr)) done(std::move(status));
}

void MirrorExport::abort(std::function<void()> done) {
  state_ = State::kClosed;
  kinds_.clear();
  reason_.clear();
  if (auto probe = std::exchange(probe_, nullptr)) probe->let_go();
  auto open_done = std::exchange(open_done_, nullptr);
  auto close_done = std::exchange(close_done_, nullptr);
  // SAFETY: docs/protocol.md, P3: nothing is answered from here on, on either way.
  if (nbd_) nbd_->abort();
  if (device_) {
    device_->abort(std::move(done));
  } else {
    ring_.after(Duration::zero(), std::move(done));
  }
  if (open_done) open_done(fail("the export was aborted while it was being made"));
  if (close_done) close_done(fail("the export was aborted while it was being closed"));
}

}  // namespace baton::mirror
