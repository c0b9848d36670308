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
constexpr uint64_t kExtentBlocks = 64;  // 256 KiB: the activity log's unit

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
struct CopyBegin {  // the target persists "inconsistent", then answers
  CopyKind kind = CopyKind::kFast;
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

using Message = std::variant<Hello, HelloReply, HelloRefused, WriteData, WriteDone, FlushPeer, FlushPeerDone, CopyBegin,
                             CopyBegun, HashRequest, HashReply, CopyEnd, CopyEnded, Ping>;

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

enum class RequestKind { kRead, kWrite, kFlush };
/// A request of the export. A write's buffer holds stable data; a read's buffer is to be filled.
struct ClientRequest {
  RequestId id = 0;
  RequestKind kind = RequestKind::kRead;
  BlockRange range;
  BufferId buffer = 0;
  bool force_unit_access = false;  // a write that completes only when flushed on all in-sync copies
};
/// Completion of a LocalRead, LocalWrite, LocalFlush or any Persist*.
struct OperationDone {
  OperationId operation = 0;
  bool ok = true;
  std::vector<BlockHash> hashes;  // of a LocalRead that asked for them
};
/// batond or a person asks for a comparison of both copies (connected only).
struct StartVerify {};
/// batond: the daemon is about to end in order: persist "clean" once nothing is under way (secondary, or demoted).
struct Stop {};
/// Time passes; sent when an armed time has come.
struct Tick {};

using Event = std::variant<StateCommitted, Promote, Demote, Abort, PeerLost, LinkUp, LinkDown, MessageReceived,
                           ClientRequest, OperationDone, StartVerify, Stop, Tick>;

// ---- Actions, to be begun in the order given ----

struct LocalRead {
  OperationId operation = 0;
  BlockRange range;
  BufferId buffer = 0;        // to be filled; 0: allocate one and name it `new_buffer`
  BufferId new_buffer = 0;
  bool want_hashes = false;   // OperationDone brings the hash of each block
};
struct LocalWrite {
  OperationId operation = 0;
  BlockRange range;
  BufferId buffer = 0;
};
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
/// Wants the in-sync set changed; batond makes it a committed SetInSync. Repeated until a StateCommitted shows it or something newer.
struct ProposeInSync {
  uint64_t expected_version = 0;
  Permit permit;
  std::map<ServerId, Incarnation> in_sync;
  std::string reason;
};
/// Promotion is through: the permit is on disk; the export may open.
struct Promoted {
  Permit permit;
};
/// Demotion is through: flushed, journal closed.
struct Demoted {};
/// A promotion or demotion could not be done; says why.
struct RoleRefused {
  std::string reason;
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
  std::string failure;  // empty: everything was compared
};

using Action = std::variant<LocalRead, LocalWrite, LocalFlush, PersistSuperblock, PersistActivity, PersistBitmap,
                            SendMessage, CloseLink, CompleteRequest, ReleaseBuffer, ProposeInSync, Promoted, Demoted,
                            RoleRefused, AbortExport, Stopped, WantLink, Reported, Noted, Verified>;

/// What the outer program reads anew for every step.
struct Context {
  Instant now;
  Instant lease_until;  // from the lease page; requests complete only while now < lease_until
};

}  // namespace baton::mirror
