// One scenario folder: its files, its script line by line, its log against expect.log.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "sim/scenario.h"

namespace baton::sim {

namespace {

std::pair<bool, std::string> read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return {file.good() || !text.str().empty(), text.str()};
}

/// The folder's own cluster, or the one of tests/scenarios/clusters that the script's first line names.
std::pair<bool, std::string> cluster_of(const std::string& folder, const std::string& script) {
  const std::string named = "cluster ";
  if (!script.starts_with(named)) return read(folder + "/cluster.toml");
  const std::string name = script.substr(named.size(), script.find('\n') - named.size());
  return read(std::filesystem::path(folder).parent_path() / "clusters" / (name + ".toml"));
}

std::string first_difference(const std::string& folder, const std::string& expected, const std::string& log) {
  std::istringstream wanted(expected), got(log);
  std::string wanted_line, got_line;
  int number = 0;
  do {
    ++number;
    wanted_line = got_line = "(end)";
    std::getline(wanted, wanted_line);
    std::getline(got, got_line);
  } while (wanted_line == got_line);
  return fmt::format("{}: line {}\n  expected: {}\n  got:      {}", folder, number, wanted_line, got_line);
}

}  // namespace

std::string run_scenario_folder(const std::string& folder, bool write_expected) {
  const auto [has_readme, readme] = read(folder + "/README");
  const auto [has_script, script] = read(folder + "/script");
  const auto [has_cluster, cluster] = cluster_of(folder, script);
  if (!has_readme || !has_cluster || !has_script) return folder + ": README, script or cluster.toml is missing";
  Scenario scenario(cluster, folder);
  std::istringstream lines(script);
  std::string line, wrong;
  for (int number = 1; wrong.empty() && std::getline(lines, line); ++number) {
    if (line.starts_with("cluster ")) continue;
    if (auto run = scenario.run_line(line); !run) wrong = fmt::format("script line {}: {}", number, run.error().message);
    if (!scenario.violation().empty()) wrong = scenario.violation();
  }
  scenario.write_state();
  std::string log;
  for (const auto& entry : scenario.log()) log += entry + "\n";
  if (!wrong.empty()) return folder + ": " + wrong + "\n" + log;
  if (write_expected) {
    std::ofstream(folder + "/expect.log") << log;
    return "";
  }
  const auto [has_expected, expected] = read(folder + "/expect.log");
  if (!has_expected) return folder + ": expect.log is missing; look at what happened and keep it if it is right:\n" + log;
  return expected == log ? "" : first_difference(folder, expected, log);
}

}  // namespace baton::sim
