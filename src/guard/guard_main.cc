// baton-guard: renews this server's lease, apart from batond, which starts it. `--run DIR --self ID --voters 1,2,3
// --lease-ms N --beat-ms N`. One per server: a second one ends with status 3.
#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "src/guard/guard_daemon.h"

namespace {

using baton::errno_text;

/// What could not be had, for people; the guard runs without it.
std::vector<std::string> set_up_process() {
  std::vector<std::string> problems;
  if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
    problems.push_back("its memory cannot be locked (" + errno_text() + ")");
  sched_param priority{};
  priority.sched_priority = 1;
  if (::sched_setscheduler(0, SCHED_RR, &priority) != 0) {
    const std::string why = errno_text();
    if (::setpriority(PRIO_PROCESS, 0, -20) != 0)
      problems.push_back("it has no real-time priority (" + why + ") and no better nice value");
  }
  if (FILE* score = std::fopen("/proc/self/oom_score_adj", "we")) {
    std::fputs("-1000", score);
    std::fclose(score);
  }
  return problems;
}

bool read_voters(const char* text, std::vector<baton::ServerId>& voters) {
  for (char* end = nullptr; *text != '\0'; text = *end == ',' ? end + 1 : end) {
    const unsigned long id = std::strtoul(text, &end, 10);
    if (end == text || id == 0 || id > 64) return false;
    voters.emplace_back(static_cast<uint32_t>(id));
  }
  return !voters.empty();
}

bool read_options(int count, char** words, baton::guard::Options& options) {
  for (int place = 1; place + 1 < count; place += 2) {
    const std::string name = words[place];
    const char* value = words[place + 1];
    if (name == "--run") options.run_directory = value;
    else if (name == "--self") options.settings.self = baton::ServerId(static_cast<uint32_t>(std::atoi(value)));
    else if (name == "--lease-ms") options.settings.lease = baton::milliseconds(std::atoi(value));
    else if (name == "--beat-ms") options.settings.beat = baton::milliseconds(std::atoi(value));
    else if (name != "--voters" || !read_voters(value, options.settings.voters)) return false;
  }
  const auto& settings = options.settings;
  return count % 2 == 1 && settings.self.value != 0 && !settings.voters.empty() && settings.lease > settings.beat &&
         settings.beat > baton::Duration{0};
}

}  // namespace

int main(int count, char** words) {
  baton::guard::Options options;
  if (!read_options(count, words, options)) {
    std::fputs("usage: baton-guard --run DIR --self ID --voters ID,ID,... --lease-ms N --beat-ms N (batond starts it)\n",
               stderr);
    return 2;
  }
  const std::string lock_path = options.run_directory + "/guard.lock";
  const int lock = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0 || ::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    std::fputs(("baton-guard runs already on this server, or " + lock_path + " cannot be made\n").c_str(), stderr);
    return 3;
  }
  std::signal(SIGPIPE, SIG_IGN);
  const auto problems = set_up_process();
  baton::EventLoop loop;
  auto terminated = loop.on_signal(SIGTERM, [&] { loop.stop(); });
  auto interrupted = loop.on_signal(SIGINT, [&] { loop.stop(); });
  baton::guard::GuardDaemon daemon(loop, options);
  if (const auto started = daemon.start(problems); !started) {
    std::fputs((started.error().message + "\n").c_str(), stderr);
    return 1;
  }
  loop.run();
  daemon.stop();
  return 0;
}
