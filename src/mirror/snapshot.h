// Snapshot: keeps a store's last consistent state beside it while the store is the target of a copy. One class for each
// kind of store; which one fits is found out by the store's path. Everything runs in a child process, since a clone of
// a large file may take seconds. docs/disk-format.md, "The state before a copy". The loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "src/base/result.h"
#include "src/mirror/ring.h"

namespace baton::mirror {

class Snapshot {
 public:
  using Done = std::function<void(Status)>;

  virtual ~Snapshot() = default;

  /// Keeps the present state, durably; an older one is replaced. kUnavailable: this store cannot.
  /// REQUIRES: no writes under way until `done`.
  virtual void take(Done done) = 0;
  /// The store has the kept state again, durably. The snapshot stays until drop(): first say on disk that the copy is
  /// consistent, then drop. May be repeated after a crash. REQUIRES: no requests under way until `done`.
  virtual void revert(Done done) = 0;
  /// Gives the kept state up. There may be none.
  virtual void drop(Done done) = 0;
  /// Asked at start-up, when nothing has been begun.
  virtual bool exists() const = 0;
  /// For messages: what keeps it.
  virtual const std::string& name() const = 0;

  /// Never nothing: for a store without any way, one whose take() says kUnavailable.
  static std::unique_ptr<Snapshot> for_store(Ring& ring, const std::string& store);
};

}  // namespace baton::mirror
