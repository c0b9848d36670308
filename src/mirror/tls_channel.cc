// The SSL object reads from input_ and writes to output_ by a BIO of our own: no copies but OpenSSL's.
#include "src/mirror/tls_channel.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr size_t kRecordBytes = 16 * 1024;
// With AES instructions AES is the fastest, without them by far the slowest.
constexpr const char* kAesFirst = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kChachaFirst = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
constexpr uint8_t kRefusal[] = {21, 3, 3, 0, 2, 2, 70};  // alert, TLS 1.2 framing, 2 bytes: fatal, protocol_version

bool has_aes_instructions() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#else
  return true;
#endif
}

/// OpenSSL's reason for the latest error of this thread.
std::string library_reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason != nullptr ? reason : "no reason given";
}

std::string verify_problem(long code, ServerId peer) {
  switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return fmt::format("the certificate of server {} has expired (or this server's clock is wrong)", peer);
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return fmt::format("the certificate of server {} is not valid yet: compare the servers' clocks", peer);
    case X509_V_ERR_HOSTNAME_MISMATCH:
      return fmt::format("the certificate is not that of server {} (its name is not \"{}\")", peer, certificate_name(peer));
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return fmt::format("the certificate of server {} was not issued by this cluster's authority", peer);
    default:
      return fmt::format("the certificate of server {} is not accepted: {}", peer, X509_verify_cert_error_string(code));
  }
}

}  // namespace

std::string certificate_name(ServerId server) { return fmt::format("server-{}", server); }

bool looks_like_tls(uint8_t first_byte) { return first_byte >= 20 && first_byte <= 23; }

std::span<const uint8_t> tls_refusal() { return kRefusal; }

TlsChannel::TlsChannel(LinkSide side, ServerId peer) : side_(side), peer_(peer) {}

TlsChannel::~TlsChannel() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
}

Result<std::unique_ptr<TlsChannel>> TlsChannel::create(const TlsFiles& files, LinkSide side, ServerId peer) {
  std::unique_ptr<TlsChannel> channel(new TlsChannel(side, peer));
  if (auto done = channel->set_up(files); !done) return pass(done);
  return channel;
}

Status TlsChannel::set_up(const TlsFiles& files) {
  ERR_clear_error();
  const auto unusable = [](const char* what, const std::string& path) {
    return fail_as(ErrorCode::kInvalid, "encrypt = true, but {} {} cannot be used: {}", what,
                   path.empty() ? "(none given)" : path, library_reason());
  };
  context_ = SSL_CTX_new(TLS_method());
  BATON_ASSERT(context_ != nullptr);
  SSL_CTX_set_min_proto_version(context_, TLS1_3_VERSION);
  SSL_CTX_set_num_tickets(context_, 0);
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context_, SSL_OP_CIPHER_SERVER_PREFERENCE);
  BATON_ASSERT(SSL_CTX_set_ciphersuites(context_, has_aes_instructions() ? kAesFirst : kChachaFirst) == 1);
  if (SSL_CTX_use_certificate_chain_file(context_, files.certificate.c_str()) != 1) {
    return unusable("the certificate", files.certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(context_, files.private_key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return unusable("the private key", files.private_key);
  }
  if (SSL_CTX_load_verify_locations(context_, files.authority.c_str(), nullptr) != 1) {
    return unusable("the authority's certificate", files.authority);
  }
  SSL_CTX_set_verify(context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  ssl_ = SSL_new(context_);
  BATON_ASSERT(ssl_ != nullptr);
  // SAFETY: any server of the cluster has a certificate; only the peer's will do.
  BATON_ASSERT(X509_VERIFY_PARAM_set1_host(SSL_get0_param(ssl_), certificate_name(peer_).c_str(), 0) == 1);
  BIO* bio = BIO_new(bio_method());
  BATON_ASSERT(bio != nullptr);
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  side_ == LinkSide::kConnector ? SSL_set_connect_state(ssl_) : SSL_set_accept_state(ssl_);
  return {};
}

Result<bool> TlsChannel::handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result == 1) return true;
  if (SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ) return false;
  return fail_as(ErrorCode::kInvalid, "{}", problem());
}

Result<size_t> TlsChannel::read(std::span<uint8_t> to) {
  if (to.empty()) return size_t{0};
  ERR_clear_error();
  size_t got = 0;
  const int result = SSL_read_ex(ssl_, to.data(), to.size(), &got);
  if (result == 1) return got;
  const int error = SSL_get_error(ssl_, result);
  if (error == SSL_ERROR_WANT_READ) return size_t{0};
  if (error == SSL_ERROR_ZERO_RETURN) return fail("the peer ended its TLS");
  return fail_as(ErrorCode::kInvalid, "{}", problem());
}

Status TlsChannel::write(std::span<const uint8_t> plain) {
  while (!plain.empty()) {
    if (staged_.empty() && plain.size() >= kRecordBytes) {
      if (auto done = encrypt(plain.first(kRecordBytes)); !done) return done;
      plain = plain.subspan(kRecordBytes);
      continue;
    }
    const size_t part = std::min(plain.size(), kRecordBytes - staged_.size());
    staged_.insert(staged_.end(), plain.begin(), plain.begin() + static_cast<ptrdiff_t>(part));
    plain = plain.subspan(part);
    if (staged_.size() < kRecordBytes) continue;
    if (auto done = flush_record(); !done) return done;
  }
  return {};
}

Status TlsChannel::flush_record() {
  if (staged_.empty()) return {};
  auto done = encrypt(staged_);
  staged_.clear();
  return done;
}

Status TlsChannel::encrypt(std::span<const uint8_t> plain) {
  ERR_clear_error();
  size_t written = 0;
  if (SSL_write_ex(ssl_, plain.data(), plain.size(), &written) == 1 && written == plain.size()) return {};
  return fail("TLS cannot send: {}", problem());
}

std::string TlsChannel::problem() const {
  const unsigned long error = ERR_peek_last_error();
  const int reason = ERR_GET_REASON(error);
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) return verify_problem(SSL_get_verify_result(ssl_), peer_);
  if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) return fmt::format("server {} shows no certificate", peer_);
  // Alerts of the peer are 1000 and more: what it found wrong with us.
  if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
    return fmt::format("server {} does not accept this server's certificate, it says \"{}\": has it expired, or come from "
                       "another cluster's authority?",
                       peer_, library_reason());
  }
  return fmt::format("TLS with server {} failed: {}", peer_, library_reason());
}

// ---- The BIO ----

int TlsChannel::bio_write(BIO* bio, const char* data, int size) {
  auto* self = static_cast<TlsChannel*>(BIO_get_data(bio));
  const auto* bytes = reinterpret_cast<const uint8_t*>(data);  // of another type they would be copied one by one
  self->output_.insert(self->output_.end(), bytes, bytes + size);
  return size;
}

int TlsChannel::bio_read(BIO* bio, char* data, int size) {
  auto* self = static_cast<TlsChannel*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (self->input_.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const size_t part = std::min(static_cast<size_t>(size), self->input_.size());
  std::memcpy(data, self->input_.data(), part);
  self->input_ = self->input_.subspan(part);
  return static_cast<int>(part);
}

long TlsChannel::bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* TlsChannel::bio_method() {
  static BIO_METHOD* const kMethod = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "baton mirror connect");
    BATON_ASSERT(made != nullptr);
    BIO_meth_set_write(made, &TlsChannel::bio_write);
    BIO_meth_set_read(made, &TlsChannel::bio_read);
    BIO_meth_set_ctrl(made, &TlsChannel::bio_control);
    return made;
  }();
  return kMethod;
}

}  // namespace baton::mirror
