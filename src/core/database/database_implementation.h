// Inside of Database: what its parts share (view and timers, opening an epoch, replication, proposals). Not for
// others. docs/protocol.md, "Cluster database".
#pragma once

#include "src/core/database/database.h"
#include "src/core/database/voter_log.h"

namespace baton::database {

/// What this voter does in the present epoch.
enum class Role {
  kNone,        // no epoch in this view yet
  kPreparing,   // a candidate: its own promise is on its way to the disk
  kCollecting,  // a candidate: Prepare is sent, promises arrive
  kFetching,    // a candidate with a majority: takes over the most advanced log
  kLeading,     // StartEpoch is appended
  kFollowing,   // has promised another's epoch
};

/// The leader's view of another voter's log.
struct Follower {
  uint64_t confirmed = 0;  // from where to send again: acknowledged, or a guess before the first answer
  uint64_t next = 0;       // sent up to here
  uint64_t matched = 0;    // on its disk
  bool answered = false;   // in this epoch
  bool counting = false;
  bool due = false;        // wants an Append even if there is nothing new
  uint64_t told = 0;       // commit index last sent
  uint64_t committed = 0;  // commit index that it says it knows
  Instant sent_at{};
  Duration patience{};                     // until the next repetition; doubles
  std::map<ServerId, Instant> lease_over;  // by its account in its last AppendDone
};

struct PendingProposal {
  Command command;
  int64_t wall_ms = 0;
  Instant since{};
  Instant sent_at{};
  Epoch sent_in;  // 0: not sent yet
};

struct Database::Implementation {
  Implementation(const Settings& given, StoredVoter stored) : settings(given), log(std::move(stored), given.voters) {}

  // database.cc: events, view, timers, standing
  void step(Instant when, const Event& event, std::vector<Action>& wanted);
  void handle(const ViewChanged& event);
  void handle(const MessageReceived& event);
  void handle(const Persisted& event);
  void handle(const SilenceChanged& event);
  void handle(const Recover& event);
  void handle(const Tick&) {}
  void check_timers();
  void progress();
  void persist_if_needed();
  Instant next_tick() const;
  void update_standing();
  std::string why_waiting() const;
  std::string why_no_majority() const;
  void send(Message message) { actions->push_back(Send{std::move(message)}); }
  std::set<ServerId> counting_members() const;
  /// It votes, and a majority that counts is in the view: what a candidate needs to begin.
  bool may_lead() const;
  uint32_t rank(bool without_leader) const;
  std::map<ServerId, Duration> lease_account(Grants grants) const;

  // epoch_opening.cc
  void receive(ServerId from, const Prepare& message);
  void receive(ServerId from, const Promise& message);
  void receive(ServerId from, const Refuse& message);
  void receive(ServerId from, const Fetch& message);
  void receive(ServerId from, const Fetched& message);
  void start_candidacy();
  void work_in(Epoch other_epoch);
  void after_durable_promise();
  void choose_log();
  std::map<ServerId, Promise>::const_iterator best_promise() const;
  bool promised_by_majority() const;
  void send_fetch();
  void begin_leading();
  Duration patience() const;

  // replication.cc
  void receive(ServerId from, const Append& message);
  void receive(ServerId from, const AppendDone& message);
  void receive(ServerId from, const CatchUpRequest& message);
  void take_entries(const Append& message);
  void acknowledge();
  void count_when_caught_up();
  void send_appends();
  void send_append(ServerId to, uint64_t after);
  void repeat_appends();
  bool wants_append(const Follower& follower) const;
  bool up_to_date(const Follower& follower) const;
  void advance_commit();
  bool owners_lease_over(uint64_t index, const std::set<ServerId>& owners);
  std::map<uint64_t, std::set<ServerId>> takeovers() const;
  LogPosition fence_at(uint64_t index) const { return {std::max(log.last().epoch, epoch), index}; }
  void apply_committed();
  ServerId owner_that_loses(const Entry& entry) const;

  // voter_changes.cc
  std::string why_not_change(const VoterSet& wanted) const;
  void settle_voters();

  // takeover.cc
  void handle(const AloneRight& event);
  bool take_over(const ProposeCommand& event);
  bool rules_alone() const;
  bool everybody_is_there() const;
  bool is_rival(ServerId from, const Promise& promise) const;
  void look_for_rival(ServerId from, const Promise& promise);
  void meet_rival(const Prepare& message);
  std::set<ServerId> missing_agreement() const;
  bool agreed_by(const std::set<ServerId>& promised) const;
  bool rivals() const;
  std::string why_no_agreement() const;

  // proposals.cc
  void handle(const ProposeCommand& event);
  void receive(ServerId from, const Propose& message);
  void append_proposal(ServerId origin, uint64_t request, const Command& command, int64_t wall_ms);
  void send_proposals();
  void drop_old_decisions();
  void give_up_proposals();

  bool serves() const;
  bool leads() const { return role == Role::kLeading; }
  ServerId leader() const;

  Settings settings;
  VoterLog log;
  LeaseAccount account = nullptr;
  void* lease = nullptr;

  Instant now{};
  std::vector<Action>* actions = nullptr;

  // The view.
  std::set<ServerId> members;       // voters in it
  std::set<ServerId> not_counting;  // that said so
  std::set<ServerId> silent;
  Epoch prepared_here;          // newest Prepare received in this view: epochs of older views do not serve
  Epoch seen;                   // newest epoch heard of
  uint32_t attempts = 0;        // at an epoch in this view
  Instant attempt_at = kNever;  // when this voter tries, if there is no progress
  Instant catch_up_at = kNever;
  Instant leader_owes_since = kNever;  // a proposal that the leader has not reacted to

  Role role = Role::kNone;
  Epoch epoch;  // of the role

  // Candidate.
  Instant collecting_since{};
  std::map<ServerId, Promise> promises;
  std::map<ServerId, Instant> promised_at;
  ServerId fetch_from;
  LogPosition fetch_previous;
  std::vector<Entry> fetched;
  Instant fetch_sent_at{};

  // Follower.
  bool promise_owed = false;
  bool acknowledgement_owed = false;
  uint64_t verified = 0;  // this log is the leader's up to here
  uint64_t acknowledged = 0;

  // Two servers, one of them taken over.
  bool right = false;
  std::set<ServerId> everybody;  // the configured servers
  bool by_itself = false;        // the right, with np = "ping"

  // Leader.
  std::map<ServerId, Follower> followers;
  std::map<ServerId, Instant> lease_over;
  Instant settle_at = kNever;         // a committed change of voters is settled then (V5)
  Instant lease_wait_until = kNever;  // an entry waits for a lease to end (L3)
  std::set<ServerId> accounts_wanted;  // whose, because it does not know when
  Instant reminder_at = kNever;       // to followers, while the epoch does not serve yet

  uint64_t committed = 0;
  uint64_t applied = 0;
  ClusterState state;
  std::map<uint64_t, PendingProposal> pending;

  Instant persist_again_at{};
  bool disk_failing = false;
  Standing standing;
};

}  // namespace baton::database
