// See journal_socket.h.
#include "src/os/journal_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include "src/base/bytes.h"

namespace baton {

namespace {

constexpr size_t kLongestValue = 16384;  // all fields together must fit in a datagram

}  // namespace

std::string encode_journal_entry(const JournalFields& fields) {
  Bytes entry;
  ByteWriter writer(entry);
  const auto put = [&](std::string_view text) { writer.put_bytes({reinterpret_cast<const uint8_t*>(text.data()), text.size()}); };
  for (const auto& [name, whole] : fields) {
    const std::string_view value = std::string_view(whole).substr(0, kLongestValue);
    put(name);
    if (value.find('\n') == std::string_view::npos) {
      put("=");
    } else {
      put("\n");
      writer.put(static_cast<uint64_t>(value.size()));
    }
    put(value);
    put("\n");
  }
  return {entry.begin(), entry.end()};
}

JournalSocket::JournalSocket(std::string path)
    : path_(std::move(path)), socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {}

bool JournalSocket::send(const JournalFields& fields) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (!socket_ || path_.size() >= sizeof address.sun_path) return false;
  std::copy(path_.begin(), path_.end(), address.sun_path);
  const std::string entry = encode_journal_entry(fields);
  return ::sendto(socket_.get(), entry.data(), entry.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), sizeof address) >=
         0;
}

bool prints_into_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat out {};
  return stream != nullptr && ::fstat(STDOUT_FILENO, &out) == 0 && fmt::format("{}:{}", out.st_dev, out.st_ino) == stream;
}

}  // namespace baton
