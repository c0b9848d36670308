// The device stays when its client's process ends: a child, the keeper, sees our end and disconnects it, so
// that what waits for it fails at once. Closing and claiming the device do I/O on this very disk: that is the
// keeper's, too.
#include "src/mirror/kernel_nbd_export.h"

#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/socket.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "src/base/assert.h"
#include "src/mirror/loop_device.h"

namespace baton::mirror {
namespace {

constexpr int kConnections = 2;
constexpr Duration kAttachLimit = 10s;
constexpr Duration kUsersLimit = 3s;    // how long others may take to let go at a close
constexpr Duration kDetachLimit = 60s;  // the writing out of what is cached included
constexpr Duration kAbortLimit = 5s;
constexpr Duration kGrowLimit = 10s;
// Longer than anything in the mirror may take: past it the kernel would give a request to another connection,
// to be done twice. It ends what hangs when daemon and keeper are both gone.
constexpr uint64_t kTimeoutSeconds = 300;

std::string device_name(int number) { return "nbd" + std::to_string(number); }

std::string new_tag(const std::string& mirror) {
  uint64_t random = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&random), sizeof random);
  return fmt::format("baton-{:016x}-{}", random, mirror).substr(0, 60);
}

Status detach(int number) {
  auto claimed = claim_device(device_name(number), kUsersLimit);
  if (!claimed) return pass(claimed);
  return disconnect_kernel_nbd(number);
}

/// What the parent asks of the keeper: "detach", "disconnect" or "grow BYTES". True: the device is gone.
bool serve_parent(TaskChannel& parent, int number, const std::string& tag, const std::string& request) {
  const bool grow = request.rfind("grow ", 0) == 0;
  Status done;
  if (grow) {
    done = resize_kernel_nbd(number, std::strtoull(request.c_str() + 5, nullptr, 10), tag);
  } else {
    done = request == "detach" ? detach(number) : disconnect_kernel_nbd(number);
  }
  parent.answer(done.has_value(), done ? "" : done.error().message);
  return done.has_value() && !grow;
}

void keep_device(TaskChannel& parent, const KernelNbdSettings& settings) {
  auto number = connect_kernel_nbd(settings);
  if (!number) return parent.answer(false, number.error().message);
  for (const int socket : settings.sockets) close(socket);  // the kernel has them
  // A node that nobody makes (no udev) is made by the opening.
  auto opened = open_device_node(device_name(*number), O_RDONLY);
  if (!opened) {
    parent.answer(false, opened.error().message);
  } else {
    opened->close();
    parent.answer(true, std::to_string(*number));
    while (auto request = parent.next_request()) {
      if (serve_parent(parent, *number, settings.backend, *request)) return;
    }
  }
  // SAFETY: docs/protocol.md, P3: our parent has ended or lets go: what is under way and to come fails.
  if (auto done = disconnect_kernel_nbd(*number); !done)
    std::fprintf(stderr, "%s\n", done.error().message.c_str());
}

/// A device that an earlier daemon left behind, if it is still ours. Says what was done.
std::string reclaim_device(int number, const std::string& tag) {
  std::string backend;
  std::getline(std::ifstream("/sys/block/" + device_name(number) + "/backend"), backend);
  if (backend != tag) return "";
  const std::string users = device_users(device_name(number));
  auto done = disconnect_kernel_nbd(number);
  if (!done) return done.error().message;
  return fmt::format("/dev/{}, left behind by an earlier daemon, was disconnected{}{}", device_name(number),
                     users.empty() ? "" : "; it gives only errors and is still in use: ", users);
}

}  // namespace

KernelNbdExport::KernelNbdExport(Ring& ring, BufferPool& pool, std::string mirror, uint64_t size_bytes,
                                 std::string directory, bool read_only, OnRequest on_request, OnLost on_lost,
                                 Note note)
    : ring_(ring),
      mirror_(std::move(mirror)),
      size_bytes_(size_bytes),
      directory_(std::move(directory)),
      read_only_(read_only),
      on_lost_(std::move(on_lost)),
      note_(note),
      server_(ring, pool, NbdExport{mirror_, "", size_bytes, 0}, kKernelNbdRequests, std::move(on_request),
              std::move(note)) {
  server_.on_last_gone = [this](const std::string& problem) {
    lost("the kernel closed its NBD connections" + (problem.empty() ? "" : ": " + problem));
  };
}

KernelNbdExport::~KernelNbdExport() { let_keeper_go(); }

// ---- Opening ----

