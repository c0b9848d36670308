// Every tests/bad_input/NAME.toml is refused with the text of NAME.expected beside it; a missing one fails.
// BATON_UPDATE_EXPECTED=1 writes the texts anew, for review with git diff.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "src/model/configuration_toml.h"

namespace baton {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(BadInput, EveryFileIsRefusedWithPlaceAndAdvice) {
  size_t count = 0;
  bool update = std::getenv("BATON_UPDATE_EXPECTED") != nullptr;
  for (const auto& entry : std::filesystem::directory_iterator(BATON_BAD_INPUT)) {
    if (entry.path().extension() != ".toml") continue;
    SCOPED_TRACE(entry.path().filename().string());
    ++count;
    auto parsed = parse_configuration(read_file(entry.path()), entry.path().filename().string());
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalid);
    std::string said = parsed.error().message + "\n";
    std::filesystem::path expected = entry.path();
    expected.replace_extension(".expected");
    if (update) std::ofstream(expected) << said;
    ASSERT_TRUE(std::filesystem::exists(expected)) << "no " << expected << "; what was said is\n" << said;
    EXPECT_EQ(read_file(expected), said);
  }
  EXPECT_GE(count, 30u);
}

}  // namespace
}  // namespace baton
