// Result<T>: a value or an error that a person can act on. Used for everything that can go wrong outside the
// program; bugs are BATON_ASSERTs. Plain values, any thread.
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace baton {

/// Codes exist only where a caller acts on them; the rest is context text.
enum class ErrorCode {
  kFailed,       // nothing a caller could do better than report it
  kNotFound,     // the named thing does not exist
  kInvalid,      // the input is wrong; the message says where and what to do
  kConflict,     // decided from a state that has changed since: look again
  kUnavailable,  // cannot be done now (no majority, peer away): may work later
  kTimeout,      // a deadline passed
  kNoSpace,      // a disk is full
};

/// What went wrong, where, and what to do, in one or a few sentences.
struct Error {
  ErrorCode code = ErrorCode::kFailed;
  std::string message;
};

template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

using Status = Result<void>;

/// An error result with a formatted message: `return fail("cannot open {}: {}", path, reason);`
template <class... Args>
tl::unexpected<Error> fail(fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{ErrorCode::kFailed, fmt::format(format, std::forward<Args>(args)...)});
}

template <class... Args>
tl::unexpected<Error> fail_as(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

/// Passes an error of `result` on, unchanged.
template <class T>
tl::unexpected<Error> pass(const Result<T>& result) {
  return tl::unexpected<Error>(result.error());
}

}  // namespace baton
