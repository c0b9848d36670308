// The `baton` program: hands each command to its part.
#include <cstdio>
#include <string>
#include <vector>

#include "src/lab/lab_command.h"

int main(int count, char** arguments) {
  std::vector<std::string> words(arguments + 1, arguments + count);
  if (!words.empty() && words[0] == "lab") {
    return baton::run_lab_command({words.begin() + 1, words.end()});
  }
  std::fprintf(stderr, "usage: baton lab ... (see `baton lab --help`)\n");
  return 2;
}
