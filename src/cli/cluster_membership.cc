// `baton cluster token|join|leave|remove`: servers come and go while the cluster works. docs/operations.md.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <thread>

#include "src/cli/commands.h"
#include "src/cli/durable_file.h"
#include "src/format/join_channel.h"
#include "src/format/join_request.h"
#include "src/model/configuration_toml.h"

namespace baton::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr Duration kConnectLimit = 20s;
constexpr milliseconds kLookAgain{200};
constexpr Duration kEndLimit = 15s;

/// Nothing of a cluster may be here yet.
Status check_empty(const JoinOptions& options) {
  std::error_code ignored;
  for (const std::string& file : {options.configuration_directory + "/server", options.configuration_directory + "/cluster.key",
                                  options.state_directory + "/database.sqlite"}) {
    if (std::filesystem::exists(file, ignored))
      return fail_as(ErrorCode::kConflict,
                     "this server belongs to a cluster already ({} is there): leave it first with `baton cluster leave`; "
                     "if that cluster is gone, move /etc/baton and /var/lib/baton away", file);
  }
  return {};
}

Status write_identity(const JoinOptions& options, const JoinAnswer& answer) {
  const std::string& etc = options.configuration_directory;
  std::error_code error;
  std::filesystem::create_directories(etc, error);
  if (!error) std::filesystem::create_directories(options.state_directory, error);
  if (error) return fail("cannot make the directories {} and {}: {}", etc, options.state_directory, error.message());
  // The server's name comes last: whoever starts batond when the files are there finds all of them.
  if (auto done = write_durably(etc + "/cluster.key", answer.key + "\n", 0600); !done) return done;
  if (auto done = write_durably(etc + "/joined", fmt::format("{}\n", answer.id), 0644); !done) return done;
  if (auto done = write_durably(etc + "/cluster.toml", answer.configuration, 0644); !done) return done;
  return write_durably(etc + "/server", answer.name + "\n", 0644);
}

int64_t wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string server_section(const std::string& name, uint32_t id, const std::vector<std::string>& addresses) {
  std::string list;
  for (const auto& address : addresses) list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", address);
  return fmt::format("[server.{}]\nid = {}\ninterconnects = [{}]\n", name, id, list);
}

/// The same look at the machine as before `create`, by what is known before the cluster lets it in: this server, and the
/// one that it will ask.
Status demand_ready_machine(const Context& context, const JoinToken& token, const JoinOptions& options) {
  const std::string asked = options.name == "asked" ? "other" : "asked";
  const std::string text = "[cluster]\nname = \"joining\"\n" + server_section(options.name, 1, options.interconnects) +
                           server_section(asked, 2, token.addresses);
  std::string file = "/tmp/baton-join-XXXXXX";
  const int handle = ::mkstemp(file.data());
  if (handle < 0) return fail("cannot make a file in /tmp for the look at this machine: {}", std::strerror(errno));
  ::close(handle);
  Status ready = write_durably(file, text, 0600);
  if (ready) ready = demand_preflight(context, {file, options.name, options.configuration_directory, options.state_directory});
  ::unlink(file.c_str());
  return ready;
}

Result<JoinAnswer> ask_to_join(const JoinToken& token, const JoinOptions& options) {
  auto channel = JoinChannel::connect(token, kConnectLimit);
  if (!channel) return pass(channel);
  const JoinRequest request{options.name, options.interconnects, options.witness, wall_ms()};
  if (auto sent = (*channel)->send(write_join_request(request)); !sent) return pass(sent);
  const auto line = (*channel)->receive();
  if (!line) return pass(line);
  auto answer = read_join_answer(*line);
  if (!answer) return pass(answer);
  if (!answer->error.empty()) return fail_as(ErrorCode::kConflict, "the cluster does not let this server in: {}", answer->error);
  // SAFETY: the other side had the token's secret, and gave the key of the cluster that made the token.
  if (cluster_fingerprint(answer->key) != token.fingerprint)
    return fail_as(ErrorCode::kInvalid, "the key that came is not that of the token's cluster: nothing was written");
  return answer;
}

bool lists(const json& names, const std::string& name) {
  for (const json& item : names)
    if (item.is_string() && item.get<std::string>() == name) return true;
  return false;
}

bool is_server(const json& status, const std::string& name) {
  for (const json& server : list_of(status, "servers"))
    if (text_of(server, "name") == name) return true;
  return false;
}

/// How far a server's way into or out of the voters is; empty: done.
std::string not_yet(const json& status, const std::string& server, bool in) {
  const json& database = object_of(status, "database");
  const json& voters = object_of(status, "voters");
  if (!flag_of(database, "serving")) return text_of(database, "waiting");
  if (in && !lists(list_of(voters, "now"), server)) return "it catches up with the cluster database";
  // A voter that is not configured any more has no name.
  for (const json& voter : list_of(voters, "now"))
    if (!in && !is_server(status, voter.is_string() ? voter.get<std::string>() : "")) return "its vote is taken back";
  if (!list_of(voters, "before").empty()) return "the change of voters is settled when older leases have ended";
  return {};
}

