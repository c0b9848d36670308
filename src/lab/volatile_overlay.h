// What a volatile disk holds of one file in memory: the pages written since the file's last sync. At a power
// cut each is dropped, kept or torn, at random from a seed. Not thread-safe: the file's lock guards it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <span>

namespace baton::lab {

inline constexpr uint64_t kPageSize = 4096;
inline constexpr uint64_t kSectorSize = 512;

/// What a power cut made of unsynced pages.
struct Losses {
  uint64_t unsynced = 0;  // pages in all
  uint64_t dropped = 0;
  uint64_t kept = 0;
  uint64_t torn = 0;
  uint64_t cut_back = 0;  // files that lost an unsynced growth
};

/// The unsynced pages of one file over its backing file. Functions that do I/O return 0 or an errno.
class VolatileOverlay {
 public:
  bool empty() const { return pages_.empty(); }
  uint64_t bytes() const { return pages_.size() * kPageSize; }

  /// Keeps `data` at `offset`; a page written in part takes its rest from `backing`.
  int write(int backing, uint64_t offset, std::span<const char> data);
  /// Lays unsynced pages over what was read from the backing file at `offset`.
  void cover(uint64_t offset, std::span<char> data) const;
  /// The file was cut to `size`, or grew to it.
  void resize(uint64_t size);
  /// A range has become zeroes in the backing file.
  void zero(uint64_t offset, uint64_t length);
  /// Writes every page, up to the file's size, to the backing file, and forgets them.
  int flush(int backing, uint64_t size);
  /// A power cut: each page's fate is drawn from `random`; nothing is kept in memory afterwards.
  int lose(int backing, uint64_t size, std::mt19937_64& random, Losses& losses);

 private:
  struct Page {
    char data[kPageSize];
  };
  std::map<uint64_t, std::unique_ptr<Page>> pages_;  // by page number
};

}  // namespace baton::lab
