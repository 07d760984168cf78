// SPDX-License-Identifier: MIT
// protobuf_reader.hpp: protobuf's wire format, field by field, without a library or a schema.
//
//   ProtobufReader packet{bytes};
//   while (packet.next()) {
//     switch (packet.field()) {
//       case 8: time = packet.varint(); break;
//       case 11: read_event(packet.bytes()); break;       // a message: another reader over these bytes
//     }
//   }
//   if (packet.damaged()) ...                             // packet.offset(), packet.expected()
// A field of another wire type than expected reads as 0 or as no bytes: `is` tells. Nothing outside of the bytes is read.
// Layer: wire (includes core/ only).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/wire/protobuf_writer.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// The varint at `at`, at most up to `end`; moves `at` behind it. nullptr in `at`: cut off, or longer than ten bytes.
[[nodiscard]] inline std::uint64_t take_varint(const std::byte*& at, const std::byte* end) noexcept {
  if (at != end && static_cast<std::uint8_t>(*at) < 0x80) [[likely]] return static_cast<std::uint8_t>(*at++);
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (at == end) break;
    const auto byte = static_cast<std::uint8_t>(*at++);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;  // of the tenth byte one bit counts
    if (byte < 0x80) return value;
  }
  at = nullptr;
  return 0;
}

/// Pulls the fields of one message.
///   Shape     a view; messages nest by further readers, so depth is the caller's.
///   Threads   one.
///   Cost      O(bytes of the tags): the content of a message is not looked at.
///   Errors    next() is false at the end and at damage: see damaged().
///   Lifetime  the bytes outlive it, and what bytes() and text() return.
class ProtobufReader {
 public:
  explicit ProtobufReader(std::span<const std::byte> bytes) noexcept
      : begin_(bytes.data()), at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  /// Moves to the next field. False: there is none, or it is damaged.
  [[nodiscard]] bool next() noexcept {
    if (at_ == end_ || !expected_.empty()) return false;
    const std::byte* const start = at_;
    const std::uint64_t tag = take_varint(at_, end_);
    if (at_ == nullptr) return fail(start, "another byte of a varint");
    if (tag >> 3 == 0 || tag >> 32 != 0) return fail(start, "a field number");
    field_ = static_cast<std::uint32_t>(tag >> 3);
    type_ = static_cast<WireType>(tag & 7);
    switch (type_) {
      case WireType::kVarint: {
        const std::byte* const value = at_;
        value_ = take_varint(at_, end_);
        if (at_ == nullptr) return fail(value, "another byte of a varint");
        return true;
      }
      case WireType::kFixed64: return fixed(8);
      case WireType::kFixed32: return fixed(4);
      case WireType::kBytes: {
        const std::byte* const length = at_;
        value_ = take_varint(at_, end_);
        if (at_ == nullptr) return fail(length, "another byte of a varint");
        if (value_ > static_cast<std::uint64_t>(end_ - at_)) return fail(length, "a length within its message");
        data_ = at_;
        at_ += value_;
        return true;
      }
    }
    return fail(start, "a wire type that is in use");
  }

  [[nodiscard]] std::uint32_t field() const noexcept { return field_; }
  [[nodiscard]] WireType type() const noexcept { return type_; }
  [[nodiscard]] bool is(WireType type) const noexcept { return type_ == type; }

  /// An unsigned number, of a varint or a fixed field; 0 of a run of bytes.
  [[nodiscard]] std::uint64_t varint() const noexcept { return type_ == WireType::kBytes ? 0 : value_; }
  [[nodiscard]] std::int64_t int64() const noexcept { return static_cast<std::int64_t>(varint()); }
  [[nodiscard]] bool boolean() const noexcept { return varint() != 0; }
  [[nodiscard]] double real() const noexcept {
    if (type_ == WireType::kFixed64) return std::bit_cast<double>(value_);
    if (type_ == WireType::kFixed32) return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(value_)));
    return 0;
  }
  /// A message, a string or bytes; empty of a number.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    if (type_ != WireType::kBytes) return {};
    return {data_, static_cast<std::size_t>(value_)};
  }
  [[nodiscard]] std::string_view text() const noexcept {
    const auto content = bytes();
    return {reinterpret_cast<const char*>(content.data()), content.size()};
  }

  [[nodiscard]] bool damaged() const noexcept { return !expected_.empty(); }
  /// What should have stood at offset(); empty: no damage.
  [[nodiscard]] std::string_view expected() const noexcept { return expected_; }
  /// From the message's first byte.
  [[nodiscard]] std::size_t offset() const noexcept { return static_cast<std::size_t>((damaged() ? broken_ : at_) - begin_); }

 private:
  bool fixed(unsigned count) noexcept {
    if (static_cast<std::size_t>(end_ - at_) < count) {
      return fail(at_, count == 8 ? "eight bytes of a number" : "four bytes of a number");
    }
    value_ = 0;
    for (unsigned byte = 0; byte < count; ++byte) {
      value_ |= std::uint64_t{static_cast<std::uint8_t>(at_[byte])} << (8 * byte);
    }
    at_ += count;
    return true;
  }
  bool fail(const std::byte* at, std::string_view expected) noexcept {
    broken_ = at;
    at_ = end_;
    expected_ = expected;
    return false;
  }

  const std::byte* begin_;
  const std::byte* at_;
  const std::byte* end_;
  const std::byte* data_ = nullptr;
  const std::byte* broken_ = nullptr;
  std::uint64_t value_ = 0;
  std::uint32_t field_ = 0;
  WireType type_ = WireType::kVarint;
  std::string_view expected_;
};

}  // namespace THENCE_ABI
}  // namespace thence
