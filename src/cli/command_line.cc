// The commands and their options. What they do is in the *_command.cc files.
#include "src/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>

#include "src/cli/commands.h"
#include "src/model/configuration_table.h"

namespace baton::cli {
namespace {

constexpr const char* kDescription =
    "Steers a Baton cluster: keeps a service and its data running on two or more servers.\n"
    "Practice on one machine: baton lab --help";

constexpr const char* kMirrorName = "the mirror: GROUP.NAME";

/// The options of all commands, and the command that was chosen.
class CommandLine {
 public:
  CommandLine() : app_(kDescription, "baton") {
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.add_flag("--json", json_, "print JSON");
    add_status();
    add_cluster();
    add_configuration();
    add_templates();
    add_server();
    add_group();
    add_programs();
    add_mirror();
    add_events();
    add_preflight();
    add_tune();
    add_support();
  }

  int run(std::vector<std::string> arguments) {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    try {
      app_.parse(std::move(arguments));
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() == 0) return app_.exit(error);
      fmt::print(stderr, "baton: {}\nSee `baton --help`, or `baton COMMAND --help`.\n", error.what());
      return 2;
    }
    Context context{ApiClient(api_socket_path()), json_, Painter(colours_wanted() && !json_)};
    Status done = chosen_(context);
    if (done) return 0;
    fmt::print(stderr, "baton: {}\n", done.error().message);
    return 1;
  }

 private:
  using Command = std::function<Status(const Context&)>;

  CLI::App* add(CLI::App* parent, const char* name, const char* description, Command command) {
    CLI::App* sub = parent->add_subcommand(name, description);
    sub->callback([this, command = std::move(command)] { chosen_ = command; });
    return sub;
  }

  CLI::App* add_family(const char* name, const char* description) {
    return app_.add_subcommand(name, description)->require_subcommand(1);
  }

  void add_status() {
    CLI::App* sub = add(&app_, "status", "the whole cluster as this server knows it",
                        [this](const Context& context) { return show_status(context, watch_, links_); });
    sub->add_flag("-w,--watch", watch_, "show each change until interrupted");
    sub->add_flag("--links", links_, "the interconnects between every two servers: state, loss, round trip");
  }

  void add_cluster() {
    CLI::App* family = add_family("cluster", "make a cluster, look at it");
    CLI::App* create = add(family, "create", "make this server one of a new cluster's; once on each server",
                           [this](const Context& context) { return create_cluster(context, create_); });
    create->add_option("FILE", create_.file, "the cluster's TOML file (default: /etc/baton/cluster.toml)");
    create->add_option("--as", create_.server, "this server's name in it")->required();
    create->add_option("--key", create_.key_file,
                       "the cluster's key, from the first server (default: the one in place, or a new one)");
    create->add_option("--etc", create_.configuration_directory,
                       "where cluster.toml, cluster.key and server are kept");
    create->add_option("--state", create_.state_directory, "where batond keeps its databases");
    create->add_flag_callback("--no-preflight", [this] { create_.preflight = false; }, "do not look at the machine before");
    add_membership(family);
    add_backup_of_database(family);
    CLI::App* recover = add(family, "recover", "go on without a majority that is lost for good; on a survivor",
                            [this](const Context& context) { return recover_cluster(context, recover_); });
    recover->add_flag("--show", recover_.only_show, "only show what the survivors hold, and what may be missing");
    recover->add_option("--give-up", recover_.given_up, "a server that is lost for good and off; once for each");
    recover->add_flag("--yes", recover_.yes, "do not ask: each that is given up is named by --give-up");
    CLI::App* status = add(family, "status", "the same as `baton status`",
                           [this](const Context& context) { return show_status(context, watch_, links_); });
    status->add_flag("-w,--watch", watch_, "show each change until interrupted");
    add_suspension(family, "cluster");
    add_shutdown(family, "cluster", "stop all groups in order, then Baton on every server");
  }

