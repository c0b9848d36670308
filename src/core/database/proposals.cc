// Proposals: forwarded to the leader, repeated through changes of leader, recorded once. Pure.
// docs/protocol.md, "Commands".
#include <algorithm>

#include "src/base/assert.h"
#include "src/base/planted.h"
#include "src/core/database/database_implementation.h"

namespace baton::database {

void Database::Implementation::handle(const ProposeCommand& event) {
  BATON_ASSERT(event.request != 0);
  if (std::holds_alternative<TakeOver>(event.command) && !take_over(event)) return;
  pending.try_emplace(event.request, PendingProposal{event.command, event.wall_ms, now, Instant{}, Epoch{}});
}

/// Decided by the leader of one epoch from what it saw: nobody else's to carry out.
static bool is_the_leaders_own(const Command& command) {
  return std::holds_alternative<AssignGroup>(command) || std::holds_alternative<SetVoters>(command) ||
         std::holds_alternative<TakeOver>(command);
}

void Database::Implementation::send_proposals() {
  drop_old_decisions();
  if (!serves()) return;
  for (auto& [request, proposal] : pending) {
    if (leads()) {
      proposal.sent_in = epoch;
      append_proposal(settings.self, request, proposal.command, proposal.wall_ms);
      continue;
    }
    if (proposal.sent_in == epoch && now < proposal.sent_at + settings.resend_interval) continue;
    proposal.sent_in = epoch;
    proposal.sent_at = now;
    send(Propose{settings.self, request, proposal.command, proposal.wall_ms});
    if (planted(Plant::kAnsweredBeforeCommitted)) actions->emplace_back(ProposalDecided{request, true, Applied{true, {}}});
  }
}

/// An assignment or a change of voters was decided from what the leader of one epoch saw of the servers. Another
/// leader, or the same one in another view, decides anew: it is not handed on.
void Database::Implementation::drop_old_decisions() {
  std::erase_if(pending, [&](const auto& one) {
    const PendingProposal& proposal = one.second;
    if (!is_the_leaders_own(proposal.command)) return false;
    if (std::holds_alternative<TakeOver>(proposal.command)) return false;  // in the log since it was asked for
    const bool present = leads() && (proposal.sent_in == epoch || (proposal.sent_in == Epoch{} && serves()));
    std::string refusal = present ? "" : "the epoch in which it was decided is over";
    const auto* change = std::get_if<SetVoters>(&proposal.command);
    // SAFETY: V4. Judged before it is in the log: from then on it is in effect.
    if (present && change != nullptr && proposal.sent_in == Epoch{}) refusal = why_not_change(change->voters);
    if (refusal.empty()) return false;
    actions->emplace_back(ProposalDecided{one.first, false, Applied{false, refusal}});
    return true;
  });
}

void Database::Implementation::append_proposal(ServerId origin, uint64_t request, const Command& command,
                                               int64_t wall_ms) {
  // SAFETY: a repeated proposal is recorded once. This log holds everything committed and, with the epoch
  // serving, nothing of an older epoch can come back.
  if (log.find(origin, request) != 0) return;
  log.append(Entry{epoch, log.last_index() + 1, command, origin, request, wall_ms});
}

void Database::Implementation::receive(ServerId from, const Propose& message) {
  if (message.request == 0 || message.origin != from) return;
  if (leads()) {
    if (!serves() || is_the_leaders_own(message.command)) return;  // the proposer asks again in this epoch
    append_proposal(message.origin, message.request, message.command, message.wall_ms);
    const auto follower = followers.find(from);
    if (follower != followers.end()) follower->second.due = true;  // at the least a sign of life
    return;
  }
  if (role == Role::kFollowing && serves() && leader_owes_since == kNever) leader_owes_since = now;
}

void Database::Implementation::give_up_proposals() {
  std::erase_if(pending, [&](const auto& one) {
    if (now < one.second.since + settings.proposal_limit) return false;
    actions->emplace_back(ProposalDecided{one.first, false, Applied{false, "no majority decided it in time"}});
    return true;
  });
}

}  // namespace baton::database
