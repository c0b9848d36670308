// ForkedTask: runs what may hang (opening, configuring and closing loop devices: each can do I/O on the very disk that
// this process serves) in a child, with a deadline. The loop's thread; the child is alone.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "src/mirror/ring.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {

/// What a task came to: a text for the caller, and perhaps a descriptor.
struct TaskAnswer {
  bool ok = false;
  std::string text;  // the answer, or what went wrong
  OwnedFd fd;
};

/// What a task's child calls to answer.
class TaskReply {
 public:
  explicit TaskReply(int socket) : socket_(socket) {}
  /// Once. `fd` is passed to the parent when it is one.
  void send(bool ok, const std::string& text, int fd = -1);
  /// Waits until the parent has let go of the task: it closes its own copies of descriptors first.
  void wait_for_parent();

 private:
  int socket_;
};

/// Forks and calls `child` there, with every descriptor closed but 0 to 2 and `keep`. `answered` comes from the loop:
/// with the answer, or, when the child ended without one or `limit` passed (it is then killed), with what happened.
/// A child may go on after its answer, until the deadline. `ended` comes when it is gone.
/// REQUIRES: the process has one thread.
void run_forked(Ring& ring, const std::string& what, std::vector<int> keep, Duration limit,
                std::function<void(TaskReply&)> child, std::function<void(TaskAnswer)> answered,
                std::function<void()> ended = {});

}  // namespace baton::mirror
