// Requests are {"request": NAME, ...}, notices {"notice": NAME, ...}; members as in the header. nlohmann's exceptions
// end here: callers see Results.
#include "src/format/mirror_control.h"

#include <nlohmann/json.hpp>

#include "src/format/mirror_report_json.h"

namespace baton::mirror_control {
namespace {

using nlohmann::json;

// Line of JSON: text that is not UTF-8 (a path, an errno text) is mended rather than refused.
std::string to_line(const json& object) { return object.dump(-1, ' ', false, json::error_handler_t::replace); }

json in_sync_to_json(const std::map<ServerId, Incarnation>& in_sync) {
  json object = json::object();
  for (const auto& [server, incarnation] : in_sync) object[std::to_string(server.value)] = incarnation.value;
  return object;
}

// The json library throws on a missing or wrong member: caught in decode_with().
std::map<ServerId, Incarnation> in_sync_from_json(const json& object) {
  std::map<ServerId, Incarnation> in_sync;
  for (const auto& [key, value] : object.items()) {
    size_t used = 0;
    const unsigned long server = std::stoul(key, &used);
    if (used != key.size() || server > UINT32_MAX) throw std::invalid_argument("in_sync: server " + key);
    in_sync[ServerId(static_cast<uint32_t>(server))] = Incarnation(value.get<uint64_t>());
  }
  return in_sync;
}

json state_to_json(const MirrorState& state) {
  json restricted = json::array();
  for (const ServerId server : state.restricted) restricted.push_back(server.value);
  return {{"version", state.version},
          {"permit", state.permit.value},
          {"holder", state.holder.value},
          {"in_sync", in_sync_to_json(state.in_sync)},
          {"broken", state.broken},
          {"forced", state.forced.value},
          {"restricted", restricted},
          {"trailing", in_sync_to_json(state.trailing)}};
}

MirrorState state_from_json(const json& object) {
  MirrorState state;
  state.version = object.at("version").get<uint64_t>();
  state.permit = Permit(object.at("permit").get<uint64_t>());
  state.holder = ServerId(object.at("holder").get<uint32_t>());
  state.in_sync = in_sync_from_json(object.at("in_sync"));
  state.broken = object.value("broken", false);
  state.forced = ServerId(object.value("forced", uint32_t{0}));
  for (const uint32_t server : object.value("restricted", std::vector<uint32_t>{}))
    state.restricted.insert(ServerId(server));
  if (object.contains("trailing")) state.trailing = in_sync_from_json(object.at("trailing"));
  return state;
}

json change_to_json(const SetInSync& change) {
  return {{"mirror", change.mirror},
          {"expected_version", change.expected_version},
          {"permit", change.permit.value},
          {"in_sync", in_sync_to_json(change.in_sync)},
          {"reason", change.reason},
          {"trailing", in_sync_to_json(change.trailing)}};
}

SetInSync change_from_json(const json& object) {
  SetInSync change;
  change.mirror = object.at("mirror").get<std::string>();
  change.expected_version = object.at("expected_version").get<uint64_t>();
  change.permit = Permit(object.at("permit").get<uint64_t>());
  change.in_sync = in_sync_from_json(object.at("in_sync"));
  change.reason = object.value("reason", std::string());
  if (object.contains("trailing")) change.trailing = in_sync_from_json(object.at("trailing"));
  return change;
}

struct RequestEncoder {
  json operator()(const State& state) const { return {{"request", "state"}, {"state", state_to_json(state.state)}}; }
  json operator()(const Promote& promote) const { return {{"request", "promote"}, {"permit", promote.permit.value}}; }
  json operator()(const Demote&) const { return {{"request", "demote"}}; }
  json operator()(const Abort& abort) const { return {{"request", "abort"}, {"reason", abort.reason}}; }
  json operator()(const PeerLost& lost) const { return {{"request", "peer_lost"}, {"reason", lost.reason}}; }
  json operator()(const Verify& verify) const { return {{"request", "verify"}, {"repair", verify.repair}}; }
  json operator()(const Stop&) const { return {{"request", "stop"}}; }
  json operator()(const SetRate& rate) const {
    return {{"request", "set_rate"}, {"bytes_per_second", rate.bytes_per_second}};
  }
  json operator()(const Discard&) const { return {{"request", "discard"}}; }
  json operator()(const Grow& grow) const { return {{"request", "grow"}, {"size_bytes", grow.size_bytes}}; }
  json operator()(const Backup& backup) const { return {{"request", "backup"}, {"wanted", backup.wanted}}; }
  json operator()(const Replace&) const { return {{"request", "replace"}}; }
  json operator()(const Prepare&) const { return {{"request", "prepare"}}; }
  json operator()(const ReadKeys& read) const { return {{"request", "read_keys"}, {"anew", read.anew}}; }
};

struct NoticeEncoder {
  json operator()(const Report& report) const {
    MirrorDetails details{report.device,        report.metrics,    report.paths, report.export_kind,
                          report.export_reason, report.nbd_socket, {}};
    return {{"notice", "report"},
            {"report", mirror_report_to_json(report.report)},
            {"device", report.device},
            {"details", mirror_details_to_json(details)}};
  }
  json operator()(const Propose& propose) const {
    return {{"notice", "propose"}, {"change", change_to_json(propose.change)}};
  }
  json operator()(const Promoted& promoted) const {
    return {{"notice", "promoted"}, {"permit", promoted.permit.value}, {"device", promoted.device}};
  }
  json operator()(const Demoted&) const { return {{"notice", "demoted"}}; }
  json operator()(const Failed& failed) const {
    return {{"notice", "failed"}, {"request", failed.request}, {"reason", failed.reason}};
  }
  json operator()(const Verified& verified) const {
    return {{"notice", "verified"},
            {"blocks", verified.blocks},
            {"different", verified.different},
            {"repaired", verified.repaired}};
  }
  json operator()(const Aborted& aborted) const { return {{"notice", "aborted"}, {"reason", aborted.reason}}; }
  json operator()(const Note& note) const { return {{"notice", "note"}, {"text", note.text}}; }
  json operator()(const Done& done) const {
    return {{"notice", "done"}, {"request", done.request}, {"text", done.text}};
  }
  json operator()(const Alert& alert) const { return {{"notice", "alert"}, {"text", alert.text}}; }
};

Request request_from_json(const json& object) {
  const auto name = object.at("request").get<std::string>();
  if (name == "state") return State{state_from_json(object.at("state"))};
  if (name == "promote") return Promote{Permit(object.at("permit").get<uint64_t>())};
  if (name == "demote") return Demote{};
  if (name == "abort") return Abort{object.value("reason", std::string())};
  if (name == "peer_lost") return PeerLost{object.value("reason", std::string())};
  if (name == "verify") return Verify{object.value("repair", false)};
  if (name == "stop") return Stop{};
  if (name == "set_rate") return SetRate{object.at("bytes_per_second").get<uint64_t>()};
  if (name == "discard") return Discard{};
  if (name == "grow") return Grow{object.at("size_bytes").get<uint64_t>()};
  if (name == "backup") return Backup{object.at("wanted").get<bool>()};
  if (name == "replace") return Replace{};
  if (name == "prepare") return Prepare{};
  if (name == "read_keys") return ReadKeys{object.value("anew", false)};
  throw std::invalid_argument("unknown request \"" + name + "\"");
}

Report report_from_json(const json& object) {
  auto report = mirror_report_from_json(object.at("report"));
  if (!report) throw std::invalid_argument(report.error().message);
  auto details = mirror_details_from_json(object.value("details", json::object()));
  if (!details) throw std::invalid_argument(details.error().message);
  return Report{*report,           object.value("device", std::string()), details->metrics, std::move(details->paths),
                details->export_kind, details->export_reason,                details->nbd_socket};
}

Notice notice_from_json(const json& object) {
  const auto name = object.at("notice").get<std::string>();
  if (name == "report") return report_from_json(object);
  if (name == "propose") return Propose{change_from_json(object.at("change"))};
  if (name == "promoted") {
    return Promoted{Permit(object.at("permit").get<uint64_t>()), object.value("device", std::string())};
  }
  if (name == "demoted") return Demoted{};
  if (name == "failed") return Failed{object.at("request").get<std::string>(), object.value("reason", std::string())};
  if (name == "verified")
    return Verified{object.at("blocks").get<uint64_t>(), object.at("different").get<uint64_t>(),
                    object.value("repaired", uint64_t{0})};
  if (name == "done") return Done{object.at("request").get<std::string>(), object.value("text", std::string())};
  if (name == "alert") return Alert{object.value("text", std::string())};
  if (name == "aborted") return Aborted{object.value("reason", std::string())};
  if (name == "note") return Note{object.value("text", std::string())};
  throw std::invalid_argument("unknown notice \"" + name + "\"");
}

/// Parses `text` and hands it to `convert`; whatever is thrown on the way becomes an error that starts with `what`.
template <class Value, class Convert>
Result<Value> decode_with(const char* what, const std::string& text, Convert convert) {
  try {
    return convert(json::parse(text));
  } catch (const std::exception& problem) {
    return fail_as(ErrorCode::kInvalid, "{} cannot be read: {}", what, problem.what());
  }
}

}  // namespace

std::string encode(const Request& request) { return to_line(std::visit(RequestEncoder{}, request)); }

std::string encode(const Notice& notice) { return to_line(std::visit(NoticeEncoder{}, notice)); }

Result<Request> decode_request(const std::string& line) {
  return decode_with<Request>("a request to the mirror daemon", line, request_from_json);
}

Result<Notice> decode_notice(const std::string& line) {
  return decode_with<Notice>("a notice of the mirror daemon", line, notice_from_json);
}

}  // namespace baton::mirror_control
