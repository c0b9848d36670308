// baton-bench-local: the mirror daemon's own NBD server over one or two files of this machine, without core and network:
// the same export and the same disk work as a mirror's primary with a second local leg. Ends with SIGTERM.
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "src/mirror/file_device.h"
#include "src/mirror/nbd_server.h"

namespace baton::mirror {
namespace {

/// Writes go to every file and end when all have ended; reads to the first, as a mirror's do.
class Legs {
 public:
  Legs(BufferPool& pool, std::vector<std::unique_ptr<FileDevice>> files) : pool_(pool), files_(std::move(files)) {}

  void serve(const ClientRequest& request) {
    uint8_t* data = request.buffer != 0 ? pool_.data(request.buffer) : nullptr;
    if (request.kind == RequestKind::kRead) {
      return files_.front()->read(request.range, data, [this, request](int error) { done(request, error == 0); });
    }
    const auto left = std::make_shared<std::pair<size_t, bool>>(files_.size(), true);
    for (const auto& file : files_) {
      const auto ended = [this, request, left](int error) {
        left->second = left->second && error == 0;
        if (--left->first == 0) all_done(request, left->second);
      };
      switch (request.kind) {
        case RequestKind::kWrite:
          file->write(request.range, data, ended);
          break;
        case RequestKind::kZero:
          file->zero(request.range, request.unmap, ended);
          break;
        default:
          file->flush(ended);
      }
    }
  }

  std::function<void(RequestId, bool)> complete;

 private:
  void all_done(const ClientRequest& request, bool ok) {
    if (!ok || !request.force_unit_access) return done(request, ok);
    ClientRequest flush = request;
    flush.kind = RequestKind::kFlush;
    flush.force_unit_access = false;
    serve(flush);
  }
  void done(const ClientRequest& request, bool ok) {
    if (request.buffer != 0) pool_.release(request.buffer);
    complete(request.id, ok);
  }

  BufferPool& pool_;
  std::vector<std::unique_ptr<FileDevice>> files_;
};

int give_up(const std::string& text) {
  fmt::print(stderr, "{}\n", text);
  return 1;
}

int run(const std::string& socket, uint64_t size_bytes, const std::vector<std::string>& paths) {
  auto ring = Ring::create();
  if (!ring) return give_up(ring.error().message);
  BufferPool pool;
  std::vector<std::unique_ptr<FileDevice>> files;
  for (const std::string& path : paths) {
    auto opened = FileDevice::open(**ring, path, size_bytes);
    if (!opened) return give_up(opened.error().message);
    files.push_back(std::move(opened->device));
  }
  Legs legs(pool, std::move(files));
  NbdServer server(
      **ring, pool, NbdExport{"bench.local", "files without a mirror", size_bytes, 0}, kNbdSocketRequests,
      [&](const ClientRequest& request) { legs.serve(request); }, [](const std::string&) {});
  legs.complete = [&](RequestId request, bool ok) { server.complete(request, ok); };
  if (auto listening = server.listen(socket); !listening) return give_up(listening.error().message);
  (*ring)->run([&] {
    server.flush();
    return kNever;
  });
  return 0;
}

}  // namespace
}  // namespace baton::mirror

int main(int count, char** arguments) {
  if (count < 4) {
    return baton::mirror::give_up("usage: baton-bench-local SOCKET BYTES FILE [FILE2]");
  }
  return baton::mirror::run(arguments[1], std::strtoull(arguments[2], nullptr, 10), {arguments + 3, arguments + count});
}
