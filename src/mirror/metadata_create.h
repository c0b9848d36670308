// Making a copy's metadata: a file appears under its name only when everything in it is durable; a device's header says
// "being made" until the rest is. Synchronous, at start-up.
#pragma once

#include "src/mirror/metadata_records.h"

namespace baton::mirror {

/// Makes (or atomically replaces) the file `path` with this content. `dirty` and an unreliable journal are taken over.
Status create_metadata_file(const std::string& path, const StoredCopy& content);

/// Makes metadata on the block device `fd`, which must be empty at its start or hold a half-made one of this mirror.
Status create_metadata_on_device(int fd, const std::string& path, const StoredCopy& content);

/// Takes care that `fd` can hold the metadata of so many blocks: a file's space is reserved, a device must have it.
Status make_room(int fd, const std::string& path, uint64_t size_blocks);

/// A random number that is not 0.
uint64_t new_era();

}  // namespace baton::mirror
