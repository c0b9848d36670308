// What `baton COMMAND` does, a function for each. They print their result and return an error for main to
// print. One thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/cli/api_client.h"
#include "src/cli/json_access.h"
#include "src/cli/terminal.h"
#include "src/model/configuration.h"

namespace baton::cli {

/// What every command needs.
struct Context {
  ApiClient api;
  bool json = false;
  Painter painter;
};

struct CreateOptions {
  std::string file;  // empty: the one that is in place
  std::string server;
  std::string key_file;
  std::string configuration_directory = "/etc/baton";
  std::string state_directory = "/var/lib/baton";
  bool preflight = true;
};

struct RotateKeysOptions {
  bool certificates = false;  // these alone
  bool cancel = false;
  bool wait = true;
  milliseconds timeout{300000};  // for the new key to reach all servers
};

struct JoinOptions {
  std::string token;
  std::string name;
  std::vector<std::string> interconnects;
  bool witness = false;
  bool wait = true;
  bool preflight = true;
  milliseconds timeout{120000};
  std::string configuration_directory = "/etc/baton";
  std::string state_directory = "/var/lib/baton";
};

struct RecoverOptions {
  bool only_show = false;
  bool yes = false;
  std::vector<std::string> given_up;  // named by the person
};

struct BackupOptions {
  std::string file;
  bool with_key = false;
  std::string configuration_directory = "/etc/baton";
};

struct RestoreOptions {
  std::string file;
  std::string server;                 // which one this is
  std::vector<std::string> with;      // others whose old databases are put aside by themselves
  std::vector<std::string> given_up;  // named by the person
  std::string key_file;
  bool new_key = false;
  bool replace = false;               // a database that is here is put aside
  bool only_show = false;
  bool yes = false;
  std::string configuration_directory = "/etc/baton";
  std::string state_directory = "/var/lib/baton";
};

struct GroupOptions {
  std::string verb;  // start, stop, move
  std::string group;
  std::string server;  // where to; empty: as the policy says
  milliseconds timeout{180000};
  bool wait = true;
};

struct TemplateOptions {
  std::string name;  // of one that is built in
  std::string file;  // a person's own, in place of that
  std::string group;
  std::vector<std::string> settings;  // NAME=VALUE
  std::vector<std::string> servers;   // empty: the cluster's two
  bool dry_run = false;
};

/// A program that a script has supervised.
struct SuperviseOptions {
  std::string id;
  std::vector<std::string> command;
  std::string group;      // empty: that of the script which calls
  std::string script;
  std::string user;       // empty: the script's
  std::string directory;  // empty: the script's
  uint32_t restarts = 0;
  milliseconds window{0};    // in which they are counted; 0: for good
  bool unwatched = false;
  bool with_script = false;
  std::string on_failure;    // empty: failover
};

struct FenceOptions {
  std::string server;
  bool confirm = false;  // a person has seen it off
  bool yes = false;      // do not ask
  milliseconds timeout{180000};
};

struct PreflightOptions {
  std::string file;    // empty: the one that is in place
  std::string server;  // empty: as the identity says, or as this server's addresses do
  std::string configuration_directory = "/etc/baton";
  std::string state_directory = "/var/lib/baton";
  std::string run_directory = "/run/baton";
};

struct SupportOptions {
  std::string output;  // ends with .tar.gz or .tar.zst; empty: a name with server and time, here
  std::string configuration_directory = "/etc/baton";
  std::string state_directory = "/var/lib/baton";
  std::string run_directory = "/run/baton";
  std::string log_directory = "/var/log/baton";
};

/// Maintenance of the cluster, a server or a group.
struct MaintenanceOptions {
  std::string scope;  // cluster, server, group
  std::string name;   // server: empty is this one
  std::string verb;   // suspend, resume, drain, undrain, shutdown, return, release
  std::string reason;
  milliseconds lasts{0};  // of a suspension; 0: until resumed
  bool stop = false;      // shutdown: do not move groups
  bool reboot = false;
  bool power_off = false;
  bool cancel = false;
  bool wait = true;
  milliseconds timeout{300000};
};

struct VerifyOptions {
  bool repair = false;
  bool wait = true;
  milliseconds timeout{3600000};
};

Status show_status(const Context& context, bool watch, bool links = false);
Status create_cluster(const Context& context, const CreateOptions& options);
Status make_join_token_for(const Context& context, milliseconds good_for);
Status rotate_keys(const Context& context, const RotateKeysOptions& options);
Status join_cluster(const Context& context, const JoinOptions& options);
Status leave_cluster(const Context& context);
/// Goes on without a majority that is lost for good: shows what the survivors hold, and asks.
Status recover_cluster(const Context& context, const RecoverOptions& options);
Status back_up_cluster(const Context& context, const BackupOptions& options);
/// Begins with a backup on this server, whose batond is stopped: shows what it holds, and asks.
Status restore_cluster(const Context& context, const RestoreOptions& options);
/// Lets this server, of two, decide alone although the other one is not reached: shows what that means, and asks.
Status take_over_cluster(const Context& context, bool yes);
/// What people should know of how the cluster is to resolve partitions; with --json it is in the result, under `warning`.
void print_warning_of(const Context& context, NpKind kind);
/// Prepares a disk that two servers are to have in common.
Status prepare_np_disk(const Context& context, const std::string& device, bool overwrite);
Status remove_server_from_cluster(const Context& context, const std::string& name, bool yes);
Status show_preflight(const Context& context, const PreflightOptions& options);
/// The same before a server is made one of a cluster: silent about what is well, an error when something is a problem.
Status demand_preflight(const Context& context, const PreflightOptions& options);
Status tune_timing(const Context& context, const PreflightOptions& place, int duration_s);
Status show_plan(const Context& context, const std::string& file);
Status apply_configuration(const Context& context, const std::string& file);
Status show_configuration(const Context& context);
Status check_configuration_file(const Context& context, const std::string& file);
/// What applying a configuration changes, and how long a failover of each group would take then.
void print_changes(const Context& context, const json& plan, bool failovers);
Status list_templates(const Context& context);
Status show_template(const Context& context, const std::string& name);
/// Adds a group made from a template to the cluster's configuration.
Status apply_template(const Context& context, const TemplateOptions& options);
Status list_groups(const Context& context);
Status change_group(const Context& context, const GroupOptions& options);
Status supervise_program(const Context& context, const SuperviseOptions& options);
Status unsupervise_program(const Context& context, const SuperviseOptions& options);
Status fence_server(const Context& context, const FenceOptions& options);
Status run_maintenance(const Context& context, const MaintenanceOptions& options);
Status list_mirrors(const Context& context);
/// `watch`: shown anew each second until the copies have ended.
Status show_mirror(const Context& context, const std::string& name, bool watch);
Status show_metrics(const Context& context, const std::string& name, bool watch);
Status verify_mirror(const Context& context, const std::string& name, const VerifyOptions& options);
Status break_mirror(const Context& context, const std::string& name);
Status rejoin_mirror(const Context& context, const std::string& name, const std::string& discard);
Status force_mirror(const Context& context, const std::string& name, const std::string& server, bool yes);
Status restrict_mirror(const Context& context, const std::string& name, const std::string& server, bool lift);
Status swap_mirror(const Context& context, const std::string& name, GroupOptions options);
Status set_mirror_rate(const Context& context, const std::string& name, const std::string& rate);
Status grow_mirror(const Context& context, const std::string& name, const std::string& size);
Status export_backup(const Context& context, const std::string& name, const std::string& server, bool wanted);
Status replace_mirror(const Context& context, const std::string& name, const std::string& server);
/// Sends a test to that alert's receiver, and says what it answered.
Status test_alert(const Context& context, const std::string& name);
Status explain_group(const Context& context, const std::string& group);
Status make_support_archive(const Context& context, const SupportOptions& options);
Status show_events(const Context& context, bool follow, int limit);

/// Prints to standard output and flushes.
void print(const std::string& text);
void print_json(const json& value);
/// One line of JSON, for streams.
void print_json_line(const json& value);

/// The member of `list` ("groups", "mirrors") with that name, without regard to case; an error that lists the
/// known ones if there is none. A mirror may be named without its group if that is not ambiguous.
Result<json> find_named(const json& status, const char* list, const std::string& name);

/// A whole file; the error names it and says why.
Result<std::string> read_whole_file(const std::string& path);

/// Who gives the command, for the record.
std::string author();

}  // namespace baton::cli
