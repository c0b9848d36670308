// The state of the interconnects as corosync sees them (its statistics map). Reads on a thread of its own,
// because libcmap's calls have no time-out. The interface is for the loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "src/base/ids.h"
#include "src/base/result.h"
#include "src/os/event_loop.h"

namespace baton {

struct LinkStatus {
  ServerId peer;
  uint32_t link = 0;
  bool connected = false;
  auto operator<=>(const LinkStatus&) const = default;
};

class LinkStatusReader {
 public:
  explicit LinkStatusReader(EventLoop& loop);
  ~LinkStatusReader();
  LinkStatusReader(const LinkStatusReader&) = delete;
  LinkStatusReader& operator=(const LinkStatusReader&) = delete;

  using Callback = std::function<void(Result<std::vector<LinkStatus>>)>;
  /// The links to all peers, sorted; this server itself (if given) is left out. Errors: kUnavailable when
  /// corosync is not there, or when the previous read has not been answered yet.
  void read(ServerId local, Callback callback);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace baton
