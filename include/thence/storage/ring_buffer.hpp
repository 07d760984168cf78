// SPDX-License-Identifier: MIT
// ring_buffer.hpp: carries events from the thread that traces to the thread that drains.
//
// A hot path must not wait, allocate or call the system, and its reader comes late and in bursts. Between them lies a ring
// of 32-byte slots with one writer and one reader. When the reader falls behind, a policy named by its consequence decides
// what is lost, and every loss is counted with its time range and marked at its place in the order.
//
//   RingBuffer<> ring{HeapStorage{32'768}};
//   ring.try_push(event);                                        // producer
//   ring.drain([](const RecordView& record) { ... });            // consumer
//
// Layer: storage (includes core/ only).
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "thence/config/assert.hpp"
#include "thence/config/platform.hpp"
#include "thence/core/event.hpp"
#include "thence/storage/event_buffer.hpp"
#include "thence/storage/ring_storage.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A full ring refuses what comes; the oldest events are kept. The refused are counted, with their time range.
struct DropNewest {
  static constexpr std::string_view kName = "drop-newest";
  static constexpr bool kHasReserve = false;
};

/// A full ring goes on in a reserve buffer, once, until the reader has emptied both; then as DropNewest. The ring in daily
/// use can thus be small enough for the L2 cache while a burst is still kept. Costs the reserve's memory.
struct SpillOnce {
  static constexpr std::string_view kName = "spill-once";
  static constexpr bool kHasReserve = true;
};

static_assert(OverflowPolicy<DropNewest> && OverflowPolicy<SpillOnce>);

/// Hands events from one thread to another, in order, without locks.
///   Shape     `capacity` slots of 32 bytes (a power of two). A plain event is one slot; an annotation a few. A sixteenth of
///             the slots, at most 16, is kept back for `push_reserved`. SpillOnce has a reserve ring beside the first.
///   Threads   one producer: try_push, push_reserved. One consumer: drain, take_unmarked_loss. Anyone: lost, fill.
///   Cost      try_push: O(1), wait-free, no allocation, no system call. drain: O(events).
///   When full `Overflow` decides; every event not kept is counted in lost(). The loss is marked by a kLost event in front
///             of the next one that is kept.
///   Errors    everything but construction is noexcept; allocating storage may throw std::bad_alloc.
///   Lifetime  neither copied nor moved; outlives the last call on either side.
template <OverflowPolicy Overflow = DropNewest, RingStorage Storage = HeapStorage>
class RingBuffer {
 public:
  using OverflowPolicyType = Overflow;

  RingBuffer() requires std::default_initializable<Storage> { adopt(); }
  explicit RingBuffer(Storage storage) requires std::movable<Storage>
      : main_{std::move(storage)} { adopt(); }
  /// With a reserve: `reserve` is typically several times larger than `storage`.
  RingBuffer(Storage storage, Storage reserve) requires(Overflow::kHasReserve && std::movable<Storage>)
      : main_{std::move(storage)}, reserve_{std::move(reserve)} { adopt(); }
  RingBuffer(const RingBuffer&) = delete;
  RingBuffer& operator=(const RingBuffer&) = delete;

  /// Appends one event. False: it was refused, and counted.
  [[gnu::always_inline]] inline bool try_push(Event event) noexcept {
    const std::uint64_t tail = tail_;
    if (tail == limit_) [[unlikely]] return push_slowly(event, {}, {}, 1, false);
    slots_[tail & mask_] = event;
    tail_ = tail + 1;
    control_->tail.store(tail + 1, std::memory_order_release);  // publishes the slot to drain()
    return true;
  }

  /// Appends a head and its payload (the bytes of `a`, then of `b`) as one record: all of it, or nothing.
  bool try_push(const Event& head, std::string_view a, std::string_view b) noexcept {
    const std::uint64_t slots = detail::record_slots(a.size() + b.size());
    if (limit_ - tail_ < slots) [[unlikely]] return push_slowly(head, a, b, slots, false);
    write(head, a, b, slots);
    return true;
  }

  /// As try_push, but may use the slots kept back: for the few events whose loss would cost more than themselves.
  bool push_reserved(const Event& event) noexcept { return push_slowly(event, {}, {}, 1, true); }

