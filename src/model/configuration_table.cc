// SectionReader: see the header.
#include "src/model/configuration_table.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace baton {

SourcePosition ConfigurationFindings::position(const std::string& path) const {
  auto found = positions.find(path);
  return found == positions.end() ? SourcePosition{} : found->second;
}

SectionReader::SectionReader(const TomlValue& table, std::string path, ConfigurationFindings& findings)
    : table_(table), path_(std::move(path)), findings_(findings) {
  if (!path_.empty()) findings_.remember(path_, table.position);
}

const TomlValue* SectionReader::find(const std::string& key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  for (const TomlEntry& entry : table_.entries) {
    if (entry.key != key) continue;
    findings_.remember(path_of(key), entry.value.position);
    return &entry.value;
  }
  return nullptr;
}

const TomlValue* SectionReader::require(const std::string& key, const std::string& advice) {
  const TomlValue* value = find(key);
  if (!value) {
    if (path_.empty()) {
      findings_.add({1, 1}, "[{}] is missing: {}", key, advice);
    } else {
      findings_.add(table_.position, "[{}] lacks \"{}\": {}", path_, key, advice);
    }
  }
  return value;
}

bool SectionReader::expect(const TomlValue& value, const std::string& key, TomlValue::Kind kind,
                           const std::string& example) {
  if (value.kind == kind) return true;
  findings_.add(value.position, "\"{}\" must be {}, not {}: write for instance {}", key, describe_kind(kind),
                describe_kind(value.kind), example);
  return false;
}

bool SectionReader::read_string(const std::string& key, std::string& into) {
  const TomlValue* value = find(key);
  if (!value || !expect(*value, key, TomlValue::Kind::kString, key + " = \"...\"")) return false;
  if (value->text.find('\0') != std::string::npos) {
    findings_.add(value->position, "\"{}\" contains a zero byte: remove it", key);
    return false;
  }
  into = value->text;
  return true;
}

bool SectionReader::read_strings(const std::string& key, std::vector<std::string>& into) {
  const TomlValue* value = find(key);
  std::string example = key + " = [\"...\", \"...\"]";
  if (!value || !expect(*value, key, TomlValue::Kind::kArray, example)) return false;
  std::vector<std::string> read;
  for (const TomlValue& item : value->items) {
    findings_.remember(fmt::format("{}.{}", path_of(key), read.size()), item.position);
    if (!expect(item, fmt::format("{}[{}]", key, read.size()), TomlValue::Kind::kString, example)) return false;
    if (item.text.find('\0') != std::string::npos) {
      findings_.add(item.position, "\"{}\" contains a zero byte: remove it", key);
      return false;
    }
    read.push_back(item.text);
  }
  into = std::move(read);
  return true;
}

bool SectionReader::read_map(const std::string& key, std::map<std::string, std::string>& into) {
  const TomlValue* value = find(key);
  if (!value || !expect(*value, key, TomlValue::Kind::kTable, key + " = { NAME = \"value\" }")) return false;
  for (const TomlEntry& entry : value->entries) {
    findings_.remember(path_of(key) + "." + entry.key, entry.position);
    if (!expect(entry.value, entry.key, TomlValue::Kind::kString, entry.key + " = \"...\"")) return false;
    into[entry.key] = entry.value.text;
  }
  return true;
}

bool SectionReader::read_integer(const std::string& key, int64_t least, int64_t most, int64_t& into) {
  const TomlValue* value = find(key);
  if (!value || !expect(*value, key, TomlValue::Kind::kInteger, fmt::format("{} = {}", key, least)))
    return false;
  if (value->integer < least || value->integer > most) {
    findings_.add(value->position, "\"{}\" is {}: it must be from {} to {}", key, value->integer, least, most);
    return false;
  }
  into = value->integer;
  return true;
}

bool SectionReader::read_boolean(const std::string& key, bool& into) {
  const TomlValue* value = find(key);
  if (!value || !expect(*value, key, TomlValue::Kind::kBoolean, key + " = true")) return false;
  into = value->boolean;
  return true;
}

bool SectionReader::read_duration(const std::string& key, milliseconds least, milliseconds most,
                                  milliseconds& into) {
  const TomlValue* value = find(key);
  if (!value || !expect(*value, key, TomlValue::Kind::kString, key + " = \"30 s\"")) return false;
  auto duration = parse_duration(value->text);
  if (!duration) {
    findings_.add(
        value->position,
        "\"{}\" is \"{}\", which is no duration: write a whole number and ms, s, min or h, as in \"30 s\"", key,
        value->text);
    return false;
  }
  if (*duration < least || *duration > most) {
    findings_.add(value->position, "\"{}\" is {}: it must be from {} to {}", key, value->text,
                  format_duration(least), format_duration(most));
    return false;
  }
  into = *duration;
  return true;
}

bool SectionReader::read_size(const std::string& key, uint64_t& into) {
  const TomlValue* value = find(key);
  if (!value || !expect(*value, key, TomlValue::Kind::kString, key + " = \"512 MiB\"")) return false;
  auto size = parse_size(value->text);
  if (!size) {
    findings_.add(value->position,
                  "\"{}\" is \"{}\", which is no size: write a whole number and B, KiB, MiB, GiB or TiB, as in "
                  "\"512 MiB\"",
                  key, value->text);
    return false;
  }
  into = *size;
  return true;
}

std::vector<const TomlEntry*> SectionReader::sections(const std::string& key) {
  const TomlValue* value = find(key);
  std::vector<const TomlEntry*> found;
  if (!value ||
      !expect(*value, key, TomlValue::Kind::kTable, fmt::format("a section [{}.NAME]", path_of(key)))) {
    return found;
  }
  for (const TomlEntry& entry : value->entries) {
    if (entry.value.kind == TomlValue::Kind::kTable) {
      found.push_back(&entry);
    } else {
      findings_.add(entry.position,
                    "\"{}\" stands where a section [{}.NAME] is expected: write it under such a header",
                    entry.key, path_of(key));
    }
  }
  return found;
}

void SectionReader::finish() {
  for (const TomlEntry& entry : table_.entries) {
    if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
    std::string where = path_.empty() ? "at the top of the file" : "in [" + path_ + "]";
    std::string near = nearest_word(entry.key, known_);
    findings_.add(entry.position, "unknown {} \"{}\" {}: {}",
                  entry.value.kind == TomlValue::Kind::kTable ? "section" : "key", entry.key, where,
                  near.empty() ? fmt::format("remove it; known are {}", fmt::join(known_, ", "))
                               : fmt::format("did you mean \"{}\"?", near));
  }
}

SourcePosition SectionReader::position_of(const std::string& key) const {
  SourcePosition position = findings_.position(path_of(key));
  return position.line == 0 ? table_.position : position;
}

}  // namespace baton
