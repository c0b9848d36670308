// Ed25519 all through: its private keys are 32 bytes of anything and its signatures follow from key and content, so the
// authority's certificate comes out the same everywhere.
#include "src/mirror/tls_authority.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "src/base/assert.h"
#include "src/base/free_with.h"
#include "src/format/hkdf.h"
#include "src/mirror/tls_channel.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {
namespace {

using Key = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, FreeWith<X509_free>>;
using Memory = std::unique_ptr<BIO, FreeWith<BIO_free>>;

constexpr int kRenewDays = 30;
constexpr int kSecondsPerDay = 86400;

/// 32 bytes that follow from the cluster key, for one purpose.
std::array<uint8_t, 32> derive(const ClusterKey& key, const char* purpose) {
  std::array<uint8_t, 32> out{};
  hkdf_sha256({reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size()}, "", purpose, out);
  return out;
}

Key authority_key(const ClusterKey& key) {
  auto seed = derive(key, "baton cluster authority 1");
  Key made(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  OPENSSL_cleanse(seed.data(), seed.size());
  BATON_ASSERT(made != nullptr);
  return made;
}

/// Differs between clusters, so that a foreign certificate is seen to have another issuer.
std::string authority_name(const ClusterKey& key) {
  const auto bytes = derive(key, "baton cluster authority 1 name");
  std::string name = "Baton cluster ";
  for (int i = 0; i < 8; ++i) name += fmt::format("{:02x}", bytes[static_cast<size_t>(i)]);
  return name;
}

void set_name(X509_NAME* name, const std::string& common_name) {
  BATON_ASSERT(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const uint8_t*>(common_name.c_str()), -1,
                                          -1, 0) == 1);
}

void add_extension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  BATON_ASSERT(extension && X509_add_ext(certificate, extension.get(), -1) == 1);
}

void set_serial(X509* certificate, std::array<uint8_t, 32> bytes) {
  bytes[0] = static_cast<uint8_t>((bytes[0] & 0x7F) | 0x40);  // positive, and never shortened
  std::unique_ptr<BIGNUM, FreeWith<BN_free>> number(BN_bin2bn(bytes.data(), 16, nullptr));
  BATON_ASSERT(number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr);
}

Certificate make_authority(const ClusterKey& key, EVP_PKEY* private_key) {
  Certificate made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  set_serial(made.get(), derive(key, "baton cluster authority 1 serial"));
  // It lives as long as the cluster key: no clock can be wrong enough to make it invalid.
  BATON_ASSERT(ASN1_TIME_set_string_X509(X509_getm_notBefore(made.get()), "20200101000000Z") == 1);
  BATON_ASSERT(ASN1_TIME_set_string_X509(X509_getm_notAfter(made.get()), "99991231235959Z") == 1);
  set_name(X509_get_subject_name(made.get()), authority_name(key));
  X509_set_issuer_name(made.get(), X509_get_subject_name(made.get()));
  X509_set_pubkey(made.get(), private_key);
  add_extension(made.get(), made.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(made.get(), made.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(made.get(), made.get(), NID_subject_key_identifier, "hash");
  BATON_ASSERT(X509_sign(made.get(), private_key, nullptr) > 0);
  return made;
}

template <class Write>
std::string pem(Write&& write) {
  Memory memory(BIO_new(BIO_s_mem()));
  BATON_ASSERT(memory && write(memory.get()) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &text);
  return std::string(text, static_cast<size_t>(size));
}

std::string pem_of(X509* certificate) {
  return pem([&](BIO* memory) { return PEM_write_bio_X509(memory, certificate); });
}

// ---- Files ----

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  return file ? content.str() : std::string();
}

/// The file is there with all of `text`, or as it was before.
Status replace_file(const std::filesystem::path& path, const std::string& text) {
  const std::string temporary = path.string() + ".new";
  const auto failed = [&] { return fail("cannot write {}: {}", path.string(), errno_text()); };
  ::unlink(temporary.c_str());
  OwnedFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return failed();
  for (size_t done = 0; done < text.size();) {
    const ssize_t part = ::write(file.get(), text.data() + done, text.size() - done);
    if (part < 0 && errno == EINTR) continue;
    if (part <= 0) return failed();
    done += static_cast<size_t>(part);
  }
  if (::fsync(file.get()) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) return failed();
  return {};
}

/// Whether the certificate is this authority's for that server, with that key, for long enough.
bool still_good(const ClusterKey& key, ServerId server, const std::string& certificate_text, const std::string& key_text) {
  Memory certificate_memory(BIO_new_mem_buf(certificate_text.data(), static_cast<int>(certificate_text.size())));
  Memory key_memory(BIO_new_mem_buf(key_text.data(), static_cast<int>(key_text.size())));
  Certificate certificate(PEM_read_bio_X509(certificate_memory.get(), nullptr, nullptr, nullptr));
  Key private_key(PEM_read_bio_PrivateKey(key_memory.get(), nullptr, nullptr, nullptr));
  if (!certificate || !private_key) return false;
  const auto name = certificate_name(server);
  const time_t now = time(nullptr);
  time_t later = now + time_t{kRenewDays} * kSecondsPerDay;
  return X509_check_private_key(certificate.get(), private_key.get()) == 1 &&
         X509_verify(certificate.get(), authority_key(key).get()) == 1 &&
         X509_check_host(certificate.get(), name.c_str(), name.size(), 0, nullptr) == 1 &&
         X509_cmp_current_time(X509_get0_notBefore(certificate.get())) < 0 &&
         X509_cmp_time(X509_get0_notAfter(certificate.get()), &later) > 0;
}

}  // namespace

