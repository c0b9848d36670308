// baton-sim: runs seeds of the simulated world. `--seed N [-v]` replays one; `--count N [--start S]` many, on all
// processors; exit status 1 if anything was violated. `--weather NAME` (sim/faults.cc) narrows a search; `--report` says what
// was run, `--json` says it for programs; `--twice` runs each seed again and compares the traces. docs/simulation.md.
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <ctime>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "sim/cluster.h"
#include "sim/plants.h"
#include "sim/report.h"
#include "sim/whole_seed.h"

#ifdef BATON_COVERAGE
extern "C" void __gcov_dump(void);
#endif

namespace baton::sim {
namespace {

struct Options {
  uint64_t seed = 1;
  uint64_t count = 0;  // 0: one seed
  uint64_t start = 1;
  bool verbose = false;
  bool report = false;
  bool json = false;
  bool twice = false;
  std::string weather;  // empty: by the seed
};

std::string last_line(uint64_t seed, const Outcome& outcome) {
  return outcome.ok ? fmt::format("seed {} ok trace {:016x}", seed, outcome.hash)
                    : fmt::format("seed {} VIOLATION {}", seed, outcome.violation);
}

int run_one(const Options& options) {
  const Outcome outcome = run_whole_seed(options.seed, options.verbose, options.weather);
  if (options.verbose)
    std::printf("%lu events, %lu entries committed\n", static_cast<unsigned long>(outcome.events),
                static_cast<unsigned long>(outcome.committed));
  std::puts(last_line(options.seed, outcome).c_str());
  return outcome.ok ? 0 : 1;
}

/// A worker's share: every `workers`-th seed; one line for each into `out`.
void work(const Options& options, uint64_t worker, uint64_t workers, FILE* out) {
  for (uint64_t offset = worker; offset < options.count; offset += workers) {
    const uint64_t seed = options.start + offset;
    const std::clock_t begun = std::clock();
    SeedResult result{seed, run_whole_seed(seed, false, options.weather), 0};
    result.cpu_us = static_cast<int64_t>(std::clock() - begun) * 1'000'000 / CLOCKS_PER_SEC;
    if (options.twice && run_whole_seed(seed, false, options.weather).hash != result.outcome.hash && result.outcome.ok) {
      result.outcome.ok = false;
      result.outcome.violation = "trace: a second run of the seed went otherwise";
    }
    std::fprintf(out, "%s\n", encode(result).c_str());
    std::fflush(out);
  }
}

int run_many(const Options& options) {
  const uint64_t workers = std::max(1u, std::thread::hardware_concurrency());
  int ends[2];
  if (pipe(ends) != 0) return 2;
  for (uint64_t worker = 0; worker < workers; ++worker) {
    const pid_t child = fork();
    if (child < 0) return 2;
    if (child > 0) continue;
    close(ends[0]);
    FILE* out = fdopen(ends[1], "w");
    work(options, worker, workers, out);
    std::fclose(out);
#ifdef BATON_COVERAGE
    __gcov_dump();
#endif
    std::_Exit(0);
  }
  close(ends[1]);
  FILE* in = fdopen(ends[0], "r");
  Report report;
  const bool terminal = isatty(STDERR_FILENO);
  char* line = nullptr;
  size_t room = 0;
  for (ssize_t length; (length = getline(&line, &room, in)) > 0;) {
    const SeedResult result = decode(std::string(line, static_cast<size_t>(length - 1)));
    report.add(result);
    if (!result.outcome.ok && !options.json) {
      std::puts(last_line(result.seed, result.outcome).c_str());
      std::fflush(stdout);
    }
    if (terminal) std::fprintf(stderr, "\r%lu of %lu", static_cast<unsigned long>(report.seeds()),
                               static_cast<unsigned long>(options.count));
  }
  if (terminal) std::fputs("\r                        \r", stderr);
  std::free(line);
  std::fclose(in);
  bool died = false;
  for (int status = 0; wait(&status) > 0;) died = died || status != 0;
  uint64_t violations = report.violations();
  if (died || report.seeds() != options.count) {
    std::fprintf(options.json ? stderr : stdout, "a worker died: %lu of %lu seeds were run\n",
                 static_cast<unsigned long>(report.seeds()), static_cast<unsigned long>(options.count));
    violations += options.count - report.seeds();
  }
  if (options.json) {
    std::fputs(report.json().c_str(), stdout);
  } else {
    if (options.report) std::fputs(report.text().c_str(), stdout);
    std::printf("%lu seeds, %lu violations\n", static_cast<unsigned long>(options.count),
                static_cast<unsigned long>(violations));
  }
  return violations == 0 ? 0 : 1;
}

bool is_weather(const std::string& name) {
  const auto names = weather_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return true;
  std::fputs(fmt::format("baton-sim: there is no weather \"{}\"; there are: {}\n", name, fmt::join(names, ", ")).c_str(), stderr);
  return false;
}

int usage() {
  std::fputs("usage: baton-sim --seed N [-v] | --count N [--start S] [--report] [--json] [--twice] [--weather NAME]\n"
             "       (planted build: [--plant NAME])\n",
             stderr);
  return 2;
}

}  // namespace
}  // namespace baton::sim

int main(int count, char** words) {
  using namespace baton::sim;
  Options options;
  bool any = false;
  for (int place = 1; place < count; ++place) {
    const std::string word = words[place];
    const auto number = [&] { return place + 1 < count ? std::strtoull(words[++place], nullptr, 10) : 0; };
    if (word == "--seed") {
      options.seed = number();
      any = true;
    } else if (word == "--count") {
      options.count = number();
      any = true;
    } else if (word == "--start") {
      options.start = number();
    } else if (word == "--weather" && place + 1 < count) {
      options.weather = words[++place];
      if (!is_weather(options.weather)) return 2;
    } else if (word == "--report") {
      options.report = true;
    } else if (word == "--json") {
      options.json = true;
    } else if (word == "--twice") {
      options.twice = true;
    } else if (word == "-v") {
      options.verbose = true;
    } else if (word == "--plant" && place + 1 < count) {
      if (!plant(words[++place])) return usage();
    } else {
      return usage();
    }
  }
  if (!any) return usage();
  return options.count > 0 ? run_many(options) : run_one(options);
}
