// baton-bench-floor: the least that a mirror write at depth 1 can take on one machine: a local write in parallel with a
// TCP round trip to a second process that writes the same 4 KiB to its file before it answers. No protocol, no rules.
// With --flush the same with fdatasync on both sides; with --look both look for completions instead of sleeping. io_uring on
// both sides, as in the mirror daemon.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "bench/bench_support.h"

namespace baton::bench {
namespace {

constexpr char kUsage[] = "baton-bench-floor FILE PEERS_FILE [--flush] [--look] [--milliseconds 2000] [--area BYTES]";

enum Name : uint64_t { kWrite = 1, kSend, kReceive, kFlush };

/// What goes to the peer: where to, and the data. A request without data asks for a flush.
struct Head {
  uint64_t offset = 0;
  uint64_t flush = 0;
};
constexpr size_t kFrameBytes = sizeof(Head) + kPieceBytes;

/// Memory whose data part is aligned, with a head right before it.
uint8_t* frame_memory() { return aligned_memory(2 * kPieceBytes, 7) + kPieceBytes - sizeof(Head); }

/// The second process: receives a frame, writes it, answers; until the other side hangs up.
void serve(int socket, const std::string& path, bool look) {
  const DirectFile file = open_direct(path, true);
  BareRing ring(8);
  if (look) ring.look();
  uint8_t* frame = frame_memory();
  uint64_t answer = 0;
  while (true) {
    ring.receive(socket, frame, kFrameBytes, kReceive);
    BareRing::Completion completion = ring.wait();
    while (completion.name != kReceive) completion = ring.wait();  // the last answer's own end
    if (completion.result == 0) return;
    Head head;
    std::memcpy(&head, frame, sizeof head);
    if (head.flush != 0) {
      ring.fdatasync(file.fd, kFlush);
    } else {
      ring.write(file.fd, frame + sizeof head, kPieceBytes, head.offset, kWrite);
    }
    completion = ring.wait();
    while (completion.name == kSend) completion = ring.wait();
    ring.send(socket, &answer, sizeof answer, kSend);
  }
}

/// One round: our own part and the peer's, both done at the end.
void round(BareRing& ring, int socket, const DirectFile& file, uint8_t* frame, const Head& head) {
  uint64_t answer = 0;
  std::memcpy(frame, &head, sizeof head);
  ring.send(socket, frame, kFrameBytes, kSend);
  if (head.flush != 0) {
    ring.fdatasync(file.fd, kFlush);
  } else {
    ring.write(file.fd, frame + sizeof head, kPieceBytes, head.offset, kWrite);
  }
  ring.receive(socket, &answer, sizeof answer, kReceive);
  for (int i = 0; i < 3; ++i) ring.wait();
}

void measure(int socket, const Options& options) {
  const DirectFile file = open_direct(options.files()[0], true);
  const bool flush = options.flag("--flush");
  const uint64_t area = std::min(file.size, options.number("--area", file.size)) / kPieceBytes;
  BareRing ring(8);
  if (options.flag("--look")) ring.look();
  uint8_t* frame = frame_memory();
  Positions positions(static_cast<uint64_t>(Clock::now().time_since_epoch().count()));
  Figures figures;
  figures.begin(1 << 20);
  const Clock::time_point start = Clock::now();
  const Clock::time_point end = start + std::chrono::milliseconds(options.number("--milliseconds", 2000));
  Clock::time_point before = start;
  while (before < end) {
    round(ring, socket, file, frame, {positions.below(area) * kPieceBytes, 0});
    if (flush) round(ring, socket, file, frame, {0, 1});
    const Clock::time_point now = Clock::now();
    figures.add(now - before);
    before = now;
  }
  figures.print(before - start, kPieceBytes);
}

int run(int argc, char** argv) {
  const Options options(argc, argv, {"--flush", "--look", "--milliseconds=", "--area="}, kUsage);
  if (options.files().size() != 2) give_up(std::string("usage: ") + kUsage);
  const SocketPair pair = loopback_pair();
  const pid_t peer = must_call(fork(), "starting the second process");
  if (peer == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(pair.client);
    serve(pair.server, options.files()[1], options.flag("--look"));
    _exit(0);
  }
  close(pair.server);
  measure(pair.client, options);
  fflush(stdout);
  close(pair.client);
  waitpid(peer, nullptr, 0);
  return 0;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) { return baton::bench::run(argc, argv); }
