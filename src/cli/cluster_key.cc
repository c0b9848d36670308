// See cluster_key.h.
#include "src/cli/cluster_key.h"

#include <sys/random.h>

#include <cerrno>
#include <cstring>

#include "src/cli/commands.h"

namespace baton::cli {
namespace {

constexpr size_t kKeyBytes = 64;

bool is_key(const std::string& text) {
  return text.size() >= kKeyBytes * 2 && text.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
}

}  // namespace

Result<std::string> read_cluster_key(const std::string& path) {
  auto text = read_whole_file(path);
  if (!text) return text;
  while (!text->empty() && isspace(static_cast<unsigned char>(text->back()))) text->pop_back();
  if (is_key(*text)) return text;
  return fail_as(ErrorCode::kInvalid,
                 "{} is no cluster key: {} bytes as hexadecimal digits are expected; copy /etc/baton/cluster.key from another server "
                 "of the cluster",
                 path, kKeyBytes);
}

Result<std::string> make_cluster_key() {
  unsigned char bytes[kKeyBytes];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return fail("cannot get random bytes: {}", strerror(errno));
  std::string key;
  for (const unsigned char byte : bytes) key += fmt::format("{:02x}", byte);
  return key;
}

}  // namespace baton::cli
