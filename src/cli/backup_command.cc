// `baton cluster backup`: the cluster database as one file, from a server whose batond runs. docs/operations.md, "Backup".
#include "src/cli/commands.h"
#include "src/cli/durable_file.h"
#include "src/format/database_backup.h"

namespace baton::cli {
namespace {

constexpr milliseconds kReadLimit{120000};

Status add_key(DatabaseBackup& backup, const std::string& etc) {
  auto key = read_whole_file(etc + "/cluster.key");
  if (!key) return pass(key);
  while (!key->empty() && isspace(static_cast<unsigned char>(key->back()))) key->pop_back();
  backup.key = *key;
  return {};
}

}  // namespace

Status back_up_cluster(const Context& context, const BackupOptions& options) {
  const auto answer = context.api.get("/v1/backup", kReadLimit);
  if (!answer) return pass(answer);
  // What cannot be read again is no backup: seen now, not on the day.
  auto backup = backup_from_text(answer->dump());
  if (!backup) return fail("batond's answer is not usable: {}", backup.error().message);
  if (options.with_key)
    if (auto added = add_key(*backup, options.configuration_directory); !added) return added;
  if (auto written = write_durably(options.file, backup_to_json(*backup).dump(1) + "\n", 0600); !written) return written;
  const auto& last = backup->entries.back();
  if (context.json) {
    print_json({{"file", options.file}, {"cluster", backup->cluster}, {"server", backup->server}, {"made_ms", backup->made_ms},
                {"last", {{"epoch", last.epoch}, {"index", last.index}}}, {"with_key", options.with_key}});
    return {};
  }
  const char* what = options.with_key
                         ? "It holds the CLUSTER'S KEY: whoever reads it can become a server of the cluster. Keep it as secret as the key."
                         : "The cluster's key (/etc/baton/cluster.key) is not in it: keep a copy of that, too. What the configuration says "
                           "is in it, the words for fencing agents included.";
  print(wrap_text(fmt::format("{}: the cluster database up to entry {} of epoch {}. The mirrors' data is not in it. {}", options.file,
                              last.index, last.epoch, what), 0));
  return {};
}

}  // namespace baton::cli
