// What an administrator asks of one server's copy of a mirror (verify, discard, replace, backup), from any server: the call goes to
// the right batond over the cluster's messages and its answer comes back the same way. One thread: the loop's.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "src/core/node/node_types.h"
#include "src/daemon/mirror_client.h"
#include "src/os/event_loop.h"

namespace baton {

class MirrorCalls {
 public:
  using Answer = std::function<void(Result<nlohmann::json>)>;
  struct Links {
    std::function<void(node::Message)> send;
    std::function<MirrorClient*(const std::string& key)> find;
    /// For the event log of the server that carries it out.
    std::function<void(const std::string& key, const std::string& text)> note;
  };

  MirrorCalls(EventLoop& loop, ServerId self, Links links);

  /// Asks `server` (this one included). Answers once: what it says, or kUnavailable when it leaves, or kTimeout.
  void ask(ServerId server, const std::string& mirror, const std::string& verb, const nlohmann::json& body, Answer answer);

  // What the cluster's messages bring.
  void take(const node::MirrorCall& call);
  void take(const node::MirrorAnswer& answer);
  void servers_left(const std::set<ServerId>& present);

 private:
  void carry_out(const std::string& mirror, const std::string& verb, const nlohmann::json& body, Answer answer);
  void finish(uint64_t request, Result<nlohmann::json> result);

  struct Waiting {
    ServerId server;
    Answer answer;
    EventLoop::Handle deadline;
  };

  EventLoop& loop_;
  ServerId self_;
  Links links_;
  uint64_t next_request_ = 0;
  std::map<uint64_t, Waiting> waiting_;
};

/// The API's name of an error code, and back (kFailed for one that is not known).
const char* code_name(ErrorCode code);
ErrorCode code_of(const std::string& name);

}  // namespace baton
