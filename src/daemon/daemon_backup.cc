// The cluster database as a file: for a person, and once a day by itself; and a database that begins with one. One thread: the loop's;
// the log is read, and daily backups are written, on others. docs/protocol.md, R7; docs/operations.md, "Backup".
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>

#include "src/core/database/restored_voter.h"
#include "src/daemon/daemon.h"
#include "src/daemon/durable.h"
#include "src/daemon/sqlite_file.h"
#include "src/daemon/wall_clock.h"
#include "src/format/join_token.h"
#include "src/os/file_text.h"

namespace baton {

namespace {

constexpr Duration kLookInterval = 10min;
constexpr auto kBackupAge = std::chrono::hours(23);
constexpr size_t kBackupsKept = 7;
constexpr const char* kSuffix = ".backup";

std::vector<std::filesystem::path> backups_in(const std::string& directory) {
  std::vector<std::filesystem::path> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored))
    if (entry.path().extension() == kSuffix) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

/// By name: it begins with the time.
std::string name_of(int64_t made_ms) {
  const std::time_t seconds = made_ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H%M%SZ", &parts);
  return text + std::string(kSuffix);
}

Status write_daily(const std::string& directory, const DatabaseBackup& backup) {
  if (auto made = make_directories(directory, 0700); !made) return made;
  const std::string path = directory + "/" + name_of(backup.made_ms);
  if (auto written = replace_text_file(path, backup_to_json(backup).dump(1) + "\n", 0600); !written) return written;
  if (auto kept = make_durable(path); !kept) return kept;
  if (auto kept = make_durable(directory); !kept) return kept;
  auto found = backups_in(directory);
  std::error_code ignored;
  for (size_t place = 0; place + kBackupsKept < found.size(); ++place) std::filesystem::remove(found[place], ignored);
  return {};
}

std::vector<BackupEntry> to_backup(const std::vector<database::Entry>& entries, uint64_t committed) {
  std::vector<BackupEntry> list;
  for (const auto& entry : entries)
    if (entry.index <= committed)
      list.push_back({entry.epoch.value, entry.index, entry.origin.value, entry.request, entry.wall_ms, entry.command});
  return list;
}

database::StoredVoter voter_from(const DatabaseBackup& backup, const RestoreOrder& order, ServerId self, const std::string& key) {
  std::vector<database::Entry> entries;
  for (const auto& entry : backup.entries)
    entries.push_back({Epoch(entry.epoch), entry.index, entry.command, ServerId(entry.origin), entry.request, entry.wall_ms});
  database::Restoration restoration{self,           {self},        database::restore_round(order.wall_ms, order.random),
                                    order.wall_ms,  backup.made_ms, backup.server,
                                    order.author,   fingerprint_of(key)};
  for (const uint32_t survivor : order.survivors) restoration.survivors.insert(ServerId(survivor));
  return database::restored_voter(std::move(entries), restoration);
}

/// The entries after the backup's are of another history now.
Status forget_history_above(const std::string& path, uint64_t index) {
  if (!std::filesystem::exists(path)) return {};
  auto file = SqliteFile::open(path, {});
  if (!file) return pass(file);
  return (*file)->execute(fmt::format("DELETE FROM history WHERE position > {}", index));
}

}  // namespace

void Daemon::back_up(BackupDone done) {
  const uint64_t committed = node_->standing().committed;
  if (committed == 0 || node_->state().configuration_version == 0)
    return done(fail_as(ErrorCode::kConflict, "this server does not know yet what is committed ({}): make the backup on a server whose "
                        "database serves", node_->standing().waiting));
  DatabaseBackup backup;
  backup.cluster = node_->configuration().cluster_name;
  backup.server = node_->configuration().server_name(self_);
  backup.made_ms = wall_now_ms();
  backup.format_level = node_->state().format_level;
  backup.key_fingerprint = fingerprint_of(keys_.current);
  voter_store_->read([backup, committed, done](const Result<database::StoredVoter>& stored) mutable {
    if (!stored) return done(pass(stored));
    backup.entries = to_backup(stored->entries, committed);
    // What is committed is on a majority's disks, which this one need not be of.
    if (backup.entries.empty() || state_of(backup).configuration_version == 0)
      return done(fail_as(ErrorCode::kConflict, "this server's disk does not hold what is committed yet: repeat in a moment"));
    done(backup);
  });
}

