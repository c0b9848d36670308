// baton-shim: the parent of one supervised service. It outlives batond, so that the service and its exit status
// do. Started by batond with the specification's file as argument and its listening socket as descriptor 3;
// stays until it is told to forget. One thread.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <cstdio>
#include <list>
#include <memory>

#include "src/os/child_process.h"
#include "src/os/control_group.h"
#include "src/os/file_text.h"
#include "src/os/owned_fd.h"
#include "src/os/shim_protocol.h"

namespace baton {
namespace {

constexpr size_t kLongestCommand = 4096;

class Shim {
 public:
  explicit Shim(ServiceSpec spec) : spec_(std::move(spec)), listener_(kShimListeningFd) {}

  int run() {
    accept_watch_ = loop_.watch_readable(listener_.get(), [this] { accept_all(); });
    // Whoever stops the machine stops services through batond; a stray SIGTERM must not orphan this one.
    term_ = loop_.on_signal(SIGTERM, [] {});
    interrupt_ = loop_.on_signal(SIGINT, [] {});
    start_service();
    loop_.run();
    return 0;
  }

 private:
  struct Client {
    OwnedFd socket;
    std::string received;
    EventLoop::Handle watch;
  };

  void start_service() {
    ChildOptions options;
    options.argv = spec_.argv;
    options.environment = spec_.environment;
    options.user = spec_.user;
    options.working_directory = spec_.working_directory;
    options.control_group = spec_.control_group;
    options.new_session = true;
    options.output = spec_.log_file.empty() ? ChildOptions::Output::kDiscard : ChildOptions::Output::kLogFile;
    options.log_file = spec_.log_file;
    auto child = ChildProcess::spawn(loop_, std::move(options), [this](const ChildEnd& end) { ended(end); });
    if (!child) {
      ChildEnd end;
      end.start_error = child.error().message;
      ended(end);
      return;
    }
    child_ = std::move(*child);
    report_.main_process = child_.pid();
  }

  void ended(const ChildEnd& end) {
    const bool stopping = report_.state == ShimReport::State::kStopping;
    report_.state = ShimReport::State::kEnded;
    report_.exited = end.exited;
    report_.status = end.status;
    report_.signal = end.signal;
    report_.start_error = end.start_error;
    report_.at_ns = to_ns(EventLoop::now());
    auto populated = control_group_populated(spec_.control_group);
    report_.group_empty = populated && !*populated;
    publish();
    if (report_.group_empty) return;
    if (stopping) kill();
    wait_until_empty(loop_, spec_.control_group, kForGood, [this](Status status) {
      report_.group_empty = status.has_value();
      publish();
    });
  }

  void publish() {
    if (report_.state == ShimReport::State::kEnded && !spec_.status_file.empty()) {
      auto written = replace_text_file(spec_.status_file, to_line(report_), 0600);
      if (!written)
        std::fprintf(stderr, "baton-shim %s: %s\n", spec_.name.c_str(), written.error().message.c_str());
    }
    for (auto& client : clients_) send_report(client);
  }

  void send_report(Client& client) {
    const std::string line = to_line(report_);
    // A client that does not read loses reports, not the shim its time; it gets the state when it asks again.
    ssize_t ignored = ::send(client.socket.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    static_cast<void>(ignored);
  }

  void accept_all() {
    for (;;) {
      OwnedFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!socket) return;
      ucred peer{};
      socklen_t length = sizeof peer;
      if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.uid != 0) continue;
      clients_.emplace_back();
      auto place = std::prev(clients_.end());
      place->socket = std::move(socket);
      place->watch = loop_.watch_readable(place->socket.get(), [this, place] { receive(place); });
      send_report(*place);
    }
  }

  void receive(std::list<Client>::iterator client) {
    char buffer[1024];
    ssize_t bytes = ::recv(client->socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (bytes < 0 && errno == EAGAIN) return;
    if (bytes <= 0 || client->received.size() > kLongestCommand) {
      clients_.erase(client);
      return;
    }
    client->received.append(buffer, static_cast<size_t>(bytes));
    for (const auto& line : take_lines(client->received)) obey(line, *client);
  }

  void obey(const std::string& line, Client& client) {
    const auto value = nlohmann::json::parse(line, nullptr, false);
    const bool well_formed = value.is_object() && value.contains("command") && value["command"].is_string();
    const std::string command = well_formed ? value["command"].get<std::string>() : "";
    if (command == "status") send_report(client);
    if (command == "stop") stop();
    if (command == "kill") kill();
    // Its files are batond's to remove: a new shim of this name may own them by now.
    if (command == "forget" && report_.state == ShimReport::State::kEnded) loop_.stop();
  }

  void stop() {
    if (report_.state != ShimReport::State::kRunning) {
      if (report_.state == ShimReport::State::kEnded) kill();  // what its main process left behind
      return;
    }
    report_.state = ShimReport::State::kStopping;
    publish();
    child_.send_signal(spec_.stop_signal);
    stop_timer_ = loop_.after(spec_.stop_timeout, [this] {
      report_.killed_after_timeout = report_.state != ShimReport::State::kEnded;
      kill();
    });
  }

  void kill() {
    auto killed = kill_control_group(spec_.control_group);
    if (!killed)
      std::fprintf(stderr, "baton-shim %s: %s\n", spec_.name.c_str(), killed.error().message.c_str());
    child_.kill_all();
  }

  static constexpr Duration kForGood = Duration::max();

  ServiceSpec spec_;
  EventLoop loop_;
  OwnedFd listener_;
  std::list<Client> clients_;
  ShimReport report_;
  ChildProcess child_;
  EventLoop::Handle accept_watch_, term_, interrupt_, stop_timer_;
};

int shim_main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr,
                 "baton-shim is started by batond: baton-shim SPECIFICATION.json, socket as descriptor 3\n");
    return 2;
  }
  auto text = read_text_file(arguments[1]);
  auto spec = text ? service_spec_from(*text) : Result<ServiceSpec>(pass(text));
  if (!spec) {
    std::fprintf(stderr, "baton-shim: %s\n", spec.error().message.c_str());
    return 1;
  }
  ::prctl(PR_SET_NAME, "baton-shim");
  return Shim(std::move(*spec)).run();
}

}  // namespace
}  // namespace baton

int main(int count, char** arguments) { return baton::shim_main(count, arguments); }