  /// Hands every record that is there, oldest first, to `take(const RecordView&)`; returns how many.
  template <class Take>
  std::size_t drain(Take&& take) noexcept(noexcept(take(std::declval<const RecordView&>()))) {
    if constexpr (Overflow::kHasReserve) {
      // What stands in the reserve is younger than all that stands in the main ring, which the producer re-enters only
      // when both are empty: so look at the reserve's end first, then empty the main ring, then the reserve.
      const std::uint64_t reserve_end = reserve_.storage.control().tail.load(std::memory_order_acquire);
      std::size_t taken = drain_ring(main_.storage, main_.storage.control().tail.load(std::memory_order_acquire), take);
      taken += drain_ring(reserve_.storage, reserve_end, take);
      return taken;
    } else {
      return drain_ring(main_.storage, main_.storage.control().tail.load(std::memory_order_acquire), take);
    }
  }

  /// Events refused since the beginning.
  [[nodiscard]] std::uint64_t lost() const noexcept { return control().lost.load(std::memory_order_relaxed); }

  using Loss = BufferLoss;
  /// The loss that no kLost event tells, because nothing was kept after it. `marked`: the counts of all kLost events seen.
  /// For the consumer, when the producer is known to be quiet.
  [[nodiscard]] Loss unmarked_loss(std::uint64_t marked) const noexcept {
    const RingControl& shared = control();
    const std::uint64_t all = shared.lost.load(std::memory_order_acquire);
    if (all <= marked) return {};
    return {all - marked, static_cast<Ticks>(shared.first_lost.load(std::memory_order_relaxed)),
            static_cast<Ticks>(shared.last_lost.load(std::memory_order_relaxed))};
  }

  /// Slots in use now (a moment's view), and slots in all.
  [[nodiscard]] std::size_t fill() const noexcept {
    std::size_t used = fill_of(main_.storage);
    if constexpr (Overflow::kHasReserve) used += fill_of(reserve_.storage);
    return used;
  }
  [[nodiscard]] std::size_t capacity() const noexcept {
    std::size_t slots = const_cast<Storage&>(main_.storage).slots().size();
    if constexpr (Overflow::kHasReserve) slots += const_cast<Storage&>(reserve_.storage).slots().size();
    return slots;
  }

  /// For what a storage offers beyond its slots: a file's header.
  [[nodiscard]] Storage& storage() noexcept { return main_.storage; }
  [[nodiscard]] Storage& reserve_storage() noexcept requires(Overflow::kHasReserve) { return reserve_.storage; }

 private:
  static constexpr std::size_t kReleaseEvery = 1024;    // slots the consumer takes before it gives them back
  static constexpr std::uint64_t kLookBackEvery = 64;   // events in the reserve before the producer looks whether it may leave

  struct Holder {
    [[no_unique_address]] Storage storage;
  };
  struct Nothing {};

  void adopt() noexcept {
    use(main_.storage);
    detail::name_policy<Overflow>(main_.storage);
    if constexpr (Overflow::kHasReserve) detail::name_policy<Overflow>(reserve_.storage);
  }

  void use(Storage& storage) noexcept {
    slots_ = storage.slots().data();
    mask_ = storage.slots().size() - 1;
    control_ = &storage.control();
    tail_ = control_->tail.load(std::memory_order_relaxed);
    kept_back_ = std::min<std::uint64_t>(16, storage.slots().size() / 16);
    limit_ = control_->head.load(std::memory_order_acquire) + storage.slots().size() - kept_back_;
  }

  void write(const Event& head, std::string_view a, std::string_view b, std::uint64_t slots) noexcept {
    slots_[tail_ & mask_] = head;
    if (slots != 1) {
      std::uint64_t at = tail_ + 1;
      detail::for_each_payload_slot(a, b, [&](const Event& slot) { slots_[at++ & mask_] = slot; });
    }
    tail_ += slots;
    control_->tail.store(tail_, std::memory_order_release);  // publishes the whole record at once
  }

  /// Room was seemingly short, or a loss is still to be marked: look again, mark, write; or refuse and count.
  [[gnu::noinline, gnu::cold]] bool push_slowly(Event head, std::string_view a, std::string_view b,
                                                std::uint64_t slots, bool reserved) noexcept {
    const std::uint64_t needed = slots + (pending_ != 0 ? 1 : 0);
    if constexpr (Overflow::kHasReserve) return_from_reserve();
    if (!has_room(needed, reserved)) {
      if constexpr (Overflow::kHasReserve) {
        if (!spill() || !has_room(needed, reserved)) return refuse(head);
      } else {
        return refuse(head);
      }
    }
    if (pending_ != 0) {
      write({Event::head_of(static_cast<ResourceId>(pending_), EventKind::kLost),
             shared().first_lost.load(std::memory_order_relaxed), shared().last_lost.load(std::memory_order_relaxed), 0},
            {}, {}, 1);
      pending_ = 0;
    }
    write(head, a, b, slots);
    std::uint64_t end = head_seen_ + mask_ + 1 - kept_back_;
    if (spilled_) end = std::min(end, tail_ + kLookBackEvery);
    limit_ = end > tail_ ? end : tail_;
    return true;
  }

