// Strong id types: a server's number cannot be mistaken for an epoch. Plain values, any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <fmt/format.h>

namespace baton {

template <class Tag, class Number>
struct StrongId {
  Number value{};

  constexpr StrongId() = default;
  constexpr explicit StrongId(Number number) : value(number) {}
  constexpr auto operator<=>(const StrongId&) const = default;
};

/// A server or the witness: the number in the configuration, 1 to 64; also corosync's node id. 0 is nobody.
using ServerId = StrongId<struct ServerIdTag, uint32_t>;

/// An epoch of the cluster database (docs/protocol.md, "Epochs"). 0 is before the first.
using Epoch = StrongId<struct EpochTag, uint64_t>;

/// The number given to a mirror's primary at each promotion (docs/protocol.md, "Permits"). 0 is never promoted.
using Permit = StrongId<struct PermitTag, uint64_t>;

/// A mirror copy's incarnation: rises at each start after an unclean stop. 0 is never started.
using Incarnation = StrongId<struct IncarnationTag, uint64_t>;

}  // namespace baton

template <class Tag, class Number>
struct std::hash<baton::StrongId<Tag, Number>> {
  size_t operator()(const baton::StrongId<Tag, Number>& id) const { return std::hash<Number>()(id.value); }
};

template <class Tag, class Number>
struct fmt::formatter<baton::StrongId<Tag, Number>> : fmt::formatter<Number> {
  template <class Context>
  auto format(const baton::StrongId<Tag, Number>& id, Context& context) const {
    return fmt::formatter<Number>::format(id.value, context);
  }
};
