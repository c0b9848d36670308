// Inside of NodeCore: what its parts share. Not for others. docs/protocol.md.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "src/core/node/lineage_gate.h"
#include "src/core/node/node.h"
#include "src/core/node/silence.h"

namespace baton::node {

struct NodeCore::Implementation {
  Implementation(const Settings& given, database::StoredVoter stored, Instant now);

  // node.cc: events in, actions out
  void step(Instant now, const Event& event, std::vector<Action>& actions);
  void handle(const ViewChanged& event);
  void handle(const MessageReceived& event);
  void handle(const Persisted& event);
  void handle(const MirrorReported& event);
  void handle(const MirrorGone& event);
  void handle(const MirrorProposed& event);
  void handle(const StepDone& event);
  void handle(const ResourceFailed& event);
  void handle(const ProgramStarted& event);
  void handle(const ProgramRemoved& event);
  void handle(const ProgramEnded& event);
  void handle(const CheckDone& event);
  void handle(const Requested& event);
  void handle(const GuardReported& event);
  void handle(const GuardGone& event);
  void handle(const Recover& event);
  void handle(const FenceDone& event);
  void handle(const KeysReported& event);
  void handle(const RingLoaded& event);
  void handle(const Tick& event);
  void handle(const DiskRoundDone& event) { disk_lock.done(now, event); }
  void handle(const PingAnswered& event) { ping.answered(now, event); }
  void feed_database(const database::Event& event);
  void on_applied(const database::EntryApplied& applied);
  void on_decided(const database::ProposalDecided& decided);
  void on_standing();
  void load_configuration(const Configuration& configuration);
  Duration beat_interval() const;
  void send_beat_if_due();
  void watch_silence();
  void tell_database_who_is_silent();
  Instant next_tick() const;
  void note(Note what) { out().push_back(std::move(what)); }
  std::vector<Action>& out() { return *actions; }

  // node_recovery.cc
  void take(const Event& event);
  void pass_on(GateActions& gated);
  void follow_lineage();
  Epoch lineage() const { return database.standing().counting ? database.lineage() : kNoLineage; }
  void hear_guard();
  Configuration configuration_on_disk() const;
  std::set<ServerId> survivors() const;
  std::set<ServerId> lost() const;
  std::string why_gate_waits() const;
  std::string why_not_recover(Instant when) const;
  std::string why_not_prepare_disk(Instant when, const std::string& device) const;
  std::string why_not_now(Instant when) const;

  // node_guard.cc
  void tell_guard();
  void forget_what_was_cut();
  guard::Knowledge knowledge();
  LogPosition as_acknowledged(LogPosition fence) const;
  bool fences_in_place() const;
  void release_held();
  void note_guard();
  std::map<ServerId, Duration> lease_left(Instant when, database::Database::Grants grants) const;
  std::string waiting_for_guard() const;
  bool runs_what_it_does_not_own() const;

  // node_lease.cc
  void suspend_or_kill();
  bool lease_lapsed() const { return now >= published_until; }

  // node_groups.cc: the groups of this server
  bool undisturbed() const;
  void look_after_all();
  void manage_groups();
  void manage_group(const GroupState& group, const std::string& name, group::GroupRun& run);
  void manage_owned(const GroupState& group, const std::string& name, group::GroupRun& run);
  void manage_stuck(const GroupState& group, const std::string& name, group::GroupRun& run);
  bool is_leaving(const GroupState& group) const;
  bool waits_with_stop(const std::string& name) const;
  bool mirrors_up(const group::GroupRun& run) const;
  bool copies_changed(const group::GroupRun& run) const;
  bool copies_left_out(const group::GroupRun& run) const;
  void propose_phase(const GroupState& group, const std::string& name, GroupPhase phase, const group::GroupRun& run,
                     const std::string& reason);
  void collect_steps(const std::string& name, group::GroupRun& run);
  void collect_checks(const std::string& name, group::GroupRun& run);
  void renew_run(const std::string& name);
  void tick_runs();
  Permit permit_of(const std::string& name, const std::string& resource) const;

