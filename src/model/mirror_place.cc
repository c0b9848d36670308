// See mirror_place.h.
#include "src/model/mirror_place.h"

namespace baton {

MirrorPlace find_mirror(const Configuration& configuration, const std::string& key) {
  for (const auto& group : configuration.groups)
    for (const auto& resource : group.resources)
      if (resource.kind == ResourceKind::kMirror && mirror_key(group.name, resource.name) == key)
        return {&group, &resource};
  return {};
}

ServerId first_primary(const Configuration& configuration, const GroupConfiguration& group) {
  for (const auto& resource : group.resources) {
    if (resource.kind != ResourceKind::kMirror || resource.mirror.adopt.empty()) continue;
    if (const auto* server = configuration.server(resource.mirror.adopt)) return server->id;
  }
  return group.servers.front();
}

bool trailing_may_take_over(const Configuration& configuration, const std::string& key) {
  const MirrorPlace place = find_mirror(configuration, key);
  if (!place) return false;
  const MirrorConfiguration& mirror = place.resource->mirror;
  return mirror.protocol == MirrorProtocol::kA && mirror.max_lag > milliseconds(0);
}

ResourceConfiguration with_changeable_members(ResourceConfiguration resource, const ResourceConfiguration& other) {
  MirrorConfiguration& mirror = resource.mirror;
  mirror.size_bytes = other.mirror.size_bytes;
  mirror.protocol = other.mirror.protocol;
  mirror.encrypt = other.mirror.encrypt;
  mirror.compress = other.mirror.compress;
  mirror.disk_timeout = other.mirror.disk_timeout;
  mirror.peer_timeout = other.mirror.peer_timeout;
  mirror.max_lag = other.mirror.max_lag;
  mirror.rate = other.mirror.rate;
  mirror.export_kind = other.mirror.export_kind;
  mirror.adopt = other.mirror.adopt;
  return resource;
}

}  // namespace baton
