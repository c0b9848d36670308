// See group_template.h. The head ends with the first line that is no comment.
#include "src/model/group_template.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <set>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

const std::string kOpen = "{{", kClose = "}}";
const std::vector<std::string> kOfThePlace = {"group", "servers", "baton"};

bool is_one_of(const std::string& word, const std::vector<std::string>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  size_t begin = text.find_first_not_of(' ');
  while (begin != std::string::npos) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(' ', end);
  }
  return words;
}

/// Replaces each place by what `value_of` says. One that is never closed stays as it is.
std::string replace_places(const std::string& text, const std::function<std::string(const std::string&)>& value_of) {
  std::string replaced;
  size_t done = 0;
  for (;;) {
    const size_t open = text.find(kOpen, done);
    const size_t close = open == std::string::npos ? open : text.find(kClose, open);
    if (close == std::string::npos) return replaced + text.substr(done);
    replaced += text.substr(done, open - done) + value_of(text.substr(open + kOpen.size(), close - open - kOpen.size()));
    done = close + kClose.size();
  }
}

std::vector<std::string> places_of(const std::string& text) {
  std::vector<std::string> places;
  replace_places(text, [&](const std::string& name) {
    places.push_back(name);
    return "";
  });
  return places;
}

/// "size = 10 GiB: of the mirror disk", "address: the floating address".
std::optional<TemplateValue> read_value(const std::string& text) {
  const size_t equals = text.find(" = ");
  const size_t colon = text.find(": ", equals == std::string::npos || equals > text.find(':') ? 0 : equals);
  if (colon == std::string::npos) return std::nullopt;
  TemplateValue value;
  value.text = trimmed(text.substr(colon + 1));
  if (equals < colon) value.usual = trimmed(text.substr(equals + 3, colon - equals - 3));
  value.name = trimmed(text.substr(0, std::min(equals, colon)));
  const bool plain = std::all_of(value.name.begin(), value.name.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
  if (value.name.empty() || !plain || value.text.empty()) return std::nullopt;
  return value;
}

std::vector<std::string> names_of(const std::vector<TemplateValue>& values) {
  std::vector<std::string> names;
  for (const TemplateValue& value : values) names.push_back(value.name);
  return names;
}

/// Reads a line of the head. Gives what is wrong with it; nothing if it is well.
std::string read_head_line(const std::string& text, GroupTemplate& source) {
  if (text.starts_with("packages:")) {
    source.packages = words_of(text.substr(text.find(':') + 1));
  } else if (text.starts_with("units:")) {
    source.units = words_of(text.substr(text.find(':') + 1));
  } else if (text.starts_with("set ")) {
    const auto value = read_value(text.substr(4));
    if (!value)
      return "a value is declared as \"# set NAME: what it is\" or \"# set NAME = USUAL: what it is\", its name of small letters and _";
    const std::vector<std::string> known = names_of(source.values);
    if (is_one_of(value->name, known)) return fmt::format("\"{}\" is declared twice: remove one", value->name);
    if (is_one_of(value->name, kOfThePlace))
      return fmt::format("\"{}\" is filled in by Baton: remove the line", value->name);
    source.values.push_back(*value);
  }
  return {};
}

/// Every place has its declaration, and every declaration its place.
Status check_places(const GroupTemplate& source, const std::string& file, size_t head_lines) {
  std::set<std::string> used;
  std::vector<std::string> known = names_of(source.values);
  for (const TemplateValue& value : source.values) {
    for (const std::string& place : places_of(value.usual.value_or("")))
      if (!is_one_of(place, kOfThePlace))
        return fail_as(ErrorCode::kInvalid, "{}: the usual value of \"{}\" may have {{{{group}}}} in it, but not {{{{{}}}}}", file,
                       value.name, place);
  }
  known.insert(known.end(), kOfThePlace.begin(), kOfThePlace.end());
  const std::vector<std::string> lines = lines_of(source.body);
  for (size_t line = 0; line < lines.size(); ++line) {
    for (const std::string& place : places_of(lines[line])) {
      used.insert(place);
      if (is_one_of(place, known)) continue;
      const std::string near = nearest_word(place, known);
      return fail_as(ErrorCode::kInvalid, "{}:{}: {{{{{}}}}} is not declared: {}", file, head_lines + line + 1, place,
                     near.empty() ? fmt::format("add a line \"# set {}: what it is\" to the head", place)
                                  : "did you mean {{" + near + "}}?");
    }
  }
  for (const TemplateValue& value : source.values)
    if (!used.contains(value.name))
      return fail_as(ErrorCode::kInvalid, "{}: \"{}\" is declared, but {{{{{}}}}} is nowhere: remove the declaration", file, value.name,
                     value.name);
  if (!used.contains("group") || !used.contains("servers"))
    return fail_as(ErrorCode::kInvalid, "{}: a template begins its group with [group.{{{{group}}}}] and servers = [{{{{servers}}}}]",
                   file);
  return {};
}

/// What must not be in a value: it could end its string and begin another key.
std::optional<std::string> unfit_part(const std::string& value) {
  for (const char letter : value) {
    const bool control = static_cast<unsigned char>(letter) < ' ' || letter == 127;
    if (letter == '"' || letter == '\\' || control) return control ? std::string("a control character") : std::string(1, letter);
  }
  if (value.find(kOpen) != std::string::npos) return kOpen;
  return std::nullopt;
}

Status check_place(const TemplatePlace& place) {
  ConfigurationFindings findings;
  if (!check_name(place.group, {}, findings)) return fail_as(ErrorCode::kInvalid, "group {}", findings.problems.front().message);
  for (const std::string& server : place.servers)
    if (unfit_part(server))
      return fail_as(ErrorCode::kInvalid, "there is no server \"{}\": name servers of the cluster (--servers A,B)", server);
  return {};
}

Status check_given(const GroupTemplate& source, const std::map<std::string, std::string>& given) {
  const std::vector<std::string> known = names_of(source.values);
  for (const auto& [name, value] : given) {
    if (!is_one_of(name, known)) {
      const std::string near = nearest_word(name, known);
      return fail_as(ErrorCode::kInvalid, "template {} has no value \"{}\": {}", source.name, name,
                     !near.empty()     ? "did you mean \"" + near + "\"?"
                     : known.empty()   ? "it needs none"
                                       : fmt::format("its values are {}", fmt::join(known, ", ")));
    }
    if (const auto part = unfit_part(value))
      return fail_as(ErrorCode::kInvalid, "the value of \"{}\" has {} in it, which a template cannot take: edit the output of "
                                          "`baton template show {}`, and apply it with --from", name, *part, source.name);
  }
  std::string missing;
  for (const TemplateValue& value : source.values)
    if (!value.usual && !given.contains(value.name)) missing += fmt::format("\n  --set {}=...  {}", value.name, value.text);
  if (missing.empty()) return {};
  return fail_as(ErrorCode::kInvalid, "template {} has to be told:{}", source.name, missing);
}

}  // namespace