  void add_backup_of_database(CLI::App* family) {
    CLI::App* backup = add(family, "backup", "write the cluster database to a file",
                           [this](const Context& context) { return back_up_cluster(context, backup_); });
    backup->add_option("FILE", backup_.file, "the file to write")->required();
    backup->add_flag("--with-key", backup_.with_key, "the cluster's key, too: keep the file as secret as that");
    backup->add_option("--etc", backup_.configuration_directory, "where cluster.key is");
    CLI::App* restore = add(family, "restore", "begin with a backup here, when all databases are lost",
                            [this](const Context& context) { return restore_cluster(context, restore_); });
    restore->add_option("FILE", restore_.file, "the backup")->required();
    restore->add_option("--as", restore_.server, "this server's name in it");
    restore->add_flag("--show", restore_.only_show, "only show what is in it");
    restore->add_option("--with", restore_.with, "a server that puts its old database aside by itself; once for each");
    restore->add_option("--give-up", restore_.given_up, "a server whose old database is given up; once for each");
    restore->add_flag("--replace", restore_.replace, "put the database that is here aside");
    restore->add_option("--key", restore_.key_file, "the cluster's key (default: the one in place, or the backup's)");
    restore->add_flag("--new-key", restore_.new_key, "make a new key, when there is none left");
    restore->add_option("--etc", restore_.configuration_directory, "where cluster.toml, cluster.key and server are kept");
    restore->add_option("--state", restore_.state_directory, "where batond keeps its databases");
    restore->add_flag("--yes", restore_.yes, "do not ask: each that is given up is named by --give-up");
  }

  void add_server_maintenance(CLI::App* family) {
    add_suspension(family, "server");
    add_shutdown(family, "server", "move or stop a server's groups in order, then Baton there");
    CLI::App* drain = add_maintenance(family, "server", "drain", "let a server's groups move away, and none come");
    add_waiting(drain, "server");
    add_maintenance(family, "server", "undrain", "let groups come to a drained server again");
    add_maintenance(family, "server", "return", "take a server that was down (Od) back into the cluster");
  }

  CLI::App* add_maintenance(CLI::App* family, const std::string& scope, const std::string& verb, const char* description) {
    CLI::App* sub = add(family, verb.c_str(), description, [this, scope, verb](const Context& context) {
      maintenance_.scope = scope;
      maintenance_.verb = verb;
      return run_maintenance(context, maintenance_);
    });
    if (scope == "group") sub->add_option("NAME", maintenance_.name, "the group")->required();
    if (scope == "server") {
      CLI::Option* server = sub->add_option("SERVER", maintenance_.name, "the server");
      if (verb != "shutdown") server->required();
    }
    sub->add_option("--reason", maintenance_.reason, "why, for the record");
    return sub;
  }

  void add_suspension(CLI::App* family, const std::string& scope) {
    CLI::App* suspend = add_maintenance(family, scope, "suspend", "maintenance: nothing moves, nothing is restarted");
    suspend->add_option_function<std::string>(
        "--for", [this](const std::string& text) { maintenance_.lasts = read_timeout(text); },
        "how long: \"30 min\" (default: until resumed)");
    add_maintenance(family, scope, "resume", "the end of maintenance");
  }

  void add_shutdown(CLI::App* family, const std::string& scope, const char* description) {
    CLI::App* sub = add_maintenance(family, scope, "shutdown", description);
    if (scope == "server") {
      sub->add_flag("--stop", maintenance_.stop, "stop the groups with the server: they start again with it");
      sub->add_flag_callback("--move", [this] { maintenance_.stop = false; }, "move the groups where they can (the default)");
    }
    sub->add_flag("--poweroff", maintenance_.power_off, "then switch the machine off");
    sub->add_flag("--reboot", maintenance_.reboot, "then start the machine anew");
    sub->add_flag("--cancel", maintenance_.cancel, "call a shutdown off");
    add_waiting(sub, scope);
  }

  void add_waiting(CLI::App* sub, const std::string& scope) {
    sub->add_option_function<std::string>(
        "--timeout", [this](const std::string& text) { maintenance_.timeout = read_timeout(text); },
        sub->get_name() != "shutdown" ? "how long to wait for it: \"30 s\", \"5 min\" (default: 5 min)"
        : scope == "server" ? "how long moves may take, then the groups are stopped: \"30 s\", \"5 min\" (default: 5 min)"
                            : "how long the groups may take to stop, else it is given up: \"30 s\", \"5 min\" (default: 5 min)");
    sub->add_flag_callback(
        "--no-wait", [this] { maintenance_.wait = false; }, "do not wait until it is done");
  }

