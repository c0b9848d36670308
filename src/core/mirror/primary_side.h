// PrimarySide: a primary's standing: whether it may acknowledge, alone or with its peer; the handshake, the
// in-sync set's proposals, and what the loss of the link means. docs/protocol.md, S1-S3, G1, G2.
#pragma once

#include <optional>
#include <string>

#include "src/core/mirror/block_set.h"
#include "src/core/mirror/operations.h"
#include "src/core/mirror/trailing_peer.h"

namespace baton::mirror {

struct CopyCore;

/// What a primary's requests are done with.
enum class Standing {
  kNone,         // not primary
  kWaiting,      // the set names a peer that is not there: nothing is acknowledged (S2, S3)
  kAlone,        // committed: in sync = me
  kCopying,      // alone in the set, the peer being brought up to date gets every write
  kReadmitting,  // the peer holds everything; the set's change is proposed (S3)
  kConnected,    // the set says both
  kTrailing,     // protocol A: alone in the set, the peer gets every write a little later (A1)
  kDetaching,    // this copy's disk failed: the set is to name the peer alone (D1)
  kDetached,     // the set names the peer alone: every request is carried out there
};

class PrimarySide {
 public:
  explicit PrimarySide(CopyCore& core) : core_(core), trailing_(core) {}

  /// `fresh`: this primary made the generation itself just now; nobody else has it.
  void enter(bool fresh);
  void leave();
  Standing standing() const { return standing_; }
  /// Writes go to both copies.
  bool linked() const;
  /// Writes may go to the disks.
  bool may_begin() const {
    return standing_ != Standing::kWaiting && standing_ != Standing::kNone && standing_ != Standing::kDetaching;
  }
  /// This copy's disk failed; only the peer's is used (D1).
  bool detached() const { return standing_ == Standing::kDetaching || standing_ == Standing::kDetached; }
  /// Protocol A: a write is answered when it is on this disk, whether the peer has it or not (A1).
  bool answers_when_local() const;
  /// Protocol B: ... when the peer has received it, too.
  bool answers_when_received() const;
  /// What was answered, the peer has, or gets before whatever it is asked from now on.
  bool peer_has_everything() const {
    return standing_ == Standing::kConnected || standing_ == Standing::kReadmitting || standing_ == Standing::kTrailing;
  }
  /// S1-S3, G1. `on_both`: the peer has it, too.
  bool may_acknowledge(RequestKind kind, bool on_both);
  /// G1: the peer may have this generation without what is written from now on.
  bool generation_shared() const { return generation_shared_; }

  void link_up();
  void link_lost(const std::string& reason);
  void peer_lost();
  void state_changed();
  void hello_reply(const HelloReply& reply);
  void hello_refused(const HelloRefused& refused);
  void copy_begun();
  void copy_finished();  // from the copy run: everything is sent and flushed
  void copy_ended(const CopyEnded& ended);
  /// D1: from CopyCore::disk_failed. False: there is no peer to go on from.
  bool detach();
  void peer_detached(const Detached& detached);
  /// Protocol A: a hand-over wants the peer in the set; everything has been flushed on both.
  void readmit_trailing();
  /// The peer cannot be used now; try again after a while.
  void pause_link(const std::string& problem);
  void tick();
  void advance();
  Instant next_tick() const;

  bool refused() const { return refused_; }
  /// A5: writes wait for the peer, or for its name to leave the record.
  bool too_far_behind() const { return trailing_.too_far_behind(); }
  bool proposing() const { return waiting_for_set_; }
  CopyKind copy_kind() const { return copy_kind_; }
  const std::string& copy_reason() const { return copy_reason_; }
  const std::string& problem() const { return problem_; }

 private:
  enum class Handshake { kNone, kHelloSent, kAnswered, kCopyBegin, kRunning };

  bool set_is_me() const;
  bool set_is_both() const;
  bool set_is_peer() const;
  void state_changed_detached();
  void follow_wish();
  void refuse_peer(const std::string& problem);
  bool peer_is_equal() const;
  void stand(Standing standing);
  void freeze(const std::string& reason);
  void consider_peer();
  void begin_copy();
  void send_begin();
  void ask(Message message);
  BlockSet suspects() const;
  void end_copy();
  void propose();
  void stay_alone(ProposeInSync& proposal, bool trail, TrailingPeer::Wish wish);

  CopyCore& core_;
  TrailingPeer trailing_;
  Standing standing_ = Standing::kNone;
  Handshake handshake_ = Handshake::kNone;
  std::optional<HelloReply> peer_;
  std::optional<CopyBegin> begin_;  // to be sent once its generation is on disk
  uint64_t begin_saved_ = 0;
  bool everything_sent_ = false;  // the copy run is through
  bool end_sent_ = false;         // CopyEnd is on its way: the peer adopts our generation
  Instant grace_until_ = kNever;  // a fresh primary waits that long for an in-sync peer
  uint64_t shrink_version_ = 0;   // "in sync = me" was proposed with this version, outcome unknown
  uint64_t readmit_version_ = 0;  // "me and it" was proposed with this version, outcome unknown
  Instant next_proposal_{Duration::zero()};
  bool waiting_for_set_ = false;
  std::string waiting_reason_;
  bool generation_shared_ = true;
  uint64_t generation_saved_ = 0;           // the save that makes a new generation durable
  std::optional<Generation> full_copy_of_;  // the bitmap counts for an unfinished full copy to this target
  Instant link_again_ = kNever;
  bool link_wanted_ = false;
  bool refused_ = false;  // the last time that the two met
  uint64_t question_ = 0;  // of Hello, CopyBegin, CopyEnd or Detach: the peer time-out holds for them, too
  bool detach_answered_ = false;  // the peer's new generation is on its disk
  CopyKind copy_kind_ = CopyKind::kNone;
  std::string copy_reason_;
  std::string problem_;
};

}  // namespace baton::mirror
