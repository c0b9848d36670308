// LeaseReader: reads the server's lease from the page that the guard writes. A missing or odd page means no lease.
// The loop's thread.
#pragma once

#include <string>

#include "src/base/ids.h"
#include "src/base/time.h"
#include "src/os/lease_page.h"

namespace baton::mirror {

class LeaseReader {
 public:
  LeaseReader(std::string path, ServerId self);
  ~LeaseReader();
  LeaseReader(const LeaseReader&) = delete;
  LeaseReader& operator=(const LeaseReader&) = delete;

  /// Until when this server holds its lease. SAFETY: docs/protocol.md, "Leases": read at every completion, and over
  /// whenever it cannot be read.
  Instant until() const {
    if (page_ == nullptr) return Instant{};
    return Instant(Duration(page_->deadline_ns.load(std::memory_order_acquire)));
  }

  /// Looks whether the page has come, gone or been replaced. Call it every kRefresh.
  void refresh();
  static constexpr Duration kRefresh = 1s;  // a page is there for as long as the server runs

  /// Why there is no page; empty: there is one.
  const std::string& problem() const { return problem_; }

 private:
  void unmap();
  void map(int fd);

  std::string path_;
  ServerId self_;
  const LeasePageLayout* page_ = nullptr;
  uint64_t device_ = 0;
  uint64_t inode_ = 0;
  std::string problem_;
};

}  // namespace baton::mirror
