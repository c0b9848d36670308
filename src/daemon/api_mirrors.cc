// See api_mirrors.h. What is a matter of the cluster's state is judged here from what is committed, so that the error can say
// what to do; the cluster database and the mirror daemons judge again.
#include "src/daemon/api_mirrors.h"

#include <map>

#include "src/daemon/api_answers.h"
#include "src/daemon/mirror_calls.h"
#include "src/model/mirror_place.h"

namespace baton {

using nlohmann::json;

namespace {

/// One call on one mirror.
struct MirrorCall {
  Daemon& daemon;
  std::string key;
  MirrorPlace place;
  MirrorState record;
  GroupState group;
  json body;
  HttpRespond respond;

  std::string server_name(ServerId server) const { return daemon.node().configuration().server_name(server); }
  const MirrorReport* report(ServerId server) const {
    const auto reports = daemon.node().reports().find(server);
    if (reports == daemon.node().reports().end()) return nullptr;
    const auto found = reports->second.find(key);
    return found == reports->second.end() ? nullptr : &found->second;
  }
  void refused(ErrorCode code, const std::string& text) const { refuse(respond, Error{code, text}); }
  std::function<uint64_t()> version_after() const {
    return [&daemon = daemon, key = key] {
      const auto found = daemon.node().state().mirrors.find(key);
      return found == daemon.node().state().mirrors.end() ? uint64_t{0} : found->second.version;
    };
  }
};

/// The server that the body names as `member`, if it has a copy.
Result<ServerId> server_of(const MirrorCall& call, const char* member = "server") {
  const auto name = text_member(call.body, member);
  if (name.empty()) return fail_as(ErrorCode::kInvalid, "the call needs \"{}\": the name of a server", member);
  const auto* server = call.daemon.node().configuration().server(name);
  if (server == nullptr) return fail_as(ErrorCode::kNotFound, "there is no server \"{}\"", name);
  for (const auto id : call.place.group->servers)
    if (id == server->id) return id;
  return fail_as(ErrorCode::kInvalid, "{} has no copy of mirror {}: it is on {} and {}", server->name, call.key,
                 call.server_name(call.place.group->servers.front()),
                 call.server_name(call.place.group->servers.back()));
}

/// Refuses what must not happen to the copy that is in use. `what`: "its data would be discarded".
Status not_in_use(const MirrorCall& call, ServerId server, const std::string& what) {
  if (call.group.owner == server)
    return fail_as(ErrorCode::kConflict,
                   "group {} runs on {}, {}: move it first (baton group move {})", call.place.group->name,
                   call.server_name(server), what, call.place.group->name);
  return {};
}

/// Refuses to lose the only copy that has everything.
Status not_the_only_one(const MirrorCall& call, ServerId server) {
  if (call.record.in_sync.size() == 1 && call.record.in_sync.contains(server))
    return fail_as(ErrorCode::kConflict,
                   "the copy of mirror {} on {} is the only one that has everything: bring the other one up to date "
                   "first, or name the other one with baton mirror force",
                   call.key, call.server_name(server));
  return {};
}

void ask(const std::shared_ptr<MirrorCall>& call, ServerId server, const std::string& verb, json body) {
  call->daemon.mirror_calls().ask(server, call->key, verb, body,
                                  [call, name = call->server_name(server)](Result<json> result) {
                                    if (!result) return refuse(call->respond, result.error());
                                    (*result)["server"] = name;
                                    answer(call->respond, *result);
                                  });
}

void verify(const std::shared_ptr<MirrorCall>& call) {
  if (call->group.owner == ServerId{})
    return call->refused(ErrorCode::kConflict,
                         fmt::format("group {} does not run, so that nothing connects the copies: start it first "
                                     "(baton group start {})",
                                     call->place.group->name, call->place.group->name));
  ask(call, call->group.owner, "verify", {{"repair", flag_member(call->body, "repair")}});
}

void discard(const std::shared_ptr<MirrorCall>& call) {
  const auto server = server_of(*call);
  if (!server) return refuse(call->respond, server.error());
  if (auto free = not_in_use(*call, *server, "whose data would be lost"); !free)
    return refuse(call->respond, free.error());
  if (auto other = not_the_only_one(*call, *server); !other) return refuse(call->respond, other.error());
  ask(call, *server, "discard", json::object());
}

void replace(const std::shared_ptr<MirrorCall>& call) {
  const auto server = server_of(*call);
  if (!server) return refuse(call->respond, server.error());
  if (auto free = not_in_use(*call, *server, "whose disk is to be replaced"); !free)
    return refuse(call->respond, free.error());
  if (auto other = not_the_only_one(*call, *server); !other) return refuse(call->respond, other.error());
  ask(call, *server, "replace", json::object());
}

void backup(const std::shared_ptr<MirrorCall>& call) {
  const auto server = server_of(*call);
  if (!server) return refuse(call->respond, server.error());
  const bool wanted = flag_member(call->body, "wanted");
  if (wanted && !call->record.broken)
    return call->refused(ErrorCode::kConflict,
                         fmt::format("mirror {} is not broken off: its copy on {} changes all the time. First: baton "
                                     "mirror break {}", call->key, call->server_name(*server), call->key));
  if (auto free = not_in_use(*call, *server, "and uses its copy there"); wanted && !free)
    return refuse(call->respond, free.error());
  ask(call, *server, "backup", {{"wanted", wanted}});
}

void break_off(const std::shared_ptr<MirrorCall>& call) {
  commit(call->daemon, BreakMirror{call->key, call->record.version, true, author_of(call->body)}, call->respond,
         call->version_after());
}

void commit_rejoin(const std::shared_ptr<MirrorCall>& call, bool discarded) {
  if (!call->record.broken && discarded) return answer(call->respond, {{"version", call->record.version}});
  // A discard before it may have taken a while.
  const uint64_t version = call->version_after()();
  commit(call->daemon, BreakMirror{call->key, version, false, author_of(call->body)}, call->respond,
         call->version_after());
}

/// A secondary that gave up its disk takes part again when its mirror is rejoined (docs/protocol.md, D3): one that was
/// never broken off is broken for that. The primary is alone anyway.
void rejoin_detached(const std::shared_ptr<MirrorCall>& call) {
  const BreakMirror first{call->key, call->record.version, true, author_of(call->body)};
  call->daemon.request(first, [call](bool decided, const Applied& outcome) {
    if (!decided)
      return call->refused(ErrorCode::kUnavailable, "the majority was lost meanwhile: look at `baton status`, then repeat");
    if (!outcome.applied) return call->refused(ErrorCode::kConflict, outcome.refusal);
    commit_rejoin(call, false);
  });
}

bool has_detached_secondary(const MirrorCall& call) {
  for (const auto server : call.place.group->servers) {
    const auto* report = call.report(server);
    if (report != nullptr && report->detached && call.group.owner != server) return true;
  }
  return false;
}

void rejoin(const std::shared_ptr<MirrorCall>& call) {
  for (const auto server : call->place.group->servers)
    if (const auto* report = call->report(server); report != nullptr && report->backup)
      return call->refused(ErrorCode::kConflict,
                           fmt::format("the copy of mirror {} on {} is exported for a backup: end that first (baton "
                                       "mirror unexport {} {})", call->key, call->server_name(server), call->key,
                                       call->server_name(server)));
  if (text_member(call->body, "discard").empty())
    return !call->record.broken && has_detached_secondary(*call) ? rejoin_detached(call) : commit_rejoin(call, false);
  const auto server = server_of(*call, "discard");
  if (!server) return refuse(call->respond, server.error());
  if (auto free = not_in_use(*call, *server, "whose data would be lost"); !free)
    return refuse(call->respond, free.error());
  if (auto other = not_the_only_one(*call, *server); !other) return refuse(call->respond, other.error());
  call->daemon.mirror_calls().ask(*server, call->key, "discard", json::object(), [call](const Result<json>& done) {
    if (!done) return refuse(call->respond, done.error());
    commit_rejoin(call, true);
  });
}

void force(const std::shared_ptr<MirrorCall>& call) {
  const auto server = server_of(*call);
  if (!server) return refuse(call->respond, server.error());
  const auto* report = call->report(*server);
  if (report == nullptr)
    return call->refused(ErrorCode::kUnavailable,
                         fmt::format("{} does not report its copy of mirror {}: start it first",
                                     call->server_name(*server), call->key));
  ForceMirror command{call->key, call->record.version, *server, report->incarnation, text_member(call->body, "loss"),
                      author_of(call->body)};
  // A person decided from the version that was shown.
  if (call->body.contains("version") && call->body["version"].is_number_unsigned())
    command.expected_version = call->body["version"].get<uint64_t>();
  commit(call->daemon, command, call->respond, call->version_after());
}

void restrict_server(const std::shared_ptr<MirrorCall>& call) {
  const auto server = server_of(*call);
  if (!server) return refuse(call->respond, server.error());
  commit(call->daemon,
         RestrictMirror{call->key, call->record.version, *server, !flag_member(call->body, "lift"),
                        author_of(call->body)},
         call->respond, call->version_after());
}

using Verb = void (*)(const std::shared_ptr<MirrorCall>& call);

const std::map<std::string, Verb>& verbs() {
  static const std::map<std::string, Verb> known = {
      {"verify", verify},      {"discard", discard}, {"replace", replace}, {"backup", backup},
      {"break", break_off},    {"rejoin", rejoin},   {"force", force},     {"restrict", restrict_server}};
  return known;
}

}  // namespace

void post_mirror(Daemon& daemon, const HttpRequest& request, const std::string& name, const std::string& verb,
                 const HttpRespond& respond) {
  const auto known = verbs().find(verb);
  if (known == verbs().end())
    return refuse(respond, {ErrorCode::kNotFound,
                            "mirrors know verify, break, rejoin, force, restrict, discard, replace and backup"});
  auto body = read_body(request);
  if (!body) return refuse(respond, body.error());
  const auto& node = daemon.node();
  const MirrorPlace place = find_mirror(node.configuration(), name);
  const auto record = node.state().mirrors.find(name);
  if (!place || record == node.state().mirrors.end())
    return refuse(respond, {ErrorCode::kNotFound, fmt::format("there is no mirror \"{}\"", name)});
  const auto group = node.state().groups.find(place.group->name);
  auto call = std::make_shared<MirrorCall>(
      MirrorCall{daemon, name, place, record->second,
                 group == node.state().groups.end() ? GroupState{} : group->second, std::move(*body), respond});
  known->second(call);
}

}  // namespace baton
