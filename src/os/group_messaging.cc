// See group_messaging.h. State lives on the loop's thread; a Session is one thread with one libcpg handle. A
// lost session is never repaired: its thread finalizes the handle, and only then a new session begins.
#include "src/os/group_messaging.h"

#include <corosync/cpg.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "src/os/corosync_errors.h"
#include "src/os/owned_fd.h"
#include "src/os/worker_thread.h"

namespace baton {

namespace {

constexpr int kSendRetryMs = 2;
constexpr Duration kLeaveLimit = 200ms;

GroupDeparture::Reason reason_of(uint32_t reason) {
  switch (reason) {
    case CPG_REASON_LEAVE:
      return GroupDeparture::Reason::kLeave;
    case CPG_REASON_NODEDOWN:
      return GroupDeparture::Reason::kServerDown;
    case CPG_REASON_PROCDOWN:
      return GroupDeparture::Reason::kProcessDown;
    default:
      return GroupDeparture::Reason::kUnknown;
  }
}

GroupMember member_of(const cpg_address& address) { return {ServerId(address.nodeid), address.pid}; }

}  // namespace

/// Owned by its thread and by State. What both touch is atomic or under the mutex.
struct GroupMessaging::Session : std::enable_shared_from_this<GroupMessaging::Session> {
  Session(LoopDoor the_door, std::weak_ptr<State> the_owner, std::string the_group, Duration the_retry)
      : door(std::move(the_door)),
        owner(std::move(the_owner)),
        group(std::move(the_group)),
        retry(the_retry),
        wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  // From the loop's thread.
  void begin();
  void stop();
  void push(Bytes message);
  bool wait_for_end(Duration limit);
  /// When the oldest thing still undone began: a call not answered, a message not accepted, or accepted and not
  /// come back (corosync takes messages through shared memory even when it hangs). kNever if none.
  Instant stuck_since();

  // On the session's own thread.
  void work();
  bool connect();
  bool try_connect();
  void exchange();
  bool dispatch();
  bool send_queued(bool& again);
  bool pause(Duration duration);
  void tell(std::function<void(State&)> what);

  static void on_deliver(cpg_handle_t handle, const cpg_name*, uint32_t server, uint32_t process, void* message,
                         size_t bytes);
  static void on_change(cpg_handle_t handle, const cpg_name*, const cpg_address* members, size_t member_count,
                        const cpg_address* left, size_t left_count, const cpg_address* joined,
                        size_t joined_count);
  static Session* of(cpg_handle_t handle) {
    void* context = nullptr;
    return cpg_context_get(handle, &context) == CS_OK ? static_cast<Session*>(context) : nullptr;
  }

  LoopDoor door;
  std::weak_ptr<State> owner;
  std::string group;
  Duration retry;
  OwnedFd wake;

  std::mutex mutex;
  std::condition_variable ended_changed;
  std::deque<std::pair<Instant, Bytes>> queue;
  std::deque<Instant> undelivered;  // when corosync took those of our messages that have not come back
  size_t queued_bytes = 0;
  bool ended = false;
  std::atomic<bool> stopping{false};
  std::atomic<int64_t> call_began_ns{0};  // 0: no call in progress

  // The thread's own.
  cpg_handle_t handle = 0;
  int fd = -1;
  uint32_t local = 0;
  std::string reason;  // why the session ended
};

/// The loop's side.
struct GroupMessaging::State : std::enable_shared_from_this<GroupMessaging::State> {
  State(EventLoop& the_loop, std::string the_group, Callbacks the_callbacks, Options the_options)
      : loop(the_loop),
        door(the_loop),
        group(std::move(the_group)),
        callbacks(std::move(the_callbacks)),
        options(the_options) {}

  void begin() {
    if (!wanted || session || dying) return;
    session = std::make_shared<Session>(door, weak_from_this(), group, options.retry);
    session->begin();
  }

  /// What a session tells counts only while it is the current one.
  void view(const std::shared_ptr<Session>& from, const GroupView& news, ServerId server) {
    if (from != session) return;
    const GroupMember me{server, static_cast<uint32_t>(::getpid())};
    local = server;
    if (!std::binary_search(news.members.begin(), news.members.end(), me)) {
      if (is_joined) lose("corosync took this process out of the group");
      return;
    }
    is_joined = true;
    waiting.clear();
    if (!stuck_timer.active()) check_stuck();
    if (callbacks.on_view) callbacks.on_view(news);
  }

  void message(const std::shared_ptr<Session>& from, const GroupMember& sender, const Bytes& bytes) {
    if (from == session && is_joined && callbacks.on_message) callbacks.on_message(sender, bytes);
  }

  void end(const std::shared_ptr<Session>& from, const std::string& reason) {
    if (from == dying) dying.reset();
    if (from == session) {
      dying.reset();
      drop(reason, false);
    }
    begin_soon();
  }

  void lose(const std::string& reason) { drop(reason, true); }

  void drop(const std::string& reason, bool thread_lives) {
    auto old = std::move(session);
    session.reset();
    if (thread_lives) {
      dying = old;
      old->stop();
    }
    stuck_timer.cancel();
    waiting = reason;
    if (std::exchange(is_joined, false) && wanted && callbacks.on_lost) callbacks.on_lost(reason);
  }

