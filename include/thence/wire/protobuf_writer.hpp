// SPDX-License-Identifier: MIT
// protobuf_writer.hpp: protobuf's wire format, written without a library, a schema or a second pass.
//
// Fields are written in any order by their numbers. A nested message is RAII: its length is filled in when it closes.
//   ByteBuffer out;
//   ProtobufWriter writer{out};
//   {
//     auto packet = writer.message(1);
//     writer.varint(8, timestamp);
//     auto event = writer.message(11);
//     writer.string(23, "fetch");
//   }                                   // closes event, then packet
//   sink.write(out.bytes()); out.clear();
// Streaming: top-level messages stand alone, so a writer drains its buffer between two of them and needs memory for the
// largest one only, whatever the size of the file.
//
// Wire types: 0 varint, 1 eight bytes, 2 length and bytes. Tag = field << 3 | wire type, as a varint. A varint has 7 bits
// a byte, least significant first; the top bit says that another follows. int64 is a varint of its two's complement (a
// negative one takes ten bytes). Repeated scalars are written one field each (proto2's unpacked form).
// Layer: wire (includes core/ only).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "thence/config/assert.hpp"
#include "thence/config/version.hpp"
#include "thence/wire/byte_buffer.hpp"

namespace thence {
inline namespace THENCE_ABI {

inline constexpr std::size_t kMaxVarintBytes = 10;

enum class WireType : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

[[nodiscard]] constexpr std::uint64_t protobuf_tag(std::uint32_t field, WireType type) noexcept {
  return std::uint64_t{field} << 3 | static_cast<std::uint64_t>(type);
}

[[nodiscard]] constexpr std::size_t varint_size(std::uint64_t value) noexcept {
  return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}

/// Writes `value` at `to` (room for varint_size(value) bytes); returns the first byte after it.
inline std::byte* put_varint(std::byte* to, std::uint64_t value) noexcept {
  while (value >= 0x80) {
    *to++ = static_cast<std::byte>(value | 0x80);
    value >>= 7;
  }
  *to++ = static_cast<std::byte>(value);
  return to;
}

/// The same for a value that mostly is large, such as a random one: without a branch, so that its length, which cannot be
/// foretold, costs nothing. Writes kMaxVarintBytes, whatever the value takes; little-endian machines only, elsewhere as
/// put_varint.
inline std::byte* put_wide_varint(std::byte* to, std::uint64_t value) noexcept {
  if constexpr (std::endian::native != std::endian::little) return put_varint(to, value);
  const std::size_t size = varint_size(value);
  // Seven bits a byte: halves, quarters, eighths of the low 56 move apart.
  std::uint64_t low = (value & 0x0fff'ffffu) | (value & 0x00ff'ffff'f000'0000u) << 4;
  low = (low & 0x0000'3fff'0000'3fffu) | (low & 0x0fff'c000'0fff'c000u) << 2;
  low = (low & 0x007f'007f'007f'007fu) | (low & 0x3f80'3f80'3f80'3f80u) << 1;
  low |= 0x8080'8080'8080'8080u;
  const auto high = static_cast<std::uint16_t>((value >> 56 & 0x7f) | 0x80 | (value >> 63) << 8);
  std::memcpy(to, &low, sizeof low);
  std::memcpy(to + sizeof low, &high, sizeof high);
  to[size - 1] &= std::byte{0x7f};
  return to + size;
}

inline std::byte* put_fixed64(std::byte* to, std::uint64_t value) noexcept {
  for (unsigned byte = 0; byte < 8; ++byte) *to++ = static_cast<std::byte>(value >> (8 * byte));
  return to;
}

/// Appends protobuf fields to a ByteBuffer.
///   Shape     no state but the buffer: several writers may take turns on one.
///   Threads   one.
///   Cost      O(bytes); closing a message of 128 bytes or more moves it once, by the size of its length.
///   When full the buffer grows.
///   Errors    those of ByteBuffer.
///   Lifetime  the buffer outlives the writer and its messages; messages close in reverse order.
class ProtobufWriter {
 public:
  explicit ProtobufWriter(ByteBuffer& out) noexcept : out_(&out) {}

  void varint(std::uint32_t field, std::uint64_t value) {
    std::byte* to = out_->reserve(2 * kMaxVarintBytes);
    out_->advance(put_varint(put_varint(to, protobuf_tag(field, WireType::kVarint)), value));
  }
  void int64(std::uint32_t field, std::int64_t value) { varint(field, static_cast<std::uint64_t>(value)); }
  void boolean(std::uint32_t field, bool value) { varint(field, value ? 1u : 0u); }
  void fixed64(std::uint32_t field, std::uint64_t value) {
    std::byte* to = out_->reserve(kMaxVarintBytes + 8);
    out_->advance(put_fixed64(put_varint(to, protobuf_tag(field, WireType::kFixed64)), value));
  }
  void real(std::uint32_t field, double value) { fixed64(field, std::bit_cast<std::uint64_t>(value)); }
  void string(std::uint32_t field, std::string_view value) { bytes(field, std::as_bytes(std::span(value.data(), value.size()))); }
  void bytes(std::uint32_t field, std::span<const std::byte> value) {
    std::byte* to = out_->reserve(2 * kMaxVarintBytes + value.size());
    to = put_varint(put_varint(to, protobuf_tag(field, WireType::kBytes)), value.size());
    if (!value.empty()) std::memcpy(to, value.data(), value.size());
    out_->advance(to + value.size());
  }
  /// Fields that were encoded before, as they are.
  void encoded(std::span<const std::byte> fields) { out_->append(fields); }

  /// An open nested message: what is written while it lives is its content.
  class [[nodiscard]] Message {
   public:
    Message(ProtobufWriter& writer, std::uint32_t field) : out_(writer.out_) {
      std::byte* to = out_->reserve(kMaxVarintBytes + 1);
      to = put_varint(to, protobuf_tag(field, WireType::kBytes));
      *to = std::byte{0};  // the length, while it fits one byte
      out_->advance(to + 1);
      content_ = out_->size();
    }
    ~Message() { close(); }
    Message(const Message&) = delete;
    Message& operator=(const Message&) = delete;

    /// Fills in the length; further calls do nothing.
    void close() {
      if (out_ == nullptr) return;
      const std::size_t length = out_->size() - content_;
      const std::size_t extra = varint_size(length) - 1;
      if (extra != 0) out_->open_gap(content_, extra);
      put_varint(out_->data() + content_ - 1, length);
      out_ = nullptr;
    }

   private:
    ByteBuffer* out_;
    std::size_t content_;
  };

  Message message(std::uint32_t field) { return Message(*this, field); }

  [[nodiscard]] ByteBuffer& buffer() const noexcept { return *out_; }

 private:
  ByteBuffer* out_;
};

}  // namespace THENCE_ABI
}  // namespace thence
