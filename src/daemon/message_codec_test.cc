// Round trips of every message between servers, and bytes that are none.
#include "src/daemon/message_codec.h"

#include <gtest/gtest.h>

#include <random>

#include "src/format/cluster.pb.h"

namespace baton {
namespace {

database::Entry entry(uint64_t index, Command command) {
  return {Epoch(130), index, std::move(command), ServerId(2), 99, 1700000000123};
}

std::map<ServerId, Duration> leases() { return {{ServerId(1), 0ns}, {ServerId(2), 1111ms}}; }

MirrorReport report() {
  MirrorReport report;
  report.role = MirrorRole::kPrimary;
  report.link = MirrorLink::kReadmitting;
  report.incarnation = Incarnation(3);
  report.permit = Permit(8);
  report.generation = {5, 0xfedcba9876543210};
  report.consistent = false;
  report.exported = true;
  report.size_bytes = 1ull << 40;
  report.dirty_bytes = 4096;
  report.copy = CopyKind::kFull;
  report.copy_reason = "the secondary is blank";
  report.copy_total_bytes = 10;
  report.copy_done_bytes = 9;
  report.copy_sent_bytes = 8;
  report.copy_read_bytes = 7;
  report.waiting = "lease";
  report.problem = "I/O error at \xff";
  report.protocol = MirrorProtocol::kA;
  report.copy_zero_bytes = 6;
  report.copy_bytes_per_second = 5;
  report.rate_limit = 4;
  report.detached = report.broken = report.backup = report.snapshot = true;
  report.lag_bytes = 3;
  report.read_errors = 2;
  report.slow = "the peer's disk";
  return report;
}

node::BeatMessage beat() {
  node::BeatMessage message;
  message.sequence = 17;
  message.start = UINT64_MAX;
  message.mirrors = {{"db.data", report()}, {"db.wal", MirrorReport{}}};
  message.macs = {"02:00:00:00:00:01"};
  MirrorDetails details;
  details.device = "/dev/nbd0";
  details.metrics.write_iops = 12.5;
  details.paths = {{"10.0.1.2", true, true, "TLS 1.3", 0.25, ""}};
  message.links = {{ServerId(2), 1, true, 125u, 210, 3400, 7, 3, 9}, {ServerId(3), 0, false, std::nullopt}};
  message.details = {{"db.data", details}};
  return message;
}

std::vector<node::Message> samples() {
  const database::LogPosition position{Epoch(65), 12};
  const std::vector<database::Entry> entries = {
      entry(13, StartEpoch{ServerId(1)}), entry(14, WishGroup{"db", 1, true, ServerId(2), "asked", "root"})};
  return {database::Message(database::Prepare{Epoch(65)}), database::Message(database::Prepare{Epoch(66), Epoch(33)}),
          database::Message(database::Promise{Epoch(65), position, 11, leases(), {{ServerId(1), ServerId(4)}, {ServerId(1)}}}),
          database::Message(database::Refuse{Epoch(129)}),
          database::Message(database::Fetch{Epoch(65), ServerId(3), position}),
          database::Message(database::Fetched{Epoch(65), true, position, 14, entries}),
          database::Message(database::Append{Epoch(65), ServerId(2), position, entries, 12}),
          database::Message(database::AppendDone{Epoch(65), true, position, 12, false, leases()}),
          database::Message(database::Propose{ServerId(3), 5, SetInSync{"db.data", 1, Permit(2), {}, "why"}, -1}),
          database::Message(database::CatchUpRequest{}),
          beat(),
          node::StoreCheck{ServerId(1), 7, "[cluster]\n"},
          node::StoreChecked{ServerId(1), 7, {"no such directory", ""}},
          node::MirrorCall{ServerId(1), 8, ServerId(2), "db.data", "verify", "{}"},
          node::MirrorAnswer{ServerId(1), 8, "conflict", "not now", ""},
          node::KeyAsk{ServerId(1), ServerId(2), "0a", "0b", std::string("\0\xff", 2)},
          node::KeyGiven{ServerId(1), "0a", std::string("\0\xfe", 2)}};
}

/// Messages have no operator== of their own: compared by their parts.
void expect_same(const node::Message& left, const node::Message& right) {
  ASSERT_EQ(left.index(), right.index());
  if (const auto* call = std::get_if<node::MirrorCall>(&left)) {
    const auto& other = std::get<node::MirrorCall>(right);
    EXPECT_EQ(std::tie(call->origin, call->request, call->to, call->mirror, call->verb, call->body),
              std::tie(other.origin, other.request, other.to, other.mirror, other.verb, other.body));
  } else if (const auto* said = std::get_if<node::MirrorAnswer>(&left)) {
    const auto& other = std::get<node::MirrorAnswer>(right);
    EXPECT_EQ(std::tie(said->origin, said->request, said->error_code, said->error, said->body),
              std::tie(other.origin, other.request, other.error_code, other.error, other.body));
  }
  if (const auto* ask = std::get_if<node::KeyAsk>(&left)) {
    const auto& other = std::get<node::KeyAsk>(right);
    EXPECT_EQ(std::tie(ask->origin, ask->to, ask->fingerprint, ask->shared, ask->public_key),
              std::tie(other.origin, other.to, other.fingerprint, other.shared, other.public_key));
  } else if (const auto* given = std::get_if<node::KeyGiven>(&left)) {
    const auto& other = std::get<node::KeyGiven>(right);
    EXPECT_EQ(std::tie(given->origin, given->fingerprint, given->sealed), std::tie(other.origin, other.fingerprint, other.sealed));
  }
  const auto* left_database = std::get_if<database::Message>(&left);
  if (left_database == nullptr) return;
  const auto& right_database = std::get<database::Message>(right);
  ASSERT_EQ(left_database->index(), right_database.index());
  if (const auto* promise = std::get_if<database::Promise>(left_database)) {
    const auto& other = std::get<database::Promise>(right_database);
    EXPECT_EQ(promise->epoch, other.epoch);
    EXPECT_EQ(promise->last, other.last);
    EXPECT_EQ(promise->committed, other.committed);
    EXPECT_EQ(promise->lease_left, other.lease_left);
  } else if (const auto* fetch = std::get_if<database::Fetch>(left_database)) {
    EXPECT_EQ(fetch->to, std::get<database::Fetch>(right_database).to);
    EXPECT_EQ(fetch->previous, std::get<database::Fetch>(right_database).previous);
  } else if (const auto* fetched = std::get_if<database::Fetched>(left_database)) {
    const auto& other = std::get<database::Fetched>(right_database);
    EXPECT_EQ(fetched->ok, other.ok);
    EXPECT_EQ(fetched->previous, other.previous);
    EXPECT_EQ(fetched->last_index, other.last_index);
    EXPECT_EQ(fetched->entries, other.entries);
  } else if (const auto* append = std::get_if<database::Append>(left_database)) {
    const auto& other = std::get<database::Append>(right_database);
    EXPECT_EQ(append->epoch, other.epoch);
    EXPECT_EQ(append->to, other.to);
    EXPECT_EQ(append->previous, other.previous);
    EXPECT_EQ(append->entries, other.entries);
    EXPECT_EQ(append->committed, other.committed);
  } else if (const auto* done = std::get_if<database::AppendDone>(left_database)) {
    const auto& other = std::get<database::AppendDone>(right_database);
    EXPECT_EQ(done->ok, other.ok);
    EXPECT_EQ(done->matched, other.matched);
    EXPECT_EQ(done->committed, other.committed);
    EXPECT_EQ(done->counting, other.counting);
    EXPECT_EQ(done->lease_left, other.lease_left);
  } else if (const auto* propose = std::get_if<database::Propose>(left_database)) {
    const auto& other = std::get<database::Propose>(right_database);
    EXPECT_EQ(propose->origin, other.origin);
    EXPECT_EQ(propose->request, other.request);
    EXPECT_EQ(propose->command, other.command);
    EXPECT_EQ(propose->wall_ms, other.wall_ms);
  }
}

TEST(MessageCodec, EveryMessageRoundTrips) {
  for (const auto& message : samples()) {
    const std::string bytes = encode_message(message);
    const auto decoded = decode_message(bytes);
    ASSERT_TRUE(decoded.has_value()) << message.index() << ": " << decoded.error().message;
    expect_same(message, *decoded);
    EXPECT_EQ(encode_message(*decoded), bytes) << message.index();  // the same process, no unknown fields
  }
}

TEST(MessageCodec, BeatRoundTrips) {
  const auto decoded = decode_message(encode_message(beat()));
  ASSERT_TRUE(decoded.has_value());
  const auto& message = std::get<node::BeatMessage>(*decoded);
  EXPECT_EQ(message.sequence, 17u);
  EXPECT_EQ(message.start, UINT64_MAX);
  EXPECT_EQ(message.mirrors, beat().mirrors);
  EXPECT_EQ(message.macs, beat().macs);
}

TEST(MessageCodec, DamagedBytesAreSafe) {
  std::mt19937 random(7);
  for (const auto& message : samples()) {
    const std::string bytes = encode_message(message);
    for (size_t length = 0; length < bytes.size(); ++length) (void)decode_message(bytes.substr(0, length));
    for (int round = 0; round < 1000; ++round) {
      std::string damaged = bytes;
      for (int flip = 0; flip < 1 + round % 4; ++flip) damaged[random() % damaged.size()] = static_cast<char>(random());
      const auto decoded = decode_message(damaged);
      if (decoded) (void)encode_message(*decoded);
    }
  }
  for (int round = 0; round < 5000; ++round) {
    std::string noise = "BTNM\x01";
    noise.resize(8 + random() % 64);
    for (size_t i = 8; i < noise.size(); ++i) noise[i] = static_cast<char>(random());
    (void)decode_message(noise);
  }
}

std::string with_header(const wire::Message& message) {
  std::string bytes("BTNM\x01\0\0\0", 8);
  return bytes + message.SerializeAsString();
}

TEST(MessageCodec, UnknownFieldsAreTolerated) {
  const std::string unknown = "\xa2\x06\x03new";  // field 100
  const auto decoded = decode_message(encode_message(beat()) + unknown);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(std::get<node::BeatMessage>(*decoded).mirrors.size(), 2u);
}

TEST(MessageCodec, FutureWordInAReportLosesTheReportOnly) {
  wire::Message message;
  message.mutable_beat()->set_sequence(5);
  auto* future = message.mutable_beat()->add_mirrors();
  future->set_mirror("db.data");
  future->set_link(static_cast<wire::MirrorLink>(42));
  const auto decoded = decode_message(with_header(message));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(std::get<node::BeatMessage>(*decoded).sequence, 5u);
  EXPECT_TRUE(std::get<node::BeatMessage>(*decoded).mirrors.empty());
}

TEST(MessageCodec, RefusesWhatItCannotKnow) {
  EXPECT_FALSE(decode_message("").has_value());
  EXPECT_FALSE(decode_message("GET / HTTP/1.1\r\n").has_value());
  EXPECT_FALSE(decode_message(with_header({})).has_value());
  std::string newer = encode_message(beat());
  newer[4] = 2;
  const auto decoded = decode_message(newer);
  ASSERT_FALSE(decoded.has_value());
  EXPECT_NE(decoded.error().message.find("format 2"), std::string::npos);
}

TEST(MessageCodec, RefusesLeasesOutOfRange) {
  for (int64_t left : {int64_t{-1}, INT64_MAX, INT64_MIN}) {
    wire::Message message;
    message.mutable_promise()->set_epoch(65);
    auto* lease = message.mutable_promise()->add_lease_left();
    lease->set_server(1);
    lease->set_left_ns(left);
    EXPECT_FALSE(decode_message(with_header(message)).has_value()) << left;
  }
}

TEST(MessageCodec, EntryWithFutureCommandNamesItsIndex) {
  wire::Message message;
  auto* item = message.mutable_append()->add_entries();
  item->set_index(77);
  item->set_command("\xa2\x06\x01x");
  const auto decoded = decode_message(with_header(message));
  ASSERT_FALSE(decoded.has_value());
  EXPECT_NE(decoded.error().message.find("77"), std::string::npos);
}

}  // namespace
}  // namespace baton