  void begin_soon() {
    auto self = weak_from_this();
    retry_timer = loop.after(options.retry, [self] {
      if (auto state = self.lock()) state->begin();
    });
  }

  void check_stuck() {
    auto self = weak_from_this();
    stuck_timer = loop.after(options.stuck_limit / 4, [self] {
      if (auto state = self.lock(); state && state->session && state->is_joined) state->check_stuck_now();
    });
  }

  void check_stuck_now() {
    const Instant since = session->stuck_since();
    if (since != kNever && EventLoop::now() - since > options.stuck_limit) {
      lose(fmt::format("corosync has not delivered a message of ours for {} ms",
                       to_ms(EventLoop::now() - since)));
      return;
    }
    check_stuck();
  }

  EventLoop& loop;
  LoopDoor door;
  std::string group;
  Callbacks callbacks;
  Options options;
  bool wanted = false;
  bool is_joined = false;
  ServerId local;
  std::string waiting = "not opened";
  std::shared_ptr<Session> session;  // the current one
  std::shared_ptr<Session> dying;    // given up, its thread not yet ended: no new one before that
  EventLoop::Handle retry_timer, stuck_timer;
};

void GroupMessaging::Session::begin() {
  sigset_t all, before;  // signals belong to the loop's thread
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([self = shared_from_this()] { self->work(); }).detach();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void GroupMessaging::Session::stop() {
  stopping = true;
  ::eventfd_write(wake.get(), 1);
}

void GroupMessaging::Session::push(Bytes message) {
  std::lock_guard lock(mutex);
  queued_bytes += message.size();
  queue.emplace_back(EventLoop::now(), std::move(message));
  ::eventfd_write(wake.get(), 1);
}

bool GroupMessaging::Session::wait_for_end(Duration limit) {
  std::unique_lock lock(mutex);
  return ended_changed.wait_for(lock, limit, [this] { return ended; });
}

Instant GroupMessaging::Session::stuck_since() {
  const int64_t call = call_began_ns;
  std::lock_guard lock(mutex);
  Instant oldest = queue.empty() ? kNever : queue.front().first;
  if (!undelivered.empty()) oldest = std::min(oldest, undelivered.front());
  return call == 0 ? oldest : std::min(oldest, Instant(Duration(call)));
}

void GroupMessaging::Session::tell(std::function<void(State&)> what) {
  door.post([owner = owner, what = std::move(what)] {
    if (auto state = owner.lock()) what(*state);
  });
}

void GroupMessaging::Session::work() {
  if (connect()) exchange();
  if (handle != 0) cpg_finalize(handle);
  auto self = shared_from_this();
  tell([self, why = reason](State& state) { state.end(self, why); });
  std::lock_guard lock(mutex);
  ended = true;
  ended_changed.notify_all();
}

/// Waits, but not beyond stop(). False when stopping.
bool GroupMessaging::Session::pause(Duration duration) {
  pollfd entry{wake.get(), POLLIN, 0};
  if (!stopping) ::poll(&entry, 1, static_cast<int>(std::max<int64_t>(1, to_ms(duration))));
  return !stopping;
}

bool GroupMessaging::Session::connect() {
  auto self = shared_from_this();
  std::string told;
  while (!stopping) {
    if (try_connect()) return true;
    if (reason != told) {
      told = reason;
      tell([self, told](State& state) {
        if (self == state.session) state.waiting = told;
      });
    }
    pause(retry);
  }
  return false;
}

bool GroupMessaging::Session::try_connect() {
  cpg_model_v1_data_t model{};
  model.model = CPG_MODEL_V1;
  model.cpg_deliver_fn = &Session::on_deliver;
  model.cpg_confchg_fn = &Session::on_change;
  cs_error_t error =
      cpg_model_initialize(&handle, CPG_MODEL_V1, reinterpret_cast<cpg_model_data_t*>(&model), this);
  if (error != CS_OK) {
    handle = 0;
    reason = fmt::format("corosync cannot be reached: {}", corosync_error_text(error));
    return false;
  }
  cpg_name name{};
  name.length = static_cast<uint32_t>(group.copy(name.value, CPG_MAX_NAME_LENGTH - 1));
  error = cpg_local_get(handle, &local);
  if (error == CS_OK) error = cpg_fd_get(handle, &fd);
  if (error == CS_OK) error = cpg_join(handle, &name);
  if (error == CS_OK) return true;
  reason = fmt::format("cannot join group {}: {}", group, corosync_error_text(error));
  cpg_finalize(handle);
  handle = 0;
  return false;
}

void GroupMessaging::Session::exchange() {
  bool again = false;
  while (!stopping) {
    pollfd entries[2] = {{fd, POLLIN, 0}, {wake.get(), POLLIN, 0}};
    ::poll(entries, 2, again ? kSendRetryMs : -1);
    if (entries[1].revents != 0) {
      eventfd_t count;
      ::eventfd_read(wake.get(), &count);
    }
    if (entries[0].revents != 0 && !dispatch()) return;
    if (!send_queued(again)) return;
  }
  reason = "left the group";
}

bool GroupMessaging::Session::dispatch() {
  cs_error_t error = cpg_dispatch(handle, CS_DISPATCH_ALL);
  if (error == CS_OK || error == CS_ERR_TRY_AGAIN) return true;
  reason = fmt::format("the connection to corosync is lost: {}", corosync_error_text(error));
  return false;
}

/// Hands queued messages to corosync until it wants no more (`again`). False: the session is lost.
bool GroupMessaging::Session::send_queued(bool& again) {
  again = false;
  for (int count = 0; count < 64; ++count) {  // then look for deliveries first
    std::unique_lock lock(mutex);
    if (queue.empty() || stopping) return true;
    Bytes& message = queue.front().second;  // stays valid: only this thread pops
    lock.unlock();
    iovec part{message.data(), message.size()};
    call_began_ns = to_ns(EventLoop::now());
    cs_error_t error = cpg_mcast_joined(handle, CPG_TYPE_AGREED, &part, 1);
    call_began_ns = 0;
    if (error == CS_ERR_TRY_AGAIN) {
      again = true;
      return true;
    }
    if (error != CS_OK) {
      reason =
          fmt::format("corosync refused a message of {} bytes: {}", part.iov_len, corosync_error_text(error));
      return false;
    }
    lock.lock();
    undelivered.push_back(EventLoop::now());
    queued_bytes -= queue.front().second.size();
    queue.pop_front();
  }
  again = true;
  return true;
}

void GroupMessaging::Session::on_deliver(cpg_handle_t handle, const cpg_name*, uint32_t server,
                                         uint32_t process, void* message, size_t bytes) {
  Session* session = of(handle);
  if (session == nullptr) return;
  if (server == session->local && process == static_cast<uint32_t>(::getpid())) {
    std::lock_guard lock(session->mutex);
    if (!session->undelivered.empty()) session->undelivered.pop_front();
  }
  const auto* begin = static_cast<const uint8_t*>(message);
  auto copy = std::make_shared<Bytes>(begin, begin + bytes);
  session->tell([self = session->shared_from_this(), sender = GroupMember{ServerId(server), process},
                 copy](State& state) { state.message(self, sender, *copy); });
}

void GroupMessaging::Session::on_change(cpg_handle_t handle, const cpg_name*, const cpg_address* members,
                                        size_t member_count, const cpg_address* left, size_t left_count,
                                        const cpg_address* joined, size_t joined_count) {
  Session* session = of(handle);
  if (session == nullptr) return;
  GroupView view;
  for (size_t i = 0; i < member_count; ++i) view.members.push_back(member_of(members[i]));
  for (size_t i = 0; i < left_count; ++i) view.left.push_back({member_of(left[i]), reason_of(left[i].reason)});
  for (size_t i = 0; i < joined_count; ++i) view.joined.push_back(member_of(joined[i]));
  std::sort(view.members.begin(), view.members.end());
  session->tell([self = session->shared_from_this(), view, local = ServerId(session->local)](State& state) {
    state.view(self, view, local);
  });
}

GroupMessaging::GroupMessaging(EventLoop& loop, std::string group, Callbacks callbacks, Options options)
    : state_(std::make_shared<State>(loop, std::move(group), std::move(callbacks), options)) {}

GroupMessaging::GroupMessaging(EventLoop& loop, std::string group, Callbacks callbacks)
    : GroupMessaging(loop, std::move(group), std::move(callbacks), Options()) {}

GroupMessaging::~GroupMessaging() {
  auto last = state_->session;
  close();
  state_->door.close();
  if (last) last->wait_for_end(kLeaveLimit);
}

void GroupMessaging::open() {
  state_->wanted = true;
  state_->begin();
}

void GroupMessaging::close() {
  state_->wanted = false;
  state_->retry_timer.cancel();
  if (state_->session) state_->lose("closed");
}

bool GroupMessaging::joined() const { return state_->is_joined; }

ServerId GroupMessaging::local_server() const { return state_->local; }

GroupMember GroupMessaging::self() const { return {state_->local, static_cast<uint32_t>(::getpid())}; }

std::string GroupMessaging::waiting_for() const { return state_->is_joined ? "" : state_->waiting; }

Status GroupMessaging::send(Bytes message) {
  if (!state_->is_joined)
    return fail_as(ErrorCode::kUnavailable, "not in group {}: {}", state_->group, state_->waiting);
  if (message.size() > kMaximumMessageBytes) {
    return fail_as(ErrorCode::kInvalid,
                   "a message of {} bytes cannot be sent: split it into parts of at most {}", message.size(),
                   kMaximumMessageBytes);
  }
  auto& session = *state_->session;
  {
    std::lock_guard lock(session.mutex);
    if (session.queued_bytes + message.size() > state_->options.queue_bytes) {
      return fail_as(ErrorCode::kUnavailable, "{} bytes already wait for corosync: try again later",
                     session.queued_bytes);
    }
  }
  session.push(std::move(message));
  return {};
}

}  // namespace baton
