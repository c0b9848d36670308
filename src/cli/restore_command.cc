// `baton cluster restore`: this server begins with a backup, when the databases of all servers are lost. Judges, asks, and leaves the
// order for batond's next start. docs/operations.md, "Restore"; docs/protocol.md, R7-R10.
#include <fmt/ranges.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <set>

#include "src/cli/cluster_key.h"
#include "src/cli/commands.h"
#include "src/cli/durable_file.h"
#include "src/cli/old_database.h"
#include "src/format/database_backup.h"
#include "src/format/join_token.h"
#include "src/model/configuration_toml.h"

namespace baton::cli {
namespace {

struct Wanted {
  DatabaseBackup backup;
  std::string text;  // the file's
  ClusterState state;
  Configuration configuration;
  ServerId self;
  std::string key;
  bool key_is_new = false;
  OldDatabase here;
  std::vector<std::string> given_up;
};

int64_t wall_ms() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Whatever it does: somebody listens.
bool batond_runs() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = api_socket_path();
  if (path.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool connected = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return connected;
}

std::string trimmed(std::string text) {
  while (!text.empty() && isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text;
}

Status read_backup(const RestoreOptions& options, Wanted& wanted) {
  auto text = read_whole_file(options.file);
  if (!text) return pass(text);
  wanted.text = std::move(*text);
  auto backup = backup_from_text(wanted.text);
  if (!backup) return fail_as(ErrorCode::kInvalid, "{}: {}", options.file, backup.error().message);
  wanted.backup = std::move(*backup);
  wanted.state = state_of(wanted.backup);
  auto configuration = parse_configuration(wanted.state.configuration_text, options.file);
  if (!configuration) return pass(configuration);
  wanted.configuration = std::move(*configuration);
  return {};
}

/// Who this server is in the backup, and whose databases are given up.
Status find_servers(const RestoreOptions& options, Wanted& wanted) {
  std::vector<std::string> known;
  for (const auto& server : wanted.configuration.servers) known.push_back(server.name);
  const auto unknown = [&](const std::string& name) {
    return fail_as(ErrorCode::kInvalid, "the backup knows no server \"{}\": known are {}", name, fmt::join(known, ", "));
  };
  if (options.server.empty()) return fail_as(ErrorCode::kInvalid, "say which server this is: --as, one of {}", fmt::join(known, ", "));
  const auto* self = wanted.configuration.server(options.server);
  if (self == nullptr) return unknown(options.server);
  wanted.self = self->id;
  std::set<ServerId> begin_anew;
  for (const std::string& name : options.with) {
    const auto* server = wanted.configuration.server(name);
    if (server == nullptr) return unknown(name);
    begin_anew.insert(server->id);
  }
  for (const auto& server : wanted.configuration.servers)
    if (server.id != wanted.self && !begin_anew.contains(server.id)) wanted.given_up.push_back(server.name);
  return {};
}

/// The server that this machine was until now must be the one that it is to be.
Status check_identity(const RestoreOptions& options, const Wanted& wanted) {
  const std::string& etc = options.configuration_directory;
  if (const auto name = read_whole_file(etc + "/server"); name && trimmed(*name) != wanted.configuration.server_name(wanted.self))
    return fail_as(ErrorCode::kConflict, "this server is {} (as {}/server says), not {}", trimmed(*name), etc, options.server);
  const auto text = read_whole_file(etc + "/cluster.toml");
  if (!text) return {};
  const auto present = parse_configuration(*text, etc + "/cluster.toml");
  if (present && present->cluster_name != wanted.backup.cluster)
    return fail_as(ErrorCode::kConflict, "this server belongs to cluster {} (as {}/cluster.toml says), the backup is of cluster {}",
                   present->cluster_name, etc, wanted.backup.cluster);
  return {};
}

/// The given key, the one in place, the backup's, or a new one by a person's word.
Status find_key(const RestoreOptions& options, Wanted& wanted) {
  const std::string place = options.configuration_directory + "/cluster.key";
  const bool given = !options.key_file.empty();
  std::error_code ignored;
  if (given || std::filesystem::exists(place, ignored)) {
    auto key = read_cluster_key(given ? options.key_file : place);
    if (!key) return pass(key);
    wanted.key = *key;
  } else if (!wanted.backup.key.empty()) {
    wanted.key = wanted.backup.key;
  } else if (options.new_key) {
    auto made = make_cluster_key();
    if (!made) return pass(made);
    wanted.key = *made;
    wanted.key_is_new = true;
    return {};
  } else {
    return fail_as(ErrorCode::kNotFound, "the cluster's key is missing: there is no {}, and the backup was made without it. Copy it from "
                   "another server and name it by --key; if it is lost everywhere, --new-key makes one (which the other servers need, too)", place);
  }
  if (!given && cluster_fingerprint(wanted.key) != wanted.backup.key_fingerprint)
    return fail_as(ErrorCode::kConflict, "{} is not the key that the cluster had when the backup was made: it is the backup of another "
                   "cluster, or the key was changed since. In the latter case say so: --key {}", place, place);
  return {};
}

Status check_here(const RestoreOptions& options, Wanted& wanted) {
  if (batond_runs()) return fail_as(ErrorCode::kConflict, "batond runs on this server: stop it first (systemctl stop batond)");
  wanted.here = look_at_database(options.state_directory + "/database.sqlite");
  if (wanted.here.in_use) return fail_as(ErrorCode::kConflict, "the database of this server is in use: stop batond first (systemctl stop batond)");
  if (wall_ms() < wanted.backup.made_ms)
    return fail_as(ErrorCode::kConflict, "the clock of this server ({}) is before the time at which the backup was made ({}): set it first",
                   format_time(wall_ms()).substr(0, 19), format_time(wanted.backup.made_ms).substr(0, 19));
  return {};
}

std::string describe_here(const Wanted& wanted) {
  const OldDatabase& here = wanted.here;
  if (!here.exists) return "This server has no database.";
  if (!here.problem.empty()) return fmt::format("This server has a database that cannot be read ({}).", here.problem);
  const auto& last = wanted.backup.entries.back();
  const bool newer = std::pair(here.epoch, here.index) > std::pair(last.epoch, last.index);
  const bool same = std::pair(here.epoch, here.index) == std::pair(last.epoch, last.index);
  return fmt::format("This server has a database, up to entry {} of epoch {}: {} the backup{}.", here.index, here.epoch,
                     newer ? "NEWER than" : same ? "the same as" : "older than",
                     newer ? ". To go on with that one when only a majority is lost: start batond, then baton cluster recover" : "");
}

Status check_old_database(const RestoreOptions& options, const Wanted& wanted) {
  if (!wanted.here.exists || options.replace) return {};
  return fail_as(ErrorCode::kConflict, "nothing was changed. {} To put it aside (nothing is deleted) and begin with the backup: --replace",
                 describe_here(wanted));
}

std::string describe_backup(const Wanted& wanted) {
  const auto& backup = wanted.backup;
  const auto& last = backup.entries.back();
  std::string text = wrap_text(fmt::format("Backup of cluster {}, made on {} at {}: up to entry {} of epoch {}, configuration {}", backup.cluster,
                                           backup.server, format_time(backup.made_ms).substr(0, 19), last.index, last.epoch,
                                           wanted.state.configuration_version), 0);
  for (const auto& server : wanted.configuration.servers) text += fmt::format("  {} {}\n", server.role == ServerRole::kWitness ? "witness" : "server ", server.name);
  for (const auto& [name, group] : wanted.state.groups)
    text += wrap_text(fmt::format("group {}: {}{} then, {}", name, to_string(group.phase),
                                  group.owner == ServerId{} ? "" : " on " + wanted.configuration.server_name(group.owner),
                                  group.wanted ? "wanted" : "not wanted"), 2);
  for (const auto& [key, mirror] : wanted.state.mirrors)
    text += wrap_text(fmt::format("mirror {}: which copies have everything is not known any more. Its group waits until a person has "
                                  "seen what they hold and named one (baton mirror force)", key), 2);
  return text + wrap_text(describe_here(wanted), 0);
}

std::string describe_loss(const Wanted& wanted) {
  std::string text = fmt::format("Whatever the cluster decided since {} is lost: members, configuration, moves.",
                                 format_time(wanted.backup.made_ms).substr(0, 19));
  if (!wanted.given_up.empty())
    text += fmt::format(" A database that is left on {} is given up for good: see that each of them is OFF, and comes back only with its "
                        "database moved away; one that runs, or comes back where it does not hear this server, could serve the old "
                        "cluster beside this one.", fmt::join(wanted.given_up, " or "));
  if (wanted.configuration.np == NpKind::kDisk)
    text += fmt::format(" The disk {} lets a server with an old database go on by itself, even where it is alone: see that none does.",
                        wanted.configuration.np_disk);
  return wrap_text(text, 0);
}

Status ask_person(const Context& context, const RestoreOptions& options, const Wanted& wanted) {
  const std::set<std::string> named(options.given_up.begin(), options.given_up.end());
  const std::set<std::string> lost(wanted.given_up.begin(), wanted.given_up.end());
  if ((options.yes || !named.empty()) && named != lost)
    return fail_as(ErrorCode::kInvalid, "nothing was changed: given up would be {}, and --give-up names {}",
                   lost.empty() ? "nobody" : fmt::format("{}", fmt::join(lost, ", ")),
                   named.empty() ? "nobody" : fmt::format("{}", fmt::join(named, ", ")));
  if (options.yes) return {};
  std::string instead = "if that is accepted, say --yes";
  for (const std::string& name : wanted.given_up) instead += " --give-up " + name;
  const std::string question = describe_backup(wanted) + describe_loss(wanted);
  return ask_for_name(question.substr(0, question.size() - 1), wanted.backup.cluster, instead, context.json);
}

Result<RestoreOrder> make_order(const RestoreOptions& options, const Wanted& wanted) {
  RestoreOrder order;
  if (getrandom(&order.random, sizeof order.random, 0) != sizeof order.random) return fail("cannot get random bytes: {}", strerror(errno));
  order.survivors.push_back(wanted.self.value);
  for (const std::string& name : options.with) order.survivors.push_back(wanted.configuration.server(name)->id.value);
  order.wall_ms = wall_ms();
  order.author = author();
  order.had_database = wanted.here.exists;
  order.backup = wanted.text;
  return order;
}

/// The order goes before what batond needs to start at all: whoever starts it then finds all of them.
Status put_in_place(const RestoreOptions& options, const Wanted& wanted, const RestoreOrder& order) {
  const std::string& etc = options.configuration_directory;
  std::error_code error;
  for (const std::string& directory : {etc, options.state_directory}) {
    std::filesystem::create_directories(directory, error);
    if (error) return fail("cannot make the directory {}: {}", directory, error.message());
  }
  const std::string name = wanted.configuration.server_name(wanted.self);
  if (auto done = write_durably(options.state_directory + "/restoring", write_restore_order(order), 0600); !done) return done;
  if (auto done = write_durably(etc + "/cluster.key", wanted.key + "\n", 0600); !done) return done;
  // Of a rotation that the backup knows nothing of.
  for (const char* other : {"/cluster.next.key", "/cluster.old.key"}) std::filesystem::remove(etc + other, error);
  if (auto done = write_durably(etc + "/cluster.toml", wanted.state.configuration_text, 0644); !done) return done;
  return write_durably(etc + "/server", name + "\n", 0644);
}

void show(const Context& context, const Wanted& wanted) {
  if (!context.json) return print(describe_backup(wanted) + (wanted.self == ServerId{} ? "" : describe_loss(wanted)));
  const auto& last = wanted.backup.entries.back();
  json servers = json::array();
  for (const auto& server : wanted.configuration.servers) servers.push_back(server.name);
  print_json({{"cluster", wanted.backup.cluster}, {"server", wanted.backup.server}, {"made_ms", wanted.backup.made_ms},
              {"last", {{"epoch", last.epoch}, {"index", last.index}}}, {"servers", servers}, {"with_key", !wanted.backup.key.empty()},
              {"given_up", wanted.given_up}, {"database_here", wanted.here.exists}});
}

void report(const Context& context, const Wanted& wanted) {
  const std::string name = wanted.configuration.server_name(wanted.self);
  if (context.json) return print_json({{"restored", true}, {"server", name}, {"given_up", wanted.given_up}, {"new_key", wanted.key_is_new}});
  print(wrap_text(fmt::format("{} begins with the backup at its next start: start batond here, then on the others, whose databases must be "
                              "gone{}. See `baton status`; a mirror waits for `baton mirror force`.{}", name,
                              wanted.given_up.size() + 1 == wanted.configuration.servers.size() ? "" : " or were named by --with",
                              wanted.key_is_new ? " A new key was made: copy /etc/baton/cluster.key to every other server first." : ""), 0));
}

}  // namespace

Status restore_cluster(const Context& context, const RestoreOptions& options) {
  Wanted wanted;
  if (auto read = read_backup(options, wanted); !read) return read;
  if (!options.only_show || !options.server.empty())
    if (auto found = find_servers(options, wanted); !found) return found;
  if (options.only_show) {
    wanted.here = look_at_database(options.state_directory + "/database.sqlite");
    show(context, wanted);
    return {};
  }
  if (auto checked = check_here(options, wanted); !checked) return checked;
  if (auto checked = check_identity(options, wanted); !checked) return checked;
  if (auto found = find_key(options, wanted); !found) return found;
  if (auto checked = check_old_database(options, wanted); !checked) return checked;
  if (auto asked = ask_person(context, options, wanted); !asked) return asked;
  // The answer may have taken long.
  const bool existed = wanted.here.exists;
  if (auto checked = check_here(options, wanted); !checked) return checked;
  if (wanted.here.exists != existed) return fail_as(ErrorCode::kConflict, "nothing was changed: the database of this server has come or gone meanwhile; repeat");
  const auto order = make_order(options, wanted);
  if (!order) return pass(order);
  if (auto put = put_in_place(options, wanted, *order); !put) return put;
  report(context, wanted);
  return {};
}

}  // namespace baton::cli
