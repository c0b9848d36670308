// Who may connect is decided by the socket's mode: root. Data under way is bounded over all clients together.
#include "src/mirror/nbd_server.h"

#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr size_t kMaxConnections = 64;
constexpr uint64_t kDataUnderWay = 16u << 20;  // of all connections, but at least a piece of 1 MiB each
constexpr Duration kCloseLimit = 30s;
constexpr int kSocketBytes = 2 << 20;
constexpr uint16_t kFlags = kNbdHasFlags | kNbdSendFlush | kNbdSendFua | kNbdCanMultiConn;
constexpr uint16_t kWriteFlags = kNbdSendTrim | kNbdSendWriteZeroes | kNbdSendFastZero;

uint32_t slot_of(RequestId request) { return static_cast<uint32_t>(request); }
uint32_t use_of(RequestId request) { return static_cast<uint32_t>(request >> 32) & 0x3fffffff; }

}  // namespace

NbdServer::NbdServer(Ring& ring, BufferPool& pool, NbdExport target, RequestId id_base, OnRequest on_request,
                     Note note)
    : ring_(ring),
      pool_(pool),
      target_(std::move(target)),
      id_base_(id_base),
      on_request_(std::move(on_request)),
      note_(std::move(note)) {
  // One copy of the data, and a flush covers what any connection has written: clients may use several.
  target_.flags = kFlags | kWriteFlags;
}

NbdServer::NbdServer(Ring& ring, BufferPool& pool, NbdExport target, BlockDevice& store, Note note)
    : ring_(ring), pool_(pool), target_(std::move(target)), store_(&store), note_(std::move(note)) {
  target_.flags = kFlags | kNbdReadOnly;
  on_request_ = [this](const ClientRequest& request) { serve_from_store(request); };
}

NbdServer::~NbdServer() {
  *alive_ = false;
  abort();
}

// ---- Connections ----

Status NbdServer::listen(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail_as(ErrorCode::kInvalid, "the NBD socket's path \"{}\" is empty or longer than {} bytes", path,
                   sizeof address.sun_path - 1);
  }
  path.copy(address.sun_path, path.size());
  OwnedFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener) return fail("cannot make the NBD socket: {}", errno_text());
  unlink(path.c_str());
  const mode_t old_mask = umask(0177);
  const int bound = bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  umask(old_mask);
  if (bound != 0)
    return fail("cannot make the NBD socket {}: {}. Its directory must exist", path, errno_text(error));
  if (::listen(listener.get(), 64) != 0) return fail("cannot listen on {}: {}", path, errno_text());
  listener_ = std::move(listener);
  path_ = path;
  watch_listener();
  return {};
}

void NbdServer::watch_listener() {
  listening_ = ring_.poll(listener_.get(), POLLIN, [this, alive = alive_](int result) {
    if (!*alive || result == -ECANCELED || !listener_) return;
    accept_all();
    watch_listener();
  });
}

void NbdServer::accept_all() {
  while (true) {
    OwnedFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) return;
    if (close_done_ || connections_.size() >= kMaxConnections) {
      if (!close_done_)
        note_(fmt::format("an NBD client was turned away: there are {} already", kMaxConnections));
      continue;
    }
    add(std::move(socket), true);
  }
}

void NbdServer::serve(OwnedFd socket) { add(std::move(socket), false); }

void NbdServer::add(OwnedFd socket, bool handshake) {
  // A batch of replies should fit, or every part of it costs a wake-up of its own.
  if (setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kSocketBytes, sizeof kSocketBytes) != 0) {
    setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof kSocketBytes);
  }
  NbdConnection::Owner& owner = *this;
  connections_.push_back(std::make_shared<NbdConnection>(ring_, pool_, owner, std::move(socket), target_));
  connections_.back()->start(handshake);
}

uint64_t NbdServer::nbd_share() const { return kDataUnderWay / std::max<size_t>(1, connections_.size()); }

void NbdServer::nbd_output(NbdConnection& connection) {
  if (connection.queued) return;
  connection.queued = true;
  with_output_.push_back(connection.shared_from_this());
}

void NbdServer::flush() {
  // A connection that ends in flush() may not add to the list under our feet.
  for (size_t i = 0; i < with_output_.size(); ++i) {
    with_output_[i]->queued = false;
    with_output_[i]->flush();
  }
  with_output_.clear();
}

