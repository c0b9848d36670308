// BATON_ASSERT: a check for bugs (never for bad input) that stays on in every build. Any thread.
#pragma once

namespace baton {

/// Prints the failed condition with its place and aborts: a program with a broken invariant must not go on
/// to acknowledge anything.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace baton

#define BATON_ASSERT(condition) \
  (static_cast<bool>(condition) ? void(0) : ::baton::assertion_failed(#condition, __FILE__, __LINE__))
