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
