// The guard as batond's child or as an earlier batond's: either way it is known by its socket and watched by its pidfd.
// One thread: the loop's.
#include "src/daemon/guard_client.h"

#include <fmt/ranges.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "src/os/child_process.h"
#include "src/os/owned_fd.h"

namespace baton {

namespace {
constexpr Duration kConnectRetry = 5ms;
constexpr Duration kSpawnPause = 50ms;      // a guard that ends at once is not started in a tight loop
constexpr Duration kSecondLook = 30ms;      // batond itself may have been stopped: what waits is read first
constexpr size_t kLargestMessage = 128 * 1024;
/// An empty descriptor: there is none.
std::pair<OwnedFd, pid_t> connect_to_guard(const std::string& run_directory) {
  const std::string path = run_directory + "/guard.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return {};
  std::memcpy(address.sun_path, path.data(), path.size());
  OwnedFd made(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made || ::connect(made.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return {};
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::getsockopt(made.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return {};
  return {std::move(made), peer.pid};
}
}  // namespace

struct GuardClient::State : std::enable_shared_from_this<GuardClient::State> {
  State(EventLoop& the_loop, GuardClientSettings the_settings, Callbacks the_callbacks)
      : loop(the_loop), settings(std::move(the_settings)), callbacks(std::move(the_callbacks)) {}

  void seek();
  bool connect();
  void spawn();
  void adopt(OwnedFd connection, pid_t pid);
  void receive();
  void lost(const std::string& how);
  void watch_life();
  void send(const Bytes& bytes);

  EventLoop& loop;
  GuardClientSettings settings;
  Callbacks callbacks;
  guard::Duties duties;
  bool duties_known = false;

  OwnedFd socket;
  OwnedFd pidfd;
  pid_t process = 0;
  ChildProcess child;  // the guard, if this batond started it
  std::string start_error;
  Instant spawned_at{};
  Instant heard_at{};
  bool suspected = false;
  EventLoop::Handle reading;
  EventLoop::Handle ending;
  EventLoop::Handle retry;
  EventLoop::Handle life;
  Instant life_due = kNever;
  std::function<void(const std::string&)> on_end;  // set: it is to end
  EventLoop::Handle end_limit;
};

/// Until one answers: connect, else start one.
void GuardClient::State::seek() {
  if (socket || connect()) return;
  const bool may_spawn = !child.running() && EventLoop::now() >= spawned_at + kSpawnPause;
  if (may_spawn) spawn();
  retry = loop.after(kConnectRetry, [this] { seek(); });
}

bool GuardClient::State::connect() {
  auto [connection, pid] = connect_to_guard(settings.run_directory);
  if (!connection) return false;
  adopt(std::move(connection), pid);
  return true;
}

void GuardClient::State::adopt(OwnedFd connection, pid_t pid) {
  socket = std::move(connection);
  process = pid;
  start_error.clear();
  heard_at = EventLoop::now();
  life_due = kNever;
  suspected = false;
  reading = loop.watch_readable(socket.get(), [this] { receive(); });
  pidfd = OwnedFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (pidfd) ending = loop.watch_readable(pidfd.get(), [this] { lost("ended"); });
  if (duties_known) send(guard::encode(duties));
  watch_life();
}

void GuardClient::State::spawn() {
  spawned_at = EventLoop::now();
  std::vector<uint32_t> voters;
  for (const ServerId each : settings.guard.voters) voters.push_back(each.value);
  ChildOptions options;
  options.argv = {settings.program, "--run", settings.run_directory, "--self", fmt::format("{}", settings.guard.self),
                  "--voters", fmt::format("{}", fmt::join(voters, ",")),
                  "--lease-ms", fmt::format("{}", to_ms(settings.guard.lease)),
                  "--beat-ms", fmt::format("{}", to_ms(settings.guard.beat))};
  options.new_session = true;
  options.may_lock_memory = true;
  options.output = ChildOptions::Output::kLogFile;
  options.log_file = settings.run_directory + "/guard.log";
  auto started = ChildProcess::spawn(loop, std::move(options), [weak = weak_from_this()](const ChildEnd& end) {
    if (const auto self = weak.lock(); self && !self->socket) self->start_error = "baton-guard " + describe(end);
  });
  if (!started) {
    start_error = started.error().message;
    return;
  }
  child = std::move(*started);
}

/// All that waits, and of that the newest: after a pause of batond hundreds may wait, each saying more than the last.
void GuardClient::State::receive() {
  static uint8_t buffer[kLargestMessage];
  std::optional<guard::ReportMessage> newest;
  bool ended = false;
  for (;;) {
    const ssize_t bytes = ::recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (bytes < 0 && errno == EINTR) continue;
    ended = bytes == 0 || (bytes < 0 && errno != EAGAIN);
    if (bytes <= 0) break;
    auto message = guard::decode_report({buffer, static_cast<size_t>(bytes)});
    if (message) {
      newest = std::move(*message);
    } else {
      spdlog::warn("{}", message.error().message);
    }
  }
  if (newest) {
    heard_at = EventLoop::now();
    suspected = false;
    callbacks.on_report(*newest);
  }
  if (ended) lost("ended");
}

void GuardClient::State::lost(const std::string& how) {
  if (!socket) return;
  reading.cancel();
  ending.cancel();
  life.cancel();
  socket.close();
  pidfd.close();
  if (on_end) return end_limit.cancel(), std::exchange(on_end, nullptr)("");
  callbacks.on_gone(how);
  seek();
}

/// One that hangs is as bad as none: it is ended while the lease still lasts.
void GuardClient::State::watch_life() {
  const Duration limit = settings.guard.lease / 2;
  Duration again = limit / 4;
  const Instant now = EventLoop::now();
  // A batond that was not served itself does not blame the guard, which has answered or not while nobody looked.
  if (life_due != kNever && now > life_due + limit / 4) heard_at = std::max(heard_at, now - limit / 2);
  if (now >= heard_at + limit) {
    if (suspected) {
      if (pidfd) ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
      return lost(fmt::format("did not answer for {} ms and was ended", to_ms(now - heard_at)));
    }
    suspected = true;
    again = kSecondLook;
  }
  life_due = now + again;
  life = loop.after(again, [this] { watch_life(); });
}

void GuardClient::State::send(const Bytes& bytes) {
  if (!socket) return;
  if (::send(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()))
    return;
  // It reads nothing any more: the next one is told from the beginning.
  if (pidfd) ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
}

GuardClient::GuardClient(EventLoop& loop, GuardClientSettings settings, Callbacks callbacks)
    : state_(std::make_shared<State>(loop, std::move(settings), std::move(callbacks))) {}
GuardClient::~GuardClient() {
  state_->reading.cancel();
  state_->ending.cancel();
  state_->life.cancel();
  state_->retry.cancel();
  state_->end_limit.cancel();
  state_->child.forget();
}

void GuardClient::start() { state_->seek(); }

void GuardClient::forget_earlier_cluster(const std::string& run_directory) {
  ::unlink((run_directory + "/guard").c_str());
  const auto [connection, pid] = connect_to_guard(run_directory);
  if (!connection) return;
  const OwnedFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (process) ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
}

void GuardClient::tell(const guard::Tell& tell) { state_->send(guard::encode(tell)); }
void GuardClient::set_duties(const guard::Duties& duties) {
  if (state_->duties_known && state_->duties == duties) return;
  state_->duties = duties;
  state_->duties_known = true;
  state_->send(guard::encode(duties));
}
void GuardClient::end(Duration limit, std::function<void(const std::string&)> done) {
  state_->retry.cancel();
  if (!state_->socket || !state_->pidfd) return done(state_->socket ? "its process is not known" : "");
  state_->life.cancel();
  state_->on_end = std::move(done);
  state_->end_limit = state_->loop.after(limit, [state = state_.get(), limit] {
    std::exchange(state->on_end, [](const std::string&) {})(fmt::format("it has not ended within {} ms", to_ms(limit)));
  });
  ::syscall(SYS_pidfd_send_signal, state_->pidfd.get(), SIGTERM, nullptr, 0);
}

std::string GuardClient::waiting_for() const {
  if (state_->socket) return {};
  return state_->start_error.empty() ? "baton-guard is starting" : state_->start_error;
}

}  // namespace baton
