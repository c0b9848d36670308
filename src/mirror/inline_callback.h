// InlineCallback: a move-only function object kept inside its owner, so that beginning an I/O allocates nothing.
// Plain value, the loop's thread.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace baton::mirror {

/// Holds a callable `void(int)` of at most kCapacity bytes; a larger one does not compile.
class InlineCallback {
 public:
  static constexpr size_t kCapacity = 48;

  InlineCallback() = default;
  template <class Callable>
    requires(!std::is_same_v<std::remove_cvref_t<Callable>, InlineCallback> && std::is_invocable_v<Callable&, int>)
  InlineCallback(Callable&& callable) {  // NOLINT: meant to convert
    using Stored = std::remove_cvref_t<Callable>;
    static_assert(sizeof(Stored) <= kCapacity, "the callback captures too much");
    static_assert(alignof(Stored) <= alignof(std::max_align_t));
    static_assert(std::is_nothrow_move_constructible_v<Stored>);
    new (storage_) Stored(std::forward<Callable>(callable));
    operations_ = &kOperations<Stored>;
  }
  InlineCallback(InlineCallback&& other) noexcept { take(other); }
  InlineCallback& operator=(InlineCallback&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~InlineCallback() { reset(); }

  explicit operator bool() const { return operations_ != nullptr; }
  void operator()(int result) { operations_->invoke(storage_, result); }

 private:
  struct Operations {
    void (*invoke)(void*, int);
    void (*move)(void*, void*);
    void (*destroy)(void*);
  };
  template <class Stored>
  static constexpr Operations kOperations = {
      [](void* self, int result) { (*static_cast<Stored*>(self))(result); },
      [](void* to, void* from) { new (to) Stored(std::move(*static_cast<Stored*>(from))); },
      [](void* self) { static_cast<Stored*>(self)->~Stored(); },
  };

  void reset() {
    if (operations_ != nullptr) operations_->destroy(storage_);
    operations_ = nullptr;
  }
  void take(InlineCallback& other) {
    if (other.operations_ == nullptr) return;
    other.operations_->move(storage_, other.storage_);
    operations_ = other.operations_;
    other.reset();
  }

  alignas(std::max_align_t) unsigned char storage_[kCapacity];
  const Operations* operations_ = nullptr;
};

}  // namespace baton::mirror
