// See committed_members.h.
#include "src/model/committed_members.h"

#include <algorithm>

namespace baton {

namespace {
constexpr uint32_t kMostIds = 63;
}  // namespace

bool has_left(const ClusterState& state, const Configuration& configuration, ServerId server) {
  // SAFETY: J5. Until the settling entry is committed it may be cut off, and the majority of before is needed again.
  return configuration.server(server) == nullptr && !state.voters.contains(server);
}

ServerId free_id(const ClusterState& state, const Configuration& configuration) {
  uint32_t next = 1;
  for (const auto& server : configuration.servers) next = std::max(next, server.id.value + 1);
  // SAFETY: V6.
  if (next <= kMostIds && has_left(state, configuration, ServerId{next})) return ServerId{next};
  for (uint32_t id = 1; id <= kMostIds; ++id)
    if (has_left(state, configuration, ServerId{id})) return ServerId{id};
  return ServerId{};
}

}  // namespace baton
