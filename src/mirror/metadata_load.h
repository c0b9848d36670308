// Loading a metadata file: what start-up finds, and what has to be known to go on writing. Reads only; robust against
// any content: damage is survived, reported, or makes the journal unreliable. docs/disk-format.md.
#pragma once

#include "src/mirror/metadata_records.h"

namespace baton::mirror {

struct LoadedMetadata {
  StoredCopy stored;
  std::vector<std::string> warnings;  // what was found damaged and survived
  uint64_t era = 0;
  uint64_t superblock_sequence = 0;
  uint64_t activity_sequence = 0;
  uint64_t bitmap_sequence = 0;       // the highest of all pages
  uint64_t map_sequence = 0;          // the highest of all sectors of the map
  std::vector<uint8_t> map;           // one bit for each bitmap page: it may hold set bits
};

/// Loads what follows a header of the present version.
Result<LoadedMetadata> load_metadata(int fd, const std::string& path);
/// The same for version 1, of which only `stored` and `warnings` are filled: it is written anew in the present one.
Result<LoadedMetadata> load_metadata_version_1(int fd, const std::string& path, uint64_t size_blocks);

/// Shared by the versions: takes the newest valid copy's ranges of one page. `copies` may be changed.
/// Returns its sequence, 0 if there is none.
uint64_t take_bitmap_page(uint64_t page, std::span<BitmapRecord> copies, uint64_t size_blocks, const std::string& path,
                          LoadedMetadata* loaded);
/// Shared by the versions: judges the ring when its slots have been decoded. `newest` is the highest valid sequence.
void judge_activity(const std::vector<RecordCondition>& slots, bool found, uint64_t newest, uint64_t extents,
                    const std::string& path, LoadedMetadata* loaded);

}  // namespace baton::mirror
