// The lease page: one page of shared memory (a file on /run) with the instant at which this server's right to
// hold groups ends. baton-guard writes it, the data plane reads it before each acknowledgement.
// One writer; any number of readers, any process, any thread. See docs/protocol.md, "Leases".
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "src/base/ids.h"
#include "src/base/result.h"
#include "src/base/time.h"

namespace baton {

/// The layout of the page's begin.
struct LeasePageLayout {
  uint64_t magic;
  uint32_t version;
  uint32_t server;
  std::atomic<int64_t> deadline_ns;  // CLOCK_MONOTONIC; 0: no lease
};
static_assert(std::atomic<int64_t>::is_always_lock_free);

constexpr uint64_t kLeasePageMagic = 0x657361656c6e7462;  // "btnlease"
constexpr uint32_t kLeasePageVersion = 1;
constexpr size_t kLeasePageBytes = 4096;

class LeaseWriter {
 public:
  /// Opens the page, or creates it (atomically, with no lease). A valid page of this server keeps its deadline,
  /// so a restart of the writer does not end a lease; anything else is replaced.
  static Result<LeaseWriter> open(const std::string& path, ServerId server);

  LeaseWriter(LeaseWriter&& other) noexcept;
  LeaseWriter& operator=(LeaseWriter&& other) noexcept;
  ~LeaseWriter();

  void set_deadline(Instant deadline);
  /// No lease from now on.
  void end() { set_deadline(Instant{}); }
  Instant deadline() const;

 private:
  explicit LeaseWriter(LeasePageLayout* page) : page_(page) {}
  LeasePageLayout* page_ = nullptr;
};

class LeaseReader {
 public:
  /// Maps the page if it is there. Without a valid page the lease counts as over.
  explicit LeaseReader(std::string path);
  LeaseReader(LeaseReader&& other) noexcept;
  LeaseReader& operator=(LeaseReader&& other) noexcept;
  ~LeaseReader();

  /// One atomic load. Instant{} (long past) without a page. A caller that holds I/O because of that calls
  /// reopen().
  Instant deadline() const {
    return page_ == nullptr ? Instant{} : Instant(Duration(page_->deadline_ns.load(std::memory_order_acquire)));
  }
  bool holds(Instant now) const { return now < deadline(); }
  bool mapped() const { return page_ != nullptr; }

  /// Looks for the page again (it may have been created or replaced since). Returns mapped().
  bool reopen();

 private:
  void unmap();

  std::string path_;
  const LeasePageLayout* page_ = nullptr;
};

}  // namespace baton
