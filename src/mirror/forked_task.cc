// The child holds no copy of the FUSE descriptor: when this process is killed the FUSE connection ends at once, and
// with it whatever the child waits for.
#include "src/mirror/forked_task.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr size_t kMaxAnswer = 4096;

struct Task {
  Ring& ring;
  std::string what;
  std::function<void(TaskAnswer)> answered;
  std::function<void()> ended;
  pid_t pid = 0;
  OwnedFd process;  // pidfd
  OwnedFd socket;
  Ring::Timer deadline = 0;
  bool timed_out = false;
  char buffer[kMaxAnswer];
};

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

[[noreturn]] void run_child(int socket, std::vector<int> keep, const std::function<void(TaskReply&)>& child) {
  keep.push_back(socket);
  close_all_but(std::move(keep));
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGTERM, SIG_DFL);
  TaskReply reply(socket);
  child(reply);
  _exit(0);
}

void answer(const std::shared_ptr<Task>& task, TaskAnswer outcome) {
  if (auto answered = std::exchange(task->answered, nullptr)) answered(std::move(outcome));
}

void take_answer(const std::shared_ptr<Task>& task) {
  iovec vector{task->buffer, sizeof task->buffer};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = recvmsg(task->socket.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (size <= 0) return;  // ended without an answer: seen at its end
  TaskAnswer outcome;
  outcome.ok = task->buffer[0] == '+';
  outcome.text.assign(task->buffer + 1, static_cast<size_t>(size) - 1);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    outcome.fd = OwnedFd(fd);
  }
  answer(task, std::move(outcome));
  task->socket.close();  // the child may now end
}

void child_ended(const std::shared_ptr<Task>& task) {
  task->ring.cancel_timer(task->deadline);
  int status = 0;
  waitpid(task->pid, &status, WNOHANG);
  if (task->socket) take_answer(task);
  TaskAnswer outcome;
  outcome.text = task->timed_out ? task->what + " did not end in time"
                                 : fmt::format("{} ended without an answer (status {:#x})", task->what, status);
  answer(task, std::move(outcome));
  if (task->ended) task->ended();
}

}  // namespace

void TaskReply::send(bool ok, const std::string& text, int fd) {
  std::string content = (ok ? "+" : "-") + text.substr(0, kMaxAnswer - 1);
  iovec vector{content.data(), content.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  sendmsg(socket_, &message, MSG_NOSIGNAL);
}

void TaskReply::wait_for_parent() {
  char byte = 0;
  while (recv(socket_, &byte, 1, 0) < 0 && errno == EINTR) {
  }
}

void run_forked(Ring& ring, const std::string& what, std::vector<int> keep, Duration limit,
                std::function<void(TaskReply&)> child, std::function<void(TaskAnswer)> answered,
                std::function<void()> ended) {
  auto task = std::make_shared<Task>(Task{ring, what, std::move(answered), std::move(ended), 0, {}, {}, 0, false, {}});
  int sockets[2];
  BATON_ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
  task->socket = OwnedFd(sockets[0]);
  OwnedFd childs(sockets[1]);
  task->pid = fork();
  if (task->pid == 0) run_child(childs.get(), std::move(keep), child);
  if (task->pid < 0) {
    const std::string reason = fmt::format("{}: cannot start a helper: {}", what, errno_text());
    ring.after(Duration::zero(), [task, reason] {
      answer(task, TaskAnswer{false, reason, {}});
      if (task->ended) task->ended();
    });
    return;
  }
  task->process = OwnedFd(static_cast<int>(syscall(SYS_pidfd_open, task->pid, 0)));
  BATON_ASSERT(task->process);
  task->deadline = ring.after(limit, [task] {
    task->timed_out = true;
    kill(task->pid, SIGKILL);
    // One that the kernel holds cannot be killed: do not wait for it.
    answer(task, TaskAnswer{false, task->what + " did not end in time", {}});
  });
  ring.poll(task->socket.get(), POLLIN, [task](int result) {
    if (result >= 0 && task->socket) take_answer(task);
  });
  ring.poll(task->process.get(), POLLIN, [task](int) { child_ended(task); });
}

}  // namespace baton::mirror
