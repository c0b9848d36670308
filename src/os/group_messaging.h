// GroupMessaging: one corosync process group (libcpg): agreed, totally ordered messages and views. libcpg's
// calls have no time-out and a handle is not thread-safe, so each session (handle) belongs to one thread of its
// own; messages and views reach the loop in exactly the order of delivery. The interface is for the loop's
// thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/ids.h"
#include "src/base/result.h"
#include "src/os/event_loop.h"

namespace baton {

struct GroupMember {
  ServerId server;
  uint32_t process = 0;  // the member's process number on its server: a restart gives another one
  auto operator<=>(const GroupMember&) const = default;
};

struct GroupDeparture {
  enum class Reason { kLeave, kServerDown, kProcessDown, kUnknown };
  GroupMember member;
  Reason reason = Reason::kUnknown;
};

/// A membership of the group. `left` and `joined` may differ between members; `members` is what counts.
struct GroupView {
  std::vector<GroupMember> members;  // sorted
  std::vector<GroupDeparture> left;
  std::vector<GroupMember> joined;
};

class GroupMessaging {
 public:
  struct Callbacks {
    std::function<void(const GroupView&)> on_view;
    /// Our own messages come back in their place, too.
    std::function<void(const GroupMember& sender, std::span<const uint8_t> message)> on_message;
    /// The session is gone with everything not yet delivered: other members see us leave. Joining again goes on
    /// by itself; the next on_view is a new beginning.
    std::function<void(const std::string& reason)> on_lost;
  };
  struct Options {
    Duration retry = 20ms;       // between attempts to reach corosync
    Duration stuck_limit = 10s;  // an own message not come back, or a call not answered, for so long:
                                 // lost. Must exceed the time a new membership takes
    size_t queue_bytes = 64u * 1024u * 1024u;  // accepted by send() but not by corosync
  };

  /// Largest message send() takes; what is larger must be split by the caller.
  static constexpr size_t kMaximumMessageBytes = 1024 * 1024 - 4096;

  GroupMessaging(EventLoop& loop, std::string group, Callbacks callbacks, Options options);
  GroupMessaging(EventLoop& loop, std::string group, Callbacks callbacks);
  /// Leaves; waits at most 200 ms for corosync to take note.
  ~GroupMessaging();
  GroupMessaging(const GroupMessaging&) = delete;
  GroupMessaging& operator=(const GroupMessaging&) = delete;

  /// Begins to join, and joins anew after each loss, until close().
  void open();
  void close();

  /// Between a view that holds us and on_lost or close().
  bool joined() const;
  /// This server's number as corosync knows it; 0 before the first view.
  ServerId local_server() const;
  /// This process as a member.
  GroupMember self() const;
  /// Why the last attempt to join did not succeed, for status displays; empty when joined.
  std::string waiting_for() const;

  /// Multicasts to all members, ourselves included. Errors: kUnavailable when not joined or when the queue is
  /// full, kInvalid above kMaximumMessageBytes. No error does not mean delivered: that is when it comes back.
  Status send(Bytes message);

 private:
  struct Session;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace baton
