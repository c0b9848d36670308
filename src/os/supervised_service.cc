// See supervised_service.h. The connection's end is the event for "shim lost"; reports drive everything else.
#include "src/os/supervised_service.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cctype>
#include <cstring>

#include "src/os/child_process.h"
#include "src/os/control_group.h"
#include "src/os/file_text.h"
#include "src/os/helper_process.h"
#include "src/os/owned_fd.h"

namespace baton {

namespace {

constexpr Duration kReadyInterval = 50ms;
constexpr Duration kDeathLimit = 10s;       // from SIGKILL to an empty control group
constexpr Duration kFirstReportLimit = 5s;  // from connecting to the shim's first words

Result<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail_as(ErrorCode::kInvalid, "the socket path {} is too long: choose a shorter service name", path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<OwnedFd> listen_on(const std::string& path) {
  auto address = socket_address(path);
  if (!address) return pass(address);
  ::unlink(path.c_str());
  OwnedFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket || ::bind(socket.get(), reinterpret_cast<sockaddr*>(&*address), sizeof *address) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::listen(socket.get(), 8) != 0) {
    return fail("cannot listen on {}: {}", path, errno_text());
  }
  return socket;
}

/// kNotFound: no shim behind this path. Connecting to a unix socket never waits unless its queue is full
/// (EAGAIN).
Result<OwnedFd> connect_to(const std::string& path) {
  auto address = socket_address(path);
  if (!address) return pass(address);
  OwnedFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail("cannot make a socket: {}", errno_text());
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&*address), sizeof *address) == 0) return socket;
  const bool nobody = errno == ENOENT || errno == ECONNREFUSED;
  return fail_as(nobody ? ErrorCode::kNotFound : ErrorCode::kFailed, "cannot reach the shim at {}: {}", path,
                 errno_text());
}

bool is_fit_name(const std::string& name) {
  if (name.empty() || name[0] == '.') return false;
  for (unsigned char letter : name) {
    if (!std::isalnum(letter) && letter != '-' && letter != '_' && letter != '.') return false;
  }
  return true;
}

}  // namespace

/// Lives as long as its owner; everything asynchronous holds it weakly.
struct SupervisedService::Link : std::enable_shared_from_this<SupervisedService::Link> {
  Link(EventLoop& the_loop, std::string the_program, ShimPaths the_paths,
       std::function<void(const ServiceEnd&)> the_callback)
      : loop(the_loop),
        shim_program(std::move(the_program)),
        paths(std::move(the_paths)),
        on_end(std::move(the_callback)) {}

  /// Wraps a member call so that it is dropped when the owner is gone.
  template <class Call>
  auto guarded(Call call) {
    return [self = weak_from_this(), call = std::move(call)](auto&&... arguments) {
      if (auto link = self.lock()) call(*link, std::forward<decltype(arguments)>(arguments)...);
    };
  }

  Status launch_shim() {
    Status done = make_directories(paths.runtime_directory);
    if (done) done = create_control_group(spec.control_group);
    if (done) done = replace_text_file(paths.spec(spec.name), to_json_value(spec).dump(), 0600);
    if (!done) return done;
    auto left = control_group_populated(spec.control_group);
    if (!left) return pass(left);
    if (*left) {
      return fail_as(ErrorCode::kConflict,
                     "service {} cannot be started, an earlier run has left {}: kill it first", spec.name,
                     fmt::join(control_group_processes(spec.control_group), ", "));
    }
    auto listener = listen_on(paths.socket(spec.name));
    if (!listener) return pass(listener);
    ChildOptions options;
    options.argv = {shim_program, paths.spec(spec.name)};
    options.new_session = true;
    options.passed_descriptors = {listener->get()};
    options.output =
        ChildOptions::Output::kLogFile;  // not the service's: that may lie on a filesystem to unmount
    options.log_file = paths.log(spec.name);
    auto shim = ChildProcess::spawn(loop, std::move(options), [](const ChildEnd&) {});
    if (!shim) return pass(shim);
    return connect();  // our end of the listening socket closes here: if the shim dies, so does the connection
  }

  Status connect() {
    auto connected = connect_to(paths.socket(spec.name));
    if (!connected) return pass(connected);
    socket = std::move(*connected);
    received.clear();
    report.reset();
    watch = loop.watch_readable(socket.get(), guarded([](Link& link) { link.receive(); }));
    return {};
  }

  void receive() {
    char buffer[4096];
    ssize_t bytes = ::recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (bytes <= 0) return shim_lost();
    received.append(buffer, static_cast<size_t>(bytes));
    auto self = shared_from_this();
    for (const auto& line : take_lines(received)) {
      auto news = shim_report_from(line);
      if (news && socket) heard(*news);
    }
  }

