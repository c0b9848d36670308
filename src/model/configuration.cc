// Look-ups in a configuration, and the timing profiles.
#include "src/model/configuration.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <strings.h>

#include <algorithm>
#include <numeric>

namespace baton {

const char* to_string(NpKind kind) {
  switch (kind) {
    case NpKind::kWitness: return "witness";
    case NpKind::kMajority: return "majority";
    case NpKind::kOperator: return "operator";
    case NpKind::kDisk: return "disk";
    case NpKind::kPing: return "ping";
  }
  return "unknown";
}

const char* to_string(MonitorKind kind) {
  switch (kind) {
    case MonitorKind::kCommand: return "command";
    case MonitorKind::kTcp: return "tcp";
    case MonitorKind::kHttp: return "http";
    case MonitorKind::kDisk: return "disk";
    case MonitorKind::kLog: return "log";
  }
  return "unknown";
}

const char* to_string(AlertKind kind) {
  switch (kind) {
    case AlertKind::kWebhook: return "webhook";
    case AlertKind::kMail: return "mail";
    case AlertKind::kSyslog: return "syslog";
    case AlertKind::kTrap: return "trap";
    case AlertKind::kCommand: return "command";
  }
  return "unknown";
}

const char* to_string(AlertTls tls) {
  switch (tls) {
    case AlertTls::kNone: return "none";
    case AlertTls::kStartTls: return "starttls";
    case AlertTls::kTls: return "tls";
  }
  return "unknown";
}

bool AlertConfiguration::wants(const Note& note) const {
  const auto among = [](const std::vector<std::string>& list, const std::string& what) {
    return list.empty() || std::find(list.begin(), list.end(), what) != list.end();
  };
  return severity_of(note) >= severity && among(kinds, note.kind) && among(groups, note.group);
}

std::string AlertConfiguration::target() const {
  switch (kind) {
    case AlertKind::kWebhook: return url.substr(0, url.find_first_of("/?#", url.find("://") + 3));  // some have a secret in their path
    case AlertKind::kMail: return fmt::format("{} by {} port {}", fmt::join(recipients, ", "), host, port);
    case AlertKind::kSyslog:
      if (transport == AlertTransport::kLocal) return socket;
      return fmt::format("{} port {} ({})", host, port, transport == AlertTransport::kTcp ? "tcp" : "udp");
    case AlertKind::kTrap: return fmt::format("{} port {}", host, port);
    case AlertKind::kCommand: return fmt::format("[{}]", fmt::join(command, " "));
  }
  return "";
}

std::string warning_of(NpKind kind) {
  if (kind != NpKind::kPing) return {};
  return "np = \"ping\" does not promise one owner: with every link between the servers cut, while both reach a target, both go on, and what "
         "one of them answers from then on is given up later, by a person's choice; a witness or a disk in common (np = \"disk\") rules that out";
}

std::optional<TimingProfile> timing_profile(const std::string& name) {
  if (name == "fast") return TimingProfile{"fast", 100ms, 120ms, 100ms, 300ms, 330ms, 15ms, 90000ms};
  if (name == "lan") return TimingProfile{};
  if (name == "wan") return TimingProfile{"wan", 2400ms, 2880ms, 500ms, 2000ms, 6600ms, 500ms, 180000ms};
  return std::nullopt;
}

const char* to_string(ResourceKind kind) {
  switch (kind) {
    case ResourceKind::kMirror:
      return "mirror";
    case ResourceKind::kFilesystem:
      return "filesystem";
    case ResourceKind::kAddress:
      return "address";
    case ResourceKind::kService:
      return "service";
    case ResourceKind::kScript:
      return "script";
  }
  return "unknown";
}

uint32_t usual_restarts(ResourceKind kind) {
  if (kind == ResourceKind::kAddress) return 3;
  return runs_programs(kind) ? 1 : 0;
}

std::optional<FinalAction> final_action(const std::string& name) {
  for (const FinalAction action : {FinalAction::kFailover, FinalAction::kShutdown, FinalAction::kReboot, FinalAction::kStop, FinalAction::kNothing})
    if (name == to_string(action)) return action;
  return std::nullopt;
}

const char* to_string(FinalAction action) {
  switch (action) {
    case FinalAction::kFailover: return "failover";
    case FinalAction::kShutdown: return "shutdown";
    case FinalAction::kReboot: return "reboot";
    case FinalAction::kStop: return "stop";
    case FinalAction::kNothing: return "nothing";
  }
  return "unknown";
}

const char* to_string(Failback failback) {
  switch (failback) {
    case Failback::kNo: return "no";
    case Failback::kOffline: return "offline";
    case Failback::kOnline: return "online";
  }
  return "unknown";
}

std::string to_string(const DayWindow& window) {
  return fmt::format("{:02}:{:02}-{:02}:{:02}", window.from / 1h, window.from % 1h / 1min, window.until / 1h, window.until % 1h / 1min);
}

const char* to_string(LinkMode mode) { return mode == LinkMode::kActive ? "active" : "passive"; }

const ResourceConfiguration* GroupConfiguration::find(const std::string& resource) const {
  for (const ResourceConfiguration& candidate : resources) {
    if (strcasecmp(candidate.name.c_str(), resource.c_str()) == 0) return &candidate;
  }
  return nullptr;
}

const ServerConfiguration* Configuration::server(ServerId id) const {
  for (const ServerConfiguration& candidate : servers) {
    if (candidate.id == id) return &candidate;
  }
  return nullptr;
}

const ServerConfiguration* Configuration::server(const std::string& name) const {
  for (const ServerConfiguration& candidate : servers) {
    if (strcasecmp(candidate.name.c_str(), name.c_str()) == 0) return &candidate;
  }
  return nullptr;
}

const GroupConfiguration* Configuration::group(const std::string& name) const {
  for (const GroupConfiguration& candidate : groups) {
    if (strcasecmp(candidate.name.c_str(), name.c_str()) == 0) return &candidate;
  }
  return nullptr;
}

const AlertConfiguration* Configuration::alert(const std::string& name) const {
  for (const AlertConfiguration& candidate : alerts) {
    if (strcasecmp(candidate.name.c_str(), name.c_str()) == 0) return &candidate;
  }
  return nullptr;
}

std::string Configuration::server_name(ServerId id) const {
  const ServerConfiguration* found = server(id);
  return found ? found->name : fmt::format("server {}", id);
}

milliseconds Configuration::longest_detection() const {
  return timing.token + timing.consensus + TimingProfile::kConsensusStep * (voters().size() / 2);
}

std::vector<ServerId> Configuration::voters() const {
  std::vector<ServerId> ids;
  for (const ServerConfiguration& server : servers) ids.push_back(server.id);
  return ids;
}

std::vector<size_t> Configuration::links_by_priority() const {
  std::vector<size_t> order(servers.empty() ? 0 : servers.front().interconnects.size());
  std::iota(order.begin(), order.end(), 0);
  if (link_priorities.size() != order.size()) return order;
  std::stable_sort(order.begin(), order.end(),
                   [this](size_t left, size_t right) { return link_priorities[left] > link_priorities[right]; });
  return order;
}

const char* to_string(ReturnPolicy policy) { return policy == ReturnPolicy::kAutomatic ? "automatic" : "manual"; }

ReturnPolicy Configuration::return_policy_of(ServerId id) const {
  const ServerConfiguration* found = server(id);
  return found && found->return_policy ? *found->return_policy : return_policy;
}

std::string mirror_key(const std::string& group, const std::string& resource) { return group + "." + resource; }

}  // namespace baton
