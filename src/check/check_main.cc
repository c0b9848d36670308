// baton-check: one look at a disk or at a log, for a monitor of batond. A process of its own, since both may hang. Its exit status and
// its last line are the answer; before that, "position ..." is what it is to be told at the next look at that log.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "src/check/disk_check.h"
#include "src/check/log_check.h"

namespace {

int tell(const baton::check::CheckResult& result) {
  std::printf("%s\n", result.text.c_str());
  return static_cast<int>(result.outcome);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 2 && words[0] == "disk") return tell(baton::check::check_disk(words[1]));
  if ((words.size() == 4 || words.size() == 5) && words[0] == "log") {
    auto position = words.size() == 5 ? baton::check::parse_position(words[4]) : std::nullopt;
    const std::chrono::milliseconds time(std::atoll(words[3].c_str()));
    const auto result = baton::check::check_log(words[1], words[2], position, {.time = time});
    if (position) std::printf("position %s\n", baton::check::to_string(*position).c_str());
    return tell(result);
  }
  std::fprintf(stderr, "baton-check is started by batond: baton-check disk DIRECTORY, or log FILE PATTERN MILLISECONDS [POSITION]\n");
  return static_cast<int>(baton::check::Outcome::kCouldNotCheck);
}
