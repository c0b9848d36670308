// Reads the whole file: syntax, then the sections, then all problems in file order.
#include "src/model/configuration_toml.h"

#include <algorithm>

#include "src/model/configuration_readers.h"

namespace baton {

std::string lower_case(const std::string& text) {
  std::string lower = text;
  for (char& letter : lower)
    letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  return lower;
}

bool check_name(const std::string& name, SourcePosition position, ConfigurationFindings& findings) {
  auto plain = [](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
           (letter >= '0' && letter <= '9');
  };
  std::string wrong;
  if (name.empty()) wrong = "it is empty";
  if (name.size() > 63) wrong = fmt::format("it has {} letters", name.size());
  for (char letter : name) {
    if (!plain(letter) && letter != '-' && letter != '_') wrong = fmt::format("it contains '{}'", letter);
  }
  if (wrong.empty() && !plain(name.front())) wrong = fmt::format("it begins with '{}'", name.front());
  if (wrong.empty()) return true;
  findings.add(
      position,
      "\"{}\" cannot be a name, {}: use up to 63 letters, digits, - and _, beginning with a letter or digit",
      name, wrong);
  return false;
}

bool check_path(const std::string& path, const std::string& key, SourcePosition position,
                ConfigurationFindings& findings) {
  if (path.empty() || path.front() != '/') {
    findings.add(position, "\"{}\" is \"{}\", which is not absolute: write a path beginning with /", key, path);
    return false;
  }
  std::string with_end = path + "/";
  bool plain = path.size() > 1 && path.back() != '/' && path.find("//") == std::string::npos &&
               with_end.find("/./") == std::string::npos && with_end.find("/../") == std::string::npos;
  if (!plain) {
    findings.add(position,
                 "\"{}\" is \"{}\": write the path below / without //, /./, /../ and without a / at its end",
                 key, path);
  }
  return plain;
}

CheckedConfiguration read_configuration(const std::string& text) {
  ConfigurationDraft draft;
  TomlValue tree = parse_toml(text, draft.findings.problems);
  if (draft.findings.problems.empty()) {
    SectionReader file(tree, "", draft.findings);
    read_cluster(file, draft);
    read_servers(file, draft);
    read_groups(file, draft);
    read_alerts(file, draft);
    file.finish();
  }
  std::stable_sort(draft.findings.problems.begin(), draft.findings.problems.end(),
                   [](const ConfigurationProblem& left, const ConfigurationProblem& right) {
                     return std::pair(left.line, left.column) < std::pair(right.line, right.column);
                   });
  return {std::move(draft.configuration), std::move(draft.findings.problems),
          std::move(draft.findings.positions)};
}

std::vector<ConfigurationProblem> check_configuration(const std::string& text) {
  return read_configuration(text).problems;
}

Result<Configuration> parse_configuration(const std::string& text, const std::string& file_name) {
  CheckedConfiguration checked = read_configuration(text);
  if (checked.ok()) return std::move(checked.configuration);
  std::string lines;
  for (const ConfigurationProblem& problem : checked.problems) {
    if (!lines.empty()) lines += '\n';
    lines += describe(problem, file_name);
  }
  return fail_as(ErrorCode::kInvalid, "{}", lines);
}

std::string describe(const ConfigurationProblem& problem, const std::string& file_name) {
  return fmt::format("{}:{}:{}: {}", file_name, problem.line, problem.column, problem.message);
}

}  // namespace baton
