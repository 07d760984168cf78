// SPDX-License-Identifier: MIT
// vector.hpp: the part of std::vector that the library itself needs, at a tenth of what that costs who compiles it.
//
// Each element type of a std::vector makes some sixty functions, and a session with one sink has forty such types: they were
// half of all functions that a compiler saw. Here a type makes the few that it uses, and those that move memory are shared.
//
//   detail::Vector<Entry> entries;
//   entries.push_back({offset, length});
//
// Layer: core (includes config/ only).
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace detail {

inline constexpr bool has_to_align(std::size_t align) noexcept { return align > __STDCPP_DEFAULT_NEW_ALIGNMENT__; }
[[nodiscard]] inline void* allocate(std::size_t bytes, std::size_t align) {
  return has_to_align(align) ? ::operator new(bytes, std::align_val_t{align}) : ::operator new(bytes);
}
inline void release(void* memory, std::size_t align) noexcept {
  if (has_to_align(align)) {  // not by ?: of which clang 14 runs both sides
    ::operator delete(memory, std::align_val_t{align});
  } else {
    ::operator delete(memory);
  }
}
/// The first `used` of `bytes` bytes are those of `memory`, which is given back.
[[nodiscard, gnu::noinline]] inline void* reallocate(void* memory, std::size_t used, std::size_t bytes, std::size_t align) {
  void* const grown = allocate(bytes, align);
  if (used != 0) std::memcpy(grown, memory, used);
  release(memory, align);
  return grown;
}

/// A growing row of values in one piece of memory. What it has of std::vector is named as there.
///   Threads   one
///   Cost      as std::vector; it doubles, and never shrinks
///   Errors    what adds may throw std::bad_alloc, and what an element's constructor throws; the elements that were there stay
///   Lifetime  what adds may move all of it. What is added must not be one of its own elements
template <class T>
class Vector {
 public:
  Vector() noexcept = default;
  explicit Vector(std::size_t count) : Vector() { resize(count); }
  Vector(Vector&& other) noexcept { swap(other); }
  Vector& operator=(Vector&& other) noexcept {
    Vector taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~Vector() {
    clear();
    release(data_, alignof(T));
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] const T* data() const noexcept { return data_; }
  [[nodiscard]] T* begin() noexcept { return data_; }
  [[nodiscard]] const T* begin() const noexcept { return data_; }
  [[nodiscard]] T* end() noexcept { return data_ + size_; }
  [[nodiscard]] const T* end() const noexcept { return data_ + size_; }
  [[nodiscard]] T& operator[](std::size_t at) noexcept { return data_[at]; }
  [[nodiscard]] const T& operator[](std::size_t at) const noexcept { return data_[at]; }
  [[nodiscard]] T& front() noexcept { return data_[0]; }
  [[nodiscard]] const T& front() const noexcept { return data_[0]; }
  [[nodiscard]] T& back() noexcept { return data_[size_ - 1]; }
  [[nodiscard]] const T& back() const noexcept { return data_[size_ - 1]; }

  template <class... Parts>
  T& emplace_back(Parts&&... parts) {
    if (size_ == capacity_) [[unlikely]] grow(size_ + 1);
    T* const added = ::new (static_cast<void*>(data_ + size_)) T(std::forward<Parts>(parts)...);
    ++size_;
    return *added;
  }
  void push_back(const T& value) { emplace_back(value); }
  void push_back(T&& value) { emplace_back(std::move(value)); }
  void pop_back() noexcept { data_[--size_].~T(); }
  void clear() noexcept { shrink(0); }
  void reserve(std::size_t count) {
    if (count > capacity_) move_to(count);
  }
  template <class... Parts>
  void resize(std::size_t count, const Parts&... parts) {
    if (count > capacity_) grow(count);
    for (; size_ < count; ++size_) ::new (static_cast<void*>(data_ + size_)) T(parts...);
    shrink(count);
  }

  /// Before `at`, which is one of its places.
  void insert(T* at, T value) {
    const auto index = at - data_;
    emplace_back(std::move(value));
    T added = std::move(back());
    T* to = end() - 1;
    for (; to != data_ + index; --to) *to = std::move(to[-1]);
    *to = std::move(added);
  }
  void erase(T* first, T* last) noexcept {
    if (first == last) return;
    while (last != end()) *first++ = std::move(*last++);
    shrink(static_cast<std::size_t>(first - data_));
  }
  void erase(T* at) noexcept { erase(at, at + 1); }
  template <class Predicate>
  void erase_if(Predicate&& gone) {
    T* kept = data_;
    for (T& value : *this) {
      if (gone(value)) continue;
      if (kept != &value) *kept = std::move(value);
      ++kept;
    }
    shrink(static_cast<std::size_t>(kept - data_));
  }
  void swap(Vector& other) noexcept {
    T* const data = other.data_;  // std::swap makes a dozen classes for each T*
    other.data_ = data_;
    data_ = data;
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  [[gnu::noinline]] void grow(std::size_t needed) { move_to(needed > 2 * capacity_ ? needed : 2 * capacity_); }

  void move_to(std::size_t capacity) {
    constexpr std::size_t kMost = static_cast<std::size_t>(-1) / 2 / sizeof(T);
    if (capacity > kMost) capacity = kMost;  // which no allocator has: it throws
    if constexpr (__is_trivially_copyable(T)) {  // the compilers' own: <type_traits> makes three classes of it for each T
      data_ = static_cast<T*>(reallocate(data_, size_ * sizeof(T), capacity * sizeof(T), alignof(T)));
    } else {
      static_assert(noexcept(T(std::move(*data_))));
      T* const moved = static_cast<T*>(allocate(capacity * sizeof(T), alignof(T)));
      for (std::size_t at = 0; at != size_; ++at) {
        ::new (static_cast<void*>(moved + at)) T(std::move(data_[at]));
        data_[at].~T();
      }
      release(data_, alignof(T));
      data_ = moved;
    }
    capacity_ = capacity;
  }
  void shrink(std::size_t count) noexcept {
    if constexpr (__is_trivially_copyable(T)) {  // so nothing is done where it ends
      size_ = count;
    } else {
      while (size_ != count) pop_back();
    }
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace detail
}  // namespace THENCE_ABI
}  // namespace thence