  void command(const char* name) {
    const std::string line = nlohmann::json({{"command", name}}).dump() + "\n";
    ssize_t ignored = ::send(socket.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    static_cast<void>(ignored);
  }

  void heard(const ShimReport& news) {
    const bool first = !report.has_value();
    const bool ended_now = news.state == ShimReport::State::kEnded && state != State::kEnded;
    report = news;
    if (on_stopped) {  // stop() or kill() is under way
      if (news.state != ShimReport::State::kEnded) return;
      state = State::kEnded;
      if (news.group_empty) return stopped();
      if (ended_now) limit_death();  // the shim kills what its main process left behind
      return;
    }
    if (on_adopted && first) {
      state = news.state == ShimReport::State::kEnded ? State::kEnded : State::kRunning;
      first_report_timer.cancel();
      std::exchange(on_adopted, nullptr)(state);
      return;
    }
    if (ended_now) {
      ended({.report = news});
    } else if (on_ready && first) {
      check_ready();
    }
  }

  /// The service ended by itself.
  void ended(ServiceEnd end) {
    state = State::kEnded;
    ready_timer.cancel();
    end.text = fmt::format("service {} {}", spec.name,
                           end.shim_lost ? "lost its shim, so it was killed" : describe(end.report));
    if (on_ready) {
      fail_start(end.text);
    } else if (on_end) {
      on_end(end);
    }
  }

  /// A start that failed is worth the wait for the log's last lines; they may be on a filesystem that hangs.
  void fail_start(const std::string& text) {
    auto report_failure = [callback = std::exchange(on_ready, nullptr), text](const std::string& lines) {
      callback(fail("{}{}{}", text, lines.empty() ? "" : "; its log ends: ", lines));
    };
    if (spec.log_file.empty()) return report_failure("");
    read_last_lines(loop, spec.log_file, report_failure);
  }

  void shim_lost() {
    watch.cancel();
    socket.close();
    ready_timer.cancel();
    clear_control_group(loop, spec.control_group, kDeathLimit, guarded([](Link& link, Status cleared) {
                          link.remove_files();
                          link.lost_and_cleared(std::move(cleared));
                        }));
  }

  void lost_and_cleared(Status cleared) {
    stop_timer.cancel();
    if (auto adopted = std::exchange(on_adopted, nullptr)) {
      state = State::kNone;
      cleared ? adopted(state) : adopted(pass(cleared));
      return;
    }
    if (auto callback = std::exchange(on_stopped, nullptr)) {
      state = cleared ? State::kNone : State::kEnded;
      callback(std::move(cleared));
      return;
    }
    ServiceEnd end;
    end.shim_lost = true;
    if (state != State::kEnded) ended(end);
  }

  void remove_files() {
    for (const auto& path : {paths.socket(spec.name), paths.spec(spec.name), paths.log(spec.name)}) {
      ::unlink(path.c_str());
    }
  }

  void check_ready() {
    if (ready.argv.empty()) return became_ready();
    const Duration left = ready_until - EventLoop::now();
    if (left <= Duration::zero()) return not_ready();
    run_helper(loop,
               {.purpose = "asking whether service " + spec.name + " is ready",
                .argv = ready.argv,
                .deadline = left,
                .user = ready.user,
                .environment = ready.environment},
               guarded([](Link& link, Result<HelperOutput> output) {
                 if (!link.on_ready) return;
                 if (output) return link.became_ready();
                 link.not_ready_because = output.error().message;
                 if (EventLoop::now() >= link.ready_until) return link.not_ready();
                 link.ready_timer =
                     link.loop.after(kReadyInterval, link.guarded([](Link& later) { later.check_ready(); }));
               }));
  }

  void became_ready() {
    state = State::kRunning;
    std::exchange(on_ready, nullptr)({});
  }

  void not_ready() {
    state = State::kRunning;
    std::exchange(on_ready, nullptr)(fail_as(ErrorCode::kTimeout, "service {} was not ready within {} ms: {}",
                                             spec.name, to_ms(ready.deadline), not_ready_because));
  }

  void end_it(const char* how, Callback callback) {
    // Not from inside this call: who waited may end this object.
    if (auto waiting = std::exchange(on_ready, nullptr))
      loop.post([waiting, text = fmt::format("service {} was told to stop", spec.name)] { waiting(fail("{}", text)); });
    if (auto waiting = std::exchange(on_adopted, nullptr)) {
      first_report_timer.cancel();
      loop.post([waiting] { waiting(State::kNone); });
    }
    ready_timer.cancel();
    if (auto earlier = std::exchange(on_stopped, nullptr)) {
      callback = [earlier, callback = std::move(callback)](Status status) {
        earlier(status);
        callback(status);
      };
    }
    on_stopped = std::move(callback);
    if (spec.name.empty()) {  // neither started nor adopted
      loop.post([callback = std::exchange(on_stopped, nullptr)] { callback({}); });
      return;
    }
    if (!socket) {  // nothing started, or its shim is lost: whatever is in its control group goes
      shim_lost();
      return;
    }
    const bool gone = report && report->state == ShimReport::State::kEnded;
    if (gone && report->group_empty) {
      loop.post(guarded([](Link& link) {
        if (link.on_stopped) link.stopped();
      }));
      return;
    }
    const bool at_once = gone || std::strcmp(how, "kill") == 0;
    if (!gone) state = State::kStopping;
    command(at_once ? "kill" : how);
    at_once ? limit_death() : limit_death(spec.stop_timeout + kDeathLimit);
  }

  void limit_death(Duration limit = kDeathLimit) {
    stop_timer = loop.after(
        limit, guarded([limit](Link& link) {
          auto callback = std::exchange(link.on_stopped, nullptr);
          if (!callback) return;
          callback(fail_as(ErrorCode::kTimeout, "service {} cannot be stopped: after {} ms there are still {}",
                           link.spec.name, to_ms(limit),
                           fmt::join(control_group_processes(link.spec.control_group), ", ")));
        }));
  }

  /// Nothing of the service is left and its end is known: the shim may go.
  void stopped() {
    stop_timer.cancel();
    command("forget");
    watch.cancel();
    socket.close();
    remove_files();
    state = State::kNone;
    auto callback = std::exchange(on_stopped, nullptr);
    auto removed = remove_control_group(spec.control_group);
    callback(std::move(removed));
  }

  EventLoop& loop;
  std::string shim_program;
  ShimPaths paths;
  std::function<void(const ServiceEnd&)> on_end;
  ServiceSpec spec;
  ReadyCheck ready;
  Instant ready_until{};
  std::string not_ready_because = "it was not asked yet";
  State state = State::kNone;
  std::optional<ShimReport> report;
  OwnedFd socket;
  std::string received;
  Callback on_ready, on_stopped;
  std::function<void(Result<State>)> on_adopted;
  EventLoop::Handle watch, ready_timer, stop_timer, first_report_timer;
};

SupervisedService::SupervisedService(EventLoop& loop, std::string shim_program, ShimPaths paths,
                                     std::function<void(const ServiceEnd&)> on_end)
    : link_(std::make_shared<Link>(loop, std::move(shim_program), std::move(paths), std::move(on_end))) {}

SupervisedService::~SupervisedService() = default;

void SupervisedService::start(ServiceSpec spec, ReadyCheck ready, Callback callback) {
  auto& link = *link_;
  auto refuse = [&link](Callback to, Status why) {
    link.loop.post([to = std::move(to), why = std::move(why)] { to(why); });
  };
  if (!is_fit_name(spec.name) || spec.argv.empty() || spec.control_group.empty()) {
    return refuse(std::move(callback),
                  fail_as(ErrorCode::kInvalid,
                          "service '{}' needs a name of letters, digits, '-', '_' and '.', a "
                          "command and a control group",
                          spec.name));
  }
  if (link.socket || connect_to(link.paths.socket(spec.name))) {
    return refuse(
        std::move(callback),
        fail_as(ErrorCode::kConflict, "service {} has a shim already: adopt it, or stop it first", spec.name));
  }
  link.spec = std::move(spec);
  link.ready = std::move(ready);
  link.ready_until = EventLoop::now() + link.ready.deadline;
  auto launched = link.launch_shim();
  if (!launched) return refuse(std::move(callback), launched);
  link.state = State::kStarting;
  link.on_ready = std::move(callback);
}

void SupervisedService::adopt(const std::string& name, const std::string& control_group,
                              std::function<void(Result<State>)> callback) {
  auto& link = *link_;
  link.on_adopted = std::move(callback);
  auto text = read_text_file(link.paths.spec(name));
  auto spec = text ? service_spec_from(*text) : Result<ServiceSpec>(pass(text));
  link.spec = spec ? *spec : ServiceSpec{.name = name, .control_group = control_group};
  auto connected = link.connect();
  if (!connected) {
    if (connected.error().code == ErrorCode::kNotFound) return link.shim_lost();
    link.loop.post(link.guarded([connected](SupervisedService::Link& later) {
      std::exchange(later.on_adopted, nullptr)(pass(connected));
    }));
    return;
  }
  link.first_report_timer = link.loop.after(kFirstReportLimit, link.guarded([](SupervisedService::Link& later) {
    if (later.on_adopted) {
      std::exchange(later.on_adopted, nullptr)(
          fail_as(ErrorCode::kTimeout, "the shim of service {} does not answer: kill it and start anew",
                  later.spec.name));
    }
  }));
}

void SupervisedService::stop(Callback callback) { link_->end_it("stop", std::move(callback)); }

void SupervisedService::kill(Callback callback) { link_->end_it("kill", std::move(callback)); }

SupervisedService::State SupervisedService::state() const { return link_->state; }

std::optional<ShimReport> SupervisedService::last_report() const { return link_->report; }

}  // namespace baton
