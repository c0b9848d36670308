// See api_membership.h.
#include "src/daemon/api_membership.h"

#include "src/daemon/api_answers.h"
#include "src/model/configuration_edit.h"

namespace baton {

using nlohmann::json;

namespace {

constexpr int64_t kTokenMs = 600000;
constexpr int64_t kStagingMs = 300000;

void post_token(Daemon& daemon, const json& body, const HttpRespond& respond) {
  const bool given = body.contains("for_ms") && body["for_ms"].is_number_integer();
  const milliseconds good_for{given ? body["for_ms"].get<int64_t>() : kTokenMs};
  const auto token = daemon.make_token(good_for);
  if (!token) return refuse(respond, token.error());
  answer(respond, {{"token", *token}, {"for_ms", good_for.count()}});
}

/// Takes a server out of the configuration; the voters follow. One that is there is not removed behind its back: it
/// leaves by itself, or is stopped first.
void post_remove(Daemon& daemon, const json& body, const HttpRespond& respond) {
  const auto& node = daemon.node();
  const std::string name = text_member(body, "server");
  const auto* server = node.configuration().server(name);
  if (server == nullptr) return refuse(respond, {ErrorCode::kNotFound, fmt::format("there is no server \"{}\"", name)});
  const auto peer = node.peers().find(server->id);
  const bool here = server->id == daemon.self();
  if (!here && peer != node.peers().end() && peer->second.in_view)
    return refuse(respond, {ErrorCode::kConflict,
                            fmt::format("{} is a member and works: run `baton cluster leave` on it, or stop it first",
                                        server->name)});
  if (here && !flag_member(body, "leave"))
    return refuse(respond, {ErrorCode::kConflict, "this is the server itself: run `baton cluster leave`"});
  const auto text = remove_server(node.state().configuration_text, server->name);
  if (!text) return refuse(respond, text.error());
  commit(daemon, ApplyConfiguration{node.state().configuration_version, *text, author_of(body)}, respond,
         [&daemon] { return daemon.node().state().configuration_version; });
}

/// Without `version`: what it would mean; with it: done, if nothing has changed since it was shown (W1).
void post_takeover(Daemon& daemon, const json& body, const HttpRespond& respond) {
  const auto& node = daemon.node();
  const auto offer = node.offer_takeover(EventLoop::now(), author_of(body));
  if (!offer) return refuse(respond, offer.error());
  const std::string name = node.configuration().server_name(daemon.self());
  if (!body.contains("version"))
    return answer(respond, {{"server", name}, {"version", offer->version}, {"facts", offer->facts}, {"loses", offer->loses}});
  if (!body["version"].is_number_unsigned() || body["version"].get<uint64_t>() != offer->version)
    return refuse(respond, {ErrorCode::kConflict, "the cluster's state here has changed since it was shown: look again"});
  commit(daemon, offer->command, respond, [&daemon] { return daemon.node().standing().committed; });
}

/// {"timeout_ms"}: replace the cluster's key; {"certificates": true}: issue all certificates anew; {"cancel": true}: stop it.
void post_rotate_keys(Daemon& daemon, const json& body, const HttpRespond& respond) {
  const auto& node = daemon.node();
  const auto& keys = node.state().keys;
  if (flag_member(body, "certificates") && flag_member(body, "cancel"))
    return refuse(respond, {ErrorCode::kInvalid, "\"certificates\" and \"cancel\" exclude each other"});
  if (body.contains("timeout_ms") && !body["timeout_ms"].is_number_integer())
    return refuse(respond, {ErrorCode::kInvalid, "\"timeout_ms\" is no whole number of milliseconds"});
  if (!node.standing().serving)
    return refuse(respond, {ErrorCode::kUnavailable, "nothing can be decided now: " + node.standing().waiting});
  const auto committed = [&daemon] { return daemon.node().standing().committed; };
  RotateKeys command{keys.certificates, RotateKeys::Step::kCertificates, {}, "", "", author_of(body), "",
                     node.cluster_time(EventLoop::now()), 0};
  if (flag_member(body, "certificates")) return commit(daemon, command, respond, committed);
  if (flag_member(body, "cancel")) {
    command.step = RotateKeys::Step::kCancel;
    command.number = keys.number;
    return commit(daemon, command, respond, committed);
  }
  const milliseconds limit{body.value("timeout_ms", kStagingMs)};
  daemon.rotate_keys(limit, author_of(body), [&daemon, respond](bool decided, const Applied& outcome) {
    if (!decided) return refuse(respond, {ErrorCode::kUnavailable, "the cluster could not decide (no majority): look at `baton status`"});
    if (!outcome.applied) return refuse(respond, {ErrorCode::kConflict, outcome.refusal});
    answer(respond, {{"version", daemon.node().standing().committed}, {"number", daemon.node().state().keys.number}});
  });
}

/// Prepares a disk that two servers are to have in common. Not the one that is in use.
void post_np_disk(Daemon& daemon, const json& body, const HttpRespond& respond) {
  const std::string path = text_member(body, "device");
  if (path.empty() || path.front() != '/') return refuse(respond, {ErrorCode::kInvalid, "which device? An absolute path is expected"});
  if (const std::string problem = daemon.node().why_not_prepare_disk(EventLoop::now(), path); !problem.empty())
    return refuse(respond, {ErrorCode::kConflict, problem});
  daemon.np_disk().format(path, flag_member(body, "overwrite"), [respond, path](const Status& made) {
    if (!made) return refuse(respond, made.error());
    answer(respond, {{"device", path}});
  });
}

}  // namespace

void post_cluster(Daemon& daemon, const HttpRequest& request, const std::string& verb, const HttpRespond& respond) {
  const auto body = read_body(request);
  if (!body) return refuse(respond, body.error());
  if (verb == "token") return post_token(daemon, *body, respond);
  if (verb == "remove") return post_remove(daemon, *body, respond);
  if (verb == "takeover") return post_takeover(daemon, *body, respond);
  if (verb == "rotate-keys") return post_rotate_keys(daemon, *body, respond);
  if (verb == "np-disk") return post_np_disk(daemon, *body, respond);
  refuse(respond, {ErrorCode::kNotFound, "clusters know token, remove, takeover, rotate-keys and np-disk"});
}

}  // namespace baton
