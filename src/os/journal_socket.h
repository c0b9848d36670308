// JournalSocket: entries with fields for systemd's journal, by its native protocol: a datagram each, no library. Never blocks. One thread:
// the loop's.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/os/owned_fd.h"

namespace baton {

using JournalFields = std::vector<std::pair<std::string, std::string>>;  // NAME, value; a name may stand there more than once

/// As the journal wants it: NAME=value, or, where the value has lines, NAME, its length in 64 bits, and the value.
std::string encode_journal_entry(const JournalFields& fields);

class JournalSocket {
 public:
  explicit JournalSocket(std::string path = "/run/systemd/journal/socket");

  /// False: there is no journal, or it does not keep up.
  bool send(const JournalFields& fields);

 private:
  std::string path_;
  OwnedFd socket_;
};

/// Whether what this process prints is in the journal already (systemd says so in JOURNAL_STREAM).
bool prints_into_journal();

}  // namespace baton
