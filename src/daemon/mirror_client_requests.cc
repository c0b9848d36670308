// A mirror daemon's settings while it runs, and requests that are answered later. One thread: the loop's.
#include <fstream>
#include <sstream>

#include "src/daemon/mirror_client.h"
#include "src/daemon/mirror_settings.h"

namespace baton {

namespace {
constexpr Duration kReadKeysLimit = 3s;
constexpr const char* kReadKeys = "read_keys";
constexpr Duration kGrowLimit = 10min;
constexpr Duration kGrowRetry = 2s;  // the other copy may have to grow first

Status keys_not_read(const std::string& mirror) {
  return fail_as(ErrorCode::kTimeout, "the daemon of mirror {} does not answer; if it is of an earlier version, move its group or stop "
                 "it, so that the daemon is started anew", mirror);
}
}  // namespace

// ---- Settings ----

/// A daemon that an earlier batond started: its settings file says with what.
void MirrorClient::learn_running_settings() {
  std::ifstream file(settings_file_);
  std::stringstream text;
  text << file.rdbuf();
  if (auto settings = mirror_control::decode_daemon_settings(text.str())) running_ = *settings;
}

void MirrorClient::want_settings(const mirror_control::DaemonSettings& wanted) {
  wanted_ = wanted;
  if (client_ != nullptr) send_live_settings();
  grow_if_needed();
}

std::string MirrorClient::pending_settings() const {
  std::string pending = client_ == nullptr ? "" : settings_that_need_a_restart(running_, wanted_);
  if (!pending.empty())
    pending = "changed, but not in use until the group moves or stops: " + pending;
  if (!grow_problem_.empty()) pending += (pending.empty() ? "" : "; ") + ("cannot grow yet: " + grow_problem_);
  return pending;
}

void MirrorClient::restart_for_settings() {
  if (client_ == nullptr || restarting_ || stopping_ || settings_that_need_a_restart(running_, wanted_).empty()) return;
  callbacks_.on_note("restarted for changed settings: " + settings_that_need_a_restart(running_, wanted_));
  restarting_ = true;
  send(mirror_control::Stop{});
}

void MirrorClient::send_live_settings() {
  if (running_.rate_limit == wanted_.rate_limit) return;
  running_.rate_limit = wanted_.rate_limit;
  send(mirror_control::SetRate{wanted_.rate_limit});
}

/// Each server's daemon is told on its own; one that must wait for the other says so and is asked again.
void MirrorClient::grow_if_needed() {
  const uint64_t present = report_ ? report_->size_bytes : 0;
  if (client_ == nullptr || present == 0 || present >= wanted_.size_bytes || asked_size_ == wanted_.size_bytes) {
    if (present >= wanted_.size_bytes) grow_problem_.clear();
    return;
  }
  asked_size_ = wanted_.size_bytes;
  call(mirror_control::Grow{wanted_.size_bytes}, "grow", kGrowLimit, [this](const Result<mirror_control::Notice>& end) {
    if (end) {
      grow_problem_.clear();
      return callbacks_.on_note(fmt::format("grown to {} bytes", asked_size_));
    }
    if (end.error().message != grow_problem_) callbacks_.on_note("cannot grow: " + end.error().message);
    grow_problem_ = end.error().message;
    grow_retry_ = loop_.after(kGrowRetry, [this] {
      asked_size_ = 0;
      grow_if_needed();
    });
  });
}

// ---- Requests ----

void MirrorClient::read_keys(bool anew, KeysRead done) {
  if (client_ == nullptr && !spawned_) return done({});
  key_reads_.push_back(std::move(done));
  read_anew_ = read_anew_ || anew;
  if (client_ != nullptr) return read_keys_next();
  // One that was started a moment ago may have read them already, or not: it is told once it listens.
  if (key_reads_.size() == 1) key_reads_deadline_ = loop_.after(kReadKeysLimit, [this] { answer_key_reads(keys_not_read(wanted_.key)); });
}

/// What is asked while one is under way needs another one after it: the files may have changed since.
void MirrorClient::read_keys_next() {
  if (client_ == nullptr || key_reads_.empty() || calls_.contains(kReadKeys)) return;
  key_reads_deadline_ = {};
  call(mirror_control::ReadKeys{std::exchange(read_anew_, false)}, kReadKeys, kReadKeysLimit,
       [reads = std::exchange(key_reads_, {}), key = wanted_.key](const Result<mirror_control::Notice>& end) {
         // kUnavailable: it has ended; the next one reads them when it starts.
         const bool read = end || end.error().code == ErrorCode::kUnavailable;
         const Status outcome = read ? Status() : end.error().code == ErrorCode::kTimeout ? keys_not_read(key) : Status(pass(end));
         for (const KeysRead& done : reads) done(outcome);
       });
}

void MirrorClient::answer_key_reads(const Status& outcome) {
  key_reads_deadline_ = {};
  for (KeysRead& done : std::exchange(key_reads_, {})) loop_.post([done = std::move(done), outcome] { done(outcome); });
}

void MirrorClient::call(const mirror_control::Request& request, const std::string& name, Duration limit, Answer answer) {
  if (client_ == nullptr) {
    const std::string why = problem_.empty() ? "its mirror daemon is starting" : problem_;
    return answer(fail_as(ErrorCode::kUnavailable, "{}", why));
  }
  if (calls_.contains(name))
    return answer(fail_as(ErrorCode::kConflict, "a {} of mirror {} is under way already: wait for its end", name,
                          wanted_.key));
  Call& waiting = calls_[name];
  waiting.answer = std::move(answer);
  waiting.deadline = loop_.after(limit, [this, name, limit] {
    answer_call(name, fail_as(ErrorCode::kTimeout, "the mirror daemon did not answer the {} within {} s; it may still "
                              "come about: look at `baton mirror status {}`", name, to_ms(limit) / 1000, wanted_.key));
  });
  send(request);
}

void MirrorClient::answer_call(const std::string& name, Result<mirror_control::Notice> result) {
  auto found = calls_.extract(name);
  if (found.empty()) return;
  // From the loop: callers do not expect an answer inside their call, nor to be called while the client is changed.
  loop_.post([answer = std::move(found.mapped().answer), result = std::move(result)] { answer(result); });
  read_keys_next();
}

}  // namespace baton
