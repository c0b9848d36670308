// Turns toml++'s tree into Baton's own. The only file that includes toml++.
#include "src/model/configuration_tree.h"

// toml++ 3.3 asserts that a header begins with a letter, digit or quote ("[, x]" ends the program), and then checks
// the same properly. Bad input must never end batond: its assertions are off, in every build.
#undef NDEBUG
#define TOML_ASSERT(expression) static_assert(true)
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <algorithm>

namespace baton {
namespace {

SourcePosition position_of(const toml::source_region& region) { return {region.begin.line, region.begin.column}; }

TomlValue convert(const toml::node& node);

void convert_table(const toml::table& table, TomlValue& value) {
  for (const auto& [key, node] : table) {
    value.entries.push_back({std::string(key.str()), position_of(key.source()), convert(node)});
  }
  // toml++ sorts by name; people count in the order of the file.
  std::stable_sort(value.entries.begin(), value.entries.end(), [](const TomlEntry& left, const TomlEntry& right) {
    return std::pair(left.position.line, left.position.column) < std::pair(right.position.line, right.position.column);
  });
}

TomlValue convert(const toml::node& node) {
  TomlValue value;
  value.position = position_of(node.source());
  switch (node.type()) {
    case toml::node_type::table:
      value.kind = TomlValue::Kind::kTable;
      convert_table(*node.as_table(), value);
      break;
    case toml::node_type::array:
      value.kind = TomlValue::Kind::kArray;
      for (const toml::node& item : *node.as_array()) value.items.push_back(convert(item));
      break;
    case toml::node_type::string:
      value.kind = TomlValue::Kind::kString;
      value.text = node.as_string()->get();
      break;
    case toml::node_type::integer:
      value.kind = TomlValue::Kind::kInteger;
      value.integer = node.as_integer()->get();
      break;
    case toml::node_type::floating_point: value.kind = TomlValue::Kind::kFloat; break;
    case toml::node_type::boolean: value.kind = TomlValue::Kind::kBoolean; break;
    default: value.kind = TomlValue::Kind::kDate; break;
  }
  return value;
}

/// What a person can do about a syntax error, where toml++'s own words do not say.
std::string advice(const std::string& description) {
  if (description.find("redefine") != std::string::npos) {
    return ": the same thing stands there twice; give one of the two another name, or remove it";
  }
  if (description.find("end-of-file") != std::string::npos) return ": a quote or bracket is not closed";
  if (description.find("control characters") != std::string::npos) return ": a quote is not closed on this line";
  return ": correct the line (strings stand in double quotes, sections in [brackets])";
}

}  // namespace

const char* describe_kind(TomlValue::Kind kind) {
  switch (kind) {
    case TomlValue::Kind::kString: return "a string";
    case TomlValue::Kind::kInteger: return "a whole number";
    case TomlValue::Kind::kFloat: return "a number with a fraction";
    case TomlValue::Kind::kBoolean: return "true or false";
    case TomlValue::Kind::kDate: return "a date or time";
    case TomlValue::Kind::kArray: return "a list";
    case TomlValue::Kind::kTable: return "a section";
  }
  return "a value";
}

TomlValue parse_toml(const std::string& text, std::vector<ConfigurationProblem>& problems) {
  toml::parse_result parsed = toml::parse(std::string_view(text));
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    std::string description(error.description());
    SourcePosition position = position_of(error.source());
    problems.push_back({position.line, position.column, description + advice(description)});
    return {};
  }
  return convert(parsed.table());
}

}  // namespace baton
