// baton-nbd-file: serves a plain file by the mirror daemon's own exports, without mirror or core: for
// benchmarks (what an export itself costs) and for tests of the exports. Says "ready", or the device and why it
// is of that kind.
//   baton-nbd-file SOCKET FILE SIZE_BYTES [--read-only] [--fail-reads-at OFFSET] [--device KIND DIRECTORY]
// SIGTERM closes in order, SIGUSR1 aborts, SIGUSR2 freezes (requests are taken and never answered), SIGHUP
// doubles the size.
#include <signal.h>
#include <sys/signalfd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "src/mirror/export_choice.h"
#include "src/mirror/file_device.h"

namespace baton::mirror {
namespace {

/// What stands in for the mirror: requests go straight to the file.
class FileServer {
 public:
  FileServer(Ring& ring, BufferPool& pool, BlockDevice& device, uint64_t fail_at)
      : ring_(ring), pool_(pool), device_(device), fail_at_(fail_at) {}

  void serve(const ClientRequest& request) {
    if (frozen) return;
    const auto ended = [this, request](int error) { done(request, error); };
    switch (request.kind) {
      case RequestKind::kRead:
        if (fail_at_ / kBlockBytes - request.range.first < request.range.count) return later(request, EIO);
        return device_.read(request.range, pool_.data(request.buffer), ended);
      case RequestKind::kWrite:
        return device_.write(request.range, pool_.data(request.buffer), ended);
      case RequestKind::kFlush:
        return device_.flush(ended);
      case RequestKind::kZero:
        return device_.zero(request.range, request.unmap, ended);
    }
  }

  std::function<void(RequestId, bool)> complete;
  bool frozen = false;

 private:
  void later(const ClientRequest& request, int error) {
    ring_.after(Duration::zero(), [this, request, error] { done(request, error); });
  }
  void done(const ClientRequest& request, int error) {
    if (request.force_unit_access && error == 0) {
      ClientRequest plain = request;
      plain.force_unit_access = false;
      return device_.flush([this, plain](int failed) { done(plain, failed); });
    }
    if (request.buffer != 0) pool_.release(request.buffer);
    complete(request.id, error == 0);
  }

  Ring& ring_;
  BufferPool& pool_;
  BlockDevice& device_;
  uint64_t fail_at_;
};

struct Options {
  const char* socket = nullptr;
  const char* file = nullptr;
  uint64_t size_bytes = 0;
  bool read_only = false;
  const char* kind = nullptr;  // of a device beside the socket
  const char* directory = nullptr;
  uint64_t fail_at = UINT64_MAX;
};

void say(const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); }

int watch_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP}) sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return signalfd(-1, &set, SFD_CLOEXEC);
}

int next_signal(int fd) {
  signalfd_siginfo information{};
  return read(fd, &information, sizeof information) == sizeof information
             ? static_cast<int>(information.ssi_signo)
             : 0;
}

int serve_socket(Ring& ring, BufferPool& pool, FileDevice& device, const Options& options) {
  FileServer files(ring, pool, device, options.fail_at);
  const NbdExport target{"test.disk", "a plain file", options.size_bytes, 0};
  auto server = options.read_only ? std::make_unique<NbdServer>(ring, pool, target, device, say)
                                  : std::make_unique<NbdServer>(
                                        ring, pool, target, kNbdSocketRequests,
                                        [&](const ClientRequest& request) { files.serve(request); }, say);
  files.complete = [&](RequestId id, bool ok) { server->complete(id, ok); };
  if (auto listening = server->listen(options.socket); !listening) return say(listening.error().message), 1;
  const int signals = watch_signals();
  std::function<void(int)> on_signal = [&](int) {
    switch (next_signal(signals)) {
      case SIGUSR1:
        server->abort();
        return ring.stop();
      case SIGUSR2:
        files.frozen = true;
        break;
      case SIGHUP:
        break;
      default:
        return server->close([&](const Status& closed) {
          if (!closed) say(closed.error().message);
          ring.stop();
        });
    }
    ring.poll(signals, POLLIN, [&](int) { on_signal(0); });
  };
  ring.poll(signals, POLLIN, [&](int) { on_signal(0); });
  std::puts("ready");
  std::fflush(stdout);
  ring.run([&] {
    server->flush();
    return kNever;
  });
  return 0;
}