  void add_keys(CLI::App* family) {
    CLI::App* keys = add(family, "rotate-keys", "replace the cluster's key and all that follows from it, while everything runs",
                         [this](const Context& context) { return rotate_keys(context, rotate_keys_); });
    keys->add_flag("--certificates", rotate_keys_.certificates, "only the mirror connects' certificates");
    keys->add_flag("--cancel", rotate_keys_.cancel, "call it off while the new key is being handed out");
    keys->add_option_function<std::string>(
        "--timeout", [this](const std::string& text) { rotate_keys_.timeout = read_timeout(text); },
        "until when all servers must have the new key, else it is called off (default: 5 min)");
    keys->add_flag_callback("--no-wait", [this] { rotate_keys_.wait = false; }, "do not wait until it is done");
  }

  void add_membership(CLI::App* family) {
    CLI::App* token = add(family, "token", "one word with which one server may join, for some minutes",
                          [this](const Context& context) { return make_join_token_for(context, good_for_); });
    token->add_option_function<std::string>(
        "--for", [this](const std::string& text) { good_for_ = read_timeout(text); }, "how long (default: 10 min)");
    CLI::App* join = add(family, "join", "make this server one of a running cluster's",
                         [this](const Context& context) { return join_cluster(context, join_); });
    join->add_option("TOKEN", join_.token, "what `baton cluster token` printed on a server of it")->required();
    join->add_option("--name", join_.name, "this server's name there")->required();
    join->add_option("--interconnect", join_.interconnects, "this server's address on each link, in the others' order")
        ->delimiter(',')->required();
    join->add_flag("--witness", join_.witness, "a vote without groups");
    join->add_option_function<std::string>(
        "--timeout", [this](const std::string& text) { join_.timeout = read_timeout(text); },
        "how long to wait until it votes (default: 2 min)");
    join->add_flag_callback("--no-preflight", [this] { join_.preflight = false; }, "do not look at the machine before");
    join->add_flag_callback("--no-wait", [this] { join_.wait = false; }, "do not wait until it votes");
    join->add_option("--etc", join_.configuration_directory, "where cluster.toml, cluster.key and server are kept");
    join->add_option("--state", join_.state_directory, "where batond keeps its databases");
    add(family, "leave", "take this server out of the cluster",
        [](const Context& context) { return leave_cluster(context); });
    CLI::App* takeover = add(family, "takeover", "two servers without a witness: let this one go on without the other",
                             [this](const Context& context) { return take_over_cluster(context, yes_); });
    takeover->add_flag("--yes", yes_, "do not ask: the other server is off, or stays cut off");
    add_keys(family);
    CLI::App* np_disk = add(family, "np-disk", "prepare a disk that both of two servers reach, to decide between them",
                            [this](const Context& context) { return prepare_np_disk(context, device_, overwrite_); });
    np_disk->add_option("DEVICE", device_, "its path, the same on both servers")->required();
    np_disk->add_flag("--overwrite", overwrite_, "although it is not empty");
    CLI::App* remove = add(family, "remove", "take a server out of the cluster that will not come back",
                           [this](const Context& context) { return remove_server_from_cluster(context, server_, yes_); });
    remove->add_option("SERVER", server_, "which one")->required();
    remove->add_flag("--yes", yes_, "do not ask");
  }

  void add_configuration() {
    CLI::App* plan = add(&app_, "plan", "what would be done: with FILE by applying it, without it now",
                         [this](const Context& context) { return show_plan(context, file_); });
    plan->add_option("FILE", file_, "a TOML file");
    CLI::App* apply = add(&app_, "apply", "make a file the cluster's configuration",
                          [this](const Context& context) { return apply_configuration(context, file_); });
    apply->add_option("FILE", file_, "a TOML file")->required();
    CLI::App* family = add_family("config", "look at configurations");
    add(family, "show", "the cluster's configuration",
        [](const Context& context) { return show_configuration(context); });
    CLI::App* check = add(family, "check", "find what is wrong in a file",
                          [this](const Context& context) { return check_configuration_file(context, file_); });
    check->add_option("FILE", file_, "a TOML file")->required();
  }

  void add_templates() {
    CLI::App* family = add_family("template", "groups for well-known services, ready to fill in");
    add(family, "list", "the templates", [](const Context& context) { return list_templates(context); });
    CLI::App* show = add(family, "show", "a template's text: what it makes, what it needs, which values it takes",
                         [this](const Context& context) { return show_template(context, template_.name); });
    show->add_option("NAME", template_.name, "which one")->required();
    CLI::App* apply = add(family, "apply", "add a group made from a template to the cluster's configuration",
                          [this](const Context& context) { return apply_template(context, template_); });
    apply->add_option("NAME", template_.name, "which one");
    apply->add_option("--from", template_.file, "a template of your own, in place of NAME: as `baton template show` prints one");
    apply->add_option("--group", template_.group, "the new group's name")->required();
    apply->add_option("--set", template_.settings, "a value of the template, as in --set address=10.0.0.50; once for each");
    apply->add_option("--servers", template_.servers, "who may run it, the preferred one first (default: the cluster's two)")
        ->delimiter(',');
    apply->add_flag("--dry-run", template_.dry_run, "show the group and what would change, and apply nothing");
  }