  // node_planning.cc: what the epoch's leader does for all
  void lead();
  void change_voters();
  planner::Input planner_input(Instant when) const;
  Instant copy_silent_since(ServerId server, const std::string& mirror) const;
  void name_silent_copies(planner::Input& input, Instant when) const;
  planner::ServerView view_of(ServerId server, Instant when) const;

  // node_takeover.cc: two servers without a third vote
  void watch_right();
  void yield(const Event& event);
  void tell_database_right();
  void call_operator();
  bool alone_by_log() const;
  ServerId other_server() const;
  std::set<ServerId> servers_on_disk() const;
  Result<TakeoverOffer> offer_takeover(Instant when, const std::string& author) const;
  std::string why_not_understood(const Command& command) const;
  bool two_decide_by_operator(const Configuration& parsed) const;
  Status may_decide_alone(const Configuration& parsed) const;
  Status may_take_over(Instant when, const Configuration& parsed, const ClusterState& state) const;
  bool sees_other() const;
  struct TakenOver {
    const ClusterState& before;
    const ClusterState& after;
  };
  std::string describe_copy(const TakenOver& states, const std::string& key, bool& loses) const;
  std::vector<std::string> describe_maintenance(const ClusterState& state) const;
  std::string partition_waiting(Instant when) const;

  // node_after_an_end.cc: ... of which one is shut down in order
  void note_departure(ServerId server, uint64_t life);
  void go_on_after_an_end();
  void heed_refused_right();
  void describe_own_end();
  bool left_out_by_own_end(const ClusterState& state) const;

  // node_arbiter.cc: ... where one of them may go on by nobody's word
  struct ArbiterView {
    LogPosition at;        // the log's last entry
    LogPosition on_disk;   // ... of those that are on the disk
    bool serving = false;
    uint64_t version = 0;
    Configuration configuration;
    bool left_out = false;    // the other one went on without this server
    bool understood = false;  // a takeover, by both
  };
  const ArbiterView& arbiter_view();
  std::string why_not_by_itself(const ArbiterView& view) const;
  bool other_is_preferred() const;
  bool take_over_by_itself(const std::string& reason, const std::string& alert);
  std::string arbiter_waiting() const;

  // node_disk.cc: ... by a disk in common
  void watch_disk();
  void prove_disk();
  std::string why_not_ask(const ArbiterView& view) const;
  arbiter::DiskWish disk_wish(const ArbiterView& view) const;
  void heed_disk(const ArbiterView& view);
  bool word_waits(const Requested& event);
  void heed_word();
  void note_disk();
  std::string describe_disk() const;
  Status may_overrule_disk(Instant when, Duration gap) const;
  std::string disk_waiting() const;
  void add_disk_facts(TakeoverOffer& offer, Instant when) const;

  // node_ping.cc: ... by ping targets
  void watch_ping();
  void note_together();
  void ask_addresses(const ArbiterView& view);
  std::string why_not_by_ping(const ArbiterView& view) const;
  void go_on_by_ping(const ArbiterView& view);
  void stand_down_or_go_on();
  void meet_rival();
  void note_ping();
  Instant together_until() const;
  Instant next_ping_step() const;
  bool by_ping() const;
  std::string ping_waiting() const;
  std::string describe_ping() const;
  void add_ping_facts(TakeoverOffer& offer) const;

  // node_scripts.cc: what scripts are told and ask for, and what is done about what keeps failing
  bool is_home(const GroupConfiguration& group) const;
  void note_start_event(const AssignGroup& assign, bool taken);
  void note_phase(const SetGroupPhase& phase);
  void watch_return();
  void tell_of_return(const GroupState& group, const group::GroupRun& run);
  bool return_done(const StepDone& event);
  bool stops_for_good(const GroupState& group, const std::string& name, const group::GroupRun& run);
  void wish_own_end(const GroupState& group, const std::string& name, const group::GroupRun& run);
  void end_for_what_failed();
  std::optional<Obstacle> why_not_end_here() const;

  // node_fencing.cc: the power of lost servers
  void lead_fencing();
  void carry_out_fences();
  ServerId cutter_of(ServerId server) const;
  void record_results();
  void record_fence(ServerId server, const FenceState& record, FenceOutcome outcome, const std::string& text);
  std::string reason_to_fence(const ServerConfiguration& server, const FenceState& record);
  bool back_from_fencing(ServerId server, const FenceState& record);
  bool too_many_fenced() const;

