// See corosync_engine.h.
#include "src/os/corosync_engine.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/os/child_process.h"
#include "src/os/file_text.h"
#include "src/os/helper_process.h"
#include "src/os/owned_fd.h"

namespace baton {

namespace {

constexpr size_t kShortestKey = 128, kLongestKey = 4096;  // what knet accepts

Status check_key(const Bytes& key) {
  if (key.size() >= kShortestKey && key.size() <= kLongestKey) return {};
  return fail_as(ErrorCode::kInvalid, "the interconnects' key has {} bytes; it must have {} to {}", key.size(), kShortestKey,
                 kLongestKey);
}

pid_t pid_in_file(const std::string& path) {
  auto text = read_text_file(path);
  return text ? static_cast<pid_t>(std::strtol(text->c_str(), nullptr, 10)) : 0;
}

/// The arguments of a process, each ended by a zero byte; empty when it is gone or a kernel thread.
std::string command_line(pid_t pid) {
  auto text = read_text_file(fmt::format("/proc/{}/cmdline", pid));
  return text ? *text : std::string();
}

bool is_corosync(pid_t pid) {
  auto name = read_text_file(fmt::format("/proc/{}/comm", pid));
  return name && name->starts_with("corosync") && !command_line(pid).empty();
}

}  // namespace

struct CorosyncEngine::State : std::enable_shared_from_this<CorosyncEngine::State> {
  State(EventLoop& the_loop, EnginePaths the_paths, std::function<void(const std::string&)> the_callback)
      : loop(the_loop), paths(std::move(the_paths)), on_end(std::move(the_callback)) {}

  Result<std::string> text_of(EngineConfig config) const {
    config.key_file = paths.key_file();
    config.state_directory = paths.state_directory;
    config.log_file = paths.log_file;
    return corosync_configuration(config);
  }

  /// Ours is the one that was started with our configuration file.
  bool is_ours(pid_t candidate) const {
    return candidate > 0 && is_corosync(candidate) &&
           command_line(candidate).find(std::string("-c") + '\0' + paths.config_file() + '\0') !=
               std::string::npos;
  }

  bool adopt() {
    for (const auto& file : {paths.pid_file(), paths.lock_file}) {
      const pid_t candidate = pid_in_file(file);
      if (candidate <= 0) continue;
      OwnedFd fd(static_cast<int>(::syscall(SYS_pidfd_open, candidate, 0)));
      // The check comes after the pidfd, so the number cannot have passed to another process in between.
      if (!fd || !is_ours(candidate)) continue;
      pidfd = std::move(fd);
      process = candidate;
      auto self = weak_from_this();
      watch = loop.watch_readable(pidfd.get(), [self] {
        if (auto state = self.lock()) state->ended("ended (it was adopted, so its exit status is unknown)");
      });
      return true;
    }
    return false;
  }

  Status check_foreign() const {
    const pid_t other = pid_in_file(paths.lock_file);
    if (other <= 0 || !is_corosync(other) || ::kill(other, 0) != 0) return {};
    return fail_as(
        ErrorCode::kConflict,
        "another corosync runs here (process {}, {}): Baton brings its own. Stop it for good, for example "
        "`systemctl disable --now corosync`",
        other, paths.lock_file);
  }

  Status write_files(const std::string& text, const Bytes& key) const {
    if (auto checked = check_key(key); !checked) return checked;
    Status done = make_directories(paths.runtime_directory, 0700);
    if (done) done = make_directories(paths.state_directory, 0700);
    if (done) done = make_directories(paths.log_file.substr(0, paths.log_file.rfind('/')));
    if (done) done = replace_text_file(paths.key_file(), std::string(key.begin(), key.end()), 0600);
    if (done) done = replace_text_file(paths.config_file(), text, 0600);
    return done;
  }

  Status launch() {
    ChildOptions options;
    options.argv = {paths.program, "-f", "-c", paths.config_file()};
    options.new_session = true;
    options.may_lock_memory = true;
    options.working_directory = paths.state_directory;
    // Not a pipe: it must be able to go on printing when batond is gone.
    options.output = ChildOptions::Output::kLogFile;
    options.log_file = paths.log_file + ".start";
    auto self = weak_from_this();
    auto started = ChildProcess::spawn(loop, std::move(options), [self](const ChildEnd& end) {
      if (auto state = self.lock()) {
        auto said = read_text_file(state->paths.log_file + ".start");
        const std::string lines = said ? last_lines(*said, 2) : "";
        state->ended(describe(end) + (lines.empty() ? "" : "; it said: " + lines));
      }
    });
    if (!started) return pass(started);
    child = std::move(*started);
    process = child.pid();
    return replace_text_file(paths.pid_file(), fmt::format("{}\n", process));
  }

