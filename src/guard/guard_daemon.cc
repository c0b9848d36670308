// The guard's sockets, pages, clocks and messages. One thread: the loop's.
#include "src/guard/guard_daemon.h"

#include <fmt/ranges.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <ctime>

#include "src/base/overloaded.h"

namespace baton::guard {

namespace {

constexpr const char* kProcessGroup = "baton-guard";
constexpr size_t kLargestMessage = 128 * 1024;
constexpr int kBeatsForAnew = 3;  // a majority's answer takes one or two
constexpr int kClockTries = 5;
constexpr Duration kCloseEnough = 1ms;

Duration read_clock(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return seconds(time.tv_sec) + Duration(time.tv_nsec);
}

/// Time between the readings of two clocks would look like time that one of them did not see: the closest of some tries counts.
ClocksAhead clocks_ahead() {
  ClocksAhead ahead;
  Duration closest = Duration::max();
  for (int tries = 0; tries < kClockTries && closest > kCloseEnough; ++tries) {
    const Duration before = read_clock(CLOCK_MONOTONIC);
    const ClocksAhead read{read_clock(CLOCK_BOOTTIME) - before, read_clock(CLOCK_REALTIME) - before};
    const Duration took = read_clock(CLOCK_MONOTONIC) - before;
    if (took < closest) ahead = read, closest = took;
  }
  return ahead;
}

uint64_t random_start() {
  uint64_t value = 0;
  while (value == 0)
    if (::getrandom(&value, sizeof value, 0) != sizeof value) value = 0;
  return value;
}

}  // namespace

GuardDaemon::GuardDaemon(EventLoop& loop, Options options)
    : loop_(loop), options_(std::move(options)), runner_([this](const std::string& text) { say(text); }) {}

void GuardDaemon::say(const std::string& text) {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  tm parts{};
  ::gmtime_r(&time.tv_sec, &parts);
  std::fputs(fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z guard: {}\n", parts.tm_year + 1900,
                         parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                         time.tv_nsec / 1000000, text)
                 .c_str(),
             stderr);
}

Status GuardDaemon::start(const std::vector<std::string>& problems) {
  problem_ = fmt::format("{}", fmt::join(problems, "; "));
  auto page = GuardPage::open(options_.run_directory + "/guard");
  if (!page) return pass(page);
  page_.emplace(std::move(*page));
  auto lease_page = LeaseWriter::open(options_.run_directory + "/lease", options_.settings.self);
  if (!lease_page) return pass(lease_page);
  lease_page_.emplace(std::move(*lease_page));
  // SAFETY: nobody granted more than a lease from now on: such a page is of another boot, and its clock began anew.
  if (lease_page_->deadline() > EventLoop::now() + options_.settings.lease) lease_page_->end();
  const Kept kept = page_->load();
  take_duties(kept.duties);
  core_.emplace(options_.settings, random_start(), kept.knowledge, lease_page_->deadline(), EventLoop::now());
  if (auto listening = listen(); !listening) return listening;
  messaging_ = std::make_unique<GroupMessaging>(
      loop_, kProcessGroup,
      GroupMessaging::Callbacks{
          [this](const GroupView& view) { on_view(view); },
          [this](const GroupMember& sender, std::span<const uint8_t> bytes) {
            auto beat = decode_beat(bytes);
            if (!beat) return say(beat.error().message);
            feed(BeatReceived{sender.server, std::move(*beat)});
          },
          [this](const std::string& reason) {
            say("corosync: " + reason);
            feed(ViewChanged{});
          }});
  messaging_->open();
  say(fmt::format("started; {}{}", kept.knowledge.grants ? "goes on with what its page says" : "knows nothing yet",
                  problem_.empty() ? "" : "; " + problem_));
  // SAFETY: F5, W4. Of a gap that the guard before this one did not live to see only the page knows.
  clocks_ahead_ = kept.clocks_ahead.value_or(clocks_ahead());
  watch_clocks();
  look_at_duties();
  return {};
}

Status GuardDaemon::listen() {
  const std::string path = options_.run_directory + "/guard.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail("the socket path {} is too long", path);
  std::memcpy(address.sun_path, path.data(), path.size());
  ::unlink(path.c_str());
  listener_ = OwnedFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_ || ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::listen(listener_.get(), 4) != 0)
    return fail("cannot listen on {}: {}", path, errno_text());
  accepting_ = loop_.watch_readable(listener_.get(), [this] { accept(); });
  return {};
}

/// The newest batond is the one that counts: what an earlier one sent and nobody read is dropped with its connection.
void GuardDaemon::accept() {
  OwnedFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection) return;
  receiving_.cancel();
  batond_ = std::move(connection);
  receiving_ = loop_.watch_readable(batond_.get(), [this] { receive(); });
  send_report();
}

