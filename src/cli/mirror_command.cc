// `baton mirror break|rejoin|restrict|swap|rate|grow|export|unexport|replace`: one wish each, said to batond, which asks the
// right server.
#include "src/cli/commands.h"
#include "src/model/configuration_edit.h"
#include "src/model/configuration_table.h"

namespace baton::cli {
namespace {

constexpr milliseconds kCallLimit{90000};

Result<json> find_mirror(const Context& context, const std::string& name) {
  auto status = context.api.get("/v1/status");
  if (!status) return pass(status);
  return find_named(*status, "mirrors", name);
}

/// Says one verb of one mirror; `text` is what a person reads when it went well.
Status say(const Context& context, const std::string& name, const std::string& verb, json body,
           const std::function<std::string(const std::string& key, const json& answer)>& text) {
  auto mirror = find_mirror(context, name);
  if (!mirror) return pass(mirror);
  const std::string key = text_of(*mirror, "name");
  body["author"] = author();
  auto answer = context.api.post(fmt::format("/v1/mirrors/{}/{}", ApiClient::escape(key), verb), body.dump(), kCallLimit);
  if (!answer) return pass(answer);
  if (context.json) {
    json result = *answer;
    result["mirror"] = key;
    print_json(result);
  } else {
    print(text(key, *answer));
  }
  return {};
}

/// Changes one value of the mirror in the cluster's configuration.
Status configure(const Context& context, const std::string& name, const std::string& value_name,
                 const std::string& value) {
  auto mirror = find_mirror(context, name);
  if (!mirror) return pass(mirror);
  const std::string key = text_of(*mirror, "name");
  const size_t dot = key.find('.');
  auto configuration = context.api.get("/v1/configuration");
  if (!configuration) return pass(configuration);
  auto edited =
      set_mirror_value(text_of(*configuration, "text"), key.substr(0, dot), key.substr(dot + 1), value_name, value);
  if (!edited) return pass(edited);
  auto plan = context.api.post("/v1/plan", *edited);
  if (!plan) return pass(plan);
  auto applied = context.api.post("/v1/apply?author=" + ApiClient::escape(author()), *edited);
  if (!applied) return pass(applied);
  if (context.json) {
    json result = *applied;
    result["mirror"] = key;
    result["changes"] = list_of(*plan, "changes");
    print_json(result);
    return {};
  }
  for (const std::string& change : texts_of(*plan, "changes")) print(change + "\n");
  print(fmt::format("applied as version {}\n", number_of(*applied, "version")));
  return {};
}

}  // namespace

Status break_mirror(const Context& context, const std::string& name) {
  return say(context, name, "break", json::object(), [](const std::string& key, const json&) {
    return fmt::format("mirror {} is broken off: its primary goes on alone, the other copy stays as it is.\n"
                       "Nothing protects the data until `baton mirror rejoin {}`\n", key, key);
  });
}

Status rejoin_mirror(const Context& context, const std::string& name, const std::string& discard) {
  json body = json::object();
  if (!discard.empty()) body["discard"] = discard;
  return say(context, name, "rejoin", body, [&](const std::string& key, const json&) {
    return fmt::format("mirror {} is joined again{}; watch the copy with `baton mirror status {} --watch`\n", key,
                       discard.empty() ? "" : ": " + discard + " gets a full copy", key);
  });
}

Status restrict_mirror(const Context& context, const std::string& name, const std::string& server, bool lift) {
  return say(context, name, "restrict", {{"server", server}, {"lift", lift}}, [&](const std::string& key, const json&) {
    return lift ? fmt::format("mirror {} may be used on {} again\n", key, server)
                : fmt::format("mirror {} is kept away from {}: its group does not start there until --lift\n", key,
                              server);
  });
}

Status swap_mirror(const Context& context, const std::string& name, GroupOptions options) {
  auto mirror = find_mirror(context, name);
  if (!mirror) return pass(mirror);
  const std::string key = text_of(*mirror, "name");
  options.verb = "move";
  options.group = key.substr(0, key.find('.'));
  return change_group(context, options);
}

Status set_mirror_rate(const Context& context, const std::string& name, const std::string& rate) {
  if (!parse_rate(rate))
    return fail_as(ErrorCode::kInvalid, "\"{}\" is no rate: write for instance 50MB/s, or auto", rate);
  return configure(context, name, "rate", rate);
}

Status grow_mirror(const Context& context, const std::string& name, const std::string& size) {
  if (!parse_size(size))
    return fail_as(ErrorCode::kInvalid, "\"{}\" is no size: write for instance \"1 GiB\"", size);
  return configure(context, name, "size", size);
}

Status export_backup(const Context& context, const std::string& name, const std::string& server, bool wanted) {
  return say(context, name, "backup", {{"server", server}, {"wanted", wanted}},
             [&](const std::string& key, const json& answer) {
               if (!wanted) return fmt::format("the copy of mirror {} on {} is no longer exported\n", key, server);
               return fmt::format("{}\n", text_of(answer, "text").empty()
                                              ? "exported read-only on " + server
                                              : fmt::format("{} on {}, read-only", text_of(answer, "text"), server));
             });
}

Status replace_mirror(const Context& context, const std::string& name, const std::string& server) {
  return say(context, name, "replace", {{"server", server}}, [&](const std::string& key, const json&) {
    return fmt::format("the copy of mirror {} on {} begins anew and gets a full copy; watch it with `baton mirror "
                       "status {} --watch`\n", key, server, key);
  });
}

}  // namespace baton::cli
