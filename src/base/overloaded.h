// Overloaded: one visitor of a variant from several lambdas. Any thread.
#pragma once

namespace baton {

template <class... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
template <class... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

}  // namespace baton
