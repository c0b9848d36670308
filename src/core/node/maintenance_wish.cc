// See maintenance_wish.h.
#include "src/core/node/maintenance_wish.h"

namespace baton::node {
namespace {

/// Makes one command; the pieces that all of them need are gathered once.
class Maker {
 public:
  Maker(const NodeCore& node, Instant now, const MaintenanceWish& wish)
      : node_(node), wish_(wish), clock_ms_(node.cluster_time(now)) {}

  Result<Command> cluster() const {
    const uint64_t version = node_.state().maintenance_version;
    if (wish_.verb == "suspend" || wish_.verb == "resume") return suspension("", ServerId{}, version);
    if (wish_.verb == "shutdown" || wish_.verb == "cancel") return shutdown(ServerId{}, version);
    return fail_as(ErrorCode::kNotFound, "the cluster knows token, remove, suspend, resume, shutdown and cancel, not \"{}\"", wish_.verb);
  }

  Result<Command> server() const {
    const auto* server = node_.configuration().server(wish_.name);
    if (server == nullptr) return fail_as(ErrorCode::kNotFound, "there is no server \"{}\"", wish_.name);
    const uint64_t version = node_.state().server(server->id).version;
    if (wish_.verb == "suspend" || wish_.verb == "resume") return suspension("", server->id, version);
    if (wish_.verb == "shutdown" || wish_.verb == "cancel") return shutdown(server->id, version);
    if (wish_.verb == "drain" || wish_.verb == "undrain")
      return Command(SetDrain{server->id, version, wish_.verb == "drain", wish_.author, wish_.reason, clock_ms_});
    if (wish_.verb == "return") return give_back(*server, version);
    return fail_as(ErrorCode::kNotFound,
                   "servers know suspend, resume, drain, undrain, shutdown, cancel and return, not \"{}\"", wish_.verb);
  }

  Result<Command> group() const {
    const auto* configured = node_.configuration().group(wish_.name);
    const auto found = configured == nullptr ? node_.state().groups.end() : node_.state().groups.find(configured->name);
    if (found == node_.state().groups.end())
      return fail_as(ErrorCode::kNotFound, "there is no group \"{}\"", wish_.name);
    const uint64_t version = found->second.version;
    if (wish_.verb == "suspend" || wish_.verb == "resume") return suspension(found->first, ServerId{}, version);
    if (wish_.verb == "release") return Command(ReleaseGroup{found->first, version, wish_.author});
    return fail_as(ErrorCode::kNotFound, "this is no maintenance of a group: \"{}\"", wish_.verb);
  }

 private:
  Command suspension(const std::string& group, ServerId server, uint64_t version) const {
    SetSuspension command{group, server, version, wish_.verb == "suspend", 0, wish_.author, wish_.reason, clock_ms_};
    if (command.suspended && wish_.lasts > Duration{0})
      command.until_ms = clock_ms_ + static_cast<uint64_t>(to_ms(wish_.lasts));
    return command;
  }

  Command shutdown(ServerId server, uint64_t version) const {
    SetShutdown command;
    command.server = server;
    command.expected_version = version;
    command.step = wish_.verb == "shutdown" ? SetShutdown::Step::kBegin : SetShutdown::Step::kCancel;
    command.move = wish_.move;
    command.afterwards = wish_.afterwards;
    command.author = wish_.author;
    command.reason = wish_.reason;
    command.clock_ms = clock_ms_;
    command.deadline_ms = clock_ms_ + static_cast<uint64_t>(to_ms(wish_.limit));
    return command;
  }

  Result<Command> give_back(const ServerConfiguration& server, uint64_t version) const {
    const ServerState& record = node_.state().server(server.id);
    if (record.standing == ServerStanding::kDown || record.standing == ServerStanding::kStopped)
      return fail_as(ErrorCode::kConflict, "{} is {} ({}): start it first", server.name, to_string(record.standing),
                     short_name(record.standing));
    if (record.standing == ServerStanding::kNormal)
      return fail_as(ErrorCode::kConflict, "{} is normal (O) already: there is nothing from which it would return",
                     server.name);
    const std::string reason = wish_.reason.empty() ? "returned to the cluster by hand" : wish_.reason;
    return Command(SetStanding{server.id, version, ServerStanding::kNormal, reason, wish_.author, clock_ms_, 0, 0});
  }

  const NodeCore& node_;
  const MaintenanceWish& wish_;
  uint64_t clock_ms_;
};

}  // namespace

Result<Command> make_maintenance(const NodeCore& node, Instant now, const MaintenanceWish& wish) {
  const Maker maker(node, now, wish);
  if (wish.scope == "cluster") return maker.cluster();
  if (wish.scope == "server") return maker.server();
  return maker.group();
}

}  // namespace baton::node