  [[nodiscard]] bool has_room(std::uint64_t needed, bool reserved) noexcept {
    head_seen_ = control_->head.load(std::memory_order_acquire);  // pairs with the release in drain_ring()
    const std::uint64_t free = mask_ + 1 - (tail_ - head_seen_);
    return free >= needed + (reserved ? 0 : kept_back_);
  }

  /// From the full main ring to the reserve, which is empty whenever the main ring is in use.
  [[nodiscard]] bool spill() noexcept {
    if (spilled_) return false;
    spilled_ = true;
    use(reserve_.storage);
    return true;
  }

  /// Back to the main ring, as soon as the reader has emptied the reserve (and the main ring before it).
  void return_from_reserve() noexcept {
    if (!spilled_) return;
    const RingControl& reserve = reserve_.storage.control();
    if (reserve.head.load(std::memory_order_acquire) != tail_) return;
    spilled_ = false;
    use(main_.storage);
  }

  bool refuse(Event event) noexcept {
    RingControl& counts = shared();
    if (pending_ == 0) counts.first_lost.store(event.ticks, std::memory_order_relaxed);
    counts.last_lost.store(event.ticks, std::memory_order_relaxed);
    ++pending_;
    counts.lost.store(counts.lost.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    limit_ = tail_;  // the fast path is closed until the loss is marked
    return false;
  }

  template <class Take>
  static std::size_t drain_ring(Storage& storage, std::uint64_t end, Take& take) {
    RingControl& control = storage.control();
    const std::span<Event> slots = storage.slots();
    const std::uint64_t mask = slots.size() - 1;
    std::uint64_t at = control.head.load(std::memory_order_relaxed);
    std::uint64_t release_at = at + kReleaseEvery;
    std::size_t taken = 0;
    while (at != end) {
      const RecordView record{slots.data(), mask, at};
      at += 1 + payload_slots(record.head());
      THENCE_ASSERT(at <= end);
      take(record);
      ++taken;
      if (at >= release_at) {
        control.head.store(at, std::memory_order_release);  // gives the slots back to the producer
        release_at = at + kReleaseEvery;
      }
    }
    control.head.store(at, std::memory_order_release);  // pairs with the acquire in has_room()
    return taken;
  }

  [[nodiscard]] static std::size_t fill_of(const Storage& storage) noexcept {
    const RingControl& control = const_cast<Storage&>(storage).control();
    const std::uint64_t head = control.head.load(std::memory_order_relaxed);
    const std::uint64_t tail = control.tail.load(std::memory_order_relaxed);
    return tail > head ? static_cast<std::size_t>(tail - head) : 0;
  }

  /// Loss is counted in one place, whichever ring is in use.
  [[nodiscard]] RingControl& shared() noexcept { return main_.storage.control(); }
  [[nodiscard]] const RingControl& control() const noexcept { return const_cast<Storage&>(main_.storage).control(); }

  // The producer's own. A line of its own: the consumer never reads it.
  alignas(kCacheLine) Event* slots_ = nullptr;
  std::uint64_t mask_ = 0;
  std::uint64_t tail_ = 0;
  std::uint64_t limit_ = 0;  // tail_ at which the slow path looks again
  RingControl* control_ = nullptr;
  std::uint64_t head_seen_ = 0;
  std::uint64_t kept_back_ = 0;
  std::uint64_t pending_ = 0;  // lost and not yet marked
  bool spilled_ = false;
  alignas(kCacheLine) Holder main_;
  [[no_unique_address]] std::conditional_t<Overflow::kHasReserve, Holder, Nothing> reserve_;
};

static_assert(EventBuffer<RingBuffer<DropNewest, HeapStorage>> && EventBuffer<RingBuffer<SpillOnce, HeapStorage>>);

}  // namespace THENCE_ABI
}  // namespace thence
