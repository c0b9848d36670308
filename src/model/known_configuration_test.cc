// What is remembered of a text is what it says, whatever was asked in between.
#include "src/model/known_configuration.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

std::string cluster(int servers) {
  std::string text = "[cluster]\nname = \"one\"\n";
  for (int i = 1; i <= servers; ++i)
    text += fmt::format("[server.s{0}]\nid = {0}\ninterconnects = [\"10.0.0.{0}\"]\n", i);
  return text;
}

TEST(KnownConfiguration, SaysWhatParsingSays) {
  for (const std::string& text : {cluster(2), cluster(3), std::string("[cluster]\nnonsense = 1\n"), std::string()}) {
    const auto parsed = parse_configuration(text);
    for (int again = 0; again < 2; ++again) {
      const auto known = known_configuration(text);
      ASSERT_EQ(static_cast<bool>(known), parsed.has_value()) << text;
      if (known) {
        EXPECT_EQ(known->servers.size(), parsed->servers.size());
      } else {
        EXPECT_EQ(known.error().message, parsed.error().message);
      }
    }
  }
}

TEST(KnownConfiguration, ManyTextsInTurnDoNotMix) {
  const auto kept = known_configuration(cluster(2));
  for (int round = 0; round < 3; ++round)
    for (int servers = 2; servers < 9; ++servers) {
      const auto known = known_configuration(cluster(servers));
      ASSERT_TRUE(known) << known.error().message;
      EXPECT_EQ(known->servers.size(), static_cast<size_t>(servers));
    }
  EXPECT_EQ(kept->servers.size(), 2u);
  EXPECT_EQ(&*known_configuration(cluster(3)), &*known_configuration(cluster(3)));
}

}  // namespace
}  // namespace baton
