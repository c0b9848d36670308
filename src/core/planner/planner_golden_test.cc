// Golden plans: every tests/planner/NAME.case has its NAME.plan beside it; a missing one fails. The format of
// both is in tests/planner/README. BATON_UPDATE_EXPECTED=1 writes the plans anew, for review with git diff.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "src/core/planner/planner.h"
#include "src/model/configuration_toml.h"

namespace baton::planner {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// A line's words; quotes keep a word with blanks together.
std::vector<std::string> split_words(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false;
  for (char letter : line + " ") {
    if (letter == '"') {
      quoted = !quoted;
    } else if (letter == ' ' && !quoted) {
      if (!word.empty()) words.push_back(word);
      word.clear();
    } else {
      word += letter;
    }
  }
  return words;
}

struct Wish {
  std::string text;
  WishGroup wish;
};

/// A case as read: what the planner is given.
struct Case {
  Configuration configuration;
  ClusterState state;
  std::map<ServerId, ServerView> servers;
  std::map<std::string, CopyReports> reports;
  std::vector<Wish> wishes;
  uint64_t clock_ms = 0;
  std::string starting;
  std::optional<std::chrono::minutes> time_of_day;

  ServerId id(const std::string& name) const {
    const ServerConfiguration* server = configuration.server(name);
    if (!server) throw std::runtime_error("unknown server " + name);
    return server->id;
  }
};

/// The values of "key=value" words; a word without "=" is a key with the value "yes".
std::map<std::string, std::string> read_values(const std::vector<std::string>& words, size_t first) {
  std::map<std::string, std::string> values;
  for (size_t place = first; place < words.size(); ++place) {
    size_t equals = words[place].find('=');
    values[words[place].substr(0, equals)] =
        equals == std::string::npos ? "yes" : words[place].substr(equals + 1);
  }
  return values;
}

uint64_t number_of(const std::map<std::string, std::string>& values, const std::string& key,
                   uint64_t otherwise) {
  auto found = values.find(key);
  return found == values.end() ? otherwise : std::stoull(found->second);
}

std::string text_of(const std::map<std::string, std::string>& values, const std::string& key) {
  auto found = values.find(key);
  return found == values.end() ? "" : found->second;
}

GroupPhase phase_of(const std::string& name) {
  for (auto phase : {GroupPhase::kStopped, GroupPhase::kStarting, GroupPhase::kStarted, GroupPhase::kStopping,
                     GroupPhase::kFailed}) {
    if (name == to_string(phase)) return phase;
  }
  throw std::runtime_error("unknown phase " + name);
}

void read_group_line(Case& one, const std::vector<std::string>& words) {
  auto values = read_values(words, 2);
  GroupState& group = one.state.groups[words[1]];
  group.version = number_of(values, "version", 1);
  group.phase = phase_of(values.contains("phase") ? values["phase"] : "stopped");
  group.wanted = values.contains("wanted");
  if (values.contains("owner")) group.owner = one.id(values["owner"]);
  if (values.contains("target")) group.target = group.placed = one.id(values["target"]);
  if (values.contains("target-by-baton")) group.target = one.id(values["target-by-baton"]);
  if (values.contains("placed")) group.placed = one.id(values["placed"]);
  if (values.contains("last")) group.last = one.id(values["last"]);
  group.asked = values.contains("asked");
  if (values.contains("parked")) group.parked = one.id(values["parked"]);
  if (values.contains("suspended")) group.suspension = Suspension{"anna", "", 0, 0};
  group.held = text_of(values, "held");
  group.reason = text_of(values, "reason");
}

/// "server1:3,server2:1".
std::map<ServerId, Incarnation> read_copies(Case& one, const std::string& text) {
  std::map<ServerId, Incarnation> copies;
  std::istringstream members(text);
  for (std::string member; std::getline(members, member, ',');) {
    size_t colon = member.find(':');
    copies[one.id(member.substr(0, colon))] = Incarnation(std::stoull(member.substr(colon + 1)));
  }
  return copies;
}

void read_mirror_line(Case& one, const std::vector<std::string>& words) {
  auto values = read_values(words, 2);
  MirrorState& mirror = one.state.mirrors[words[1]];
  mirror.version = number_of(values, "version", 1);
  mirror.permit = Permit(number_of(values, "permit", 0));
  if (values.contains("holder")) mirror.holder = one.id(values["holder"]);
  if (values.contains("forced")) mirror.forced = one.id(values["forced"]);
  if (values.contains("restricted")) mirror.restricted = {one.id(values["restricted"])};
  mirror.in_sync = read_copies(one, text_of(values, "in-sync"));
  mirror.trailing = read_copies(one, text_of(values, "trailing"));
}

void read_report_line(Case& one, const std::vector<std::string>& words) {
  auto values = read_values(words, 3);
  MirrorReport& report = one.reports[words[1]][one.id(words[2])];
  report.incarnation = Incarnation(number_of(values, "incarnation", 1));
  report.consistent = !values.contains("inconsistent");
  report.detached = values.contains("detached");
  report.copy_done_bytes = number_of(values, "done", 0);
  report.copy_total_bytes = number_of(values, "total", 0);
  report.problem = text_of(values, "problem");
}

void read_standing(Case& one, const std::string& name, const std::map<std::string, std::string>& values) {
  ServerState& record = one.state.servers[one.id(name)];
  record.version = 1;
  if (values.contains("drained")) record.drain = Drain{"anna", "", 0};
  if (values.contains("suspended")) record.suspension = Suspension{"anna", "", 0, 0};
  if (values.contains("shutdown"))
    record.shutdown = Shutdown{text_of(values, "shutdown") != "stop", Afterwards::kNothing, "anna", "", 0, 3600'000, {}};
  if (values.contains("isolated") || values.contains("held")) record.standing = ServerStanding::kIsolated;
  record.hold_until_ms = number_of(values, "held", 0) * 1000;
  if (record.standing == ServerStanding::kIsolated)
    record.reason = values.contains("held") ? "it was lost 3 times" : "it was down and is back";
}

void read_wish_line(Case& one, const std::string& line, const std::vector<std::string>& words) {
  Wish wish{line, {}};
  wish.wish.group = words[1];
  wish.wish.wanted = words[2] != "stop";
  if (words.size() > 3) wish.wish.target = one.id(words[3]);
  one.wishes.push_back(wish);
}

Case read_case(const std::filesystem::path& path) {
  Case one;
  one.state.format_level = kFormatLevel;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> words = split_words(line);
    if (words.empty() || words[0][0] == '#') continue;
    if (words[0] == "cluster") {
      auto parsed =
          parse_configuration(read_file(path.parent_path() / "clusters" / (words[1] + ".toml")), words[1]);
      if (!parsed) throw std::runtime_error(parsed.error().message);
      one.configuration = *parsed;
    } else if (words[0] == "server") {
      auto values = read_values(words, 2);
      const bool present = values.contains("present");
      one.servers[one.id(words[1])] = {present, present, values.contains("lease-over"), text_of(values, "why"), 7};
      read_standing(one, words[1], values);
    } else if (words[0] == "clock") {
      one.clock_ms = std::stoull(words[1]) * 1000;
    } else if (words[0] == "time") {
      one.time_of_day = std::chrono::hours(std::stoi(words[1])) + std::chrono::minutes(std::stoi(words[2]));
    } else if (words[0] == "failed-on") {
      one.state.groups[words[1]].failed_on[one.id(words[2])] = std::stoull(words[3]) * 1000;
    } else if (words[0] == "starting") {
      one.starting = words[1];
    } else if (words[0] == "refused") {
      auto values = read_values(words, 3);
      one.state.groups[words[1]].refused[one.id(words[2])] = {
          text_of(values, "reason"), static_cast<uint32_t>(number_of(values, "attempts", 1))};
    } else if (words[0] == "group") {
      read_group_line(one, words);
    } else if (words[0] == "mirror") {
      read_mirror_line(one, words);
    } else if (words[0] == "report") {
      read_report_line(one, words);
    } else if (words[0] == "wish") {
      read_wish_line(one, line, words);
    } else {
      throw std::runtime_error("unknown line: " + line);
    }
  }
  return one;
}

std::string print_command(const Case& one, const AssignGroup& command) {
  std::string text = fmt::format("{}: assign to {}{}, from version {}\n", command.group,
                                 one.configuration.server_name(command.server), command.alone ? " alone" : "",
                                 command.expected_version);
  for (const auto& [mirror, version] : command.mirror_versions) {
    text += fmt::format("  mirror {} from version {}, reported", mirror, version);
    auto reported = command.reported.find(mirror);
    if (reported == command.reported.end()) throw std::runtime_error("no report of " + mirror);
    for (const auto& [server, incarnation] : reported->second) {
      text += fmt::format(" {}:{}", one.configuration.server_name(server), incarnation);
    }
    text += "\n";
  }
  if (!command.loss.empty()) text += "  may be lost: " + command.loss + "\n";
  for (const std::string& cause : command.causes) text += "  cause: " + cause + "\n";
  return text;
}

std::string print_command(const Case& one, const SetGroupPhase& command) {
  return fmt::format("{}: {} in the name of {}, from version {}\n", command.group, to_string(command.phase),
                     one.configuration.server_name(command.server), command.expected_version);
}

std::string print_command(const Case& one, const WishGroup& command) {
  const std::string where = command.target == ServerId{} ? "" : " on " + one.configuration.server_name(command.target);
  const std::string park = command.park == ServerId{} ? "" : ", stopped on " + one.configuration.server_name(command.park) + " first";
  return fmt::format("{}: wanted {}{}{}, from version {}\n", command.group, command.wanted ? "running" : "stopped", where, park,
                     command.expected_version);
}

template <class Other>
std::string print_command(const Case&, const Other&) {
  throw std::runtime_error("a command that the planner must not give");
}

std::string print_plan(const Case& one) {
  Input input{one.configuration, one.state, one.servers, one.reports, one.clock_ms, one.starting, one.time_of_day};
  Plan plan = make_plan(input);
  std::string text;
  for (const PlannedStep& step : plan.steps) {
    text += std::visit([&](const auto& command) { return print_command(one, command); }, step.command);
    text += "  reason: " + step.reason + "\n";
  }
  for (const auto& [group, why] : plan.waiting) text += fmt::format("{}: waits\n  {}\n", group, why);
  for (const auto& [group, why] : plan.failback) text += fmt::format("{}: does not fail back\n  {}\n", group, why);
  for (const auto& [server, groups] : plan.staying) {
    for (const auto& [group, why] : groups)
      text += fmt::format("{}: is still on {}\n  {}\n", group, one.configuration.server_name(server), why);
  }
  if (plan.steps.empty() && plan.waiting.empty()) text += "nothing to do\n";
  for (const Wish& wish : one.wishes) {
    Status judged = check_wish(input, wish.wish);
    text += fmt::format("{}: {}\n", wish.text, judged ? "accepted" : "refused\n  " + judged.error().message);
  }
  return text;
}

TEST(PlannerGolden, EveryCaseGivesItsPlan) {
  size_t count = 0;
  bool update = std::getenv("BATON_UPDATE_EXPECTED") != nullptr;
  std::vector<std::filesystem::path> cases;
  for (const auto& entry : std::filesystem::directory_iterator(BATON_CASES)) {
    if (entry.path().extension() == ".case") cases.push_back(entry.path());
  }
  std::sort(cases.begin(), cases.end());
  for (const std::filesystem::path& path : cases) {
    SCOPED_TRACE(path.filename().string());
    ++count;
    std::string plan;
    ASSERT_NO_THROW(plan = print_plan(read_case(path)));
    std::filesystem::path expected = path;
    expected.replace_extension(".plan");
    if (update) std::ofstream(expected) << plan;
    ASSERT_TRUE(std::filesystem::exists(expected)) << "no " << expected << "; the plan is\n" << plan;
    EXPECT_EQ(read_file(expected), plan);
  }
  EXPECT_GE(count, 25u);
}

}  // namespace
}  // namespace baton::planner
