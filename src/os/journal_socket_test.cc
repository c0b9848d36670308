// Entries as systemd's native protocol has them, against a socket that stands in for the journal's.
#include "src/os/journal_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>

namespace baton {
namespace {

TEST(JournalSocket, ValuesOfOneLineAndOfMore) {
  using namespace std::string_literals;
  EXPECT_EQ(encode_journal_entry({{"MESSAGE", "well"}, {"BATON_CAUSE", "a\nb"}, {"PRIORITY", "6"}}),
            "MESSAGE=well\nBATON_CAUSE\n\x03\0\0\0\0\0\0\0a\nb\nPRIORITY=6\n"s);
}

TEST(JournalSocket, IsTakenWhileSomebodyListens) {
  std::string directory = testing::TempDir() + "journal.XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string path = directory + "/socket";
  JournalSocket journal(path);
  EXPECT_FALSE(journal.send({{"MESSAGE", "nobody"}}));

  const OwnedFd listener(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_TRUE(journal.send({{"MESSAGE", "somebody"}}));
  char got[100];
  EXPECT_EQ(std::string(got, static_cast<size_t>(::recv(listener.get(), got, sizeof got, 0))), "MESSAGE=somebody\n");

  int sent = 0;  // one that reads nothing holds up nobody
  while (sent < 100000 && journal.send({{"MESSAGE", std::string(100000, 'x')}})) ++sent;
  EXPECT_LT(sent, 100000);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace baton
