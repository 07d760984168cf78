// SPDX-License-Identifier: MIT
// view.hpp: the part of std::span that the library itself needs, at a twentieth of what that costs who compiles it.
//
// Each element type of a std::span that is made or cut has the compiler prove that a pointer is an iterator: for the nine types
// that go through a session more than half as much work as all the rest of thence.hpp. A View is made of whatever has its
// elements in a row, and a std::span is made of a View: a host may write either in its sinks.
//
//   void take(View<const TraceEvent> events);    // or std::span<const TraceEvent>
//   tracer.intern_native_stack(words);           // an array, a std::vector, a std::span, ...
//
// Layer: core (includes config/ only).
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Elements in a row that someone else owns. What it has of std::span is named, and bounded by contract, as there.
///   Lifetime  as that of what it was made of
template <class T>
class View {
 public:
  constexpr View() noexcept = default;
  constexpr View(T* data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <std::size_t Size>
  constexpr View(T (&row)[Size]) noexcept : View(row, Size) {}
  /// Of another's elements, to be read only.
  template <class Row>
    requires requires(const Row& row) {
      requires std::is_same_v<T, const std::remove_pointer_t<decltype(row.data())>>;
      row.size();
    }
  constexpr View(const Row& row) noexcept : View(row.data(), row.size()) {}

  [[nodiscard]] constexpr T* data() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr std::size_t size_bytes() const noexcept { return size_ * sizeof(T); }
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] constexpr T* begin() const noexcept { return data_; }
  [[nodiscard]] constexpr T* end() const noexcept { return data_ + size_; }
  [[nodiscard]] constexpr T& operator[](std::size_t at) const noexcept { return data_[at]; }
  [[nodiscard]] constexpr T& front() const noexcept { return data_[0]; }
  [[nodiscard]] constexpr T& back() const noexcept { return data_[size_ - 1]; }

  [[nodiscard]] constexpr View first(std::size_t count) const noexcept { return {data_, count}; }
  [[nodiscard]] constexpr View last(std::size_t count) const noexcept { return {end() - count, count}; }
  [[nodiscard]] constexpr View subspan(std::size_t at) const noexcept { return {data_ + at, size_ - at}; }
  [[nodiscard]] constexpr View subspan(std::size_t at, std::size_t count) const noexcept { return {data_ + at, count}; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

/// So many characters as a text. (Of a char* that is not const, std::string_view too asks whether it is an iterator.)
[[nodiscard]] constexpr std::string_view text_at(const char* characters, std::size_t count) noexcept { return {characters, count}; }

}  // namespace THENCE_ABI
}  // namespace thence
