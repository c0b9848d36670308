// The command that replaces the cluster's keys <-> protobuf. Stateless, any thread.
#include "src/format/maintenance_codec.h"

namespace baton {

void put_command(const RotateKeys& command, wire::Command& out) {
  auto* to = out.mutable_rotate_keys();
  to->set_number(command.number);
  to->set_step(static_cast<wire::KeyStep>(static_cast<int>(command.step) + 1));
  to->set_server(command.server.value);
  to->set_before(command.before);
  to->set_after(command.after);
  to->set_author(command.author);
  to->set_reason(command.reason);
  to->set_clock_ms(command.clock_ms);
  to->set_deadline_ms(command.deadline_ms);
}

Result<Command> take_command(const wire::RotateKeys& from) {
  const int step = static_cast<int>(from.step()) - 1;
  if (step < 0 || step > static_cast<int>(RotateKeys::Step::kCertificates)) {
    return fail_as(ErrorCode::kInvalid,
                   "command holds step of keys {}, which this version of Baton does not know: upgrade Baton on this server",
                   static_cast<int>(from.step()));
  }
  return RotateKeys{from.number(), static_cast<RotateKeys::Step>(step), ServerId(from.server()), from.before(), from.after(),
                    from.author(), from.reason(), from.clock_ms(), from.deadline_ms()};
}

}  // namespace baton
