// See alert_sender.h. Files with secrets are read, and names resolved, on the alert's worker thread: both may hang.
#include "src/daemon/alert_sender.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <fstream>

#include "src/os/control_group.h"
#include "src/os/helper_process.h"

namespace baton {

namespace {

constexpr const char* kControlGroup = "alerts";  // a resource's has a dot in its name, a group's helpers begin with that word
constexpr Duration kPlaceClears = 3s;
constexpr Duration kPlaceAgain = 1s;
constexpr Duration kHangs = 1s;  // after the timeout: then nobody waits for the thread any more
constexpr size_t kOutputBytes = 4096;
constexpr size_t kShownBytes = 200;
constexpr const char* kPublic = "public";

/// The first line of a file of one line.
Result<std::string> read_secret(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line) || line.empty())
    return fail_as(ErrorCode::kInvalid, "{} cannot be read, or is empty: it should have the password in its first line", path);
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  return line;
}

std::string with_words(const std::string& text, std::string words) {
  std::replace_if(words.begin(), words.end(), [](unsigned char c) { return c < ' ' || c == 127; }, ' ');
  words.erase(std::find_if(words.rbegin(), words.rend(), [](char c) { return c != ' '; }).base(), words.end());
  if (words.size() > kShownBytes) words = words.substr(0, kShownBytes) + "...";
  return words.empty() ? text : text + ": " + words;
}

Result<std::string> judge(const AlertConfiguration& alert, const WebAnswer& answer) {
  if (answer.end != WebAnswer::End::kAnswered) return fail_as(ErrorCode::kUnavailable, "{}", answer.error);
  const std::string said = with_words(fmt::format("answered {}", answer.status), answer.body);
  if (alert.kind == AlertKind::kWebhook && (answer.status < 200 || answer.status > 299))
    return fail_as(ErrorCode::kUnavailable, "{}", said);
  return said;
}

Result<std::string> judge(const AlertConfiguration& alert, const ChildEnd& end) {
  const std::string& program = alert.command.front();
  if (end.exited && end.status == 0) return with_words("ended with status 0", last_lines(end.output, 1));
  if (end.timed_out) return fail_as(ErrorCode::kTimeout, "{} did not end within {} ms", program, alert.timeout.count());
  return fail_as(ErrorCode::kUnavailable, "{}", with_words(fmt::format("{} {}", program, describe(end)), last_lines(end.output, 1)));
}

WebRequest web_request(const AlertConfiguration& alert, const AlertMessage& message, const std::string& password, Duration limit) {
  WebRequest request;
  request.authority = alert.authority;
  request.limit = limit;
  request.user = alert.user;
  request.password = password;
  if (alert.kind == AlertKind::kWebhook) {
    request.url = alert.url;
    request.json = to_json(message).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return request;
  }
  const bool v6 = alert.host.find(':') != std::string::npos;
  request.url =
      fmt::format("{}://{}{}{}:{}", alert.tls == AlertTls::kTls ? "smtps" : "smtp", v6 ? "[" : "", alert.host, v6 ? "]" : "", alert.port);
  request.mail = WebMail{alert.from, alert.recipients, to_mail(message, alert), alert.tls == AlertTls::kStartTls};
  return request;
}

/// On the worker's thread.
Result<std::string> send_packet_now(const AlertConfiguration& alert, const AlertMessage& message, Duration uptime) {
  MessageTarget target;
  target.host = alert.host;
  target.port = alert.port;
  target.path = alert.socket;
  std::string text;
  if (alert.kind == AlertKind::kSyslog) {
    text = to_syslog(message, alert.transport);
    target.kind = alert.transport == AlertTransport::kTcp     ? MessageTarget::Kind::kTcp
                  : alert.transport == AlertTransport::kLocal ? MessageTarget::Kind::kLocal
                                                              : MessageTarget::Kind::kUdp;
  } else {
    std::string community = kPublic;
    if (!alert.community_file.empty()) {
      const auto read = read_secret(alert.community_file);
      if (!read) return pass(read);
      community = *read;
    }
    const Bytes trap = to_snmp_trap(message, community, uptime);
    text.assign(trap.begin(), trap.end());
  }
  if (const auto sent = send_message(target, text, alert.timeout); !sent) return pass(sent);
  return target.kind == MessageTarget::Kind::kUdp ? "sent (nothing confirms a datagram)" : "taken";
}

}  // namespace

AlertSender::AlertSender(EventLoop& loop) : loop_(loop), began_(EventLoop::now()), door_(loop) { clear_place(); }

