// Judges the steps by which the cluster's key is replaced. Pure; the same on every voter. docs/protocol.md, "Keys".
#include <algorithm>

#include "src/base/planted.h"
#include "src/model/command_rules.h"
#include "src/model/known_configuration.h"

namespace baton::command_rules {

namespace {

const Applied kApplied{true, {}};

std::set<ServerId> configured(const Configuration& configuration) {
  std::set<ServerId> ids;
  for (const auto& server : configuration.servers) ids.insert(server.id);
  return ids;
}

Applied begin(ClusterState& state, const Configuration& configuration, const RotateKeys& command) {
  KeyRotation& keys = state.keys;
  if (keys.under_way())
    return refuse("the keys are being replaced already (rotation {}, by {}): wait for its end, or call it off (baton cluster "
                  "rotate-keys --cancel)", keys.number, keys.author);
  if (command.number != keys.number) return refuse("another rotation of the keys has come first: look at `baton status`");
  if (command.after.empty() || command.after == command.before) return refuse("the new key is not another one");
  if (configuration.server(command.server) == nullptr) return refuse("server {} is not configured", command.server);
  const std::string& present = keys.called_off ? keys.before : keys.after;
  if (!present.empty() && command.before != present)
    return refuse("server {} does not have the key that is in force: it cannot make the next one", command.server);
  // The disk knows its cluster by the key, and a server that does not know the disk for its own could not ask it.
  if (configuration.np == NpKind::kDisk)
    return refuse("the disk between the servers ({}) is known by the key: apply np = \"operator\", replace the key, prepare the disk anew "
                  "(baton cluster np-disk {} --overwrite), and apply np = \"disk\" again", configuration.np_disk, configuration.np_disk);
  // SAFETY: K5, T3. A server that misses corosync's change of the key loses the other one, and nothing else: both would go on.
  if (configuration.np == NpKind::kPing && !planted(Plant::kKeyReplacedWithPing))
    return refuse("with np = \"ping\" two servers that lose each other while the key changes would both go on: apply np = \"operator\", "
                  "replace the key, and apply np = \"ping\" again");
  // SAFETY: K1. Who has to have the new key must not change while it is handed out.
  if (state.voters.joint() || state.voters.now != configured(configuration))
    return refuse("a change of the servers is under way (`baton status` shows it): wait for its end");
  stamp(state, command.clock_ms);
  KeyRotation begun;
  begun.number = keys.number + 1;
  begun.phase = KeyRotation::Phase::kStaging;
  begun.before = command.before;
  begun.after = command.after;
  begun.origin = command.server;
  begun.author = command.author;
  begun.since_ms = command.clock_ms;
  begun.deadline_ms = command.deadline_ms;
  begun.certificates = keys.certificates;
  keys = begun;
  return kApplied;
}

Applied staged(KeyRotation& keys, const Configuration& configuration, const RotateKeys& command) {
  if (keys.phase != KeyRotation::Phase::kStaging) return refuse("no key is being handed out");
  if (command.after != keys.after) return refuse("it is another key");
  if (configuration.server(command.server) == nullptr) return refuse("server {} is not configured", command.server);
  keys.staged.insert(command.server);
  return kApplied;
}

Applied in_force(KeyRotation& keys, const Configuration& configuration) {
  if (keys.phase != KeyRotation::Phase::kStaging) return refuse("no key is being handed out");
  // SAFETY: K3. From here on a server without the new key would be out of the cluster.
  for (const ServerId server : configured(configuration))
    if (!keys.staged.contains(server) && !planted(Plant::kKeyInForceEarly)) return refuse("{} has not got the new key", configuration.server_name(server));
  keys.phase = KeyRotation::Phase::kInForce;
  return kApplied;
}

Applied end(KeyRotation& keys, const RotateKeys& command) {
  const bool done = command.step == RotateKeys::Step::kDone;
  if (!keys.under_way()) return refuse("the keys are not being replaced");
  if (done && keys.phase != KeyRotation::Phase::kInForce) return refuse("the new key is not in force");
  // SAFETY: K4. Somebody may have adopted it.
  if (!done && keys.phase != KeyRotation::Phase::kStaging)
    return refuse("the new key is in force already: it cannot be called off any more (rotate again if it should be replaced)");
  keys.phase = KeyRotation::Phase::kNone;
  keys.called_off = !done;
  keys.reason = command.reason;
  return kApplied;
}

}  // namespace

Applied apply(ClusterState& state, const RotateKeys& command, uint64_t) {
  const auto configuration = known_configuration(state.configuration_text);
  if (!configuration) return refuse("the present configuration cannot be read: {}", configuration.error().message);
  if (command.step == RotateKeys::Step::kCertificates) {
    if (command.number != state.keys.certificates) return refuse("the certificates have been issued anew meanwhile");
    ++state.keys.certificates;
    return kApplied;
  }
  if (command.step == RotateKeys::Step::kBegin) return begin(state, *configuration, command);
  if (command.number != state.keys.number) return refuse("it belongs to rotation {}, the present one is {}", command.number, state.keys.number);
  stamp(state, command.clock_ms);
  if (command.step == RotateKeys::Step::kStaged) return staged(state.keys, *configuration, command);
  if (command.step == RotateKeys::Step::kInForce) return in_force(state.keys, *configuration);
  return end(state.keys, command);
}

std::string rotation_in_the_way(const ClusterState& state, const Configuration& before, const Configuration& after) {
  if (!state.keys.under_way()) return {};
  // SAFETY: K1, K5. Another reload of corosync would come in between.
  if (state.keys.phase == KeyRotation::Phase::kInForce)
    return "the cluster's keys are being replaced: try again in some seconds";
  const auto links = [](const Configuration& configuration) {
    std::map<ServerId, std::vector<std::string>> all;
    for (const auto& server : configuration.servers) all[server.id] = server.interconnects;
    return all;
  };
  if (links(before) == links(after) && before.np == after.np) return {};
  return "the cluster's keys are being replaced: servers, interconnects and np stay as they are until that has ended (`baton status` "
         "shows what it waits for; baton cluster rotate-keys --cancel calls it off)";
}

}  // namespace baton::command_rules

namespace baton {

const char* to_string(KeyRotation::Phase phase) {
  switch (phase) {
    case KeyRotation::Phase::kNone: return "none";
    case KeyRotation::Phase::kStaging: return "staging";
    case KeyRotation::Phase::kInForce: return "in force";
  }
  return "unknown";
}

}  // namespace baton
