// Commands about servers and maintenance <-> protobuf: the other half of command_codec.cc. Stateless, any thread.
#pragma once

#include "src/base/result.h"
#include "src/format/cluster.pb.h"
#include "src/model/command.h"

namespace baton {

void put_command(const SetStanding& command, wire::Command& out);
void put_command(const SetSuspension& command, wire::Command& out);
void put_command(const SetDrain& command, wire::Command& out);
void put_command(const SetShutdown& command, wire::Command& out);
void put_command(const HoldGroup& command, wire::Command& out);
void put_command(const ReleaseGroup& command, wire::Command& out);
void put_command(const RaiseFormatLevel& command, wire::Command& out);
void put_command(const RotateKeys& command, wire::Command& out);

Result<Command> take_command(const wire::SetStanding& from);
Result<Command> take_command(const wire::SetSuspension& from);
Result<Command> take_command(const wire::SetDrain& from);
Result<Command> take_command(const wire::SetShutdown& from);
Result<Command> take_command(const wire::HoldGroup& from);
Result<Command> take_command(const wire::ReleaseGroup& from);
Result<Command> take_command(const wire::RaiseFormatLevel& from);
Result<Command> take_command(const wire::RotateKeys& from);

}  // namespace baton
