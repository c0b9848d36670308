// The files of templates/, built into the program (src/cli/CMakeLists.txt). Any thread.
#pragma once

#include <string>
#include <vector>

namespace baton::cli {

struct BuiltInTemplate {
  std::string name;  // of the file, without .toml
  std::string text;
};

/// By name.
const std::vector<BuiltInTemplate>& built_in_templates();

}  // namespace baton::cli
