// See old_commands.h.
#include "src/cli/old_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <thread>

#include "src/cli/command_line.h"

namespace baton::cli {
namespace {

constexpr int kUsageStatus = 2;
constexpr int64_t kLongestSleep = 86400;

using Words = std::vector<std::string>;

struct OldCommand {
  const char* usage;
  /// The words for `baton`; nothing: they make no sense, as `problem` says.
  std::optional<Words> (*translate)(const Words& words, std::string& problem);
};

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char letter) { return static_cast<char>(toupper(letter)); });
  return text;
}

/// "/R" and "-r" are "R"; empty: it is no option of these.
std::string option_of(const std::string& word, const std::vector<std::string>& known) {
  if (word.size() < 2 || (word[0] != '/' && word[0] != '-')) return "";
  const std::string name = upper(word.substr(1));
  return std::find(known.begin(), known.end(), name) == known.end() ? "" : name;
}

/// Those in front of the first word that is none; which have a value says `valued`.
std::optional<std::map<std::string, std::string>> take_options(const Words& words, size_t& place, const std::vector<std::string>& flags,
                                                               const std::vector<std::string>& valued, std::string& problem) {
  std::map<std::string, std::string> found;
  for (; place < words.size(); ++place) {
    if (const auto flag = option_of(words[place], flags); !flag.empty()) {
      found[flag] = "";
      continue;
    }
    const auto name = option_of(words[place], valued);
    if (name.empty()) break;
    if (place + 1 == words.size()) {
      problem = fmt::format("{} wants a value", words[place]);
      return std::nullopt;
    }
    found[name] = words[++place];
  }
  return found;
}

bool is_number(const std::string& text) { return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string::npos; }

std::optional<Words> load(const Words& words, std::string& problem) {
  if (words.empty()) return problem = "it wants a watch id and a program", std::nullopt;
  size_t place = 1;
  const auto options = take_options(words, place, {"SCR", "FOV"}, {"U", "R", "H"}, problem);
  if (!options) return std::nullopt;
  if (place == words.size()) return problem = "it wants a program after the options", std::nullopt;
  Words baton{"supervise", words[0]};
  for (const char* counted : {"R", "H"})
    if (options->contains(counted) && !is_number(options->at(counted)))
      return problem = fmt::format("/{} wants a number, not \"{}\"", counted, options->at(counted)), std::nullopt;
  if (options->contains("R")) baton.insert(baton.end(), {"--restarts", options->at("R")});
  else baton.emplace_back("--unwatched");
  if (options->contains("H")) baton.insert(baton.end(), {"--window", options->at("H") + " h"});
  if (options->contains("U")) baton.insert(baton.end(), {"--user", options->at("U")});
  if (options->contains("SCR")) baton.emplace_back("--with-script");
  baton.insert(baton.end(), {"--on-failure", options->contains("FOV") ? "failover" : "shutdown", "--"});
  baton.insert(baton.end(), words.begin() + static_cast<ptrdiff_t>(place), words.end());
  return baton;
}

std::optional<Words> kill(const Words& words, std::string& problem) {
  if (words.size() != 1) return problem = "it wants one watch id", std::nullopt;
  return Words{"unsupervise", words[0]};
}

std::optional<Words> fail_over(const Words& words, std::string& problem) {
  size_t place = 0;
  auto options = take_options(words, place, {}, {"F", "S"}, problem);
  if (!options) return std::nullopt;
  if (const char* own = std::getenv("ARMS_GROUPNAME"); !options->contains("F") && own != nullptr) (*options)["F"] = own;
  if (!options->contains("F") || place != words.size()) return problem = "it wants /F GROUP, and perhaps /S SERVER", std::nullopt;
  // Not waited for: it is called from scripts of that very group.
  Words baton{"group", "move", options->at("F"), "--no-wait"};
  if (options->contains("S")) baton.insert(baton.begin() + 3, options->at("S"));
  return baton;
}

std::optional<Words> shut_down(const Words& words, std::string& problem) {
  size_t place = 0;
  const auto options = take_options(words, place, {"R"}, {}, problem);
  if (!options || place != words.size()) return problem = "it wants nothing, or /R", std::nullopt;
  return Words{"server", "shutdown", options->contains("R") ? "--reboot" : "--poweroff", "--no-wait", "--reason", "armdown"};
}

const std::map<std::string, OldCommand>& old_commands() {
  static const std::map<std::string, OldCommand> commands = {
      {"armload", {"armload ID [/U USER] [/R RESTARTS [/H HOURS] [/SCR] [/FOV]] PROGRAM [ARGUMENT...]", load}},
      {"armkill", {"armkill ID", kill}},
      {"armfover", {"armfover [/F GROUP] [/S SERVER]", fail_over}},
      {"armdown", {"armdown [/R]", shut_down}},
  };
  return commands;
}

int complain(const std::string& name, const std::string& problem, const std::string& usage) {
  fmt::print(stderr, "{}: {}\nusage: {}\n", name, problem, usage);
  return kUsageStatus;
}

int sleep_for(const Words& words) {
  if (words.size() != 1 || !is_number(words[0]) || std::stoll(words[0]) > kLongestSleep)
    return complain("armsleep", fmt::format("it wants a number of seconds, at most {}", kLongestSleep), "armsleep SECONDS");
  std::this_thread::sleep_for(std::chrono::seconds(std::stoll(words[0])));
  return 0;
}

}  // namespace

bool is_old_command(const std::string& name) { return name == "armsleep" || old_commands().contains(name); }

int run_old_command(const std::string& name, const Words& words) {
  if (name == "armsleep") return sleep_for(words);
  const OldCommand& command = old_commands().at(name);
  std::string problem;
  const auto translated = command.translate(words, problem);
  if (!translated) return complain(name, problem, command.usage);
  return run_command_line(*translated);
}

}  // namespace baton::cli
