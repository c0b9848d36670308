// GuardPage: what a guard was told, kept in a file on /run: it outlives the guard, but no reboot. Two places by turns,
// each with its number and checksum, so that a guard killed while it writes leaves the one before. One writer.
// docs/protocol.md, "Fences".
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/guard/guard_codec.h"

namespace baton::guard {

class GuardPage {
 public:
  /// Opens or creates it. Whatever cannot be read counts as nothing kept.
  static Result<GuardPage> open(const std::string& path);
  GuardPage(GuardPage&& other) noexcept;
  GuardPage& operator=(GuardPage&&) = delete;
  ~GuardPage();

  /// What was kept last; a Knowledge that grants nothing if there is none.
  Kept load() const;
  /// Error: larger than the page.
  Status keep(const Kept& kept);

 private:
  explicit GuardPage(uint8_t* memory) : memory_(memory) {}
  uint8_t* memory_ = nullptr;
};

}  // namespace baton::guard