  void add_server() {
    CLI::App* family = add_family("server", "work with servers");
    add_server_maintenance(family);
    CLI::App* fence = add(family, "fence", "switch a server's power off by its fence agent",
                          [this](const Context& context) { return fence_server(context, fence_); });
    fence->add_option("SERVER", fence_.server, "the server")->required();
    fence->add_flag("--confirm", fence_.confirm, "cut nothing: say that you have seen it off");
    fence->add_flag("--yes", fence_.yes, "do not ask");
    fence->add_option_function<std::string>(
        "--timeout", [this](const std::string& text) { fence_.timeout = read_timeout(text); },
        "how long to wait (default: 3 min)");
  }

  void add_group() {
    CLI::App* family = add_family("group", "start, stop and move groups");
    add(family, "list", "the groups", [](const Context& context) { return list_groups(context); });
    add_group_verb(family, "start", "start a group, where the policy says or on SERVER; clears its failures");
    add_group_verb(family, "stop", "stop a group; it stays stopped");
    add_group_verb(family, "move", "stop a group and start it on another server");
    add_suspension(family, "group");
    add_maintenance(family, "group", "release", "let a group go that the breaker holds where it is");
  }

  void add_group_verb(CLI::App* family, const char* verb, const char* description) {
    CLI::App* sub = add(family, verb, description, [this, verb](const Context& context) {
      group_.verb = verb;
      return change_group(context, group_);
    });
    sub->add_option("NAME", group_.group, "the group")->required();
    if (std::string(verb) != "stop") sub->add_option("SERVER", group_.server, "where to");
    sub->add_option_function<std::string>(
        "--timeout", [this](const std::string& text) { group_.timeout = read_timeout(text); },
        "how long to wait: \"30 s\", \"5 min\" (default: 3 min)");
    sub->add_flag_callback(
        "--no-wait", [this] { group_.wait = false; }, "do not wait until it is done");
  }

  void add_programs() {
    CLI::App* start = add(&app_, "supervise", "in a start script: start a program and look after it",
                          [this](const Context& context) { return supervise_program(context, supervise_); });
    start->add_option("ID", supervise_.id, "a name for it, which no other program of this server has")->required();
    start->add_option("PROGRAM", supervise_.command, "its whole path and its arguments, after --")->required();
    start->add_option("--restarts", supervise_.restarts, "how often it is started again when it ends (default: 0)")->check(CLI::Range(0, 1000));
    start->add_option_function<std::string>(
        "--window", [this](const std::string& text) { supervise_.window = read_timeout(text); },
        "in which restarts are counted: \"1 h\" (default: they are counted for good)");
    start->add_flag("--with-script", supervise_.with_script, "start the whole script again, not the program alone");
    start->add_flag("--unwatched", supervise_.unwatched, "do nothing when it ends");
    start->add_option("--on-failure", supervise_.on_failure, "beyond the restarts: failover (default), shutdown, reboot, stop or nothing");
    start->add_option("--user", supervise_.user, "run it as this user (default: the script's)");
    start->add_option("--directory", supervise_.directory, "its working directory (default: the script's)");
    add_program_place(start);
    CLI::App* end = add(&app_, "unsupervise", "in a stop script: end a program that is supervised",
                        [this](const Context& context) { return unsupervise_program(context, supervise_); });
    end->add_option("ID", supervise_.id, "its name")->required();
    end->add_option("--group", supervise_.group, "its group (default: that of the script)");
  }

  void add_program_place(CLI::App* sub) {
    sub->add_option("--group", supervise_.group, "for which group (default: that of the script that calls)");
    sub->add_option("--script", supervise_.script, "... and which of its scripts");
  }

