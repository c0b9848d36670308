// See event.h.
#include "src/model/event.h"

#include <array>

namespace baton {

namespace {

struct Kind {
  const char* name;
  Severity severity;
};

constexpr std::array<Kind, 11> kKinds{{{"alert", Severity::kAlert},
                                       {"problem", Severity::kWarning},
                                       {"fencing", Severity::kWarning},
                                       {"transition", Severity::kInfo},  // else as its command says
                                       {"membership", Severity::kInfo},
                                       {"database", Severity::kInfo},
                                       {"mirror", Severity::kInfo},
                                       {"monitor", Severity::kInfo},
                                       {"program", Severity::kInfo},
                                       {"step", Severity::kInfo},
                                       {"keys", Severity::kInfo}}};

Severity warn_if(bool condition) { return condition ? Severity::kWarning : Severity::kInfo; }

/// What people did not ask for, and what they may have to see to.
template <class Any>
Severity severity_of_one(const Any&) {
  return Severity::kInfo;
}
Severity severity_of_one(const AssignGroup& command) { return warn_if(command.failover); }
Severity severity_of_one(const SetGroupPhase& command) { return warn_if(!command.failure.empty() || command.phase == GroupPhase::kFailed); }
Severity severity_of_one(const SetInSync& command) { return warn_if(command.in_sync.size() < 2); }
Severity severity_of_one(const RecordFence& command) { return warn_if(command.outcome != FenceOutcome::kNone); }
Severity severity_of_one(const SetStanding& command) {
  return warn_if(command.standing == ServerStanding::kDown || command.standing == ServerStanding::kIsolated);
}
Severity severity_of_one(const HoldGroup& command) { return warn_if(!command.reason.empty()); }
Severity severity_of_one(const TakeOver&) { return Severity::kWarning; }
Severity severity_of_one(const RestoreDatabase&) { return Severity::kWarning; }
Severity severity_of_one(const ForceMirror&) { return Severity::kWarning; }

}  // namespace

const char* to_string(Severity severity) {
  switch (severity) {
    case Severity::kInfo: return "info";
    case Severity::kWarning: return "warning";
    case Severity::kAlert: return "alert";
  }
  return "unknown";
}

std::optional<Severity> parse_severity(const std::string& text) {
  for (const Severity severity : {Severity::kInfo, Severity::kWarning, Severity::kAlert})
    if (text == to_string(severity)) return severity;
  return std::nullopt;
}

Severity severity_of(const Note& note) {
  if (note.severity) return *note.severity;
  for (const Kind& kind : kKinds)
    if (note.kind == kind.name) return kind.severity;
  return Severity::kInfo;
}

Severity severity_of(const Command& command, bool applied) {
  if (!applied) return Severity::kInfo;
  return std::visit([](const auto& one) { return severity_of_one(one); }, command);
}

std::vector<std::string> event_kinds() {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

}  // namespace baton
