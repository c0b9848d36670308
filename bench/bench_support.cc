// Plain calls; nothing here runs inside a measured loop but the ring's few lines.
#include "bench/bench_support.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace baton::bench {

void give_up(const std::string& text) {
  fmt::print(stderr, "{}\n", text);
  std::exit(1);
}

int must(int result, const std::string& what) {
  if (result < 0) give_up(fmt::format("{} failed: {}", what, std::strerror(-result)));
  return result;
}

int must_call(int result, const std::string& what) { return must(result < 0 ? -errno : result, what); }

// ---- Options ----

Options::Options(int argc, char** argv, std::vector<std::string> known, const std::string& usage) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.rfind("--", 0) != 0) {
      files_.push_back(word);
      continue;
    }
    // A name that ends in "=" takes a value.
    const bool flag = std::find(known.begin(), known.end(), word) != known.end();
    const bool valued = std::find(known.begin(), known.end(), word + "=") != known.end();
    if (!flag && !(valued && i + 1 < argc)) give_up(fmt::format("{}: not understood\nusage: {}", word, usage));
    values_.emplace_back(word, flag ? "1" : argv[++i]);
  }
  if (files_.empty()) give_up("usage: " + usage);
}

uint64_t Options::number(const std::string& name, uint64_t otherwise) const {
  for (const auto& [given, value] : values_) {
    if (given != name) continue;
    char* end = nullptr;
    const uint64_t number = std::strtoull(value.c_str(), &end, 10);
    if (value.empty() || *end != 0) give_up(fmt::format("{} {}: not a number", name, value));
    return number;
  }
  return otherwise;
}

std::string Options::text(const std::string& name, const std::string& otherwise) const {
  for (const auto& [given, value] : values_)
    if (given == name) return value;
  return otherwise;
}

bool Options::flag(const std::string& name) const { return number(name, 0) != 0; }

// ---- The ring ----

BareRing::BareRing(unsigned entries) {
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  int result = io_uring_queue_init_params(entries, &ring_, &parameters);
  if (result == -EINVAL) result = io_uring_queue_init(entries, &ring_, 0);  // a kernel before 6.1
  must(result, "setting up io_uring");
}

BareRing::~BareRing() { io_uring_queue_exit(&ring_); }

io_uring_sqe* BareRing::entry() {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  if (entry == nullptr) give_up("more operations at once than the ring has room for");
  return entry;
}

void BareRing::write(int fd, const void* data, uint32_t size, uint64_t offset, uint64_t name) {
  io_uring_sqe* sqe = entry();
  io_uring_prep_write(sqe, fd, data, size, offset);
  io_uring_sqe_set_data64(sqe, name);
}

void BareRing::read(int fd, void* data, uint32_t size, uint64_t offset, uint64_t name) {
  io_uring_sqe* sqe = entry();
  io_uring_prep_read(sqe, fd, data, size, offset);
  io_uring_sqe_set_data64(sqe, name);
}

void BareRing::fdatasync(int fd, uint64_t name) {
  io_uring_sqe* sqe = entry();
  io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
  io_uring_sqe_set_data64(sqe, name);
}

void BareRing::send(int socket, const void* data, size_t size, uint64_t name) {
  io_uring_sqe* sqe = entry();
  io_uring_prep_send(sqe, socket, data, size, MSG_WAITALL | MSG_NOSIGNAL);
  io_uring_sqe_set_data64(sqe, name);
}

void BareRing::receive(int socket, void* data, size_t size, uint64_t name) {
  io_uring_sqe* sqe = entry();
  io_uring_prep_recv(sqe, socket, data, size, MSG_WAITALL);
  io_uring_sqe_set_data64(sqe, name);
}

bool BareRing::poll(Completion& completion) {
  io_uring_cqe* cqe = nullptr;
  if (io_uring_peek_cqe(&ring_, &cqe) != 0 || cqe == nullptr) return false;
  completion.name = io_uring_cqe_get_data64(cqe);
  const int result = cqe->res;
  io_uring_cqe_seen(&ring_, cqe);
  completion.result = static_cast<uint32_t>(must(result, fmt::format("operation {:#x}", completion.name)));
  return true;
}

BareRing::Completion BareRing::wait() {
  Completion completion;
  while (!poll(completion)) {
    if (looking_) sched_yield();
    const int result = looking_ ? io_uring_submit_and_get_events(&ring_) : io_uring_submit_and_wait(&ring_, 1);
    if (result != -EINTR) must(result, "waiting on io_uring");
  }
  return completion;
}

