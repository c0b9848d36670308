// See corosync_config.h. Why these values: timers were measured on busy small machines.
// - knet's threads tick every 200 ms; a ping time-out of 150 ms drops healthy links every few seconds.
// - With a token shorter than the ping time-out a dead link must not stop the token, hence link_mode active: every
//   packet goes over all links. Passive is for longer tokens only.
// - Beats come all the time. After each the token would go round 30 more times before it rests: half a core in `fast`.
//   Who has something to send while it rests wakes it up.
// - Who has the lowest id of those that are left makes the new ring, once it has heard from each of them who is to be left out.
//   If another one's consensus timer ends first, they agree by its word, and the maker waits until they all say it again: `join`.
//   So the lowest one's timer ends first, and `join` is as short as corosync lets it be.
// - token_coefficient would add 650 ms for each node above two.
#include "src/os/corosync_config.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <sstream>

#include "src/model/configuration.h"

namespace baton {

namespace {

constexpr uint16_t kFirstPort = 5405;
constexpr size_t kMaximumLinks = 8;
constexpr uint32_t kShortestPingTimeout = 200;
constexpr uint32_t kMostRetransmits = 4;  // corosync's own choice
constexpr int kIdleRounds = 2;
// A lost message is asked for when it is first missed. After five rounds, as corosync would, those that forget the former key do
// so before a member that lost the word for it: it would be cut off. docs/protocol.md, K5.
constexpr int kMissedRounds = 1;
constexpr int kJoinMs = 30;            // the least that corosync takes; its own choice is 50

/// How often a lost token is sent again: corosync wants 30 ms between two, of token / (retransmits + 0.2).
uint32_t token_retransmits(const EngineTiming& timing) {
  return std::clamp((timing.token_ms - 6) / 30, 1u, kMostRetransmits);
}

/// The agreement of this node, so that the lower ones come first.
int64_t staggered_consensus(const EngineConfig& config) {
  const auto lower = std::count_if(config.nodes.begin(), config.nodes.end(),
                                   [&](const EngineNode& node) { return node.id < config.self; });
  return config.timing.consensus_ms + TimingProfile::kConsensusStep.count() * lower;
}

bool is_plain(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char letter) {
    return letter > ' ' && letter < 0x7f && letter != '{' && letter != '}' && letter != '#';
  });
}

Status check_timing(const EngineTiming& timing) {
  if (timing.token_ms < 100 || timing.consensus_ms * 10 < timing.token_ms * 12) {
    return fail_as(
        ErrorCode::kInvalid,
        "timing profile '{}': the token must be at least 100 ms (is {}) and consensus at least 1.2 times "
        "that (is {})",
        timing.name, timing.token_ms, timing.consensus_ms);
  }
  if (timing.ping_timeout_ms < kShortestPingTimeout || timing.ping_interval_ms * 2 > timing.ping_timeout_ms) {
    return fail_as(
        ErrorCode::kInvalid,
        "timing profile '{}': the ping time-out must be at least {} ms (is {}) and twice the interval "
        "(is {}): shorter ones drop links that are well",
        timing.name, kShortestPingTimeout, timing.ping_timeout_ms, timing.ping_interval_ms);
  }
  return {};
}

bool is_left_out(const EngineConfig& config, size_t link) { return config.nodes.front().addresses[link].empty(); }

Status check_nodes(const EngineConfig& config) {
  if (config.nodes.empty()) return fail_as(ErrorCode::kInvalid, "a cluster needs at least one server");
  std::set<ServerId> ids;
  std::set<std::string> addresses;
  for (const auto& node : config.nodes) {
    if (node.id.value == 0 || !ids.insert(node.id).second) {
      return fail_as(ErrorCode::kInvalid, "server {}: id {} is 0 or used twice", node.name, node.id);
    }
    if (!is_plain(node.name))
      return fail_as(ErrorCode::kInvalid, "server name '{}' has unfit letters", node.name);
    if (node.addresses.size() != config.links.size()) {
      return fail_as(ErrorCode::kInvalid,
                     "server {} has {} interconnect addresses, but there are {} interconnects", node.name,
                     node.addresses.size(), config.links.size());
    }
    for (size_t link = 0; link < node.addresses.size(); ++link) {
      const std::string& address = node.addresses[link];
      if (is_left_out(config, link) && address.empty()) continue;
      if (is_left_out(config, link) || !is_plain(address) || !addresses.insert(address).second) {
        return fail_as(ErrorCode::kInvalid, "server {}: interconnect address '{}' is unfit or used twice",
                       node.name, address);
      }
    }
  }
  return {};
}

