// The operators of a simulated cluster: commands at any server at any moment, and, when everything is healed, what only a
// person can undo. Deterministic, one thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/request_history.h"
#include "sim/server.h"

namespace baton::sim {

class Operator {
 public:
  Operator(World& world, const ClusterSettings& settings, const std::map<ServerId, std::unique_ptr<Server>>& servers,
           RequestHistory& history);

  /// Some command at `server`, as it comes to somebody who looks at what that server says.
  void act(Server& server);
  /// Suspends, drains, shuts down, or takes it back: of the cluster, a server, a group.
  void maintain(Server& server);
  /// Shuts one of the servers down in order, or all of them.
  void shut_down(Server& server);
  void move(Server& server, const std::string& group, ServerId target);
  bool maintained() const { return maintained_; }
  void want(Server& server, const std::string& group, bool wanted);
  /// As configured now, but for what decides between two servers.
  void change_np(Server& server);
  /// Two servers without a witness: lets this one go on alone. He knows what he does: never one that lacks what the other one
  /// has decided alone.
  void take_over(Server& server);
  /// Rejoins, lifts restrictions, starts groups that have given up. Each time it is called again the rest.
  void put_right(Server& server);
  /// After a restore: of each mirror the copy that has the most becomes its data.
  void name_copies(Server& server, MirrorTruth& truth);
  uint64_t repairs() const { return repairs_; }

 private:
  void ask(Server& server, const char* kind, Command command);
  void wish(Server& server);
  void maintain(Server& server, const char* scope, const char* verb);
  bool decides_alone(const Server& server) const;
  bool both_are_well() const;
  bool may_go_by_another_word(const Server& server, const Server& other) const;
  void change_configuration(Server& server);
  void apply_text(Server& server, const std::string& text);
  void handle_mirror(Server& server);
  void end_maintenance(Server& server);

  World& world_;
  const ClusterSettings& settings_;
  const std::map<ServerId, std::unique_ptr<Server>>& servers_;
  RequestHistory& history_;
  Random random_;
  uint64_t repairs_ = 0;
  ServerId last_taken_over_;
  Instant taken_over_at_{-1h};
  bool maintained_ = false;
};

}  // namespace baton::sim
