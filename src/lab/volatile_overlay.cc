// The unsynced pages of one file; see volatile_overlay.h. The file's lock guards it.
#include "src/lab/volatile_overlay.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace baton::lab {
namespace {

constexpr size_t kFlushRun = 256;  // pages in one pwritev

int read_page(int backing, uint64_t number, char* into) {
  memset(into, 0, kPageSize);
  uint64_t done = 0;
  while (done < kPageSize) {
    ssize_t count = pread(backing, into + done, kPageSize - done, off_t(number * kPageSize + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    if (count == 0) break;
    done += uint64_t(count);
  }
  return 0;
}

int write_all(int backing, std::vector<iovec> parts, uint64_t offset) {
  size_t first = 0;
  while (first < parts.size()) {
    ssize_t count = pwritev(backing, &parts[first], int(parts.size() - first), off_t(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    if (count == 0) return EIO;
    offset += uint64_t(count);
    while (first < parts.size() && size_t(count) >= parts[first].iov_len)
      count -= ssize_t(parts[first++].iov_len);
    if (first < parts.size()) {
      parts[first].iov_base = static_cast<char*>(parts[first].iov_base) + count;
      parts[first].iov_len -= size_t(count);
    }
  }
  return 0;
}

}  // namespace

int VolatileOverlay::write(int backing, uint64_t offset, std::span<const char> data) {
  while (!data.empty()) {
    uint64_t number = offset / kPageSize, within = offset % kPageSize;
    uint64_t count = std::min<uint64_t>(kPageSize - within, data.size());
    auto& page = pages_[number];
    if (!page) {
      std::unique_ptr<Page> fresh(new Page);  // not zeroed: a whole page is about to be written
      if (count < kPageSize) {
        if (int error = read_page(backing, number, fresh->data); error != 0) {
          pages_.erase(number);
          return error;
        }
      }
      page = std::move(fresh);
    }
    memcpy(page->data + within, data.data(), count);
    data = data.subspan(count);
    offset += count;
  }
  return 0;
}

void VolatileOverlay::cover(uint64_t offset, std::span<char> data) const {
  uint64_t end = offset + data.size();
  for (auto it = pages_.lower_bound(offset / kPageSize); it != pages_.end(); ++it) {
    uint64_t start = it->first * kPageSize;
    if (start >= end) break;
    uint64_t from = std::max(start, offset), until = std::min(start + kPageSize, end);
    memcpy(data.data() + (from - offset), it->second->data + (from - start), until - from);
  }
}

void VolatileOverlay::resize(uint64_t size) {
  pages_.erase(pages_.lower_bound((size + kPageSize - 1) / kPageSize), pages_.end());
  if (auto last = pages_.find(size / kPageSize); last != pages_.end()) {
    memset(last->second->data + size % kPageSize, 0, kPageSize - size % kPageSize);
  }
}

void VolatileOverlay::zero(uint64_t offset, uint64_t length) {
  uint64_t end = offset + length;
  for (auto it = pages_.lower_bound(offset / kPageSize); it != pages_.end();) {
    uint64_t start = it->first * kPageSize;
    if (start >= end) break;
    uint64_t from = std::max(start, offset), until = std::min(start + kPageSize, end);
    if (until - from == kPageSize) {
      it = pages_.erase(it);
      continue;
    }
    memset(it->second->data + (from - start), 0, until - from);
    ++it;
  }
}

int VolatileOverlay::flush(int backing, uint64_t size) {
  auto it = pages_.begin();
  while (it != pages_.end()) {
    uint64_t first = it->first;
    std::vector<iovec> run;
    for (; it != pages_.end() && it->first == first + run.size() && run.size() < kFlushRun; ++it) {
      uint64_t start = it->first * kPageSize;
      if (start >= size) break;
      run.push_back({it->second->data, std::min(kPageSize, size - start)});
    }
    if (run.empty()) break;
    if (int error = write_all(backing, run, first * kPageSize); error != 0) return error;
  }
  pages_.clear();
  return 0;
}

int VolatileOverlay::lose(int backing, uint64_t size, std::mt19937_64& random, Losses& losses) {
  int result = 0;
  for (auto& [number, page] : pages_) {
    losses.unsynced++;
    uint64_t fate = random() % 3;
    if (fate == 0) {
      losses.dropped++;
      continue;
    }
    if (fate == 2) {
      // Torn: the sectors before a boundary are new and the rest old, or the other way round.
      Page old;
      if (int error = read_page(backing, number, old.data); error != 0) result = error;
      uint64_t boundary = (1 + random() % (kPageSize / kSectorSize - 1)) * kSectorSize;
      bool head_is_new = random() % 2 == 0;
      if (head_is_new) {
        memcpy(page->data + boundary, old.data + boundary, kPageSize - boundary);
      } else {
        memcpy(page->data, old.data, boundary);
      }
    }
    (fate == 1 ? losses.kept : losses.torn)++;
    uint64_t start = number * kPageSize;
    if (start >= size) continue;
    iovec whole{page->data, std::min(kPageSize, size - start)};
    if (int error = write_all(backing, {whole}, start); error != 0) result = error;
  }
  pages_.clear();
  return result;
}

}  // namespace baton::lab
