// baton-sim: runs seeds of the simulated world. `--seed N [-v]` replays one; `--count N [--start S]` many, on all
// processors; exit status 1 if anything was violated. `--weather NAME` (sim/faults.cc) narrows a search.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "sim/cluster.h"
#include "sim/plants.h"
#include "sim/whole_seed.h"

namespace baton::sim {
namespace {

struct Options {
  uint64_t seed = 1;
  uint64_t count = 0;  // 0: one seed
  uint64_t start = 1;
  bool verbose = false;
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
    const Outcome outcome = run_whole_seed(seed, false, options.weather);
    std::fprintf(out, "%c %s\n", outcome.ok ? 'o' : 'v', last_line(seed, outcome).c_str());
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
    std::_Exit(0);
  }
  close(ends[1]);
  FILE* in = fdopen(ends[0], "r");
  uint64_t done = 0, violations = 0;
  const bool terminal = isatty(STDERR_FILENO);
  char* line = nullptr;
  size_t room = 0;
  while (getline(&line, &room, in) > 0) {
    ++done;
    if (line[0] == 'v') {
      ++violations;
      std::fputs(line + 2, stdout);
      std::fflush(stdout);
    }
    if (terminal) std::fprintf(stderr, "\r%lu of %lu", static_cast<unsigned long>(done),
                               static_cast<unsigned long>(options.count));
  }
  if (terminal) std::fputs("\r                        \r", stderr);
  std::free(line);
  std::fclose(in);
  bool died = false;
  for (int status = 0; wait(&status) > 0;) died = died || status != 0;
  if (died || done != options.count) {
    std::printf("a worker died: %lu of %lu seeds were run\n", static_cast<unsigned long>(done),
                static_cast<unsigned long>(options.count));
    violations += options.count - done;
  }
  std::printf("%lu seeds, %lu violations\n", static_cast<unsigned long>(options.count),
              static_cast<unsigned long>(violations));
  return violations == 0 ? 0 : 1;
}

int usage() {
  std::fputs("usage: baton-sim --seed N [-v] | --count N [--start S]   [--weather NAME]   (planted build: [--plant NAME])\n",
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
