// `baton template list|show|apply`: groups from templates, those built in (templates/*.toml) and a person's own.
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "src/cli/built_in_templates.h"
#include "src/cli/commands.h"
#include "src/model/configuration_table.h"
#include "src/model/group_template.h"

namespace baton::cli {
namespace {

Result<GroupTemplate> built_in_template(const std::string& name) {
  std::vector<std::string> known;
  for (const BuiltInTemplate& each : built_in_templates()) {
    if (each.name == name) return parse_template(name, each.text, "template " + name);
    known.push_back(each.name);
  }
  const std::string near = nearest_word(name, known);
  return fail_as(ErrorCode::kNotFound, "there is no template \"{}\": {}", name,
                 near.empty() ? fmt::format("known are {}", fmt::join(known, ", ")) : "did you mean \"" + near + "\"?");
}

Result<GroupTemplate> chosen_template(const TemplateOptions& options) {
  if (options.name.empty() == options.file.empty())
    return fail_as(ErrorCode::kInvalid, "say which template: its name (`baton template list`), or --from FILE");
  if (options.file.empty()) return built_in_template(options.name);
  auto text = read_whole_file(options.file);
  if (!text) return pass(text);
  return parse_template(std::filesystem::path(options.file).stem(), *text, options.file);
}

json describe(const GroupTemplate& source) {
  json values = json::array();
  for (const TemplateValue& value : source.values)
    values.push_back({{"name", value.name}, {"usual", value.usual ? json(*value.usual) : json()}, {"text", value.text}});
  return {{"name", source.name}, {"summary", source.summary}, {"packages", source.packages}, {"units", source.units}, {"values", values}};
}

Result<std::map<std::string, std::string>> read_settings(const std::vector<std::string>& settings) {
  std::map<std::string, std::string> values;
  for (const std::string& setting : settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail_as(ErrorCode::kInvalid, "\"{}\" sets nothing: write --set NAME=VALUE, as in --set address=10.0.0.50", setting);
    values[setting.substr(0, equals)] = setting.substr(equals + 1);
  }
  return values;
}

/// Those that were named; else the cluster's, where there are just two.
Result<std::vector<std::string>> chosen_servers(const Configuration& configuration, const std::vector<std::string>& named) {
  if (!named.empty()) return named;
  std::vector<std::string> known;
  for (const ServerConfiguration& server : configuration.servers)
    if (server.role == ServerRole::kServer) known.push_back(server.name);
  if (known.size() == 2) return known;
  return fail_as(ErrorCode::kInvalid, "say which servers may run the group, the preferred one first: --servers A,B (known are {})",
                 fmt::join(known, ", "));
}

/// The programs that templates name are beside this one: /usr/bin/baton has them in /usr/lib/baton.
std::string helper_programs() {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return self.parent_path().parent_path() / "lib" / "baton";
}

/// The cluster's configuration with one more group.
struct Addition {
  GroupTemplate source;
  uint64_t version = 0;  // of the configuration that stands above
  std::string above;
  std::string filled;

  std::string text() const { return above + filled; }

