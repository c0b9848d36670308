// AlertSender: takes one event to one receiver, and gives its answer. Every attempt ends by the alert's timeout, none holds up the loop or
// another alert: each has threads of its own. One thread: the loop's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "src/daemon/alert_messages.h"
#include "src/os/child_process.h"
#include "src/os/message_socket.h"
#include "src/os/web_requests.h"
#include "src/os/worker_thread.h"

namespace baton {

class AlertSender {
 public:
  /// What the receiver said ("answered 200"), or why it has not got the event.
  using Done = std::function<void(const Result<std::string>& answer)>;

  explicit AlertSender(EventLoop& loop);
  ~AlertSender();
  AlertSender(const AlertSender&) = delete;
  AlertSender& operator=(const AlertSender&) = delete;

  /// `done` is called once, from the loop.
  void send(const AlertConfiguration& alert, const AlertMessage& message, Done done);

 private:
  /// What an alert has of its own, also when it is configured no more: the end of a thread that hangs would have to be waited for.
  struct Way {
    explicit Way(EventLoop& loop) : web(loop) {}
    WebRequests web;
    WorkerThread worker;
    uint64_t in_worker = 0;  // the attempt whose job it has; 0: none
  };
  struct Attempt {
    AlertConfiguration alert;
    AlertMessage message;
    Done done;
    Instant until{};
    ChildProcess program;
    EventLoop::Handle deadline;
  };
  using Job = std::function<Result<std::string>()>;
  using Then = std::function<void(uint64_t number, const std::string& text)>;

  void in_worker(uint64_t number, Job job, Then then);
  void end(uint64_t number, const Result<std::string>& answer);
  void send_web(uint64_t number, const std::string& password);
  void send_packet(uint64_t number);
  void run_command(uint64_t number);
  void clear_place();

  EventLoop& loop_;
  Instant began_;
  LoopDoor door_;
  std::map<std::string, Way> ways_;
  std::map<uint64_t, Attempt> attempts_;
  uint64_t next_ = 0;
  std::string place_;  // the control group of the commands
  bool place_clear_ = false;
  EventLoop::Handle place_again_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace baton
