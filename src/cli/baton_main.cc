// The `baton` program: hands each command to its part.
#include <string>
#include <vector>

#include "src/cli/command_line.h"
#include "src/lab/lab_command.h"

int main(int count, char** arguments) {
  std::vector<std::string> words(arguments + 1, arguments + count);
  if (!words.empty() && words[0] == "lab") {
    return baton::run_lab_command({words.begin() + 1, words.end()});
  }
  return baton::cli::run_command_line(words);
}
