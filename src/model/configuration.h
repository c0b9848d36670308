// The cluster's configuration as plain values, as read from its TOML file. Immutable once validated. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/base/ids.h"
#include "src/base/time.h"
#include "src/model/event.h"
#include "src/model/mirror_report.h"

namespace baton {

/// Where a value stands in the file, both counted from 1; 0 is unknown.
struct SourcePosition {
  uint32_t line = 0;
  uint32_t column = 0;
  /// Where a thing stands is no part of what it is.
  bool operator==(const SourcePosition&) const { return true; }
};

/// Timing of failure detection and lease (docs/protocol.md, "Timing"). All of one cluster use the same.
struct TimingProfile {
  std::string name = "lan";
  milliseconds token{380};       // corosync: silence after which the ring is suspected
  milliseconds consensus{456};   // corosync: time to agree on a new ring, at least 1.2 x token
  milliseconds link_ping_interval{200};
  milliseconds link_ping_timeout{600};
  milliseconds lease{1100};      // a server's right to hold groups, from the sending of its renewal
  milliseconds beat{100};        // interval of renewals
  milliseconds restart_grace{90000};  // how long batond may be away while its server's guard goes on

  /// Each server waits so much longer than the next lower one before it agrees on a ring, so that the lowest one's is taken.
  static constexpr milliseconds kConsensusStep{8};  // more than timers differ by
};

/// The profile of that name (fast, lan, wan); nothing if there is none.
std::optional<TimingProfile> timing_profile(const std::string& name);

/// Who may go on when servers do not reach each other (docs/protocol.md, "Partitions and takeover").
enum class NpKind { kWitness, kMajority, kOperator, kDisk, kPing };
const char* to_string(NpKind kind);
/// Of two servers without a third vote one may go on alone by an operator's word.
inline bool may_call_operator(NpKind kind) { return kind == NpKind::kOperator || kind == NpKind::kDisk || kind == NpKind::kPing; }
/// ... where one of the two may go on by nobody's word, of which the other one's log says nothing.
inline bool may_go_on_by_itself(NpKind kind) { return kind == NpKind::kDisk || kind == NpKind::kPing; }
/// What everybody has to know who chooses this kind, in one sentence; empty: nothing.
std::string warning_of(NpKind kind);

/// How corosync uses the links between two servers: all at once, or the preferred one of those that are up.
enum class LinkMode { kActive, kPassive };
const char* to_string(LinkMode mode);

enum class ServerRole { kServer, kWitness };

/// How a server's power is switched off from elsewhere (docs/protocol.md, "Fencing").
struct FenceConfiguration {
  std::string agent;  // a program of fence-agents; empty: none
  std::map<std::string, std::string> options;  // as in its manual
  milliseconds timeout{30000};                 // of one attempt, with its verification
  bool restart = true;                         // switch it on again once it was seen to be off
  bool operator==(const FenceConfiguration&) const = default;
};

/// How a server that was down comes to be given groups again.
enum class ReturnPolicy { kAutomatic, kManual };
const char* to_string(ReturnPolicy policy);

/// What bounds the groups that move because something of them fails (docs/operations.md, "The breaker").
struct BreakerConfiguration {
  int64_t groups = 4;         // moved for one cause within the window; 0: no bound
  int64_t failovers = 3;      // of one group within the window; 0: no bound
  milliseconds window{600000};
};

/// What is done about a server that comes and goes.
struct FlappingConfiguration {
  int64_t losses = 3;          // within the window; from then on it is held when it is back; 0: never
  milliseconds window{600000};
  milliseconds hold{60000};    // doubled with each further loss
};

/// Amounts of things that an administrator counts: "memory_mb" -> 4096.
using Amounts = std::map<std::string, uint64_t>;

struct ServerConfiguration {
  std::string name;
  ServerId id;
  ServerRole role = ServerRole::kServer;
  std::vector<std::string> interconnects;  // IPv4 addresses, one per link
  std::string watchdog;                    // its device; empty: none
  FenceConfiguration fence;
  std::optional<ReturnPolicy> return_policy;  // otherwise the cluster's
  Amounts capacity;                           // what groups may need of it; of what is not named it has none
  SourcePosition position;
};

enum class ResourceKind { kMirror, kFilesystem, kAddress, kService, kScript };
const char* to_string(ResourceKind kind);
/// What a group needs so much that it is given up with it.
inline bool is_storage(ResourceKind kind) { return kind == ResourceKind::kMirror || kind == ResourceKind::kFilesystem; }
/// What runs programs of the user's, in a control group of its own.
inline bool runs_programs(ResourceKind kind) { return kind == ResourceKind::kService || kind == ResourceKind::kScript; }
/// How often it is started again on the same server where the file does not say so.
uint32_t usual_restarts(ResourceKind kind);

/// What is done about a resource that fails more often than it may be restarted (docs/operations.md, "When a resource fails").
enum class FinalAction {
  kFailover,  // its group goes to another server
  kShutdown,  // ... and this server is shut down and switched off
  kReboot,    // ... or started anew
  kStop,      // its group is stopped until somebody starts it
  kNothing,   // it stays down, the rest of its group up
};
const char* to_string(FinalAction action);
/// Nothing if there is none of that name.
std::optional<FinalAction> final_action(const std::string& name);

struct MirrorConfiguration {
  std::string store;       // file or block device, absolute, the same path on both servers
  uint64_t size_bytes = 0; // what the service sees; a multiple of 4096
  uint16_t port = 7800;    // TCP port of the mirror connect
  std::string metadata;    // file or block device (CLUSTER partition) apart from the data; empty: in the state directory
  MirrorProtocol protocol = MirrorProtocol::kC;
  bool encrypt = true;     // TLS 1.3 on the mirror connect
  bool compress = false;   // lz4 on the mirror connect
  milliseconds disk_timeout{30000};  // a disk request that takes longer detaches the disk
  milliseconds peer_timeout{6000};   // a request that the peer does not answer for longer drops the peer
  milliseconds max_lag{0};  // protocol A: how far behind a copy may be that takes over by itself; 0: none does
  uint64_t rate = 0;       // bytes per second of copies; 0: as the foreground's latency allows
  std::string export_kind = "auto";  // auto, ublk, nbd, fuse
  std::string adopt;       // server whose store holds data to be kept; empty: stores must be new
  bool operator==(const MirrorConfiguration&) const = default;
};

struct FilesystemConfiguration {
  std::string mirror;       // name of a mirror resource of the same group
  std::string type = "ext4";
  std::string mount_point;  // absolute
  std::string options;      // mount options, may be empty
  bool operator==(const FilesystemConfiguration&) const = default;
};

struct AddressConfiguration {
  std::string address;         // dotted IPv4
  uint8_t prefix_length = 24;  // of the public LAN
  bool operator==(const AddressConfiguration&) const = default;
};

struct ServiceConfiguration {
  std::vector<std::string> command;
  std::vector<std::string> prepare;  // run to its end as root before each start; empty: none
  std::vector<std::string> ready;    // repeated until it exits 0; empty: ready when started
  std::string user = "root";
  std::string directory = "/";
  std::map<std::string, std::string> environment;
  std::string stop_signal = "TERM";
  bool operator==(const ServiceConfiguration&) const = default;
};

/// A script that is run to its end when the group starts, and another one when it stops (docs/operations.md, "Scripts").
struct ScriptConfiguration {
  std::vector<std::string> start;
  std::vector<std::string> stop;     // empty: what the start has left running is ended
  std::string user = "root";
  std::string directory = "/";
  std::map<std::string, std::string> environment;
  bool on_disk_failure = false;      // started, too, when the group's storage cannot be: with ARMS_DISK=FAILURE
  bool on_return = false;            // ... and where the server has returned to the cluster: with ARMS_EVENT=RECOVER
  bool operator==(const ScriptConfiguration&) const = default;
};

/// One thing that a group consists of. Exactly the member that belongs to `kind` is meaningful.
struct ResourceConfiguration {
  std::string name;
  ResourceKind kind = ResourceKind::kService;
  std::vector<std::string> after;  // resources of the group that must be up first (explicit and implied ones)
  milliseconds start_timeout{60000};
  milliseconds stop_timeout{30000};
  uint32_t restarts = 0;         // on the same server within restart_window; then on_failure
  seconds restart_window{600};
  FinalAction on_failure = FinalAction::kFailover;
  MirrorConfiguration mirror;
  FilesystemConfiguration filesystem;
  AddressConfiguration address;
  ServiceConfiguration service;
  ScriptConfiguration script;
  SourcePosition position;
  bool operator==(const ResourceConfiguration&) const = default;
};

/// How a monitor finds out. By the key that is there: `command`, `tcp`, `url`, `disk`, `log`.
enum class MonitorKind { kCommand, kTcp, kHttp, kDisk, kLog };
const char* to_string(MonitorKind kind);

/// Asks again and again whether a resource of the group does its work, where the group runs (docs/operations.md, "Monitors").
struct MonitorConfiguration {
  std::string name;
  std::string of;              // the service or script that counts as failed with it
  MonitorKind kind = MonitorKind::kCommand;
  milliseconds interval{10000};  // between the beginnings of two checks; varied by a tenth
  milliseconds timeout{5000};    // a check that takes longer is a bad one (log: says nothing); at most the interval
  milliseconds delay{0};         // after the resource is up
  uint32_t failures = 2;         // bad checks in a row until it counts as failed; log: 1 unless said otherwise
  std::vector<std::string> command;  // exit status 0: good, 75: could not be checked, any other: bad
  std::string user = "root";         // of the command
  std::string host;                  // tcp: IPv4 or IPv6 address
  uint16_t port = 0;
  std::string url;                   // http:// or https://
  std::vector<int64_t> status{200};  // any of these
  std::string text;                  // in the answer's first MiB; empty: none is asked for
  std::string authority;             // https: file with the certificates to trust; empty: the system's
  std::string path;                  // disk: a directory; log: a file
  std::string pattern;               // log: extended regular expression of POSIX
  SourcePosition position;
  bool operator==(const MonitorConfiguration&) const = default;
};

/// How an alert gets to people. By the key that is there: `url`, `mail`, `syslog`, `trap`, `command`.
enum class AlertKind { kWebhook, kMail, kSyslog, kTrap, kCommand };
const char* to_string(AlertKind kind);

enum class AlertTransport { kUdp, kTcp, kLocal };
/// Of a server of mail.
enum class AlertTls { kNone, kStartTls, kTls };
const char* to_string(AlertTls tls);

/// Tells people, or their programs, what happens (docs/operations.md, "Alerts"). Exactly the members that belong to `kind` are
/// meaningful.
struct AlertConfiguration {
  std::string name;
  AlertKind kind = AlertKind::kCommand;
  std::string url;                      // webhook: http:// or https://
  std::string authority;                // webhook, mail: file with the certificates to trust; empty: the system's
  std::string user;                     // webhook, mail: whose password it is; command: who runs it (empty: root)
  std::string password_file;            // webhook, mail
  std::vector<std::string> recipients;  // mail
  std::string from;                     // mail
  AlertTls tls = AlertTls::kNone;       // mail
  AlertTransport transport = AlertTransport::kUdp;  // syslog
  std::string host;                     // mail, syslog, trap: a name or an address
  uint16_t port = 0;
  std::string socket;                   // syslog, kLocal: its path
  std::string community_file;           // trap; empty: "public"
  std::vector<std::string> command;
  milliseconds timeout{10000};          // of one attempt
  Severity severity = Severity::kWarning;  // this and above
  std::vector<std::string> kinds;          // of events; empty: all
  std::vector<std::string> groups;         // events of these only; empty: all, and those of no group
  uint32_t limit_events = 20;              // so many within the window
  milliseconds limit_window{60000};
  milliseconds retry_first{2000};          // after a first failure, then twice as long each time
  milliseconds retry_longest{300000};
  milliseconds retry_age{43200000};        // what is older is given up
  SourcePosition position;
  bool operator==(const AlertConfiguration&) const = default;

