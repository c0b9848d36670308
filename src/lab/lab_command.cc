// The lab's command line; see lab_command.h. Results go to standard output, progress and errors to standard
// error. One thread.
#include "src/lab/lab_command.h"

#include <limits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "src/lab/lab_faults.h"
#include "src/lab/lab_lifecycle.h"
#include "src/lab/lab_process.h"
#include "src/lab/lab_state.h"
#include "src/lab/lab_status.h"
#include "src/lab/lab_wait.h"

namespace baton {
namespace {

using namespace lab;

/// What the command line may give; each command uses a part.
struct Given {
  UpOptions up;
  std::string member;
  std::optional<uint64_t> seed;
  std::optional<int> link;
  std::vector<std::string> words;
  std::string file = "batond.log", programs;
  bool all = false, silent = false, json = false, follow = false;
};

int report(const Status& status) {
  if (status) return 0;
  fmt::print(stderr, "baton lab: {}\n", status.error().message);
  return status.error().code == ErrorCode::kInvalid ? 2 : 1;
}

std::string own_directory() {
  char path[PATH_MAX] = "";
  if (readlink("/proc/self/exe", path, sizeof path - 1) <= 0) return ".";
  std::string text = path;
  return text.substr(0, text.rfind('/'));
}

Status check_caller() {
  if (geteuid() != 0) return fail("the lab makes namespaces and mounts; run it as root");
  auto own = read_file("/proc/self/cgroup");
  if (own && own->find(":/baton-lab/") != std::string::npos) {
    return fail("this is inside a lab member; lab commands are for the host");
  }
  return {};
}

int up(Given& given) {
  auto lock = LabLock::take();
  if (!lock) return report(pass(lock));
  given.up.programs = own_directory();
  given.up.servers_run = given.programs;
  const char* stand_in = getenv("BATON_LAB_DAEMON");  // for tests of the lab itself
  if (stand_in != nullptr) given.up.daemon = stand_in;
  int64_t start = monotonic_ns();
  auto lab = bring_up(given.up, [](const std::string& line) { fmt::print(stderr, "{}\n", line); });
  if (!lab) return report(pass(lab));
  fmt::print(stderr, "the lab is up after {} ms\n", (monotonic_ns() - start) / 1'000'000);
  if (given.json) fmt::print("{}\n", status_json(*lab));
  return 0;
}

int down() {
  auto lock = LabLock::take();
  if (!lock) return report(pass(lock));
  return report(clear_away());
}

int status(const Given& given) {
  auto lab = load_state();
  if (!lab && lab.error().code == ErrorCode::kNotFound) {
    fmt::print("{}\n", given.json ? "{\"lab\":\"down\"}" : "no lab is up");
    return 0;
  }
  if (!lab) return report(pass(lab));
  fmt::print("{}{}", given.json ? status_json(*lab) : status_table(*lab), given.json ? "\n" : "");
  return 0;
}

int off(const Given& given) {
  auto cut = power_off(given.member, given.seed);
  if (!cut) return report(pass(cut));
  if (given.json) {
    nlohmann::ordered_json answer = {{"member", given.member}, {"seed", cut->seed}};
    if (!cut->losses.empty()) answer["losses"] = nlohmann::ordered_json::parse(cut->losses, nullptr, false);
    fmt::print("{}\n", answer.dump());
    return 0;
  }
  fmt::print("{} is off", given.member);
  auto losses = nlohmann::json::parse(cut->losses.empty() ? "{}" : cut->losses, nullptr, false);
  if (losses.contains("unsynced")) {
    fmt::print("; unsynced pages: {} dropped, {} torn, {} kept (seed {})", losses.at("dropped").get<uint64_t>(),
               losses.at("torn").get<uint64_t>(), losses.at("kept").get<uint64_t>(), cut->seed);
  }
  fmt::print("\n");
  return 0;
}

int execute(const Given& given) {
  auto fail_with = [](const Error& error) {
    fmt::print(stderr, "baton lab: {}\n", error.message);
    return 125;
  };
  auto lab = load_state();
  if (!lab) return fail_with(lab.error());
  auto member = lab->find(given.member);
  if (!member) return fail_with(member.error());
  auto power = power_of(**member);
  if (power != "on") {
    return fail_with(
        Error{ErrorCode::kUnavailable, fmt::format("{} is {}; `baton lab {} {}` first", given.member,
                                                   power == "off" ? "powered off" : "paused",
                                                   power == "off" ? "power-on" : "resume", given.member)});
  }
  auto cgroup = Cgroup::at(given.member);
  if (!cgroup) return fail_with(cgroup.error());
  auto result = execute_inside(find_init(*cgroup), *cgroup, given.words, (*member)->programs);
  return result ? *result : fail_with(result.error());
}

int logs(const Given& given) {
  auto lab = load_state();
  if (!lab) return report(pass(lab));
  auto member = lab->find(given.member);
  if (!member) return report(pass(member));
  auto path = (*member)->directory() + "/log/" + given.file;
  if (access(path.c_str(), R_OK) != 0) return report(fail("cannot read {}: {}", path, strerror(errno)));
  if (given.follow) {
    execlp("tail", "tail", "-n", "+1", "-F", path.c_str(), nullptr);
    return report(fail("cannot run tail: {}", strerror(errno)));
  }
  auto text = read_file(path);
  if (!text) return report(pass(text));
  fmt::print("{}", *text);
  return 0;
}

int disk(const Given& given) {
  std::string command;
  for (const auto& word : given.words) command += (command.empty() ? "" : " ") + word;
  auto answer = disturb_disk(given.member, command);
  if (!answer) return report(pass(answer));
  fmt::print("{}\n", *answer);
  return 0;
}

int cut(const Given& given) {
  auto fault = given.silent ? LinkFault::kSilent : LinkFault::kCut;
  return report(cut_links(given.member, given.all ? std::nullopt : given.link, fault));
}

/// One subcommand: how it is called and what it does.
CLI::App* add(CLI::App& app, const char* name, const char* help, Given& given, bool takes_member = true) {
  auto* command = app.add_subcommand(name, help);
  if (takes_member)
    command->add_option("SERVER", given.member, "server1, server2, ..., witness or client")->required();
  return command;
}

void describe_up(CLI::App& app, Given& given) {
  auto* command = add(app, "up", "Build a new lab, clearing a crashed one away first", given, false);
  command->add_option("--servers", given.up.servers, "How many servers, 1 to 16")->capture_default_str();
  command->add_flag("--witness,!--no-witness", given.up.witness, "With a witness (the default) or without");
  command->add_flag("--volatile-disks", given.up.volatile_disks,
                    "Disks that lose unsynced writes at a power cut");
  command->add_option("--config", given.up.configuration, "A cluster.toml: create and start the cluster");
  command->add_flag("!--no-create", given.up.create,
                    "Only place the configuration, without `baton cluster create`");
  command->add_option("--programs", given.programs, "The servers run those of this directory: another version")
      ->check(CLI::ExistingDirectory);
  command->add_flag("--replace", given.up.replace, "Take down a lab that is up");
  command->add_flag("--json", given.json, "Print the lab's status as JSON");
}

void describe(CLI::App& app, Given& given) {
  app.require_subcommand(1);
  describe_up(app, given);
  add(app, "down", "End the lab and leave nothing behind", given, false);
  auto* command = add(app, "power-off", "Cut a server's power", given);
  command->add_option("--seed", given.seed, "What becomes of unsynced writes; random if not given");
  command->add_flag("--json", given.json, "Print what was lost as JSON");
  command = add(app, "power-on", "Power a server on again, with the same disks", given);
  command->add_option("--programs", given.programs, "From now on it runs those of this directory: another version")
      ->check(CLI::ExistingDirectory);
  command = add(app, "cut", "Cut a server's links", given);
  command->add_option("--link", given.link, "0: interconnect, 1: public LAN; all if not given");
  command->add_flag("--all", given.all, "All links")->excludes("--link");
  command->add_flag("--silent", given.silent, "Frames vanish, but the carrier stays");
  command = add(app, "heal", "Mend a server's links, or everybody's", given, false);
  command->add_option("SERVER", given.member, "All if not given");
  add(app, "pause", "Freeze a server, its links silent while it is frozen", given);
  add(app, "resume", "Let a paused server go on", given);
  command = add(app, "exec", "Run a command inside a server: exec SERVER -- COMMAND...", given);
  command->add_option("COMMAND", given.words, "The command and its arguments")->required();
  command = add(app, "status", "How the lab is", given, false);
  command->add_flag("--json", given.json, "As JSON");
  command = add(app, "logs", "Print a server's log", given);
  command->add_option("--file", given.file, "batond.log, init.log or another file of /var/log/baton")
      ->capture_default_str();
  command->add_flag("--follow,-f", given.follow, "Go on as it grows");
  command = add(app, "disk", "Disturb a server's volatile disk", given);
  command->add_option("FAULT", given.words, "full on|off, slow MS, eio PATH on|off, lossy-flush PATH on|off, stats")->required();
}

int dispatch(const std::string& name, Given& given) {
  if (name == "status") return status(given);
  if (auto caller = check_caller(); !caller) return report(caller);
  if (name == "up") return up(given);
  if (name == "down") return down();
  if (name == "power-off") return off(given);
  if (name == "power-on") return report(power_on(given.member, given.programs));
  if (name == "cut") return cut(given);
  if (name == "heal") return report(heal_links(given.member));
  if (name == "pause") return report(pause_member(given.member));
  if (name == "resume") return report(resume_member(given.member));
  if (name == "exec") return execute(given);
  if (name == "logs") return logs(given);
  return disk(given);
}

}  // namespace

int run_lab_command(const std::vector<std::string>& arguments) {
  CLI::App app("A practice cluster on this machine: servers as namespaces, joined by virtual switches",
               "baton lab");
  Given given;
  describe(app, given);
  std::vector<std::string> words = arguments;
  std::vector<std::string> command;
  // What follows `exec SERVER` is the command's own, whatever it looks like.
  if (words.size() >= 2 && words[0] == "exec" && words[1].compare(0, 1, "-") != 0) {
    size_t start = words.size() > 2 && words[2] == "--" ? 3 : 2;
    command.assign(words.begin() + long(std::min(start, words.size())), words.end());
    words.resize(2);
    if (!command.empty()) words.push_back("command");
  }
  try {
    std::reverse(words.begin(), words.end());  // as CLI11 wants it
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  if (!command.empty()) given.words = command;
  if (!given.programs.empty()) given.programs = std::filesystem::canonical(given.programs).string();
  return dispatch(app.get_subcommands().front()->get_name(), given);
}

}  // namespace baton
