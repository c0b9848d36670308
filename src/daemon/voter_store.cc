// VoterStore over SQLite. Everything below Implementation's `file` runs on the store's thread once open() is done.
// docs/protocol.md, "Cluster database".
#include "src/daemon/voter_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <future>

#include "src/base/assert.h"
#include "src/daemon/job_thread.h"
#include "src/daemon/sqlite_file.h"
#include "src/daemon/voter_rows.h"

namespace baton {
namespace {

using voter_rows::EntryRow;
using voter_rows::Voter;

Status sync_directory(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail("cannot open directory {}: {}", directory, std::strerror(errno));
  const int synced = ::fsync(fd);
  const int reason = errno;
  ::close(fd);
  if (synced != 0) return fail("cannot make directory {} durable: {}", directory, std::strerror(reason));
  return {};
}

/// Builds the file beside its place and links it there when it is complete: a crash leaves no half of a database.
/// ENSURES: kConflict when there is one.
Status create_database(const std::string& path, const Voter& voter, const std::string& vfs,
                       const std::vector<EntryRow>& entries = {}) {
  const std::string made = path + ".new";
  const auto parent = std::filesystem::absolute(path).parent_path();
  std::error_code failed;
  std::filesystem::create_directories(parent, failed);
  for (const char* suffix : {"", "-journal"}) ::unlink((made + suffix).c_str());
  {
    auto file = SqliteFile::open(made, {.create = true, .write_ahead_log = false, .vfs = vfs});
    if (!file) return pass(file);
    if (auto created = voter_rows::create_tables(**file, voter); !created) return created;
    auto transaction = SqliteTransaction::begin(**file);
    if (!transaction) return pass(transaction);
    if (auto added = voter_rows::add_entries(**file, entries); !added) return added;
    if (auto done = transaction->commit(); !done) return done;
  }
  if (::chmod(made.c_str(), 0600) != 0) return fail("cannot set the mode of {}: {}", made, std::strerror(errno));
  if (::access(path.c_str(), F_OK) != 0) {
    // SAFETY: a write-ahead log whose file has been lost would be played into the new file.
    for (const char* suffix : {"-wal", "-shm", "-journal"}) ::unlink((path + suffix).c_str());
  }
  const int linked = ::link(made.c_str(), path.c_str());
  const int reason = errno;
  ::unlink(made.c_str());
  if (linked != 0 && reason == EEXIST) {
    return fail_as(ErrorCode::kConflict,
                   "{} exists already: this server has a cluster database; remove it only if its cluster is given up",
                   path);
  }
  if (linked != 0) return fail("cannot create {}: {}", path, std::strerror(reason));
  return sync_directory(parent.string());
}

}  // namespace

struct VoterStore::Implementation {
  std::string path;
  std::string vfs;
  Post post;

  // What this voter holds by what persist() has answered. Only the store's thread.
  Voter held;
  uint64_t held_last = 0;
  std::unique_ptr<SqliteFile> file;  // null after an error: opened anew by the next persist

  // A commit that failed may have happened or not. Until the next one succeeds, this says how to get back to what is
  // held: entries above `above` are cut off and these are put there.
  struct Undo {
    uint64_t above = 0;
    std::vector<EntryRow> entries;
  };
  std::optional<Undo> undo;

  std::shared_ptr<bool> alive = std::make_shared<bool>(true);  // callbacks are called while it lives; the loop's thread
  std::optional<JobThread> thread;                             // last: it uses all of the above

  Status open_file();
  Status open_first(ServerId self);
  Result<database::StoredVoter> load();
  Status persist(const database::Persist& wanted);
  Status write(const Voter& voter, uint64_t base, const std::vector<EntryRow>& added);
};

Status VoterStore::Implementation::open_file() {
  auto opened = SqliteFile::open(path, {.vfs = vfs});
  if (!opened) return pass(opened);
  if (auto known = check_sqlite_format(**opened, voter_rows::kApplicationId, voter_rows::kVersion); !known) return known;
  // SAFETY: after an fsync that failed, what can be read is not what is on the disk. Moving everything into the file,
  // and syncing that, makes it so; only then may more be added behind it.
  if (auto moved = (*opened)->checkpoint(); !moved) return moved;
  file = std::move(*opened);
  return {};
}

Status VoterStore::Implementation::open_first(ServerId self) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) {
    if (errno != ENOENT) return fail("cannot look at {}: {}", path, std::strerror(errno));
    auto created = create_database(path, Voter{self, Epoch{}, false}, vfs);
    if (!created) return created;
  } else if (found.st_size == 0) {
    return fail_as(ErrorCode::kInvalid,
                   "{} is damaged: it is empty; if a majority of the other voters is there, remove it and restart "
                   "batond: this voter then catches up before it counts again",
                   path);
  }
  if (auto opened = open_file(); !opened) return opened;
  if (auto whole = file->check(); !whole) return whole;
  auto voter = voter_rows::read_voter(*file);
  if (!voter) return pass(voter);
  if (self != ServerId{} && voter->server != self && voter->server != ServerId{}) {
    return fail_as(ErrorCode::kConflict,
                   "{} belongs to server {}, but this is server {}: was the disk copied? Remove it here and restart batond",
                   path, voter->server, self);
  }
  held = *voter;
  if (held.server == ServerId{}) held.server = self;
  auto last = voter_rows::last_index(*file);
  if (!last) return pass(last);
  held_last = *last;
  return {};
}

