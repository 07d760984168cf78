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
#include <string_view>
#include <utility>

#include "thence/config/assert.hpp"
#include "thence/config/version.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"

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
      : data_(std::exchange(other.data_, nullptr)), end_(std::exchange(other.end_, nullptr)), limit_(std::exchange(other.limit_, nullptr)) {}
  ByteBuffer& operator=(ByteBuffer&& other) noexcept {
    ByteBuffer taken(std::move(other));
    std::swap(data_, taken.data_);
    std::swap(end_, taken.end_);
    std::swap(limit_, taken.limit_);
    return *this;
  }
  ~ByteBuffer() { detail::release(data_, alignof(std::byte)); }

  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(end_ - data_); }
  [[nodiscard]] bool empty() const noexcept { return end_ == data_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return static_cast<std::size_t>(limit_ - data_); }
  [[nodiscard]] View<const std::byte> bytes() const noexcept { return {data_, size()}; }
  [[nodiscard]] std::byte* data() noexcept { return data_; }
  /// Where the next byte goes.
  [[nodiscard]] std::byte* end() noexcept { return end_; }
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(data_), size()};
  }

  void clear() noexcept { end_ = data_; }

  /// Room for `count` further bytes: write there, then `advance` to the first byte not written.
  [[nodiscard]] std::byte* reserve(std::size_t count) {
    if (static_cast<std::size_t>(limit_ - end_) < count) [[unlikely]] grow(size() + count);
    return end_;
  }
  void advance(std::byte* end) noexcept {
    THENCE_ASSERT(data_ <= end && end <= limit_);
    end_ = end;
  }

  void append(const void* bytes, std::size_t count) {
    if (count == 0) return;
    std::byte* to = reserve(count);
    std::memcpy(to, bytes, count);
    end_ += count;
  }
  void append(View<const std::byte> bytes) { append(bytes.data(), bytes.size()); }
  void append(std::string_view text) { append(text.data(), text.size()); }
  void push(std::byte byte) {
    *reserve(1) = byte;
    ++end_;
  }

  /// Moves what stands at `at` and after it `count` bytes to the right; the gap's content is unspecified.
  void open_gap(std::size_t at, std::size_t count) {
    THENCE_ASSERT(at <= size());
    static_cast<void>(reserve(count));
    std::memmove(data_ + at + count, data_ + at, size() - at);
    end_ += count;
  }

 private:
  void grow(std::size_t needed) {
    const std::size_t used = size();
    std::size_t room = capacity() < 256 ? 256 : capacity() * 2;
    if (room < needed) room = needed;
    data_ = static_cast<std::byte*>(detail::reallocate(data_, used, room, alignof(std::byte)));
    end_ = data_ + used;
    limit_ = data_ + room;
  }

  std::byte* data_ = nullptr;
  std::byte* end_ = nullptr;    // of what is there
  std::byte* limit_ = nullptr;  // of the memory
};

}  // namespace THENCE_ABI
}  // namespace thence
