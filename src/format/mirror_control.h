// The local control channel between batond and a mirror daemon: one JSON object per line over a unix stream socket
// (/run/baton/mirror-KEY.sock, root only). Unknown members are ignored, so that the two may differ by a version.
#pragma once

#include <string>
#include <variant>

#include "src/base/result.h"
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
/// Compare both copies; answered by Verified or Failed.
struct Verify {};
/// End in order; the daemon closes the socket and exits 0.
struct Stop {};
using Request = std::variant<State, Promote, Demote, Abort, PeerLost, Verify, Stop>;

// ---- mirror daemon -> batond ----
/// On connection and on change.
struct Report { MirrorReport report; std::string device; };  // device: "/dev/loop3", empty when not exported
/// Wants this SetInSync committed (`mirror` is filled in). No answer but the State that follows.
struct Propose { SetInSync change; };
struct Promoted { Permit permit; std::string device; };
struct Demoted {};
struct Failed { std::string request; std::string reason; };  // request: "promote", "demote", "verify"
struct Verified { uint64_t blocks = 0; uint64_t different = 0; };
/// The export was aborted by the daemon itself (fenced, frozen for too long): the group must be given up here.
struct Aborted { std::string reason; };
/// For the event log.
struct Note { std::string text; };
using Notice = std::variant<Report, Propose, Promoted, Demoted, Failed, Verified, Aborted, Note>;

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
  std::string listen_address;    // own interconnect address
  std::vector<std::string> peer_addresses;  // peer's, in order of preference
  uint16_t port = 7800;
  std::string cluster_key_file;  // 64 bytes as 128 hexadecimal digits
  std::string lease_page;        // /run/baton/lease
  std::string socket;            // control socket
  std::string export_directory;  // where its FUSE file lives, in its own mount namespace
};
std::string encode(const DaemonSettings& settings);
Result<DaemonSettings> decode_daemon_settings(const std::string& text);

}  // namespace baton::mirror_control
