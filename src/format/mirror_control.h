// The local control channel between batond and a mirror daemon: one JSON object per line over a unix stream socket
// (/run/baton/mirror-KEY.sock, root only). Unknown members are ignored, so that the two may differ by a version.
#pragma once

#include <string>
#include <variant>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/model/command.h"
#include "src/model/mirror_report.h"

namespace baton::mirror_control {

// ---- batond -> mirror daemon ----
/// The committed record; sent on connection and at every change.
struct State { MirrorState state; };
/// Become primary under the permit and open the export. Answered by Promoted or Failed. Repeating it is harmless.
struct Promote { Permit permit; };
/// Close the export (the filesystem is unmounted) and hand over cleanly. Answered by Demoted or Failed.
struct Demote {};
/// Abort the export at once: the group is no longer ours. Answered by Demoted (role secondary, journal kept).
struct Abort { std::string reason; };
/// The peer's server has left the view.
struct PeerLost { std::string reason; };
/// A Promote is likely to come: make the device ahead. It fails everything until then, and goes if none comes.
struct Prepare {};
/// The files of the cluster's key have changed: accept what they say, prove by the one in use. `anew`: also issue the
/// certificate anew. Connections are made anew without one that is lost.
struct ReadKeys { bool anew = false; };
/// Compare both copies; with `repair` what differs is sent from the primary. Answered by Verified or Failed.
struct Verify { bool repair = false; };
/// Bytes per second for copies; 0: adaptive.
struct SetRate { uint64_t bytes_per_second = 0; };
/// Forget this copy's data: it becomes blank and gets a full copy. Answered by Done or Failed.
struct Discard {};
/// The configured size has grown: enlarge store and metadata, then the mirror. Answered by Done or Failed.
struct Grow { uint64_t size_bytes = 0; };
/// Export the broken-off copy read-only for a backup, or end that. Answered by Done (with the device) or Failed.
struct Backup { bool wanted = false; };
/// The disk was replaced: forget metadata and store, begin as a new copy. Answered by Done or Failed (not on a primary);
/// then the daemon ends with status 0, to be started anew.
struct Replace {};
/// End in order; the daemon closes the socket and exits 0.
struct Stop {};
using Request =
    std::variant<State, Promote, Demote, Abort, PeerLost, Verify, Stop, SetRate, Discard, Grow, Backup, Replace,
                 Prepare, ReadKeys>;

// ---- mirror daemon -> batond ----
/// On connection and on change.
struct Report {
  MirrorReport report;
  std::string device;  // "/dev/loop3", empty when not exported
  MirrorMetrics metrics;
  std::vector<MirrorPath> paths;
  std::string export_kind;    // "ublk", "nbd", "fuse"
  std::string export_reason;  // why this kind
  std::string nbd_socket;     // where virtual machines and tools reach it; empty when not exported
};
/// Wants this SetInSync committed (`mirror` is filled in). No answer but the State that follows.
struct Propose { SetInSync change; };
struct Promoted { Permit permit; std::string device; };
struct Demoted {};
struct Failed { std::string request; std::string reason; };  // request: "promote", "demote", "verify"
struct Verified { uint64_t blocks = 0; uint64_t different = 0; uint64_t repaired = 0; };
/// The end of a request that has no answer of its own: `request` as in Failed ("discard", "grow", "backup", "replace").
struct Done { std::string request; std::string text; };
/// Something people must look at soon.
struct Alert { std::string text; };
/// The export was aborted by the daemon itself (fenced, frozen for too long): the group must be given up here.
struct Aborted { std::string reason; };
/// For the event log.
struct Note { std::string text; };
using Notice = std::variant<Report, Propose, Promoted, Demoted, Failed, Verified, Aborted, Note, Done, Alert>;

std::string encode(const Request& request);  // without the newline
std::string encode(const Notice& notice);
Result<Request> decode_request(const std::string& line);
Result<Notice> decode_notice(const std::string& line);

/// What batond writes for a mirror daemon to start from: /run/baton/mirror-KEY.json.
struct DaemonSettings {
  std::string key;               // mirror_key()
  ServerId self, peer;
  std::string store;             // data
  std::string metadata;          // superblock, bitmap, activity log: /var/lib/baton/mirror/KEY.meta
  uint64_t size_bytes = 0;
  std::string listen_address;    // own interconnect address of the first mirror connect
  std::vector<std::string> more_listen_addresses;  // of the second
  std::vector<std::string> peer_addresses;  // peer's, in order of preference; the i-th belongs to the i-th of ours
  uint16_t port = 7800;
  std::string cluster_key_file;  // 64 bytes as 128 hexadecimal digits
  std::string lease_page;        // /run/baton/lease
  std::string socket;            // control socket
  std::string export_directory;  // where its FUSE file lives, in its own mount namespace
  MirrorProtocol protocol = MirrorProtocol::kC;
  bool encrypt = false;          // TLS 1.3 with the three files below
  std::string certificate_file, private_key_file, authority_file;  // PEM
  bool compress = false;         // lz4 on the mirror connect
  milliseconds disk_timeout{30000};
  milliseconds peer_timeout{6000};
  milliseconds max_lag{0};       // protocol A: how far behind a copy may be that takes over by itself; 0: none does
  milliseconds link_timeout{1000};
  milliseconds path_timeout{300};
  milliseconds freeze_limit{10000};
  std::string export_kind = "auto";  // auto, ublk, nbd, fuse
  std::string nbd_socket;        // unix socket of the NBD server; empty: none
  std::string fault_file;        // practice clusters and tests: how the disk is made to fail; empty: not at all
  uint64_t rate_limit = 0;       // bytes per second of copies; 0: adaptive
};
std::string encode(const DaemonSettings& settings);
Result<DaemonSettings> decode_daemon_settings(const std::string& text);

}  // namespace baton::mirror_control
