// See configuration_edit.h. Values are found by where the reader saw them.
#include "src/model/configuration_edit.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "src/model/configuration_toml.h"

namespace baton {
namespace {

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size() - 1);
    lines.push_back(text.substr(begin, end + 1 - begin));
    begin = end + 1;
  }
  return lines;
}

/// The length of the quoted text or the number that begins there; 0 if it is neither.
size_t value_length(const std::string& line, size_t begin) {
  if (begin >= line.size()) return 0;
  const char quote = line[begin];
  if (quote != '"' && quote != '\'') return line.find_first_not_of("0123456789", begin) - begin;
  for (size_t place = begin + 1; place < line.size(); ++place) {
    if (line[place] == '\\' && quote == '"') return 0;  // no value of Baton's needs that
    if (line[place] == quote) return place + 1 - begin;
  }
  return 0;
}

}  // namespace

Result<std::string> set_mirror_value(const std::string& text, const std::string& group, const std::string& mirror,
                                     const std::string& key, const std::string& value) {
  const CheckedConfiguration before = read_configuration(text);
  if (!before.ok()) return pass(parse_configuration(text));
  const std::string path = "group." + group + ".mirror." + mirror;
  const auto section = before.positions.find(path);
  if (section == before.positions.end())
    return fail_as(ErrorCode::kNotFound, "the configuration has no [{}]", path);
  std::vector<std::string> lines = split_lines(text);
  const auto present = before.positions.find(path + "." + key);
  const auto cannot = fail_as(ErrorCode::kInvalid,
                              "\"{}\" of [{}] is written in a way that only a person should change: edit the output of "
                              "`baton config show` and apply it with `baton apply FILE`", key, path);
  if (present != before.positions.end()) {
    std::string& line = lines[present->second.line - 1];
    const size_t length = value_length(line, present->second.column - 1);
    if (length == 0 || length > line.size()) return cannot;
    line.replace(present->second.column - 1, length, "\"" + value + "\"");
  } else {
    const size_t size_line = before.positions.at(path + ".size").line;
    const std::string& line = lines[size_line - 1];
    const size_t begin = line.find_first_not_of(" \t");
    // An inline table, or a dotted key: a line more would belong elsewhere.
    if (line.compare(begin, 4, "size") != 0) return cannot;
    if (lines[size_line - 1].back() != '\n') lines[size_line - 1] += '\n';
    lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(size_line),
                 fmt::format("{}{} = \"{}\"\n", line.substr(0, begin), key, value));
  }
  std::string edited;
  for (const std::string& line : lines) edited += line;
  if (const auto after = parse_configuration(edited, "the changed configuration"); !after) return pass(after);
  return edited;
}

Result<std::string> add_server(const std::string& text, const ServerConfiguration& server) {
  const auto before = parse_configuration(text);
  if (!before) return pass(before);
  if (before->server(server.name) != nullptr)
    return fail_as(ErrorCode::kConflict, "there is a server {} already: join under another name (--name), or remove "
                                         "that one first (baton cluster remove {})", server.name, server.name);
  std::string addresses;
  for (const auto& address : server.interconnects) addresses += fmt::format("{}\"{}\"", addresses.empty() ? "" : ", ", address);
  std::string edited = text;
  if (!edited.empty() && edited.back() != '\n') edited += '\n';
  edited += fmt::format("\n[server.{}]\nid = {}\n{}interconnects = [{}]\n", server.name, server.id,
                        server.role == ServerRole::kWitness ? "role = \"witness\"\n" : "", addresses);
  if (const auto after = parse_configuration(edited, "with the new server"); !after) return pass(after);
  return edited;
}

Result<std::string> remove_server(const std::string& text, const std::string& name) {
  const auto before = parse_configuration(text);
  if (!before) return pass(before);
  const auto* server = before->server(name);
  if (server == nullptr) return fail_as(ErrorCode::kNotFound, "there is no server \"{}\"", name);
  for (const auto& group : before->groups) {
    if (std::find(group.servers.begin(), group.servers.end(), server->id) != group.servers.end())
      return fail_as(ErrorCode::kConflict, "group {} names {} among its servers: take it out first (edit the output of "
                     "`baton config show`, then `baton apply FILE`)", group.name, server->name);
  }
  const std::string header = "[server." + server->name + "]";
  std::string edited, above_next;  // comments and empty lines go with what follows them
  bool inside = false, found = false;
  for (const std::string& line : split_lines(text)) {
    const size_t begin = line.find_first_not_of(" \t");
    if (begin != std::string::npos && line[begin] == '[') {
      inside = line.compare(begin, header.size(), header) == 0;
      found = found || inside;
    }
    const bool is_remark = begin == std::string::npos || line[begin] == '#' || line[begin] == '\n';
    if (inside && is_remark) {
      above_next += line;
    } else if (inside) {
      above_next.clear();
    } else {
      edited += std::exchange(above_next, "") + line;
    }
  }
  if (!found)
    return fail_as(ErrorCode::kInvalid, "{} is written in a way that only a person should change: edit the output of "
                                        "`baton config show` and apply it with `baton apply FILE`", server->name);
  if (const auto after = parse_configuration(edited, "without the server"); !after) return pass(after);
  return edited;
}

}  // namespace baton
