// baton-bench-files: writes to one raw file, or to two at once (each request to both, done when both are): the floor
// of any mirror whose copies share one machine. Also fills files. One thread, one ring, direct I/O.
#include <memory>

#include "bench/bench_support.h"

namespace baton::bench {
namespace {

constexpr char kUsage[] =
    "baton-bench-files FILE [FILE2] [--depth N] [--bytes 4096] [--sequential] [--flush] [--milliseconds 2000]\n"
    "       [--area BYTES]   one JSON object; --flush: each write is followed by fdatasync; --area: of the file\n"
    "       baton-bench-files --fill BYTES FILE ...   writes the files from end to end";

struct Request {
  uint64_t offset = 0;
  uint32_t parts_left = 0;
  bool flushing = false;
  Clock::time_point begun;
  uint8_t* data = nullptr;
};

class Writer {
 public:
  Writer(const Options& options)
      : depth_(options.number("--depth", 1)),
        bytes_(static_cast<uint32_t>(options.number("--bytes", kPieceBytes))),
        sequential_(options.flag("--sequential")),
        flush_(options.flag("--flush")),
        duration_(std::chrono::milliseconds(options.number("--milliseconds", 2000))),
        ring_(static_cast<unsigned>(2 * depth_)),
        positions_(static_cast<uint64_t>(Clock::now().time_since_epoch().count())) {
    for (const std::string& path : options.files()) files_.push_back(open_direct(path, true));
    area_ = files_.front().size;
    for (const DirectFile& file : files_) area_ = std::min(area_, file.size);
    area_ = std::min(area_, options.number("--area", area_)) / bytes_;
    if (area_ == 0 || depth_ == 0) give_up("the files are smaller than one request");
  }

  void run() {
    std::vector<Request> requests(depth_);
    figures_.begin(1 << 20);
    const Clock::time_point start = Clock::now();
    end_ = start + duration_;
    for (size_t i = 0; i < requests.size(); ++i) {
      requests[i].data = aligned_memory(bytes_, i);
      begin(requests[i]);
    }
    while (under_way_ > 0) {
      auto& request = *reinterpret_cast<Request*>(ring_.wait().name);
      if (--request.parts_left == 0) part_done(request);
    }
    figures_.print(Clock::now() - start, bytes_);
  }

 private:
  void begin(Request& request) {
    ++under_way_;
    request.offset = (sequential_ ? next_++ % area_ : positions_.below(area_)) * bytes_;
    request.flushing = false;
    request.parts_left = static_cast<uint32_t>(files_.size());
    request.begun = Clock::now();
    const auto name = reinterpret_cast<uint64_t>(&request);
    for (const DirectFile& file : files_) ring_.write(file.fd, request.data, bytes_, request.offset, name);
  }

  void part_done(Request& request) {
    if (flush_ && !request.flushing) {
      request.flushing = true;
      request.parts_left = static_cast<uint32_t>(files_.size());
      for (const DirectFile& file : files_) ring_.fdatasync(file.fd, reinterpret_cast<uint64_t>(&request));
      return;
    }
    const Clock::time_point now = Clock::now();
    figures_.add(now - request.begun);
    --under_way_;
    if (now < end_) begin(request);
  }

  const uint64_t depth_;
  const uint32_t bytes_;
  const bool sequential_;
  const bool flush_;
  const Clock::duration duration_;
  BareRing ring_;
  Positions positions_;
  std::vector<DirectFile> files_;
  uint64_t area_ = 0;  // in requests
  uint64_t next_ = 0;
  uint64_t under_way_ = 0;
  Clock::time_point end_;
  Figures figures_;
};

int run(int argc, char** argv) {
  const Options options(argc, argv,
                        {"--depth=", "--bytes=", "--sequential", "--flush", "--milliseconds=", "--area=", "--fill="},
                        kUsage);
  if (const uint64_t size = options.number("--fill", 0); size > 0) {
    for (const std::string& path : options.files()) fill_file(path, size);
    return 0;
  }
  std::make_unique<Writer>(options)->run();
  return 0;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) { return baton::bench::run(argc, argv); }
