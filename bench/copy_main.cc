// baton-bench-copy: a plain copy of one store to another over TCP on this machine: a process that reads with direct I/O
// and sends, and one that receives and writes with direct I/O, several pieces under way at both, fdatasync at the end.
// The baseline of a full copy: no rules, no checks, no zero detection.
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "bench/bench_support.h"

namespace baton::bench {
namespace {

constexpr char kUsage[] = "baton-bench-copy FROM TO [--bytes 1048576] [--depth 8]   prints the seconds as JSON";

enum class Step : uint64_t { kDisk, kSocket };

uint64_t name_of(Step step, uint64_t slot) { return (slot << 1) | static_cast<uint64_t>(step); }

struct Plan {
  uint64_t size = 0;
  uint64_t piece = 0;
  uint64_t depth = 0;
  uint64_t pieces() const { return (size + piece - 1) / piece; }
  uint32_t bytes_of(uint64_t number) const { return static_cast<uint32_t>(std::min(piece, size - number * piece)); }
};

/// Reads pieces ahead, sends them in order.
void send_all(int socket, int fd, const Plan& plan, uint8_t* memory) {
  BareRing ring(static_cast<unsigned>(2 * plan.depth));
  std::vector<bool> ready(plan.depth, false);
  uint64_t read_begun = 0;
  uint64_t sent = 0;
  bool sending = false;
  while (sent < plan.pieces()) {
    while (read_begun < plan.pieces() && read_begun < sent + plan.depth) {
      const uint64_t slot = read_begun % plan.depth;
      ring.read(fd, memory + slot * plan.piece, plan.bytes_of(read_begun), read_begun * plan.piece,
                name_of(Step::kDisk, slot));
      ++read_begun;
    }
    const uint64_t slot = sent % plan.depth;
    if (!sending && ready[slot]) {
      ring.send(socket, memory + slot * plan.piece, plan.bytes_of(sent), name_of(Step::kSocket, slot));
      sending = true;
    }
    const uint64_t name = ring.wait().name;
    if (name == name_of(Step::kSocket, slot) && sending) {
      ready[slot] = sending = false;
      ++sent;
    } else {
      ready[name >> 1] = true;
    }
  }
}

/// Receives pieces in order, writes them as they come; flushes at the end.
void receive_all(int socket, int fd, const Plan& plan, uint8_t* memory) {
  BareRing ring(static_cast<unsigned>(2 * plan.depth));
  std::vector<bool> busy(plan.depth, false);
  uint64_t received = 0;
  uint64_t written = 0;
  bool receiving = false;
  while (written < plan.pieces()) {
    const uint64_t slot = received % plan.depth;
    if (!receiving && received < plan.pieces() && !busy[slot]) {
      ring.receive(socket, memory + slot * plan.piece, plan.bytes_of(received), name_of(Step::kSocket, slot));
      receiving = true;
    }
    const BareRing::Completion completion = ring.wait();
    if ((completion.name & 1) == static_cast<uint64_t>(Step::kDisk)) {
      busy[completion.name >> 1] = false;
      ++written;
      continue;
    }
    if (completion.result != plan.bytes_of(received)) give_up("the connection ended early");
    receiving = false;
    busy[slot] = true;
    ring.write(fd, memory + slot * plan.piece, plan.bytes_of(received), received * plan.piece,
               name_of(Step::kDisk, slot));
    ++received;
  }
  must_call(fdatasync(fd), "flushing the target");
}

int run(int argc, char** argv) {
  const Options options(argc, argv, {"--bytes=", "--depth="}, kUsage);
  if (options.files().size() != 2) give_up(std::string("usage: ") + kUsage);
  const DirectFile from = open_direct(options.files()[0], false);
  const DirectFile to = open_direct(options.files()[1], true);
  if (to.size < from.size) give_up(options.files()[1] + " is smaller than " + options.files()[0]);
  const Plan plan{from.size, options.number("--bytes", 1 << 20), options.number("--depth", 8)};
  const SocketPair pair = loopback_pair();
  uint8_t* memory = aligned_memory(plan.piece * plan.depth, 1);  // each process gets its own by fork()
  const Clock::time_point start = Clock::now();
  const pid_t sender = must_call(fork(), "starting the reader");
  if (sender == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    send_all(pair.client, from.fd, plan, memory);
    _exit(0);
  }
  receive_all(pair.server, to.fd, plan, memory);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  waitpid(sender, nullptr, 0);
  fmt::print("{{\"bytes\": {}, \"seconds\": {:.4f}, \"mib_per_second\": {:.1f}}}\n", plan.size, seconds,
             static_cast<double>(plan.size) / seconds / (1 << 20));
  return 0;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) { return baton::bench::run(argc, argv); }
