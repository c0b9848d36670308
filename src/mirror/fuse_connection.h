// FuseConnection: one FUSE filesystem with one file, `disk`, spoken to the kernel directly over /dev/fuse
// through the ring. Its mount is attached to no directory and no mount namespace: it is reached by descriptor
// alone, so nobody else's unmounting, copying of namespaces or looking around can touch it. The loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <linux/fuse.h>

#include "src/mirror/buffer_pool.h"
#include "src/mirror/ring.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {

class FuseConnection : public std::enable_shared_from_this<FuseConnection> {
 public:
  using OnRequest = std::function<void(const ClientRequest&)>;
  using OnLost = std::function<void(std::string)>;

  /// Mounts and begins to serve. `next_request` gives ids, rising over all connections.
  static Result<std::shared_ptr<FuseConnection>> open(Ring& ring, BufferPool& pool, uint64_t size_bytes,
                                                      RequestId* next_request, OnRequest on_request,
                                                      OnLost on_lost);
  ~FuseConnection();

  /// The mount, for openat(mount(), "disk") in a child; -1 once forgotten.
  int mount() const { return mount_.get(); }
  /// The filesystem then goes with the last that has `disk` open.
  void forget_mount() { mount_.close(); }

  void complete(RequestId request, bool ok);
  /// Goes on with what was held back, if there is memory for it now.
  void resume();

  /// The file is larger now; who asks the kernel for its size after this gets the new one.
  void grow(uint64_t size_bytes);

  /// Ends the connection: the kernel fails everything under way and to come. `done` when that is so.
  void abort(std::function<void()> done);

 private:
  struct Pending {
    uint64_t unique = 0;
    RequestKind kind = RequestKind::kRead;
    BufferId buffer = 0;
    uint32_t bytes = 0;
    BlockRange rest;  // of a kZero: what follows it, once it is done
    bool unmap = false;
  };
  struct Reply {
    fuse_out_header header;
    alignas(8) uint8_t body[144];
    iovec parts[2];
    BufferId buffer = 0;
  };

  FuseConnection(Ring& ring, BufferPool& pool, uint64_t size_bytes, RequestId* next_request);
  Status mount_filesystem();
  void drop_pending();
  void receive();
  bool under_way() const { return !pending_.empty() || free_replies_.size() < replies_.size(); }
  bool must_wait() const;
  bool parked(size_t size, uint64_t bytes);
  void received(int result);
  void drain();
  void handle(size_t size);
  void handle_other(const fuse_in_header& header);
  void handle_init(const fuse_in_header& header);
  void handle_read(const fuse_in_header& header, size_t size);
  void handle_write(const fuse_in_header& header, size_t size);
  void handle_flush(const fuse_in_header& header);
  void handle_allocate(const fuse_in_header& header);
  void submit_zero(uint64_t unique, BlockRange range, bool unmap);
  void submit(const fuse_in_header& header, RequestKind kind, BlockRange range, BufferId buffer);
  fuse_attr attributes(uint64_t node) const;
  void reply_attributes(const fuse_in_header& header);
  void reply_entry(const fuse_in_header& header);
  void reply_open(const fuse_in_header& header);
  void reply_statfs(const fuse_in_header& header);

  Reply* take_reply(uint64_t unique, int error);
  void reply_error(uint64_t unique, int error);
  template <class Body>
  void reply_body(uint64_t unique, const Body& body);
  void send(Reply* reply, unsigned parts);

  Ring& ring_;
  BufferPool& pool_;
  uint64_t size_bytes_;
  RequestId* next_request_;
  OnRequest on_request_;
  OnLost on_lost_;

  OwnedFd fuse_;
  OwnedFd mount_;
  bool aborted_ = false;
  std::vector<std::function<void()>> abort_done_;
  Ring::Operation receiving_ = 0;
  bool held_back_ = false;   // nothing is received until something under way has ended or the pool has grown
  size_t parked_bytes_ = 0;  // of a request that is in head_ and data_, and waits for memory

  alignas(8) uint8_t head_[80];  // the request's header and a write's arguments
  BufferId data_ = 0;            // what follows: a write's data, aligned
  iovec parts_[2];
  std::unordered_map<RequestId, Pending> pending_;
  std::vector<std::unique_ptr<Reply>> replies_;
  std::vector<Reply*> free_replies_;
};

}  // namespace baton::mirror
