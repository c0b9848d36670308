// VoterStore: this voter's part of the cluster database on disk (docs/protocol.md, "Cluster database"): promise, counting,
// log. SQLite with synchronous=FULL, on a thread of its own. Owned and called by the event loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "src/base/result.h"
#include "src/core/database/database.h"

namespace baton {

class VoterStore {
 public:
  /// Runs a function soon on the event loop's thread. Must work for as long as the store lives.
  using Post = std::function<void(std::function<void()>)>;
  using PersistDone = std::function<void(bool ok, const std::string& error)>;

  /// Creates the database of a new cluster's voter: counting, nothing promised, an empty log. Refused (kConflict) when
  /// there is one already.
  /// With `begin` it holds that from the start: all of it, or there is no database.
  static Status found(const std::string& path, ServerId self, const database::StoredVoter* begin = nullptr);

  /// Opens the database. A missing one was lost: it is created anew, not counting. A damaged one, one of a newer version
  /// and one of another server than `self` (unless that is 0) are errors: they are never replaced without being asked.
  /// `vfs` is SQLite's file access by name, for tests.
  static Result<std::unique_ptr<VoterStore>> open(const std::string& path, Post post, ServerId self = {},
                                                  const std::string& vfs = "");

  /// Waits for the persists under way; their callbacks are not called any more.
  ~VoterStore();

  /// Everything that is on the disk. Waits for it: for the start only. A gap, a checksum that is wrong or an entry that
  /// cannot be read is an error that names the index.
  Result<database::StoredVoter> load();

  /// The same, without waiting: `done` is called on the event loop's thread.
  using ReadDone = std::function<void(const Result<database::StoredVoter>&)>;
  void read(ReadDone done);

  /// Makes the change durable as one transaction, then calls `done` on the event loop's thread, in order of calling.
  /// After an error nothing of it counts as done, and the next persist() tries with the disk as it is then.
  void persist(const database::Persist& wanted, PersistDone done);

 private:
  struct Implementation;
  explicit VoterStore(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace baton
