// Reads the cluster's TOML file into a Configuration, and says of everything wrong in it where it stands and
// what to do. Pure and deterministic: every voter reads the same text alike. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/model/configuration.h"

namespace baton {

/// One thing that is wrong in the file. Line and column are counted from 1.
struct ConfigurationProblem {
  uint32_t line = 0;
  uint32_t column = 0;
  std::string message;
  bool operator==(const ConfigurationProblem&) const = default;
};

/// What reading a file gave. The configuration may be used only if there are no problems.
struct CheckedConfiguration {
  Configuration configuration;
  std::vector<ConfigurationProblem> problems;  // in file order
  /// Where each value stands, by its path: "group.db.mirror.data.size".
  std::map<std::string, SourcePosition> positions;

  bool ok() const { return problems.empty(); }
};

/// Reads and checks everything; finds all problems at once.
CheckedConfiguration read_configuration(const std::string& text);

/// All problems of a file; none if it may be applied.
std::vector<ConfigurationProblem> check_configuration(const std::string& text);

/// The configuration, or an error (kInvalid) with one line for each problem: "cluster.toml:12:9: ...".
Result<Configuration> parse_configuration(const std::string& text,
                                          const std::string& file_name = "cluster.toml");

/// "cluster.toml:12:9: what is wrong: what to do".
std::string describe(const ConfigurationProblem& problem, const std::string& file_name);

/// What applying `after` over `before` changes, a line for each thing; empty if nothing.
std::vector<std::string> describe_changes(const Configuration& before, const Configuration& after);

/// "512 MiB", "1 TiB", "1234 B": the largest unit that fits without a remainder.
std::string format_size(uint64_t bytes);

/// "50 MB/s", "64 KiB/s"; "auto" for 0.
std::string format_rate(uint64_t bytes_per_second);

/// "500 ms", "30 s", "5 min".
std::string format_duration(milliseconds duration);

}  // namespace baton
