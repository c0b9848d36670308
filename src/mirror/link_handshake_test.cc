// Authentication of the mirror connect: who is let in and who is not.
#include "src/mirror/link_handshake.h"

#include <gtest/gtest.h>

namespace baton::mirror {
namespace {

ClusterKey key(uint8_t byte) {
  ClusterKey key;
  key.bytes.fill(byte);
  return key;
}

bool both_prove(LinkHandshake& connector, LinkHandshake& acceptor) {
  auto from_connector = connector.greeted(acceptor.greeting());
  auto from_acceptor = acceptor.greeted(connector.greeting());
  if (!from_connector || !from_acceptor) return false;
  const bool accepted = acceptor.proves(*from_connector);
  EXPECT_EQ(connector.proves(*from_acceptor), accepted);
  return accepted;
}

TEST(LinkHandshake, WhoKnowsTheKeyGetsIn) {
  LinkHandshake a(key(1), LinkSide::kConnector, "db.data", ServerId(1), ServerId(2));
  LinkHandshake b(key(1), LinkSide::kAcceptor, "db.data", ServerId(2), ServerId(1));
  EXPECT_TRUE(both_prove(a, b));
}

TEST(LinkHandshake, EverythingIsBound) {
  const auto tries = [](ClusterKey other, LinkSide side, const char* mirror, uint32_t self, uint32_t peer) {
    LinkHandshake a(key(1), LinkSide::kConnector, "db.data", ServerId(1), ServerId(2));
    LinkHandshake b(other, side, mirror, ServerId(self), ServerId(peer));
    return both_prove(a, b);
  };
  EXPECT_TRUE(tries(key(1), LinkSide::kAcceptor, "db.data", 2, 1));
  EXPECT_FALSE(tries(key(2), LinkSide::kAcceptor, "db.data", 2, 1));
  EXPECT_FALSE(tries(key(1), LinkSide::kConnector, "db.data", 2, 1));
  EXPECT_FALSE(tries(key(1), LinkSide::kAcceptor, "db.other", 2, 1));
  EXPECT_FALSE(tries(key(1), LinkSide::kAcceptor, "db.data", 3, 1));
  EXPECT_FALSE(tries(key(1), LinkSide::kAcceptor, "db.data", 2, 3));
}

TEST(LinkHandshake, AnAcceptedKeyOfThePeerIsAsGoodAndIsTold) {
  LinkHandshake a(key(2), LinkSide::kConnector, "db.data", ServerId(1), ServerId(2), {key(1)});
  LinkHandshake b(key(1), LinkSide::kAcceptor, "db.data", ServerId(2), ServerId(1), {key(2)});
  const auto from_a = a.greeted(b.greeting());
  const auto from_b = b.greeted(a.greeting());
  ASSERT_TRUE(from_a && from_b);
  ASSERT_NE(b.proved_by(*from_a), nullptr);
  EXPECT_EQ(*b.proved_by(*from_a), key(2));
  ASSERT_NE(a.proved_by(*from_b), nullptr);
  EXPECT_EQ(*a.proved_by(*from_b), key(1));
  LinkHandshake later(key(2), LinkSide::kAcceptor, "db.data", ServerId(2), ServerId(1));
  LinkHandshake former(key(1), LinkSide::kConnector, "db.data", ServerId(1), ServerId(2), {key(2)});
  const auto from_former = former.greeted(later.greeting());
  ASSERT_TRUE(from_former && later.greeted(former.greeting()));
  EXPECT_FALSE(later.proves(*from_former)) << "the key was dropped";
}

TEST(LinkHandshake, ReflectionsAreRefused) {
  LinkHandshake a(key(1), LinkSide::kConnector, "db.data", ServerId(1), ServerId(1));
  EXPECT_FALSE(a.greeted(a.greeting()));
}

TEST(LinkHandshake, KeysAreRead) {
  EXPECT_TRUE(parse_cluster_key(std::string(128, 'a') + "\n"));
  EXPECT_EQ(parse_cluster_key(std::string(126, '0') + "fE")->bytes[63], 0xFE);
  EXPECT_FALSE(parse_cluster_key(std::string(127, 'a')));
  EXPECT_FALSE(parse_cluster_key(std::string(128, 'g')));
  EXPECT_FALSE(parse_cluster_key(""));
  auto missing = read_cluster_key("/nonexistent/key");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("/nonexistent/key"), std::string::npos);
}

}  // namespace
}  // namespace baton::mirror
