// The lab's state file /run/baton-lab/state.json, rewritten atomically, and the lock that lets one lab command
// change the lab at a time. One thread.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/lab/lab_model.h"

namespace baton::lab {

std::string encode_state(const Lab& lab);
Result<Lab> decode_state(const std::string& text);

/// The lab that is up; kNotFound, with advice, when there is none.
Result<Lab> load_state();
/// Writes a new file beside the old one and renames it over it.
Status save_state(const Lab& lab);

/// Held while a command changes the lab; leaves no file behind. Released by the destructor or by the end of the
/// process.
class LabLock {
 public:
  LabLock() = default;
  LabLock(LabLock&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  LabLock& operator=(LabLock&&) = delete;
  ~LabLock();
  /// Waits at most 60 s for another lab command to end.
  static Result<LabLock> take();

 private:
  int descriptor_ = -1;
};

/// Small files: whole content, or an error that names the file.
Result<std::string> read_file(const std::string& path);
Status write_file(const std::string& path, const std::string& content, unsigned mode = 0644);
/// mkdir -p.
Status make_directories(const std::string& path);

}  // namespace baton::lab
