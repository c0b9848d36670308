// Export: how the mirror daemon offers the disk to this server: a port with several answers (docs/exports.md).
// The loop's thread.
#pragma once

#include <functional>
#include <string>

#include "src/base/result.h"
#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

class Export {
 public:
  /// Takes each request; its buffer belongs to the taker. A write's data is stable from here on
  /// (docs/protocol.md, O3).
  using OnRequest = std::function<void(const ClientRequest&)>;
  /// The export ended by itself, and why; requests under way are gone.
  using OnLost = std::function<void(std::string)>;
  using Note = std::function<void(std::string)>;

  enum class State { kClosed, kOpening, kOpen, kClosing };

  virtual ~Export() = default;

  /// Makes the device; `done` brings its path. REQUIRES: closed.
  virtual void open(std::function<void(Result<std::string>)> done) = 0;
  /// Takes the device away after everything written was passed on; an error (kConflict: in use) leaves it open.
  /// REQUIRES: open.
  virtual void close(std::function<void(Status)> done) = 0;
  /// All I/O on the device, under way and to come, fails from `done` on. In any state; an open() or close()
  /// under way ends with an error. The device itself goes with its last user.
  virtual void abort(std::function<void()> done) = 0;
  /// Answers a request; one of an export that has been aborted is ignored.
  virtual void complete(RequestId request, bool ok) = 0;
  /// Sends what complete() has gathered. Once at the end of each round of the loop, after the last complete().
  virtual void flush() {}
  /// The pool has grown: requests that waited for memory go on.
  virtual void memory_came() {}
  /// Takes away what an earlier process left behind. Before the first open(); does not wait.
  virtual void reclaim() = 0;

  virtual State state() const = 0;
  /// The device's path while open, else empty.
  virtual const std::string& device() const = 0;

  /// The disk is larger now (never smaller): an open device follows while it is in use, `done` when it has; a
  /// closed one has the size when it opens.
  virtual void grow(uint64_t size_bytes, std::function<void(Status)> done) = 0;
  /// "ublk", "nbd", "fuse".
  virtual std::string kind() const = 0;
};

}  // namespace baton::mirror
