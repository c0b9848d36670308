// batond's part of a recovery: a person's word to the node, and what is left of a server that was given up. One thread: the
// loop's. docs/protocol.md, "Recovery".
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <unistd.h>

#include <filesystem>

#include "src/daemon/daemon.h"
#include "src/daemon/wall_clock.h"
#include "src/os/file_text.h"

namespace baton {

namespace {

Status make_durable(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail("cannot open {}: {}", path, std::strerror(errno));
  const bool synced = ::fsync(fd) == 0;
  ::close(fd);
  if (!synced) return fail("cannot make {} durable: {}", path, std::strerror(errno));
  return {};
}

}  // namespace

void Daemon::recover(const std::string& author) {
  constexpr uint64_t kMostRounds = uint64_t{1} << 19;
  uint64_t rounds = 0;
  if (getrandom(&rounds, sizeof rounds, 0) != sizeof rounds) rounds = start_;
  feed(node::Recover{rounds % kMostRounds, author, wall_now_ms()});
}

void Daemon::stand_down(const node::StandDown& wanted) {
  if (wanted.survivor) {
    loop_.post([this, wanted] { begin_anew(wanted); });
    return;
  }
  const std::string mark = paths_.state_directory + kGivenUpMark;
  Status kept = replace_text_file(mark, fmt::format("epoch {}, told by server {}\n", wanted.lineage, wanted.by));
  if (kept) kept = make_durable(mark);
  if (kept) kept = make_durable(paths_.state_directory);
  // What cannot be written is heard again at the next start.
  if (!kept) spdlog::error("{}", kept.error().message);
}

/// A survivor: the log goes aside, the next start of batond catches up with the one that recovered.
void Daemon::begin_anew(const node::StandDown& wanted) {
  const std::string aside = fmt::format("{}/before-recovery-{}", paths_.state_directory, wanted.lineage);
  guard_.reset();
  GuardClient::forget_earlier_cluster(paths_.run_directory);
  std::error_code failed;
  std::filesystem::create_directories(aside, failed);
  for (const char* file : {"database.sqlite", "database.sqlite-wal", "database.sqlite-shm", "database.sqlite-journal"}) {
    std::error_code missing;
    if (std::filesystem::exists(paths_.state_directory + "/" + file, missing) && !failed)
      std::filesystem::rename(paths_.state_directory + "/" + file, aside + "/" + file, failed);
  }
  if (failed) spdlog::error("cannot move the database of before the recovery to {}: {}", aside, failed.message());
  loop_.stop();
}

std::vector<std::string> Daemon::recovery_problems() const {
  std::vector<std::string> problems;
  if (node_->gate().outdated()) problems.push_back(node_->partition_waiting(EventLoop::now()));
  if (node_->gate().given_up())
    problems.push_back(
        "this server was given up when the cluster was recovered without it: it works for nobody. To make it a server of the "
        "cluster again, move its database away and start batond (docs/operations.md), or remove it there and let it join anew");
  for (const ServerId server : node_->gate().refused())
    problems.push_back(fmt::format("{} is back, but was given up when the cluster was recovered: it is refused",
                                   node_->configuration().server_name(server)));
  return problems;
}

}  // namespace baton
