// One socket per question: they are few, and an answer can then only be to the one question.
#include "src/mirror/kernel_nbd_netlink.h"

#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cstring>
#include <optional>
#include <span>

#include "src/os/owned_fd.h"

namespace baton::mirror {
namespace {

// Newer than the first headers that have the driver's other attributes.
constexpr uint16_t kAttributeBackend = 10;
constexpr time_t kAnswerSeconds = 5;
constexpr size_t kMaxMessage = 4096;

/// A generic netlink message being put together.
class Question {
 public:
  Question(uint16_t family, uint8_t command, uint8_t version) {
    bytes_.resize(NLMSG_HDRLEN + GENL_HDRLEN);
    const genlmsghdr generic{command, version, 0};
    std::memcpy(bytes_.data() + NLMSG_HDRLEN, &generic, sizeof generic);
    family_ = family;
  }
  void put(uint16_t type, const void* data, size_t size) {
    const nlattr attribute{static_cast<uint16_t>(NLA_HDRLEN + size), type};
    append(&attribute, sizeof attribute);
    append(data, size);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  void put_u32(uint16_t type, uint32_t number) { put(type, &number, sizeof number); }
  void put_u64(uint16_t type, uint64_t number) { put(type, &number, sizeof number); }
  void put_text(uint16_t type, const std::string& text) { put(type, text.c_str(), text.size() + 1); }
  size_t begin_nest(uint16_t type) {
    const size_t start = bytes_.size();
    put(static_cast<uint16_t>(type | NLA_F_NESTED), "", 0);
    return start;
  }
  void end_nest(size_t start) {
    const auto size = static_cast<uint16_t>(bytes_.size() - start);
    std::memcpy(bytes_.data() + start, &size, sizeof size);
  }
  std::span<const uint8_t> finish() {
    nlmsghdr header{};
    header.nlmsg_len = static_cast<uint32_t>(bytes_.size());
    header.nlmsg_type = family_;
    header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    header.nlmsg_seq = 1;
    std::memcpy(bytes_.data(), &header, sizeof header);
    return bytes_;
  }

 private:
  void append(const void* data, size_t size) {
    const auto* from = static_cast<const uint8_t*>(data);
    bytes_.insert(bytes_.end(), from, from + size);
  }
  std::vector<uint8_t> bytes_;
  uint16_t family_ = 0;
};

/// The payload of attribute `type` in a generic netlink message, if it is there.
std::optional<std::span<const uint8_t>> attribute_of(std::span<const uint8_t> message, uint16_t type) {
  size_t at = NLMSG_HDRLEN + GENL_HDRLEN;
  while (at + NLA_HDRLEN <= message.size()) {
    nlattr attribute;
    std::memcpy(&attribute, message.data() + at, sizeof attribute);
    if (attribute.nla_len < NLA_HDRLEN || at + attribute.nla_len > message.size()) return std::nullopt;
    if ((attribute.nla_type & NLA_TYPE_MASK) == type) {
      return message.subspan(at + NLA_HDRLEN, attribute.nla_len - size_t{NLA_HDRLEN});
    }
    at += NLA_ALIGN(attribute.nla_len);
  }
  return std::nullopt;
}

template <class Number>
std::optional<Number> number_of(std::span<const uint8_t> message, uint16_t type) {
  const auto payload = attribute_of(message, type);
  if (!payload || payload->size() < sizeof(Number)) return std::nullopt;
  Number number;
  std::memcpy(&number, payload->data(), sizeof number);
  return number;
}

/// Asks and waits for the acknowledgement; the message that came before it, if one did. An error is an errno.
tl::expected<std::vector<uint8_t>, int> ask(std::span<const uint8_t> question) {
  OwnedFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
  const timeval limit{kAnswerSeconds, 0};
  if (!socket || setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
      send(socket.get(), question.data(), question.size(), 0) < 0) {
    return tl::unexpected<int>(errno);
  }
  std::vector<uint8_t> answer;
  alignas(nlmsghdr) uint8_t buffer[kMaxMessage];
  while (true) {
    const ssize_t size = recv(socket.get(), buffer, sizeof buffer, 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return tl::unexpected<int>(errno);
    auto left = static_cast<unsigned>(size);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type != NLMSG_ERROR) {
        const auto* start = reinterpret_cast<uint8_t*>(header);
        answer.assign(start, start + header->nlmsg_len);
        continue;
      }
      nlmsgerr error;
      std::memcpy(&error, NLMSG_DATA(header), sizeof error);
      if (error.error != 0) return tl::unexpected<int>(-error.error);
      return answer;
    }
  }
}

std::optional<uint16_t> nbd_family() {
  Question question(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
  question.put_text(CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME);
  const auto answer = ask(question.finish());
  if (!answer) return std::nullopt;
  return number_of<uint16_t>(*answer, CTRL_ATTR_FAMILY_ID);
}

Result<Question> nbd_question(uint8_t command) {
  const auto family = nbd_family();
  if (!family) return fail_as(ErrorCode::kUnavailable, "the kernel has no NBD driver (module nbd)");
  return Question(*family, command, NBD_GENL_VERSION);
}

}  // namespace

bool kernel_has_nbd() { return nbd_family().has_value(); }

Result<int> connect_kernel_nbd(const KernelNbdSettings& settings) {
  auto question = nbd_question(NBD_CMD_CONNECT);
  if (!question) return pass(question);
  question->put_u64(NBD_ATTR_SIZE_BYTES, settings.size_bytes);
  question->put_u64(NBD_ATTR_BLOCK_SIZE_BYTES, settings.block_bytes);
  question->put_u64(NBD_ATTR_TIMEOUT, settings.timeout_seconds);
  question->put_u64(NBD_ATTR_DEAD_CONN_TIMEOUT, 0);
  question->put_u64(NBD_ATTR_SERVER_FLAGS, settings.server_flags);
  question->put_text(kAttributeBackend, settings.backend);
  const size_t sockets = question->begin_nest(NBD_ATTR_SOCKETS);
  for (const int socket : settings.sockets) {
    const size_t item = question->begin_nest(NBD_SOCK_ITEM);
    question->put_u32(NBD_SOCK_FD, static_cast<uint32_t>(socket));
    question->end_nest(item);
  }
  question->end_nest(sockets);
  const auto answer = ask(question->finish());
  if (!answer) return fail("the kernel's NBD driver refuses the device: {}", errno_text(answer.error()));
  const auto number = number_of<uint32_t>(*answer, NBD_ATTR_INDEX);
  if (!number) return fail("the kernel's NBD driver did not say which device it connected");
  return static_cast<int>(*number);
}

Status resize_kernel_nbd(int number, uint64_t size_bytes, const std::string& backend) {
  auto question = nbd_question(NBD_CMD_RECONFIGURE);
  if (!question) return pass(question);
  question->put_u32(NBD_ATTR_INDEX, static_cast<uint32_t>(number));
  question->put_u64(NBD_ATTR_SIZE_BYTES, size_bytes);
  question->put_text(kAttributeBackend, backend);
  const auto answer = ask(question->finish());
  if (!answer) return fail("cannot enlarge /dev/nbd{}: {}", number, errno_text(answer.error()));
  return {};
}

Status disconnect_kernel_nbd(int number) {
  auto question = nbd_question(NBD_CMD_DISCONNECT);
  if (!question) return pass(question);
  question->put_u32(NBD_ATTR_INDEX, static_cast<uint32_t>(number));
  const auto answer = ask(question->finish());
  if (!answer) return fail("cannot disconnect /dev/nbd{}: {}", number, errno_text(answer.error()));
  return {};
}

}  // namespace baton::mirror
