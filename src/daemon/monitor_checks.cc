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

}  // namespace

node::CheckDone judge_end(const MonitorConfiguration& monitor, const ChildEnd& end) {
  node::CheckDone done;
  const std::string& program = monitor.command.front();
  if (!end.start_error.empty()) {
    done.detail = fmt::format("{} could not be started: {}", program, end.start_error);
  } else if (end.timed_out) {
    done.verdict = Verdict::kBad;
    done.detail = with_words(fmt::format("{} did not end within {} ms", program, monitor.timeout.count()), end.output);
  } else if (!end.exited) {
    done.detail = fmt::format("{} {}", program, describe(end));
  } else if (end.status == 0) {
    done.verdict = Verdict::kGood;
    done.detail = last_words(end.output);
  } else {
    const bool unknown = end.status == kCouldNotCheck || end.status == kCannotRun || end.status == kNotFound;
    done.verdict = unknown ? Verdict::kUnknown : Verdict::kBad;
    done.detail = with_words(fmt::format("{} ended with status {}", program, end.status), end.output);
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

MonitorChecks::MonitorChecks(EventLoop& loop, Done done) : loop_(loop), done_(std::move(done)), web_(loop), door_(loop) {}

MonitorChecks::~MonitorChecks() {
  door_.close();
  for (auto& [token, program] : programs_) program.kill_all();
}

void MonitorChecks::run(const node::RunCheck& check, const std::string& control_group) {
  if (check.monitor.kind == MonitorKind::kCommand) return run_command(check, control_group);
  run_web(check);
}

void MonitorChecks::end(const node::EndCheck& check) {
  auto program = programs_.extract(check.token);
  if (!program.empty()) program.mapped().kill_all();
}

void MonitorChecks::run_command(const node::RunCheck& check, const std::string& control_group) {
  ChildOptions options;
  options.argv = check.monitor.command;
  options.user = check.monitor.user;
  options.environment = {"BATON_GROUP=" + check.group, "BATON_MONITOR=" + check.monitor.name, "BATON_RESOURCE=" + check.monitor.of};
  options.deadline = check.monitor.timeout;
  options.control_group = control_group;
  options.shares_control_group = true;
  auto child = ChildProcess::spawn(loop_, std::move(options), [this, token = check.token, monitor = check.monitor](const ChildEnd& end) {
    programs_.erase(token);
    node::CheckDone done = judge_end(monitor, end);
    done.token = token;
    done_(done);
  });
  if (child) {
    programs_[check.token] = std::move(*child);
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
