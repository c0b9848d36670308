// See mirror_settings.h.
#include "src/daemon/mirror_settings.h"

#include <algorithm>
#include <filesystem>
#include <vector>

namespace baton {

namespace {

constexpr milliseconds kShortestLinkTimeout{1000};
constexpr milliseconds kShortestPathTimeout{150};
constexpr milliseconds kLongestPathTimeout{300};
constexpr milliseconds kFreezeLimit{10000};  // as node::Settings: then the groups here are killed anyway
constexpr size_t kMirrorConnects = 2;

/// Silence on a mirror connect after which it is dropped. Not below what the cluster takes to find a server dead: a
/// primary that drops its peer sooner only asks for a decision that the cluster cannot make yet.
milliseconds link_timeout(const TimingProfile& timing) { return std::max(kShortestLinkTimeout, 2 * timing.token); }

/// Silence on one of two mirror connects after which the other one is used: before the cluster would find a server dead.
milliseconds path_timeout(const TimingProfile& timing) {
  return std::clamp(timing.token * 3 / 2, kShortestPathTimeout, kLongestPathTimeout);
}

/// Over the links of the highest priorities; the first is preferred.
void set_addresses(const Configuration& configuration, mirror_control::DaemonSettings& settings) {
  const auto* own = configuration.server(settings.self);
  const auto* peer = configuration.server(settings.peer);
  for (const size_t link : configuration.links_by_priority()) {
    if (settings.peer_addresses.size() == kMirrorConnects) break;
    if (settings.peer_addresses.empty()) {
      settings.listen_address = own->interconnects[link];
    } else {
      settings.more_listen_addresses.push_back(own->interconnects[link]);
    }
    settings.peer_addresses.push_back(peer->interconnects[link]);
  }
}

}  // namespace

mirror_control::DaemonSettings make_mirror_settings(const Configuration& configuration, ServerId self,
                                                    const GroupConfiguration& group,
                                                    const ResourceConfiguration& resource, const MirrorPlaces& places) {
  const MirrorConfiguration& mirror = resource.mirror;
  mirror_control::DaemonSettings settings;
  settings.key = mirror_key(group.name, resource.name);
  settings.self = self;
  for (const auto server : group.servers)
    if (server != self) settings.peer = server;
  settings.store = mirror.store;
  settings.metadata =
      mirror.metadata.empty() ? places.state_directory + "/mirror/" + settings.key + ".meta" : mirror.metadata;
  settings.size_bytes = mirror.size_bytes;
  set_addresses(configuration, settings);
  settings.port = mirror.port;
  settings.cluster_key_file = places.configuration_directory + "/cluster.key";
  settings.lease_page = places.run_directory + "/lease";
  settings.socket = places.run_directory + "/mirror-" + settings.key + ".sock";
  settings.export_directory = places.run_directory + "/export-" + settings.key;
  settings.protocol = mirror.protocol;
  settings.encrypt = mirror.encrypt;
  // A directory for each mirror: two daemons that start at the same time never mix their files.
  const std::string certificates = places.state_directory + "/tls/" + settings.key;
  settings.certificate_file = certificates + "/server.pem";
  settings.private_key_file = certificates + "/server.key";
  settings.authority_file = certificates + "/authority.pem";
  settings.compress = mirror.compress;
  settings.disk_timeout = mirror.disk_timeout;
  settings.peer_timeout = mirror.peer_timeout;
  settings.max_lag = mirror.max_lag;
  settings.link_timeout = link_timeout(configuration.timing);
  settings.path_timeout = path_timeout(configuration.timing);
  settings.freeze_limit = kFreezeLimit;
  settings.export_kind = mirror.export_kind;
  settings.nbd_socket = places.run_directory + "/nbd/" + settings.key + ".sock";
  std::error_code ignored;
  const std::string faults = places.run_directory + "/faults";
  if (std::filesystem::is_directory(faults, ignored)) settings.fault_file = faults + "/" + settings.key;
  settings.rate_limit = mirror.rate;
  return settings;
}

void make_mirror_directories(const mirror_control::DaemonSettings& settings) {
  std::error_code ignored;
  const auto certificates = std::filesystem::path(settings.certificate_file).parent_path();
  std::filesystem::create_directories(certificates, ignored);
  std::filesystem::permissions(certificates, std::filesystem::perms::owner_all, ignored);
  std::filesystem::create_directories(std::filesystem::path(settings.nbd_socket).parent_path(), ignored);
}

std::string settings_that_need_a_restart(const mirror_control::DaemonSettings& running,
                                         const mirror_control::DaemonSettings& wanted) {
  std::vector<std::string> differ;
  const auto compare = [&](bool same, const char* name) {
    if (!same) differ.push_back(name);
  };
  compare(running.protocol == wanted.protocol, "protocol");
  compare(running.encrypt == wanted.encrypt, "encrypt");
  compare(running.compress == wanted.compress, "compress");
  compare(running.disk_timeout == wanted.disk_timeout, "disk_timeout");
  compare(running.peer_timeout == wanted.peer_timeout, "peer_timeout");
  compare(running.max_lag == wanted.max_lag, "max_lag");
  compare(running.export_kind == wanted.export_kind, "export");
  if (differ.empty()) {
    // Whatever else differs (a mirror that was never used may change altogether) counts as one thing.
    auto same_but_live = running;
    same_but_live.size_bytes = wanted.size_bytes;
    same_but_live.rate_limit = wanted.rate_limit;
    compare(mirror_control::encode(same_but_live) == mirror_control::encode(wanted), "settings");
  }
  std::string text;
  for (const auto& name : differ) text += (text.empty() ? "" : ", ") + name;
  return text;
}

bool may_restart_mirror(const GroupState& group, ServerId self) {
  const bool down = group.phase == GroupPhase::kStopped || group.phase == GroupPhase::kFailed;
  if (down) return !group.wanted || group.phase == GroupPhase::kFailed;
  return group.owner != self && group.phase == GroupPhase::kStarted;
}

}  // namespace baton
