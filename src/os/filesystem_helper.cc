// See filesystem_helper.h. A chain of helper processes; each next step begins in the callback of the one
// before.
#include "src/os/filesystem_helper.h"

#include <memory>

#include "src/os/helper_process.h"
#include "src/os/mount_table.h"
#include "src/os/mount_users.h"

namespace baton {

namespace {

constexpr Duration kLookDeadline = 10s;  // reading a superblock
constexpr Duration kUserSearchLimit = 2s;
constexpr int kMountBusyStatus = 32;  // mount(8), umount(8): the operation itself failed

/// Tells the truth about a device: exit 0 with "blank" or "TYPE=..." lines.
constexpr const char* kProbeScript = R"sh(
found=$(blkid -p -o export "$1"); status=$?
case $status in
  0) printf '%s\n' "$found"; exit 0;;
  2) ;;
  *) echo "blkid ended with status $status (8: several signatures at once)"; exit 1;;
esac
size=$(blockdev --getsize64 "$1" 2>/dev/null || stat -L -c %s "$1") || exit 1
head=1048576; tail=65536
[ "$size" -ge "$head" ] || head=$size
[ "$size" -ge "$tail" ] || tail=$size
cmp -s -n "$head" "$1" /dev/zero && cmp -s -n "$tail" -i $((size - tail)):0 "$1" /dev/zero && { echo blank; exit 0; }
echo foreign
)sh";

std::string value_of(const std::string& output, const std::string& key) {
  size_t at = output.starts_with(key) ? 0 : output.find("\n" + key);
  if (at == std::string::npos) return "";
  at = output.find(key, at) + key.size();
  std::string value = output.substr(at, output.find('\n', at) - at);
  value.erase(0, value.find_first_not_of(" \t"));
  return value;
}

/// Whether `dumpe2fs -h` reports a filesystem that the kernel's journal replay alone does not make good.
bool needs_repair(const std::string& superblock) {
  const std::string state = value_of(superblock, "Filesystem state:");
  if (state.find("errors") != std::string::npos) return true;
  const bool has_journal =
      value_of(superblock, "Filesystem features:").find("has_journal") != std::string::npos;
  return state.find("not clean") != std::string::npos && !has_journal;
}

struct Mounting : std::enable_shared_from_this<Mounting> {
  Mounting(EventLoop& the_loop, MountRequest the_request, std::function<void(Result<MountReport>)> the_callback)
      : loop(the_loop), request(std::move(the_request)), callback(std::move(the_callback)) {}

  void finish(Result<MountReport> result) {
    if (result) result->took = EventLoop::now() - begin;
    callback(std::move(result));
  }

  /// True when the request is settled already: mounted, or impossible.
  Result<bool> already_mounted() const {
    auto present = find_mount(request.mount_point);
    if (!present) return pass(present);
    auto others = mounts_of_device(request.device);
    if (!others) return pass(others);
    for (const auto& other : *others) {
      if (*present && other.mount_point == (*present)->mount_point && other.source == (*present)->source)
        return true;
    }
    if (*present) {
      return fail_as(
          ErrorCode::kConflict,
          "cannot mount {} on {}: {} ({}) is mounted there. Unmount it or choose another mount point",
          request.device, request.mount_point, (*present)->source, (*present)->type);
    }
    if (others->empty()) return false;
    return fail_as(ErrorCode::kConflict,
                   "cannot mount {} on {}: it is mounted on {} already. Unmount it there first", request.device,
                   request.mount_point, others->front().mount_point);
  }

  void start() {
    auto self = shared_from_this();
    auto mounted = already_mounted();
    if (!mounted || *mounted) {
      Result<MountReport> result = MountReport{.already_mounted = true};
      if (!mounted) result = pass(mounted);
      loop.post([self, result] { self->finish(result); });
      return;
    }
    if (!request.type.starts_with("ext")) {
      mount();
      return;
    }
    run_helper(loop,
               {.purpose = fmt::format("reading the filesystem on {}", request.device),
                .argv = {"dumpe2fs", "-h", request.device},
                .deadline = kLookDeadline},
               [self](Result<HelperOutput> output) {
                 if (!output) return self->finish(pass(output));
                 needs_repair(output->output) ? self->repair() : self->mount();
               });
  }

  void repair() {
    run_helper(
        loop,
        {.purpose = fmt::format("repairing the filesystem on {} (its superblock asks for it; if this fails, "
                                "repair it by hand with e2fsck)",
                                request.device),
         .argv = {"e2fsck", "-p", request.device},
         .deadline = request.check_deadline,
         .accepted_statuses = {0, 1}},
        [self = shared_from_this()](Result<HelperOutput> output) {
          if (!output) return self->finish(pass(output));
          self->report.repaired = true;
          self->report.repair_output = output->output;
          self->mount();
        });
  }

