// NbdServer: offers the disk over NBD: to programs on this server by a unix socket, to the kernel by connected
// sockets. Its requests go to the mirror, or, read-only, straight to a store. The loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/mirror/block_device.h"
#include "src/mirror/nbd_connection.h"

namespace baton::mirror {

/// Marks the requests of the NBD socket, which stands beside a device export.
constexpr RequestId kNbdSocketRequests = RequestId{1} << 63;

class NbdServer : private NbdConnection::Owner {
 public:
  /// As Export::OnRequest.
  using OnRequest = std::function<void(const ClientRequest&)>;
  /// A client came, went or was turned away: for the log.
  using Note = std::function<void(std::string)>;

  /// `target` without flags. Request ids are `id_base` and a number below 2^62.
  NbdServer(Ring& ring, BufferPool& pool, NbdExport target, RequestId id_base, OnRequest on_request, Note note);
  /// Read-only, from a store that must outlive it.
  NbdServer(Ring& ring, BufferPool& pool, NbdExport target, BlockDevice& store, Note note);
  ~NbdServer() override;

  /// Offers the export at a unix socket, mode 0600; one that is left over there is replaced.
  Status listen(const std::string& path);
  /// Serves a connected socket (blocking) whose client knows the export already: no handshake.
  void serve(OwnedFd socket);
  /// Answers a request; one that is not under way any more is ignored.
  void complete(RequestId request, bool ok);
  /// Sends what has been answered: once at the end of each round of the loop.
  void flush();
  void memory_came();

  /// Takes no new requests (ESHUTDOWN), answers those under way, disconnects; then the socket is removed. An
  /// error (kTimeout: requests stay unanswered) leaves it open. REQUIRES: no close() is under way.
  void close(std::function<void(Status)> done);
  /// Drops every connection at once; nothing is answered any more. A close() under way ends with an error.
  void abort();

  /// Connections made from now on see this size.
  void set_size(uint64_t size_bytes) { target_.size_bytes = size_bytes; }
  /// Called when the last connection has ended by itself (not by close() or abort()).
  std::function<void(const std::string& problem)> on_last_gone;

  size_t connections() const { return connections_.size(); }
  /// Requests given out and not answered.
  size_t under_way() const { return under_way_; }
  const std::string& path() const { return path_; }
  const NbdExport& target() const { return target_; }

 private:
  struct UnderWay {
    std::shared_ptr<NbdConnection> connection;  // empty: the slot is free
    NbdConnection::Piece piece;
    uint32_t use = 0;  // part of the request's id: a late answer cannot hit a later request
  };

  void nbd_piece(NbdConnection& connection, const NbdConnection::Piece& piece) override;
  void nbd_output(NbdConnection& connection) override;
  uint64_t nbd_share() const override;
  void nbd_ended(NbdConnection& connection, const std::string& problem) override;

  void watch_listener();
  void accept_all();
  void add(OwnedFd socket, bool handshake);
  void serve_from_store(const ClientRequest& request);
  void close_if_done();
  void close_too_late();
  void finish_close(Status status);
  void stop_listening();

  Ring& ring_;
  BufferPool& pool_;
  NbdExport target_;
  RequestId id_base_ = 0;
  OnRequest on_request_;
  BlockDevice* store_ = nullptr;
  Note note_;

  OwnedFd listener_;
  Ring::Operation listening_ = 0;
  std::string path_;
  std::vector<std::shared_ptr<NbdConnection>> connections_;
  std::vector<std::shared_ptr<NbdConnection>> with_output_;
  std::vector<UnderWay> slots_;
  std::vector<uint32_t> free_slots_;
  size_t under_way_ = 0;
  std::function<void(Status)> close_done_;
  Ring::Timer close_deadline_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace baton::mirror