/// A copy is kept for whoever loses all databases and has made none.
void Daemon::back_up_daily() {
  daily_timer_ = loop_.after(kLookInterval, [this] { back_up_daily(); });
  const std::string directory = paths_.state_directory + "/backups";
  const auto found = backups_in(directory);
  const auto now = std::filesystem::file_time_type::clock::now();
  // One of the future was made while the clock was ahead.
  const bool recent = std::any_of(found.begin(), found.end(), [&](const auto& file) {
    std::error_code failed;
    const auto written = std::filesystem::last_write_time(file, failed);
    return !failed && written <= now && now - written < kBackupAge;
  });
  if (recent || !node_->standing().serving || node_->standing().committed == daily_index_) return;
  const uint64_t index = node_->standing().committed;
  back_up([this, directory, index](const Result<DatabaseBackup>& backup) {
    if (!backup) return spdlog::warn("no daily backup of the cluster database: {}", backup.error().message);
    store_worker_.run([door = loop_door_, directory, index, backup = *backup, this] {
      const Status done = write_daily(directory, backup);
      door.post([this, done, index] {
        if (done) daily_index_ = index;
        else write_note({.kind = "problem", .text = "no daily backup of the cluster database: " + done.error().message});
      });
    });
  });
}

/// After `baton cluster restore`. The order goes last: a crash before that repeats what is not done.
Status Daemon::restore_from_backup() {
  const std::string mark = paths_.state_directory + kRestoringMark;
  if (!std::filesystem::exists(mark)) return {};
  const auto text = read_text_file(mark);
  if (!text) return pass(text);
  const auto order = read_restore_order(*text);
  if (!order) return fail_as(ErrorCode::kInvalid, "{}: {}; remove it, or restore again", mark, order.error().message);
  const auto backup = backup_from_text(order->backup);
  if (!backup) return fail_as(ErrorCode::kInvalid, "{}: {}; remove it, or restore again", mark, backup.error().message);
  const std::string database = paths_.state_directory + "/database.sqlite";
  const auto voter = voter_from(*backup, *order, self_, keys_.current);
  const std::string aside = paths_.state_directory + fmt::format("/before-restore-{}", voter.promised);
  // SAFETY: the database that was here is put there once; what is in its place then is the restored one, made as a whole.
  if (order->had_database && (!std::filesystem::exists(aside + "/database.sqlite") || !std::filesystem::exists(database)))
    if (auto moved = put_database_aside(aside); !moved) return moved;
  if (!std::filesystem::exists(database))
    if (auto founded = VoterStore::found(database, self_, &voter); !founded) return founded;
  std::error_code ignored;
  for (const char* name : {kGivenUpMark, kBeginAnewMark}) std::filesystem::remove(paths_.state_directory + name, ignored);
  if (auto written = replace_text_file(paths_.state_directory + "/cluster.toml", state_of(*backup).configuration_text); !written) return written;
  read_present_configuration();
  if (auto cut = forget_history_above(paths_.state_directory + "/events.sqlite", backup->entries.size()); !cut)
    spdlog::warn("the history of before the restore stays: {}", cut.error().message);
  GuardClient::forget_earlier_cluster(paths_.run_directory);
  std::filesystem::remove(mark, ignored);
  if (auto kept = make_durable(paths_.state_directory); !kept) return kept;
  spdlog::warn("the cluster database begins with the backup that {} made ({} entries)", backup->server, backup->entries.size());
  return {};
}

}  // namespace baton