std::string authority_certificate(const ClusterKey& key) {
  return pem_of(make_authority(key, authority_key(key).get()).get());
}

ServerCertificate issue_certificate(const ClusterKey& key, ServerId server, CertificateTime time) {
  const Key signing_key = authority_key(key);
  const Certificate authority = make_authority(key, signing_key.get());
  const Key server_key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  BATON_ASSERT(server_key != nullptr);
  std::array<uint8_t, 32> serial{};
  BATON_ASSERT(RAND_bytes(serial.data(), serial.size()) == 1);

  Certificate made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  set_serial(made.get(), serial);
  X509_time_adj_ex(X509_getm_notBefore(made.get()), -time.days_before, 0, nullptr);
  X509_time_adj_ex(X509_getm_notAfter(made.get()), time.days_after, 0, nullptr);
  set_name(X509_get_subject_name(made.get()), certificate_name(server));
  X509_set_issuer_name(made.get(), X509_get_subject_name(authority.get()));
  X509_set_pubkey(made.get(), server_key.get());
  add_extension(made.get(), authority.get(), NID_basic_constraints, "critical,CA:FALSE");
  add_extension(made.get(), authority.get(), NID_key_usage, "critical,digitalSignature");
  add_extension(made.get(), authority.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  add_extension(made.get(), authority.get(), NID_subject_alt_name, "DNS:" + certificate_name(server));
  add_extension(made.get(), authority.get(), NID_authority_key_identifier, "keyid:always");
  BATON_ASSERT(X509_sign(made.get(), signing_key.get(), nullptr) > 0);

  return {pem_of(authority.get()), pem_of(made.get()), pem([&](BIO* memory) {
            return PEM_write_bio_PrivateKey(memory, server_key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

Status write_certificates(const ClusterKey& key, ServerId server, const std::string& directory,
                          const std::vector<ClusterKey>& others, bool anew) {
  const std::filesystem::path place(directory);
  std::error_code error;
  if (!std::filesystem::exists(place, error)) {
    std::filesystem::create_directories(place, error);
    if (error) return fail("cannot make the directory {} for certificates: {}", directory, error.message());
    std::filesystem::permissions(place, std::filesystem::perms::owner_all, error);
  }
  std::string authority = authority_certificate(key);
  for (const ClusterKey& other : others) authority += authority_certificate(other);
  if (read_text(place / "authority.pem") != authority) {
    if (auto written = replace_file(place / "authority.pem", authority); !written) return written;
  }
  if (!anew && still_good(key, server, read_text(place / "server.pem"), read_text(place / "server.key"))) return {};
  const ServerCertificate made = issue_certificate(key, server);
  // A crash between the two leaves a pair that does not belong together: the next call makes it anew.
  if (auto written = replace_file(place / "server.key", made.private_key); !written) return written;
  return replace_file(place / "server.pem", made.certificate);
}

}  // namespace baton::mirror