int serve_device(Ring& ring, BufferPool& pool, FileDevice& device, const Options& options) {
  FileServer files(ring, pool, device, options.fail_at);
  uint64_t size_bytes = options.size_bytes;
  MirrorExport exported(
      ring, pool,
      {"test.disk", size_bytes, options.directory, options.kind, options.socket,
       options.read_only ? &device : nullptr},
      [&](const ClientRequest& request) { files.serve(request); },
      [&](const std::string& reason) { say("lost: " + reason), ring.stop(); }, say);
  files.complete = [&](RequestId id, bool ok) { exported.complete(id, ok); };
  exported.reclaim();
  exported.open([&](const Result<std::string>& path) {
    if (!path) return say(path.error().message), ring.stop();
    std::printf("%s %s: %s\n", path->c_str(), exported.kind().c_str(), exported.reason().c_str());
    std::fflush(stdout);
  });
  const int signals = watch_signals();
  std::function<void(int)> on_signal = [&](int) {
    const int number = next_signal(signals);
    if (number == SIGUSR1 || exported.state() != Export::State::kOpen) {
      exported.abort([&] {
        std::puts("aborted");
        ring.stop();
      });
    } else if (number == SIGUSR2) {
      files.frozen = true;
    } else if (number == SIGHUP) {
      size_bytes *= 2;
      if (auto grown = device.grow(size_bytes); !grown) say(grown.error().message);
      exported.grow(size_bytes, [&](const Status& grown) { say(grown ? "grown" : grown.error().message); });
    } else {
      exported.close([&](const Status& closed) {
        if (!closed) return say(closed.error().message);
        std::puts("closed");
        ring.stop();
      });
    }
    ring.poll(signals, POLLIN, [&](int) { on_signal(0); });
  };
  ring.poll(signals, POLLIN, [&](int) { on_signal(0); });
  ring.run([&] {
    exported.flush();
    return kNever;
  });
  return 0;
}

int run(const Options& options) {
  auto ring = Ring::create();
  BufferPool pool;
  if (!ring) return say(ring.error().message), 1;
  auto store = FileDevice::open(**ring, options.file, options.size_bytes);
  if (!store) return say(store.error().message), 1;
  return options.kind != nullptr ? serve_device(**ring, pool, *store->device, options)
                                 : serve_socket(**ring, pool, *store->device, options);
}

}  // namespace
}  // namespace baton::mirror

int main(int count, char** arguments) {
  baton::mirror::Options options;
  if (count < 4) {
    std::fprintf(stderr,
                 "baton-nbd-file SOCKET FILE SIZE_BYTES [--read-only] [--fail-reads-at OFFSET] "
                 "[--device auto|ublk|nbd|fuse DIRECTORY]\n");
    return 2;
  }
  options.socket = arguments[1];
  options.file = arguments[2];
  options.size_bytes = std::strtoull(arguments[3], nullptr, 10);
  for (int i = 4; i < count; ++i) {
    if (std::strcmp(arguments[i], "--read-only") == 0) options.read_only = true;
    if (std::strcmp(arguments[i], "--fail-reads-at") == 0 && i + 1 < count) {
      options.fail_at = std::strtoull(arguments[++i], nullptr, 10);
    }
    if (std::strcmp(arguments[i], "--device") == 0 && i + 2 < count) {
      options.kind = arguments[++i];
      options.directory = arguments[++i];
    }
  }
  return baton::mirror::run(options);
}
