// LeftoverHelpers: ends the helper processes that an earlier batond has left, group by group, before a step is taken there
// (docs/protocol.md, B1). One that cannot be killed yet (an umount that writes for minutes) holds up its own group only.
// The loop's thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/os/event_loop.h"

namespace baton {

class LeftoverHelpers {
 public:
  explicit LeftoverHelpers(EventLoop& loop);
  ~LeftoverHelpers();

  /// Calls `then`, perhaps at once, when no helper of this group and none of no group is left.
  void when_clear(const std::string& group, std::function<void()> then);
  /// The control group for this group's helpers. Empty: that of those of no group. REQUIRES: it was clear.
  std::string place(const std::string& group) const;

 private:
  struct Place {
    bool begun = false;
    bool clear = false;
    std::string path;
    std::vector<std::function<void()>> waiting;
    EventLoop::Handle retry;
  };

  void when_place_clear(const std::string& name, std::function<void()> then);
  void end_all(const std::string& name);
  void cleared(const std::string& name, const std::string& path);

  EventLoop& loop_;
  std::map<std::string, Place> places_;  // by the control group's name
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace baton