Result<database::StoredVoter> VoterStore::Implementation::load() {
  if (file == nullptr) {
    if (auto opened = open_file(); !opened) return pass(opened);
  }
  auto voter = voter_rows::read_voter(*file);
  if (!voter) return pass(voter);
  auto rows = voter_rows::read_entries(*file, 0);
  if (!rows) return pass(rows);
  database::StoredVoter stored{voter->promised, voter->counting, {}};
  stored.entries.reserve(rows->size());
  for (const auto& row : *rows) {
    auto entry = voter_rows::from_row(*file, row);
    if (!entry) return pass(entry);
    stored.entries.push_back(std::move(*entry));
  }
  return stored;
}

Status VoterStore::Implementation::persist(const database::Persist& wanted) {
  Voter voter = held;
  // SAFETY: a promise never goes back, and the log has no gaps.
  BATON_ASSERT(!wanted.promised || *wanted.promised >= held.promised);
  voter.promised = wanted.promised.value_or(held.promised);
  voter.counting = wanted.counting.value_or(held.counting);
  const uint64_t base = std::min(wanted.keep_up_to.value_or(held_last), held_last);
  std::vector<EntryRow> added;
  for (const auto& entry : wanted.append) {
    BATON_ASSERT(entry.index == base + added.size() + 1);
    added.push_back(voter_rows::to_row(entry));
  }
  if (file == nullptr) {
    if (auto opened = open_file(); !opened) return opened;
  }
  auto written = write(voter, base, added);
  if (!written) {
    file.reset();
    return written;
  }
  undo.reset();
  held = voter;
  held_last = base + added.size();
  return {};
}

Status VoterStore::Implementation::write(const Voter& voter, uint64_t base, const std::vector<EntryRow>& added) {
  auto transaction = SqliteTransaction::begin(*file);
  if (!transaction) return pass(transaction);
  if (undo) {
    if (auto cut = voter_rows::cut_entries(*file, undo->above); !cut) return cut;
    if (auto restored = voter_rows::add_entries(*file, undo->entries); !restored) return restored;
  }
  if (!undo || base < undo->above) {
    auto removed = base < held_last ? voter_rows::read_entries(*file, base) : std::vector<EntryRow>();
    if (!removed) return pass(removed);
    undo = Undo{base, std::move(*removed)};
  }
  if (base < held_last) {
    if (auto cut = voter_rows::cut_entries(*file, base); !cut) return cut;
  }
  if (auto appended = voter_rows::add_entries(*file, added); !appended) return appended;
  if (auto changed = voter_rows::write_voter(*file, voter); !changed) return changed;
  return transaction->commit();
}

VoterStore::VoterStore(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}

VoterStore::~VoterStore() {
  implementation_->alive.reset();
  implementation_->thread.reset();
}

Status VoterStore::found(const std::string& path, ServerId self, const database::StoredVoter* begin) {
  struct stat exists {};
  if (::stat(path.c_str(), &exists) == 0) {
    return fail_as(ErrorCode::kConflict,
                   "{} exists already: this server has a cluster database; remove it only if its cluster is given up",
                   path);
  }
  std::vector<EntryRow> rows;
  if (begin != nullptr)
    for (const auto& entry : begin->entries) rows.push_back(voter_rows::to_row(entry));
  return create_database(path, Voter{self, begin == nullptr ? Epoch{} : begin->promised, true}, "", rows);
}

Result<std::unique_ptr<VoterStore>> VoterStore::open(const std::string& path, Post post, ServerId self,
                                                     const std::string& vfs) {
  auto implementation = std::make_unique<Implementation>();
  implementation->path = path;
  implementation->vfs = vfs;
  implementation->post = std::move(post);
  if (auto opened = implementation->open_first(self); !opened) return pass(opened);
  implementation->thread.emplace("voter-store");
  return std::unique_ptr<VoterStore>(new VoterStore(std::move(implementation)));
}

Result<database::StoredVoter> VoterStore::load() {
  std::promise<Result<database::StoredVoter>> loaded;
  implementation_->thread->run([&] { loaded.set_value(implementation_->load()); });
  return loaded.get_future().get();
}

void VoterStore::read(ReadDone done) {
  std::weak_ptr<bool> alive = implementation_->alive;
  implementation_->thread->run([self = implementation_.get(), done = std::move(done), alive] {
    auto stored = std::make_shared<Result<database::StoredVoter>>(self->load());
    self->post([done, alive, stored] {
      if (!alive.expired()) done(*stored);
    });
  });
}

void VoterStore::persist(const database::Persist& wanted, PersistDone done) {
  std::weak_ptr<bool> alive = implementation_->alive;
  implementation_->thread->run([self = implementation_.get(), wanted, done = std::move(done), alive] {
    const auto written = self->persist(wanted);
    std::string error;
    if (!written) error = "the cluster database cannot be written: " + written.error().message;
    self->post([done, alive, ok = written.has_value(), error = std::move(error)] {
      if (!alive.expired()) done(ok, error);
    });
  });
}

}  // namespace baton
