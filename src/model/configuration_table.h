// Reads the values of one section of the file: type, range, missing and unknown keys, each problem with its
// place and what to do. Used by the readers of configuration_toml.cc. One thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/base/time.h"
#include "src/model/configuration_tree.h"

namespace baton {

/// The problems and the places of values found so far.
class ConfigurationFindings {
 public:
  template <class... Args>
  void add(SourcePosition position, fmt::format_string<Args...> format, Args&&... args) {
    problems.push_back({position.line, position.column, fmt::format(format, std::forward<Args>(args)...)});
  }
  void remember(const std::string& path, SourcePosition position) { positions[path] = position; }
  SourcePosition position(const std::string& path) const;

  std::vector<ConfigurationProblem> problems;
  std::map<std::string, SourcePosition> positions;
};

class SectionReader {
 public:
  /// `path` is the section's name as in the file: "group.db.mirror.data"; empty for the whole file.
  SectionReader(const TomlValue& table, std::string path, ConfigurationFindings& findings);

  /// The value of a key, which is a known one from now on; nothing if it is absent.
  const TomlValue* find(const std::string& key);
  /// As find; its absence is a problem, `advice` says how to mend it.
  const TomlValue* require(const std::string& key, const std::string& advice);

  // Each reads a value if it is there and right, and says whether it did; wrong ones are reported.
  bool read_string(const std::string& key, std::string& into);
  bool read_strings(const std::string& key, std::vector<std::string>& into);
  bool read_map(const std::string& key, std::map<std::string, std::string>& into);
  bool read_integer(const std::string& key, int64_t least, int64_t most, int64_t& into);
  bool read_boolean(const std::string& key, bool& into);
  bool read_duration(const std::string& key, milliseconds least, milliseconds most, milliseconds& into);
  bool read_size(const std::string& key, uint64_t& into);

  /// The sub-sections of `key` ("server" -> [server.server1], ...); anything else there is reported.
  std::vector<const TomlEntry*> sections(const std::string& key);

  /// Reports the keys that nobody asked for, with the nearest known one.
  void finish();

  const std::string& path() const { return path_; }
  std::string path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }
  /// Where a value stands, or the section if it is absent.
  SourcePosition position_of(const std::string& key) const;
  SourcePosition position() const { return table_.position; }
  ConfigurationFindings& findings() { return findings_; }

 private:
  bool expect(const TomlValue& value, const std::string& key, TomlValue::Kind kind, const std::string& example);

  const TomlValue& table_;
  std::string path_;
  ConfigurationFindings& findings_;
  std::vector<std::string> known_;
};

/// The known word nearest to a mistyped one; empty if none is near.
std::string nearest_word(const std::string& word, const std::vector<std::string>& known);

/// "500 ms", "30 s", "5 min", "1 h"; nothing if it is none.
std::optional<milliseconds> parse_duration(const std::string& text);

/// "50MB/s", "auto" (0); nothing if it is no rate.
std::optional<uint64_t> parse_rate(const std::string& text);

/// "512 MiB"; nothing if it is no size or too large to count.
std::optional<uint64_t> parse_size(const std::string& text);

}  // namespace baton
