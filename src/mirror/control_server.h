// ControlServer: the control socket towards batond: JSON lines, several clients, root only. The loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/format/mirror_control.h"
#include "src/mirror/ring.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {

class ControlServer {
 public:
  using OnRequest = std::function<void(const mirror_control::Request&)>;
  /// What a client is told at its connection.
  using Welcome = std::function<std::vector<mirror_control::Notice>()>;

  ControlServer(Ring& ring, OnRequest on_request, Welcome welcome);
  ~ControlServer();

  /// Makes the socket (an old one of that name is removed) and begins to accept.
  Status listen(const std::string& path);
  /// To every client. One that does not read for long is dropped.
  void notify(const mirror_control::Notice& notice);
  /// Removes the socket; clients see its end.
  void close();

 private:
  struct Client;
  void watch_listener();
  void accept_all();
  void receive_more(const std::shared_ptr<Client>& client);
  void received(const std::shared_ptr<Client>& client, int result);
  void take_lines(const std::shared_ptr<Client>& client);
  void send_line(const std::shared_ptr<Client>& client, const std::string& line);
  void send_more(const std::shared_ptr<Client>& client);
  void drop(const std::shared_ptr<Client>& client, const std::string& reason);

  Ring& ring_;
  OnRequest on_request_;
  Welcome welcome_;
  std::string path_;
  OwnedFd listener_;
  std::vector<std::shared_ptr<Client>> clients_;
};

}  // namespace baton::mirror
