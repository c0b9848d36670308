// Judges servers and their copies. The cluster database judges again when the assignment is applied; this says
// why.
#include "src/core/planner/candidate.h"

#include <algorithm>

#include "src/base/planted.h"
#include "src/core/planner/standing.h"
#include "src/model/configuration_toml.h"
#include "src/model/mirror_place.h"

namespace baton::planner {
namespace {

/// The verdict on one copy.
struct CopyVerdict {
  bool possible = false;
  bool could_come = false;
  bool alone = false;
  std::string why_not;
  std::string help;
  std::string note;
  std::string loss;
};

CopyVerdict refuse(std::string why_not, std::string help) {
  CopyVerdict verdict;
  verdict.why_not = std::move(why_not);
  verdict.help = std::move(help);
  return verdict;
}

std::string join_names(const Input& input, const std::map<ServerId, Incarnation>& set) {
  std::string names;
  for (const auto& [server, incarnation] : set) {
    if (!names.empty()) names += " and ";
    names += input.configuration.server_name(server);
  }
  return names;
}

/// What brings a copy up to date that lacks writes of the set's members.
std::string help_from(const Input& input, const std::map<ServerId, Incarnation>& members) {
  bool there = std::any_of(members.begin(), members.end(),
                           [&](const auto& member) { return view_of(input, member.first).present; });
  std::string names = join_names(input, members);
  return there ? fmt::format("wait until it has been brought up to date from {}", names)
               : fmt::format("start {}, from which it is brought up to date", names);
}

std::string describe_progress(const MirrorReport& report) {
  if (report.copy_total_bytes == 0) return "its copy was not finished";
  return fmt::format("copy {}% done", report.copy_done_bytes * 100 / report.copy_total_bytes);
}

/// Is another member of the set not there, or no longer what the set says?
bool some_member_is_missing(const Input& input, const std::string& key, const MirrorState& mirror,
                            ServerId server) {
  return std::any_of(mirror.in_sync.begin(), mirror.in_sync.end(), [&](const auto& member) {
    if (member.first == server) return false;
    const MirrorReport* report = report_of(input, key, member.first);
    return !report || report->incarnation != member.second;
  });
}

/// A blank copy beside one that holds something: its disk or its metadata was replaced. SAFETY: I3.
bool was_replaced(const Input& input, const std::string& key, const MirrorReport& own) {
  const auto copies = input.reports.find(key);
  if (own.generation.counter != 0 || copies == input.reports.end()) return false;
  return std::any_of(copies->second.begin(), copies->second.end(),
                     [](const auto& copy) { return copy.second.generation.counter > 0; });
}

/// S6: nothing was ever acknowledged. The first of the policy makes the data; the other copy is made from it.
CopyVerdict judge_never_promoted(const Input& input, const GroupConfiguration& group, const std::string& key,
                                 ServerId server) {
  CopyVerdict verdict;
  const ServerId first = first_primary(input.configuration, group);
  const std::string name = input.configuration.server_name(first);
  const bool adopted = std::any_of(group.resources.begin(), group.resources.end(),
                                   [](const auto& resource) { return !resource.mirror.adopt.empty(); });
  if (server != first) {
    return refuse(
        fmt::format("may not be the first to use mirror {}, which was never used: {}, {}, is", key, name,
                    adopted ? "whose store is adopted" : "the first of the policy"),
        adopted ? fmt::format("start {}, or adopt the store of another server (baton apply)", name)
                : fmt::format("start {}, or put another server first in the policy (baton apply)", name));
  }
  verdict.possible = true;
  verdict.note = fmt::format("mirror {} is used for the first time{}", key, adopted ? ", with what its store holds" : "");
  return verdict;
}

}  // namespace

/// SAFETY: S5, I3: only by its own word, and only when there is more than one copy that something was written to.
bool holder_lost(const Input& input, const std::string& key, const MirrorState& mirror) {
  const MirrorReport* report = report_of(input, key, mirror.holder);
  if (report == nullptr || report->incarnation.value == 0) return false;
  return report->detached || !report->consistent || was_replaced(input, key, *report);
}

namespace {

/// The copy is in the set, but restarted uncleanly since. SAFETY: S4, with the exception S5.
CopyVerdict judge_restarted(const Input& input, const std::string& key, const MirrorState& mirror,
                            ServerId server) {
  const Configuration& configuration = input.configuration;
  for (const auto& [member, incarnation] : mirror.in_sync) {
    const MirrorReport* report = report_of(input, key, member);
    // One that cannot be opened now does not say that it has restarted.
    const bool restarted = report && report->incarnation.value != 0 && report->incarnation != incarnation;
    if (member == server || restarted) continue;
    bool soon = view_of(input, member).present && !report;
    CopyVerdict verdict = refuse(
        fmt::format("has a copy of mirror {} that restarted uncleanly and may lack acknowledged writes", key),
        soon ? "" : help_from(input, {{member, incarnation}}));
    verdict.could_come = soon;
    return verdict;
  }
  if (server != mirror.holder && mirror.in_sync.size() > 1 && !holder_lost(input, key, mirror)) {
    return refuse(
        fmt::format(
            "has a copy of mirror {} that restarted uncleanly like all others, and {}, the last primary, "
            "goes first",
            key, configuration.server_name(mirror.holder)),
        fmt::format("start {}", configuration.server_name(mirror.holder)));
  }
  CopyVerdict verdict;
  verdict.possible = true;
  verdict.note = server == mirror.holder
                     ? fmt::format("all copies of mirror {} restarted uncleanly and {} was the last primary", key,
                                   configuration.server_name(server))
                     : fmt::format("the copy of mirror {} there restarted uncleanly, but it is the only one that has "
                                   "everything", key);
  return verdict;
}

/// Outside the set: it lacks acknowledged writes.
CopyVerdict judge_behind(const Input& input, const std::string& key, const MirrorState& mirror, ServerId server) {
  const bool some_are_there = std::any_of(mirror.in_sync.begin(), mirror.in_sync.end(),
                                          [&](const auto& member) { return view_of(input, member.first).present; });
  const auto named = mirror.trailing.find(server);
  const bool trails = named != mirror.trailing.end() && named->second == report_of(input, key, server)->incarnation;
  const bool may = trailing_may_take_over(input.configuration, key);
  if (!may || !trails || some_are_there) {
    return refuse(fmt::format("has a copy of mirror {} that is not in the in-sync set and lacks acknowledged writes{}", key,
                              may && !trails ? ", it is not known to be within its max_lag" : ""),
                  help_from(input, mirror.in_sync));
  }
  // SAFETY: A5, I3 the configuration allows it, and the last primary has said how much it can be at most.
  CopyVerdict verdict;
  verdict.possible = verdict.alone = true;
  verdict.loss = fmt::format("what {} answered of mirror {} in its last {} at most (protocol A, max_lag)",
                             input.configuration.server_name(mirror.holder), key,
                             format_duration(find_mirror(input.configuration, key).resource->mirror.max_lag));
  verdict.note = "its copy trails, so that this may be lost: " + verdict.loss;
  return verdict;
}

/// SAFETY: R8. The database comes from a backup: what the copies themselves tell is shown to a person, who decides.
CopyVerdict judge_unknown(const Input& input, const GroupConfiguration& group, const std::string& key, const MirrorState& mirror) {
  const bool fresh = mirror.permit == Permit{};
  const bool all_told = std::all_of(group.servers.begin(), group.servers.end(),
                                    [&](ServerId server) { return report_of(input, key, server) != nullptr; });
  CopyVerdict verdict = refuse(
      fmt::format("has a copy of mirror {}, of which nobody knows whether it has everything: the cluster database was restored from a "
                  "backup{}", key, fresh ? ", and a new mirror waits for all its copies to say that they are blank" : ""),
      fmt::format("see what each copy holds (baton mirror status {}), with all their servers up; then name the one that becomes the "
                  "data: baton mirror force {} SERVER", key, key));
  verdict.could_come = fresh && !all_told;
  return verdict;
}

CopyVerdict judge_copy(const Input& input, const GroupConfiguration& group, const std::string& key,
                       ServerId server) {
  auto found = input.state.mirrors.find(key);
  if (found == input.state.mirrors.end()) return refuse(fmt::format("finds no record of mirror {}", key), "");
  const MirrorState& mirror = found->second;
  if (mirror.restricted.contains(server)) {
    const std::string name = input.configuration.server_name(server);
    return refuse(fmt::format("is restricted: an operator keeps mirror {} away from it", key),
                  fmt::format("lift that: baton mirror restrict {} {} --lift", key, name));
  }
  const MirrorReport* report = report_of(input, key, server);
  if (!report) {
    CopyVerdict verdict = refuse(fmt::format("has not reported its copy of mirror {} yet", key), "");
    verdict.could_come = true;
    return verdict;
  }
  if (report->incarnation.value == 0) {
    return refuse(fmt::format("has no usable copy of mirror {}: {}", key,
                              report->problem.empty() ? "it is not open" : report->problem),
                  "remove the cause");
  }
  auto member = mirror.in_sync.find(server);
  // An operator has said that this copy is the data, whatever it lacks.
  const bool forced = mirror.forced == server && member != mirror.in_sync.end();
  if (report->detached) {
    return refuse(fmt::format("has a copy of mirror {} whose disk failed", key),
                  fmt::format("replace the disk, then: baton mirror replace {} {}", key,
                              input.configuration.server_name(server)));
  }
  if (mirror.unknown && !is_unused(input, group, key)) return judge_unknown(input, group, key, mirror);
  bool in_set = mirror.in_sync.empty() || member != mirror.in_sync.end();
  std::string from_there = help_from(input, mirror.in_sync);
  if (!report->consistent && !forced) {
    return refuse(fmt::format("has an inconsistent copy of mirror {}: {}", key, describe_progress(*report)),
                  mirror.in_sync.empty() ? "" : from_there);
  }
  if (!in_set) return judge_behind(input, key, mirror, server);
  if (mirror.permit != Permit{} && !forced && was_replaced(input, key, *report)) {
    return refuse(fmt::format("has a blank copy of mirror {}: its disk or metadata was replaced", key), from_there);
  }
  if (mirror.in_sync.empty()) return judge_never_promoted(input, group, key, server);
  if (member->second != report->incarnation && !planted(Plant::kUncleanCopyPromoted)) return judge_restarted(input, key, mirror, server);
  CopyVerdict verdict;
  verdict.possible = true;
  verdict.alone = some_member_is_missing(input, key, mirror, server);
  if (forced) verdict.note = fmt::format("an operator forced the copy of mirror {} there to be its data", key);
  if (verdict.alone) verdict.note = fmt::format("mirror {} goes on alone, its other copy is not there", key);
  return verdict;
}

}  // namespace

ServerView view_of(const Input& input, ServerId server) {
  auto found = input.servers.find(server);
  return found == input.servers.end() ? ServerView{} : found->second;
}

const GroupState* state_of(const Input& input, const std::string& group) {
  auto found = input.state.groups.find(group);
  return found == input.state.groups.end() ? nullptr : &found->second;
}

std::string describe_absence(const ServerView& view) {
  return view.why_absent.empty() ? "is down" : "is down: " + view.why_absent;
}

const MirrorReport* report_of(const Input& input, const std::string& mirror, ServerId server) {
  if (!view_of(input, server).present) return nullptr;
  auto copies = input.reports.find(mirror);
  if (copies == input.reports.end()) return nullptr;
  auto report = copies->second.find(server);
  return report == copies->second.end() ? nullptr : &report->second;
}

bool is_unused(const Input& input, const GroupConfiguration& group, const std::string& mirror) {
  const auto record = input.state.mirrors.find(mirror);
  if (record == input.state.mirrors.end() || !record->second.unknown || record->second.permit != Permit{}) return false;
  return std::all_of(group.servers.begin(), group.servers.end(), [&](ServerId server) {
    const MirrorReport* report = report_of(input, mirror, server);
    return report != nullptr && report->incarnation.value != 0 && report->consistent && report->generation.counter == 0;
  });
}

std::vector<std::string> mirrors_of(const GroupConfiguration& group) {
  std::vector<std::string> keys;
  for (const ResourceConfiguration& resource : group.resources) {
    if (resource.kind == ResourceKind::kMirror) keys.push_back(mirror_key(group.name, resource.name));
  }
  return keys;
}

namespace {

constexpr uint64_t kFirstPauseMs = 5000;

/// The pause after a failure doubles with each one: what failed at once would else have used up its attempts at once.
uint64_t pause_left_ms(const Refusal& refusal, uint64_t clock_ms) {
  if (refusal.at_ms == 0 || refusal.attempts == 0) return 0;
  const uint64_t pause = kFirstPauseMs << std::min(refusal.attempts - 1, kMaximumAttempts);
  const uint64_t over = refusal.at_ms + pause;
  return over > clock_ms ? std::min(over - clock_ms, pause) : 0;
}

}  // namespace

Candidate judge_candidate(const Input& input, const Placement& placement, const GroupConfiguration& group, ServerId server) {
  Candidate candidate;
  candidate.server = server;
  candidate.name = input.configuration.server_name(server);
  if (const GroupState* state = state_of(input, group.name)) {
    if (auto refusal = state->refused.find(server); refusal != state->refused.end()) {
      candidate.attempts = refusal->second.attempts;
      candidate.failure = refusal->second.reason;
      candidate.pause_left_ms = pause_left_ms(refusal->second, input.clock_ms);
    }
  }
  ServerView view = view_of(input, server);
  if (!view.present) {
    candidate.why_not = describe_absence(view);
    candidate.help = fmt::format("start {}", candidate.name);
    return candidate;
  }
  const Standing standing = standing_of(input, server);
  if (!standing.bar.empty() && !standing.last_resort) {
    candidate.why_not = standing.bar;
    candidate.could_come = standing.soon;
    candidate.help = standing.help;
    return candidate;
  }
  candidate.held = standing.bar;
  candidate.possible = true;
  for (const std::string& key : mirrors_of(group)) {
    CopyVerdict verdict = judge_copy(input, group, key, server);
    if (!verdict.note.empty()) candidate.notes.push_back(verdict.note);
    if (!verdict.loss.empty()) candidate.loss += (candidate.loss.empty() ? "" : "; ") + verdict.loss;
    candidate.alone = candidate.alone || verdict.alone;
    if (verdict.possible) continue;
    candidate.possible = false;
    candidate.could_come = verdict.could_come;
    candidate.why_not = verdict.why_not;
    candidate.help = verdict.help;
    return candidate;
  }
  if (const auto obstacle = placement.obstacle(group, server)) {
    candidate.possible = false;
    candidate.could_come = obstacle->soon;
    candidate.why_not = obstacle->why;
    candidate.help = obstacle->help;
  }
  candidate.unwelcome = placement.count(group.prefer_apart_from, server);
  candidate.company = placement.count(group.prefer_with, server);
  return candidate;
}

std::vector<Candidate> judge_candidates(const Input& input, const Placement& placement, const GroupConfiguration& group) {
  std::vector<Candidate> candidates;
  for (ServerId server : group.servers) candidates.push_back(judge_candidate(input, placement, group, server));
  return candidates;
}

/// Of two that want the same place the first of the file has it; and a place where a group could not go anyway is kept free
/// for nobody.
Placement placement_of(const Input& input) {
  Placement placement(input.configuration, input.state);
  for (const GroupConfiguration& group : input.configuration.groups) {
    const GroupState* state = state_of(input, group.name);
    if (state == nullptr || !state->wanted || state->target == ServerId{} || state->target == state->owner) continue;
    if (std::find(group.servers.begin(), group.servers.end(), state->target) == group.servers.end()) continue;
    if (judge_candidate(input, placement, group, state->target).possible) placement.expect(group, state->target);
  }
  return placement;
}

}  // namespace baton::planner
