// The configuration of Baton's private corosync, as text from plain values. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/base/ids.h"
#include "src/base/result.h"

namespace baton {

/// How soon a silent server is noticed. All values in milliseconds, see corosync.conf(5).
struct EngineTiming {
  std::string name;
  uint32_t token_ms = 0;
  uint32_t consensus_ms = 0;  // at least 1.2 x token
  uint32_t ping_interval_ms = 0;
  uint32_t ping_timeout_ms = 0;
  uint32_t pong_count = 0;  // answers until a link counts as up again

  /// The worst case from silence to a new membership.
  uint32_t detection_ms() const { return token_ms + consensus_ms; }
};

/// "fast", "lan" (the default) or "wan". Error: any other name, with these.
Result<EngineTiming> engine_timing(const std::string& name);

struct EngineNode {
  ServerId id;
  std::string name;
  std::vector<std::string> addresses;  // one per link, in the order of `links`; empty on every node: without that link
};

struct EngineLink {
  uint32_t priority = 1;  // 0 to 255; in passive mode the highest of those that are up carries the traffic
  uint16_t port = 0;      // UDP; 0: 5405 + link number
};

struct EngineConfig {
  std::string cluster_name;
  ServerId self;  // whose corosync reads it: one of the nodes
  bool passive = false;  // over the link of the highest priority that is up, instead of over all
  std::vector<EngineNode> nodes;
  std::vector<EngineLink> links;  // 1 to 8
  EngineTiming timing;
  bool real_time = true;  // no: at the highest ordinary priority, for servers that share processors with each other
  std::string key_file;
  std::string state_directory;
  std::string log_file;
};

/// The text of corosync.conf. Errors (kInvalid): no nodes, no or more than 8 links, a node whose addresses do
/// not match the links, doubled ids or addresses, unsafe timing, or text that would break out of its line.
Result<std::string> corosync_configuration(const EngineConfig& config);

/// What such a text says of each node's address on each link.
std::map<ServerId, std::map<size_t, std::string>> addresses_in(const std::string& text);

/// Corosync changes no address of a link that it has: a link on which one differs from `present` has to go, everywhere,
/// before it comes back. Takes those out, but never the last one; true if there are any.
bool take_changed_links_out(EngineConfig& config, const std::map<ServerId, std::map<size_t, std::string>>& present);

}  // namespace baton
