// See monitor_checks.h.
#include "src/daemon/monitor_checks.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace baton {

namespace {

using group::Verdict;

constexpr int kCouldNotCheck = 75;  // EX_TEMPFAIL of sysexits.h
constexpr int kCannotRun = 126;     // of a shell
constexpr int kNotFound = 127;
constexpr size_t kShownBytes = 200;

/// The last line of what a program printed, short enough for one line.
std::string last_words(const std::string& output) {
  const size_t end = output.find_last_not_of(" \r\n\t");
  if (end == std::string::npos) return {};
  const size_t before = output.find_last_of("\r\n", end);
  std::string line = output.substr(before == std::string::npos ? 0 : before + 1, end - (before == std::string::npos ? -1 : before));
  std::replace_if(line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 127; }, ' ');
  if (line.size() > kShownBytes) line = line.substr(0, kShownBytes) + "...";
  return line;
}

std::string with_words(std::string text, const std::string& output) {
  const std::string words = last_words(output);
  return words.empty() ? text : text + ": " + words;
}

/// What baton-check said first, if it was how far it has read.
std::string told_position(const std::string& output) {
  const std::string_view before = "position ";
  if (!output.starts_with(before)) return "";
  return output.substr(before.size(), output.find('\n') - before.size());
}

}  // namespace

node::CheckDone judge_end(const MonitorConfiguration& monitor, const ChildEnd& end) {
  node::CheckDone done;
  const bool log = monitor.kind == MonitorKind::kLog;
  const bool own = monitor.kind != MonitorKind::kCommand;
  const std::string program = own ? fmt::format("the check of {}", monitor.path) : monitor.command.front();
  if (log && end.exited && !end.timed_out) done.position = told_position(end.output);
  if (!end.start_error.empty()) {
    done.detail = fmt::format("{} could not be started: {}", program, end.start_error);
  } else if (end.timed_out) {
    done.verdict = log ? Verdict::kUnknown : Verdict::kBad;  // a long log says nothing of who writes it
    done.detail = with_words(fmt::format("{} did not end within {} ms", program, monitor.timeout.count()), end.output);
  } else if (!end.exited) {
    done.detail = fmt::format("{} {}", program, describe(end));
  } else if (end.status == 0) {
    done.verdict = Verdict::kGood;
    done.detail = last_words(end.output);
  } else {
    const bool unknown = end.status == kCouldNotCheck || end.status == kCannotRun || end.status == kNotFound;
    done.verdict = unknown ? Verdict::kUnknown : Verdict::kBad;
    done.detail = own ? last_words(end.output) : with_words(fmt::format("{} ended with status {}", program, end.status), end.output);
  }
  return done;
}

node::CheckDone judge_answer(const MonitorConfiguration& monitor, const WebAnswer& answer) {
  node::CheckDone done;
  const std::string whom = monitor.kind == MonitorKind::kTcp ? fmt::format("port {} of {}", monitor.port, monitor.host) : monitor.url;
  if (answer.end != WebAnswer::End::kAnswered) {
    done.verdict = answer.end == WebAnswer::End::kNoAnswer ? Verdict::kBad : Verdict::kUnknown;
    done.detail = fmt::format("{}: {}", whom, answer.error);
    return done;
  }
  done.verdict = Verdict::kBad;
  if (monitor.kind == MonitorKind::kTcp) {
    done.verdict = Verdict::kGood;
    done.detail = fmt::format("connected in {} ms", to_ms(answer.took));
  } else if (std::find(monitor.status.begin(), monitor.status.end(), answer.status) == monitor.status.end()) {
    done.detail = fmt::format("{} answered {}, expected {}", whom, answer.status, fmt::join(monitor.status, " or "));
  } else if (!monitor.text.empty() && answer.body.find(monitor.text) == std::string::npos) {
    done.detail = fmt::format("{} answered {}, but without \"{}\"", whom, answer.status, monitor.text);
  } else {
    done.verdict = Verdict::kGood;
    done.detail = fmt::format("answered {} in {} ms", answer.status, to_ms(answer.took));
  }
  return done;
}

MonitorChecks::MonitorChecks(EventLoop& loop, std::string check_program, Done done)
    : loop_(loop), check_program_(std::move(check_program)), done_(std::move(done)), web_(loop), door_(loop) {}

MonitorChecks::~MonitorChecks() {
  door_.close();
  for (auto& [token, program] : programs_) program.child.kill_all();
}

