// Names of the states, as they appear in the API, in events and in files.
#include "src/model/cluster_state.h"

#include "src/model/mirror_report.h"

namespace baton {

const char* to_string(GroupPhase phase) {
  switch (phase) {
    case GroupPhase::kStopped:
      return "stopped";
    case GroupPhase::kStarting:
      return "starting";
    case GroupPhase::kStarted:
      return "started";
    case GroupPhase::kStopping:
      return "stopping";
    case GroupPhase::kFailed:
      return "failed";
  }
  return "unknown";
}

const char* to_string(ServerStanding standing) {
  switch (standing) {
    case ServerStanding::kNormal:
      return "normal";
    case ServerStanding::kStopped:
      return "stopped";
    case ServerStanding::kDown:
      return "down";
    case ServerStanding::kIsolated:
      return "isolated";
  }
  return "unknown";
}

const char* short_name(ServerStanding standing) {
  switch (standing) {
    case ServerStanding::kNormal:
      return "O";
    case ServerStanding::kStopped:
      return "X";
    case ServerStanding::kDown:
      return "Xd";
    case ServerStanding::kIsolated:
      return "Od";
  }
  return "?";
}

const char* to_string(Afterwards afterwards) {
  switch (afterwards) {
    case Afterwards::kNothing:
      return "nothing";
    case Afterwards::kReboot:
      return "reboot";
    case Afterwards::kPowerOff:
      return "power off";
  }
  return "unknown";
}

const ServerState& ClusterState::server(ServerId id) const {
  static const ServerState normal;
  const auto found = servers.find(id);
  return found == servers.end() ? normal : found->second;
}

const char* to_string(MirrorRole role) {
  switch (role) {
    case MirrorRole::kSecondary:
      return "secondary";
    case MirrorRole::kPrimary:
      return "primary";
  }
  return "unknown";
}

const char* to_string(MirrorLink link) {
  switch (link) {
    case MirrorLink::kDown:
      return "down";
    case MirrorLink::kConnecting:
      return "connecting";
    case MirrorLink::kCopying:
      return "copying";
    case MirrorLink::kReadmitting:
      return "readmitting";
    case MirrorLink::kConnected:
      return "connected";
    case MirrorLink::kRefused:
      return "refused";
  }
  return "unknown";
}

const char* to_string(MirrorProtocol protocol) {
  switch (protocol) {
    case MirrorProtocol::kA:
      return "A";
    case MirrorProtocol::kB:
      return "B";
    case MirrorProtocol::kC:
      return "C";
  }
  return "unknown";
}

const char* to_string(CopyKind kind) {
  switch (kind) {
    case CopyKind::kNone:
      return "none";
    case CopyKind::kFast:
      return "fast";
    case CopyKind::kFull:
      return "full";
  }
  return "unknown";
}

}  // namespace baton
