// TlsChannel: TLS 1.3 between the two servers of a mirror, in memory: bytes from the wire go in, plain bytes come out,
// and the other way. Both sides show certificates of the cluster's own authority. docs/protocol.md, "Mirror connect".
// The loop's thread.
#pragma once

#include <openssl/bio.h>
#include <openssl/types.h>

#include <memory>
#include <span>
#include <string>

#include "src/base/bytes.h"
#include "src/base/ids.h"
#include "src/base/result.h"
#include "src/mirror/link_handshake.h"

namespace baton::mirror {

/// Paths of PEM files.
struct TlsFiles {
  std::string certificate;
  std::string private_key;
  std::string authority;
};

/// The common name of a server's certificate: "server-3".
std::string certificate_name(ServerId server);

/// The first byte of a TLS record of the handshake: how one side notices that the other speaks TLS.
bool looks_like_tls(uint8_t first_byte);
/// A TLS alert that says to one who speaks no TLS that this side does.
std::span<const uint8_t> tls_refusal();

class TlsChannel {
 public:
  /// Reads the files anew, so that renewed ones count from the next connection on.
  static Result<std::unique_ptr<TlsChannel>> create(const TlsFiles& files, LinkSide side, ServerId peer);
  ~TlsChannel();
  TlsChannel(const TlsChannel&) = delete;
  TlsChannel& operator=(const TlsChannel&) = delete;

  /// What has come from the wire. It must stay until it has been used up: unread() bytes are left.
  void feed(std::span<const uint8_t> wire) { input_ = wire; }
  size_t unread() const { return input_.size(); }

  /// True when done; false: more must come from the wire first. Either way output() may hold something to send.
  Result<bool> handshake();
  /// How many plain bytes came out; 0: more must come from the wire first.
  Result<size_t> read(std::span<uint8_t> to);
  /// Small pieces share a record; flush_record() ends it.
  Status write(std::span<const uint8_t> plain);
  Status flush_record();

  /// For the wire; the caller takes it away.
  Bytes& output() { return output_; }

 private:
  TlsChannel(LinkSide side, ServerId peer);
  Status set_up(const TlsFiles& files);
  Status encrypt(std::span<const uint8_t> plain);
  std::string problem() const;
  static int bio_write(BIO* bio, const char* data, int size);
  static int bio_read(BIO* bio, char* data, int size);
  static long bio_control(BIO* bio, int command, long number, void* pointer);
  static BIO_METHOD* bio_method();

  LinkSide side_;
  ServerId peer_;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  std::span<const uint8_t> input_;
  Bytes output_;
  Bytes staged_;  // less than a record of plain bytes
};

}  // namespace baton::mirror
