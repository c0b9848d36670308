// A client of a local control socket: one text line per message over a unix stream socket. One thread: the loop's.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "src/base/result.h"
#include "src/os/event_loop.h"

namespace baton {

class LineClient {
 public:
  struct Callbacks {
    std::function<void(const std::string& line)> on_line;
    std::function<void(const std::string& reason)> on_lost;  // once; nothing is called afterwards
  };

  /// Connects at once (unix sockets do not wait). Error: nobody listens there.
  static Result<std::unique_ptr<LineClient>> connect(EventLoop& loop, const std::string& path, Callbacks callbacks);
  ~LineClient();

  /// Queues a line; written as the other side takes it. Beyond 4 MiB the other side counts as lost.
  void send(const std::string& line);
  /// The process that listens there; 0 if the kernel does not say.
  int peer_process() const;

 private:
  LineClient(EventLoop& loop, int fd, std::string path, Callbacks callbacks);
  void read_some();
  void write_some();
  void lose(const std::string& reason);

  EventLoop& loop_;
  int fd_;
  std::string path_;
  Callbacks callbacks_;
  std::string input_;
  std::string output_;
  bool lost_ = false;
  EventLoop::Handle readable_;
  EventLoop::Handle writable_;
};

}  // namespace baton
