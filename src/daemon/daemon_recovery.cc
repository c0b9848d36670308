// batond's part of a recovery: a person's word to the node, and what is left of a server that was given up. One thread: the
// loop's. docs/protocol.md, "Recovery".
#include <spdlog/spdlog.h>
#include <sys/random.h>

#include <filesystem>

#include "src/daemon/daemon.h"
#include "src/daemon/durable.h"
#include "src/daemon/wall_clock.h"
#include "src/os/file_text.h"

namespace baton {

void Daemon::recover(const std::string& author) {
  constexpr uint64_t kMostRounds = uint64_t{1} << 19;
  uint64_t rounds = 0;
  if (getrandom(&rounds, sizeof rounds, 0) != sizeof rounds) rounds = start_;
  feed(node::Recover{rounds % kMostRounds, author, wall_now_ms()});
}

/// Durable before batond ends. What cannot be written is heard again at the next start.
Status Daemon::keep_mark(const char* name, const std::string& text) {
  const std::string mark = paths_.state_directory + name;
  if (auto written = replace_text_file(mark, text); !written) return written;
  if (auto kept = make_durable(mark); !kept) return kept;
  return make_durable(paths_.state_directory);
}

void Daemon::stand_down(const node::StandDown& wanted) {
  const Status kept = wanted.survivor
                          ? keep_mark(kBeginAnewMark, fmt::format("{}", wanted.lineage))
                          : keep_mark(kGivenUpMark, fmt::format("epoch {}, told by server {}\n", wanted.lineage, wanted.by));
  if (!kept) return spdlog::error("{}", kept.error().message);
  if (!wanted.survivor) return;
  start_anew_ = true;
  loop_.stop();
}

/// Repeated after a crash it moves what is left.
Status Daemon::put_database_aside(const std::string& aside) {
  std::error_code failed;
  std::filesystem::create_directories(aside, failed);
  for (const char* file : {"/database.sqlite", "/database.sqlite-wal", "/database.sqlite-shm", "/database.sqlite-journal"}) {
    std::error_code missing;
    if (!failed && std::filesystem::exists(paths_.state_directory + file, missing))
      std::filesystem::rename(paths_.state_directory + file, aside + file, failed);
  }
  if (failed) return fail("cannot move the database of before to {}: {}", aside, failed.message());
  if (auto moved = make_durable(aside); !moved) return moved;
  return make_durable(paths_.state_directory);
}

/// A survivor: the log goes aside, and what its guard kept of it; it catches up with the one that recovered. A crash leaves the
/// mark until all of it is done.
Status Daemon::begin_anew() {
  const std::string mark = paths_.state_directory + kBeginAnewMark;
  if (!std::filesystem::exists(mark)) return {};
  const auto lineage = read_text_file(mark);
  if (!lineage) return pass(lineage);
  if (auto moved = put_database_aside(paths_.state_directory + "/before-recovery-" + *lineage); !moved) return moved;
  GuardClient::forget_earlier_cluster(paths_.run_directory);
  std::error_code failed;
  std::filesystem::remove(mark, failed);
  return {};
}

/// Whoever has no database any more holds nothing of what was given up, nor does his guard.
void Daemon::forget_that_it_was_given_up() {
  std::error_code ignored;
  if (std::filesystem::exists(paths_.state_directory + "/database.sqlite", ignored)) return;
  if (std::filesystem::remove(paths_.state_directory + kGivenUpMark, ignored)) GuardClient::forget_earlier_cluster(paths_.run_directory);
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
