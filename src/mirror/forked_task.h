// ForkedTask: runs what may hang (opening, configuring and closing loop devices: each can do I/O on the very disk that
// this process serves) in a child, with deadlines. The loop's thread; the child is alone.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/mirror/ring.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {

/// What a task came to: a text for the caller, or what went wrong.
struct TaskAnswer {
  bool ok = false;
  std::string text;
};

/// The child's end.
class TaskChannel {
 public:
  explicit TaskChannel(int socket) : socket_(socket) {}
  void answer(bool ok, const std::string& text);
  /// Waits for the next request; nothing: the parent has let go of the task, or has ended itself.
  std::optional<std::string> next_request();

 private:
  int socket_;
};

class ForkedTask : public std::enable_shared_from_this<ForkedTask> {
 public:
  using Child = std::function<void(TaskChannel&)>;
  using Answered = std::function<void(TaskAnswer)>;

  /// Forks and calls `child` there, with every descriptor closed but 0 to 2 and `keep`. `answered` comes from the
  /// loop: with the first answer, or, when the child ended without one or `limit` passed (it is then killed), with
  /// what happened. `ended` comes when it is gone. REQUIRES: the process has one thread.
  static std::shared_ptr<ForkedTask> start(Ring& ring, const std::string& what, std::vector<int> keep, Duration limit,
                                           const Child& child, Answered answered, std::function<void()> ended = {});
  /// Asks the child, whose last answer has come, for another.
  void ask(const std::string& request, Duration limit, Answered answered);
  /// The child's next_request() ends. No callback comes any more.
  void let_go();

 private:
  ForkedTask(Ring& ring, std::string what) : ring_(ring), what_(std::move(what)) {}
  void expect(Duration limit, Answered answered);
  void watch_socket();
  void take_answer();
  void finish(TaskAnswer answer);
  void child_ended();

  Ring& ring_;
  std::string what_;
  Answered answered_;
  std::function<void()> ended_;
  pid_t pid_ = 0;
  OwnedFd process_;  // pidfd
  OwnedFd socket_;
  Ring::Timer deadline_ = 0;
};

}  // namespace baton::mirror
