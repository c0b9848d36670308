// The settings file of a mirror daemon. Members that came later have defaults: an old file stays readable. nlohmann's
// exceptions end here.
#include <nlohmann/json.hpp>

#include "src/format/mirror_control.h"

namespace baton::mirror_control {
namespace {

using nlohmann::json;

MirrorProtocol protocol_from_text(const std::string& text) {
  if (text == "A") return MirrorProtocol::kA;
  if (text == "B") return MirrorProtocol::kB;
  if (text == "C") return MirrorProtocol::kC;
  throw std::invalid_argument("unknown protocol \"" + text + "\"");
}

milliseconds duration_of(const json& object, const char* name, milliseconds otherwise) {
  return milliseconds(object.value(name, int64_t{otherwise.count()}));
}

void take_later_members(const json& object, DaemonSettings& settings) {
  settings.more_listen_addresses = object.value("more_listen_addresses", settings.more_listen_addresses);
  settings.protocol = protocol_from_text(object.value("protocol", std::string("C")));
  settings.encrypt = object.value("encrypt", settings.encrypt);
  settings.certificate_file = object.value("certificate_file", settings.certificate_file);
  settings.private_key_file = object.value("private_key_file", settings.private_key_file);
  settings.authority_file = object.value("authority_file", settings.authority_file);
  settings.compress = object.value("compress", settings.compress);
  settings.disk_timeout = duration_of(object, "disk_timeout_ms", settings.disk_timeout);
  settings.peer_timeout = duration_of(object, "peer_timeout_ms", settings.peer_timeout);
  settings.max_lag = duration_of(object, "max_lag_ms", settings.max_lag);
  settings.link_timeout = duration_of(object, "link_timeout_ms", settings.link_timeout);
  settings.path_timeout = duration_of(object, "path_timeout_ms", settings.path_timeout);
  settings.freeze_limit = duration_of(object, "freeze_limit_ms", settings.freeze_limit);
  settings.export_kind = object.value("export_kind", settings.export_kind);
  settings.nbd_socket = object.value("nbd_socket", settings.nbd_socket);
  settings.fault_file = object.value("fault_file", settings.fault_file);
  settings.rate_limit = object.value("rate_limit", settings.rate_limit);
}

DaemonSettings settings_from_json(const json& object) {
  DaemonSettings settings;
  settings.key = object.at("key").get<std::string>();
  settings.self = ServerId(object.at("self").get<uint32_t>());
  settings.peer = ServerId(object.at("peer").get<uint32_t>());
  settings.store = object.at("store").get<std::string>();
  settings.metadata = object.at("metadata").get<std::string>();
  settings.size_bytes = object.at("size_bytes").get<uint64_t>();
  settings.listen_address = object.at("listen_address").get<std::string>();
  settings.peer_addresses = object.at("peer_addresses").get<std::vector<std::string>>();
  settings.port = object.value("port", settings.port);
  settings.cluster_key_file = object.at("cluster_key_file").get<std::string>();
  settings.lease_page = object.at("lease_page").get<std::string>();
  settings.socket = object.at("socket").get<std::string>();
  settings.export_directory = object.at("export_directory").get<std::string>();
  take_later_members(object, settings);
  return settings;
}

}  // namespace

std::string encode(const DaemonSettings& settings) {
  return json{{"key", settings.key},
              {"self", settings.self.value},
              {"peer", settings.peer.value},
              {"store", settings.store},
              {"metadata", settings.metadata},
              {"size_bytes", settings.size_bytes},
              {"listen_address", settings.listen_address},
              {"more_listen_addresses", settings.more_listen_addresses},
              {"peer_addresses", settings.peer_addresses},
              {"port", settings.port},
              {"cluster_key_file", settings.cluster_key_file},
              {"lease_page", settings.lease_page},
              {"socket", settings.socket},
              {"export_directory", settings.export_directory},
              {"protocol", to_string(settings.protocol)},
              {"encrypt", settings.encrypt},
              {"certificate_file", settings.certificate_file},
              {"private_key_file", settings.private_key_file},
              {"authority_file", settings.authority_file},
              {"compress", settings.compress},
              {"disk_timeout_ms", settings.disk_timeout.count()},
              {"peer_timeout_ms", settings.peer_timeout.count()},
              {"max_lag_ms", settings.max_lag.count()},
              {"link_timeout_ms", settings.link_timeout.count()},
              {"path_timeout_ms", settings.path_timeout.count()},
              {"freeze_limit_ms", settings.freeze_limit.count()},
              {"export_kind", settings.export_kind},
              {"nbd_socket", settings.nbd_socket},
              {"fault_file", settings.fault_file},
              {"rate_limit", settings.rate_limit}}
      .dump(2);
}

Result<DaemonSettings> decode_daemon_settings(const std::string& text) {
  try {
    return settings_from_json(json::parse(text));
  } catch (const std::exception& problem) {
    return fail_as(ErrorCode::kInvalid, "the mirror daemon's settings cannot be read: {}", problem.what());
  }
}

}  // namespace baton::mirror_control