  void ended(const std::string& how) {
    watch.cancel();
    kill_timer.cancel();
    pidfd.close();
    process = 0;
    ::unlink(paths.pid_file().c_str());
    if (auto stopped = std::exchange(on_stopped, nullptr)) {
      stopped({});
    } else if (on_end) {
      on_end("corosync " + how);
    }
  }

  void signal(int number) {
    if (process <= 0) return;
    if (pidfd) {
      ::syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0);
    } else {
      child.send_signal(number);
    }
  }

  EventLoop& loop;
  EnginePaths paths;
  std::function<void(const std::string&)> on_end;
  std::function<void(Status)> on_stopped;
  pid_t process = 0;
  ChildProcess child;  // one that we started
  OwnedFd pidfd;       // one that we adopted
  EventLoop::Handle watch, kill_timer;
};

CorosyncEngine::CorosyncEngine(EventLoop& loop, EnginePaths paths,
                               std::function<void(const std::string&)> on_end)
    : state_(std::make_shared<State>(loop, std::move(paths), std::move(on_end))) {}

CorosyncEngine::~CorosyncEngine() = default;

Result<CorosyncEngine::Start> CorosyncEngine::start(EngineConfig config, const Bytes& key) {
  auto text = state_->text_of(std::move(config));
  if (!text) return pass(text);
  if (running() || state_->adopt()) {
    auto present = read_text_file(state_->paths.config_file());
    return present && *present == *text ? Start::kAdopted : Start::kAdoptedOtherConfiguration;
  }
  Status done = state_->check_foreign();
  if (done) done = state_->write_files(*text, key);
  if (done) done = state_->launch();
  if (!done) return pass(done);
  return Start::kStarted;
}

bool CorosyncEngine::differs(EngineConfig config) const {
  const auto text = state_->text_of(std::move(config));
  const auto present = read_text_file(state_->paths.config_file());
  return !text || !present || *present != *text;
}

std::map<ServerId, std::map<size_t, std::string>> CorosyncEngine::addresses() const {
  return addresses_in(read_text_file(state_->paths.config_file()).value_or(""));
}

void CorosyncEngine::apply(EngineConfig config, std::function<void(Status)> callback) {
  const std::string file = state_->paths.config_file();
  auto before = read_text_file(file);
  auto text = state_->text_of(std::move(config));
  Status written = text ? replace_text_file(file, *text, 0600) : Status(pass(text));
  if (!written) {
    state_->loop.post([callback = std::move(callback), written] { callback(written); });
    return;
  }
  run_helper(state_->loop,
             {.purpose = "having corosync read its new configuration",
              .argv = {"corosync-cfgtool", "-R"},
              .deadline = 10s},
             [file, before, callback = std::move(callback)](Result<HelperOutput> output) {
               if (output) return callback({});
               // What runs is what the file must say, or the next start() would take it for applied.
               Status restored = before ? replace_text_file(file, *before, 0600) : Status();
               callback(restored ? Status(pass(output)) : restored);
             });
}

Status CorosyncEngine::write_key(const Bytes& key) {
  if (auto checked = check_key(key); !checked) return checked;
  return replace_text_file(state_->paths.key_file(), std::string(key.begin(), key.end()), 0600);
}

void CorosyncEngine::load(std::function<void(Status)> callback) {
  run_helper(state_->loop, {.purpose = "having corosync read its key", .argv = {"corosync-cfgtool", "-R"}, .deadline = 10s},
             [callback = std::move(callback)](const Result<HelperOutput>& output) {
               callback(output ? Status() : Status(pass(output)));
             });
}

void CorosyncEngine::stop(Duration limit, std::function<void(Status)> callback) {
  if (!running()) {
    state_->loop.post([callback = std::move(callback)] { callback({}); });
    return;
  }
  state_->on_stopped = std::move(callback);
  state_->signal(SIGTERM);
  state_->kill_timer = state_->loop.after(limit, [state = state_.get()] { state->signal(SIGKILL); });
}

void CorosyncEngine::kill() { state_->signal(SIGKILL); }

bool CorosyncEngine::running() const { return state_->process > 0; }

pid_t CorosyncEngine::pid() const { return state_->process; }

}  // namespace baton
