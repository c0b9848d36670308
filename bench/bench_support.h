// What the benchmark's baseline programs share: a bare ring, aligned memory, direct-I/O files, a TCP pair over the
// loopback interface, and the figures of a run. One thread each; every error ends the program with a message.
#pragma once

#include <fmt/format.h>
#include <liburing.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace baton::bench {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kPieceBytes = 4096;

/// Prints the text and ends the program with status 1.
[[noreturn]] void give_up(const std::string& text);
/// Ends the program when `result` is negative: -errno of what `what` names.
int must(int result, const std::string& what);
/// Ends the program when the system call returned -1.
int must_call(int result, const std::string& what);

/// `NAME VALUE` options after the positional arguments; unknown ones end the program.
class Options {
 public:
  Options(int argc, char** argv, std::vector<std::string> known, const std::string& usage);
  const std::vector<std::string>& files() const { return files_; }
  uint64_t number(const std::string& name, uint64_t otherwise) const;
  std::string text(const std::string& name, const std::string& otherwise) const;
  bool flag(const std::string& name) const;

 private:
  std::vector<std::string> files_;
  std::vector<std::pair<std::string, std::string>> values_;
};

/// A ring as the mirror daemon sets its own up: one issuer, completions taken when it waits.
class BareRing {
 public:
  explicit BareRing(unsigned entries);
  ~BareRing();
  BareRing(const BareRing&) = delete;
  BareRing& operator=(const BareRing&) = delete;

  io_uring_sqe* entry();
  void write(int fd, const void* data, uint32_t size, uint64_t offset, uint64_t name);
  void read(int fd, void* data, uint32_t size, uint64_t offset, uint64_t name);
  void fdatasync(int fd, uint64_t name);
  void send(int socket, const void* data, size_t size, uint64_t name);
  /// All of `size` bytes.
  void receive(int socket, void* data, size_t size, uint64_t name);
  /// Submits what was begun, waits for one completion; ends the program when it failed.
  struct Completion {
    uint64_t name = 0;
    uint32_t result = 0;
  };
  Completion wait();
  /// From now on wait() looks for completions instead of sleeping, and gives way to others meanwhile.
  void look() { looking_ = true; }
  /// The same, but without waiting; false: nothing there.
  bool poll(Completion& completion);

 private:
  io_uring ring_{};
  bool looking_ = false;
};

/// Memory for direct I/O, filled with bytes that do not compress. Never given back.
uint8_t* aligned_memory(size_t size, uint64_t seed);

/// A file (or block device) that exists, by direct I/O.
struct DirectFile {
  int fd = -1;
  uint64_t size = 0;
};
DirectFile open_direct(const std::string& path, bool writing);
/// The file exists and has been written from end to end, with `size` bytes that do not compress.
void fill_file(const std::string& path, uint64_t size);

/// Two connected TCP sockets over 127.0.0.1, without Nagle's delay.
struct SocketPair {
  int client = -1;
  int server = -1;
};
SocketPair loopback_pair();

/// A sequence of positions that never repeats soon: xorshift.
class Positions {
 public:
  explicit Positions(uint64_t seed) : state_(seed | 1) {}
  uint64_t below(uint64_t limit);

 private:
  uint64_t state_;
};

/// How long each operation took.
class Figures {
 public:
  void begin(uint64_t most) { nanoseconds_.reserve(most); }
  void add(Clock::duration duration) { nanoseconds_.push_back(static_cast<uint64_t>(duration.count())); }
  /// One JSON object on standard output.
  void print(Clock::duration whole, uint64_t bytes_each);

 private:
  std::vector<uint64_t> nanoseconds_;
};

}  // namespace baton::bench