  void add_mirror() {
    CLI::App* family = add_family("mirror", "look at mirrors and work with their copies");
    add(family, "list", "the mirrors and their copies",
        [](const Context& context) { return list_mirrors(context); });
    CLI::App* status = add(family, "status", "every figure of the mirrors, or of one", [this](const Context& context) {
      return show_mirror(context, mirror_, watch_);
    });
    status->add_option("NAME", mirror_, kMirrorName);
    status->add_flag("-w,--watch", watch_, "show it anew each second until the copies have ended");
    CLI::App* metrics = add_mirror_verb(family, "metrics", "requests and latencies of the last second",
                                        [this](const Context& context) { return show_metrics(context, mirror_, watch_); });
    metrics->add_flag("-w,--watch", watch_, "a line each second until interrupted");
    add_verify(family);
    add_mirror_copies(family);
    add_mirror_settings(family);
  }

  CLI::App* add_mirror_verb(CLI::App* family, const char* verb, const char* description, Command command) {
    CLI::App* sub = add(family, verb, description, std::move(command));
    sub->add_option("NAME", mirror_, kMirrorName)->required();
    return sub;
  }

  void add_verify(CLI::App* family) {
    CLI::App* verify = add_mirror_verb(family, "verify", "compare both copies of a mirror", [this](const Context& context) {
      return verify_mirror(context, mirror_, verify_);
    });
    verify->add_flag("--repair", verify_.repair, "send what differs from the copy in use to the other");
    verify->add_flag("--wait", verify_.wait, "wait for the end (it always does)");
    verify->add_option_function<std::string>(
        "--timeout", [this](const std::string& text) { verify_.timeout = read_timeout(text); },
        "how long to wait (default: 1 h)");
  }

  /// What concerns one of the two copies.
  void add_mirror_copies(CLI::App* family) {
    add_mirror_verb(family, "break", "let the primary go on alone and leave the other copy as it is",
                    [this](const Context& context) { return break_mirror(context, mirror_); });
    CLI::App* rejoin = add_mirror_verb(family, "rejoin", "join the copies of a broken or diverged mirror again",
                                       [this](const Context& context) { return rejoin_mirror(context, mirror_, server_); });
    rejoin->add_option("--discard", server_, "the server whose copy is not wanted: it gets a full copy");
    CLI::App* force = add_mirror_verb(family, "force", "take the copy of SERVER for the data, whatever it lacks",
                                      [this](const Context& context) { return force_mirror(context, mirror_, server_, yes_); });
    force->add_option("SERVER", server_, "whose copy")->required();
    force->add_flag("--yes-lose-data", yes_, "do not ask");
    CLI::App* restricted = add_mirror_verb(
        family, "restrict", "keep a mirror, and so its group, away from SERVER",
        [this](const Context& context) { return restrict_mirror(context, mirror_, server_, lift_); });
    restricted->add_option("SERVER", server_, "the server")->required();
    restricted->add_flag("--lift", lift_, "allow it there again");
    add_backup(family, "export", "export the broken-off copy on SERVER read-only, for a backup", true);
    add_backup(family, "unexport", "end the export for a backup", false);
    CLI::App* replace = add_mirror_verb(family, "replace", "the disk on SERVER is a new one: copy everything to it",
                                        [this](const Context& context) { return replace_mirror(context, mirror_, server_); });
    replace->add_option("SERVER", server_, "whose disk")->required();
    CLI::App* swap = add_mirror_verb(family, "swap", "move the mirror's group to the other server",
                                     [this](const Context& context) { return swap_mirror(context, mirror_, group_); });
    swap->add_flag_callback("--no-wait", [this] { group_.wait = false; }, "do not wait until it is done");
  }

  void add_backup(CLI::App* family, const char* verb, const char* description, bool wanted) {
    CLI::App* sub = add_mirror_verb(family, verb, description, [this, wanted](const Context& context) {
      return export_backup(context, mirror_, server_, wanted);
    });
    sub->add_option("SERVER", server_, "whose copy")->required();
  }

  /// What changes the mirror's place in the configuration.
  void add_mirror_settings(CLI::App* family) {
    CLI::App* rate = add_mirror_verb(family, "rate", "how fast copies go: 50MB/s, or auto",
                                     [this](const Context& context) { return set_mirror_rate(context, mirror_, value_); });
    rate->add_option("RATE", value_, "50MB/s, or auto")->required();
    CLI::App* grow = add_mirror_verb(family, "grow", "make a mirror larger while it is in use",
                                     [this](const Context& context) { return grow_mirror(context, mirror_, value_); });
    grow->add_option("SIZE", value_, "the new size: \"1 GiB\"")->required();
  }