Result<GroupTemplate> parse_template(const std::string& name, const std::string& text, const std::string& file) {
  GroupTemplate source;
  source.name = name;
  size_t begin = 0, line = 0;
  for (; begin < text.size() && text[begin] == '#'; ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string words = trimmed(text.substr(begin + 1, end - begin - 1));
    if (line == 0) source.summary = words;
    if (const std::string wrong = read_head_line(words, source); !wrong.empty())
      return fail_as(ErrorCode::kInvalid, "{}:{}: {}", file, line + 1, wrong);
    begin = std::min(end + 1, text.size());
  }
  for (; begin < text.size() && text[begin] == '\n'; ++line) ++begin;
  if (source.summary.empty())
    return fail_as(ErrorCode::kInvalid, "{}:1: a template begins with \"# \" and a sentence that says what it is", file);
  source.body = text.substr(begin);
  if (auto checked = check_places(source, file, line); !checked) return pass(checked);
  return source;
}

Result<std::string> fill_template(const GroupTemplate& source, const TemplatePlace& place,
                                  const std::map<std::string, std::string>& given) {
  if (auto checked = check_place(place); !checked) return pass(checked);
  if (auto checked = check_given(source, given); !checked) return pass(checked);
  std::map<std::string, std::string> values = {{"group", place.group}, {"baton", place.programs}};
  std::string& servers = values["servers"];
  for (const std::string& server : place.servers) servers += fmt::format("{}\"{}\"", servers.empty() ? "" : ", ", server);
  const auto value_of = [&](const std::string& name) { return values[name]; };
  for (const TemplateValue& value : source.values) {
    const auto said = given.find(value.name);
    values[value.name] = said != given.end() ? said->second : replace_places(*value.usual, value_of);
  }
  return replace_places(source.body, value_of);
}

std::string explain_misfit(const GroupTemplate& source, const std::string& above, const std::string& filled,
                           const std::string& problem) {
  const std::string stand_in = "cluster.toml:";
  const size_t colon = problem.find(':', stand_in.size());
  if (!problem.starts_with(stand_in) || colon == std::string::npos) return problem;
  const size_t first = static_cast<size_t>(std::count(above.begin(), above.end(), '\n')) + 1;
  const size_t number = std::strtoul(problem.c_str() + stand_in.size(), nullptr, 10);
  const std::vector<std::string> lines = lines_of(filled), places = lines_of(source.body), known = names_of(source.values);
  if (number < first || number - first >= lines.size()) return problem;
  const size_t line = number - first;
  size_t header = line;
  while (header > 0 && !lines[header].starts_with('[')) --header;
  const size_t words = problem.find(": ", colon);
  std::string text = fmt::format("template {}: {}{}: {}", source.name, header == line ? "" : lines[header] + " ", trimmed(lines[line]),
                                 words == std::string::npos ? problem : problem.substr(words + 2));
  for (const std::string& place : places_of(places[line])) {
    if (place == "servers") text += " (--servers)";
    if (is_one_of(place, known)) text += fmt::format(" (--set {}=...)", place);
  }
  return text;
}

}  // namespace baton
