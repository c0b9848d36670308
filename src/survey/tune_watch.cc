// The watching of tune.h: a thread for each thing, all at the same time, since a busy network makes late timers, too.
#include <fcntl.h>
#include <netinet/ip_icmp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <thread>

#include "src/survey/icmp_socket.h"
#include "src/survey/tune.h"

namespace baton::survey {
namespace {

constexpr int64_t kTimerInterval = 1000000;  // nanoseconds
constexpr auto kPingInterval = 10ms;
constexpr auto kPingLimit = 1000ms;
constexpr auto kFlushInterval = 25ms;
constexpr size_t kPingBytes = 256;  // about a token's size
constexpr int kRealTimePriority = 50;

int64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000 + time.tv_nsec;
}

/// Sleeps to one deadline after the other and notes how late it wakes. Deadlines missed meanwhile are not caught up with: one
/// pause counts once.
void watch_timers(int64_t until, Distribution& lateness) {
  prctl(PR_SET_TIMERSLACK, 1);
  int64_t due = now_ns() + kTimerInterval;
  while (due < until) {
    const timespec deadline{due / 1000000000, due % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr);
    const int64_t now = now_ns();
    lateness.add((now - due) / 1000);
    due = std::max(due, now) + kTimerInterval;
  }
}

/// Empty: it has the priority.
std::string become_real_time() {
  sched_param wanted{};
  wanted.sched_priority = kRealTimePriority;
  const int error = pthread_setschedparam(pthread_self(), SCHED_RR, &wanted);
  return error == 0 ? "" : strerror(error);
}

void watch_network(int64_t until, const std::string& from, const std::string& to, NetworkFigures& figures) {
  IcmpSocket socket(from, to);
  if (!socket.good()) return;
  while (now_ns() < until) {
    const int64_t begin = now_ns();
    ++figures.sent;
    if (socket.echo(kPingBytes, kPingLimit)) {
      figures.round_trip.add((now_ns() - begin) / 1000);
    } else {
      ++figures.lost;
    }
    std::this_thread::sleep_for(kPingInterval);
  }
}

void watch_flushes(int64_t until, TuneFigures& figures) {
  std::string path = figures.flush_directory + "/.baton-tune-XXXXXX";
  const int fd = mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) {
    figures.why_no_flush = strerror(errno);
    return;
  }
  unlink(path.c_str());
  const std::string block(4096, 'b');
  off_t place = 0;
  while (now_ns() < until) {
    const int64_t begin = now_ns();
    if (pwrite(fd, block.data(), block.size(), place) < 0 || fdatasync(fd) != 0) {
      figures.why_no_flush = strerror(errno);
      break;
    }
    figures.flush.add((now_ns() - begin) / 1000);
    place = (place + 4096) % (4 << 20);
    std::this_thread::sleep_for(kFlushInterval);
  }
  close(fd);
}

}  // namespace

TuneFigures watch(const TuneOptions& options) {
  TuneFigures figures;
  figures.watched = options.duration;
  figures.flush_directory = options.state_directory;
  const int64_t until = now_ns() + options.duration.count() * 1000000000;
  const auto* self = options.configuration == nullptr ? nullptr : options.configuration->server(options.self);
  std::vector<std::pair<std::string, std::string>> ways;
  for (const auto& server : self == nullptr ? std::vector<ServerConfiguration>{} : options.configuration->servers) {
    if (server.id == options.self) continue;
    for (size_t link = 0; link < self->interconnects.size(); ++link) {
      figures.network.push_back({server.name, static_cast<uint32_t>(link), 0, 0, {}});
      ways.emplace_back(self->interconnects[link], server.interconnects[link]);
    }
  }
  std::vector<std::thread> threads;
  threads.emplace_back([&] { watch_timers(until, figures.normal); });
  threads.emplace_back([&] {
    figures.why_no_real_time = become_real_time();
    figures.has_real_time = figures.why_no_real_time.empty();
    if (figures.has_real_time) watch_timers(until, figures.real_time);
  });
  threads.emplace_back([&] { watch_flushes(until, figures); });
  for (size_t way = 0; way < ways.size(); ++way)
    threads.emplace_back([&, way] { watch_network(until, ways[way].first, ways[way].second, figures.network[way]); });
  for (auto& thread : threads) thread.join();
  return figures;
}

}  // namespace baton::survey
