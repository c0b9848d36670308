// The mirror core's vocabulary: what happens to a copy (events) and what it wants done (actions). Plain values.
// Data never passes through the core: it names buffers that the outer program owns. docs/protocol.md,
// "Permits" to "Order".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "src/base/ids.h"
#include "src/base/time.h"
#include "src/model/cluster_state.h"
#include "src/model/mirror_report.h"

namespace baton::mirror {

constexpr uint64_t kBlockBytes = 4096;
constexpr uint64_t kExtentBlocks = 256;  // 1 MiB: the activity log's unit

/// Consecutive blocks. Requests are whole blocks: the export has 4096-byte sectors.
struct BlockRange {
  uint64_t first = 0;
  uint64_t count = 0;
  uint64_t end() const { return first + count; }
  bool overlaps(const BlockRange& other) const { return first < other.end() && other.first < end(); }
  auto operator<=>(const BlockRange&) const = default;
};

/// A buffer of the outer program. The core decides its life: from the event that brings it (or the action that asks
/// for it) until ReleaseBuffer. 0 is none.
using BufferId = uint64_t;
/// Names an operation given out by an action; comes back in its completion. Never used twice by one core.
using OperationId = uint64_t;
/// Names a client's request at the export; chosen by the outer program.
using RequestId = uint64_t;
/// Names one connection of the mirror connect; events of an older one are ignored. Rises, chosen by the outer program.
using ConnectionId = uint64_t;

/// Hash of one block's data (XXH3, 64 bits twice with different seeds would do as well: 128 bits).
struct BlockHash {
  uint64_t low = 0;
  uint64_t high = 0;
  auto operator<=>(const BlockHash&) const = default;
};

// ---- On disk ----

/// All that a copy must remember besides data, bitmap and activity log. Written as a whole, atomically.
struct Superblock {
  std::string mirror;        // mirror_key()
  uint64_t size_blocks = 0;
  Permit permit;             // highest known
  bool was_primary = false;  // role under that permit
  Incarnation incarnation;
  bool clean = true;         // false while running; a start that finds false is a start after an unclean stop
  bool consistent = true;
  Generation generation;
  std::vector<Generation> ancestors;  // newest first, at most 32
  Generation base;           // from which the dirty bitmap counts
  bool detached = false;     // its disk failed under it: not promotable, not a target, until the disk is replaced
  bool snapshot = false;     // while inconsistent: the state before the copy is kept beside the store
  bool operator==(const Superblock&) const = default;
};

/// What start-up found on disk.
struct StoredCopy {
  Superblock superblock;
  std::vector<uint64_t> activity;   // extents of the newest valid slot of the log
  std::vector<BlockRange> dirty;    // set bits of the bitmap, ascending, disjoint
  bool journal_unreliable = false;  // bitmap or log unreadable or rotten: everything counts as suspect
};

// ---- Messages of the mirror connect (after authentication) ----

struct Hello {  // primary -> secondary
  MirrorProtocol protocol = MirrorProtocol::kC;
  Permit permit;
  uint64_t size_blocks = 0;
  Generation generation;
  std::vector<Generation> ancestors;
  Generation base;
};
struct HelloReply {  // secondary -> primary, with everything of older connections on disk
  Permit permit;
  Incarnation incarnation;
  uint64_t size_blocks = 0;
  bool consistent = true;
  Generation generation;
  std::vector<Generation> ancestors;
  std::vector<uint64_t> suspects;  // extents of its activity log
  bool all_suspect = false;        // its journal was unreliable
};
struct HelloRefused {  // secondary -> primary; the connection is then closed
  Permit newer_permit;  // 0: refused for another reason
  std::string reason;
};
struct WriteData {  // primary -> secondary; carries a buffer
  uint64_t sequence = 0;
  BlockRange range;
  uint64_t epoch = 0;  // protocols A and B: nothing of a later epoch is begun before all of the earlier ones is written
};
struct WriteDone {  // secondary -> primary
  uint64_t sequence = 0;
  bool ok = true;
};
struct FlushPeer {
  uint64_t sequence = 0;
};
struct FlushPeerDone {
  uint64_t sequence = 0;
  bool ok = true;
};
struct CopyBegin {  // the target persists "inconsistent" and the generation, then answers
  CopyKind kind = CopyKind::kFast;
  Generation generation;  // what the target is from now on; blank: what it was (G2, zeroed stores)
};
struct CopyBegun {};
struct HashRequest {
  uint64_t sequence = 0;
  BlockRange range;
};
struct HashReply {
  uint64_t sequence = 0;
  std::vector<BlockHash> hashes;  // one per block; empty: could not be read
};
struct CopyEnd {  // everything sent: the target flushes, then persists
  Generation generation;
  std::vector<Generation> ancestors;
};
struct CopyEnded {
  Incarnation incarnation;
};
struct Ping {};
/// The blocks become zeroes; answered by WriteDone. Carries no data.
struct ZeroData {  // primary -> secondary
  uint64_t sequence = 0;
  BlockRange range;
  uint64_t epoch = 0;
  bool unmap = false;  // their space may be given back
};
/// Protocol B: the write is in the secondary's memory; its WriteDone follows.
struct WriteReceived {  // secondary -> primary
  uint64_t sequence = 0;
};
/// The primary cannot read these blocks from its own disk.
struct ReadPeer {  // primary -> secondary
  uint64_t sequence = 0;
  BlockRange range;
};
struct PeerData {  // secondary -> primary; carries a buffer of the blocks asked for; none when not ok
  uint64_t sequence = 0;
  uint64_t count = 0;  // blocks
  bool ok = true;
};
/// The primary's disk is gone: from now on the secondary's copy alone has the data (docs/protocol.md, D1).
struct Detach {};     // primary -> secondary
struct Detached {     // secondary -> primary: its new generation is on disk
  Generation generation;
  std::vector<Generation> ancestors;
};

using Message = std::variant<Hello, HelloReply, HelloRefused, WriteData, WriteDone, FlushPeer, FlushPeerDone, CopyBegin,
                             CopyBegun, HashRequest, HashReply, CopyEnd, CopyEnded, Ping, ZeroData, WriteReceived,
                             ReadPeer, PeerData, Detach, Detached>;

// ---- Events ----

/// The mirror's committed record, each time batond learns one (also after its restart). The only source of in-sync.
struct StateCommitted {
  MirrorState state;
};
/// batond: become primary under this permit (the committed state with it has been given before).
struct Promote {
  Permit permit;
};
/// batond: hand over cleanly. The export has been closed; no request is under way.
struct Demote {};
/// batond: the group is no longer ours; give the export up at once, without a hand-over. Answered by Demoted.
struct Abort {
  std::string reason;
};
/// batond: the peer's server has left the cluster's view; do not wait for the peer time-out.
struct PeerLost {
  std::string reason;
};
/// An authenticated connection to the peer is there (either side).
struct LinkUp {
  ConnectionId connection = 0;
};
struct LinkDown {
  ConnectionId connection = 0;
  std::string reason;
};
struct MessageReceived {
  ConnectionId connection = 0;
  Message message;
  BufferId buffer = 0;  // data of a WriteData
};

/// kZero: the blocks read as zeroes from then on (a trim, too, so that the copies stay equal).
enum class RequestKind { kRead, kWrite, kFlush, kZero };
/// A request of the export. A write's buffer holds stable data; a read's buffer is to be filled. At most
/// kMaxRequestBlocks long, a kZero at most kMaxZeroBlocks: the export cuts longer ones.
struct ClientRequest {
  RequestId id = 0;
  RequestKind kind = RequestKind::kRead;
  BlockRange range;
  BufferId buffer = 0;
  bool force_unit_access = false;  // a write that completes only when flushed on all in-sync copies
  bool unmap = false;              // a kZero that may give the space back (trim)
};
constexpr uint64_t kMaxRequestBlocks = 256;  // 1 MiB
constexpr uint64_t kMaxZeroBlocks = 8192;    // 32 MiB
/// Completion of a LocalRead, LocalWrite, LocalZero, LocalFlush, TakeSnapshot, RevertToSnapshot or any Persist*.
struct OperationDone {
  OperationId operation = 0;
  bool ok = true;
  std::vector<BlockHash> hashes;  // of a LocalRead that asked for them
  bool zero = false;              // a LocalRead that asked for it: all of it is zeroes
};
/// A person asks for a comparison of both copies (connected only); with `repair` what differs is sent from here.
struct StartVerify {
  bool repair = false;
};
/// Bytes per second of copies and verifies: 0 follows the foreground's latency, else as fast as that and no faster.
struct SetRate {
  uint64_t bytes_per_second = 0;
};
/// A person has decided that this copy's data is not wanted: it becomes a blank one (secondary only).
/// Answered by Discarded or RoleRefused.
struct Discard {};
/// The store and its metadata have room for this size now (never smaller than before). Answered by Grown or RoleRefused.
struct Grow {
  uint64_t size_blocks = 0;
};
/// A person wants to read this broken-off copy for a backup (or no longer). Answered by BackupReady or RoleRefused.
struct Backup {
  bool wanted = false;
};
/// batond: the daemon is about to end in order: persist "clean" once nothing is under way (secondary, or demoted).
struct Stop {};
/// Time passes; sent when an armed time has come.
struct Tick {};

using Event = std::variant<StateCommitted, Promote, Demote, Abort, PeerLost, LinkUp, LinkDown, MessageReceived,
                           ClientRequest, OperationDone, StartVerify, SetRate, Discard, Grow, Backup, Stop, Tick>;

// ---- Actions, to be begun in the order given ----

struct LocalRead {
  OperationId operation = 0;
  BlockRange range;
  BufferId buffer = 0;        // to be filled; 0: allocate one and name it `new_buffer`
  BufferId new_buffer = 0;
  bool want_hashes = false;   // OperationDone brings the hash of each block
  bool want_zero = false;     // OperationDone says whether all of it is zeroes
};
struct LocalWrite {
  OperationId operation = 0;
  BlockRange range;
  BufferId buffer = 0;
};
/// The blocks read as zeroes when done.
struct LocalZero {
  OperationId operation = 0;
  BlockRange range;
  bool unmap = false;  // their space may be given back
};
/// Keeps the store's present content beside it (a reflink) until DropSnapshot. Not ok: this store cannot.
struct TakeSnapshot {
  OperationId operation = 0;
};
/// The store's content becomes the snapshot's again, durably; the snapshot stays until DropSnapshot.
struct RevertToSnapshot {
  OperationId operation = 0;
};
struct DropSnapshot {};
/// Everything whose completion was reported before is durable when this completes.
struct LocalFlush {
  OperationId operation = 0;
};
/// Durable when done. Atomic: after a crash the old or the new one is found, never a mixture.
struct PersistSuperblock {
  OperationId operation = 0;
  Superblock superblock;
};
/// The whole activity log, durable when done (next slot of the ring).
struct PersistActivity {
  OperationId operation = 0;
  std::vector<uint64_t> extents;  // ascending
};
/// Parts of the bitmap, durable when done: for each 32,768-block page number its set blocks' ranges (all others clear).
struct PersistBitmap {
  OperationId operation = 0;
  std::map<uint64_t, std::vector<BlockRange>> pages;
};
constexpr uint64_t kBitmapPageBlocks = 32768;  // 4096 bytes of bits: 128 MiB of data

struct SendMessage {
  ConnectionId connection = 0;
  Message message;
  BufferId buffer = 0;  // data to send with a WriteData; stays owned by the core
};
struct CloseLink {
  ConnectionId connection = 0;
  std::string reason;
};
/// Only emitted while the lease lasts (Context::lease_until) or for a failure.
struct CompleteRequest {
  RequestId id = 0;
  bool ok = true;
};
struct ReleaseBuffer {
  BufferId buffer = 0;
};
/// Copies the first blocks of one buffer into another (a read answered with the peer's data).
struct CopyBuffer {
  BufferId from = 0;
  BufferId to = 0;
  uint64_t blocks = 0;
};
/// Wants the in-sync set changed; batond makes it a committed SetInSync. Repeated until a StateCommitted shows it or something newer.
struct ProposeInSync {
  uint64_t expected_version = 0;
  Permit permit;
  std::map<ServerId, Incarnation> in_sync;
  std::string reason;
  std::map<ServerId, Incarnation> trailing;  // A5: the peer, where it may take over although it is a little behind
};
/// Promotion is through: the permit is on disk; the export may open.
struct Promoted {
  Permit permit;
};
/// Demotion is through: flushed, journal closed.
struct Demoted {};
/// A promotion, demotion or what else was asked could not be done; says why.
struct RoleRefused {
  std::string reason;
  std::string request;  // "discard", "grow", "backup"; empty: a change of role
};
/// Fenced or frozen for too long: the export must be aborted at once; all requests fail.
struct AbortExport {
  std::string reason;
};
/// "clean" is on disk: the daemon may end.
struct Stopped {};
/// The primary wants (or no longer wants) the outer program to connect to the peer and keep trying.
struct WantLink {
  bool wanted = false;
};
/// The report changed. At most one per step; progress alone at most every 100 ms.
struct Reported {
  MirrorReport report;
};
/// For the event log.
struct Noted {
  std::string text;
};
/// The verify is done, or could not be.
struct Verified {
  uint64_t blocks = 0;
  uint64_t different = 0;
  uint64_t repaired = 0;
  std::string failure;  // empty: everything was compared
};

struct Discarded {};
struct Grown {
  uint64_t size_blocks = 0;
};
/// Nobody writes to the store (wanted), or what reads it must end before this is answered (not wanted).
struct BackupReady {
  bool wanted = false;
};
/// A disk that failed is tried again: nothing that was written to it before counts any more (D3), what is written from
/// now on does.
struct DiskRetried {};
/// Something that people must look at soon (alert): a disk that failed, a peer that is slow.
struct Alerted {
  std::string text;
};

using Action = std::variant<LocalRead, LocalWrite, LocalFlush, PersistSuperblock, PersistActivity, PersistBitmap,
                            SendMessage, CloseLink, CompleteRequest, ReleaseBuffer, ProposeInSync, Promoted, Demoted,
                            RoleRefused, AbortExport, Stopped, WantLink, Reported, Noted, Verified, LocalZero, TakeSnapshot,
                            RevertToSnapshot, DropSnapshot, Discarded, Grown, BackupReady, Alerted, DiskRetried,
                            CopyBuffer>;

/// What the outer program reads anew for every step.
struct Context {
  Instant now;
  Instant lease_until;  // from the lease page; requests complete only while now < lease_until
};

}  // namespace baton::mirror