  void add_events() {
    CLI::App* explain = add(&app_, "explain", "why a group is where it is",
                            [this](const Context& context) { return explain_group(context, group_.group); });
    explain->add_option("GROUP", group_.group, "the group")->required();
    CLI::App* events = add(&app_, "events", "what has happened",
                           [this](const Context& context) { return show_events(context, follow_, limit_); });
    events->add_flag("-f,--follow", follow_, "go on with each new event until interrupted");
    CLI::App* test =
        add(add_family("alert", "work with the receivers of alerts"), "test", "send a test event from this server, and show the answer",
            [this](const Context& context) { return test_alert(context, value_); });
    test->add_option("NAME", value_, "the alert: [alert.NAME] of the configuration")->required();
    events->add_option("-n,--limit", limit_, "how many of the latest (default: 50)")
        ->check(CLI::Range(1, 10000));
  }

  void add_preflight() {
    CLI::App* sub = add(&app_, "preflight", "find what would keep this server from working in a cluster",
                        [this](const Context& context) { return show_preflight(context, preflight_); });
    sub->add_option("--config", preflight_.file, "the cluster's TOML file (default: /etc/baton/cluster.toml)");
    sub->add_option("--as", preflight_.server, "this server's name in it (default: by its addresses)");
    sub->add_option("--etc", preflight_.configuration_directory, "where cluster.toml and server are");
    sub->add_option("--state", preflight_.state_directory, "where batond keeps its databases");
    sub->add_option("--run", preflight_.run_directory, "where batond keeps its sockets");
  }

  void add_tune() {
    CLI::App* sub = add(&app_, "tune", "watch timers, network and disk here, and recommend a timing profile",
                        [this](const Context& context) { return tune_timing(context, preflight_, seconds_); });
    sub->add_option("--seconds", seconds_, "how long (default: 30)")->check(CLI::Range(1, 86400));
    sub->add_option("--config", preflight_.file, "the cluster's TOML file (default: /etc/baton/cluster.toml)");
    sub->add_option("--as", preflight_.server, "this server's name in it (default: by its addresses)");
    sub->add_option("--etc", preflight_.configuration_directory, "where cluster.toml and server are");
    sub->add_option("--state", preflight_.state_directory, "where batond keeps its databases: its disk is watched");
  }

  void add_support() {
    CLI::App* sub = add(&app_, "support", "one archive of everything that helps with a problem, without secrets",
                        [this](const Context& context) { return make_support_archive(context, support_); });
    sub->add_option("-o,--output", support_.output, "the file to write: NAME.tar.gz or NAME.tar.zst");
    sub->add_option("--etc", support_.configuration_directory, "where cluster.toml, cluster.key and server are");
    sub->add_option("--state", support_.state_directory, "where batond keeps its databases");
    sub->add_option("--run", support_.run_directory, "where batond keeps its sockets");
    sub->add_option("--log", support_.log_directory, "where the logs are");
  }

  /// A duration with its unit; a bare number counts seconds.
  static milliseconds read_timeout(const std::string& text) {
    auto duration = parse_duration(text);
    if (!duration) duration = parse_duration(text + " s");
    if (!duration)
      throw CLI::ValidationError("--timeout", "\"" + text + "\" is no duration: write for instance 30s");
    return *duration;
  }

  CLI::App app_;
  Command chosen_;
  bool json_ = false;
  bool watch_ = false;
  RecoverOptions recover_;
  BackupOptions backup_;
  RestoreOptions restore_;
  bool links_ = false;
  bool follow_ = false;
  int limit_ = 50;
  int seconds_ = 30;
  std::string file_;
  std::string mirror_;
  std::string server_;
  std::string value_;
  bool yes_ = false;
  std::string device_;
  bool overwrite_ = false;
  bool lift_ = false;
  VerifyOptions verify_;
  CreateOptions create_;
  TemplateOptions template_;
  FenceOptions fence_;
  MaintenanceOptions maintenance_;
  PreflightOptions preflight_;
  SupportOptions support_;
  JoinOptions join_;
  RotateKeysOptions rotate_keys_;
  milliseconds good_for_{600000};
  GroupOptions group_;
  SuperviseOptions supervise_;
};

}  // namespace

int run_command_line(const std::vector<std::string>& arguments) { return CommandLine().run(arguments); }

}  // namespace baton::cli