  // node_keys.cc: the cluster's keys
  void watch_keys();
  void follow_rotation();
  void stage_key();
  void keep_ring_on(const std::string& fingerprint);
  void try_keys();
  void lead_keys();
  void lead_staging();
  void lead_ring();
  bool ask_again(Duration pause);
  std::string keys_waiting(Instant when) const;
  ServerId holder_of_new_key() const;
  Instant next_key_step() const;

  // node_start.cc: cluster time, the cluster's start, this server's orderly end
  uint64_t cluster_time(Instant when) const;
  void advance_cluster_time(uint64_t clock_ms);
  void take_account(const BeatMessage& beat);
  void watch_start();
  std::string starting(Instant when) const;
  bool a_server_is_there() const;
  bool has_reported(ServerId server) const;
  std::vector<std::string> missing_servers() const;
  std::map<ServerId, uint64_t> lives() const;
  void name_lost_owner(WishGroup& wish) const;
  void watch_end();
  std::string leftovers() const;
  void look_for_end(const Command& command);

  /// Proposes once per subject ("group db", "mirror db.data"): while one is under way another is not begun.
  void propose(const std::string& subject, const Command& command, int64_t wall_ms = 0);
  bool is_proposing(const std::string& subject) const;
  const Configuration& current() const { return configuration; }
  Instant lease_over_at(ServerId server, Instant when) const;
  Instant next_plan() const;
  bool server_gone(ServerId server) const;
  bool leads() const { return database.standing().serving && database.standing().leader == settings.self; }

  Settings settings;
  Configuration configuration;
  uint64_t configuration_version = 0;  // loaded; 0: the founding one
  std::string voters_waiting;          // leader only: why a change of voters that is due does not begin
  database::Database database;
  LineageGate gate;
  Instant recovered_at = kNever;  // here, by a person
  Silence silence;

  Instant now{};
  std::vector<Action>* actions = nullptr;
  std::set<ServerId> members;  // the engine's view
  std::map<ServerId, Instant> heard_since;  // each one's first beat in this view
  std::map<ServerId, std::map<std::string, Instant>> copies_heard;  // the last beat with a report of each mirror's copy
  std::map<ServerId, Peer> peers;
  Instant view_since{};
  std::map<ServerId, std::map<std::string, MirrorReport>> reports;
  bool report_changed = false;  // beat sooner than due
  Instant beat_at{};
  Instant last_beat{};

  std::optional<guard::Report> guard;       // its last one; none: not there
  std::optional<guard::Knowledge> told;     // to that guard
  guard::Fences fences;                     // F2, of entries known to be committed
  Instant guard_since{};       // of this guard's first report
  LogPosition voters_fence;    // of the newest change of voters that was applied
  LogPosition exact;                        // entries up to there are in `fences`, told by an earlier batond
  LogPosition server_knows;                 // F1
  uint64_t tell_number = 0;
  uint64_t fences_number = 0;               // of the message that told the present fences first
  std::optional<Persisted> held_back;          // L2: waits for the guard to have them
  Instant guard_missed_since = kNever;      // something waits for it
  bool guard_noted = false;
  bool withdrawn = false;

  uint64_t right = 0;             // W4: the guard's gaps when this server was let decide alone; 0: it was not
  bool yields = false;            // to the other server, which was let go on alone later (W5)
  bool started_anew = false;
  uint64_t right_on_disk = 0;     // ... and the entry that says so is on the disk: what the guard is told
  database::AloneRight told_right;
  Instant not_serving_since{};    // kNever: it serves
  bool operator_called = false;
  ServerId left_in_order;         // W7: it was stopped in order, and has left
  Instant go_on_by{};             // ... and until then this server may go on by itself
  Instant right_by = kNever;      // until then the guard may take the right
  Instant other_seen{};           // the other one of two was last a member
  bool sees_other_now = false;
  std::string own_end;            // this server was stopped in order while the other one went on
  uint64_t own_end_at = 0;        // by the log up to there
  struct OwnEndWish {
    std::string group;
    std::string failure;
    Afterwards afterwards = Afterwards::kPowerOff;
    Instant since{};
  };
  std::optional<OwnEndWish> end_wish;     // what failed is configured to end this server
  std::set<std::string> end_considered;   // groups of which it has been, since they were assigned last

