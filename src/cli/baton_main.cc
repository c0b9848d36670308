// The `baton` program: hands each command to its part. Called by a name of old (armload, ...) it is that command.
#include <filesystem>
#include <string>
#include <vector>

#include "src/cli/command_line.h"
#include "src/cli/old_commands.h"
#include "src/lab/lab_command.h"

int main(int count, char** arguments) {
  std::vector<std::string> words(arguments + 1, arguments + count);
  const std::string called = std::filesystem::path(arguments[0]).filename();
  if (baton::cli::is_old_command(called)) return baton::cli::run_old_command(called, words);
  if (!words.empty() && words[0] == "lab") {
    return baton::run_lab_command({words.begin() + 1, words.end()});
  }
  return baton::cli::run_command_line(words);
}
