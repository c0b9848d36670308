// The names of the planted bugs. One thread, before runs.
#include "sim/plants.h"

#include <map>

#include "src/base/planted.h"

namespace baton {

#ifdef BATON_PLANTED
Plant g_plant = Plant::kNone;
#endif

namespace sim {

bool plant([[maybe_unused]] const std::string& name) {
#ifdef BATON_PLANTED
  static const std::map<std::string, Plant> kPlants{
      {"none", Plant::kNone},
      {"readmission-acknowledged-alone", Plant::kReadmissionAcknowledgedAlone},
      {"old-epoch-served-before-start", Plant::kOldEpochServedBeforeStart},
      {"permit-not-persisted", Plant::kPermitNotPersisted},
      {"lease-forgotten-at-restart", Plant::kLeaseForgottenAtRestart},
      {"bitmap-after-acknowledgement", Plant::kBitmapAfterAcknowledgement},
      {"unclean-copy-promoted", Plant::kUncleanCopyPromoted},
      {"promise-not-persisted", Plant::kPromiseNotPersisted},
      {"flush-local-only", Plant::kFlushLocalOnly},
      {"generation-not-bumped", Plant::kGenerationNotBumped},
      {"activity-released-early", Plant::kActivityReleasedEarly},
      {"lease-ignored", Plant::kLeaseIgnored},
      {"detach-without-generation", Plant::kDetachWithoutGeneration},
      {"failed-disk-keeps-incarnation", Plant::kFailedDiskKeepsIncarnation},
      {"epoch-barrier-left-out", Plant::kEpochBarrierLeftOut},
      {"zero-generation-not-persisted", Plant::kZeroGenerationNotPersisted},
      {"lag-ignored", Plant::kLagIgnored},
      {"alone-before-committed", Plant::kAloneBeforeCommitted},
      {"answer-forgotten", Plant::kAnswerForgotten},
      {"not-found-up-is-down", Plant::kNotFoundUpIsDown},
      {"new-majority-only", Plant::kNewMajorityOnly},
      {"old-majority-only", Plant::kOldMajorityOnly},
      {"voters-not-cut-back", Plant::kVotersNotCutBack},
      {"fence-ignored", Plant::kFenceIgnored},
      {"acknowledged-before-fence", Plant::kAcknowledgedBeforeFence},
      {"known-before-down", Plant::kKnownBeforeDown},
      {"repair-without-log", Plant::kRepairWithoutLog},
      {"permit-not-raised", Plant::kPermitNotRaised},
      {"answered-before-committed", Plant::kAnsweredBeforeCommitted},
      {"target-kept", Plant::kTargetKept},
      {"causes-forgotten", Plant::kCausesForgotten},
      {"waits-silently", Plant::kWaitsSilently},
      {"groups-in-turn", Plant::kGroupsInTurn},
      {"returning-not-refused", Plant::kReturningNotRefused},
      {"guard-deaf-to-recovery", Plant::kGuardDeafToRecovery},
      {"breaker-forgets", Plant::kBreakerForgets},
      {"last-owner-stopped", Plant::kLastOwnerStopped},
      {"placement-ignored", Plant::kPlacementIgnored},
      {"order-ignored", Plant::kOrderIgnored},
      {"failback-forgets", Plant::kFailbackForgets},
      {"drain-ignored", Plant::kDrainIgnored},
      {"shutdown-ignored", Plant::kShutdownIgnored},
      {"former-owner-not-killed", Plant::kFormerOwnerNotKilled},
      {"alone-without-right", Plant::kAloneWithoutRight},
      {"restored-set-kept", Plant::kRestoredSetKept},
      {"key-in-force-early", Plant::kKeyInForceEarly},
      {"loss-taken-for-an-end", Plant::kLossTakenForAnEnd},
      {"other-claim-ignored", Plant::kOtherClaimIgnored},
      {"old-ping-counts", Plant::kOldPingCounts},
      {"restored-key-forgotten", Plant::kRestoredKeyForgotten},
      {"np-changed-alone", Plant::kNpChangedAlone},
      {"key-replaced-with-ping", Plant::kKeyReplacedWithPing},
      {"unknown-is-bad", Plant::kUnknownIsBad},
      {"monitors-rest", Plant::kMonitorsRest},
      {"lock-freed-early", Plant::kLockFreedEarly},
      {"gap-ignored", Plant::kGapIgnored},
      {"right-kept-over-gap", Plant::kRightKeptOverGap},
  };
  const auto found = kPlants.find(name);
  if (found == kPlants.end()) return false;
  g_plant = found->second;
  return true;
#else
  return false;
#endif
}

}  // namespace sim
}  // namespace baton