void NbdServer::memory_came() {
  for (const auto& connection : std::vector(connections_)) connection->memory_came();
}

void NbdServer::nbd_ended(NbdConnection& connection, const std::string& problem) {
  std::erase_if(connections_, [&](const auto& candidate) { return candidate.get() == &connection; });
  if (!problem.empty()) note_("an NBD client was disconnected: " + problem);
  if (close_done_) return close_if_done();
  if (connections_.empty() && on_last_gone) on_last_gone(problem);
}

// ---- Requests ----

void NbdServer::nbd_piece(NbdConnection& connection, const NbdConnection::Piece& piece) {
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t index = free_slots_.back();
  free_slots_.pop_back();
  UnderWay& slot = slots_[index];
  slot.connection = connection.shared_from_this();
  slot.piece = piece;
  slot.use = (slot.use + 1) & 0x3fffffff;
  ++under_way_;
  ClientRequest request;
  request.id = id_base_ | RequestId{slot.use} << 32 | index;
  request.kind = piece.kind;
  request.range = {piece.offset / kBlockBytes, piece.bytes / kBlockBytes};
  if (piece.kind == RequestKind::kFlush) request.range = {};
  request.buffer = piece.buffer;
  request.force_unit_access = piece.force_unit_access;
  request.unmap = piece.unmap;
  on_request_(request);
}

void NbdServer::complete(RequestId request, bool ok) {
  const uint32_t index = slot_of(request);
  if (index >= slots_.size() || !slots_[index].connection || slots_[index].use != use_of(request)) return;
  const auto connection = std::move(slots_[index].connection);
  const NbdConnection::Piece piece = slots_[index].piece;
  free_slots_.push_back(index);
  --under_way_;
  connection->piece_done(piece, ok);
  if (close_done_) close_if_done();
}

void NbdServer::serve_from_store(const ClientRequest& request) {
  if (request.kind != RequestKind::kRead) return complete(request.id, request.kind == RequestKind::kFlush);
  store_->read(request.range, pool_.data(request.buffer),
               [this, alive = alive_, &pool = pool_, id = request.id, buffer = request.buffer](int error) {
                 pool.release(buffer);
                 if (*alive) complete(id, error == 0);
               });
}

// ---- The end ----

void NbdServer::close(std::function<void(Status)> done) {
  BATON_ASSERT(!close_done_);
  close_done_ = std::move(done);
  close_deadline_ = ring_.after(kCloseLimit, [this] { close_too_late(); });
  for (const auto& connection : std::vector(connections_))
    connection->drain("the mirror is being stopped on this server");
  // Never from inside: the caller is not done with what it is doing.
  ring_.after(Duration::zero(), [this, alive = alive_] {
    if (*alive && close_done_) close_if_done();
  });
}

void NbdServer::close_if_done() {
  if (!connections_.empty() || under_way_ > 0) return;
  stop_listening();
  finish_close({});
}

void NbdServer::close_too_late() {
  if (under_way_ > 0) {
    for (const auto& connection : connections_) connection->resume();
    return finish_close(fail_as(ErrorCode::kTimeout,
                                "{} requests of NBD clients have not been answered by the mirror within {} s",
                                under_way_, kCloseLimit / 1s));
  }
  // They do not take their answers, or have sent half a request.
  auto done = std::exchange(close_done_, nullptr);
  abort();
  done({});
}

void NbdServer::finish_close(Status status) {
  ring_.cancel_timer(close_deadline_);
  if (auto done = std::exchange(close_done_, nullptr)) done(std::move(status));
}

void NbdServer::stop_listening() {
  if (!listener_) return;
  unlink(path_.c_str());
  path_.clear();
  ring_.cancel(listening_);
  listener_.close();
}

void NbdServer::abort() {
  stop_listening();
  for (const auto& connection : std::exchange(connections_, {})) connection->drop();
  for (uint32_t index = 0; index < slots_.size(); ++index) {
    UnderWay& slot = slots_[index];
    if (!slot.connection) continue;
    // Its buffer is let go of; the answer, when it comes, finds nobody.
    const auto connection = std::move(slot.connection);
    connection->piece_done(slot.piece, false);
    free_slots_.push_back(index);
  }
  under_way_ = 0;
  finish_close(fail("the NBD export was aborted while it was being closed"));
}

}  // namespace baton::mirror
