// A TOML file as a plain tree in file order, each key and value with its place. Keeps toml++ in one source
// file. Plain values, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/model/configuration.h"
#include "src/model/configuration_toml.h"

namespace baton {

struct TomlEntry;

struct TomlValue {
  enum class Kind { kString, kInteger, kFloat, kBoolean, kDate, kArray, kTable };

  Kind kind = Kind::kTable;
  std::string text;                // kString
  int64_t integer = 0;             // kInteger
  bool boolean = false;            // kBoolean
  std::vector<TomlValue> items;    // kArray
  std::vector<TomlEntry> entries;  // kTable, in file order
  SourcePosition position;
};

struct TomlEntry {
  std::string key;
  SourcePosition position;  // of the key
  TomlValue value;
};

/// "a string", "a whole number", ... for messages.
const char* describe_kind(TomlValue::Kind kind);

/// The tree of a file; a syntax error is added to `problems` and gives an empty table.
TomlValue parse_toml(const std::string& text, std::vector<ConfigurationProblem>& problems);

}  // namespace baton