  void mount() {
    run_helper(loop,
               {.purpose = fmt::format("mounting {} on {}", request.device, request.mount_point),
                .argv = {"sh", "-c", R"(mkdir -p -- "$4" && exec mount -t "$1" -o "$2" -- "$3" "$4")", "mount",
                         request.type, request.options.empty() ? "defaults" : request.options, request.device,
                         request.mount_point},
                .deadline = request.deadline},
               [self = shared_from_this()](Result<HelperOutput> output) {
                 if (!output) return self->finish(pass(output));
                 self->finish(self->report);
               });
  }

  EventLoop& loop;
  MountRequest request;
  std::function<void(Result<MountReport>)> callback;
  MountReport report;
  Instant begin = EventLoop::now();
};

void report_busy(EventLoop& loop, const std::string& mount_point, Error error,
                 std::function<void(Status)> callback) {
  auto still = mounted_device(mount_point);
  if (still && !*still) return callback({});  // somebody else unmounted it meanwhile
  find_mount_users(loop, mount_point, kUserSearchLimit,
                   [error, mount_point, callback = std::move(callback)](std::vector<MountUser> users) {
                     callback(fail_as(ErrorCode::kConflict, "{} cannot be unmounted, it is in use by: {} [{}]",
                                      mount_point, describe(users), error.message));
                   });
}

void unmount(EventLoop& loop, const std::string& mount_point, std::vector<std::string> argv, Duration deadline,
             std::function<void(Status)> callback) {
  auto present = mounted_device(mount_point);
  if (!present || !*present) {
    Status status = present ? Status() : Status(pass(present));
    loop.post([callback = std::move(callback), status] { callback(status); });
    return;
  }
  run_helper(
      loop,
      {.purpose = fmt::format("unmounting {} from {}", **present, mount_point),
       .argv = std::move(argv),
       .deadline = deadline,
       .accepted_statuses = {0, kMountBusyStatus}},
      [&loop, mount_point, callback = std::move(callback)](Result<HelperOutput> output) {
        if (!output) return callback(pass(output));
        if (output->status == 0) return callback({});
        report_busy(loop, mount_point, Error{ErrorCode::kConflict, last_lines(output->output)}, callback);
      });
}

void make_filesystem(EventLoop& loop, const std::string& device, const std::string& type, Duration deadline,
                     std::function<void(Result<bool>)> callback) {
  std::vector<std::string> argv = {"mkfs." + type};
  if (type.starts_with("ext")) argv.insert(argv.end(), {"-q", "-F", "-E", "lazy_itable_init=1,nodiscard"});
  argv.push_back(device);
  run_helper(loop,
             {.purpose = fmt::format("making a filesystem on {}", device), .argv = argv, .deadline = deadline},
             [callback = std::move(callback)](Result<HelperOutput> output) {
               Result<bool> made = true;
               if (!output) made = pass(output);
               callback(made);
             });
}

}  // namespace

void mount_filesystem(EventLoop& loop, MountRequest request,
                      std::function<void(Result<MountReport>)> callback) {
  request.mount_point = tidy_path(request.mount_point);
  std::make_shared<Mounting>(loop, std::move(request), std::move(callback))->start();
}

void unmount_filesystem(EventLoop& loop, const std::string& mount_point, Duration deadline,
                        std::function<void(Status)> callback) {
  unmount(loop, tidy_path(mount_point), {"umount", "--", tidy_path(mount_point)}, deadline,
          std::move(callback));
}

void detach_filesystem(EventLoop& loop, const std::string& mount_point, Duration deadline,
                       std::function<void(Status)> callback) {
  unmount(loop, tidy_path(mount_point), {"umount", "-l", "--", tidy_path(mount_point)}, deadline,
          std::move(callback));
}

void make_filesystem_if_blank(EventLoop& loop, const std::string& device, const std::string& type,
                              Duration deadline, std::function<void(Result<bool>)> callback) {
  run_helper(loop,
             {.purpose = fmt::format("looking for data on {}", device),
              .argv = {"sh", "-c", kProbeScript, "probe", device},
              .deadline = deadline},
             [&loop, device, type, deadline, callback = std::move(callback)](Result<HelperOutput> output) {
               if (!output) return callback(pass(output));
               if (output->output == "blank\n") return make_filesystem(loop, device, type, deadline, callback);
               const std::string found = value_of(output->output, "TYPE=");
               if (found == type) return callback(false);
               callback(fail_as(
                   ErrorCode::kConflict,
                   "{} is not blank ({}), so no {} filesystem is made on it: erase it by hand (wipefs and "
                   "zeroes) if its content may be lost, or name another device",
                   device, found.empty() ? "data of unknown kind" : "it holds " + found, type));
             });
}

}  // namespace baton
