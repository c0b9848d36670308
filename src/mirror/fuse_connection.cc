// The kernel copies a write's data straight into an aligned buffer: the request's header and arguments are 80
// bytes, read into a place of their own. Large data keeps that buffer, small data moves to one of its size.
#include "src/mirror/fuse_connection.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr uint64_t kRootNode = FUSE_ROOT_ID;
constexpr uint64_t kDiskNode = 2;
constexpr char kDiskName[] = "disk";
constexpr uint64_t kForeverSeconds = 1'000'000'000;
constexpr uint32_t kKeepBufferBytes = 128 * 1024;  // smaller data is copied to a buffer of its size
constexpr int kDrainLimit = 32;

static_assert(sizeof(fuse_in_header) + sizeof(fuse_write_in) == 80);

int set_string(int context, const char* key, const std::string& value) {
  return static_cast<int>(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value.c_str(), 0));
}

template <class Arguments>
Arguments arguments_of(const uint8_t* head) {
  Arguments arguments;
  static_assert(sizeof(fuse_in_header) + sizeof arguments <= 80);
  std::memcpy(&arguments, head + sizeof(fuse_in_header), sizeof arguments);
  return arguments;
}

}  // namespace

FuseConnection::FuseConnection(Ring& ring, BufferPool& pool, uint64_t size_bytes, RequestId* next_request)
    : ring_(ring), pool_(pool), size_bytes_(size_bytes), next_request_(next_request) {}

FuseConnection::~FuseConnection() {
  drop_pending();
  if (data_ != 0) pool_.release(data_);
}

void FuseConnection::drop_pending() {
  for (const auto& [id, pending] : pending_) {
    if (pending.buffer != 0) pool_.release(pending.buffer);
  }
  pending_.clear();
}

Result<std::shared_ptr<FuseConnection>> FuseConnection::open(Ring& ring, BufferPool& pool, uint64_t size_bytes,
                                                             RequestId* next_request, OnRequest on_request,
                                                             OnLost on_lost) {
  std::shared_ptr<FuseConnection> connection(new FuseConnection(ring, pool, size_bytes, next_request));
  connection->on_request_ = std::move(on_request);
  connection->on_lost_ = std::move(on_lost);
  if (auto mounted = connection->mount_filesystem(); !mounted) return pass(mounted);
  connection->receive();
  return connection;
}

Status FuseConnection::mount_filesystem() {
  fuse_ = OwnedFd(::open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fuse_) return fail("cannot open /dev/fuse: {}. The kernel needs its fuse driver", errno_text());
  OwnedFd context(static_cast<int>(syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC)));
  if (!context) return fail("cannot begin a FUSE mount: {}", errno_text());
  const int fd = context.get();
  const bool made = set_string(fd, "source", "baton") == 0 &&
                    set_string(fd, "fd", std::to_string(fuse_.get())) == 0 &&
                    set_string(fd, "rootmode", "40000") == 0 && set_string(fd, "user_id", "0") == 0 &&
                    set_string(fd, "group_id", "0") == 0 &&
                    syscall(SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0;
  if (!made) return fail("cannot make the FUSE filesystem: {}", errno_text());
  mount_ = OwnedFd(
      static_cast<int>(syscall(SYS_fsmount, fd, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID)));
  if (!mount_) return fail("cannot mount the FUSE filesystem: {}", errno_text());
  return {};
}

// ---- Receiving ----

/// Memory comes back only from what is under way: with nothing under way a request is always taken.
bool FuseConnection::must_wait() const {
  if (!under_way()) return false;
  return parked_bytes_ > 0 || pool_.full() || (data_ == 0 && pool_.short_of(kMaxTransferBytes));
}

/// The request of `size` bytes in head_ has to wait for a buffer.
bool FuseConnection::parked(size_t size, uint64_t bytes) {
  if (!under_way() || !pool_.short_of(static_cast<uint32_t>(bytes))) return false;
  parked_bytes_ = size;
  return true;
}

void FuseConnection::resume() {
  if (!held_back_ || aborted_) return;
  if (parked_bytes_ > 0) handle(std::exchange(parked_bytes_, 0));
  if (!must_wait()) receive();
}

void FuseConnection::receive() {
  held_back_ = false;
  parked_bytes_ = 0;
  if (data_ == 0) data_ = pool_.allocate(kMaxTransferBytes);
  parts_[0] = {head_, sizeof head_};
  parts_[1] = {pool_.data(data_), kMaxTransferBytes};
  receiving_ = ring_.poll_and_readv(fuse_.get(), parts_, 2,
                                    [self = shared_from_this()](int result) { self->received(result); });
}

