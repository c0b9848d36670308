// May a server be given a group now, and if not, why and what would help? docs/protocol.md, "Promotion". Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "src/core/planner/planner.h"
#include "src/model/placement.h"

namespace baton::planner {

struct Candidate {
  ServerId server;
  std::string name;
  bool possible = false;           // present, and its copies may be promoted; failures there are not considered
  bool could_come = false;         // not possible yet, but something under way may change that within moments
  bool alone = false;              // if promoted, some other in-sync copy is not there to go on with it
  std::string why_not;             // "is down: power lost", "has a copy of mirror data that ..."
  std::string held;                // it came and went too often: given a group only if nobody else can
  std::string help;                // what would make it possible; empty: nothing a person can do
  std::string loss;                // what may be lost if it is promoted (A5)
  std::vector<std::string> notes;  // what is remarkable about promoting it
  uint32_t attempts = 0;           // failures there
  std::string failure;             // the last of them
  uint64_t pause_left_ms = 0;      // before it is tried there again
  size_t unwelcome = 0;            // groups there from which it is rather kept apart
  size_t company = 0;              // groups there with which it rather is

  bool refused() const { return attempts > 0; }
  bool given_up() const { return attempts >= kMaximumAttempts; }
};

/// The one that is to be given the group: the operator's target, else the preferred one of those on which it has not
/// failed (the fewest unwelcome groups, then the most company, then the policy's order), else (if no such server could come within moments) the one on which it failed least often, else one that is
/// held for coming and going. Null: none.
/// `home`: where it stays if it has not failed there, whatever else is preferred; 0: none.
const Candidate* choose(const std::vector<Candidate>& candidates, ServerId target, ServerId home = {});

/// Where a person has put it, or (failback = "no") where it ran last; 0: its policy decides.
ServerId home_of(const GroupConfiguration& group, const GroupState& state);

/// When it is tried again where it failed, and what would help.
std::string explain_pause(const GroupConfiguration& group, const Candidate& candidate);

/// Why nobody can, server by server, and what would help.
std::string explain_waiting(const GroupConfiguration& group, const std::vector<Candidate>& candidates);

/// REQUIRES: `server` is in the group's policy. `placement`: which groups are where, and will be in a moment.
Candidate judge_candidate(const Input& input, const Placement& placement, const GroupConfiguration& group, ServerId server);

/// All servers of the group's policy, in its order.
std::vector<Candidate> judge_candidates(const Input& input, const Placement& placement, const GroupConfiguration& group);

/// With what is on its way by a person's word or a step that is being carried out.
Placement placement_of(const Input& input);

/// The server's view; an absent one if nothing is known.
ServerView view_of(const Input& input, ServerId server);

/// The state of a group; nothing if the database does not know it.
const GroupState* state_of(const Input& input, const std::string& group);

/// "is down: power lost", or "is down".
std::string describe_absence(const ServerView& view);

/// The report of a copy, if its server is present.
const MirrorReport* report_of(const Input& input, const std::string& mirror, ServerId server);

/// The mirror's last holder reports that its copy is lost: its disk failed or was replaced, or a copy to it never ended.
bool holder_lost(const Input& input, const std::string& mirror, const MirrorState& state);

/// Configured since the database was restored from a backup, and all its copies report that they were never written to (R10).
bool is_unused(const Input& input, const GroupConfiguration& group, const std::string& mirror);

/// The keys of a group's mirrors, in its configuration's order.
std::vector<std::string> mirrors_of(const GroupConfiguration& group);

}  // namespace baton::planner
