// See maintenance_codec.h. An enumerator that this version does not know makes the command one that it cannot judge.
#include "src/format/maintenance_codec.h"

namespace baton {
namespace {

wire::ServerStanding to_wire(ServerStanding standing) {
  switch (standing) {
    case ServerStanding::kNormal: return wire::SERVER_STANDING_NORMAL;
    case ServerStanding::kStopped: return wire::SERVER_STANDING_STOPPED;
    case ServerStanding::kDown: return wire::SERVER_STANDING_DOWN;
    case ServerStanding::kIsolated: return wire::SERVER_STANDING_ISOLATED;
  }
  return wire::SERVER_STANDING_UNKNOWN;
}

wire::ShutdownStep to_wire(SetShutdown::Step step) {
  switch (step) {
    case SetShutdown::Step::kBegin: return wire::SHUTDOWN_STEP_BEGIN;
    case SetShutdown::Step::kCancel: return wire::SHUTDOWN_STEP_CANCEL;
    case SetShutdown::Step::kEnd: return wire::SHUTDOWN_STEP_END;
    case SetShutdown::Step::kStarted: return wire::SHUTDOWN_STEP_STARTED;
  }
  return wire::SHUTDOWN_STEP_UNKNOWN;
}

wire::Afterwards to_wire(Afterwards afterwards) {
  switch (afterwards) {
    case Afterwards::kNothing: return wire::AFTERWARDS_NOTHING;
    case Afterwards::kReboot: return wire::AFTERWARDS_REBOOT;
    case Afterwards::kPowerOff: return wire::AFTERWARDS_POWER_OFF;
  }
  return wire::AFTERWARDS_UNKNOWN;
}

auto unknown(const char* what, int value) {
  return fail_as(ErrorCode::kInvalid,
                 "command holds {} {}, which this version of Baton does not know: upgrade Baton on this server", what,
                 value);
}

Result<ServerStanding> from_wire(wire::ServerStanding standing) {
  switch (standing) {
    case wire::SERVER_STANDING_NORMAL: return ServerStanding::kNormal;
    case wire::SERVER_STANDING_STOPPED: return ServerStanding::kStopped;
    case wire::SERVER_STANDING_DOWN: return ServerStanding::kDown;
    case wire::SERVER_STANDING_ISOLATED: return ServerStanding::kIsolated;
    default: return unknown("server state", static_cast<int>(standing));
  }
}

Result<SetShutdown::Step> from_wire(wire::ShutdownStep step) {
  switch (step) {
    case wire::SHUTDOWN_STEP_BEGIN: return SetShutdown::Step::kBegin;
    case wire::SHUTDOWN_STEP_CANCEL: return SetShutdown::Step::kCancel;
    case wire::SHUTDOWN_STEP_END: return SetShutdown::Step::kEnd;
    case wire::SHUTDOWN_STEP_STARTED: return SetShutdown::Step::kStarted;
    default: return unknown("step of a shutdown", static_cast<int>(step));
  }
}

Result<Afterwards> from_wire(wire::Afterwards afterwards) {
  switch (afterwards) {
    case wire::AFTERWARDS_NOTHING: return Afterwards::kNothing;
    case wire::AFTERWARDS_REBOOT: return Afterwards::kReboot;
    case wire::AFTERWARDS_POWER_OFF: return Afterwards::kPowerOff;
    default: return unknown("end of a shutdown", static_cast<int>(afterwards));
  }
}

}  // namespace

void put_command(const SetStanding& command, wire::Command& out) {
  auto* to = out.mutable_set_standing();
  to->set_server(command.server.value);
  to->set_expected_version(command.expected_version);
  to->set_standing(to_wire(command.standing));
  to->set_reason(command.reason);
  to->set_author(command.author);
  to->set_clock_ms(command.clock_ms);
  to->set_hold_until_ms(command.hold_until_ms);
  to->set_life(command.life);
}

void put_command(const SetSuspension& command, wire::Command& out) {
  auto* to = out.mutable_set_suspension();
  to->set_group(command.group);
  to->set_server(command.server.value);
  to->set_expected_version(command.expected_version);
  to->set_suspended(command.suspended);
  to->set_until_ms(command.until_ms);
  to->set_author(command.author);
  to->set_reason(command.reason);
  to->set_clock_ms(command.clock_ms);
}

void put_command(const SetDrain& command, wire::Command& out) {
  auto* to = out.mutable_set_drain();
  to->set_server(command.server.value);
  to->set_expected_version(command.expected_version);
  to->set_draining(command.draining);
  to->set_author(command.author);
  to->set_reason(command.reason);
  to->set_clock_ms(command.clock_ms);
}

void put_command(const SetShutdown& command, wire::Command& out) {
  auto* to = out.mutable_set_shutdown();
  to->set_server(command.server.value);
  to->set_expected_version(command.expected_version);
  to->set_step(to_wire(command.step));
  to->set_move(command.move);
  to->set_afterwards(to_wire(command.afterwards));
  to->set_author(command.author);
  to->set_reason(command.reason);
  to->set_clock_ms(command.clock_ms);
  to->set_deadline_ms(command.deadline_ms);
  for (const auto& [server, start] : command.lives) {
    auto* life = to->add_lives();
    life->set_server(server.value);
    life->set_start(start);
  }
  to->set_given_up(command.given_up);
}

void put_command(const HoldGroup& command, wire::Command& out) {
  auto* to = out.mutable_hold_group();
  to->set_group(command.group);
  to->set_expected_version(command.expected_version);
  to->set_server(command.server.value);
  to->set_reason(command.reason);
}

void put_command(const ReleaseGroup& command, wire::Command& out) {
  auto* to = out.mutable_release_group();
  to->set_group(command.group);
  to->set_expected_version(command.expected_version);
  to->set_author(command.author);
}

void put_command(const RaiseFormatLevel& command, wire::Command& out) {
  out.mutable_raise_format_level()->set_level(command.level);
}

Result<Command> take_command(const wire::SetStanding& from) {
  const auto standing = from_wire(from.standing());
  if (!standing) return pass(standing);
  return SetStanding{ServerId(from.server()), from.expected_version(), *standing,   from.reason(), from.author(),
                     from.clock_ms(),         from.hold_until_ms(),    from.life()};
}

Result<Command> take_command(const wire::SetSuspension& from) {
  return SetSuspension{from.group(),    ServerId(from.server()), from.expected_version(), from.suspended(),
                       from.until_ms(), from.author(),           from.reason(),           from.clock_ms()};
}

Result<Command> take_command(const wire::SetDrain& from) {
  return SetDrain{ServerId(from.server()), from.expected_version(), from.draining(),
                  from.author(),           from.reason(),           from.clock_ms()};
}

Result<Command> take_command(const wire::SetShutdown& from) {
  const auto step = from_wire(from.step());
  if (!step) return pass(step);
  const auto afterwards = from_wire(from.afterwards());
  if (!afterwards) return pass(afterwards);
  SetShutdown command{ServerId(from.server()), from.expected_version(), *step,           from.move(), *afterwards,
                      from.author(),           from.reason(),           from.clock_ms(), from.deadline_ms(), {},
                      from.given_up()};
  for (const auto& life : from.lives()) command.lives[ServerId(life.server())] = life.start();
  return command;
}

Result<Command> take_command(const wire::HoldGroup& from) {
  return HoldGroup{from.group(), from.expected_version(), ServerId(from.server()), from.reason()};
}

Result<Command> take_command(const wire::ReleaseGroup& from) {
  return ReleaseGroup{from.group(), from.expected_version(), from.author()};
}

Result<Command> take_command(const wire::RaiseFormatLevel& from) { return RaiseFormatLevel{from.level()}; }

}  // namespace baton
