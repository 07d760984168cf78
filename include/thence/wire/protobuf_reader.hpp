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

/// A varint and the first byte behind it; nullptr: cut off, or longer than ten bytes.
struct Varint {
  std::uint64_t value = 0;
  const std::byte* next = nullptr;
};

/// A varint of three bytes or more: without a branch on its length, which is as random as hashes and times are.
[[nodiscard]] inline Varint take_long_varint(const std::byte* at, const std::byte* end) noexcept {
  std::uint64_t value = 0;
  if constexpr (std::endian::native == std::endian::little) {
    if (end - at >= static_cast<std::ptrdiff_t>(kMaxVarintBytes)) [[likely]] {
      std::memcpy(&value, at, 8);
      const std::uint64_t stops = ~value & 0x8080'8080'8080'8080u;
      value &= stops ^ (stops - 1);  // up to the first byte that ends it; all of them where none does
      value = (value & 0x007f'007f'007f'007fu) | (value & 0x7f00'7f00'7f00'7f00u) >> 1;
      value = (value & 0x0000'3fff'0000'3fffu) | (value & 0x3fff'0000'3fff'0000u) >> 2;
      value = (value & 0x0000'0000'0fff'ffffu) | (value & 0x0fff'ffff'0000'0000u) >> 4;
      if (stops != 0) return {value, at + (std::countr_zero(stops) + 1) / 8};
      const auto ninth = static_cast<std::uint8_t>(at[8]), tenth = static_cast<std::uint8_t>(at[9]);
      if ((ninth & tenth) >= 0x80) [[unlikely]] return {};
      const unsigned has_tenth = ninth >> 7;
      value |= std::uint64_t{ninth & 0x7fu} << 56 | std::uint64_t{tenth & has_tenth} << 63;  // of the tenth byte one bit counts
      return {value, at + 9 + has_tenth};
    }
  }
  for (unsigned shift = 0; shift < 70 && at != end; shift += 7) {
    const auto byte = static_cast<std::uint8_t>(*at++);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return {value, at};
  }
  return {};
}

/// The varint at `at`, at most up to `end`; moves `at` behind it. nullptr in `at`: cut off, or longer than ten bytes.
[[nodiscard]] [[gnu::always_inline]] inline std::uint64_t take_varint(const std::byte*& at, const std::byte* end) noexcept {
  if (end - at >= 2) [[likely]] {
    const auto first = static_cast<std::uint8_t>(at[0]), second = static_cast<std::uint8_t>(at[1]);
    if (first < 0x80) {
      at += 1;
      return first;
    }
    if (second < 0x80) {
      at += 2;
      return (first & 0x7fu) | static_cast<unsigned>(second) << 7;
    }
  }
  const Varint varint = take_long_varint(at, end);
  at = varint.next;
  return varint.value;
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

  /// Moves to the next field. False: there is none, or it is damaged. Inlined by force: a reader that lies in memory and not in
  /// registers makes each field wait for the store of the one before it.
  [[nodiscard]] [[gnu::always_inline]] bool next() noexcept {
    if (at_ == end_) return false;
    const std::byte* at = at_;
    const std::uint64_t tag = take_varint(at, end_);
    if (at == nullptr) [[unlikely]] return fail(at_, "another byte of a varint");
    if (tag - 8 >= (std::uint64_t{1} << 32) - 8) [[unlikely]] return fail(at_, "a field number");
    field_ = static_cast<std::uint32_t>(tag >> 3);
    type_ = static_cast<WireType>(tag & 7);
    const std::byte* const value_at = at;
    switch (type_) {
      case WireType::kVarint:
        value_ = take_varint(at, end_);
        if (at == nullptr) [[unlikely]] return fail(value_at, "another byte of a varint");
        break;
      case WireType::kBytes:
        value_ = take_varint(at, end_);
        if (at == nullptr) [[unlikely]] return fail(value_at, "another byte of a varint");
        if (value_ > static_cast<std::uint64_t>(end_ - at)) [[unlikely]] return fail(value_at, "a length within its message");
        data_ = at;
        at += value_;
        break;
      case WireType::kFixed64:
        if (end_ - at < 8) return fail(at, "eight bytes of a number");
        value_ = 0;
        for (unsigned byte = 0; byte < 8; ++byte) value_ |= std::uint64_t{static_cast<std::uint8_t>(*at++)} << (8 * byte);
        break;
      case WireType::kFixed32:
        if (end_ - at < 4) return fail(at, "four bytes of a number");
        value_ = 0;
        for (unsigned byte = 0; byte < 4; ++byte) value_ |= std::uint64_t{static_cast<std::uint8_t>(*at++)} << (8 * byte);
        break;
      default: return fail(at_, "a wire type that is in use");
    }
    at_ = at;
    return true;
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
