// SPDX-License-Identifier: MIT
// kept_annotations.hpp: annotations of open resources, kept for the ends of their slices.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"
#include "thence/wire/byte_buffer.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// Annotations by the place of their resource.
///   Shape     24 bytes each, its text, and its key where that has no number.
///   Threads   one.
///   Cost      O(bytes); no allocation once a place has had as many.
///   When full add() is false.
///   Errors    std::bad_alloc.
class KeptAnnotations {
 public:
  explicit KeptAnnotations(std::size_t max_bytes) noexcept : max_bytes_(max_bytes) {}

  /// Keeps one more, or the `first` one, of a resource. `key`: the number of its key; 0: it has none. False: that is more than
  /// `max_bytes` of one resource.
  [[nodiscard]] bool add(std::uint32_t place, bool first, std::uint32_t key, const Annotation& annotation) {
    if (of_.size() <= place) of_.resize(std::size_t{place} + 1 + of_.size() / 2);
    ByteBuffer& out = of_[place];
    if (first) out.clear();
    const Value& value = annotation.value;
    const std::string_view text = value.kind == ValueKind::kString ? value.text : std::string_view{};
    Head head;
    head.key = key;
    head.key_size = static_cast<std::uint32_t>(key == 0 ? annotation.key.size() : 0);
    head.kind = value.kind;
    head.cut = value.cut;
    switch (value.kind) {
      case ValueKind::kString: head.bits = text.size(); break;
      case ValueKind::kInt: head.bits = static_cast<std::uint64_t>(value.integer); break;
      case ValueKind::kUint: head.bits = value.uinteger; break;
      case ValueKind::kDouble: head.bits = std::bit_cast<std::uint64_t>(value.real); break;
      case ValueKind::kBool: head.bits = value.boolean ? 1 : 0; break;
    }
    const std::size_t size = sizeof head + head.key_size + text.size();
    if (out.size() + size > max_bytes_) return false;
    std::byte* to = out.reserve(size);
    std::memcpy(to, &head, sizeof head);
    to += sizeof head;
    if (head.key_size != 0) std::memcpy(to, annotation.key.data(), head.key_size);
    to += head.key_size;
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    out.advance(to + text.size());
    return true;
  }

  /// Calls put(key, key_text, value) for each, in order; `key_text` is empty where the key has a number.
  template <class Put>
  void each(std::uint32_t place, Put&& put) const {
    std::string_view rest = of_[place].text();
    const auto take = [&](std::size_t count) {
      const std::string_view taken = rest.substr(0, count);
      rest.remove_prefix(count);
      return taken;
    };
    while (!rest.empty()) {
      Head head;
      std::memcpy(&head, take(sizeof head).data(), sizeof head);
      const std::string_view key_text = take(head.key_size);
      Value value;
      value.kind = head.kind;
      value.cut = head.cut;
      switch (head.kind) {
        case ValueKind::kString: value.text = take(static_cast<std::size_t>(head.bits)); break;
        case ValueKind::kInt: value.integer = static_cast<std::int64_t>(head.bits); break;
        case ValueKind::kUint: value.uinteger = head.bits; break;
        case ValueKind::kDouble: value.real = std::bit_cast<double>(head.bits); break;
        case ValueKind::kBool: value.boolean = head.bits != 0; break;
      }
      put(head.key, key_text, value);
    }
  }

 private:
  struct Head {
    std::uint64_t bits = 0;  // the value; of a string its size
    std::uint32_t key = 0;
    std::uint32_t key_size = 0;
    ValueKind kind = ValueKind::kString;
    bool cut = false;
  };

  std::size_t max_bytes_;
  detail::Vector<ByteBuffer> of_;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
