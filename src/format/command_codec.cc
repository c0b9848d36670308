// Commands <-> protobuf, one pair of functions per kind. Stateless, any thread.
#include "src/format/command_codec.h"

#include <climits>

#include "src/base/assert.h"
#include "src/format/cluster.pb.h"
#include "src/format/maintenance_codec.h"
#include "src/format/voter_set_wire.h"

namespace baton {
namespace {

template <class Repeated>
void put_incarnations(const std::map<ServerId, Incarnation>& copies, Repeated* out) {
  for (const auto& [server, incarnation] : copies) {
    auto* copy = out->Add();
    copy->set_server(server.value);
    copy->set_incarnation(incarnation.value);
  }
}

template <class Repeated>
std::map<ServerId, Incarnation> take_incarnations(const Repeated& in) {
  std::map<ServerId, Incarnation> copies;
  for (const auto& copy : in) copies[ServerId(copy.server())] = Incarnation(copy.incarnation());
  return copies;
}

wire::GroupPhase to_wire(GroupPhase phase) {
  switch (phase) {
    case GroupPhase::kStopped: return wire::GROUP_PHASE_STOPPED;
    case GroupPhase::kStarting: return wire::GROUP_PHASE_STARTING;
    case GroupPhase::kStarted: return wire::GROUP_PHASE_STARTED;
    case GroupPhase::kStopping: return wire::GROUP_PHASE_STOPPING;
    case GroupPhase::kFailed: return wire::GROUP_PHASE_FAILED;
  }
  return wire::GROUP_PHASE_UNKNOWN;
}

Result<GroupPhase> from_wire(wire::GroupPhase phase) {
  switch (phase) {
    case wire::GROUP_PHASE_STOPPED: return GroupPhase::kStopped;
    case wire::GROUP_PHASE_STARTING: return GroupPhase::kStarting;
    case wire::GROUP_PHASE_STARTED: return GroupPhase::kStarted;
    case wire::GROUP_PHASE_STOPPING: return GroupPhase::kStopping;
    case wire::GROUP_PHASE_FAILED: return GroupPhase::kFailed;
    default: break;
  }
  return fail_as(ErrorCode::kInvalid,
                 "command holds group phase {}, which this version of Baton does not know: upgrade Baton on this server",
                 static_cast<int>(phase));
}

// ---- To protobuf ----

void put(const StartEpoch& command, wire::Command& out) { out.mutable_start_epoch()->set_leader(command.leader.value); }

void put(const ApplyConfiguration& command, wire::Command& out) {
  auto* to = out.mutable_apply_configuration();
  to->set_expected_version(command.expected_version);
  to->set_text(command.text);
  to->set_author(command.author);
  to->set_format_level(command.format_level);
}

void put(const AssignGroup& command, wire::Command& out) {
  auto* to = out.mutable_assign_group();
  to->set_group(command.group);
  to->set_expected_version(command.expected_version);
  to->set_server(command.server.value);
  for (const auto& [mirror, version] : command.mirror_versions) {
    auto* item = to->add_mirror_versions();
    item->set_mirror(mirror);
    item->set_version(version);
  }
  for (const auto& [mirror, copies] : command.reported) {
    auto* item = to->add_reported();
    item->set_mirror(mirror);
    put_incarnations(copies, item->mutable_copies());
  }
  for (const auto& mirror : command.holder_lost) to->add_holder_lost(mirror);
  for (const auto& mirror : command.unused) to->add_unused(mirror);
  to->set_loss(command.loss);
  to->set_alone(command.alone);
  to->set_failover(command.failover);
  to->set_reason(command.reason);
  for (const auto& cause : command.causes) to->add_causes(cause);
}

void put(const SetGroupPhase& command, wire::Command& out) {
  auto* to = out.mutable_set_group_phase();
  to->set_group(command.group);
  to->set_expected_version(command.expected_version);
  to->set_server(command.server.value);
  to->set_phase(to_wire(command.phase));
  to->set_failure(command.failure);
  to->set_reason(command.reason);
  for (const auto& step : command.steps) {
    auto* item = to->add_steps();
    item->set_resource(step.resource);
    item->set_action(step.action);
    item->set_took_us(step.took_us);
    item->set_outcome(step.outcome);
  }
  to->set_cause(command.cause);
  to->set_clock_ms(command.clock_ms);
  to->set_interrupted(command.interrupted);
}

void put(const WishGroup& command, wire::Command& out) {
  auto* to = out.mutable_wish_group();
  to->set_group(command.group);
  to->set_expected_version(command.expected_version);
  to->set_wanted(command.wanted);
  to->set_target(command.target.value);
  to->set_reason(command.reason);
  to->set_author(command.author);
  to->set_park(command.park.value);
  to->set_lost(command.lost.value);
}

void put(const SetInSync& command, wire::Command& out) {
  auto* to = out.mutable_set_in_sync();
  to->set_mirror(command.mirror);
  to->set_expected_version(command.expected_version);
  to->set_permit(command.permit.value);
  put_incarnations(command.in_sync, to->mutable_in_sync());
  put_incarnations(command.trailing, to->mutable_trailing());
  to->set_reason(command.reason);
}

void put(const BreakMirror& command, wire::Command& out) {
  auto* to = out.mutable_break_mirror();
  to->set_mirror(command.mirror);
  to->set_expected_version(command.expected_version);
  to->set_broken(command.broken);
  to->set_author(command.author);
}

void put(const ForceMirror& command, wire::Command& out) {
  auto* to = out.mutable_force_mirror();
  to->set_mirror(command.mirror);
  to->set_expected_version(command.expected_version);
  to->set_server(command.server.value);
  to->set_incarnation(command.incarnation.value);
  to->set_loss(command.loss);
  to->set_author(command.author);
}

void put(const RestrictMirror& command, wire::Command& out) {
  auto* to = out.mutable_restrict_mirror();
  to->set_mirror(command.mirror);
  to->set_expected_version(command.expected_version);
  to->set_server(command.server.value);
  to->set_restricted(command.restricted);
  to->set_author(command.author);
}

void put(const TakeOver& command, wire::Command& out) {
  auto* to = out.mutable_take_over();
  to->set_server(command.server.value);
  to->set_reason(command.reason);
  to->set_author(command.author);
}

void put(const RestoreDatabase& command, wire::Command& out) {
  auto* to = out.mutable_restore_database();
  for (const ServerId server : command.servers) to->add_servers(server.value);
  to->set_permits_above(command.permits_above);
  to->set_made_ms(command.made_ms);
  to->set_source(command.source);
  to->set_author(command.author);
  to->set_key(command.key);
}

void put(const SetVoters& command, wire::Command& out) {
  put_voter_set(command.voters, *out.mutable_set_voters()->mutable_voters());
}

void put(const RecordFence& command, wire::Command& out) {
  auto* to = out.mutable_record_fence();
  to->set_server(command.server.value);
  to->set_expected_version(command.expected_version);
  to->set_outcome(static_cast<wire::FenceOutcome>(static_cast<int>(command.outcome) + 1));
  to->set_text(command.text);
  to->set_author(command.author);
}

// ---- From protobuf ----

Result<Command> take(const wire::StartEpoch& from) { return StartEpoch{ServerId(from.leader())}; }

Result<Command> take(const wire::ApplyConfiguration& from) {
  return ApplyConfiguration{from.expected_version(), from.text(), from.author(), from.format_level()};
}

Result<Command> take(const wire::AssignGroup& from) {
  AssignGroup command;
  command.group = from.group();
  command.expected_version = from.expected_version();
  command.server = ServerId(from.server());
  for (const auto& item : from.mirror_versions()) command.mirror_versions[item.mirror()] = item.version();
  for (const auto& item : from.reported()) command.reported[item.mirror()] = take_incarnations(item.copies());
  command.holder_lost.insert(from.holder_lost().begin(), from.holder_lost().end());
  command.unused.insert(from.unused().begin(), from.unused().end());
  command.loss = from.loss();
  command.alone = from.alone();
  command.failover = from.failover();
  command.reason = from.reason();
  command.causes.assign(from.causes().begin(), from.causes().end());
  return command;
}

Result<Command> take(const wire::SetGroupPhase& from) {
  auto phase = from_wire(from.phase());
  if (!phase) return pass(phase);
  SetGroupPhase command;
  command.group = from.group();
  command.expected_version = from.expected_version();
  command.server = ServerId(from.server());
  command.phase = *phase;
  command.failure = from.failure();
  command.reason = from.reason();
  for (const auto& step : from.steps()) {
    command.steps.push_back({step.resource(), step.action(), step.took_us(), step.outcome()});
  }
  command.cause = from.cause();
  command.clock_ms = from.clock_ms();
  command.interrupted = from.interrupted();
  return command;
}

Result<Command> take(const wire::WishGroup& from) {
  WishGroup command;
  command.group = from.group();
  command.expected_version = from.expected_version();
  command.wanted = from.wanted();
  command.target = ServerId(from.target());
  command.reason = from.reason();
  command.author = from.author();
  command.park = ServerId(from.park());
  command.lost = ServerId(from.lost());
  return command;
}

Result<Command> take(const wire::SetInSync& from) {
  SetInSync command;
  command.mirror = from.mirror();
  command.expected_version = from.expected_version();
  command.permit = Permit(from.permit());
  command.in_sync = take_incarnations(from.in_sync());
  command.trailing = take_incarnations(from.trailing());
  command.reason = from.reason();
  return command;
}

Result<Command> take(const wire::BreakMirror& from) {
  return BreakMirror{from.mirror(), from.expected_version(), from.broken(), from.author()};
}

Result<Command> take(const wire::ForceMirror& from) {
  return ForceMirror{from.mirror(),  from.expected_version(), ServerId(from.server()), Incarnation(from.incarnation()),
                     from.loss(), from.author()};
}

Result<Command> take(const wire::RestrictMirror& from) {
  return RestrictMirror{from.mirror(), from.expected_version(), ServerId(from.server()), from.restricted(),
                        from.author()};
}

Result<Command> take(const wire::TakeOver& from) { return TakeOver{ServerId(from.server()), from.reason(), from.author()}; }

Result<Command> take(const wire::RestoreDatabase& from) {
  RestoreDatabase command{{}, from.permits_above(), from.made_ms(), from.source(), from.author(), from.key()};
  for (const uint32_t server : from.servers()) command.servers.insert(ServerId(server));
  return command;
}

Result<Command> take(const wire::SetVoters& from) { return SetVoters{take_voter_set(from.voters())}; }

Result<Command> take(const wire::RecordFence& from) {
  const int outcome = static_cast<int>(from.outcome()) - 1;
  if (outcome < 0 || outcome > static_cast<int>(FenceOutcome::kFailed)) {
    return fail_as(ErrorCode::kInvalid,
                   "command holds outcome of fencing {}, which this version of Baton does not know: upgrade Baton on this "
                   "server", static_cast<int>(from.outcome()));
  }
  return RecordFence{ServerId(from.server()), from.expected_version(), static_cast<FenceOutcome>(outcome), from.text(),
                     from.author()};
}

}  // namespace

std::string encode_command(const Command& command) {
  wire::Command out;
  std::visit(
      [&](const auto& kind) {
        if constexpr (requires { put_command(kind, out); }) {
          put_command(kind, out);  // those of servers and maintenance: maintenance_codec.cc
        } else {
          put(kind, out);
        }
      },
      command);
  std::string bytes;
  BATON_ASSERT(out.SerializeToString(&bytes));
  return bytes;
}

Result<Command> decode_command(std::string_view bytes) {
  wire::Command in;
  if (bytes.size() > INT_MAX || !in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail_as(ErrorCode::kInvalid, "not a command: its {} bytes are damaged or cut off", bytes.size());
  }
  switch (in.kind_case()) {
    case wire::Command::kStartEpoch: return take(in.start_epoch());
    case wire::Command::kApplyConfiguration: return take(in.apply_configuration());
    case wire::Command::kAssignGroup: return take(in.assign_group());
    case wire::Command::kSetGroupPhase: return take(in.set_group_phase());
    case wire::Command::kWishGroup: return take(in.wish_group());
    case wire::Command::kSetInSync: return take(in.set_in_sync());
    case wire::Command::kBreakMirror: return take(in.break_mirror());
    case wire::Command::kForceMirror: return take(in.force_mirror());
    case wire::Command::kRestrictMirror: return take(in.restrict_mirror());
    case wire::Command::kSetVoters: return take(in.set_voters());
    case wire::Command::kTakeOver: return take(in.take_over());
    case wire::Command::kRestoreDatabase: return take(in.restore_database());
    case wire::Command::kRecordFence: return take(in.record_fence());
    case wire::Command::kSetStanding: return take_command(in.set_standing());
    case wire::Command::kSetSuspension: return take_command(in.set_suspension());
    case wire::Command::kSetDrain: return take_command(in.set_drain());
    case wire::Command::kSetShutdown: return take_command(in.set_shutdown());
    case wire::Command::kHoldGroup: return take_command(in.hold_group());
    case wire::Command::kReleaseGroup: return take_command(in.release_group());
    case wire::Command::kRaiseFormatLevel: return take_command(in.raise_format_level());
    case wire::Command::kRotateKeys: return take_command(in.rotate_keys());
    case wire::Command::KIND_NOT_SET: break;
  }
  if (bytes.empty()) return fail_as(ErrorCode::kInvalid, "not a command: it is empty");
  return fail_as(ErrorCode::kInvalid,
                 "a kind of command that this version of Baton does not know: upgrade Baton on this server");
}

}  // namespace baton