AlertSender::~AlertSender() {
  *alive_ = false;
  door_.close();
  for (auto& [number, attempt] : attempts_) attempt.program.kill_all();
}

/// What an earlier batond has left running is ended; until then no command is run.
void AlertSender::clear_place() {
  const auto path = service_group_path(kControlGroup);
  if (!path) {
    place_clear_ = true;  // nothing can be found again
    return;
  }
  place_ = *path;
  clear_control_group(loop_, place_, kPlaceClears, [this, alive = alive_](const Status& ended) {
    if (!*alive) return;
    const Status made = ended ? create_control_group(place_) : ended;
    place_clear_ = made.has_value();
    if (place_clear_) return;
    spdlog::warn("no command of an alert is run yet: {}", made.error().message);
    place_again_ = loop_.after(kPlaceAgain, [this] { clear_place(); });
  });
}

void AlertSender::send(const AlertConfiguration& alert, const AlertMessage& message, Done done) {
  const uint64_t number = ++next_;
  Attempt& attempt = attempts_[number];
  attempt.alert = alert;
  attempt.message = message;
  attempt.done = std::move(done);
  attempt.until = EventLoop::now() + alert.timeout;
  ways_.try_emplace(alert.name, loop_);
  if (alert.kind == AlertKind::kCommand) return run_command(number);
  attempt.deadline = loop_.after(alert.timeout + kHangs, [this, number] {
    end(number, fail_as(ErrorCode::kTimeout, "neither done nor failed in time: a file or the resolving of a name hangs"));
  });
  if (alert.kind == AlertKind::kSyslog || alert.kind == AlertKind::kTrap) return send_packet(number);
  if (alert.password_file.empty()) return send_web(number, "");
  in_worker(number, [path = alert.password_file] { return read_secret(path); },
            [this](uint64_t which, const std::string& password) { send_web(which, password); });
}

/// `then` with what the job gives; an error ends the attempt.
void AlertSender::in_worker(uint64_t number, Job job, Then then) {
  Way& way = ways_.at(attempts_.at(number).alert.name);
  if (way.in_worker != 0) {
    door_.post([this, number] { end(number, fail_as(ErrorCode::kUnavailable, "an earlier attempt has not ended yet")); });
    return;
  }
  way.in_worker = number;
  way.worker.run([this, door = door_, number, name = attempts_.at(number).alert.name, job = std::move(job), then = std::move(then)] {
    const Result<std::string> given = job();
    door.post([this, number, name, given, then] {
      ways_.at(name).in_worker = 0;
      if (!attempts_.contains(number)) return;
      if (!given) return end(number, given);
      then(number, *given);
    });
  });
}

void AlertSender::end(uint64_t number, const Result<std::string>& answer) {
  auto attempt = attempts_.extract(number);
  if (!attempt.empty()) attempt.mapped().done(answer);
}

void AlertSender::send_web(uint64_t number, const std::string& password) {
  const Attempt& attempt = attempts_.at(number);
  const Duration left = std::max<Duration>(attempt.until - EventLoop::now(), 1ms);
  ways_.at(attempt.alert.name)
      .web.ask(web_request(attempt.alert, attempt.message, password, left), [this, number](const WebAnswer& answer) {
        if (attempts_.contains(number)) end(number, judge(attempts_.at(number).alert, answer));
      });
}

void AlertSender::send_packet(uint64_t number) {
  const Attempt& attempt = attempts_.at(number);
  in_worker(number, [alert = attempt.alert, message = attempt.message, uptime = EventLoop::now() - began_] {
    return send_packet_now(alert, message, uptime);
  }, [this](uint64_t which, const std::string& said) { end(which, said); });
}

void AlertSender::run_command(uint64_t number) {
  Attempt& attempt = attempts_.at(number);
  const auto refuse = [&](const std::string& why) {
    door_.post([this, number, why] { end(number, fail_as(ErrorCode::kUnavailable, "{}", why)); });
  };
  if (!place_clear_) return refuse("a command of an earlier batond has not ended yet");
  ChildOptions options;
  options.argv = attempt.alert.command;
  options.user = attempt.alert.user;
  options.environment = to_environment(attempt.message);
  options.input = to_json(attempt.message).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  options.deadline = attempt.alert.timeout;
  options.captured_bytes = kOutputBytes;
  options.control_group = place_;
  options.shares_control_group = true;
  auto child = ChildProcess::spawn(loop_, std::move(options), [this, number](const ChildEnd& ended) {
    if (attempts_.contains(number)) end(number, judge(attempts_.at(number).alert, ended));
  });
  if (!child) return refuse(child.error().message);
  attempt.program = std::move(*child);
}

}  // namespace baton