// ---- Files ----

uint64_t Positions::below(uint64_t limit) {
  state_ ^= state_ << 13;
  state_ ^= state_ >> 7;
  state_ ^= state_ << 17;
  return (state_ >> 11) % limit;
}

uint8_t* aligned_memory(size_t size, uint64_t seed) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kPieceBytes, size) != 0) give_up("out of memory");
  Positions random(seed + 0x9e3779b97f4a7c15);
  auto* words = static_cast<uint64_t*>(memory);
  for (size_t i = 0; i < size / sizeof(uint64_t); ++i) words[i] = random.below(~uint64_t{0});
  return static_cast<uint8_t*>(memory);
}

DirectFile open_direct(const std::string& path, bool writing) {
  DirectFile file;
  file.fd = must_call(::open(path.c_str(), (writing ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC), "opening " + path);
  struct stat status {};
  must_call(fstat(file.fd, &status), "looking at " + path);
  file.size = static_cast<uint64_t>(status.st_size);
  if (S_ISBLK(status.st_mode)) must_call(ioctl(file.fd, BLKGETSIZE64, &file.size), "asking for the size of " + path);
  return file;
}

void fill_file(const std::string& path, uint64_t size) {
  constexpr uint64_t kChunk = 1 << 20;
  constexpr uint64_t kDepth = 8;
  const int fd = must_call(::open(path.c_str(), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600), "making " + path);
  must_call(posix_fallocate(fd, 0, static_cast<off_t>(size)) == 0 ? 0 : -1, "reserving room for " + path);
  BareRing ring(kDepth);
  uint8_t* memory = aligned_memory(kChunk * kDepth, Clock::now().time_since_epoch().count());
  uint64_t begun = 0;
  uint64_t under_way = 0;
  while (begun < size || under_way > 0) {
    if (begun < size && under_way < kDepth) {
      // Each chunk differs from the others: nothing below may take two for one.
      uint8_t* chunk = memory + begun / kChunk % kDepth * kChunk;
      std::memcpy(chunk, &begun, sizeof begun);
      const auto bytes = static_cast<uint32_t>(std::min(kChunk, size - begun));
      ring.write(fd, chunk, bytes, begun, begun);
      begun += bytes;
      ++under_way;
      continue;
    }
    // In order enough: a chunk's memory is used again only when all of its round have ended.
    while (under_way > 0) {
      ring.wait();
      --under_way;
    }
  }
  must_call(fsync(fd), "syncing " + path);
  close(fd);
}

// ---- Sockets ----

SocketPair loopback_pair() {
  const int listener = must_call(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "making a socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  must_call(bind(listener, plain, size), "binding to 127.0.0.1");
  must_call(listen(listener, 1), "listening");
  must_call(getsockname(listener, plain, &size), "asking for the port");
  SocketPair pair;
  pair.client = must_call(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "making a socket");
  must_call(connect(pair.client, plain, size), "connecting over 127.0.0.1");
  pair.server = must_call(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accepting");
  close(listener);
  const int on = 1;
  for (const int socket : {pair.client, pair.server}) {
    must_call(setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setting TCP_NODELAY");
  }
  return pair;
}

// ---- Figures ----

void Figures::print(Clock::duration whole, uint64_t bytes_each) {
  if (nanoseconds_.empty()) give_up("not one operation ended within the time");
  const double seconds = std::chrono::duration<double>(whole).count();
  const auto count = static_cast<double>(nanoseconds_.size());
  double sum = 0;
  for (const uint64_t each : nanoseconds_) sum += static_cast<double>(each);
  std::sort(nanoseconds_.begin(), nanoseconds_.end());
  const auto at = [&](double share) {
    return static_cast<double>(nanoseconds_[static_cast<size_t>(share * (count - 1))]) / 1000;
  };
  fmt::print("{{\"operations\": {}, \"seconds\": {:.6f}, \"iops\": {:.1f}, \"mib_per_second\": {:.2f}, "
             "\"mean_us\": {:.2f}, \"median_us\": {:.2f}, \"p99_us\": {:.2f}}}\n",
             nanoseconds_.size(), seconds, count / seconds,
             count * static_cast<double>(bytes_each) / seconds / (1 << 20), sum / count / 1000, at(0.5), at(0.99));
}

}  // namespace baton::bench