void FuseConnection::received(int result) {
  receiving_ = 0;
  if (aborted_) {
    fuse_.close();
    drop_pending();
    for (auto& done : std::exchange(abort_done_, {})) done();
    return;
  }
  if (result == -ENODEV) {
    // The kernel has ended it: by its last user, or by somebody's /sys/fs/fuse/connections/N/abort.
    if (on_lost_) on_lost_("the kernel ended the FUSE connection");
    return;
  }
  // ENOENT: the request was taken back meanwhile.
  const bool again = result == -EAGAIN || result == -EINTR || result == -ENOENT;
  if (result < 0 && !again) {
    if (on_lost_) on_lost_(fmt::format("reading from /dev/fuse failed: {}", std::strerror(-result)));
    return;
  }
  if (result > 0) {
    handle(static_cast<size_t>(result));
    // Under a deeper queue more is waiting already: take it without going round.
    if (pending_.size() > 1) drain();
  }
  held_back_ = must_wait();
  if (!held_back_) receive();
}

void FuseConnection::drain() {
  for (int i = 0; i < kDrainLimit && !must_wait(); ++i) {
    if (data_ == 0) data_ = pool_.allocate(kMaxTransferBytes);
    parts_[1] = {pool_.data(data_), kMaxTransferBytes};
    const ssize_t size = readv(fuse_.get(), parts_, 2);
    if (size <= 0) return;
    handle(static_cast<size_t>(size));
  }
}

void FuseConnection::handle(size_t size) {
  fuse_in_header header;
  if (size < sizeof header) return;
  std::memcpy(&header, head_, sizeof header);
  switch (header.opcode) {
    case FUSE_READ:
      return handle_read(header, size);
    case FUSE_WRITE:
      return handle_write(header, size);
    case FUSE_FSYNC:
      return handle_flush(header);
    default:
      return handle_other(header);
  }
}

