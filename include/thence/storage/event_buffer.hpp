// SPDX-License-Identifier: MIT
// event_buffer.hpp: what a tracer writes its events into, and in what form they come out again.
//
// Two buffers satisfy `EventBuffer`. A RingBuffer hands everything to a reader that keeps up, and keeps the oldest when it
// does not; a FlightRecorder keeps the newest, for a dump on demand or after a crash. What comes out is the same: records.
//
//   struct Crash : thence::DefaultPolicies { using Buffer = thence::FlightRecorder<thence::MappedFileStorage>; };
//
// Layer: storage (includes core/ only).
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "thence/core/copy_short.hpp"
#include "thence/core/event.hpp"
#include "thence/core/time.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// One whole record inside a buffer: its head and, for an annotation, its payload. Valid during the drain's call.
class RecordView {
 public:
  RecordView(const Event* slots, std::uint64_t mask, std::uint64_t position) noexcept
      : slots_(slots), mask_(mask), position_(position) {}
  [[nodiscard]] const Event& head() const noexcept { return slots_[position_ & mask_]; }
  /// The head is slot 0; its payload slots follow.
  [[nodiscard]] const Event& slot(std::size_t index) const noexcept { return slots_[(position_ + index) & mask_]; }
  [[nodiscard]] std::size_t payload_bytes() const noexcept {
    return head().kind() == EventKind::kAnnotated ? static_cast<std::size_t>(number(head().other_id())) : 0;
  }
  /// Copies the payload to `out`, which has room for payload_bytes().
  void copy_payload(char* out) const noexcept {
    std::size_t left = payload_bytes();
    for (std::uint64_t at = position_ + 1; left != 0; ++at) {
      const std::size_t here = std::min(left, kPayloadPerSlot);
      std::memcpy(out, reinterpret_cast<const char*>(&slots_[at & mask_]) + sizeof(std::uint64_t), here);
      out += here;
      left -= here;
    }
  }

 private:
  const Event* slots_;
  std::uint64_t mask_;
  std::uint64_t position_;
};

/// Events that a buffer could not keep: how many, and when the first and the last of them were made.
struct BufferLoss {
  std::uint64_t count = 0;
  Ticks first{};
  Ticks last{};
};

/// Says what a full buffer does. `kName` is written into the trace, so that its reader knows what was dropped.
template <class P>
concept OverflowPolicy = requires {
  { P::kName } -> std::convertible_to<std::string_view>;
  { P::kHasReserve } -> std::convertible_to<bool>;
};

/// Carries the events of one thread to one reader. All that was pushed is drained, in order, or counted in lost() and told
/// by a kLost record at its place; what no record tells, because nothing came after it, unmarked_loss() does.
template <class B>
concept EventBuffer = requires(B& buffer, const B& view, const Event& event, std::string_view text,
                               std::uint64_t marked, void (&take)(const RecordView&)) {
  requires OverflowPolicy<typename B::OverflowPolicyType>;
  { buffer.try_push(event) }
  noexcept->std::same_as<bool>;
  { buffer.try_push(event, text, text) }
  noexcept->std::same_as<bool>;
  { buffer.push_reserved(event) }
  noexcept->std::same_as<bool>;
  { buffer.drain(take) } -> std::same_as<std::size_t>;
  { view.lost() }
  noexcept->std::same_as<std::uint64_t>;
  { view.unmarked_loss(marked) }
  noexcept->std::same_as<BufferLoss>;
  { view.fill() }
  noexcept->std::same_as<std::size_t>;
  { view.capacity() }
  noexcept->std::same_as<std::size_t>;
};

namespace detail {

/// Slots of a record with so many payload bytes.
[[nodiscard]] constexpr std::uint64_t record_slots(std::size_t payload_bytes) noexcept {
  return 1 + (payload_bytes + kPayloadPerSlot - 1) / kPayloadPerSlot;
}

/// The payload of a record that has one slot of it, straight into that slot.
[[gnu::always_inline]] inline void write_payload_slot(Event& slot, std::string_view a, std::string_view b) noexcept {
  slot = {Event::head_of(ResourceId::kNone, EventKind::kPayload), 0, 0, 0};
  char* const bytes = reinterpret_cast<char*>(&slot) + sizeof slot.head;
  copy_short<kPayloadPerSlot>(copy_short<kPayloadPerSlot>(bytes, a), b);
}

/// Calls put(slot) for each payload slot of a record whose payload is the bytes of `a`, then those of `b`.
template <class Put>
void for_each_payload_slot(std::string_view a, std::string_view b, Put&& put) noexcept {
  std::size_t taken = 0;
  const std::size_t all = a.size() + b.size();
  while (taken != all) {
    char bytes[kPayloadPerSlot] = {};
    std::size_t here = 0;
    while (here != kPayloadPerSlot && taken != all) {
      const std::string_view rest = taken < a.size() ? a.substr(taken) : b.substr(taken - a.size());
      const std::size_t chunk = std::min(rest.size(), kPayloadPerSlot - here);
      std::memcpy(bytes + here, rest.data(), chunk);
      here += chunk;
      taken += chunk;
    }
    Event slot{Event::head_of(ResourceId::kNone, EventKind::kPayload), 0, 0, 0};
    std::memcpy(&slot.ticks, bytes, sizeof(std::uint64_t));
    std::memcpy(&slot.other, bytes + sizeof(std::uint64_t), sizeof(std::uint64_t));
    std::memcpy(&slot.context, bytes + 2 * sizeof(std::uint64_t), sizeof(std::uint64_t));
    put(slot);
  }
}

/// Tells a storage that can keep it (a file) what the buffer in it does when it is full.
template <class Policy, class Storage>
void name_policy(Storage& storage) noexcept {
  if constexpr (requires { storage.set_overflow_policy(Policy::kName); }) storage.set_overflow_policy(Policy::kName);
}

}  // namespace detail

}  // namespace THENCE_ABI
}  // namespace thence
