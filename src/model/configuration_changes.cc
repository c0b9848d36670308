// What differs between two configurations, in lines for people. Every thing is listed as (property, value)
// pairs and the lists are compared, so that a new property needs one line here.
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "src/model/configuration_toml.h"

namespace baton {
namespace {

using Properties = std::vector<std::pair<std::string, std::string>>;

std::string quote_command(const std::vector<std::string>& command) {
  return command.empty() ? "none" : fmt::format("[{}]", fmt::join(command, " "));
}

std::string list_or_none(const std::vector<std::string>& names) {
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

std::string describe_np(const Configuration& configuration) {
  if (configuration.np == NpKind::kDisk)
    return fmt::format("disk {} (an operator is called for after {})", configuration.np_disk, format_duration(configuration.np_wait));
  if (configuration.np == NpKind::kPing)
    return fmt::format("ping {} (an operator is called for after {}; two owners are possible)", fmt::join(configuration.ping_targets, ", "),
                       format_duration(configuration.np_wait));
  if (configuration.np != NpKind::kOperator) return to_string(configuration.np);
  return fmt::format("operator (called for after {})", format_duration(configuration.np_wait));
}

Properties cluster_properties(const Configuration& configuration) {
  const TimingProfile& timing = configuration.timing;
  return {{"name", configuration.cluster_name},
          {"link mode", to_string(configuration.link_mode)},
          {"link priorities", fmt::format("{}", fmt::join(configuration.link_priorities, ", "))},
          {"public LAN", configuration.public_lan.empty() ? "none" : configuration.public_lan},
          {"network partitions", describe_np(configuration)},
          {"fencing", configuration.fencing_required ? "required" : "besides"},
          {"timing",
           fmt::format("{} (token {}, consensus {}, link ping {}/{}, lease {}, beat {}, restart grace {})",
                       timing.name, format_duration(timing.token), format_duration(timing.consensus),
                       format_duration(timing.link_ping_interval), format_duration(timing.link_ping_timeout),
                       format_duration(timing.lease), format_duration(timing.beat),
                       format_duration(timing.restart_grace))},
          {"return", to_string(configuration.return_policy)},
          {"startup wait", format_duration(configuration.startup_wait)},
          {"breaker", fmt::format("{} groups, {} failovers within {}", configuration.breaker.groups,
                                  configuration.breaker.failovers, format_duration(configuration.breaker.window))},
          {"flapping", fmt::format("{} losses within {}, held for {}", configuration.flapping.losses,
                                   format_duration(configuration.flapping.window),
                                   format_duration(configuration.flapping.hold))},
          {"power off command", quote_command(configuration.power_off_command)},
          {"reboot command", quote_command(configuration.reboot_command)}};
}

/// Without the options' values: there are passwords among them.
std::string describe_fence(const FenceConfiguration& fence) {
  if (fence.agent.empty()) return "none";
  std::vector<std::string> names;
  for (const auto& [name, value] : fence.options) names.push_back(name);
  return fmt::format("{} ({}) within {}{}", fence.agent, fmt::join(names, ", "), format_duration(fence.timeout),
                     fence.restart ? ", then on again" : "");
}

std::string describe_amounts(const Amounts& amounts) {
  std::vector<std::string> parts;
  for (const auto& [name, amount] : amounts) parts.push_back(fmt::format("{} {}", amount, name));
  return list_or_none(parts);
}

Properties server_properties(const ServerConfiguration& server) {
  return {{"id", fmt::format("{}", server.id)},
          {"role", server.role == ServerRole::kWitness ? "witness" : "server"},
          {"interconnects", fmt::format("{}", fmt::join(server.interconnects, ", "))},
          {"watchdog", server.watchdog.empty() ? "none" : server.watchdog},
          {"fence", describe_fence(server.fence)},
          {"return", server.return_policy ? to_string(*server.return_policy) : "none"},
          {"capacity", describe_amounts(server.capacity)}};
}

Properties group_properties(const Configuration& configuration, const GroupConfiguration& group) {
  std::vector<std::string> names;
  for (ServerId id : group.servers) names.push_back(configuration.server_name(id));
  return {{"servers", fmt::format("{}", fmt::join(names, ", "))},
          {"startup", group.startup == Startup::kAutomatic ? "automatic" : "manual"},
          {"failback", to_string(group.failback)},
          {"failback window", group.failback_window ? to_string(*group.failback_window) : "none"},
          {"start after", list_or_none(group.start_after)},
          {"exclusive", group.exclusive ? "yes" : "none"},
          {"with", list_or_none(group.with)},
          {"apart from", list_or_none(group.apart_from)},
          {"rather apart from", list_or_none(group.prefer_apart_from)},
          {"rather with", list_or_none(group.prefer_with)},
          {"needs", describe_amounts(group.needs)}};
}

std::string quote_environment(const std::map<std::string, std::string>& environment) {
  std::vector<std::string> list;
  for (const auto& [name, value] : environment) list.push_back(name + "=" + value);
  return quote_command(list);
}

void add_service_properties(const ServiceConfiguration& service, Properties& properties) {
  properties.insert(
      properties.end(),
      {{"command", quote_command(service.command)},
       {"prepare", quote_command(service.prepare)},
       {"ready", quote_command(service.ready)},
       {"user", service.user},
       {"directory", service.directory},
       {"environment", quote_environment(service.environment)},
       {"stop signal", service.stop_signal}});
}

Properties script_properties(const ScriptConfiguration& script) {
  return {{"start", quote_command(script.start)},
          {"stop", quote_command(script.stop)},
          {"user", script.user},
          {"directory", script.directory},
          {"environment", quote_environment(script.environment)},
          {"on disk failure", script.on_disk_failure ? "yes" : "none"},
          {"on return", script.on_return ? "yes" : "none"}};
}

Properties mirror_properties(const MirrorConfiguration& mirror) {
  return {{"size", format_size(mirror.size_bytes)},
          {"store", mirror.store},
          {"port", std::to_string(mirror.port)},
          {"metadata", mirror.metadata.empty() ? "none" : mirror.metadata},
          {"protocol", to_string(mirror.protocol)},
          {"encryption", mirror.encrypt ? "on" : "off"},
          {"compression", mirror.compress ? "on" : "off"},
          {"disk timeout", format_duration(mirror.disk_timeout)},
          {"peer timeout", format_duration(mirror.peer_timeout)},
          {"max lag", mirror.max_lag == milliseconds(0) ? "none" : format_duration(mirror.max_lag)},
          {"rate", format_rate(mirror.rate)},
          {"export", mirror.export_kind},
          {"adopt", mirror.adopt.empty() ? "none" : mirror.adopt}};
}

/// When a changed setting of a mirror works, as batond carries it out (src/daemon/mirror_settings.h).
std::string when_it_works(const std::string& property) {
  static const std::vector<std::string> later = {"protocol", "compression", "disk timeout", "peer timeout", "export"};
  if (property == "size" || property == "rate") return " (at once)";
  if (property == "encryption") return " (only while the group is stopped)";
  if (property == "max lag") return " (when the group next moves or stops; smaller only while it is stopped)";
  if (property == "adopt") return " (only before the mirror is first used)";
  const bool is_later = std::find(later.begin(), later.end(), property) != later.end();
  return is_later ? " (the secondary at once, the primary when the group next moves or stops)" : "";
}

Properties resource_properties(const ResourceConfiguration& resource) {
  Properties properties;
  switch (resource.kind) {
    case ResourceKind::kMirror:
      properties = mirror_properties(resource.mirror);
      break;
    case ResourceKind::kFilesystem:
      properties = {{"mirror", resource.filesystem.mirror},
                    {"type", resource.filesystem.type},
                    {"mount", resource.filesystem.mount_point},
                    {"options", resource.filesystem.options.empty() ? "none" : resource.filesystem.options}};
      break;
    case ResourceKind::kAddress:
      properties = {
          {"address", fmt::format("{}/{}", resource.address.address, resource.address.prefix_length)}};
      break;
    case ResourceKind::kService:
      add_service_properties(resource.service, properties);
      break;
    case ResourceKind::kScript:
      properties = script_properties(resource.script);
      break;
  }
  if (!is_storage(resource.kind)) {
    properties.push_back({"restarts", fmt::format("{} within {}", resource.restarts, format_duration(resource.restart_window))});
    properties.push_back({"on failure", to_string(resource.on_failure)});
  }
  properties.push_back(
      {"after", list_or_none(resource.after)});
  properties.push_back({"start timeout", format_duration(resource.start_timeout)});
  properties.push_back({"stop timeout", format_duration(resource.stop_timeout)});
  return properties;
}

Properties monitor_properties(const MonitorConfiguration& monitor) {
  std::string asks = monitor.url;
  if (monitor.kind == MonitorKind::kCommand) asks = quote_command(monitor.command) + (monitor.user == "root" ? "" : " as " + monitor.user);
  if (monitor.kind == MonitorKind::kTcp) asks = fmt::format("{} port {}", monitor.host, monitor.port);
  if (monitor.kind == MonitorKind::kDisk) asks = monitor.path;
  if (monitor.kind == MonitorKind::kLog) asks = fmt::format("{}, for \"{}\"", monitor.path, monitor.pattern);
  const bool http = monitor.kind == MonitorKind::kHttp;
  return {{"of", monitor.of},
          {to_string(monitor.kind), asks},
          {"expects", !http ? "none" : fmt::format("{}{}", fmt::join(monitor.status, ", "), monitor.text.empty() ? "" : ", \"" + monitor.text + "\"")},
          {"authority", monitor.authority.empty() ? "none" : monitor.authority},
          {"interval", format_duration(monitor.interval)},
          {"timeout", format_duration(monitor.timeout)},
          {"delay", monitor.delay == 0ms ? "none" : format_duration(monitor.delay)},
          {"failures", std::to_string(monitor.failures)}};
}

Properties alert_properties(const AlertConfiguration& alert) {
  const bool mail = alert.kind == AlertKind::kMail;
  return {{to_string(alert.kind), alert.kind == AlertKind::kWebhook ? alert.url : alert.target()},
          {"from", mail ? alert.from : "none"},
          {"TLS", mail ? to_string(alert.tls) : "none"},
          {"authority", alert.authority.empty() ? "none" : alert.authority},
          {"user", alert.user.empty() ? "none" : alert.user},
          {"password file", alert.password_file.empty() ? "none" : alert.password_file},
          {"community file", alert.community_file.empty() ? "none" : alert.community_file},
          {"severity", to_string(alert.severity)},
          {"kinds", list_or_none(alert.kinds)},
          {"groups", list_or_none(alert.groups)},
          {"timeout", format_duration(alert.timeout)},
          {"limit", fmt::format("{} in {}", alert.limit_events, format_duration(alert.limit_window))},
          {"retry", fmt::format("{} to {}, for {}", format_duration(alert.retry_first), format_duration(alert.retry_longest),
                                format_duration(alert.retry_age))}};
}

/// All things of a configuration in file order, with their properties.
std::vector<std::pair<std::string, Properties>> list_things(const Configuration& configuration) {
  std::vector<std::pair<std::string, Properties>> things;
  things.push_back({"cluster", cluster_properties(configuration)});
  for (const ServerConfiguration& server : configuration.servers) {
    things.push_back({"server " + server.name, server_properties(server)});
  }
  for (const GroupConfiguration& group : configuration.groups) {
    things.push_back({"group " + group.name, group_properties(configuration, group)});
    for (const ResourceConfiguration& resource : group.resources) {
      things.push_back({fmt::format("group {}: {} {}", group.name, to_string(resource.kind), resource.name),
                        resource_properties(resource)});
    }
    for (const MonitorConfiguration& monitor : group.monitors)
      things.push_back({fmt::format("group {}: monitor {}", group.name, monitor.name), monitor_properties(monitor)});
  }
  for (const AlertConfiguration& alert : configuration.alerts) things.push_back({"alert " + alert.name, alert_properties(alert)});
  return things;
}

/// "(id 3, role server)": the properties of a thing that comes.
std::string summary(const Properties& properties) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : properties) {
    if (value != "none") parts.push_back(name + " " + value);
  }
  return fmt::format("({})", fmt::join(parts, ", "));
}

}  // namespace

std::vector<std::string> describe_changes(const Configuration& before, const Configuration& after) {
  std::vector<std::string> lines;
  auto old_things = list_things(before);
  auto new_things = list_things(after);
  std::map<std::string, Properties> old_by_name(old_things.begin(), old_things.end());
  std::map<std::string, Properties> new_by_name(new_things.begin(), new_things.end());
  for (const auto& [name, properties] : old_things) {
    if (!new_by_name.contains(name)) lines.push_back(fmt::format("remove {}", name));
  }
  for (const auto& [name, properties] : new_things) {
    auto old = old_by_name.find(name);
    if (old == old_by_name.end()) {
      lines.push_back(fmt::format("add {} {}", name, summary(properties)));
      continue;
    }
    for (size_t place = 0; place < properties.size(); ++place) {
      if (old->second[place] == properties[place]) continue;
      const bool is_mirror = name.find(": mirror ") != std::string::npos;
      lines.push_back(fmt::format("change {}: {}: {} -> {}{}", name, properties[place].first,
                                  old->second[place].second, properties[place].second,
                                  is_mirror ? when_it_works(properties[place].first) : ""));
    }
  }
  return lines;
}

}  // namespace baton