  bool wants(const Note& note) const;
  /// Where it goes, for people: "10.0.0.9 port 25". Without what may be secret.
  std::string target() const;
};

/// What a group does once a server that stands earlier in its policy can run it again.
enum class Failback {
  kNo,       // nothing: it starts again where it ran last, too
  kOffline,  // it goes by its policy whenever it starts
  kOnline,   // ... and is stopped and moved for that
};
const char* to_string(Failback failback);

/// A time of each day; `until` may lie before `from`: then it crosses midnight.
struct DayWindow {
  std::chrono::minutes from{0};  // since midnight
  std::chrono::minutes until{0};
  bool contains(std::chrono::minutes time) const { return from < until ? from <= time && time < until : from <= time || time < until; }
};
std::string to_string(const DayWindow& window);  // "22:00-05:30"

enum class Startup { kAutomatic, kManual };

struct GroupConfiguration {
  std::string name;
  std::vector<ServerId> servers;  // failover policy: the first that can, runs it
  Startup startup = Startup::kAutomatic;
  Failback failback = Failback::kOffline;
  std::optional<DayWindow> failback_window;  // online failback only then; nothing: at any time
  std::vector<std::string> start_after;   // groups that are started before it starts, and are stopped in order only after it
  std::vector<std::string> started_before;  // those that name it there
  bool exclusive = false;                 // alone on its server
  std::vector<std::string> with;          // only on the server on which these groups are
  std::vector<std::string> apart_from;    // never on a server with one of these groups, whichever of the two says so
  std::vector<std::string> prefer_apart_from;  // ... if another server can run it as well
  std::vector<std::string> prefer_with;        // rather where one of these is
  Amounts needs;                          // of its server's capacity
  std::vector<ResourceConfiguration> resources;  // in start order: dependencies before dependents
  std::vector<MonitorConfiguration> monitors;    // in file order
  SourcePosition position;

