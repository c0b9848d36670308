// Figures, paths and export of a copy as JSON. The names used here are the wire's.
#include "src/format/json_member_reader.h"
#include "src/format/mirror_report_json.h"

namespace baton {
namespace {

using nlohmann::json;

json metrics_to_json(const MirrorMetrics& metrics) {
  return json{{"reads", metrics.reads},
              {"writes", metrics.writes},
              {"flushes", metrics.flushes},
              {"zeroes", metrics.zeroes},
              {"read_bytes", metrics.read_bytes},
              {"written_bytes", metrics.written_bytes},
              {"sent_bytes", metrics.sent_bytes},
              {"read_iops", metrics.read_iops},
              {"write_iops", metrics.write_iops},
              {"read_bytes_per_second", metrics.read_bytes_per_second},
              {"write_bytes_per_second", metrics.write_bytes_per_second},
              {"local_us", metrics.local_us},
              {"peer_us", metrics.peer_us},
              {"total_us", metrics.total_us}};
}

void take_metrics(JsonMemberReader& outer, MirrorMetrics& metrics) {
  const json* member = outer.find("metrics");
  if (member == nullptr) return;
  if (!member->is_object()) return outer.wrong("metrics", "an object");
  JsonMemberReader reader(*member);
  reader.take("reads", metrics.reads);
  reader.take("writes", metrics.writes);
  reader.take("flushes", metrics.flushes);
  reader.take("zeroes", metrics.zeroes);
  reader.take("read_bytes", metrics.read_bytes);
  reader.take("written_bytes", metrics.written_bytes);
  reader.take("sent_bytes", metrics.sent_bytes);
  reader.take("read_iops", metrics.read_iops);
  reader.take("write_iops", metrics.write_iops);
  reader.take("read_bytes_per_second", metrics.read_bytes_per_second);
  reader.take("write_bytes_per_second", metrics.write_bytes_per_second);
  reader.take("local_us", metrics.local_us);
  reader.take("peer_us", metrics.peer_us);
  reader.take("total_us", metrics.total_us);
  outer.adopt_problem("metrics", reader);
}

json paths_to_json(const std::vector<MirrorPath>& paths) {
  json list = json::array();
  for (const auto& path : paths) {
    list.push_back({{"address", path.address},
                    {"up", path.up},
                    {"active", path.active},
                    {"encryption", path.encryption},
                    {"round_trip_ms", path.round_trip_ms},
                    {"problem", path.problem}});
  }
  return list;
}

void take_paths(JsonMemberReader& outer, std::vector<MirrorPath>& paths) {
  const json* member = outer.find("paths");
  if (member == nullptr) return;
  if (!member->is_array()) return outer.wrong("paths", "a list");
  for (const json& item : *member) {
    if (!item.is_object()) return outer.wrong("paths", "a list of objects");
    MirrorPath path;
    JsonMemberReader reader(item);
    reader.take("address", path.address);
    reader.take("up", path.up);
    reader.take("active", path.active);
    reader.take("encryption", path.encryption);
    reader.take("round_trip_ms", path.round_trip_ms);
    reader.take("problem", path.problem);
    outer.adopt_problem("paths", reader);
    paths.push_back(std::move(path));
  }
}

}  // namespace

json mirror_details_to_json(const MirrorDetails& details) {
  return json{{"device", details.device},
              {"metrics", metrics_to_json(details.metrics)},
              {"paths", paths_to_json(details.paths)},
              {"export_kind", details.export_kind},
              {"export_reason", details.export_reason},
              {"nbd_socket", details.nbd_socket},
              {"pending", details.pending}};
}

Result<MirrorDetails> mirror_details_from_json(const json& object) {
  if (!object.is_object()) return fail_as(ErrorCode::kInvalid, "the details of a mirror are not a JSON object");
  MirrorDetails details;
  JsonMemberReader reader(object);
  reader.take("device", details.device);
  take_metrics(reader, details.metrics);
  take_paths(reader, details.paths);
  reader.take("export_kind", details.export_kind);
  reader.take("export_reason", details.export_reason);
  reader.take("nbd_socket", details.nbd_socket);
  reader.take("pending", details.pending);
  if (!reader.problem().empty())
    return fail_as(ErrorCode::kInvalid, "the details of a mirror cannot be read: {}", reader.problem());
  return details;
}

}  // namespace baton
