// The token, the exchange and the channel: what fits passes, what does not is refused in words.
#include "src/format/join_channel.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "src/format/join_request.h"

namespace baton {
namespace {

/// A member that answers one connection.
struct Member {
  int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  uint16_t port = 0;
  std::thread thread;
  std::string heard, said, problem;

  explicit Member(const std::string& secret) {
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof place;
    EXPECT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&place), sizeof place), 0);
    EXPECT_EQ(::listen(listener, 1), 0);
    ::getsockname(listener, reinterpret_cast<sockaddr*>(&place), &size);
    port = ntohs(place.sin_port);
    thread = std::thread([this, secret] {
      auto channel = JoinChannel::accept(::accept(listener, nullptr, nullptr), [&](const std::string& id) {
        return id == "0011223344556677" ? secret : std::string();
      }, 5s);
      if (!channel) return void(problem = channel.error().message);
      heard = (*channel)->receive().value_or("nothing");
      (void)(*channel)->send("welcome " + (*channel)->token_id());
    });
  }
  ~Member() {
    if (thread.joinable()) thread.join();
    ::close(listener);
  }
};

JoinToken token_for(uint16_t port, const std::string& secret) {
  return JoinToken{{"127.0.0.1"}, port, "0011223344556677", secret, "8899aabbccddeeff"};
}
const std::string kSecret(64, 'a'), kOther(64, 'b');

TEST(JoinChannel, BothSidesProveTheSecret) {
  Member member(kSecret);
  auto channel = JoinChannel::connect(token_for(member.port, kSecret), 5s);
  ASSERT_TRUE(channel.has_value()) << channel.error().message;
  ASSERT_TRUE((*channel)->send(std::string(100000, 'x')).has_value());
  EXPECT_EQ((*channel)->receive().value_or(""), "welcome 0011223344556677");
  member.thread.join();
  EXPECT_EQ(member.heard.size(), 100000u);
}

TEST(JoinChannel, AnotherSecretIsRefusedOnBothSides) {
  Member member(kSecret);
  auto channel = JoinChannel::connect(token_for(member.port, kOther), 5s);
  EXPECT_FALSE(channel.has_value());
  member.thread.join();
  EXPECT_NE(member.problem.find("no proof of a join token"), std::string::npos);
  EXPECT_EQ(member.heard, "");
}

TEST(JoinChannel, AnUnknownTokenIsRefused) {
  Member member("");
  auto channel = JoinChannel::connect(token_for(member.port, kSecret), 5s);
  ASSERT_FALSE(channel.has_value());
  EXPECT_NE(channel.error().message.find("does not know this token"), std::string::npos);
}

TEST(JoinChannel, NobodyThereIsSaidWithTheAddress) {
  auto token = token_for(1, kSecret);
  const auto channel = JoinChannel::connect(token, 2s);
  ASSERT_FALSE(channel.has_value());
  EXPECT_NE(channel.error().message.find("127.0.0.1 port 1"), std::string::npos);
}

TEST(JoinToken, IsOneWordThatIsReadAgain) {
  auto token = make_join_token();
  ASSERT_TRUE(token.has_value());
  token->addresses = {"10.0.1.1", "10.0.2.1"};
  token->port = 7799;
  token->fingerprint = cluster_fingerprint("key");
  const std::string text = write_join_token(*token);
  const auto again = read_join_token(text);
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_EQ(again->addresses, token->addresses);
  EXPECT_EQ(again->secret, token->secret);
  EXPECT_EQ(again->id, token->id);
  EXPECT_EQ(again->port, token->port);
  EXPECT_EQ(again->fingerprint, token->fingerprint);
  EXPECT_NE(read_join_token("hello").error().message.find("no join token"), std::string::npos);
  EXPECT_NE(read_join_token(text.substr(0, 60)).error().message.find("cut off"), std::string::npos);
  EXPECT_NE(read_join_token("baton-join-9" + text.substr(12)).error().message.find("another version"), std::string::npos);
  EXPECT_NE(cluster_fingerprint("key"), cluster_fingerprint("other"));
}

TEST(JoinRequest, RoundTripsAndRefusals) {
  const JoinRequest request{"server3", {"10.0.1.3"}, true, 1700000000000};
  const auto read = read_join_request(write_join_request(request));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->name, "server3");
  EXPECT_EQ(read->interconnects, request.interconnects);
  EXPECT_TRUE(read->witness);
  EXPECT_EQ(read->wall_ms, request.wall_ms);
  EXPECT_FALSE(read_join_request("{}").has_value());
  EXPECT_NE(read_join_request("{\"version\": 2}").error().message.find("another version"), std::string::npos);
  const auto answer = read_join_answer(write_join_answer({.error = "", .name = "s", .id = ServerId{4}, .key = "k", .configuration = "c"}));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->id, ServerId{4});
  EXPECT_EQ(read_join_answer(write_join_answer({.error = "no", .name = "", .id = {}, .key = "", .configuration = ""}))->error, "no");
  EXPECT_FALSE(read_join_answer("{\"name\": \"s\"}").has_value());
}

}  // namespace
}  // namespace baton
