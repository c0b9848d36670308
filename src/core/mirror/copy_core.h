// CopyCore: the parts of one copy and what they share. The parts call each other through it; within a step
// everything is sequential. See mirror_copy.cc for who gets which event. Pure.
#pragma once

#include <map>
#include <string>

#include "src/core/mirror/copy_run.h"
#include "src/core/mirror/journal.h"
#include "src/core/mirror/link.h"
#include "src/core/mirror/maintenance.h"
#include "src/core/mirror/mirror_copy.h"
#include "src/core/mirror/operations.h"
#include "src/core/mirror/primary_side.h"
#include "src/core/mirror/role_change.h"
#include "src/core/mirror/secondary_side.h"
#include "src/core/mirror/write_path.h"

namespace baton::mirror {

constexpr Duration kRetry = 250ms;  // proposals, and writes of the journal that failed

struct CopyCore {
  CopyCore(const Settings& the_settings, const StoredCopy& stored)
      : settings(the_settings),
        journal(*this, stored),
        link(*this),
        writes(*this),
        copy(*this),
        secondary(*this),
        primary(*this),
        roles(*this),
        maintenance(*this) {}
  CopyCore(const CopyCore&) = delete;
  CopyCore& operator=(const CopyCore&) = delete;

  const Settings settings;
  Context context;  // of the present step
  Operations operations;
  Counters counters;
  MirrorState committed;  // newest committed record
  bool committed_known = false;
  MirrorRole role = MirrorRole::kSecondary;
  bool exported = false;       // from Promoted to Demoted or AbortExport
  std::string disk_problem;    // an error of this copy's disk, until the daemon is started anew
  bool again = false;          // a part changed something another part waits for: one more round of advance()

  Journal journal;
  Link link;
  WritePath writes;
  CopyRun copy;
  SecondarySide secondary;
  PrimarySide primary;
  RoleChange roles;
  Maintenance maintenance;

  Instant now() const { return context.now; }
  bool lease_good() const { return context.now < context.lease_until; }
  void note(std::string text) { operations.emit(Noted{std::move(text)}); }
  /// For people, at most once in a while with the same text.
  void alert(const std::string& text);
  Permit permit() const { return journal.superblock().permit; }
  Permit known_permit() const { return std::max(permit(), committed.permit); }
  /// Nothing of an earlier connection or role is on its way from or to the disk (O2).
  bool disk_drained() const { return secondary.drained() && writes.drained() && copy.drained() && roles.drained(); }
  uint64_t random();

  // copy_core.cc
  /// Closes the connection from here and lets both sides know.
  void drop_link(const std::string& reason);
  void link_lost(const std::string& reason);
  /// The disk under the copy is broken: what it holds is not certain.
  void disk_failed(const std::string& what);
  /// The end of being primary without a hand-over: the export is aborted, the log's extents are suspect.
  void step_down(const std::string& reason);

 private:
  uint64_t random_state_ = 0;
  std::map<std::string, Instant> alerted_;
};

}  // namespace baton::mirror