void GuardDaemon::receive() {
  static uint8_t buffer[kLargestMessage];
  const ssize_t bytes = ::recv(batond_.get(), buffer, sizeof buffer, 0);
  if (bytes > 0) return take({buffer, static_cast<size_t>(bytes)});
  if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return;
  receiving_.cancel();
  batond_.close();
  say("batond is gone: leases go on without it");
}

void GuardDaemon::take(std::span<const uint8_t> bytes) {
  auto message = decode_from_batond(bytes);
  if (!message) return say(message.error().message);
  if (const auto* tell = std::get_if<Tell>(&*message)) return feed(*tell);
  take_duties(std::get<Duties>(*message));
  if (auto kept = page_->keep({core_->knowledge(), duties_, clocks_ahead_}); !kept) say(kept.error().message);
  look_at_duties();
}

void GuardDaemon::feed(const Event& event) {
  std::vector<Action> actions;
  core_->step(EventLoop::now(), event, actions);
  for (const auto& action : actions) carry_out(action);
  arm_timers();
}

void GuardDaemon::carry_out(const Action& action) {
  std::visit(Overloaded{
                 [&](const Publish& publish) {
                   lease_page_->set_deadline(publish.until);
                   look_at_duties();
                 },
                 [&](const Keep& wanted) { keep(wanted.knowledge); },
                 [&](const SendBeat& send) { (void)messaging_->send(encode_beat(send.beat)).has_value(); },
                 [&](const Report&) { send_report(); },
             },
             action);
}

void GuardDaemon::keep(const Knowledge& knowledge) {
  const auto kept = page_->keep({knowledge, duties_, clocks_ahead_});
  if (kept) return;
  // SAFETY: L2. Nothing is confirmed that is not kept; the next one starts from what is there.
  say(kept.error().message);
  std::abort();
}

std::string GuardDaemon::problems() const {
  std::string all;
  for (const std::string& each : {problem_, watchdog_problem_, gate_.problem()})
    if (!each.empty()) all += (all.empty() ? "" : "; ") + each;
  return all;
}

/// Never waits: batond may be stopped, and a later report says it all again.
void GuardDaemon::send_report() {
  if (!batond_) return;
  const Bytes bytes = encode_report(core_->report(EventLoop::now()), problems());
  (void)!::send(batond_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void GuardDaemon::on_view(const GroupView& view) {
  ViewChanged changed;
  for (const auto& member : view.members) changed.members.insert(member.server);
  say(fmt::format("members: {}", fmt::join([&] {
                    std::vector<uint32_t> ids;
                    for (const ServerId each : changed.members) ids.push_back(each.value);
                    return ids;
                  }(), ", ")));
  feed(changed);
}

void GuardDaemon::arm_timers() {
  const Instant next = core_->next_tick();
  if (next == tick_at_ && tick_.active()) return;
  tick_at_ = next;
  tick_ = loop_.at(next, [this] {
    tick_at_ = kNever;
    feed(Tick{});
  });
}

/// F5; and a sign of life for batond, also while there is no corosync.
void GuardDaemon::watch_clocks() {
  const ClocksAhead now = clocks_ahead();
  if (const auto unseen = unseen_time(clocks_ahead_, now)) {
    say("time has passed unseen (the machine was suspended, or a clock was set): the lease is asked for anew");
    feed(TimeJumped{*unseen});
  }
  clocks_ahead_ = now;  // kept only now: a guard that is killed before leaves the gap to the next one
  keep(core_->knowledge());
  send_report();
  clock_tick_ = loop_.after(options_.settings.beat, [this] { watch_clocks(); });
}

void GuardDaemon::take_duties(const Duties& duties) {
  if (watchdog_.is_open() && duties.watchdog != duties_.watchdog) watchdog_.close_in_order();
  duties_ = duties;
  runner_.set_duties(duties_);
  watchdog_problem_.clear();
  if (duties_.watchdog.empty() || watchdog_.is_open()) return;
  auto opened = Watchdog::open(duties_.watchdog);
  if (opened) {
    watchdog_ = std::move(*opened);
    say("the watchdog " + duties_.watchdog + " is on");
  } else {
    watchdog_problem_ = opened.error().message;
    say(watchdog_problem_);
  }
}

void GuardDaemon::stop() {
  if (!runner_.clean()) return;
  watchdog_.close_in_order();
  gate_.remove();
}

void GuardDaemon::look_at_duties() {
  gate_.set(duties_.addresses, lease_page_->deadline());
  const Duration gated_for = gate_.stands(duties_.addresses) ? kBeatsForAnew * options_.settings.beat : Duration{};
  runner_.look(EventLoop::now(), lease_page_->deadline(), gated_for);
  if (runner_.may_feed()) {
    const auto fed = watchdog_.feed();
    watchdog_problem_ = fed ? watchdog_problem_ : fed.error().message;
  }
  duty_tick_ = loop_.at(runner_.next(), [this] { look_at_duties(); });
}

}  // namespace baton::guard