void KernelNbdExport::open(std::function<void(Result<std::string>)> done) {
  BATON_ASSERT(state_ == State::kClosed);
  state_ = State::kOpening;
  open_done_ = std::move(done);
  tag_ = new_tag(mirror_);
  KernelNbdSettings settings;
  settings.size_bytes = size_bytes_;
  settings.timeout_seconds = kTimeoutSeconds;
  settings.server_flags = server_.target().flags | (read_only_ ? kNbdReadOnly : 0);
  settings.backend = tag_;
  std::vector<OwnedFd> kernel_ends;
  for (int i = 0; i < kConnections; ++i) {
    int sockets[2];
    BATON_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    server_.serve(OwnedFd(sockets[0]));
    kernel_ends.emplace_back(sockets[1]);
    settings.sockets.push_back(sockets[1]);
  }
  asking_ = true;
  keeper_ = ForkedTask::start(
      ring_, "connecting the kernel's NBD device", settings.sockets, kAttachLimit,
      [&settings](TaskChannel& parent) { keep_device(parent, settings); },
      [this](const TaskAnswer& answer) { attached(answer.ok, answer.text); },
      [this] {
        keeper_.reset();
        lost("the keeper of the NBD device ended");
      });
}

void KernelNbdExport::attached(bool ok, const std::string& text) {
  asking_ = false;
  auto done = std::exchange(open_done_, nullptr);
  if (!ok) {
    state_ = State::kClosed;
    let_keeper_go();
    server_.abort();
    return done(fail("the export cannot be made: {}", text));
  }
  const int number = std::atoi(text.c_str());
  device_ = "/dev/" + device_name(number);
  write_record(number);
  state_ = State::kOpen;
  done(device_);
}

void KernelNbdExport::let_keeper_go() {
  asking_ = false;
  if (auto keeper = std::exchange(keeper_, nullptr)) keeper->let_go();
}

void KernelNbdExport::write_record(int number) {
  std::error_code ignored;
  std::filesystem::create_directories(directory_, ignored);
  std::ofstream(record_path(), std::ios::trunc) << number << ' ' << tag_ << '\n';
}

void KernelNbdExport::grow(uint64_t size_bytes, std::function<void(Status)> done) {
  size_bytes_ = size_bytes;
  server_.set_size(size_bytes);
  if (state_ != State::kOpen || asking_) {
    ring_.after(Duration::zero(), [done = std::move(done)] { done({}); });
    return;
  }
  asking_ = true;
  keeper_->ask("grow " + std::to_string(size_bytes), kGrowLimit,
               [this, done = std::move(done)](const TaskAnswer& answer) {
                 asking_ = false;
                 done(answer.ok ? Status() : Status(fail("{}", answer.text)));
               });
}

// ---- The end ----

void KernelNbdExport::close(std::function<void(Status)> done) {
  BATON_ASSERT(state_ == State::kOpen);
  if (asking_) {
    ring_.after(Duration::zero(),
                [done] { done(fail_as(ErrorCode::kConflict, "the device is being enlarged: try again")); });
    return;
  }
  state_ = State::kClosing;
  close_done_ = std::move(done);
  asking_ = true;
  keeper_->ask("detach", kDetachLimit, [this](const TaskAnswer& answer) {
    asking_ = false;
    if (answer.ok) return detached();
    state_ = State::kOpen;
    std::exchange(close_done_, nullptr)(fail_as(ErrorCode::kConflict, "{}", answer.text));
  });
}

void KernelNbdExport::detached() {
  state_ = State::kClosed;
  let_keeper_go();
  server_.abort();  // the kernel has said goodbye already
  device_.clear();
  std::error_code ignored;
  std::filesystem::remove(record_path(), ignored);
  std::exchange(close_done_, nullptr)({});
}

/// In a close the kernel's end is as it should be; the keeper says what became of it.
void KernelNbdExport::lost(const std::string& reason) {
  if (state_ == State::kOpen) on_lost_(reason);
}

void KernelNbdExport::abort(std::function<void()> done) {
  const bool was_open = state_ == State::kOpen;
  state_ = State::kClosed;
  device_.clear();
  auto open_done = std::exchange(open_done_, nullptr);
  auto close_done = std::exchange(close_done_, nullptr);
  // SAFETY: docs/protocol.md, P3: with our ends shut no answer reaches the kernel any more.
  server_.abort();
  if (was_open && !asking_ && keeper_) {
    auto keeper = std::exchange(keeper_, nullptr);
    keeper->ask("disconnect", kAbortLimit, [keeper, done = std::move(done)](const TaskAnswer&) {
      keeper->let_go();
      done();
    });
  } else {
    // The keeper disconnects the device as soon as it is through with what it does.
    let_keeper_go();
    ring_.after(Duration::zero(), std::move(done));
  }
  if (open_done) open_done(fail("the export was aborted while it was being made"));
  if (close_done) close_done(fail("the export was aborted while it was being closed"));
}

void KernelNbdExport::reclaim() {
  std::ifstream record(record_path());
  int number = -1;
  std::string tag;
  if (!(record >> number) || !(record >> tag) || tag.rfind("baton-", 0) != 0) return;
  ForkedTask::start(
      ring_, "reclaiming /dev/" + device_name(number), {}, kAttachLimit,
      [number, tag](TaskChannel& parent) { parent.answer(true, reclaim_device(number, tag)); },
      [note = note_](const TaskAnswer& answer) {
        if (!answer.text.empty()) note(answer.text);
      });
  std::error_code ignored;
  std::filesystem::remove(record_path(), ignored);
}

}  // namespace baton::mirror