  const ResourceConfiguration* find(const std::string& resource) const;
};

struct Configuration {
  std::string cluster_name;
  std::string public_lan;  // "10.0.0.0/24"
  TimingProfile timing;
  NpKind np = NpKind::kMajority;
  std::string np_disk;            // disk: the device or file that both servers reach
  std::vector<std::string> ping_targets;  // ping: IPv4 and IPv6 addresses that both servers ask
  milliseconds np_wait{300000};   // operator, disk, ping: so long a server waits for the other one before it calls for a person
  bool fencing_required = false;  // what a lost server held starts elsewhere only once it is fenced
  LinkMode link_mode = LinkMode::kActive;
  std::vector<uint32_t> link_priorities;     // one per link, 0 to 255; the highest is preferred
  ReturnPolicy return_policy = ReturnPolicy::kAutomatic;
  milliseconds startup_wait{10000};  // a starting cluster waits for its servers, before groups start without them
  BreakerConfiguration breaker;
  FlappingConfiguration flapping;
  std::vector<std::string> power_off_command{"/usr/sbin/poweroff"};  // after a shutdown that asks for it
  std::vector<std::string> reboot_command{"/usr/sbin/reboot"};
  uint32_t level = 1;  // of the keys that the text uses (docs/protocol.md, "Levels")
  std::vector<ServerConfiguration> servers;  // witness included, by id
  std::vector<GroupConfiguration> groups;    // in file order
  std::vector<AlertConfiguration> alerts;    // in file order

  const ServerConfiguration* server(ServerId id) const;
  const ServerConfiguration* server(const std::string& name) const;  // names compare without case
  const GroupConfiguration* group(const std::string& name) const;
  const AlertConfiguration* alert(const std::string& name) const;
  /// The name of a server, or "server N" for one that is not configured.
  std::string server_name(ServerId id) const;
  std::vector<ServerId> voters() const;
  /// How long at most until those who are left have agreed that half of the voters, or fewer, are lost.
  milliseconds longest_detection() const;
  /// The numbers of the links, preferred ones first.
  std::vector<size_t> links_by_priority() const;
  ReturnPolicy return_policy_of(ServerId id) const;
};

/// A mirror's name in the cluster database and in files: "GROUP.RESOURCE".
std::string mirror_key(const std::string& group, const std::string& resource);

}  // namespace baton
