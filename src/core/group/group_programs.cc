// The programs that a group's scripts have had supervised, while it runs here. Pure. See group_run.h, program_run.h.
#include <algorithm>

#include "src/core/group/group_run.h"

namespace baton::group {

ProgramRun* GroupRun::find_program(const std::string& resource, const std::string& id) {
  const auto list = programs_.find(resource);
  if (list == programs_.end()) return nullptr;
  const auto found = std::find_if(list->second.begin(), list->second.end(), [&](const auto& program) { return program.policy().id == id; });
  return found == list->second.end() ? nullptr : &*found;
}

bool GroupRun::program_started(const std::string& resource, const ProgramPolicy& policy) {
  const auto* script = configuration_.find(resource);
  if (script == nullptr || script->kind != ResourceKind::kScript) return false;
  const auto present = state(resource);
  if (present != ResourceState::kStarting && present != ResourceState::kUp && present != ResourceState::kAdopting) return false;
  if (auto* known = find_program(resource, policy.id)) {
    known->started_anew(policy);
  } else {
    programs_[resource].emplace_back(policy);
  }
  return true;
}

void GroupRun::program_removed(const std::string& resource, const std::string& id) {
  auto* program = find_program(resource, id);
  if (program == nullptr) return;
  // By its stop script: if it is started again with that, its restarts go on being counted.
  const auto present = state(resource);
  if (present != ResourceState::kUp && present != ResourceState::kStarting) return program->ended_with_script();
  std::erase_if(programs_[resource], [&](const auto& each) { return each.policy().id == id; });
}

void GroupRun::program_ended(Instant now, const std::string& resource, const std::string& id, const std::string& how) {
  auto* program = find_program(resource, id);
  const auto* script = configuration_.find(resource);
  const auto present = script == nullptr ? ResourceState::kDown : state(resource);
  if (program == nullptr) return;
  if (goal_ == Goal::kObserve) return void(program->ended(now, how, false));  // while no batond looked: seen to when the group goes on
  // What ends with its script, or before it is stopped, was asked to.
  if (goal_ != Goal::kRun || (present != ResourceState::kUp && present != ResourceState::kStarting)) return;
  const auto remedy = program->ended(now, how, supervised_);
  const std::string told = program->describe_end(now);
  switch (remedy) {
    case ProgramRemedy::kNone:
      program_news_.push_back({true, told + (program->policy().watched ? "; nothing is done about it in maintenance" : "; it is not supervised")});
      return;
    case ProgramRemedy::kRestartProgram:
      program_news_.push_back({true, told});
      return begin_restart(now, resource, id);
    case ProgramRemedy::kRestartScript:
      program_news_.push_back({true, told});
      forget_steps_of(resource);
      if (present == ResourceState::kStarting) kill_needed_.insert(resource);  // its start script is under way
      set_state(resource, ResourceState::kFailed, told);
      return advance(now);
    case ProgramRemedy::kFinalAction:
      break;
  }
  const FinalAction action = program->policy().on_failure;
  if (action == FinalAction::kNothing) {
    program_news_.push_back({true, told + "; nothing is done about it, as was asked for"});
    return;
  }
  forget_steps_of(resource);
  if (present == ResourceState::kStarting) kill_needed_.insert(resource);
  set_state(resource, ResourceState::kFailed, told);
  fail_for_good(now, *script, fmt::format("script {} failed: {}", resource, told), action, false);
  advance(now);
}

void GroupRun::see_to_waiting_programs(Instant now) {
  std::vector<std::pair<std::string, ProgramRun>> waiting;
  for (const auto& [resource, programs] : programs_)
    for (const auto& program : programs)
      if (program.state() == ProgramState::kWaiting) waiting.emplace_back(resource, program);
  for (const auto& [resource, program] : waiting) program_ended(now, resource, program.policy().id, program.how());
}

void GroupRun::end_programs(const std::string& resource) {
  const auto list = programs_.find(resource);
  if (list == programs_.end()) return;
  for (auto& program : list->second) program.ended_with_script();
}

void GroupRun::begin_restart(Instant now, const std::string& resource, const std::string& id) {
  begin(now, *configuration_.find(resource), StepAction::kRestartProgram, id);
}

void GroupRun::program_step_ended(Instant now, const Running& running, bool ok, const std::string& detail) {
  auto* program = find_program(running.resource, running.program);
  if (program == nullptr) return;
  if (ok) return program->restarted();
  program_ended(now, running.resource, running.program, "could not be started again: " + detail);
}

}  // namespace baton::group
