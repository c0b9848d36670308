// See join_channel.h. OpenSSL's external pre-shared keys of TLS 1.3, with a fresh Diffie-Hellman exchange.
#include "src/format/join_channel.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace baton {
namespace {

constexpr size_t kLongestLine = 4 * 1024 * 1024;
constexpr unsigned char kSuite[] = {0x13, 0x01};  // TLS_AES_128_GCM_SHA256: its hash is the one of a key of 32 bytes

/// A session that stands for the token's secret; nothing if it cannot be made.
SSL_SESSION* session_of(SSL* ssl, const std::string& secret) {
  const std::string labelled = "baton join key " + secret;
  unsigned char key[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(labelled.data()), labelled.size(), key);
  SSL_SESSION* session = SSL_SESSION_new();
  const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, kSuite);
  if (session != nullptr && cipher != nullptr && SSL_SESSION_set1_master_key(session, key, sizeof key) == 1 &&
      SSL_SESSION_set_cipher(session, cipher) == 1 && SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1)
    return session;
  SSL_SESSION_free(session);
  return nullptr;
}

std::string tls_problem() {
  char text[256] = "no reason given";
  if (const unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

void set_deadline(int descriptor, Duration limit) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(limit).count();
  timeval time{us / 1000000, us % 1000000};
  ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

/// A connected, blocking socket, or -1 with errno.
int connect_to(const std::string& address, uint16_t port, Duration limit) {
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = htons(port);
  if (::inet_pton(AF_INET, address.c_str(), &place.sin_addr) != 1) return errno = EINVAL, -1;
  const int made = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (made < 0) return -1;
  int reason = 0;
  if (::connect(made, reinterpret_cast<sockaddr*>(&place), sizeof place) != 0) {
    pollfd wait{made, POLLOUT, 0};
    socklen_t size = sizeof reason;
    if (errno != EINPROGRESS) {
      reason = errno;
    } else if (::poll(&wait, 1, static_cast<int>(to_ms(limit))) != 1) {
      reason = ETIMEDOUT;
    } else {
      ::getsockopt(made, SOL_SOCKET, SO_ERROR, &reason, &size);
    }
  }
  if (reason == 0) {
    ::fcntl(made, F_SETFL, ::fcntl(made, F_GETFL) & ~O_NONBLOCK);
    return made;
  }
  ::close(made);
  return errno = reason, -1;
}

}  // namespace

Result<std::unique_ptr<JoinChannel>> JoinChannel::open(int descriptor, Duration limit) {
  std::unique_ptr<JoinChannel> channel(new JoinChannel());
  channel->descriptor_ = descriptor;
  set_deadline(descriptor, limit);
  channel->context_ = SSL_CTX_new(TLS_method());
  if (channel->context_ == nullptr || SSL_CTX_set_min_proto_version(channel->context_, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(channel->context_, "TLS_AES_128_GCM_SHA256") != 1)
    return fail("TLS cannot be set up: {}", tls_problem());
  SSL_CTX_set_options(channel->context_, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(channel->context_, 0);
  SSL_CTX_set_psk_use_session_callback(
      channel->context_, [](SSL* ssl, const EVP_MD*, const unsigned char** id, size_t* size, SSL_SESSION** session) {
        auto* self = static_cast<JoinChannel*>(SSL_get_app_data(ssl));
        *session = session_of(ssl, self->secret_);
        *id = reinterpret_cast<const unsigned char*>(self->token_id_.data());
        *size = self->token_id_.size();
        return *session == nullptr ? 0 : 1;
      });
  SSL_CTX_set_psk_find_session_callback(
      channel->context_, [](SSL* ssl, const unsigned char* id, size_t size, SSL_SESSION** session) {
        auto* self = static_cast<JoinChannel*>(SSL_get_app_data(ssl));
        self->token_id_.assign(reinterpret_cast<const char*>(id), size);
        const std::string secret = self->find_(self->token_id_);
        // Without a session the handshake fails: there is no certificate to go on with.
        *session = secret.empty() ? nullptr : session_of(ssl, secret);
        return 1;
      });
  channel->ssl_ = SSL_new(channel->context_);
  if (channel->ssl_ == nullptr || SSL_set_fd(channel->ssl_, descriptor) != 1)
    return fail("TLS cannot be set up: {}", tls_problem());
  SSL_set_app_data(channel->ssl_, channel.get());
  return channel;
}

/// SAFETY: nothing is sent or read before the handshake has used the token's secret on both sides.
Status JoinChannel::shake_hands(bool as_client) {
  const int done = as_client ? SSL_connect(ssl_) : SSL_accept(ssl_);
  if (done == 1 && SSL_session_reused(ssl_) == 1) return {};
  if (!as_client) return fail_as(ErrorCode::kInvalid, "no proof of a join token: {}", tls_problem());
  return fail_as(ErrorCode::kInvalid,
                 "the cluster does not know this token: it was given out too long ago, by a batond that was started "
                 "anew since, or it is another cluster's; get a new one with `baton cluster token` ({})", tls_problem());
}

Result<std::unique_ptr<JoinChannel>> JoinChannel::connect(const JoinToken& token, Duration limit) {
  std::string tried;
  for (const auto& address : token.addresses) {
    const int descriptor = connect_to(address, token.port, limit);
    if (descriptor < 0) {
      tried += fmt::format("{}{} port {}: {}", tried.empty() ? "" : "; ", address, token.port, std::strerror(errno));
      continue;
    }
    auto channel = open(descriptor, limit);
    if (!channel) return channel;
    (*channel)->token_id_ = token.id;
    (*channel)->secret_ = token.secret;
    if (auto proved = (*channel)->shake_hands(true); !proved) return pass(proved);
    return channel;
  }
  return fail_as(ErrorCode::kUnavailable,
                 "the member that gave out the token is not reached ({}): is batond running there, is the network "
                 "right, is the token still good?", tried);
}

Result<std::unique_ptr<JoinChannel>> JoinChannel::accept(int descriptor, FindSecret find, Duration limit) {
  auto channel = open(descriptor, limit);
  if (!channel) return channel;
  (*channel)->find_ = std::move(find);
  if (auto proved = (*channel)->shake_hands(false); !proved) return pass(proved);
  return channel;
}

JoinChannel::~JoinChannel() {
  if (ssl_ != nullptr) SSL_shutdown(ssl_);
  SSL_free(ssl_);
  SSL_CTX_free(context_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status JoinChannel::send(const std::string& line) {
  const std::string text = line + "\n";
  size_t sent = 0;
  if (SSL_write_ex(ssl_, text.data(), text.size(), &sent) == 1 && sent == text.size()) return {};
  return fail_as(ErrorCode::kUnavailable, "the connection broke off while sending: {}", tls_problem());
}

Result<std::string> JoinChannel::receive() {
  std::string line;
  char part[4096];
  while (line.size() < kLongestLine) {
    size_t got = 0;
    if (SSL_read_ex(ssl_, part, sizeof part, &got) != 1)
      return fail_as(ErrorCode::kUnavailable, "the connection broke off, or no answer came in time: {}", tls_problem());
    line.append(part, got);
    if (line.back() != '\n') continue;
    line.pop_back();
    return line;
  }
  return fail_as(ErrorCode::kInvalid, "the other side sends more than {} bytes", kLongestLine);
}

}  // namespace baton
