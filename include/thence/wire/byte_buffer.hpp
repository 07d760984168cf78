// SPDX-License-Identifier: MIT
// byte_buffer.hpp: bytes that a writer puts together before they go out, in one flat piece of memory that is kept.
//
// A nested message can only be prefixed with its length once it is whole, so it has to be contiguous for a moment. The
// buffer grows to the largest piece ever held and is then reused: in the steady state nothing is allocated.
//   ByteBuffer out;
//   ProtobufWriter writer{out};
//   ... write whole top-level messages ...
//   sink.write(out.bytes());
//   out.clear();                    // keeps the memory
// Layer: wire (includes core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "thence/config/assert.hpp"
#include "thence/config/version.hpp"
#include "thence/core/vector.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A growing run of bytes.
///   Shape     one allocation, doubled when it is full, never shrunk.
///   Threads   one.
///   Cost      append: O(bytes); amortised, no allocation once it has grown to what is needed.
///   When full it grows.
///   Errors    growing may throw std::bad_alloc (without exceptions: ends the program, as operator new does).
///   Lifetime  what `bytes` and `reserve` return is valid until the next call that adds.
class ByteBuffer {
 public:
  ByteBuffer() = default;
  explicit ByteBuffer(std::size_t capacity) { grow(capacity); }
  ByteBuffer(ByteBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), capacity_(std::exchange(other.capacity_, 0)) {}
  ByteBuffer& operator=(ByteBuffer&& other) noexcept {
    ByteBuffer taken(std::move(other));
    std::swap(data_, taken.data_);
    std::swap(size_, taken.size_);
    std::swap(capacity_, taken.capacity_);
    return *this;
  }
  ~ByteBuffer() { detail::release(data_, alignof(std::byte)); }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  [[nodiscard]] std::byte* data() noexcept { return data_; }
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(data_), size_};
  }

  void clear() noexcept { size_ = 0; }

  /// Room for `count` further bytes: write there, then `advance` to the first byte not written.
  [[nodiscard]] std::byte* reserve(std::size_t count) {
    if (capacity_ - size_ < count) [[unlikely]] grow(size_ + count);
    return data_ + size_;
  }
  void advance(const std::byte* end) noexcept {
    size_ = static_cast<std::size_t>(end - data_);
    THENCE_ASSERT(size_ <= capacity_);
  }

  void append(const void* bytes, std::size_t count) {
    if (count == 0) return;
    std::byte* to = reserve(count);
    std::memcpy(to, bytes, count);
    size_ += count;
  }
  void append(std::span<const std::byte> bytes) { append(bytes.data(), bytes.size()); }
  void append(std::string_view text) { append(text.data(), text.size()); }
  void push(std::byte byte) {
    *reserve(1) = byte;
    ++size_;
  }

  /// Moves what stands at `at` and after it `count` bytes to the right; the gap's content is unspecified.
  void open_gap(std::size_t at, std::size_t count) {
    THENCE_ASSERT(at <= size_);
    static_cast<void>(reserve(count));
    std::memmove(data_ + at + count, data_ + at, size_ - at);
    size_ += count;
  }

 private:
  void grow(std::size_t needed) {
    std::size_t capacity = capacity_ < 256 ? 256 : capacity_ * 2;
    if (capacity < needed) capacity = needed;
    data_ = static_cast<std::byte*>(detail::reallocate(data_, size_, capacity, alignof(std::byte)));
    capacity_ = capacity;
  }

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
