// See script_runner.h.
#include "src/daemon/script_runner.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "src/os/control_group.h"
#include "src/os/file_text.h"
#include "src/os/helper_process.h"

namespace baton {

using group::StepAction;
using nlohmann::json;

namespace {

constexpr Duration kDeathLimit = 5s;

std::string boot_id() {
  const auto text = read_text_file("/proc/sys/kernel/random/boot_id");
  return text ? *text : "";
}

json policy_json(const group::ProgramPolicy& policy) {
  return {{"watched", policy.watched}, {"restarts", policy.restarts}, {"window_ms", to_ms(policy.window)},
          {"with_script", policy.with_script}, {"on_failure", static_cast<int>(policy.on_failure)}};
}

group::ProgramPolicy policy_from(const std::string& id, const json& value) {
  group::ProgramPolicy policy;
  policy.id = id;
  policy.watched = value.value("watched", true);
  policy.restarts = value.value("restarts", 0U);
  policy.window = milliseconds(value.value("window_ms", int64_t{0}));
  policy.with_script = value.value("with_script", false);
  policy.on_failure = static_cast<FinalAction>(value.value("on_failure", 0));
  return policy;
}

std::string how_it_ended(const ServiceEnd& end) { return end.shim_lost ? "lost its shim, so it was killed" : describe(end.report); }

}  // namespace

std::vector<std::string> event_environment(const node::RunStep& step, const std::string& server_name,
                                           const std::map<std::string, std::string>& configured) {
  const char* event = node::to_string(step.event);
  const char* disk = step.action == StepAction::kRunOnce ? "FAILURE" : "SUCCESS";
  const char* server = step.home ? "HOME" : "OTHER";
  std::vector<std::string> list;
  for (const char* prefix : {"BATON_", "ARMS_"}) {
    list.push_back(fmt::format("{}EVENT={}", prefix, event));
    list.push_back(fmt::format("{}DISK={}", prefix, disk));
    list.push_back(fmt::format("{}SERVER={}", prefix, server));
  }
  list.insert(list.end(), {"BATON_GROUP=" + step.group, "ARMS_GROUPNAME=" + step.group, "BATON_RESOURCE=" + step.resource,
                           "BATON_SERVER_NAME=" + server_name});
  for (const auto& [name, value] : configured) list.push_back(name + "=" + value);
  return list;
}

ScriptRunner::ScriptRunner(EventLoop& loop, RunnerPaths paths, Feed feed) : loop_(loop), paths_(std::move(paths)), feed_(std::move(feed)) {}
ScriptRunner::~ScriptRunner() { *alive_ = false; }

ScriptRunner::ScriptPointer ScriptRunner::script_of(const Step& step) {
  auto& script = scripts_[step.step.group + "." + step.step.resource];
  if (script == nullptr) {
    script = std::make_shared<Script>();
    script->group = step.step.group;
    script->name = step.step.resource;
  }
  script->resource = step.resource;
  if (step.step.action != StepAction::kRestartProgram) script->step = step.step.token;
  script->environment = event_environment(step.step, step.server_name, step.resource.script.environment);
  return script;
}

void ScriptRunner::run(const Step& step, Done done) {
  const auto script = script_of(step);
  const auto path = service_group_path(script->key());
  if (!path) return loop_.post([done, text = path.error().message] { done(false, text); });
  script->control_group = *path;
  // A later step on it overtakes this one: its end is nobody's then.
  const Done current = [alive = alive_, script, token = script->step, done](bool ok, const std::string& detail) {
    if (*alive && script->step == token) done(ok, detail);
  };
  switch (step.step.action) {
    case StepAction::kAdopt: return adopt(script, current);
    case StepAction::kStart:
    case StepAction::kRunOnce: return start(script, step, current);
    case StepAction::kStop: return stop(script, step, current);
    case StepAction::kKill: return clear(script, current);
    case StepAction::kRestartProgram: return restart_program(script, step, current);
    case StepAction::kSuspend:
    case StepAction::kResume: return loop_.post([current] { current(true, ""); });
  }
}

// ---- On record ----

std::string ScriptRunner::record_path(const Script& script) const { return paths_.run_directory + "/script-" + script.key() + ".json"; }

void ScriptRunner::save(const Script& script) const {
  json programs = json::object();
  for (const auto& [id, program] : script.programs)
    programs[id] = {{"policy", policy_json(program.policy)}, {"spec", to_json_value(program.spec)}};
  const json record = {{"boot", boot_id()}, {"up", script.up}, {"programs", programs}};
  if (const auto saved = replace_text_file(record_path(script), record.dump(), 0600); !saved)
    spdlog::error("a restart of batond will not know that script {} is up: {}", script.key(), saved.error().message);
}

void ScriptRunner::load(Script& script) {
  const auto text = read_text_file(record_path(script));
  if (!text) return;
  try {
    const json record = json::parse(*text);
    if (record.at("boot").get<std::string>() != boot_id()) return;
    const json programs = record.at("programs");
    for (const auto& [id, each] : programs.items()) {
      const auto spec = service_spec_from(each.at("spec").dump());
      if (spec) script.programs[id] = Program{policy_from(id, each.at("policy")), *spec, make_service(script, id)};
    }
    script.up = record.at("up").get<bool>();
  } catch (const json::exception& error) {
    spdlog::error("{} cannot be read, so script {} counts as not up: {}", record_path(script), script.key(), error.what());
  }
}

/// Programs that ended while no batond looked are told of, before the script's own outcome is.
void ScriptRunner::adopt(const ScriptPointer& script, Done done) {
  load(*script);
  const auto adoption = std::make_shared<Adoption>();
  for (const auto& [id, program] : script->programs) adoption->ids.push_back(id);
  adoption->done = std::move(done);
  loop_.post([this, alive = alive_, script, adoption] {
    if (*alive) adopt_next(script, adoption);
  });
}

void ScriptRunner::adopt_next(const ScriptPointer& script, const std::shared_ptr<Adoption>& adoption) {
  while (adoption->place < adoption->ids.size()) {
    const std::string id = adoption->ids[adoption->place++];
    const auto found = script->programs.find(id);
    if (found == script->programs.end()) continue;  // ended by somebody's word meanwhile
    return found->second.service->adopt(found->second.spec.name, found->second.spec.control_group,
                                        [this, alive = alive_, script, adoption, id, token = script->step](const auto& state) {
      if (!*alive || script->step != token) return;
      adopted(script, id, state);
      adopt_next(script, adoption);
    });
  }
  adoption->done(script->up, script->up ? "adopted" : "not running");
}

void ScriptRunner::adopted(const ScriptPointer& script, const std::string& id, const Result<SupervisedService::State>& state) {
  const auto found = script->programs.find(id);
  if (found == script->programs.end() || !script->up) return;
  feed_(node::ProgramStarted{script->group, script->name, found->second.policy});
  if (state && *state == SupervisedService::State::kRunning) return;
  const auto report = found->second.service->last_report();
  feed_(node::ProgramEnded{script->group, script->name, id, !state ? state.error().message : report ? describe(*report) : "is gone"});
}

// ---- The script itself ----

void ScriptRunner::start(const ScriptPointer& script, const Step& step, Done done) {
  const bool once = step.step.action == StepAction::kRunOnce;
  const uint64_t token = script->step;
  // Whatever is left of an earlier life goes first.
  clear(script, [this, script, step, done, once, token](bool cleared, const std::string& why) {
    // SAFETY: I1. A kill has overtaken it: nothing is begun any more.
    if (script->step != token) return;
    if (!cleared) return done(false, why);
    script->starting = true;
    run_command(script, step, script->resource.script.start, "start", [this, script, done, once, token](bool ok, const std::string& detail) {
      if (script->step != token) return;
      script->starting = false;
      if (once) return clear(script, [done, ok, detail](bool, const std::string&) { done(ok, detail); });
      script->up = ok;
      save(*script);
      done(ok, detail);
    });
  });
}

void ScriptRunner::stop(const ScriptPointer& script, const Step& step, Done done) {
  const uint64_t token = script->step;
  script->up = script->starting = false;
  save(*script);
  const auto rest = [this, script, done, token] {
    if (script->step != token) return;
    stop_programs(script, [this, script, done, token](bool, const std::string&) {
      if (script->step == token) clear(script, done);
    });
  };
  if (script->resource.script.stop.empty()) return rest();
  run_command(script, step, script->resource.script.stop, "stop", [rest, done](bool ok, const std::string& detail) {
    // What it has not ended is killed then.
    if (ok) rest(); else done(false, detail);
  });
}

void ScriptRunner::run_command(const ScriptPointer& script, const Step& step, const std::vector<std::string>& argv, const char* what,
                               Done done) {
  ChildOptions options;
  options.argv = argv;
  options.environment = script->environment;
  options.user = script->resource.script.user;
  options.working_directory = script->resource.script.directory;
  options.control_group = script->control_group;
  options.shares_control_group = std::string(what) == "stop";  // with what the start has left running
  options.new_session = true;
  // Into a file: what it leaves running goes on writing there, whatever becomes of batond.
  options.output = ChildOptions::Output::kLogFile;
  options.log_file = paths_.log_directory + "/script-" + script->key() + ".log";
  options.deadline = step.left;
  const auto failed = [this, alive = alive_, done, what, script, log = options.log_file, program = argv.front()](const std::string& how,
                                                                                                           const std::string& advice) {
    const std::string text = fmt::format("the {} script {} {}{}", what, program, how, advice);
    read_last_lines(loop_, log, [alive, done, text](const std::string& lines) {
      if (*alive) done(false, lines.empty() ? text : fmt::format("{}; its log ends: {}", text, lines));
    });
  };
  auto child = create_control_group(script->control_group);
  if (!child) return loop_.post([done, text = child.error().message] { done(false, text); });
  auto spawned = ChildProcess::spawn(loop_, std::move(options), [alive = alive_, done, failed](const ChildEnd& end) {
    if (!*alive) return;
    if (end.exited && end.status == 0 && end.start_error.empty() && !end.timed_out) return done(true, "");
    const bool refused = !end.start_error.empty();
    failed(describe(end), refused ? ": it has to be there, with the right to run (chmod +x) and a first line like #!/bin/sh" : "");
  });
  if (!spawned) return loop_.post([failed, text = spawned.error().message] { failed("cannot be started: " + text, ""); });
  script->child = std::move(*spawned);
}

/// In order, all at once.
void ScriptRunner::stop_programs(const ScriptPointer& script, Done done) {
  auto waiting = std::make_shared<size_t>(1);
  const auto one_less = [this, alive = alive_, waiting, done] {
    if (--*waiting == 0 && *alive) done(true, "");
  };
  for (auto& [id, program] : script->programs) {
    ++*waiting;
    program.service->stop([one_less](const Status&) { one_less(); });  // what is left is killed with the control group
  }
  loop_.post(one_less);
}

/// Ends everything of it at once; what its record says from then on is that nothing is up. One clearing after the other: who asks for one
/// that is under way waits for that.
void ScriptRunner::clear(const ScriptPointer& script, Done done) {
  script->up = script->starting = false;
  if (script->cleared.empty()) save(*script);  // first: a batond that dies now must not leave it on record as up
  script->child.forget();
  (void)kill_control_group(script->control_group).has_value();
  script->cleared.push_back(std::move(done));
  if (script->cleared.size() > 1) return;
  auto waiting = std::make_shared<size_t>(1);
  auto problem = std::make_shared<std::string>();
  const auto one_less = [this, alive = alive_, script, waiting, problem](const Status& killed) {
    if (!killed) *problem = killed.error().message;
    if (--*waiting == 0 && *alive) clear_control_group_of(script, *problem);
  };
  for (auto& [id, program] : script->programs) {
    ++*waiting;
    program.service->kill(one_less);
  }
  loop_.post([one_less] { one_less({}); });
}

/// `problem`: why one of its programs could not be killed; it is kept, for the next kill.
void ScriptRunner::clear_control_group_of(const ScriptPointer& script, const std::string& problem) {
  if (problem.empty()) {
    script->programs.clear();
    ::unlink(record_path(*script).c_str());
  }
  clear_control_group(loop_, script->control_group, kDeathLimit, [alive = alive_, script, problem](const Status& cleared) {
    if (!*alive) return;
    const std::string text = !cleared ? cleared.error().message : problem;
    for (const auto& each : std::exchange(script->cleared, {})) each(text.empty(), text);
  });
}

// ---- Programs ----

std::unique_ptr<SupervisedService> ScriptRunner::make_service(const Script& script, const std::string& id) {
  ShimPaths paths;
  paths.runtime_directory = paths_.run_directory;
  return std::make_unique<SupervisedService>(loop_, paths_.shim_program, paths,
                                             [this, group = script.group, name = script.name, id](const ServiceEnd& end) {
                                               feed_(node::ProgramEnded{group, name, id, how_it_ended(end)});
                                             });
}

void ScriptRunner::start_program(const ScriptPointer& script, const std::string& id, Done done) {
  // Whatever is left of an earlier life goes first; of one that an earlier batond did not write down, too.
  const auto found = script->programs.find(id);
  const bool known = found->second.service->state() != SupervisedService::State::kNone || found->second.service->last_report().has_value();
  if (known) return launch_program(script, id, std::move(done));
  found->second.service->adopt(found->second.spec.name, found->second.spec.control_group, [this, alive = alive_, script, id, done](const auto&) {
    if (*alive) launch_program(script, id, done);
  });
}

void ScriptRunner::launch_program(const ScriptPointer& script, const std::string& id, Done done) {
  const auto found = script->programs.find(id);
  if (found == script->programs.end()) return done(false, "its script was ended");
  found->second.service->kill([this, alive = alive_, script, id, done](const Status& killed) {
    if (!*alive) return;
    const auto program = script->programs.find(id);
    if (!killed || program == script->programs.end() || !script->cleared.empty())
      return done(false, killed ? "its script was ended" : killed.error().message);
    program->second.service->start(program->second.spec, ReadyCheck{}, [alive, done](const Status& status) {
      if (*alive) done(status.has_value(), status ? "" : status.error().message);
    });
  });
}

void ScriptRunner::restart_program(const ScriptPointer& script, const Step& step, Done done) {
  if (!script->programs.contains(step.step.program)) return loop_.post([done] { done(true, ""); });  // ended by somebody's word meanwhile
  start_program(script, step.step.program, std::move(done));
}

Result<ScriptRunner::ScriptPointer> ScriptRunner::find_script(const std::string& group, const std::string& resource) const {
  std::vector<ScriptPointer> fitting;
  for (const auto& [key, script] : scripts_)
    if (script->runs() && (group.empty() || script->group == group) && (resource.empty() || script->name == resource)) fitting.push_back(script);
  if (fitting.size() == 1) return fitting.front();
  if (fitting.empty())
    return fail_as(ErrorCode::kNotFound, "{} here: a program is supervised from a start script of a group that runs on this server",
                   group.empty() ? "no script runs" : fmt::format("no script of group {} runs", group));
  return fail_as(ErrorCode::kInvalid, "several scripts run here: name the group (--group) and, if it has several, the script (--script)");
}

void ScriptRunner::supervise(const ProgramRequest& request, Answer answer) {
  const auto found = find_script(request.group, request.resource);
  if (!found) return answer(pass(found));
  const ScriptPointer script = *found;
  const std::string& id = request.policy.id;
  for (const auto& [key, other] : scripts_)
    if (other->programs.contains(id))
      return answer(fail_as(ErrorCode::kConflict, "program {} is supervised already, for script {}: end it first (baton unsupervise {}), or give "
                            "this one another name", id, key, id));
  Program program;
  program.policy = request.policy;
  program.spec.name = script->key() + "." + id;
  program.spec.argv = request.argv;
  program.spec.environment = script->environment;
  program.spec.user = request.user.empty() ? script->resource.script.user : request.user;
  program.spec.working_directory = request.directory.empty() ? script->resource.script.directory : request.directory;
  program.spec.control_group = script->control_group + "/" + id;
  program.spec.log_file = paths_.log_directory + "/program-" + program.spec.name + ".log";
  program.spec.stop_timeout = script->resource.stop_timeout;
  program.service = make_service(*script, id);
  script->programs[id] = std::move(program);
  save(*script);  // so that the next batond finds its shim, whatever becomes of this one
  start_program(script, id, [this, script, id, answer, token = script->step](bool ok, const std::string& detail) {
    const auto started = script->programs.find(id);
    if (script->step != token || started == script->programs.end())
      return answer(fail("program {} cannot be started: its script was ended", id));
    if (!ok) {
      const Error why{ErrorCode::kFailed, fmt::format("program {} cannot be started: {}", id, detail)};
      return started->second.service->kill([this, alive = alive_, script, id, answer, why](const Status&) {
        if (*alive && script->programs.erase(id) > 0) save(*script);
        answer(tl::unexpected(why));
      });
    }
    feed_(node::ProgramStarted{script->group, script->name, started->second.policy});
    const auto report = started->second.service->last_report();
    answer(json{{"program", id}, {"group", script->group}, {"script", script->name}, {"process", report ? report->main_process : 0}});
  });
}

void ScriptRunner::end_program(const std::string& group, const std::string& id, Answer answer) {
  for (const auto& [key, script] : scripts_) {
    const auto found = script->programs.find(id);
    if (found == script->programs.end() || (!group.empty() && script->group != group)) continue;
    feed_(node::ProgramRemoved{script->group, script->name, id});
    return found->second.service->stop([this, alive = alive_, script = script, id, answer](const Status& status) {
      if (!status) return answer(pass(status));  // it is kept, to be ended later
      if (*alive && script->programs.erase(id) > 0) save(*script);
      answer(json{{"program", id}});
    });
  }
  answer(fail_as(ErrorCode::kNotFound, "no program {} is supervised here: `baton status` shows those that are", id));
}

}  // namespace baton
