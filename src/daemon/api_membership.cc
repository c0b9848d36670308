// See api_membership.h.
#include "src/daemon/api_membership.h"

#include "src/daemon/api_answers.h"
#include "src/model/configuration_edit.h"

namespace baton {

using nlohmann::json;

namespace {

constexpr int64_t kTokenMs = 600000;

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

}  // namespace

void post_cluster(Daemon& daemon, const HttpRequest& request, const std::string& verb, const HttpRespond& respond) {
  const auto body = read_body(request);
  if (!body) return refuse(respond, body.error());
  if (verb == "token") return post_token(daemon, *body, respond);
  if (verb == "remove") return post_remove(daemon, *body, respond);
  if (verb == "takeover") return post_takeover(daemon, *body, respond);
  refuse(respond, {ErrorCode::kNotFound, "clusters know token, remove and takeover"});
}

}  // namespace baton