  arbiter::DiskLock disk_lock;
  Instant started_at{};
  std::optional<ArbiterView> known_view;
  std::string disk_proved;              // the disk that the other one was seen to write to while it was heard
  std::optional<Requested> asked_word;  // an operator's takeover that waits for the lock
  uint64_t word_voids = 0;              // ... and the other one's claim that it makes void
  Instant word_until{};
  bool word_without_disk = false;       // one was given while the disk could not be asked
  Instant disk_missed_since = kNever;
  bool disk_noted = false;
  Instant not_same_since = kNever;
  bool not_same_noted = false;

  arbiter::PingWatch ping;
  Instant together{};            // the newest beat that came back while the two decided together; Instant{}: not in this life
  uint64_t together_guard = 0;   // the guard of then
  uint64_t together_gaps = 0;    // ... and how often that had stood still
  Instant lease_seen_over = kNever;  // the other one's lease, by this guard's account, since the two lost each other
  bool other_holds_on = false;   // an address of its groups answered after that
  std::string not_by_ping;       // why this server did not go on by itself while it might have
  Instant stood_down = kNever;   // no target answered: it would go on when one does
  uint64_t stood_down_gaps = 0;
  bool ping_noted = false;
  bool rival_met = false;        // both decided alone, and neither goes on

  Instant published_until{};
  std::optional<std::chrono::minutes> time_of_day;
  Instant lapsed_since{};      // when the lease was found to be over; kNever: it is not
  bool lapse_noted = false;
  database::Standing known_standing;

  // Cluster time: what was last known of it, and when.
  uint64_t clock_ms = 0;
  Instant clock_at{};
  bool settled = false;           // the cluster's start is over
  Instant waiting_since = kNever; // for servers that are missing at a start; kNever: it has not begun
  uint64_t heard_waited_ms = 0;
  std::optional<EndServer> ending;
  Instant end_at = kNever;
  bool ended = false;
  Instant served_at{};

  std::optional<KeysReported> keys;  // none: not told yet
  std::map<ServerId, std::string> ring_keys;  // as the beats of this view say
  Instant key_step_at{};        // the next action on keys may be asked for
  Instant try_key_at = kNever;  // K6
  uint64_t key_tries = 0;
  Epoch ring_epoch{};           // the leader's, in which it had corosync load, and for which rotation
  uint64_t ring_rotation = 0;
  Instant ring_loaded_at = kNever;
  bool ring_mixed = false;
  Instant ring_again_at{};

  /// What groups go by that changes without an action.
  struct Looked {
    bool lapsed = false;
    bool settled = false;
    bool operator==(const Looked&) const = default;
  };
  Looked looked;
  bool nothing_new = false;  // in the event of this step

  uint64_t next_token = 1;
  std::map<std::string, std::unique_ptr<group::GroupRun>> runs;
  std::set<std::string> stale_runs;  // given to this server again before their end from an earlier assignment was reached
  std::map<std::string, ServerId> previous_owner;   // before the present assignment
  std::map<std::string, ServerId> last_owner;
  std::map<std::string, StartEvent> start_events;   // of the present assignment
  std::set<std::string> failed_groups;              // something of it failed since it was last up
  std::set<std::string> untold_returns;             // groups whose scripts are to be told of this server's return
  std::map<uint64_t, RunStep> returns;              // ... and are being told
  ServerStanding own_standing = ServerStanding::kNormal;

  std::map<ServerId, uint64_t> fencing;      // begun here: the version of the record
  std::map<ServerId, std::pair<uint64_t, Instant>> fence_known;  // its version, and since when this leader knows it
  std::map<ServerId, FenceDone> fence_results;   // not yet in the log
  std::map<ServerId, Instant> fence_again_at;  // after a failed attempt

  uint64_t next_request = 0;
  struct Proposal {
    std::string subject;
    bool external = false;
    uint64_t external_request = 0;
  };
  std::map<uint64_t, Proposal> proposals;
  std::map<std::string, Instant> propose_again_at;  // after a refused or unknown one
};

}  // namespace baton::node
