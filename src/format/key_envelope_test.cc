// A new key under way between two servers: who can open it, and who cannot.
#include "src/format/key_envelope.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

const KeyEnvelopeContext kContext{"the present key", "0123456789abcdef", ServerId(1), ServerId(2)};
const std::string kKey(128, 'a');

TEST(KeyEnvelope, OneOpensWhatWasSealedForIt) {
  const auto asker = KeyAsker::make();
  ASSERT_TRUE(asker);
  const auto sealed = seal_key(kKey, asker->public_key(), kContext);
  ASSERT_TRUE(sealed);
  EXPECT_EQ(sealed->find(kKey.substr(0, 8)), std::string::npos);
  const auto opened = asker->open(*sealed, kContext);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(*opened, kKey);
  EXPECT_NE(*sealed, *seal_key(kKey, asker->public_key(), kContext)) << "each exchange has keys of its own";
}

TEST(KeyEnvelope, NobodyElseOpensIt) {
  const auto asker = KeyAsker::make();
  const auto other = KeyAsker::make();
  const auto sealed = seal_key(kKey, asker->public_key(), kContext);
  EXPECT_FALSE(other->open(*sealed, kContext)) << "who knows the present key, and has recorded all";
  auto wrong = kContext;
  wrong.shared_key = "another";
  EXPECT_FALSE(asker->open(*sealed, wrong));
  wrong = kContext;
  wrong.from = ServerId(3);
  EXPECT_FALSE(asker->open(*sealed, wrong));
  wrong = kContext;
  wrong.fingerprint = "0123456789abcdee";
  EXPECT_FALSE(asker->open(*sealed, wrong));
}

TEST(KeyEnvelope, WhatWasChangedOnTheWayIsNoticed) {
  const auto asker = KeyAsker::make();
  const auto sealed = seal_key(kKey, asker->public_key(), kContext);
  for (size_t place = 0; place < sealed->size(); place += 7) {
    std::string changed = *sealed;
    changed[place] = static_cast<char>(changed[place] ^ 1);
    EXPECT_FALSE(asker->open(changed, kContext)) << place;
  }
  for (const size_t size : {0, 31, 47, 48, 100}) EXPECT_FALSE(asker->open(sealed->substr(0, size), kContext)) << size;
}

TEST(KeyEnvelope, WhatIsNoPublicKeyIsRefused) {
  EXPECT_FALSE(seal_key(kKey, "", kContext));
  EXPECT_FALSE(seal_key(kKey, std::string(32, '\0'), kContext)) << "the exchange would be known to everybody";
}

}  // namespace
}  // namespace baton
