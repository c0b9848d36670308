// The sockets of a mirror connect before anybody has said a word: LinkListener waits for connections on one address,
// LinkDialer makes one. Both may be destroyed at any time. The loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "src/base/result.h"
#include "src/mirror/ring.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {

class LinkListener {
 public:
  /// A connected, blocking socket and where it came from.
  using Accepted = std::function<void(OwnedFd, const std::string& from)>;
  /// What people should know while it cannot listen (it tries again).
  using Problem = std::function<void(const std::string&)>;

  LinkListener(Ring& ring, std::string address, uint16_t port, Accepted accepted, Problem problem);
  ~LinkListener();
  LinkListener(const LinkListener&) = delete;
  LinkListener& operator=(const LinkListener&) = delete;

 private:
  void try_listen();
  void watch();
  void accept_all();

  Ring& ring_;
  std::string address_;
  uint16_t port_;
  Accepted accepted_;
  Problem problem_;
  OwnedFd listener_;
  Ring::Operation listening_ = 0;
  int failures_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class LinkDialer {
 public:
  struct Failure {
    int error = 0;
    std::string text;
  };
  using Connected = std::function<void(OwnedFd)>;
  using Failed = std::function<void(const Failure&)>;

  LinkDialer(Ring& ring, Connected connected, Failed failed);
  ~LinkDialer();
  LinkDialer(const LinkDialer&) = delete;
  LinkDialer& operator=(const LinkDialer&) = delete;

  /// One attempt, from the interface with the address `source` (empty: any). REQUIRES: !dialing(). Answered later, once.
  void dial(const std::string& source, const std::string& address, uint16_t port);
  void give_up();
  bool dialing() const { return dialing_; }

 private:
  struct Attempt {
    OwnedFd socket;
    LinkDialer* dialer = nullptr;  // null: nobody waits for it
  };
  void finished(const std::shared_ptr<Attempt>& attempt, int poll_result);
  void fail_later(int error, const std::string& text);

  Ring& ring_;
  Connected connected_;
  Failed failed_;
  bool dialing_ = false;
  std::shared_ptr<Attempt> attempt_;
  Ring::Operation polling_ = 0;
  Ring::Timer limit_ = 0;
};

}  // namespace baton::mirror