/// Shows each step until it is done.
Status wait_for_voter(const Context& context, const std::string& server, bool in, milliseconds limit) {
  const auto begin = Clock::now();
  std::string shown, last = "batond does not answer yet";
  while (Clock::now() - begin < limit) {
    const auto status = context.api.get("/v1/status", milliseconds(5000));
    if (status) last = not_yet(*status, server, in);
    if (!status && !in && !shown.empty()) return {};  // it was this server, and its batond has ended
    if (last.empty()) return {};
    if (last != shown && !context.json) fmt::print(stderr, "{:7.1f} s  {}\n", std::chrono::duration<double>(Clock::now() - begin).count(), last);
    shown = last;
    std::this_thread::sleep_for(kLookAgain);
  }
  return fail_as(ErrorCode::kTimeout, "{} after {} s: {}. It goes on by itself; watch it with `baton status`",
                 in ? "it does not vote yet" : "it still votes", limit.count() / 1000, last);
}

/// It has put its identity aside by then: the server may join again.
Status wait_for_own_end(const Context& context) {
  const auto begin = Clock::now();
  while (context.api.get("/v1/status", milliseconds(5000))) {
    if (Clock::now() - begin > kEndLimit)
      return fail_as(ErrorCode::kTimeout, "this server is out of the cluster, but its batond has not ended after {} s: see its log",
                     kEndLimit / 1s);
    std::this_thread::sleep_for(kLookAgain);
  }
  return {};
}

Status take_out(const Context& context, const std::string& server, bool leave) {
  const json body{{"server", server}, {"leave", leave}, {"author", author()}};
  auto done = context.api.post("/v1/cluster/remove", body.dump());
  if (!done) return pass(done);
  if (auto out = wait_for_voter(context, server, false, milliseconds(60000)); !out) return out;
  if (leave)
    if (auto ended = wait_for_own_end(context); !ended) return ended;
  if (context.json) {
    print_json({{"server", server}, {"removed", true}});
  } else {
    print(fmt::format("{} is no server of the cluster any more\n", server));
  }
  return {};
}

/// What goes with the server, as far as the status tells.
std::string what_goes(const json& status, const std::string& server) {
  std::string text;
  for (const json& mirror : list_of(status, "mirrors"))
    for (const json& copy : list_of(mirror, "copies"))
      if (text_of(copy, "server") == server) text += fmt::format("its copy of mirror {} is given up\n", text_of(mirror, "name"));
  return text;
}

}  // namespace

Status make_join_token_for(const Context& context, milliseconds good_for) {
  auto made = context.api.post("/v1/cluster/token", json{{"for_ms", good_for.count()}}.dump());
  if (!made) return pass(made);
  if (context.json) {
    print_json(*made);
    return {};
  }
  print(text_of(*made, "token") + "\n");
  fmt::print(stderr, "good for one server and {} s; on that server:\n"
                     "  baton cluster join TOKEN --name NAME --interconnect ADDRESS[,ADDRESS]\n", good_for.count() / 1000);
  return {};
}

Status join_cluster(const Context& context, const JoinOptions& options) {
  const auto token = read_join_token(options.token);
  if (!token) return pass(token);
  if (auto empty = check_empty(options); !empty) return empty;
  if (token->addresses.size() != options.interconnects.size())
    return fail_as(ErrorCode::kInvalid, "the cluster's servers have {} interconnects, and --interconnect gives {}: one address of "
                   "this server for each link, in the others' order", token->addresses.size(), options.interconnects.size());
  if (options.preflight)
    if (auto ready = demand_ready_machine(context, *token, options); !ready) return ready;
  const auto answer = ask_to_join(*token, options);
  if (!answer) return pass(answer);
  if (auto written = write_identity(options, *answer); !written) return written;
  if (!context.json) print(fmt::format("{} is a server of the cluster, with the id {}; start batond\n", answer->name, answer->id));
  if (options.wait)
    if (auto votes = wait_for_voter(context, answer->name, true, options.timeout); !votes) return votes;
  if (context.json) {
    print_json({{"server", answer->name}, {"id", answer->id.value}, {"votes", options.wait}});
  } else if (options.wait) {
    print(fmt::format("{} has caught up and votes\n", answer->name));
  }
  return {};
}

Status leave_cluster(const Context& context) {
  auto status = context.api.get("/v1/status");
  if (!status) return pass(status);
  const std::string self = text_of(*status, "server");
  for (const json& group : list_of(*status, "groups")) {
    if (text_of(group, "owner") == self)
      return fail_as(ErrorCode::kConflict, "group {} runs here: move it first (baton group move {} SERVER)",
                     text_of(group, "name"), text_of(group, "name"));
  }
  return take_out(context, self, true);
}

Status remove_server_from_cluster(const Context& context, const std::string& name, bool yes) {
  auto status = context.api.get("/v1/status");
  if (!status) return pass(status);
  auto server = find_named(*status, "servers", name);
  if (!server) return pass(server);
  const std::string known = text_of(*server, "name");
  if (!yes) {
    const std::string goes = what_goes(*status, known);
    const std::string question = fmt::format("{}{} loses its vote and its place for good. ", goes, known);
    if (context.json || isatty(STDIN_FILENO) == 0)
      return fail_as(ErrorCode::kInvalid, "{}Give --yes to do it", question);
    print(question + "Type its name to go on: ");
    std::string typed;
    std::getline(std::cin, typed);
    if (typed != known) return fail_as(ErrorCode::kInvalid, "nothing was done");
  }
  return take_out(context, known, false);
}

}  // namespace baton::cli
