// SPDX-License-Identifier: MIT
// ring_storage.hpp: where a ring's slots live: on the heap, inside an object of static storage, or in a mapped file.
//
//   RingBuffer<DropNewest, HeapStorage> ring{HeapStorage{1 << 15}};
//   static RingBuffer<DropNewest, StaticStorage<4096>> early_ring;      // before main, without an allocator
//
// A mapped file (mapped_storage.hpp) outlives the process: what a killed one leaves can be read.
// Layer: storage (includes core/ only).
#pragma once

#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "thence/config/platform.hpp"
#include "thence/core/event.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// The shared positions of a ring, each side's on cache lines of its own. Positions count slots and never wrap.
struct RingControl {
  alignas(kCacheLine) std::atomic<std::uint64_t> tail{0};  ///< written by the producer
  alignas(kCacheLine) std::atomic<std::uint64_t> head{0};  ///< all from here to tail is whole; written by the consumer
  alignas(kCacheLine) std::atomic<std::uint64_t> lost{0};  ///< events refused since the beginning
  std::atomic<std::uint64_t> first_lost{0};                ///< ticks of the first refused event not yet marked in the ring
  std::atomic<std::uint64_t> last_lost{0};                 ///< ticks of the last refused event

  /// A FlightRecorder's: how many records stood below `position`, and the ticks of the last of them. Written in turns, so
  /// that one is always whole; that of the current `head` is found by its position.
  struct Overwritten {
    std::atomic<std::uint64_t> position{0};
    std::atomic<std::uint64_t> count{0};
    std::atomic<std::uint64_t> last{0};
  };
  alignas(kCacheLine) Overwritten overwritten[2];
};

/// Owns the slots (a power of two of them) and the control block of one ring; both stay where they are for its life.
template <class S>
concept RingStorage = requires(S& storage) {
  { storage.slots() } noexcept -> std::same_as<View<Event>>;
  { storage.control() } noexcept -> std::same_as<RingControl&>;
};

/// Slots and control on the heap, allocated once; what it was moved from has none. `capacity` is rounded up to a power of two, at least 2.
class HeapStorage {
 public:
  explicit HeapStorage(std::size_t capacity)
      : capacity_(std::bit_ceil(capacity < 2 ? std::size_t{2} : capacity)),
        memory_(detail::allocate(sizeof(RingControl) + capacity_ * sizeof(Event), kCacheLine)),
        control_(::new (memory_) RingControl),
        slots_(reinterpret_cast<Event*>(control_ + 1)) {
    // Written once here, so that no page fault is left for the hot path.
    for (std::size_t at = 0; at != capacity_; ++at) ::new (static_cast<void*>(slots_ + at)) Event();
  }
  HeapStorage(HeapStorage&& other) noexcept
      : capacity_(std::exchange(other.capacity_, 0)),
        memory_(std::exchange(other.memory_, nullptr)),
        control_(std::exchange(other.control_, nullptr)),
        slots_(std::exchange(other.slots_, nullptr)) {}
  HeapStorage& operator=(HeapStorage&&) = delete;
  ~HeapStorage() { detail::release(memory_, kCacheLine); }

  [[nodiscard]] View<Event> slots() noexcept { return {slots_, capacity_}; }
  [[nodiscard]] RingControl& control() noexcept { return *control_; }

 private:
  std::size_t capacity_;
  void* memory_;
  RingControl* control_;
  Event* slots_;  // after it
};
static_assert(RingStorage<HeapStorage>);

/// Slots and control inside the object: no allocator, and usable before main() as a global.
template <std::size_t Capacity>
class StaticStorage {
  static_assert(Capacity >= 2 && std::has_single_bit(Capacity), "a ring's capacity is a power of two");

 public:
  constexpr StaticStorage() noexcept = default;
  StaticStorage(const StaticStorage&) = delete;
  StaticStorage& operator=(const StaticStorage&) = delete;

  [[nodiscard]] View<Event> slots() noexcept { return slots_; }
  [[nodiscard]] RingControl& control() noexcept { return control_; }

 private:
  RingControl control_{};
  alignas(kCacheLine) Event slots_[Capacity]{};
};

}  // namespace THENCE_ABI
}  // namespace thence
