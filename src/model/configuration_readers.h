// The readers of the parts of the file, and what they know together. Internal to the configuration's reading.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "src/model/configuration_network.h"
#include "src/model/configuration_table.h"

namespace baton {

/// A configuration being read, and what must not be used twice in it.
struct ConfigurationDraft {
  Configuration configuration;
  ConfigurationFindings findings;
  std::optional<Ipv4Network> public_lan;
  std::optional<NpKind> np;                   // as written
  std::map<uint32_t, std::string> addresses;  // IPv4 address -> whose it is
  std::map<std::string, std::string> stores;  // path -> mirror
  std::map<std::string, std::string> mounts;  // path -> filesystem
  std::map<uint16_t, std::string> ports;      // TCP port -> mirror
  uint32_t mirror_count = 0;

  /// A key is used that only voters of this level understand.
  void needs_level(uint32_t level) { configuration.level = std::max(configuration.level, level); }
};

/// `np` and what belongs to it, and, once the servers are known, its default and whether it fits them.
void read_np(SectionReader& cluster, ConfigurationDraft& draft);
void settle_np(ConfigurationDraft& draft);
void read_cluster(SectionReader& file, ConfigurationDraft& draft);
/// `timing` and the links' settings of [cluster]; the sums that cannot work are reported.
void read_timing(SectionReader& cluster, ConfigurationDraft& draft);
/// REQUIRES: the timing has been read.
void read_links(SectionReader& cluster, ConfigurationDraft& draft);
/// REQUIRES: the servers have been read. Gives links without a priority one: the first is preferred.
void check_link_priorities(ConfigurationDraft& draft);
void read_servers(SectionReader& file, ConfigurationDraft& draft);
/// `[cluster] fencing`, `[server.NAME.fence]`, and what they mean together.
void read_fencing(SectionReader& cluster, ConfigurationDraft& draft);
void read_fence(SectionReader& section, ServerConfiguration& server, ConfigurationDraft& draft);
void check_fencing(ConfigurationDraft& draft);
/// REQUIRES: cluster and servers have been read.
void read_groups(SectionReader& file, ConfigurationDraft& draft);

/// The keys of [cluster] and [server.NAME] that say what is done about servers and groups that come, go and fail.
void read_policies(SectionReader& cluster, ConfigurationDraft& draft);
void read_return(SectionReader& section, std::optional<ReturnPolicy>& into, ConfigurationDraft& draft);

/// The keys of [group.NAME] and [server.NAME] that say which groups may be together on which server.
void read_placement(SectionReader& section, GroupConfiguration& group, ConfigurationDraft& draft);
void read_capacity(SectionReader& section, ServerConfiguration& server, ConfigurationDraft& draft);
/// REQUIRES: all groups have been read. Gives the names in them their spelling; reports unknown ones and what can never be.
void check_placement(ConfigurationDraft& draft);

/// `failback` and `failback_window` of [group.NAME].
void read_failback(SectionReader& section, GroupConfiguration& group, ConfigurationDraft& draft);

/// Reads one resource; its section's path is "group.GROUP.KIND.NAME".
void read_resource(SectionReader& section, ResourceConfiguration& resource, ConfigurationDraft& draft);

/// A command line: empty or with an absolute program. Says whether it is there.
bool read_command(SectionReader& section, const std::string& key, std::vector<std::string>& command);
void read_user(SectionReader& section, std::string& user);
/// The group's monitors. REQUIRES: its resources have been read.
void read_monitors(SectionReader& section, GroupConfiguration& group, ConfigurationDraft& draft);

/// [alert.NAME]. REQUIRES: the groups have been read.
void read_alerts(SectionReader& file, ConfigurationDraft& draft);

void read_mirror(SectionReader& section, MirrorConfiguration& mirror, ConfigurationDraft& draft);
/// What can be judged only when the group's mirrors and servers are known. `path` is "group.NAME".
void check_mirrors(const std::string& path, const GroupConfiguration& group, ConfigurationDraft& draft);
/// Reports a mirror that is too small for its filesystem.
void check_filesystem_size(const FilesystemConfiguration& filesystem, const MirrorConfiguration& mirror,
                           SourcePosition position, ConfigurationFindings& findings);

/// Completes `after` with what is implied, and sorts into start order. Reports unknown names and circles.
/// `path` is "group.NAME".
void order_resources(GroupConfiguration& group, const std::string& path, ConfigurationFindings& findings);

/// "10.0.0.50:80", "[2001:db8::5]:80", "mail.example.org:25"; nothing if it is none of them.
struct Endpoint {
  std::string host;
  uint16_t port = 0;
  bool is_name = false;  // not an address
};
std::optional<Endpoint> parse_endpoint(const std::string& text);

/// Reports what is no URL of a web server, or has a user in it, whose password would be shown; `instead` says what to do.
void check_url(const std::string& url, const std::string& example, const std::string& instead, SourcePosition position,
               ConfigurationFindings& findings);

/// Reports a name that is not allowed.
bool check_name(const std::string& name, SourcePosition position, ConfigurationFindings& findings);

/// Reports a path that is not absolute or not in its plain form ("/a//b", "/a/../b", "/a/").
bool check_path(const std::string& path, const std::string& key, SourcePosition position,
                ConfigurationFindings& findings);

/// Names compare without case everywhere.
std::string lower_case(const std::string& text);

}  // namespace baton
