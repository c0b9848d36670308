// The names used here are the wire's: they stay as they are when the C++ ones change.
#include "src/format/mirror_report_json.h"

#include "src/format/json_member_reader.h"

namespace baton {
namespace {

using nlohmann::json;

constexpr WireNames<MirrorRole, 2> kRoles{{{MirrorRole::kSecondary, "secondary"}, {MirrorRole::kPrimary, "primary"}}};
constexpr WireNames<MirrorLink, 6> kLinks{{{MirrorLink::kDown, "down"},
                                       {MirrorLink::kConnecting, "connecting"},
                                       {MirrorLink::kCopying, "copying"},
                                       {MirrorLink::kReadmitting, "readmitting"},
                                       {MirrorLink::kConnected, "connected"},
                                       {MirrorLink::kRefused, "refused"}}};
constexpr WireNames<CopyKind, 3> kCopies{{{CopyKind::kNone, "none"}, {CopyKind::kFast, "fast"}, {CopyKind::kFull, "full"}}};

constexpr WireNames<MirrorProtocol, 3> kProtocols{
    {{MirrorProtocol::kA, "A"}, {MirrorProtocol::kB, "B"}, {MirrorProtocol::kC, "C"}}};

}  // namespace

json mirror_report_to_json(const MirrorReport& report) {
  return json{{"role", wire_name(kRoles, report.role)},
              {"link", wire_name(kLinks, report.link)},
              {"incarnation", report.incarnation.value},
              {"permit", report.permit.value},
              {"generation", {{"counter", report.generation.counter}, {"random", report.generation.random}}},
              {"consistent", report.consistent},
              {"exported", report.exported},
              {"size_bytes", report.size_bytes},
              {"dirty_bytes", report.dirty_bytes},
              {"copy", wire_name(kCopies, report.copy)},
              {"copy_reason", report.copy_reason},
              {"copy_total_bytes", report.copy_total_bytes},
              {"copy_done_bytes", report.copy_done_bytes},
              {"copy_sent_bytes", report.copy_sent_bytes},
              {"copy_read_bytes", report.copy_read_bytes},
              {"copy_zero_bytes", report.copy_zero_bytes},
              {"copy_bytes_per_second", report.copy_bytes_per_second},
              {"rate_limit", report.rate_limit},
              {"detached", report.detached},
              {"broken", report.broken},
              {"backup", report.backup},
              {"snapshot", report.snapshot},
              {"lag_bytes", report.lag_bytes},
              {"read_errors", report.read_errors},
              {"slow", report.slow},
              {"protocol", wire_name(kProtocols, report.protocol)},
              {"waiting", report.waiting},
              {"problem", report.problem}};
}

Result<MirrorReport> mirror_report_from_json(const json& object) {
  if (!object.is_object()) return fail_as(ErrorCode::kInvalid, "a mirror report is not a JSON object");
  MirrorReport report;
  JsonMemberReader reader(object);
  reader.take("role", kRoles, report.role);
  reader.take("link", kLinks, report.link);
  reader.take("incarnation", report.incarnation.value);
  reader.take("permit", report.permit.value);
  reader.take("generation", report.generation);
  reader.take("consistent", report.consistent);
  reader.take("exported", report.exported);
  reader.take("size_bytes", report.size_bytes);
  reader.take("dirty_bytes", report.dirty_bytes);
  reader.take("copy", kCopies, report.copy);
  reader.take("copy_reason", report.copy_reason);
  reader.take("copy_total_bytes", report.copy_total_bytes);
  reader.take("copy_done_bytes", report.copy_done_bytes);
  reader.take("copy_sent_bytes", report.copy_sent_bytes);
  reader.take("copy_read_bytes", report.copy_read_bytes);
  reader.take("copy_zero_bytes", report.copy_zero_bytes);
  reader.take("copy_bytes_per_second", report.copy_bytes_per_second);
  reader.take("rate_limit", report.rate_limit);
  reader.take("detached", report.detached);
  reader.take("broken", report.broken);
  reader.take("backup", report.backup);
  reader.take("snapshot", report.snapshot);
  reader.take("lag_bytes", report.lag_bytes);
  reader.take("read_errors", report.read_errors);
  reader.take("slow", report.slow);
  reader.take("protocol", kProtocols, report.protocol);
  reader.take("waiting", report.waiting);
  reader.take("problem", report.problem);
  if (!reader.problem().empty()) {
    return fail_as(ErrorCode::kInvalid, "a mirror report cannot be read: {}", reader.problem());
  }
  return report;
}

}  // namespace baton