  /// An error about text(), in the words of the template.
  tl::unexpected<Error> in_its_words(const Error& error) const {
    std::string message;
    size_t begin = 0;
    while (begin <= error.message.size()) {
      const size_t end = std::min(error.message.find('\n', begin), error.message.size());
      message += (message.empty() ? "" : "\n") + explain_misfit(source, above, filled, error.message.substr(begin, end - begin));
      begin = end + 1;
    }
    return tl::unexpected<Error>(Error{error.code, message});
  }
};

/// Fills the template in and judges the whole, here.
Result<Addition> make_addition(const Context& context, const TemplateOptions& options) {
  auto source = chosen_template(options);
  if (!source) return pass(source);
  auto values = read_settings(options.settings);
  if (!values) return pass(values);
  auto answer = context.api.get("/v1/configuration");
  if (!answer) return pass(answer);
  Addition addition{.source = *source, .version = static_cast<uint64_t>(number_of(*answer, "version")), .above = text_of(*answer, "text")};
  if (addition.version == 0)
    return fail_as(ErrorCode::kUnavailable, "the cluster has no configuration yet: it is being founded, which takes a majority of its "
                                            "servers (see `baton status`)");
  auto present = parse_configuration(addition.above);
  if (!present) return pass(present);
  if (const GroupConfiguration* other = present->group(options.group); other != nullptr)
    return fail_as(ErrorCode::kConflict, "there is a group \"{}\" already: choose another name (--group), or change that one: edit the "
                                         "output of `baton config show`, then `baton apply FILE`", other->name);
  auto servers = chosen_servers(*present, options.servers);
  if (!servers) return pass(servers);
  auto filled = fill_template(*source, {options.group, *servers, helper_programs()}, *values);
  if (!filled) return pass(filled);
  if (!addition.above.ends_with('\n')) addition.above += '\n';
  addition.above += fmt::format("\n# {} (Made from the template {}.)\n", source->summary, source->name);
  addition.filled = *filled;
  if (auto whole = parse_configuration(addition.text()); !whole) return addition.in_its_words(whole.error());
  return addition;
}

/// What has to be done by hand on the group's servers.
std::string describe_needs(const GroupTemplate& source) {
  std::string text;
  if (!source.packages.empty()) text += fmt::format("  apt-get install {}\n", fmt::join(source.packages, " "));
  if (!source.units.empty()) text += fmt::format("  systemctl disable --now {}\n", fmt::join(source.units, " "));
  return text.empty() ? text : "on each of its servers, if that is not done yet:\n" + text;
}

}  // namespace

Status list_templates(const Context& context) {
  json list = json::array();
  std::vector<std::vector<Cell>> rows;
  for (const BuiltInTemplate& each : built_in_templates()) {
    auto source = built_in_template(each.name);
    if (!source) return pass(source);
    list.push_back(describe(*source));
    rows.push_back({{source->name, Colour::kBold}, {source->summary}});
  }
  if (context.json) {
    print_json(list);
  } else {
    print(format_table(rows, context.painter));
  }
  return {};
}

Status show_template(const Context& context, const std::string& name) {
  auto source = built_in_template(name);
  if (!source) return pass(source);
  const auto& all = built_in_templates();
  const auto found = std::find_if(all.begin(), all.end(), [&](const BuiltInTemplate& each) { return each.name == name; });
  if (context.json) {
    json shown = describe(*source);
    shown["text"] = found->text;
    print_json(shown);
  } else {
    print(found->text);
  }
  return {};
}

Status apply_template(const Context& context, const TemplateOptions& options) {
  auto addition = make_addition(context, options);
  if (!addition) return pass(addition);
  auto plan = context.api.post("/v1/plan", addition->text());
  if (!plan) return addition->in_its_words(plan.error());
  json result = {{"text", addition->filled}, {"changes", list_of(*plan, "changes")}, {"template", describe(addition->source)}};
  if (options.dry_run) {
    result["failover"] = object_of(*plan, "failover");
  } else {
    // Only over what it was made from: somebody else may have applied something meanwhile.
    auto applied = context.api.post(fmt::format("/v1/apply?author={}&version={}", ApiClient::escape(author()), addition->version),
                                    addition->text());
    if (!applied) return addition->in_its_words(applied.error());
    result["version"] = number_of(*applied, "version");
  }
  if (context.json) {
    print_json(result);
    return {};
  }
  if (options.dry_run) print(addition->filled + "\n");
  print_changes(context, *plan, options.dry_run);
  print(options.dry_run ? "nothing was applied\n" : fmt::format("applied as version {}\n", number_of(result, "version")));
  print(describe_needs(addition->source));
  return {};
}

}  // namespace baton::cli