void MonitorChecks::run(const node::RunCheck& check, const std::string& control_group) {
  const bool web = check.monitor.kind == MonitorKind::kTcp || check.monitor.kind == MonitorKind::kHttp;
  web ? run_web(check) : run_command(check, control_group);
}

void MonitorChecks::end(const node::EndCheck& check) {
  waits_.erase(check.token);
  auto program = programs_.extract(check.token);
  if (program.empty()) return;
  program.mapped().child.kill_all();
  killed_[program.mapped().key] = std::move(program.mapped().child);
}

std::vector<std::string> MonitorChecks::words_of(const node::RunCheck& check) const {
  const MonitorConfiguration& monitor = check.monitor;
  if (monitor.kind == MonitorKind::kCommand) return monitor.command;
  if (monitor.kind == MonitorKind::kDisk) return {check_program_, "disk", monitor.path};
  const auto reading = monitor.timeout / 2;  // the rest is for the machine
  std::vector<std::string> words = {check_program_, "log", monitor.path, monitor.pattern, std::to_string(reading.count())};
  if (!check.position.empty()) words.push_back(check.position);
  return words;
}

/// Of what is asked: after a change of that it is another check.
std::string MonitorChecks::key_of(const node::RunCheck& check) const {
  node::RunCheck begun = check;
  begun.position.clear();
  return fmt::format("{}/{}: {}", check.group, check.monitor.name, fmt::join(words_of(begun), " "));
}

/// A check that hangs in the kernel (a disk, a server of files) keeps its process and its descriptors: there is one of them at a time.
bool MonitorChecks::hangs(const std::string& key) {
  const auto before = killed_.find(key);
  if (before == killed_.end()) return false;
  if (before->second.running()) return true;
  killed_.erase(before);
  return false;
}

/// It takes as long as one that hangs anew, so that `failures` of them mean the same.
void MonitorChecks::wait_for_hanging(const node::RunCheck& check) {
  const bool log = check.monitor.kind == MonitorKind::kLog;
  waits_[check.token] = loop_.after(check.monitor.timeout, [this, token = check.token, key = key_of(check), log] {
    waits_.erase(token);
    node::CheckDone done{token, Verdict::kUnknown, "the check before, which was killed, has only now ended"};
    if (hangs(key)) {
      done.verdict = log ? Verdict::kUnknown : Verdict::kBad;
      done.detail = "the check before hangs in the kernel, though it was killed";
    }
    done_(done);
  });
}

void MonitorChecks::run_command(const node::RunCheck& check, const std::string& control_group) {
  if (hangs(key_of(check))) return wait_for_hanging(check);
  ChildOptions options;
  options.argv = words_of(check);
  options.user = check.monitor.user;
  options.environment = {"BATON_GROUP=" + check.group, "BATON_MONITOR=" + check.monitor.name, "BATON_RESOURCE=" + check.monitor.of};
  options.deadline = check.monitor.timeout;
  options.control_group = control_group;
  options.shares_control_group = true;
  const auto ended = [this, token = check.token, monitor = check.monitor](const ChildEnd& end) {
    auto program = programs_.extract(token);
    if (program.empty()) {  // nobody waits for it any more
      std::erase_if(killed_, [](const auto& killed) { return !killed.second.running(); });
      return;
    }
    if (end.hung) killed_[program.mapped().key] = std::move(program.mapped().child);
    node::CheckDone done = judge_end(monitor, end);
    done.token = token;
    done_(done);
  };
  auto child = ChildProcess::spawn(loop_, std::move(options), ended);
  if (child) {
    programs_[check.token] = Running{key_of(check), std::move(*child)};
    return;
  }
  door_.post([this, done = node::CheckDone{check.token, Verdict::kUnknown, child.error().message}] { done_(done); });
}

void MonitorChecks::run_web(const node::RunCheck& check) {
  WebRequest request;
  request.only_connect = check.monitor.kind == MonitorKind::kTcp;
  const bool v6 = check.monitor.host.find(':') != std::string::npos;
  request.url = request.only_connect ? fmt::format("http://{}{}{}:{}", v6 ? "[" : "", check.monitor.host, v6 ? "]" : "", check.monitor.port)
                                     : check.monitor.url;
  request.authority = check.monitor.authority;
  request.limit = check.monitor.timeout;
  web_.ask(request, [this, token = check.token, monitor = check.monitor](const WebAnswer& answer) {
    node::CheckDone done = judge_answer(monitor, answer);
    done.token = token;
    done_(done);
  });
}

}  // namespace baton
