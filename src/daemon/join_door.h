// JoinDoor: where servers that have a join token are let in. Listens while a token is good; knows the tokens and what
// became of them. Connections live on a thread of its own; tokens and requests belong to the event loop's thread.
// docs/protocol.md, "Joining".
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/format/join_token.h"

namespace baton {

class JoinDoor {
 public:
  /// Runs a function soon on the event loop's thread.
  using Post = std::function<void(std::function<void()>)>;
  /// The answer to a request; `used`: the token has done its work.
  using Answer = std::function<void(const std::string& line, bool used)>;
  /// On the loop's thread, one at a time, from somebody who has proved to have the token.
  using Handler = std::function<void(const std::string& line, Answer answer)>;

  static Result<std::unique_ptr<JoinDoor>> open(uint16_t port, Post post, Handler handler);
  ~JoinDoor();
  JoinDoor(const JoinDoor&) = delete;
  JoinDoor& operator=(const JoinDoor&) = delete;

  uint16_t port() const { return port_; }
  void add(const JoinToken& token, Instant ends);

 private:
  struct Known {
    std::string secret;
    Instant ends;
    bool used = false;
  };
  JoinDoor(int listener, uint16_t port, Post post, Handler handler);
  void run();
  void serve(int connection);
  /// Why a token that is known is not good any more; empty: it is.
  std::string why_not(const std::string& id);
  std::string ask_the_loop(const std::string& line, const std::string& id);

  const int listener_;
  const uint16_t port_;
  Post post_;
  Handler handler_;
  std::mutex mutex_;
  std::map<std::string, Known> tokens_;  // under the mutex
  std::atomic<bool> closing_ = false;
  std::thread thread_;
};

}  // namespace baton
