// The child holds no copy of the FUSE descriptor: when this process is killed the FUSE connection ends at once, and
// with it whatever the child waits for.
#include "src/mirror/forked_task.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>

#include "src/base/assert.h"
#include "src/mirror/process_setup.h"

namespace baton::mirror {
namespace {

constexpr size_t kMaxAnswer = 4096;

void close_all_but(std::vector<int> keep) {
  std::sort(keep.begin(), keep.end());
  unsigned next = 3;
  for (int fd : keep) {
    if (fd < 3) continue;
    if (static_cast<unsigned>(fd) > next) close_range(next, static_cast<unsigned>(fd) - 1, 0);
    next = static_cast<unsigned>(fd) + 1;
  }
  close_range(next, ~0U, 0);
}

[[noreturn]] void run_child(int socket, std::vector<int> keep, const ForkedTask::Child& child) {
  keep.push_back(socket);
  close_all_but(std::move(keep));
  // It ends with its parent, not with signals to the session.
  for (int number : {SIGTERM, SIGINT, SIGHUP}) signal(number, SIG_IGN);
  prctl(PR_SET_NAME, "mirrord-helper");
  TaskChannel channel(socket);
  child(channel);
  _exit(0);
}

}  // namespace

// ---- The child's end ----

void TaskChannel::answer(bool ok, const std::string& text) {
  const std::string content = (ok ? "+" : "-") + text.substr(0, kMaxAnswer - 1);
  send(socket_, content.data(), content.size(), MSG_NOSIGNAL);
}

std::optional<std::string> TaskChannel::next_request() {
  char buffer[kMaxAnswer];
  while (true) {
    const ssize_t size = recv(socket_, buffer, sizeof buffer, 0);
    if (size > 0) return std::string(buffer, static_cast<size_t>(size));
    if (size == 0 || errno != EINTR) return std::nullopt;
  }
}

// ---- The parent's end ----

std::shared_ptr<ForkedTask> ForkedTask::start(Ring& ring, const std::string& what, std::vector<int> keep,
                                              Duration limit, const Child& child, Answered answered,
                                              std::function<void()> ended) {
  std::shared_ptr<ForkedTask> task(new ForkedTask(ring, what));
  task->ended_ = std::move(ended);
  int sockets[2];
  BATON_ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
  task->socket_ = OwnedFd(sockets[0]);
  OwnedFd childs(sockets[1]);
  task->pid_ = fork();
  if (task->pid_ == 0) run_child(childs.get(), std::move(keep), child);
  own_memory_alone();
  if (task->pid_ < 0) {
    task->what_ += ": cannot start a helper: " + errno_text();
    task->answered_ = std::move(answered);
    ring.after(Duration::zero(), [task] { task->child_ended(); });
    return task;
  }
  task->process_ = OwnedFd(static_cast<int>(syscall(SYS_pidfd_open, task->pid_, 0)));
  BATON_ASSERT(task->process_);
  task->expect(limit, std::move(answered));
  task->watch_socket();
  ring.poll(task->process_.get(), POLLIN, [task](int) { task->child_ended(); });
  return task;
}

void ForkedTask::expect(Duration limit, Answered answered) {
  answered_ = std::move(answered);
  deadline_ = ring_.after(limit, [task = shared_from_this()] {
    kill(task->pid_, SIGKILL);
    // One that the kernel holds cannot be killed: do not wait for it.
    task->finish({false, task->what_ + " did not end in time"});
  });
}

void ForkedTask::watch_socket() {
  ring_.poll(socket_.get(), POLLIN, [task = shared_from_this()](int) {
    if (task->socket_) task->take_answer();
  });
}

void ForkedTask::take_answer() {
  char buffer[kMaxAnswer];
  const ssize_t size = recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (size <= 0) return;  // ended: seen by its process's end
  finish({buffer[0] == '+', std::string(buffer + 1, static_cast<size_t>(size) - 1)});
}

void ForkedTask::finish(TaskAnswer answer) {
  ring_.cancel_timer(deadline_);
  if (auto answered = std::exchange(answered_, nullptr)) answered(std::move(answer));
}

void ForkedTask::ask(const std::string& request, Duration limit, Answered answered) {
  BATON_ASSERT(!answered_);
  expect(limit, std::move(answered));
  if (!socket_ || ::send(socket_.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    ring_.after(Duration::zero(), [task = shared_from_this()] { task->finish({false, task->what_ + ": its helper is gone"}); });
    return;
  }
  watch_socket();
}

void ForkedTask::let_go() {
  answered_ = nullptr;
  ended_ = nullptr;
  ring_.cancel_timer(deadline_);
  socket_.close();
}

void ForkedTask::child_ended() {
  int status = 0;
  if (pid_ > 0) waitpid(pid_, &status, WNOHANG);
  if (socket_) take_answer();
  socket_.close();
  finish({false, fmt::format("{} ended without an answer (status {:#x})", what_, status)});
  if (auto ended = std::exchange(ended_, nullptr)) ended();
}

}  // namespace baton::mirror
