// The commands run in a helper's child, so that one that hangs holds up nothing.
#include "src/mirror/snapshot_volume.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/mirror/forked_task.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {
namespace {

constexpr Duration kLimit = 120s;
constexpr char kSuffix[] = "before-copy";

struct Outcome {
  int status = -1;
  std::string output;
};

/// Runs it to its end; what it says is kept for the error's text.
Outcome run_command(const std::vector<std::string>& command) {
  Outcome outcome;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {-1, errno_text()};
  OwnedFd reading(ends[0]), writing(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    dup2(writing.get(), 1);
    dup2(writing.get(), 2);
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    execvp(words[0], words.data());
    _exit(127);
  }
  writing.close();
  char buffer[512];
  for (ssize_t size; (size = ::read(reading.get(), buffer, sizeof buffer)) > 0;) {
    if (outcome.output.size() < 1024) outcome.output.append(buffer, static_cast<size_t>(size));
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return {-1, "cannot be started: " + errno_text()};
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return outcome;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

void answer(TaskChannel& channel, const std::vector<std::string>& command) {
  const Outcome outcome = run_command(command);
  channel.answer(outcome.status == 0,
                 fmt::format("`{}` ended with {}: {}", joined(command), outcome.status, outcome.output));
}

ForkedTask::Answered tell(Snapshot::Done done) {
  return [done = std::move(done)](const TaskAnswer& answer) {
    if (answer.ok) return done({});
    done(fail("{}", answer.text));
  };
}

}  // namespace

std::optional<VolumeSnapshot::Commands> VolumeSnapshot::commands_of(const std::string& store) {
  constexpr std::string_view kZvol = "/dev/zvol/";
  if (store.starts_with(kZvol)) {
    const std::string kept = store.substr(kZvol.size()) + "@" + kSuffix;
    return Commands{kept, {"zfs", "list", "-H", "-t", "snapshot", kept}, {"zfs", "snapshot", kept},
                    {"zfs", "rollback", kept}, {"zfs", "destroy", kept}};
  }
  // /dev/VG/LV, a link into /dev/mapper's nodes.
  if (!store.starts_with("/dev/") || store.starts_with("/dev/mapper/")) return std::nullopt;
  const std::string volume = store.substr(5);
  const size_t slash = volume.find('/');
  char target[512];
  const ssize_t length = readlink(store.c_str(), target, sizeof target);
  const bool mapped = length > 0 && std::string_view(target, static_cast<size_t>(length)).find("dm-") != std::string::npos;
  if (slash == std::string::npos || slash == 0 || volume.find('/', slash + 1) != std::string::npos || !mapped) {
    return std::nullopt;
  }
  const std::string kept = volume + "-" + kSuffix;
  // A merge waits until the origin is closed: it cannot be done under an open store.
  return Commands{kept, {"lvs", "--noheadings", kept},
                  {"lvcreate", "--yes", "--snapshot", "--name", kept.substr(slash + 1), volume}, {},
                  {"lvremove", "--yes", kept}};
}

void VolumeSnapshot::take(Done done) {
  ForkedTask::start(ring_, "keeping " + name(), {}, kLimit, [commands = commands_](TaskChannel& channel) {
    // What an earlier copy has left is not the state before this one.
    if (run_command(commands.present).status == 0) {
      const Outcome dropped = run_command(commands.drop);
      if (dropped.status != 0) {
        return channel.answer(false, fmt::format("`{}` ended with {}: {}", joined(commands.drop), dropped.status,
                                                 dropped.output));
      }
    }
    answer(channel, commands.take);
  }, tell(std::move(done)));
}

void VolumeSnapshot::revert(Done done) {
  if (commands_.revert.empty()) {
    ring_.after(Duration::zero(), [this, done = std::move(done)] {
      done(fail_as(ErrorCode::kUnavailable, "the state before the copy is kept in {}, but goes back only while the store "
                   "is closed: stop this server's batond, then lvconvert --merge {}", name(), name()));
    });
    return;
  }
  ForkedTask::start(ring_, "going back to " + name(), {}, kLimit,
                    [command = commands_.revert](TaskChannel& channel) { answer(channel, command); },
                    tell(std::move(done)));
}

void VolumeSnapshot::drop(Done done) {
  ForkedTask::start(ring_, "removing " + name(), {}, kLimit, [commands = commands_](TaskChannel& channel) {
    if (run_command(commands.present).status != 0) return channel.answer(true, "");
    answer(channel, commands.drop);
  }, tell(std::move(done)));
}

bool VolumeSnapshot::exists() const { return run_command(commands_.present).status == 0; }

}  // namespace baton::mirror
