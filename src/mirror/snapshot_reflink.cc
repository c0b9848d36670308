// A clone shares all blocks: taking one costs no space, only what the copy then changes does.
#include "src/mirror/snapshot_reflink.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/mirror/forked_task.h"
#include "src/mirror/metadata_io.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {
namespace {

constexpr Duration kLimit = 600s;
/// How a child's answer says that the store cannot at all.
constexpr char kCannot[] = "cannot: ";

/// FICLONE of one into the other, durably.
Status clone(const std::string& from, int from_fd, const std::string& to, int to_fd) {
  if (ioctl(to_fd, FICLONE, from_fd) != 0) {
    const int error = errno;
    const bool never = error == EOPNOTSUPP || error == ENOTTY || error == EINVAL || error == EXDEV || error == ENOSYS;
    if (never) {
      return fail_as(ErrorCode::kUnavailable, "the filesystem of {} has no shared extents (reflink): XFS and btrfs do", from);
    }
    return fail("cannot clone {} to {}: {}", from, to, errno_text(error));
  }
  if (fsync(to_fd) != 0) return fail("cannot sync {}: {}", to, errno_text());
  return {};
}

Status take_now(const std::string& store, const std::string& kept) {
  const std::string temporary = kept + ".new";
  OwnedFd from(::open(store.c_str(), O_RDONLY | O_CLOEXEC));
  if (!from) return fail("cannot open {}: {}", store, errno_text());
  OwnedFd to(::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!to) return fail("cannot create {}: {}", temporary, errno_text());
  auto made = clone(store, from.get(), temporary, to.get());
  if (made && rename(temporary.c_str(), kept.c_str()) != 0) {
    made = fail("cannot rename {} to {}: {}", temporary, kept, errno_text());
  }
  if (!made) {
    unlink(temporary.c_str());
    return made;
  }
  return sync_directory_of(kept);
}

Status revert_now(const std::string& store, const std::string& kept) {
  OwnedFd from(::open(kept.c_str(), O_RDONLY | O_CLOEXEC));
  if (!from) {
    return fail_as(ErrorCode::kNotFound, "the state before the copy, {}, is gone: {}", kept, errno_text());
  }
  OwnedFd to(::open(store.c_str(), O_RDWR | O_CLOEXEC));
  if (!to) return fail("cannot open {}: {}", store, errno_text());
  return clone(kept, from.get(), store, to.get());
}

Status drop_now(const std::string& kept) {
  if (unlink(kept.c_str()) != 0 && errno != ENOENT) return fail("cannot remove {}: {}", kept, errno_text());
  return sync_directory_of(kept);
}

/// In a child; the error code survives the way back.
void run(Ring& ring, const std::string& what, std::function<Status()> work, Snapshot::Done done) {
  ForkedTask::start(
      ring, what, {}, kLimit,
      [work = std::move(work)](TaskChannel& channel) {
        const Status status = work();
        if (status) return channel.answer(true, "");
        channel.answer(false, (status.error().code == ErrorCode::kUnavailable ? kCannot : "") + status.error().message);
      },
      [done = std::move(done)](const TaskAnswer& answer) {
        if (answer.ok) return done({});
        if (!answer.text.starts_with(kCannot)) return done(fail("{}", answer.text));
        done(fail_as(ErrorCode::kUnavailable, "{}", answer.text.substr(sizeof kCannot - 1)));
      });
}

}  // namespace

void ReflinkSnapshot::take(Done done) {
  run(ring_, "keeping the state of " + store_, [store = store_, kept = kept_] { return take_now(store, kept); },
      std::move(done));
}

void ReflinkSnapshot::revert(Done done) {
  run(ring_, "going back to " + kept_, [store = store_, kept = kept_] { return revert_now(store, kept); },
      std::move(done));
}

void ReflinkSnapshot::drop(Done done) {
  run(ring_, "removing " + kept_, [kept = kept_] { return drop_now(kept); }, std::move(done));
}

bool ReflinkSnapshot::exists() const { return access(kept_.c_str(), F_OK) == 0; }

}  // namespace baton::mirror