Status check(const EngineConfig& config) {
  if (config.links.empty() || config.links.size() > kMaximumLinks) {
    return fail_as(ErrorCode::kInvalid, "a cluster needs 1 to {} interconnects, not {}", kMaximumLinks,
                   config.links.size());
  }
  for (const auto* text : {&config.cluster_name, &config.key_file, &config.state_directory, &config.log_file}) {
    if (!is_plain(*text)) return fail_as(ErrorCode::kInvalid, "'{}' is empty or has unfit letters", *text);
  }
  for (const auto& link : config.links) {
    if (link.priority > 255)
      return fail_as(ErrorCode::kInvalid, "a link's priority must be from 0 to 255, not {}", link.priority);
  }
  if (config.passive && config.timing.token_ms <= config.timing.ping_timeout_ms) {
    return fail_as(ErrorCode::kInvalid,
                   "link mode passive needs a token ({} ms) longer than the ping time-out ({} ms): until then a dead "
                   "link is used", config.timing.token_ms, config.timing.ping_timeout_ms);
  }
  auto nodes = check_nodes(config);
  return nodes ? check_timing(config.timing) : nodes;
}

std::string totem_section(const EngineConfig& config) {
  const auto& timing = config.timing;
  std::string text = fmt::format(
      "totem {{\n"
      "    version: 2\n"
      "    cluster_name: {}\n"
      "    transport: knet\n"
      "    link_mode: {}\n"
      "    crypto_model: openssl\n"
      "    crypto_cipher: aes256\n"
      "    crypto_hash: sha256\n"
      "    keyfile: {}\n"
      "    token: {}\n"
      "    token_coefficient: 0\n"
      "    consensus: {}\n"
      "    join: {}\n"
      "    token_retransmits_before_loss_const: {}\n"
      "    seqno_unchanged_const: {}\n"
      "    miss_count_const: {}\n",
      config.cluster_name, config.passive ? "passive" : "active", config.key_file, timing.token_ms,
      staggered_consensus(config), kJoinMs, token_retransmits(timing), kIdleRounds, kMissedRounds);
  for (size_t number = 0; number < config.links.size(); ++number) {
    if (is_left_out(config, number)) continue;
    const auto& link = config.links[number];
    text += fmt::format(
        "    interface {{\n"
        "        linknumber: {}\n"
        "        knet_link_priority: {}\n"
        "        mcastport: {}\n"
        "        knet_ping_interval: {}\n"
        "        knet_ping_timeout: {}\n"
        "        knet_pong_count: {}\n"
        "    }}\n",
        number, link.priority, link.port != 0 ? link.port : kFirstPort + number, timing.ping_interval_ms,
        timing.ping_timeout_ms, timing.pong_count);
  }
  return text + "}\n";
}

std::string node_section(const EngineNode& node) {
  std::string text = fmt::format("    node {{\n        nodeid: {}\n        name: {}\n", node.id, node.name);
  for (size_t number = 0; number < node.addresses.size(); ++number) {
    if (!node.addresses[number].empty()) text += fmt::format("        ring{}_addr: {}\n", number, node.addresses[number]);
  }
  return text + "    }\n";
}

}  // namespace

Result<EngineTiming> engine_timing(const std::string& name) {
  if (name == "fast") return EngineTiming{name, 100, 120, 100, 300, 2};
  if (name == "lan") return EngineTiming{name, 380, 456, 200, 600, 2};
  if (name == "wan") return EngineTiming{name, 2400, 2880, 500, 2000, 2};
  return fail_as(ErrorCode::kInvalid, "no timing profile '{}': choose fast, lan or wan", name);
}

Result<std::string> corosync_configuration(const EngineConfig& config) {
  auto checked = check(config);
  if (!checked) return pass(checked);
  std::string text = "# Written by batond at each start; changes made here are lost.\n" + totem_section(config);
  text += "nodelist {\n";
  for (const auto& node : config.nodes) text += node_section(node);
  text += "}\n";
  text += fmt::format(
      "system {{\n"
      "    state_dir: {}\n"
      "    sched_rr: {}\n"
      "    priority: max\n"
      "    move_to_root_cgroup: auto\n"
      "}}\n"
      "logging {{\n"
      "    to_stderr: no\n"
      "    to_syslog: no\n"
      "    to_logfile: yes\n"
      "    logfile: {}\n"
      "    timestamp: hires\n"
      "}}\n",
      config.state_directory, config.real_time ? "yes" : "no", config.log_file);
  return text;
}

std::map<ServerId, std::map<size_t, std::string>> addresses_in(const std::string& text) {
  std::map<ServerId, std::map<size_t, std::string>> addresses;
  std::istringstream lines(text);
  ServerId node;
  for (std::string line; std::getline(lines, line);) {
    unsigned int id = 0, link = 0;
    char address[128];
    if (std::sscanf(line.c_str(), " nodeid: %u", &id) == 1) node = ServerId{id};
    if (std::sscanf(line.c_str(), " ring%u_addr: %127s", &link, address) == 2) addresses[node][link] = address;
  }
  return addresses;
}

bool take_changed_links_out(EngineConfig& config, const std::map<ServerId, std::map<size_t, std::string>>& present) {
  std::set<size_t> changed;
  for (const auto& node : config.nodes) {
    const auto known = present.find(node.id);
    if (known == present.end()) continue;
    for (const auto& [link, address] : known->second)
      if (link < node.addresses.size() && node.addresses[link] != address) changed.insert(link);
  }
  if (changed.empty() || changed.size() == config.links.size()) return false;
  for (auto& node : config.nodes)
    for (const size_t link : changed) node.addresses[link].clear();
  return true;
}

}  // namespace baton
