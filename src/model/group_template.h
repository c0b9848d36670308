// A template: the text of a group with named places, {{address}}, and a head of comments that says what it is, what it needs and
// what each place is for. Reads it and fills it in. Pure. Any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/model/configuration_toml.h"

namespace baton {

/// A place that a person fills in: "# set size = 10 GiB: of the mirror disk".
struct TemplateValue {
  std::string name;
  std::optional<std::string> usual;  // taken where nothing is said; nothing: has to be said
  std::string text;                  // what it is
};

struct GroupTemplate {
  std::string name;
  std::string summary;                // the head's first line
  std::vector<std::string> packages;  // of Debian, on each of the group's servers
  std::vector<std::string> units;     // of systemd that those bring, and that must not run beside the group
  std::vector<TemplateValue> values;
  std::string body;
};

/// Where a template goes: what nobody has to declare. {{group}}, {{servers}} and {{baton}} stand for it.
struct TemplatePlace {
  std::string group;
  std::vector<std::string> servers;
  std::string programs;  // the directory of Baton's own helper programs
};

/// Errors (kInvalid) name `file` and the line: the head lacks something, or head and body do not have the same places.
Result<GroupTemplate> parse_template(const std::string& name, const std::string& text, const std::string& file);

/// The group's text, as many lines as the body has. Errors: a value that is missing, unknown, or cannot stand in a text.
Result<std::string> fill_template(const GroupTemplate& source, const TemplatePlace& place,
                                  const std::map<std::string, std::string>& given);

/// A problem of the configuration that is `above` and the filled-in template below it, in the template's own words: what stands there,
/// and which value to say. `problem` is a line "cluster.toml:12:9: what is wrong"; others, and those above, stay as they are.
std::string explain_misfit(const GroupTemplate& source, const std::string& above, const std::string& filled,
                           const std::string& problem);

}  // namespace baton
