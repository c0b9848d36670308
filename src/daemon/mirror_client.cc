// Starts, adopts and commands one mirror daemon. One thread: the loop's.
#include "src/daemon/mirror_client.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>

#include "src/base/overloaded.h"
#include "src/daemon/mirror_settings.h"

namespace baton {

namespace {
constexpr Duration kConnectRetry = 20ms;
constexpr Duration kSpawnRetry = 200ms;
constexpr Duration kLongestSpawnRetry = 5s;
constexpr Duration kAbortLimit = 2s;

Status write_private_file(const std::string& path, const std::string& text) {
  const std::string temporary = path + ".new";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return fail("cannot write {}: {}", temporary, std::strerror(errno));
  const ssize_t written = ::write(fd, text.data(), text.size());
  ::close(fd);
  if (written != static_cast<ssize_t>(text.size())) return fail("cannot write {}: {}", temporary, std::strerror(errno));
  if (::rename(temporary.c_str(), path.c_str()) != 0)
    return fail("cannot rename {} to {}: {}", temporary, path, std::strerror(errno));
  return {};
}
}  // namespace

MirrorClient::MirrorClient(EventLoop& loop, mirror_control::DaemonSettings settings, std::string program,
                           std::string run_directory, std::string log_file, Callbacks callbacks)
    : loop_(loop), running_(settings), wanted_(std::move(settings)), program_(std::move(program)),
      settings_file_(run_directory + "/mirror-" + wanted_.key + ".json"), log_file_(std::move(log_file)),
      callbacks_(std::move(callbacks)) {}

void MirrorClient::start() { connect_or_spawn(); }

void MirrorClient::stop() {
  stopping_ = true;
  send(mirror_control::Stop{});
}

void MirrorClient::connect_or_spawn() {
  auto client = LineClient::connect(loop_, wanted_.socket,
                                    {[this](const std::string& line) { on_line(line); },
                                     [this](const std::string& reason) { lost(reason); }});
  if (client) return connected(std::move(*client));
  if (stopping_ && !spawned_) return;
  if (!spawned_) spawn();
  retry_ = loop_.after(spawned_ ? kConnectRetry : kSpawnRetry, [this] { connect_or_spawn(); });
}

void MirrorClient::spawn() {
  answer_adoption();  // nobody listens: whatever was exported is gone
  const auto written = write_private_file(settings_file_, mirror_control::encode(wanted_));
  if (!written) {
    problem_ = written.error().message;
    return;
  }
  ChildOptions options;
  options.argv = {program_, "--settings", settings_file_};
  options.new_session = true;
  options.may_lock_memory = true;
  options.output = ChildOptions::Output::kLogFile;
  options.log_file = log_file_;
  make_mirror_directories(wanted_);
  running_ = wanted_;
  restarting_ = false;
  auto child = ChildProcess::spawn(loop_, options, [this](const ChildEnd& end) { daemon_ended(end); });
  if (!child) {
    problem_ = child.error().message;
    return;
  }
  daemon_ = std::move(*child);
  spawned_ = true;
}

void MirrorClient::daemon_ended(const ChildEnd& end) {
  spawned_ = false;
  answer_key_reads({});  // the next one reads them when it starts
  if (stopping_) return;
  if (restarting_) {
    retry_ = loop_.after(Duration{0}, [this] { connect_or_spawn(); });
    return;
  }
  const std::string text = fmt::format("the mirror daemon {}; see {}", describe(end), log_file_);
  if (text != problem_) callbacks_.on_note(text);  // once, not at each attempt
  problem_ = text;
  // One that ends again and again is started less and less often.
  ++failed_starts_;
  const Duration pause = std::min<Duration>(kSpawnRetry * failed_starts_, kLongestSpawnRetry);
  retry_ = loop_.after(end.took > seconds(10) ? Duration{0} : pause, [this] { connect_or_spawn(); });
}

void MirrorClient::connected(std::unique_ptr<LineClient> client) {
  client_ = std::move(client);
  failed_starts_ = 0;
  problem_.clear();
  if (stopping_) return send(mirror_control::Stop{});
  if (!spawned_) learn_running_settings();
  if (state_) send(mirror_control::State{*state_});
  send_live_settings();
  // SAFETY: K2, K4. They may have changed while no batond was here, or since this daemon read them when it started.
  read_keys(false, [](const Status&) {});
}

void MirrorClient::lost(const std::string& reason) {
  client_.reset();
  if (stopping_) return;
  problem_ = restarting_ ? "the mirror daemon is being restarted" : "the mirror daemon is gone (" + reason + ")";
  report_.reset();
  last_notice_ = {};
  device_.clear();
  asked_size_ = 0;
  finish(promoting_, fail("{}", problem_));
  finish(demoting_, std::string());  // without its daemon a mirror is not exported
  answer_adoption();
  while (!calls_.empty()) answer_call(calls_.begin()->first, fail_as(ErrorCode::kUnavailable, "{}", problem_));
  callbacks_.on_gone();
  callbacks_.on_export_lost(problem_);
  retry_ = loop_.after(kConnectRetry, [this] { connect_or_spawn(); });
}

void MirrorClient::set_state(const MirrorState& state) {
  if (state_ && *state_ == state) return;
  state_ = state;
  send(mirror_control::State{state});
}

void MirrorClient::peer_lost(const std::string& reason) { send(mirror_control::PeerLost{reason}); }

void MirrorClient::prepare() { send(mirror_control::Prepare{}); }

void MirrorClient::promote(Permit permit, Done done) {
  promoting_ = std::move(done);
  promoting_permit_ = permit;
  if (client_ == nullptr) return finish(promoting_, fail("{}", problem_.empty() ? "its mirror daemon is starting" : problem_));
  send(mirror_control::Promote{permit});
}

void MirrorClient::demote(Done done) {
  demoting_ = std::move(done);
  aborting_ = false;
  if (client_ == nullptr) return finish(demoting_, std::string());
  send(mirror_control::Demote{});
}

void MirrorClient::abort(const std::string& reason, Done done) {
  finish(promoting_, fail("{}", reason));
  demoting_ = std::move(done);
  aborting_ = true;
  if (client_ == nullptr) return finish(demoting_, std::string());
  send(mirror_control::Abort{reason});
  // One that hangs cannot abort its export; its death can.
  escalation_ = loop_.after(kAbortLimit, [this] {
    if (!demoting_ || client_ == nullptr) return;
    const int process = client_->peer_process();
    callbacks_.on_note(fmt::format("the mirror daemon does not answer: process {} is killed", process));
    if (process > 1) ::kill(process, SIGKILL);
  });
}

void MirrorClient::adopt(Permit permit, Done done) {
  adopting_ = std::move(done);
  adopting_permit_ = permit;
  if (report_) answer_adoption();
}

void MirrorClient::answer_adoption() {
  if (!adopting_) return;
  const bool up = report_ && report_->role == MirrorRole::kPrimary && report_->exported;
  finish(adopting_, up ? Result<std::string>(device_) : Result<std::string>(fail("not exported")));
}

void MirrorClient::send(const mirror_control::Request& request) {
  if (client_ != nullptr) client_->send(mirror_control::encode(request));
}

void MirrorClient::finish(Done& pending, Result<std::string> result) {
  if (!pending) return;
  // From the loop: callers do not expect an answer inside their call.
  loop_.post([done = std::exchange(pending, nullptr), result = std::move(result)] { done(result); });
}

void MirrorClient::take(const mirror_control::Report& notice) {
  report_ = notice.report;
  last_notice_ = notice;
  device_ = notice.device;
  answer_adoption();
  grow_if_needed();
  callbacks_.on_report(notice);
}

void MirrorClient::on_line(const std::string& line) {
  const auto notice = mirror_control::decode_notice(line);
  if (!notice) return callbacks_.on_note("a line of the mirror daemon is not understood: " + notice.error().message);
  std::visit(Overloaded{
                 [&](const mirror_control::Report& report) { take(report); },
                 [&](const mirror_control::Propose& propose) { callbacks_.on_propose(propose.change); },
                 [&](const mirror_control::Promoted& promoted) {
                   device_ = promoted.device;
                   if (promoted.permit == promoting_permit_) finish(promoting_, promoted.device);
                 },
                 [&](const mirror_control::Demoted&) {
                   device_.clear();
                   // An earlier batond's wish: what this one has found up is up no more.
                   if (!demoting_) callbacks_.on_export_lost("it was handed over as an earlier batond had asked");
                   finish(demoting_, std::string());
                 },
                 [&](const mirror_control::Failed& failed) {
                   if (failed.request == "promote") finish(promoting_, fail("{}", failed.reason));
                   // An abort overtakes a demotion: that one's failure is not the abort's.
                   if (failed.request == "demote" && !aborting_) finish(demoting_, fail("{}", failed.reason));
                   answer_call(failed.request, fail("{}", failed.reason));
                 },
                 [&](const mirror_control::Verified& verified) { answer_call("verify", mirror_control::Notice(verified)); },
                 [&](const mirror_control::Aborted& aborted) { callbacks_.on_export_lost(aborted.reason); },
                 [&](const mirror_control::Note& text) { callbacks_.on_note(text.text); },
                 [&](const mirror_control::Done& done) {
                   if (done.request == "replace") restarting_ = true;  // it ends now, and begins as a new copy
                   answer_call(done.request, mirror_control::Notice(done));
                 },
                 [&](const mirror_control::Alert& alert) { callbacks_.on_alert(alert.text); },
             },
             *notice);
}

}  // namespace baton
