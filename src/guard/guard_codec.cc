// Encodings of baton-guard: fixed fields in order, little-endian, counts before lists. Any thread.
#include "src/guard/guard_codec.h"

#include <fmt/format.h>

namespace baton::guard {

namespace {

constexpr uint32_t kVersion = 3;
constexpr uint32_t kBeatVersion = 2;  // between servers, which are upgraded one by one
constexpr uint32_t kMostItems = 1024;
enum class Kind : uint8_t { kBeat = 1, kTell, kDuties, kReport, kKept };

uint32_t version_of(Kind kind) { return kind == Kind::kBeat ? kBeatVersion : kVersion; }

Bytes begin(Kind kind) {
  Bytes out;
  ByteWriter writer(out);
  writer.put(version_of(kind));
  writer.put(static_cast<uint8_t>(kind));
  return out;
}

Status take_header(ByteReader& in, Kind kind) {
  const auto version = in.take<uint32_t>();
  const auto found = in.take<uint8_t>();
  if (version == version_of(kind) && found == static_cast<uint8_t>(kind)) return {};
  return fail_as(ErrorCode::kInvalid, "a guard's message is of version {} and kind {}, not {} and {}: install one version everywhere",
                 version, found, version_of(kind), static_cast<int>(kind));
}

void put(ByteWriter& out, const LogPosition& position) {
  out.put(position.epoch.value);
  out.put(position.index);
}
LogPosition take_position(ByteReader& in) {
  LogPosition position;
  position.epoch = Epoch(in.take<uint64_t>());
  position.index = in.take<uint64_t>();
  return position;
}

uint32_t take_count(ByteReader& in) { return std::min(in.take<uint32_t>(), kMostItems); }

void put(ByteWriter& out, const std::set<ServerId>& servers) {
  out.put(static_cast<uint32_t>(servers.size()));
  for (const ServerId server : servers) out.put(server.value);
}
std::set<ServerId> take_servers(ByteReader& in) {
  std::set<ServerId> servers;
  for (uint32_t left = take_count(in); left > 0 && !in.failed(); --left) servers.insert(ServerId(in.take<uint32_t>()));
  return servers;
}

void put(ByteWriter& out, const Knowledge& knowledge) {
  out.put(static_cast<uint8_t>(knowledge.grants));
  put(out, knowledge.knows);
  put(out, knowledge.exact);
  out.put(static_cast<uint32_t>(knowledge.fences.size()));
  for (const auto& [server, position] : knowledge.fences) {
    out.put(server.value);
    put(out, position);
  }
  put(out, knowledge.voters.now);
  put(out, knowledge.voters.before);
  put(out, knowledge.voters_fence);
  out.put(static_cast<uint8_t>(knowledge.alone));
  out.put(knowledge.right);
  out.put(knowledge.gaps);
}
Knowledge take_knowledge(ByteReader& in) {
  Knowledge knowledge;
  knowledge.grants = in.take<uint8_t>() != 0;
  knowledge.knows = take_position(in);
  knowledge.exact = take_position(in);
  for (uint32_t left = take_count(in); left > 0 && !in.failed(); --left) {
    const ServerId server(in.take<uint32_t>());
    knowledge.fences[server] = take_position(in);
  }
  knowledge.voters.now = take_servers(in);
  knowledge.voters.before = take_servers(in);
  knowledge.voters_fence = take_position(in);
  knowledge.alone = in.take<uint8_t>() != 0;
  knowledge.right = in.take<uint64_t>();
  knowledge.gaps = in.take<uint64_t>();
  return knowledge;
}

/// What came with recoveries and orderly ends (W7) stands at the end of a message: guards and batonds of before neither write nor
/// read it. Without it `right_by` is the beginning of time.
void put_later(ByteWriter& out, const Knowledge& knowledge) {
  out.put(knowledge.lineage.value);
  out.put(knowledge.newest_lineage.value);
  out.put(to_ns(knowledge.right_by));
}
void take_later(ByteReader& in, Knowledge& knowledge) {
  knowledge.right_by = Instant{};
  if (in.left() == 0) return;
  knowledge.lineage = Epoch(in.take<uint64_t>());
  knowledge.newest_lineage = Epoch(in.take<uint64_t>());
  knowledge.right_by = Instant(Duration(in.take<int64_t>()));
}

void put(ByteWriter& out, const Account& account) {
  out.put(static_cast<uint32_t>(account.size()));
  for (const auto& [server, over] : account) {
    out.put(server.value);
    out.put(to_ns(over));
  }
}
Account take_account(ByteReader& in) {
  Account account;
  for (uint32_t left = take_count(in); left > 0 && !in.failed(); --left) {
    const ServerId server(in.take<uint32_t>());
    account[server] = Instant(Duration(in.take<int64_t>()));
  }
  return account;
}

void put(ByteWriter& out, const std::vector<std::string>& list) {
  out.put(static_cast<uint32_t>(list.size()));
  for (const auto& item : list) out.put_string(item);
}
std::vector<std::string> take_list(ByteReader& in) {
  std::vector<std::string> list;
  for (uint32_t left = take_count(in); left > 0 && !in.failed(); --left) list.emplace_back(in.take_string());
  return list;
}

void put(ByteWriter& out, const Duties& duties) {
  put(out, duties.addresses);
  put(out, duties.control_groups);
  out.put(static_cast<int64_t>(duties.freeze_limit.count()));
  out.put_string(duties.watchdog);
}
Duties take_duties(ByteReader& in) {
  Duties duties;
  duties.addresses = take_list(in);
  duties.control_groups = take_list(in);
  duties.freeze_limit = Duration(in.take<int64_t>());
  duties.watchdog = in.take_string();
  return duties;
}

template <class Value>
Result<Value> checked(const ByteReader& in, Value value, const char* what) {
  if (in.failed()) return fail_as(ErrorCode::kInvalid, "{} is cut short", what);
  return value;
}

}  // namespace

Bytes encode_beat(const Beat& beat) {
  Bytes bytes = begin(Kind::kBeat);
  ByteWriter out(bytes);
  out.put(beat.sequence);
  out.put(beat.start);
  put(out, beat.knows);
  out.put(static_cast<uint32_t>(beat.granted.size()));
  for (const auto& [server, heard] : beat.granted) {
    out.put(server.value);
    out.put(heard.start);
    out.put(heard.sequence);
  }
  // Older guards read no further; before any recovery there is nothing to read.
  if (beat.lineage != Epoch{}) out.put(beat.lineage.value);
  return bytes;
}

Result<Beat> decode_beat(std::span<const uint8_t> bytes) {
  ByteReader in(bytes);
  if (auto header = take_header(in, Kind::kBeat); !header) return pass(header);
  Beat beat;
  beat.sequence = in.take<uint64_t>();
  beat.start = in.take<uint64_t>();
  beat.knows = take_position(in);
  for (uint32_t left = take_count(in); left > 0 && !in.failed(); --left) {
    auto& heard = beat.granted[ServerId(in.take<uint32_t>())];
    heard.start = in.take<uint64_t>();
    heard.sequence = in.take<uint64_t>();
  }
  if (in.left() > 0) beat.lineage = Epoch(in.take<uint64_t>());
  return checked(in, std::move(beat), "a guard's beat");
}

Bytes encode(const Tell& tell) {
  Bytes bytes = begin(Kind::kTell);
  ByteWriter out(bytes);
  out.put(tell.teller);
  out.put(tell.number);
  put(out, tell.knowledge);
  put_later(out, tell.knowledge);
  return bytes;
}

Bytes encode(const Duties& duties) {
  Bytes bytes = begin(Kind::kDuties);
  ByteWriter out(bytes);
  put(out, duties);
  return bytes;
}

Result<FromBatond> decode_from_batond(std::span<const uint8_t> bytes) {
  ByteReader in(bytes);
  if (bytes.size() > 4 && bytes[4] == static_cast<uint8_t>(Kind::kDuties)) {
    if (auto header = take_header(in, Kind::kDuties); !header) return pass(header);
    return checked(in, FromBatond(take_duties(in)), "batond's list of duties");
  }
  if (auto header = take_header(in, Kind::kTell); !header) return pass(header);
  Tell tell;
  tell.teller = in.take<uint64_t>();
  tell.number = in.take<uint64_t>();
  tell.knowledge = take_knowledge(in);
  take_later(in, tell.knowledge);
  return checked(in, FromBatond(std::move(tell)), "batond's message");
}

Bytes encode_report(const Report& report, const std::string& problem) {
  Bytes bytes = begin(Kind::kReport);
  ByteWriter out(bytes);
  out.put(report.start);
  out.put(report.teller);
  out.put(report.number);
  put(out, report.knowledge);
  put(out, report.account);
  put(out, report.account_below_fences);
  put(out, report.members);
  out.put_string(problem);
  put_later(out, report.knowledge);
  put(out, report.heard);
  return bytes;
}

Result<ReportMessage> decode_report(std::span<const uint8_t> bytes) {
  ByteReader in(bytes);
  if (auto header = take_header(in, Kind::kReport); !header) return pass(header);
  ReportMessage message;
  Report& report = message.report;
  report.start = in.take<uint64_t>();
  report.teller = in.take<uint64_t>();
  report.number = in.take<uint64_t>();
  report.knowledge = take_knowledge(in);
  report.account = take_account(in);
  report.account_below_fences = take_account(in);
  report.members = take_servers(in);
  message.problem = in.take_string();
  const bool of_before = in.left() == 0;
  take_later(in, report.knowledge);
  report.heard = of_before ? report.members : take_servers(in);  // it does not say, so that is not waited for
  return checked(in, std::move(message), "a guard's report");
}

Bytes encode_kept(const Kept& kept) {
  Bytes bytes = begin(Kind::kKept);
  ByteWriter out(bytes);
  put(out, kept.knowledge);
  put(out, kept.duties);
  put_later(out, kept.knowledge);
  if (!kept.clocks_ahead) return bytes;
  out.put(static_cast<int64_t>(kept.clocks_ahead->boottime.count()));
  out.put(static_cast<int64_t>(kept.clocks_ahead->realtime.count()));
  return bytes;
}

Result<Kept> decode_kept(std::span<const uint8_t> bytes) {
  ByteReader in(bytes);
  if (auto header = take_header(in, Kind::kKept); !header) return pass(header);
  Kept kept;
  kept.knowledge = take_knowledge(in);
  kept.duties = take_duties(in);
  take_later(in, kept.knowledge);
  if (in.left() > 0) {
    const Duration boottime(in.take<int64_t>());
    kept.clocks_ahead = ClocksAhead{boottime, Duration(in.take<int64_t>())};
  }
  return checked(in, std::move(kept), "the guard's page");
}

}  // namespace baton::guard
