// What one server's control plane is told (events) and wants done (actions): the border between the pure node and
// batond (or the simulation). Plain values. docs/protocol.md.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "src/base/ids.h"
#include "src/base/time.h"
#include "src/core/arbiter/disk_lock.h"
#include "src/core/arbiter/ping_watch.h"
#include "src/core/database/database.h"
#include "src/core/group/group_run.h"
#include "src/core/guard/guard.h"
#include "src/model/event.h"
#include "src/model/link_report.h"
#include "src/model/mirror_details.h"
#include "src/model/mirror_report.h"

namespace baton::node {

// ---- Messages between nodes ----

/// A sign of life of batond, with what its server's mirror copies report. (Leases are renewed by the guards' beats.)
struct BeatMessage {
  uint64_t sequence = 0;
  uint64_t start = 0;  // of the sender's batond
  std::map<std::string, MirrorReport> mirrors;  // by mirror_key()
  std::vector<std::string> macs;                // of the sender's interfaces; filled in by batond, not for the core
  std::map<std::string, MirrorDetails> details; // likewise, at most once a second; empty: as before
  std::vector<LinkReport> links;                // likewise
  uint64_t clock_ms = 0;      // cluster time by the sender's account (docs/protocol.md, "Cluster time")
  uint32_t format_level = 0;  // the highest that the sender knows; 0: a version that did not say it, level 1
  bool settled = false;       // the cluster's start is over by the sender's account
  uint64_t waited_ms = 0;     // if not: how long a start of the cluster has been waiting for missing servers
  std::string ring_key;       // fingerprint of the key that the sender's corosync reads next; empty: an older version
  std::vector<AlertReport> alerts;  // of the receivers of alerts; filled in by batond, not for the core
};
/// batond to batond, not for the core: may this configuration's stores be used on your server?
struct StoreCheck {
  ServerId origin;
  uint64_t request = 0;
  std::string configuration_text;
};
struct StoreChecked {
  ServerId origin;  // of the StoreCheck
  uint64_t request = 0;
  std::vector<std::string> problems;
};
/// batond to batond, not for the core: do something with your copy of a mirror (docs/api.md). `body` is JSON.
struct MirrorCall {
  ServerId origin;
  uint64_t request = 0;
  ServerId to;
  std::string mirror;
  std::string verb;
  std::string body;
};
struct MirrorAnswer {
  ServerId origin;  // of the MirrorCall
  uint64_t request = 0;
  std::string error_code;  // as in the API; empty: it went well
  std::string error;
  std::string body;  // JSON
};
/// The first word of each batond in a view, and when a recovery has changed what it says (docs/protocol.md, "Recovery").
struct Hello {
  std::set<ServerId> survivors;  // of the newest recovery in the sender's log; empty: there was none
  LogPosition last;              // of its log, for people who compare survivors
  int64_t wall_ms = 0;           // of its newest entry that has a time, likewise
};
/// batond to batond, not for the core: give me the new key of the cluster, sealed for me (docs/protocol.md, K2).
struct KeyAsk {
  ServerId origin;
  ServerId to;
  std::string fingerprint;  // of the key that is wanted
  std::string shared;       // of the one that both have
  std::string public_key;   // of the asker, for this exchange only
};
struct KeyGiven {
  ServerId origin;  // of the KeyAsk
  std::string fingerprint;
  std::string sealed;
};
using Message = std::variant<database::Message, BeatMessage, StoreCheck, StoreChecked, MirrorCall, MirrorAnswer, Hello, KeyAsk,
                             KeyGiven>;

// ---- Events ----

/// How a voter left the view, as the engine says.
enum class Departure { kServerDown, kProcessDown, kLeft };

/// Empty members: the engine was lost.
struct ViewChanged {
  std::set<ServerId> members;
  std::map<ServerId, Departure> departed;
};
struct MessageReceived {
  ServerId from;
  Message message;
  Epoch lineage;  // of the sender: the epoch of the newest recovery in its log
};
struct Persisted {
  uint64_t token = 0;
  bool ok = true;
};
/// From a mirror daemon of this server.
struct MirrorReported {
  std::string mirror;
  MirrorReport report;
};
/// The mirror daemon has ended: its report no longer holds.
struct MirrorGone {
  std::string mirror;
};
struct MirrorProposed {
  SetInSync change;
  int64_t wall_ms = 0;  // of the proposer, for people
};
/// The outcome of a RunStep.
struct StepDone {
  uint64_t token = 0;
  bool ok = true;
  std::string detail;  // ok: what people like to see ("/dev/loop3"); else the error
};
/// A resource that was up is not any more: process ended, mount gone, mirror daemon ended or export aborted.
struct ResourceFailed {
  std::string group;
  std::string resource;
  std::string reason;
};
/// Of a script that runs here: it has had a program supervised, or that was ended by somebody's word, or it ended by itself.
struct ProgramStarted {
  std::string group;
  std::string resource;
  group::ProgramPolicy policy;
};
struct ProgramRemoved {
  std::string group;
  std::string resource;
  std::string id;
};
struct ProgramEnded {
  std::string group;
  std::string resource;
  std::string id;
  std::string how;  // "ended with status 1"
};
/// The outcome of a RunCheck.
struct CheckDone {
  uint64_t token = 0;
  group::Verdict verdict = group::Verdict::kUnknown;
  std::string detail;  // good: "answered 200 in 3 ms"; else what was wrong
  std::string position;  // of a log: how far it was read, for the next RunCheck
};
/// A command from a person, by the API. Answered by one Decided.
struct Requested {
  uint64_t request = 0;
  Command command;
  int64_t wall_ms = 0;
};
/// A person gives up the voters that are not here, for good. Nothing happens unless why_not_recover() is empty.
struct Recover {
  uint64_t rounds = 0;  // random, up to 2^19: so that no two recoveries are alike
  std::string author;
  int64_t wall_ms = 0;
};
/// The outcome of a FenceServer.
struct FenceDone {
  ServerId server;
  uint64_t version = 0;  // of the record that it was begun from
  bool off = false;      // seen to be off
  std::string detail;
};
/// From this server's guard: after each of its beats and as an answer to TellGuard.
struct GuardReported {
  guard::Report report;
};
/// The guard has ended, or cannot be reached.
struct GuardGone {};
/// The cluster's keys that this server has, by their fingerprints: at the start, and after each action on them.
struct KeysReported {
  std::string current;  // in force, as far as this server knows
  std::string next;     // staged; empty: none
  std::string old;      // replaced, and still accepted; empty: none
  std::string ring;     // what corosync reads when it loads its key
};
/// The end of a SetRingKey that loaded.
struct RingLoaded {
  std::string fingerprint;
  bool ok = true;
};
/// The outcome of an arbiter::Round.
using DiskRoundDone = arbiter::RoundDone;
/// What came of an echo of a SendPing.
using PingAnswered = arbiter::PingAnswer;
struct Tick {};
using Event = std::variant<ViewChanged, MessageReceived, Persisted, MirrorReported, MirrorGone, MirrorProposed, StepDone,
                           ResourceFailed, ProgramStarted, ProgramRemoved, ProgramEnded, CheckDone, Requested, Recover, FenceDone, GuardReported, GuardGone, KeysReported, RingLoaded, Tick, DiskRoundDone,
                           PingAnswered>;

// ---- Actions ----

struct Send {
  Message message;
  Epoch lineage{};  // goes with it
};
using Persist = database::Persist;
struct TellGuard {
  guard::Tell tell;
};

/// Why a group's programs are started, as scripts are told (docs/operations.md, "Scripts").
enum class StartEvent {
  kStart,     // by its policy, or by a person
  kFailover,  // what it ran on was lost or shut down, or something of it failed there
  kRecover,   // it is not: this server has returned to the cluster
};
const char* to_string(StartEvent event);  // "START", "FAILOVER", "RECOVER"

struct RunStep {
  uint64_t token = 0;
  std::string group;
  std::string resource;
  group::StepAction action = group::StepAction::kStart;
  Instant deadline;   // at which the node counts it as failed
  Permit permit;      // of a mirror that is started
  ServerId previous_owner;  // of a group that is taken over; 0: none. Its MAC is no conflict for an address
  std::string program;      // of a script: the one that is started again
  StartEvent event = StartEvent::kStart;
  bool home = true;         // this server stands first in the group's policy
};
/// Asks whether a resource does its work; answered by one CheckDone within the monitor's timeout.
struct RunCheck {
  uint64_t token = 0;
  std::string group;
  MonitorConfiguration monitor;
  std::string position;  // of the check before; empty: it begins
};
/// Nobody waits for that check any more: its program is killed.
struct EndCheck {
  uint64_t token = 0;
};
/// An entry was applied; state() is after it.
struct EntryApplied {
  database::Entry entry;
  Applied outcome;
};
struct Decided {
  uint64_t request = 0;
  bool decided = false;  // false: not known, look at the state
  Applied outcome;
};
/// For the event log. `kind` as in docs/api.md.
using Note = baton::Note;
/// A server left the view or fell silent: mirror daemons should not wait for their time-out.
struct PeerGone {
  ServerId server;
  std::string reason;
};
/// Switch this server's power off by its agent, and look whether it is off. Answered by one FenceDone.
struct FenceServer {
  ServerId server;
  uint64_t version = 0;
};
/// A recovery did without this server. Durably, and for its later starts: nothing here works for the cluster any more. A
/// `survivor` begins anew with an empty database instead.
struct StandDown {
  ServerId by;    // who said so
  Epoch lineage;  // of the recovery
  bool survivor = false;
};
/// The program is to be started anew: what it knows belongs to a history that was given up (docs/protocol.md, W5).
struct StartAnew {
  std::string reason;
};
/// This server has been shut down in order: Baton and its daemons end here, then the machine if that was asked.
struct EndServer {
  Afterwards afterwards = Afterwards::kNothing;
  std::string reason;
  std::string leftovers;  // groups of which something could not be ended in time
};
/// Get the new key from that server (this one: it made it) and put it on disk beside the present one.
struct FetchKey {
  std::string fingerprint;
  ServerId from;
};
/// Durable steps with the keys on disk; each is answered by a KeysReported.
struct ChangeKeys {
  enum class Step { kAdopt, kDropOld, kDropNext };  // kAdopt: the staged one is in force, the former one is kept as old
  Step step = Step::kAdopt;
  std::string fingerprint;
};
/// Corosync's key follows from this one of the keys here. `load`: every member's corosync reads its own file, at once.
/// Answered by KeysReported; a load by RingLoaded, too.
struct SetRingKey {
  std::string fingerprint;
  bool load = false;
};
/// On the disk that decides between two servers: write, then read.
using DiskRound = arbiter::Round;
/// To the ping targets; answered by PingAnswered, as far as it is.
using SendPing = arbiter::Ping;
using Action = std::variant<Send, Persist, TellGuard, RunStep, RunCheck, EndCheck, EntryApplied, Decided, Note, PeerGone, FenceServer,
                            EndServer, StartAnew, StandDown, FetchKey, ChangeKeys, SetRingKey, DiskRound, SendPing>;

}  // namespace baton::node
