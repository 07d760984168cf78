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
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "thence/config/assert.hpp"
#include "thence/config/platform.hpp"
#include "thence/config/version.hpp"
#include "thence/core/view.hpp"
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

/// Writes the bytes of `value`, least significant first: one store.
template <std::unsigned_integral Word>
[[gnu::always_inline]] inline void put_little(std::byte* to, Word value) noexcept {
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(to, &value, sizeof value);
  } else {
    for (std::size_t byte = 0; byte < sizeof value; ++byte) to[byte] = static_cast<std::byte>(value >> (8 * byte));
  }
}

inline std::byte* put_fixed64(std::byte* to, std::uint64_t value) noexcept {
  put_little(to, value);
  return to + sizeof value;
}

/// Seven bits a byte of the low 56: halves, quarters and eighths of them move apart.
[[nodiscard]] constexpr std::uint64_t spread_varint(std::uint64_t value) noexcept {
  value = (value & 0x0fff'ffffu) | (value << 4 & 0x0fff'ffff'0000'0000u);
  value += (value & 0x0fff'c000'0fff'c000u) * 3;
  return value + (value & 0x3f80'3f80'3f80'3f80u);
}

/// A varint of a value below kShortVarint, without a branch on its length.
struct ShortVarint {
  std::uint32_t bytes;  ///< the first byte lowest
  std::uint32_t size;   ///< 1 or 2
};
inline constexpr std::uint64_t kShortVarint = 1 << 14;
[[nodiscard]] [[gnu::always_inline]] constexpr ShortVarint short_varint(std::uint32_t value) noexcept {
  const std::uint32_t more = (value + 0x3f80) >> 14;  // 1 from 0x80 on
  return {(value + (value & 0x3f80)) | more << 7, 1 + more};
}

/// The bit in each byte of a varint but the last.
inline constexpr std::uint64_t kMoreFollow = 0x8080'8080'8080'8080u;
/// As spread_varint(), with the bit in each byte that says that more follow.
[[nodiscard]] [[gnu::always_inline]] inline std::uint64_t spread_long_varint(std::uint64_t value) noexcept {
  if constexpr ((kIsX86_64 || kIsArm64) && std::endian::native == std::endian::little) {
    // In half the instructions: byte n is the upper half of the bytes n - 1 and n, moved up by n bits.
    using Bytes = std::uint8_t __attribute__((vector_size(16)));
    using Pairs = std::uint16_t __attribute__((vector_size(16)));
    using Words = std::uint64_t __attribute__((vector_size(16)));
    const Words bytes = {value, 0};
    const Bytes pairs = __builtin_shufflevector(Bytes(bytes << 8), Bytes(bytes), 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const Pairs moved = Pairs(pairs) * Pairs{1, 2, 4, 8, 16, 32, 64, 128};
    const Bytes upper = __builtin_shufflevector(Bytes(moved), Bytes(moved), 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return (Words(upper) | kMoreFollow)[0];
  } else {
    return spread_varint(value) | kMoreFollow;
  }
}

/// As put_varint, without a branch on the length for a value that mostly is large, such as a random one. Writes
/// kMaxVarintBytes at most, whatever the value takes.
[[gnu::always_inline]] inline std::byte* put_wide_varint(std::byte* to, std::uint64_t value) noexcept {
  if (value >> 56 != 0) [[likely]] {
    put_little(to, spread_long_varint(value));
    // Bit 63 says that there is a tenth byte, and is all there is in it.
    put_little(to + 8, static_cast<std::uint16_t>(value >> 56 | 0x100));
    return to + 9 + (value >> 63);
  }
  const std::uint64_t low = spread_varint(value);
  const unsigned last = static_cast<unsigned>(std::bit_width(low | 1) - 1) & ~7u;  // where the last byte lies
  put_little(to, low | (kMoreFollow & ((std::uint64_t{1} << last) - 1)));
  return to + last / 8 + 1;
}

/// The same for a value of kShortVarint or more.
inline std::byte* put_long_varint(std::byte* to, std::uint64_t value) noexcept {
  if (value >> 28 != 0) return put_wide_varint(to, value);
  const std::uint32_t four = value >> 21 != 0 ? 1 : 0;
  put_little(to, static_cast<std::uint32_t>(spread_varint(value)) | 0x8080u | four << 23);
  return to + 3 + four;
}

/// As put_varint, for a value that mostly is small. Writes kMaxVarintBytes at most, whatever the value takes.
[[gnu::always_inline]] inline std::byte* put_roomy_varint(std::byte* to, std::uint64_t value) noexcept {
  if (value >= kShortVarint) return put_long_varint(to, value);
  const ShortVarint varint = short_varint(static_cast<std::uint32_t>(value));
  put_little(to, static_cast<std::uint16_t>(varint.bytes));
  return to + varint.size;
}

/// Appends protobuf fields to a ByteBuffer. For what is written now and then: its functions are not inlined, so that who
/// calls them stays small. What is written with each event, PerfettoWriter::Event puts there itself.
///   Shape     no state but the buffer: several writers may take turns on one.
///   Threads   one.
///   Cost      O(bytes); closing a message of 128 bytes or more moves it once, by the size of its length.
///   When full the buffer grows.
///   Errors    those of ByteBuffer. Closing a message never asks for memory: each field leaves room for the lengths of 16
///             messages that it lies in, of up to 32 GB.
///   Lifetime  the buffer outlives the writer and its messages; messages close in reverse order.
class ProtobufWriter {
 public:
  explicit ProtobufWriter(ByteBuffer& out) noexcept : out_(&out) {}

  [[gnu::noinline]] void varint(std::uint32_t field, std::uint64_t value) {
    std::byte* to = out_->reserve(2 * kMaxVarintBytes + kLengths);
    out_->advance(put_roomy_varint(put_varint(to, protobuf_tag(field, WireType::kVarint)), value));
  }
  void int64(std::uint32_t field, std::int64_t value) { varint(field, static_cast<std::uint64_t>(value)); }
  void boolean(std::uint32_t field, bool value) { varint(field, value ? 1u : 0u); }
  [[gnu::noinline]] void fixed64(std::uint32_t field, std::uint64_t value) {
    std::byte* to = out_->reserve(kMaxVarintBytes + 8 + kLengths);
    out_->advance(put_fixed64(put_varint(to, protobuf_tag(field, WireType::kFixed64)), value));
  }
  void real(std::uint32_t field, double value) { fixed64(field, std::bit_cast<std::uint64_t>(value)); }
  void string(std::uint32_t field, std::string_view value) { bytes(field, {reinterpret_cast<const std::byte*>(value.data()), value.size()}); }
  [[gnu::noinline]] void bytes(std::uint32_t field, View<const std::byte> value) {
    std::byte* to = out_->reserve(2 * kMaxVarintBytes + value.size() + kLengths);
    to = put_varint(put_varint(to, protobuf_tag(field, WireType::kBytes)), value.size());
    if (!value.empty()) std::memcpy(to, value.data(), value.size());
    out_->advance(to + value.size());
  }
  /// Fields that were encoded before, as they are.
  void encoded(View<const std::byte> fields) {
    static_cast<void>(out_->reserve(fields.size() + kLengths));
    out_->append(fields);
  }

  /// An open nested message: what is written while it lives is its content.
  class [[nodiscard]] Message {
   public:
    [[gnu::noinline]] Message(ProtobufWriter& writer, std::uint32_t field) : out_(writer.out_) {
      std::byte* to = out_->reserve(kMaxVarintBytes + 1 + kLengths);
      to = put_varint(to, protobuf_tag(field, WireType::kBytes));
      *to = std::byte{0};  // the length, while it fits one byte
      out_->advance(to + 1);
      content_ = out_->size();
    }
    ~Message() { close(); }
    Message(const Message&) = delete;
    Message& operator=(const Message&) = delete;

    /// Fills in the length; further calls do nothing.
    [[gnu::noinline]] void close() noexcept {
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
  static constexpr std::size_t kLengths = 16 * 4;
  ByteBuffer* out_;
};

}  // namespace THENCE_ABI
}  // namespace thence
