// SPDX-License-Identifier: MIT
// packet_stream.hpp: cuts the bytes of a Perfetto trace into its packets.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/damage.hpp"
#include "thence/wire/protobuf_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// The packets of a trace that is fed in pieces of any size; its first damage, and where.
///   Shape     what was fed and is no whole packet yet.
///   Threads   one.
///   Cost      O(bytes).
///   Errors    damage(); std::bad_alloc.
class PacketStream {
 public:
  explicit PacketStream(std::size_t max_packet_bytes) noexcept : max_packet_bytes_(max_packet_bytes) {}

  /// Calls on_packet(bytes) for each packet that is whole now, as long as that returns true, which it does unless it called
  /// `fail`. False: the input is damaged.
  template <class OnPacket>
  bool feed(std::span<const std::byte> bytes, OnPacket&& on_packet) {
    if (damage_) return false;
    drop_read();
    window_.append(bytes);
    const std::byte* const begin = window_.data();
    const std::byte* const end = begin + window_.size();
    while (read_ != window_.size()) {
      const std::byte* at = begin + read_;
      packet_at_ = dropped_ + read_;
      const std::uint64_t tag = take_varint(at, end);
      if (at == nullptr) return wait_or_fail(begin + read_, end, "a packet");
      if (tag >> 3 == 0 || tag >> 32 != 0) return fail(0, "a packet");
      const std::byte* const value_at = at;
      switch (static_cast<WireType>(tag & 7)) {
        case WireType::kVarint:
          static_cast<void>(take_varint(at, end));
          if (at == nullptr) return wait_or_fail(value_at, end, "another byte of a varint");
          break;
        case WireType::kFixed64:
        case WireType::kFixed32: {
          const std::ptrdiff_t count = static_cast<WireType>(tag & 7) == WireType::kFixed64 ? 8 : 4;
          if (end - at < count) return true;
          at += count;
          break;
        }
        case WireType::kBytes: {
          const std::uint64_t length = take_varint(at, end);
          if (at == nullptr) return wait_or_fail(value_at, end, "another byte of a varint");
          if (length > max_packet_bytes_) return fail(0, "a shorter packet");
          if (static_cast<std::uint64_t>(end - at) < length) return true;
          if (tag == protobuf_tag(trace::kPacket, WireType::kBytes)) {
            packet_at_ = dropped_ + static_cast<std::uint64_t>(at - begin);
            if (!on_packet(std::span(at, static_cast<std::size_t>(length)))) return false;
          }
          at += length;
          break;
        }
        default: return fail(0, "a packet");
      }
      read_ = static_cast<std::size_t>(at - begin);
    }
    return true;
  }

  /// No more comes: what is no whole packet was cut off. False: the input is damaged.
  bool finish() noexcept {
    if (!damage_ && read_ != window_.size()) damage_ = {dropped_ + window_.size(), 0, "the rest of a packet", true};
    return !damage_;
  }

  /// Notes what should have stood `offset` bytes behind the begin of the packet that is being read. False, always.
  bool fail(std::uint64_t offset, std::string_view expected) noexcept {
    if (!damage_) damage_ = {packet_at_ + offset, 0, expected, false};
    return false;
  }

  [[nodiscard]] const Damage& damage() const noexcept { return damage_; }

 private:
  void drop_read() {
    if (read_ == 0) return;
    dropped_ += read_;
    const std::size_t rest = window_.size() - read_;
    std::byte* const data = window_.data();
    if (rest != 0) std::memmove(data, data + read_, rest);
    window_.clear();
    window_.advance(data + rest);
    read_ = 0;
  }
  /// Ten bytes without an end are no varint; fewer may go on.
  bool wait_or_fail(const std::byte* at, const std::byte* end, std::string_view expected) noexcept {
    if (end - at < static_cast<std::ptrdiff_t>(kMaxVarintBytes)) return true;
    packet_at_ = dropped_ + static_cast<std::uint64_t>(at - window_.data());
    return fail(0, expected);
  }

  std::size_t max_packet_bytes_;
  ByteBuffer window_{1};
  std::size_t read_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t packet_at_ = 0;  // where the packet that is being read begins in the input
  Damage damage_;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
