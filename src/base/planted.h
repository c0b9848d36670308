// Planted bugs: each checker must be seen to bite. Production builds know no bug; the build of the core for
// `baton-sim-planted` and the *_planted_test programs (BATON_PLANTED) lets a run switch one on by name. Set before the run starts, one thread.
#pragma once

namespace baton {

enum class Plant {
  kNone,
  kReadmissionAcknowledgedAlone,   // while a readmission is undecided, writes are acknowledged without the candidate
  kOldEpochServedBeforeStart,      // Raft's figure 8: an older epoch's entry counts as committed by copies alone
  kPermitNotPersisted,             // a promoted copy does I/O before its permit is on disk
  kLeaseForgottenAtRestart,        // a restarted voter behaves as if it had granted no lease
  kBitmapAfterAcknowledgement,     // a degraded write is acknowledged before its dirty coverage is on disk
  kUncleanCopyPromoted,            // a copy that restarted uncleanly is promoted although its peer was not
  kPromiseNotPersisted,            // a voter answers a new epoch before its promise is on disk
  kFlushLocalOnly,                 // FLUSH completes without the peer's flush
  kGenerationNotBumped,            // a primary goes on alone under the generation it shared with its peer
  kActivityReleasedEarly,          // an activity-log extent is let go before the peer has flushed its writes
  kLeaseIgnored,                   // a primary acknowledges after its lease has ended
  kDetachWithoutGeneration,        // the peer of a primary whose disk failed goes on under the generation they shared
  kFailedDiskKeepsIncarnation,     // a secondary whose disk failed to write keeps its incarnation
  kEpochBarrierLeftOut,            // protocols A and B: a later epoch is written beside one that is not durable yet
  kZeroGenerationNotPersisted,     // blocks go to a disk of zeroes before the bitmap is on disk as counting for it alone
  kLagIgnored,                     // a primary answers on although the peer that may take over is too far behind
  kAloneBeforeCommitted,           // a primary goes on alone before the set says that it is
  kAnswerForgotten,                // the peer's answers are forgotten: a link at rest is taken for overdue
  kNotFoundUpIsDown,               // a restarted batond takes for down what an earlier one may be bringing up
  kNewMajorityOnly,                // while a change of voters is not settled, the new voters decide alone
  kOldMajorityOnly,                // ... the old ones do
  kVotersNotCutBack,               // voters of a change that was cut off the log stay in effect
  kFenceIgnored,                   // a guard grants whatever a server knows
  kAcknowledgedBeforeFence,        // a voter acknowledges a takeaway before its guard has the fence
  kKnownBeforeDown,                // a server says that it knows of a takeaway while the group is still up there
  kRepairWithoutLog,               // a read's repair writes before its extents are in the on-disk activity log
  kPermitNotRaised,                // a group is given away under the permit that its last owner had
  kAnsweredBeforeCommitted,        // a request is answered when the leader has been asked, not when it is committed
  kTargetKept,                     // an operator's target stays after the move
  kCausesForgotten,                // a takeover is recorded without what led to it
  kWaitsSilently,                  // a group that nobody can run waits without a reason
  kGroupsInTurn,                   // a group's steps wait until another group's have ended
  kReturningNotRefused,            // servers of before a recovery are heard, and hear nothing of it
  kGuardDeafToRecovery,            // a guard goes on granting although another one knows of a recovery
  kBreakerForgets,                 // the breaker counts nothing
  kLastOwnerStopped,               // a group leaves for a failing part although nobody else can run it
  kPlacementIgnored,               // groups are given to servers whatever else is there
  kOrderIgnored,                   // a group starts before those after which it comes
  kFailbackForgets,                // a group is failed back to where it failed
  kDrainIgnored,                   // a drained server is given groups
  kShutdownIgnored,                // a server that is being shut down is given groups
  kFormerOwnerNotKilled,           // what belongs to another server by now stays up here
  kAloneWithoutRight,              // a server that was taken over decides alone after every start, too
  kRestoredSetKept,                // a restored database starts from the in-sync sets of its backup
  kKeyInForceEarly,                // a new key is put in force when a majority has it
  kLossTakenForAnEnd,              // one of two goes on by itself whenever the other one is lost
  kOtherClaimIgnored,              // a server has the lock on the disk whatever the other one has written there
  kOldPingCounts,                  // an answer to an echo that was sent before the other server was lost counts
  kRestoredKeyForgotten,           // a restored database goes by the key of its backup, whatever has been rotated since
  kNpChangedAlone,                 // what decides between two servers changes while one decides alone by ping targets
  kKeyReplacedWithPing,            // the key is replaced although ping targets decide
  kUnknownIsBad,                   // a check that could not be made counts as a bad one
  kMonitorsRest,                   // no monitor ever checks
  kLockFreedEarly,                 // ... and frees it as soon as it decides, before the other one has its vote again
  kGapIgnored,                     // a guard takes no notice of clocks that ran ahead of the monotonic one
  kRightKeptOverGap,               // a server that decides alone does so after it stood still for long, too
};

#ifdef BATON_PLANTED
extern Plant g_plant;
inline bool planted(Plant plant) { return g_plant == plant; }
#else
constexpr bool planted(Plant) { return false; }
#endif

}  // namespace baton
