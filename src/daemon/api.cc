// Routes of the control API. docs/api.md. One thread: the loop's.
#include "src/daemon/api.h"

#include <nlohmann/json.hpp>

#include "src/daemon/api_answers.h"
#include "src/daemon/api_maintenance.h"
#include "src/daemon/api_membership.h"
#include "src/daemon/api_mirrors.h"
#include "src/daemon/api_programs.h"
#include "src/daemon/api_recovery.h"
#include "src/daemon/explain_json.h"
#include "src/daemon/status_json.h"
#include "src/model/configuration_toml.h"

namespace baton {

using nlohmann::json;

namespace {

constexpr int64_t kLongestWaitMs = 30000;

std::string query_text(const HttpRequest& request, const std::string& name) {
  auto found = request.query.find(name);
  return found == request.query.end() ? "" : found->second;
}

int64_t query_number(const HttpRequest& request, const std::string& name, int64_t otherwise) {
  const auto text = query_text(request, name);
  try {
    return text.empty() ? otherwise : std::stoll(text);
  } catch (const std::exception&) {
    return otherwise;
  }
}

Duration wait_limit(const HttpRequest& request) {
  return milliseconds(std::clamp<int64_t>(query_number(request, "timeout_ms", 0), 0, kLongestWaitMs));
}

// ---- Reading ----

void get_status(Daemon& daemon, const HttpRequest& request, const HttpRespond& respond) {
  const auto after = query_text(request, "after");
  if (after.empty()) return answer(respond, daemon.status());
  daemon.when_changed(after, wait_limit(request), [&daemon, respond] { answer(respond, daemon.status()); });
}

/// A reader of the event log that looks again at each change until there is something or its time is over.
struct EventQuery {
  Daemon& daemon;
  int64_t after;
  uint32_t limit;
  std::string group;
  Instant until;
  HttpRespond respond;
};

void look_for_events(const std::shared_ptr<EventQuery>& query) {
  const std::string cursor = query->daemon.cursor();
  query->daemon.events().list(query->after, query->limit, query->group, [query, cursor](const Result<json>& found) {
    if (!found) return refuse(query->respond, found.error());
    const auto left = query->until - EventLoop::now();
    if (!(*found)["events"].empty() || left <= Duration{0}) return answer(query->respond, *found);
    query->daemon.when_changed(cursor, left, [query] { look_for_events(query); });
  });
}

void get_events(Daemon& daemon, const HttpRequest& request, const HttpRespond& respond) {
  const auto limit = static_cast<uint32_t>(std::clamp<int64_t>(query_number(request, "limit", 1000), 1, 10000));
  look_for_events(std::make_shared<EventQuery>(EventQuery{daemon, query_number(request, "after", -1), limit,
                                                          query_text(request, "group"),
                                                          EventLoop::now() + wait_limit(request), respond}));
}

void get_explain(Daemon& daemon, const HttpRequest& request, const HttpRespond& respond) {
  const auto group = query_text(request, "group");
  if (daemon.node().configuration().group(group) == nullptr)
    return refuse(respond, {ErrorCode::kNotFound, fmt::format("there is no group \"{}\"", group)});
  daemon.events().explain(group, 20, [&daemon, group, respond](const Result<json>& found) {
    if (!found) return refuse(respond, found.error());
    json whole = *found;
    whole["now"] = explain_now(daemon.status(), group);
    answer(respond, whole);
  });
}

bool is_membership(const std::string& verb) {
  return verb == "token" || verb == "remove" || verb == "takeover" || verb == "rotate-keys" || verb == "np-disk";
}

// ---- Configuration ----

json problems_json(const std::vector<ConfigurationProblem>& problems) {
  json list = json::array();
  for (const auto& problem : problems)
    list.push_back({{"line", problem.line}, {"column", problem.column}, {"message", problem.message}});
  return list;
}

/// Answers with the problems and false if the text cannot be applied.
bool acceptable(const std::string& text, const HttpRespond& respond) {
  const auto problems = check_configuration(text);
  if (problems.empty()) return true;
  std::string message;
  for (const auto& problem : problems) message += (message.empty() ? "" : "\n") + describe(problem, "cluster.toml");
  refuse(respond, {ErrorCode::kInvalid, message}, problems_json(problems));
  return false;
}

void post_plan(Daemon& daemon, const HttpRequest& request, const HttpRespond& respond) {
  const auto& node = daemon.node();
  if (request.body.empty()) {
    json plan = plan_json(node.plan(EventLoop::now()), node.configuration());
    plan["failover"] = failovers_json(node.configuration(), daemon.usual_starts());
    return answer(respond, plan);
  }
  if (!acceptable(request.body, respond)) return;
  daemon.check_stores_everywhere(request.body, [&daemon, respond, text = request.body](const auto& problems) {
    if (!problems.empty()) return refuse(respond, {ErrorCode::kInvalid, fmt::format("{}", fmt::join(problems, "\n"))});
    // What applying it would do is found by applying it, to a copy.
    ClusterState trial = daemon.node().state();
    const auto outcome = apply_command(trial, ApplyConfiguration{trial.configuration_version, text, "plan"},
                                       daemon.node().standing().committed + 1);
    if (!outcome.applied) return refuse(respond, {ErrorCode::kConflict, outcome.refusal});
    const auto wanted = parse_configuration(text);
    const auto& present = daemon.node().configuration();
    answer(respond, {{"failover", wanted ? failovers_json(*wanted, daemon.usual_starts()) : json::object()},
                     {"changes", wanted ? describe_changes(present, *wanted) : std::vector<std::string>{}},
                     {"version", daemon.node().state().configuration_version}});
  });
}

void post_apply(Daemon& daemon, const HttpRequest& request, const HttpRespond& respond) {
  if (!acceptable(request.body, respond)) return;
  ApplyConfiguration command;
  const auto present = daemon.node().state().configuration_version;
  command.expected_version = static_cast<uint64_t>(query_number(request, "version", static_cast<int64_t>(present)));
  command.text = request.body;
  command.author = person(query_text(request, "author"));
  daemon.check_stores_everywhere(request.body, [&daemon, respond, command](const auto& problems) {
    if (!problems.empty()) return refuse(respond, {ErrorCode::kInvalid, fmt::format("{}", fmt::join(problems, "\n"))});
    commit(daemon, command, respond, [&daemon] { return daemon.node().state().configuration_version; });
  });
}

// ---- Operations ----

Result<WishGroup> make_wish(Daemon& daemon, const std::string& name, const std::string& verb, const json& body) {
  const auto& node = daemon.node();
  const auto group = node.state().groups.find(name);
  if (group == node.state().groups.end()) return fail_as(ErrorCode::kNotFound, "there is no group \"{}\"", name);
  WishGroup wish;
  wish.group = name;
  wish.expected_version = group->second.version;
  wish.wanted = verb != "stop";
  wish.author = author_of(body);
  std::string where;
  if (body.contains("server") && body["server"].is_string()) where = body["server"].get<std::string>();
  if (!where.empty()) {
    const auto* server = node.configuration().server(where);
    if (server == nullptr) return fail_as(ErrorCode::kNotFound, "there is no server \"{}\"", where);
    wish.target = server->id;
  }
  if (verb == "move" && where.empty()) {
    // Without a destination: the next server of the policy that can; if none can, what is said of the first one.
    ServerId first;
    for (const auto candidate : node.configuration().group(name)->servers) {
      if (candidate == group->second.owner) continue;
      if (first == ServerId{}) first = candidate;
      wish.target = candidate;
      if (node.check_wish(EventLoop::now(), wish)) break;
      wish.target = first;
    }
  }
  wish.reason = fmt::format("{} asked by {}", verb, wish.author);
  if (wish.target != ServerId{}) wish.reason += " to " + node.configuration().server_name(wish.target);
  if (auto possible = node.check_wish(EventLoop::now(), wish); !possible) return pass(possible);
  return wish;
}

void post_group(Daemon& daemon, const HttpRequest& request, const std::string& name, const std::string& verb,
                const HttpRespond& respond) {
  if (verb == "suspend" || verb == "resume" || verb == "release")
    return post_maintenance(daemon, request, {"group", name, verb}, respond);
  if (verb != "start" && verb != "stop" && verb != "move")
    return refuse(respond, {ErrorCode::kNotFound, "groups know start, stop, move, suspend, resume and release"});
  const auto body = read_body(request);
  if (!body) return refuse(respond, body.error());
  const auto wish = make_wish(daemon, name, verb, *body);
  if (!wish) return refuse(respond, wish.error());
  commit(daemon, *wish, respond, [&daemon, name] {
    const auto group = daemon.node().state().groups.find(name);
    return group == daemon.node().state().groups.end() ? 0 : group->second.version;
  });
}

/// A person wants a server's power off, or says that he has seen it off (`confirm`).
void post_fence(Daemon& daemon, const HttpRequest& request, const std::string& name, const HttpRespond& respond) {
  const auto body = read_body(request);
  if (!body) return refuse(respond, body.error());
  const auto& node = daemon.node();
  const auto* server = node.configuration().server(name);
  if (server == nullptr) return refuse(respond, {ErrorCode::kNotFound, fmt::format("there is no server \"{}\"", name)});
  const auto found = node.state().fences.find(server->id);
  const bool confirm = body->value("confirm", false);
  const auto peer = node.peers().find(server->id);
  if (confirm && peer != node.peers().end() && peer->second.in_view)
    return refuse(respond, {ErrorCode::kConflict, fmt::format("{} is a member of the cluster now: it is not off", server->name)});
  RecordFence command;
  command.server = server->id;
  command.expected_version = found == node.state().fences.end() ? 0 : found->second.version;
  command.outcome = confirm ? FenceOutcome::kOff : FenceOutcome::kWanted;
  command.author = author_of(*body);
  command.text = fmt::format("{} by {}", confirm ? "seen to be off" : "asked for", command.author);
  commit(daemon, command, respond, [&daemon, id = server->id] {
    const auto record = daemon.node().state().fences.find(id);
    return record == daemon.node().state().fences.end() ? 0 : record->second.version;
  });
}

/// Answers with what the receiver says.
void post_alert_test(Daemon& daemon, const HttpRequest& request, const std::string& name, const HttpRespond& respond) {
  const auto body = read_body(request);
  if (!body) return refuse(respond, body.error());
  const auto* alert = daemon.node().configuration().alert(name);
  if (alert == nullptr) return refuse(respond, {ErrorCode::kNotFound, fmt::format("there is no alert \"{}\"", name)});
  daemon.alerts().test(*alert, author_of(*body), [respond, alert = alert->name, target = alert->target()](const Result<std::string>& said) {
    if (!said) return refuse(respond, {said.error().code, fmt::format("alert {}: {}: {}", alert, target, said.error().message)});
    answer(respond, {{"alert", alert}, {"target", target}, {"answer", *said}});
  });
}

std::vector<std::string> path_parts(const std::string& path) {
  std::vector<std::string> parts;
  size_t begin = 1;
  while (begin <= path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    parts.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace

namespace {

/// Whether it asks for something that the cluster database has to record. Not what is there for the time when it cannot, or what
/// concerns this server only.
bool wants_database(const std::vector<std::string>& parts) {
  const auto at = [&](size_t index) { return index < parts.size() ? parts[index] : std::string(); };
  if (at(1) == "cluster") return at(2) != "takeover" && at(2) != "np-disk";
  return at(1) == "apply" || at(1) == "groups" || at(1) == "servers" || at(1) == "mirrors";
}

void route(Daemon& daemon, const HttpRequest& request, const std::vector<std::string>& parts, const HttpRespond& respond) {
  const bool get = request.method == "GET";
  const bool post = request.method == "POST";
  const auto at = [&](size_t index) { return index < parts.size() ? parts[index] : std::string(); };
  if (at(0) == "v1") {
    if (get && at(1) == "status") return get_status(daemon, request, respond);
    if (get && at(1) == "events") return get_events(daemon, request, respond);
    if (get && at(1) == "explain") return get_explain(daemon, request, respond);
    if (get && at(1) == "configuration")
      return answer(respond, {{"version", daemon.node().state().configuration_version},
                              {"text", daemon.node().state().configuration_text}});
    if (get && at(1) == "backup")
      return daemon.back_up([respond](const Result<DatabaseBackup>& backup) {
        if (!backup) return refuse(respond, backup.error());
        answer(respond, backup_to_json(*backup));
      });
    if ((get || post) && at(1) == "recovery") return handle_recovery(daemon, request, respond);
    if (post && at(1) == "plan") return post_plan(daemon, request, respond);
    if (post && at(1) == "apply") return post_apply(daemon, request, respond);
    if (post && at(1) == "cluster" && parts.size() == 3 && is_membership(at(2)))
      return post_cluster(daemon, request, at(2), respond);
    if (post && at(1) == "groups" && parts.size() == 4) return post_group(daemon, request, at(2), at(3), respond);
    if (post && at(1) == "programs" && parts.size() == 3) return post_program(daemon, request, at(2), respond);
    if (post && at(1) == "programs" && at(3) == "end" && parts.size() == 4) return end_program(daemon, request, at(2), respond);
    if (post && at(1) == "servers" && at(3) == "fence" && parts.size() == 4) return post_fence(daemon, request, at(2), respond);
    if (post && at(1) == "servers" && parts.size() == 4)
      return post_maintenance(daemon, request, {"server", at(2), at(3)}, respond);
    if (post && at(1) == "cluster" && parts.size() == 3)
      return post_maintenance(daemon, request, {"cluster", "", at(2)}, respond);
    if (post && at(1) == "alerts" && at(3) == "test" && parts.size() == 4) return post_alert_test(daemon, request, at(2), respond);
    if (post && at(1) == "mirrors" && parts.size() == 4) return post_mirror(daemon, request, at(2), at(3), respond);
  }
  refuse(respond, {ErrorCode::kNotFound, fmt::format("there is no {} {}; see docs/api.md", request.method, request.path)});
}

}  // namespace

void handle_api_request(Daemon& daemon, const HttpRequest& request, HttpRespond respond) {
  const auto parts = path_parts(request.path);
  if (request.method != "POST" || !wants_database(parts)) return route(daemon, request, parts, respond);
  daemon.when_serving([&daemon, request, parts, respond] { route(daemon, request, parts, respond); });
}

}  // namespace baton