void FuseConnection::handle_other(const fuse_in_header& header) {
  switch (header.opcode) {
    case FUSE_INIT:
      return handle_init(header);
    case FUSE_LOOKUP:
      return reply_entry(header);
    case FUSE_GETATTR:
    case FUSE_SETATTR:
      return reply_attributes(header);
    case FUSE_OPEN:
      return reply_open(header);
    case FUSE_STATFS:
      return reply_statfs(header);
    case FUSE_FALLOCATE:
      return handle_allocate(header);
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_ACCESS:
    case FUSE_DESTROY:
      return reply_error(header.unique, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
      return;  // want no answer
    default:
      return reply_error(header.unique, ENOSYS);
  }
}

void FuseConnection::handle_init(const fuse_in_header& header) {
  struct Version {
    uint32_t major;
    uint32_t minor;
  };
  const auto kernel = arguments_of<Version>(head_);  // more follows, of which nothing is needed
  if (kernel.major != FUSE_KERNEL_VERSION) return reply_error(header.unique, EPROTO);
  fuse_init_out out{};
  out.major = FUSE_KERNEL_VERSION;
  out.minor = std::min<uint32_t>(kernel.minor, FUSE_KERNEL_MINOR_VERSION);
  out.flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS;
  out.max_background = 512;
  out.congestion_threshold = 512;
  out.max_write = kMaxTransferBytes;
  out.time_gran = 1;
  out.max_pages = kMaxTransferBytes / kBlockBytes;
  reply_body(header.unique, out);
}

void FuseConnection::handle_read(const fuse_in_header& header, size_t size) {
  const auto in = arguments_of<fuse_read_in>(head_);
  if (header.nodeid != kDiskNode || in.offset % kBlockBytes != 0 || in.size % kBlockBytes != 0) {
    return reply_error(header.unique, EINVAL);
  }
  if (in.offset >= size_bytes_ || in.size == 0) return reply_error(header.unique, 0);
  const uint64_t bytes = std::min<uint64_t>({in.size, kMaxTransferBytes, size_bytes_ - in.offset});
  if (parked(size, bytes)) return;
  const BufferId buffer = pool_.allocate(static_cast<uint32_t>(bytes));
  submit(header, RequestKind::kRead, {in.offset / kBlockBytes, bytes / kBlockBytes}, buffer);
}

void FuseConnection::handle_write(const fuse_in_header& header, size_t size) {
  const auto in = arguments_of<fuse_write_in>(head_);
  if (header.nodeid != kDiskNode || in.offset % kBlockBytes != 0 || in.size % kBlockBytes != 0 ||
      in.size == 0 || size != sizeof head_ + in.size) {
    return reply_error(header.unique, EINVAL);
  }
  if (in.offset >= size_bytes_ || in.size > size_bytes_ - in.offset) return reply_error(header.unique, ENOSPC);
  if (in.size < kKeepBufferBytes && parked(size, in.size)) return;
  // SAFETY: docs/protocol.md, O3: from here on nobody but us can change the data.
  BufferId buffer = 0;
  if (in.size >= kKeepBufferBytes) {
    buffer = std::exchange(data_, 0);
  } else {
    buffer = pool_.allocate(in.size);
    std::memcpy(pool_.data(buffer), pool_.data(data_), in.size);
  }
  submit(header, RequestKind::kWrite, {in.offset / kBlockBytes, in.size / kBlockBytes}, buffer);
}

void FuseConnection::handle_flush(const fuse_in_header& header) {
  if (header.nodeid != kDiskNode) return reply_error(header.unique, 0);
  submit(header, RequestKind::kFlush, {}, 0);
}

/// What discards and write-zeroes of the loop device come to.
void FuseConnection::handle_allocate(const fuse_in_header& header) {
  const auto in = arguments_of<fuse_fallocate_in>(head_);
  const bool punch = in.mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
  const bool zero = in.mode == (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
  if (header.nodeid != kDiskNode || (!punch && !zero)) return reply_error(header.unique, EOPNOTSUPP);
  if (in.offset % kBlockBytes != 0 || in.length % kBlockBytes != 0) return reply_error(header.unique, EINVAL);
  if (in.offset > size_bytes_ || in.length > size_bytes_ - in.offset) return reply_error(header.unique, ENOSPC);
  if (in.length == 0) return reply_error(header.unique, 0);
  submit_zero(header.unique, {in.offset / kBlockBytes, in.length / kBlockBytes}, punch);
}

/// The first piece; complete() goes on with the rest.
void FuseConnection::submit_zero(uint64_t unique, BlockRange range, bool unmap) {
  const RequestId id = ++*next_request_;
  const BlockRange piece{range.first, std::min(range.count, kMaxZeroBlocks)};
  Pending pending{unique, RequestKind::kZero, 0, 0};
  pending.rest = {piece.end(), range.count - piece.count};
  pending.unmap = unmap;
  pending_.emplace(id, pending);
  on_request_(ClientRequest{id, RequestKind::kZero, piece, 0, false, unmap});
}

void FuseConnection::submit(const fuse_in_header& header, RequestKind kind, BlockRange range, BufferId buffer) {
  const RequestId id = ++*next_request_;
  if (buffer != 0) pool_.retain(buffer);  // until it has been answered
  pending_.emplace(id, Pending{header.unique, kind, buffer, static_cast<uint32_t>(range.count * kBlockBytes)});
  on_request_(ClientRequest{id, kind, range, buffer, false});
}

// ---- Answering ----

void FuseConnection::complete(RequestId request, bool ok) {
  const auto found = pending_.find(request);
  if (found == pending_.end()) return;
  const Pending pending = found->second;
  pending_.erase(found);
  if (aborted_ || !fuse_) {
    if (pending.buffer != 0) pool_.release(pending.buffer);
    return;
  }
  if (ok && pending.rest.count > 0) return submit_zero(pending.unique, pending.rest, pending.unmap);
  Reply* reply = take_reply(pending.unique, ok ? 0 : EIO);
  reply->buffer = pending.buffer;
  unsigned parts = 1;
  if (ok && pending.kind == RequestKind::kRead) {
    reply->parts[1] = {pool_.data(pending.buffer), pending.bytes};
    reply->header.len += pending.bytes;
    parts = 2;
  } else if (ok && pending.kind == RequestKind::kWrite) {
    const fuse_write_out out{pending.bytes, 0};
    std::memcpy(reply->body, &out, sizeof out);
    reply->parts[1] = {reply->body, sizeof out};
    reply->header.len += sizeof out;
    parts = 2;
  }
  send(reply, parts);
}

FuseConnection::Reply* FuseConnection::take_reply(uint64_t unique, int error) {
  if (free_replies_.empty()) {
    replies_.push_back(std::make_unique<Reply>());
    free_replies_.push_back(replies_.back().get());
  }
  Reply* reply = free_replies_.back();
  free_replies_.pop_back();
  reply->header = {sizeof(fuse_out_header), -error, unique};
  reply->parts[0] = {&reply->header, sizeof reply->header};
  reply->buffer = 0;
  return reply;
}

void FuseConnection::send(Reply* reply, unsigned parts) {
  // A request that the kernel has given up meanwhile is refused with ENOENT: nothing is lost by it.
  ring_.writev(fuse_.get(), reply->parts, parts, [self = shared_from_this(), reply](int) {
    if (reply->buffer != 0) self->pool_.release(reply->buffer);
    self->free_replies_.push_back(reply);
    self->resume();
  });
}

void FuseConnection::reply_error(uint64_t unique, int error) { send(take_reply(unique, error), 1); }

template <class Body>
void FuseConnection::reply_body(uint64_t unique, const Body& body) {
  Reply* reply = take_reply(unique, 0);
  static_assert(sizeof body <= sizeof reply->body);
  std::memcpy(reply->body, &body, sizeof body);
  reply->parts[1] = {reply->body, sizeof body};
  reply->header.len += sizeof body;
  send(reply, 2);
}

fuse_attr FuseConnection::attributes(uint64_t node) const {
  fuse_attr attributes{};
  attributes.ino = node;
  attributes.nlink = 1;
  attributes.blksize = kBlockBytes;
  if (node == kDiskNode) {
    attributes.mode = S_IFREG | 0600;
    attributes.size = size_bytes_;
    attributes.blocks = size_bytes_ / 512;
  } else {
    attributes.mode = S_IFDIR | 0700;
  }
  return attributes;
}

void FuseConnection::reply_attributes(const fuse_in_header& header) {
  fuse_attr_out out{};
  out.attr_valid = kForeverSeconds;
  out.attr = attributes(header.nodeid);
  reply_body(header.unique, out);
}

void FuseConnection::reply_entry(const fuse_in_header& header) {
  // A longer name than the head takes cannot be the one that we know.
  const char* name = reinterpret_cast<const char*>(head_) + sizeof(fuse_in_header);
  if (header.nodeid != kRootNode || strncmp(name, kDiskName, sizeof kDiskName) != 0) {
    return reply_error(header.unique, ENOENT);
  }
  fuse_entry_out out{};
  out.nodeid = kDiskNode;
  out.entry_valid = kForeverSeconds;
  out.attr_valid = kForeverSeconds;
  out.attr = attributes(kDiskNode);
  reply_body(header.unique, out);
}

void FuseConnection::reply_open(const fuse_in_header& header) {
  if (header.nodeid != kDiskNode) return reply_error(header.unique, EISDIR);
  fuse_open_out out{};
  out.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES | FOPEN_NOFLUSH;
  reply_body(header.unique, out);
}

void FuseConnection::reply_statfs(const fuse_in_header& header) {
  fuse_statfs_out out{};
  out.st.bsize = kBlockBytes;
  out.st.frsize = kBlockBytes;
  out.st.blocks = size_bytes_ / kBlockBytes;
  out.st.namelen = 255;
  reply_body(header.unique, out);
}

void FuseConnection::grow(uint64_t size_bytes) {
  size_bytes_ = size_bytes;
  if (!fuse_ || aborted_) return;
  // What the kernel knows of the file is to be asked for anew. Not through the ring: it must be there before
  // anybody asks.
  fuse_out_header header{};
  fuse_notify_inval_inode_out notice{};
  header.len = sizeof header + sizeof notice;
  header.error = FUSE_NOTIFY_INVAL_INODE;
  notice.ino = kDiskNode;
  notice.off = -1;
  const iovec parts[] = {{&header, sizeof header}, {&notice, sizeof notice}};
  if (writev(fuse_.get(), parts, 2) < 0) return;  // it has never asked
}

// ---- The end ----

void FuseConnection::abort(std::function<void()> done) {
  on_lost_ = nullptr;
  if (held_back_) receive();
  if (receiving_ == 0 && !aborted_) {
    // Lost already, nothing is being read.
    aborted_ = true;
    fuse_.close();
  }
  if (!fuse_) {
    mount_.close();
    ring_.after(Duration::zero(), std::move(done));
    return;
  }
  // SAFETY: docs/protocol.md, P3: closing the last descriptor of the connection makes the kernel fail all that
  // is under way and to come; nothing is answered from here on.
  aborted_ = true;
  abort_done_.push_back(std::move(done));
  ring_.cancel(receiving_);
}

}  // namespace baton::mirror
