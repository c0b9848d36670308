// baton-scenarios [--write] [FOLDER ...]: runs scenario folders and compares their logs. Ends with "N passed, N failed".
#include <cstdio>
#include <filesystem>
#include <set>
#include <string>

#include "sim/scenario.h"

int main(int argc, char** argv) {
  bool write_expected = false;
  std::set<std::string> folders;
  for (int index = 1; index < argc; ++index) {
    const std::string argument = argv[index];
    if (argument == "--write") {
      write_expected = true;
    } else if (std::filesystem::exists(argument + "/script")) {
      folders.insert(argument);
    } else {
      for (const auto& entry : std::filesystem::directory_iterator(argument))
        if (entry.is_directory() && entry.path().filename() != "clusters") folders.insert(entry.path());
    }
  }
  int failed = 0;
  for (const auto& folder : folders) {
    const auto wrong = baton::sim::run_scenario_folder(folder, write_expected);
    if (wrong.empty()) continue;
    ++failed;
    std::printf("%s\n", wrong.c_str());
  }
  std::printf("%d passed, %d failed\n", static_cast<int>(folders.size()) - failed, failed);
  return failed == 0 ? 0 : 1;
}
