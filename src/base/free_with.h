// Frees what a C library made: std::unique_ptr<X509, FreeWith<X509_free>>.
#pragma once

namespace baton {

template <auto free_function>
struct FreeWith {
  template <class Thing>
  void operator()(Thing* thing) const {
    free_function(thing);
  }
};

}  // namespace baton
