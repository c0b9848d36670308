// Messages <-> bytes, one pair of functions per kind. Stateless, any thread.
#include "src/daemon/message_codec.h"

#include <climits>

#include "src/base/assert.h"
#include "src/daemon/mirror_report_wire.h"
#include "src/format/cluster.pb.h"
#include "src/format/command_codec.h"
#include "src/format/mirror_report_json.h"
#include "src/format/voter_set_wire.h"

namespace baton {
namespace {

constexpr std::string_view kMagic = "BTNM";
constexpr uint8_t kVersion = 1;
constexpr size_t kHeaderBytes = 8;  // magic, version, three zeroes
constexpr Duration kLongestLease = std::chrono::hours(24);

// ---- Parts ----

void put_position(const database::LogPosition& position, wire::LogPosition* out) {
  out->set_epoch(position.epoch.value);
  out->set_index(position.index);
}

database::LogPosition take_position(const wire::LogPosition& from) { return {Epoch(from.epoch()), from.index()}; }

template <class Repeated>
void put_leases(const std::map<ServerId, Duration>& leases, Repeated* out) {
  for (const auto& [server, left] : leases) {
    auto* item = out->Add();
    item->set_server(server.value);
    item->set_left_ns(left.count());
  }
}

template <class Repeated>
Result<std::map<ServerId, Duration>> take_leases(const Repeated& from) {
  std::map<ServerId, Duration> leases;
  for (const auto& item : from) {
    const Duration left(item.left_ns());
    if (left < Duration::zero() || left > kLongestLease) {
      return fail_as(ErrorCode::kInvalid, "message gives {} ns as the rest of server {}'s lease", item.left_ns(),
                     item.server());
    }
    leases[ServerId(item.server())] = left;
  }
  return leases;
}

template <class Repeated>
void put_entries(const std::vector<database::Entry>& entries, Repeated* out) {
  for (const auto& entry : entries) {
    auto* item = out->Add();
    item->set_epoch(entry.epoch.value);
    item->set_index(entry.index);
    item->set_command(encode_command(entry.command));
    item->set_origin(entry.origin.value);
    item->set_request(entry.request);
    item->set_wall_ms(entry.wall_ms);
  }
}

template <class Repeated>
Result<std::vector<database::Entry>> take_entries(const Repeated& from) {
  std::vector<database::Entry> entries;
  entries.reserve(static_cast<size_t>(from.size()));
  for (const auto& item : from) {
    auto command = decode_command(item.command());
    if (!command) return fail_as(ErrorCode::kInvalid, "entry {}: {}", item.index(), command.error().message);
    entries.push_back({Epoch(item.epoch()), item.index(), std::move(*command), ServerId(item.origin()), item.request(),
                       item.wall_ms()});
  }
  return entries;
}

// ---- To protobuf ----

void put(const database::Prepare& message, wire::Message& out) {
  out.mutable_prepare()->set_epoch(message.epoch.value);
  out.mutable_prepare()->set_taken_over(message.taken_over.value);
}

void put(const database::Promise& message, wire::Message& out) {
  auto* to = out.mutable_promise();
  to->set_epoch(message.epoch.value);
  put_position(message.last, to->mutable_last());
  to->set_committed(message.committed);
  put_leases(message.lease_left, to->mutable_lease_left());
  put_voter_set(message.voters, *to->mutable_voters());
}

void put(const database::Refuse& message, wire::Message& out) {
  out.mutable_refuse()->set_promised(message.promised.value);
}

void put(const database::Fetch& message, wire::Message& out) {
  auto* to = out.mutable_fetch();
  to->set_epoch(message.epoch.value);
  to->set_to(message.to.value);
  put_position(message.previous, to->mutable_previous());
}

void put(const database::Fetched& message, wire::Message& out) {
  auto* to = out.mutable_fetched();
  to->set_epoch(message.epoch.value);
  to->set_ok(message.ok);
  put_position(message.previous, to->mutable_previous());
  to->set_last_index(message.last_index);
  put_entries(message.entries, to->mutable_entries());
}

void put(const database::Append& message, wire::Message& out) {
  auto* to = out.mutable_append();
  to->set_epoch(message.epoch.value);
  to->set_to(message.to.value);
  put_position(message.previous, to->mutable_previous());
  put_entries(message.entries, to->mutable_entries());
  to->set_committed(message.committed);
}

void put(const database::AppendDone& message, wire::Message& out) {
  auto* to = out.mutable_append_done();
  to->set_epoch(message.epoch.value);
  to->set_ok(message.ok);
  put_position(message.matched, to->mutable_matched());
  to->set_committed(message.committed);
  to->set_counting(message.counting);
  put_leases(message.lease_left, to->mutable_lease_left());
}

void put(const database::Propose& message, wire::Message& out) {
  auto* to = out.mutable_propose();
  to->set_origin(message.origin.value);
  to->set_request(message.request);
  to->set_command(encode_command(message.command));
  to->set_wall_ms(message.wall_ms);
}

void put(const database::CatchUpRequest&, wire::Message& out) { out.mutable_catch_up_request(); }

void put(const database::Message& message, wire::Message& out) {
  std::visit([&](const auto& kind) { put(kind, out); }, message);
}

void put(const node::BeatMessage& message, wire::Message& out) {
  auto* to = out.mutable_beat();
  to->set_sequence(message.sequence);
  to->set_start(message.start);
  for (const auto& [mirror, report] : message.mirrors) put_mirror_report(mirror, report, *to->add_mirrors());
  for (const auto& mac : message.macs) to->add_macs(mac);
  for (const auto& link : message.links) {
    auto* item = to->add_links();
    item->set_peer(link.peer.value);
    item->set_link(link.link);
    item->set_connected(link.connected);
    item->set_loss_per_mille_plus_one(link.loss_per_mille ? *link.loss_per_mille + 1 : 0);
    item->set_round_trip_us(link.round_trip_us);
    item->set_round_trip_worst_us(link.round_trip_worst_us);
    item->set_downs(link.downs);
    item->set_downs_recent(link.downs_recent);
    item->set_send_errors(link.send_errors);
  }
  to->set_clock_ms(message.clock_ms);
  to->set_format_level(message.format_level);
  to->set_settled(message.settled);
  to->set_waited_ms(message.waited_ms);
  to->set_ring_key(message.ring_key);
  for (const auto& alert : message.alerts) {
    auto* item = to->add_alerts();
    item->set_name(alert.name);
    item->set_told(alert.told);
    item->set_failing(alert.failing);
  }
  for (const auto& [mirror, details] : message.details) {
    auto* item = to->add_details();
    item->set_mirror(mirror);
    item->set_json(mirror_details_to_json(details).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
}

void put(const node::StoreCheck& message, wire::Message& out) {
  auto* to = out.mutable_store_check();
  to->set_origin(message.origin.value);
  to->set_request(message.request);
  to->set_configuration_text(message.configuration_text);
}

void put(const node::StoreChecked& message, wire::Message& out) {
  auto* to = out.mutable_store_checked();
  to->set_origin(message.origin.value);
  to->set_request(message.request);
  for (const auto& problem : message.problems) to->add_problems(problem);
}

void put(const node::MirrorCall& message, wire::Message& out) {
  auto* to = out.mutable_mirror_call();
  to->set_origin(message.origin.value);
  to->set_request(message.request);
  to->set_to(message.to.value);
  to->set_mirror(message.mirror);
  to->set_verb(message.verb);
  to->set_body(message.body);
}

void put(const node::MirrorAnswer& message, wire::Message& out) {
  auto* to = out.mutable_mirror_answer();
  to->set_origin(message.origin.value);
  to->set_request(message.request);
  to->set_error_code(message.error_code);
  to->set_error(message.error);
  to->set_body(message.body);
}

void put(const node::Hello& message, wire::Message& out) {
  auto* to = out.mutable_hello();
  for (const ServerId server : message.survivors) to->add_survivors(server.value);
  put_position(message.last, to->mutable_last());
  to->set_wall_ms(message.wall_ms);
}

void put(const node::KeyAsk& message, wire::Message& out) {
  auto* to = out.mutable_key_ask();
  to->set_origin(message.origin.value);
  to->set_to(message.to.value);
  to->set_fingerprint(message.fingerprint);
  to->set_shared(message.shared);
  to->set_public_key(message.public_key);
}

void put(const node::KeyGiven& message, wire::Message& out) {
  auto* to = out.mutable_key_given();
  to->set_origin(message.origin.value);
  to->set_fingerprint(message.fingerprint);
  to->set_sealed(message.sealed);
}

// ---- From protobuf ----

Result<node::Message> take(const wire::Promise& from) {
  auto leases = take_leases(from.lease_left());
  if (!leases) return pass(leases);
  return database::Promise{Epoch(from.epoch()), take_position(from.last()), from.committed(), std::move(*leases),
                           take_voter_set(from.voters())};
}

Result<node::Message> take(const wire::Fetch& from) {
  return database::Fetch{Epoch(from.epoch()), ServerId(from.to()), take_position(from.previous())};
}

Result<node::Message> take(const wire::Fetched& from) {
  auto entries = take_entries(from.entries());
  if (!entries) return pass(entries);
  return database::Fetched{Epoch(from.epoch()), from.ok(), take_position(from.previous()), from.last_index(),
                           std::move(*entries)};
}

Result<node::Message> take(const wire::Append& from) {
  auto entries = take_entries(from.entries());
  if (!entries) return pass(entries);
  return database::Append{Epoch(from.epoch()), ServerId(from.to()), take_position(from.previous()),
                          std::move(*entries), from.committed()};
}

Result<node::Message> take(const wire::AppendDone& from) {
  auto leases = take_leases(from.lease_left());
  if (!leases) return pass(leases);
  return database::AppendDone{Epoch(from.epoch()), from.ok(),       take_position(from.matched()),
                              from.committed(),    from.counting(), std::move(*leases)};
}

Result<node::Message> take(const wire::Propose& from) {
  auto command = decode_command(from.command());
  if (!command) return pass(command);
  return database::Propose{ServerId(from.origin()), from.request(), std::move(*command), from.wall_ms()};
}

Result<node::Message> take(const wire::Beat& from) {
  node::BeatMessage message;
  message.sequence = from.sequence();
  message.start = from.start();
  message.macs.assign(from.macs().begin(), from.macs().end());
  message.clock_ms = from.clock_ms();
  message.format_level = from.format_level();
  message.settled = from.settled();
  message.waited_ms = from.waited_ms();
  message.ring_key = from.ring_key();
  // A report with a word that only a newer version knows counts as none: the lease must not suffer from it.
  for (const auto& item : from.mirrors()) {
    if (auto report = take_mirror_report(item)) message.mirrors[item.mirror()] = std::move(*report);
  }
  for (const auto& item : from.links()) {
    LinkReport link{ServerId(item.peer()), item.link(), item.connected()};
    if (item.loss_per_mille_plus_one() > 0) link.loss_per_mille = item.loss_per_mille_plus_one() - 1;
    link.round_trip_us = item.round_trip_us();
    link.round_trip_worst_us = item.round_trip_worst_us();
    link.downs = item.downs();
    link.downs_recent = item.downs_recent();
    link.send_errors = item.send_errors();
    message.links.push_back(link);
  }
  for (const auto& item : from.alerts()) message.alerts.push_back({item.name(), item.told(), item.failing()});
  for (const auto& item : from.details()) {
    auto details = mirror_details_from_json(nlohmann::json::parse(item.json(), nullptr, false));
    if (details) message.details[item.mirror()] = std::move(*details);
  }
  return message;
}

Result<node::Message> take(const wire::StoreChecked& from) {
  node::StoreChecked message{ServerId(from.origin()), from.request(), {}};
  message.problems.assign(from.problems().begin(), from.problems().end());
  return message;
}

Result<node::Message> take(const wire::Hello& from) {
  node::Hello message;
  for (const uint32_t server : from.survivors()) message.survivors.insert(ServerId(server));
  message.last = take_position(from.last());
  message.wall_ms = from.wall_ms();
  return message;
}

Result<node::Message> take(const wire::Message& from) {
  switch (from.kind_case()) {
    case wire::Message::kPrepare: return database::Prepare{Epoch(from.prepare().epoch()), Epoch(from.prepare().taken_over())};
    case wire::Message::kPromise: return take(from.promise());
    case wire::Message::kRefuse: return database::Refuse{Epoch(from.refuse().promised())};
    case wire::Message::kFetch: return take(from.fetch());
    case wire::Message::kFetched: return take(from.fetched());
    case wire::Message::kAppend: return take(from.append());
    case wire::Message::kAppendDone: return take(from.append_done());
    case wire::Message::kPropose: return take(from.propose());
    case wire::Message::kCatchUpRequest: return database::CatchUpRequest{};
    case wire::Message::kBeat: return take(from.beat());
    case wire::Message::kStoreCheck:
      return node::StoreCheck{ServerId(from.store_check().origin()), from.store_check().request(),
                              from.store_check().configuration_text()};
    case wire::Message::kStoreChecked: return take(from.store_checked());
    case wire::Message::kMirrorCall: {
      const auto& call = from.mirror_call();
      return node::MirrorCall{ServerId(call.origin()), call.request(), ServerId(call.to()), call.mirror(), call.verb(),
                              call.body()};
    }
    case wire::Message::kMirrorAnswer: {
      const auto& answer = from.mirror_answer();
      return node::MirrorAnswer{ServerId(answer.origin()), answer.request(), answer.error_code(), answer.error(),
                                answer.body()};
    }
    case wire::Message::kHello: return take(from.hello());
    case wire::Message::kKeyAsk: {
      const auto& ask = from.key_ask();
      return node::KeyAsk{ServerId(ask.origin()), ServerId(ask.to()), ask.fingerprint(), ask.shared(), ask.public_key()};
    }
    case wire::Message::kKeyGiven:
      return node::KeyGiven{ServerId(from.key_given().origin()), from.key_given().fingerprint(), from.key_given().sealed()};
    case wire::Message::KIND_NOT_SET: break;
  }
  return fail_as(ErrorCode::kInvalid,
                 "a kind of message that this version of Baton does not know: upgrade Baton on this server");
}

}  // namespace

std::string encode_message(const node::Message& message, Epoch lineage) {
  wire::Message out;
  out.set_lineage(lineage.value);
  std::visit([&](const auto& kind) { put(kind, out); }, message);
  std::string bytes(kMagic);
  bytes.push_back(static_cast<char>(kVersion));
  bytes.resize(kHeaderBytes, '\0');
  BATON_ASSERT(out.AppendToString(&bytes));
  return bytes;
}

Result<node::Message> decode_message(std::string_view bytes, Epoch* lineage) {
  if (bytes.size() < kHeaderBytes || bytes.substr(0, kMagic.size()) != kMagic)
    return fail_as(ErrorCode::kInvalid, "{} bytes that are no message of Baton", bytes.size());
  const auto version = static_cast<uint8_t>(bytes[kMagic.size()]);
  if (version != kVersion) {
    return fail_as(ErrorCode::kInvalid,
                   "message in format {}, this version of Baton reads format {}: run the same version on all servers",
                   version, kVersion);
  }
  const auto body = bytes.substr(kHeaderBytes);
  wire::Message in;
  if (body.size() > INT_MAX || !in.ParseFromArray(body.data(), static_cast<int>(body.size())))
    return fail_as(ErrorCode::kInvalid, "message of {} bytes is damaged or cut off", bytes.size());
  if (lineage != nullptr) *lineage = Epoch(in.lineage());
  return take(in);
}

}  // namespace baton
