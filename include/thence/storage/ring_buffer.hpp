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
#include <string_view>
#include <type_traits>
#include <utility>

#include "thence/config/assert.hpp"
#include "thence/config/platform.hpp"
#include "thence/core/event.hpp"
#include "thence/core/view.hpp"
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
///   Threads   one producer: try_push, put, push_reserved. One consumer: drain, unmarked_loss. Anyone: lost, fill, close.
///   Cost      try_push: O(1), wait-free, no allocation, no system call. drain: O(events). Once a lap, and while events are
///             spilled or a loss is still to be marked, a push takes the slow path (some 10 ns more).
///   When full `Overflow` decides; every event not kept is counted in lost(). The loss is marked by a kLost event in front
///             of the next one that is kept.
///   Errors    everything but construction is noexcept; allocating storage may throw std::bad_alloc.
///   Lifetime  neither copied nor moved; outlives the last call on either side.
template <OverflowPolicy Overflow = DropNewest, RingStorage Storage = HeapStorage>
class RingBuffer {
 public:
  using OverflowPolicyType = Overflow;

  RingBuffer() requires std::default_initializable<Storage> { adopt(); }
  explicit RingBuffer(Storage storage) requires std::move_constructible<Storage>
      : main_{std::move(storage)} { adopt(); }
  /// With a reserve: `reserve` is typically several times larger than `storage`.
  RingBuffer(Storage storage, Storage reserve) requires(Overflow::kHasReserve && std::move_constructible<Storage>)
      : main_{std::move(storage)}, reserve_{std::move(reserve)} { adopt(); }
  RingBuffer(const RingBuffer&) = delete;
  RingBuffer& operator=(const RingBuffer&) = delete;

  /// Whether put() may be called: nothing stands in the way of one more event.
  [[gnu::always_inline]] [[nodiscard]] inline bool is_open() const noexcept {
    return cursor_ < limit_.load(std::memory_order_relaxed);
  }
  /// The same for so many slots.
  [[gnu::always_inline]] [[nodiscard]] inline bool is_open_for(std::uint64_t slots) const noexcept {
    const auto address = [](const Event* slot) { return reinterpret_cast<std::uintptr_t>(slot); };
    const auto room = static_cast<std::intptr_t>(address(limit_.load(std::memory_order_relaxed)) - address(cursor_));
    return room >= static_cast<std::intptr_t>(slots * sizeof(Event));  // closed: less than none
  }
  /// Appends one event, for a producer that has just found the ring open.
  [[gnu::always_inline]] inline void put(Event event) noexcept {
    Event* const slot = cursor_;
    *slot = event;
    publish(slot + 1);
  }
  /// Appends two, where it is open for two.
  [[gnu::always_inline]] inline void put(Event first, Event second) noexcept {
    Event* const slot = cursor_;
    slot[0] = first;
    slot[1] = second;
    publish(slot + 2);
  }
  /// From now on is_open() says no, until reopen(): for a host that was told to stop. What is pushed all the same is taken,
  /// by the slow path. Anyone may close; the producer reopens.
  void close() noexcept {
    shut_.store(true, std::memory_order_seq_cst);
    limit_.store(nullptr, std::memory_order_seq_cst);
  }
  void reopen() noexcept { shut_.store(false, std::memory_order_seq_cst); }

  /// Appends one event. False: it was refused, and counted.
  [[gnu::always_inline]] inline bool try_push(Event event) noexcept {
    if (!is_open()) [[unlikely]] return push_slowly(event, {}, {}, 1, false);
    put(event);
    return true;
  }

  /// Appends a head and its payload (the bytes of `a`, then of `b`) as one record: all of it, or nothing.
  [[gnu::always_inline]] inline bool try_push(const Event& head, std::string_view a, std::string_view b) noexcept {
    const std::size_t bytes = a.size() + b.size();
    if (bytes - 1 >= kPayloadPerSlot) [[unlikely]] return push_long(head, a, b);
    if (!is_open_for(2)) [[unlikely]] return push_slowly(head, a, b, 2, false);
    Event* const slot = cursor_;
    slot[0] = head;
    detail::write_payload_slot(slot[1], a, b);
    publish(slot + 2);
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
      std::size_t taken = drain_ring(main_.storage, main_end(), take);
      taken += drain_ring(reserve_.storage, reserve_end, take);
      return taken;
    } else {
      return drain_ring(main_.storage, main_end(), take);
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
    const std::uint64_t head = control().head.load(std::memory_order_relaxed);
    std::uint64_t used = main_end() - head;
    if constexpr (Overflow::kHasReserve) {
      const RingControl& reserve = const_cast<Storage&>(reserve_.storage).control();
      const std::uint64_t reserve_head = reserve.head.load(std::memory_order_relaxed);
      const std::uint64_t reserve_tail = reserve.tail.load(std::memory_order_relaxed);
      used += reserve_tail > reserve_head ? reserve_tail - reserve_head : 0;
    }
    return static_cast<std::size_t>(used);
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
  static constexpr std::size_t kReleaseEvery = 1024;  // slots the consumer takes before it gives them back
  /// A storage that outlives the process needs its position where its reader finds it.
  static constexpr bool kKeepsTail = requires { requires Storage::kOutlivesProcess; };

  struct Holder {
    [[no_unique_address]] Storage storage;
  };
  struct Nothing {};

  void adopt() noexcept {
    const View<Event> slots = main_.storage.slots();
    slots_ = slots.data();
    mask_ = slots.size() - 1;
    kept_back_ = std::min<std::uint64_t>(16, slots.size() / 16);
    const std::uint64_t tail = control().tail.load(std::memory_order_relaxed);
    head_seen_ = control().head.load(std::memory_order_acquire);
    lap_ = tail & ~mask_;
    cursor_ = slots_ + (tail & mask_);
    open_up();
    detail::name_policy<Overflow>(main_.storage);
    if constexpr (Overflow::kHasReserve) detail::name_policy<Overflow>(reserve_.storage);
  }

  /// A record of no payload, or of more than one slot of it.
  [[gnu::noinline]] bool push_long(const Event& head, std::string_view a, std::string_view b) noexcept {
    const std::uint64_t slots = detail::record_slots(a.size() + b.size());
    if (!is_open_for(slots)) [[unlikely]] return push_slowly(head, a, b, slots, false);
    Event* slot = cursor_;
    *slot++ = head;
    detail::for_each_payload_slot(a, b, [&](const Event& payload) { *slot++ = payload; });
    publish(slot);
    return true;
  }

  /// Makes all before `cursor` the consumer's.
  [[gnu::always_inline]] inline void publish(Event* cursor) noexcept {
    if constexpr (kKeepsTail) {
      main_.storage.control().tail.store(lap_ + static_cast<std::uint64_t>(cursor - slots_), std::memory_order_release);
    }
    __atomic_store_n(&cursor_, cursor, __ATOMIC_RELEASE);  // pairs with main_end(); the producer itself reads it plainly
  }

  /// The main ring's tail, for the consumer. A full ring looks like an empty one: only the slow path fills it, and says so.
  [[nodiscard]] std::uint64_t main_end() const noexcept {
    const std::uint64_t head = control().head.load(std::memory_order_relaxed);
    const auto at = static_cast<std::uint64_t>(__atomic_load_n(&cursor_, __ATOMIC_ACQUIRE) - slots_);
    if (full_at_.load(std::memory_order_acquire) == head + mask_ + 1) return head + mask_ + 1;
    return head + ((at - head) & mask_);
  }

  [[nodiscard]] std::uint64_t main_tail() const noexcept { return lap_ + static_cast<std::uint64_t>(cursor_ - slots_); }

  /// The fast path is open up to what was kept back, or to the end of the lap.
  void open_up() noexcept {
    const std::uint64_t tail = main_tail();
    const std::uint64_t end = head_seen_ + mask_ + 1 - std::max<std::uint64_t>(1, kept_back_);
    const std::uint64_t free = end > tail ? end - tail : 0;  // push_reserved may have gone beyond
    const auto lap = static_cast<std::uint64_t>(slots_ + mask_ + 1 - cursor_);
    limit_.store(cursor_ + std::min(free, lap), std::memory_order_seq_cst);
    // Of these two stores and close()'s two, in their one order: either its second comes last, or its first is seen here.
    if (shut_.load(std::memory_order_seq_cst)) [[unlikely]] limit_.store(nullptr, std::memory_order_seq_cst);
  }

  /// Writes a record at `tail` of these slots.
  static void write(Event* slots, std::uint64_t mask, std::uint64_t tail, const Event& head, std::string_view a,
                    std::string_view b) noexcept {
    slots[tail++ & mask] = head;
    detail::for_each_payload_slot(a, b, [&](const Event& payload) { slots[tail++ & mask] = payload; });
  }

  void write_main(const Event& head, std::string_view a, std::string_view b, std::uint64_t slots) noexcept {
    const std::uint64_t tail = main_tail();
    write(slots_, mask_, tail, head, a, b);
    lap_ = (tail + slots) & ~mask_;
    if (tail + slots == head_seen_ + mask_ + 1) full_at_.store(tail + slots, std::memory_order_release);
    publish(slots_ + ((tail + slots) & mask_));
  }

  void write_reserve(const Event& head, std::string_view a, std::string_view b, std::uint64_t slots) noexcept {
    RingControl& reserve = reserve_.storage.control();
    const View<Event> room = reserve_.storage.slots();
    const std::uint64_t tail = reserve.tail.load(std::memory_order_relaxed);
    write(room.data(), room.size() - 1, tail, head, a, b);
    reserve.tail.store(tail + slots, std::memory_order_release);
  }

  /// The lap ended, room was seemingly short, or a loss is still to be marked: look again, mark, write; or refuse and count.
  [[gnu::noinline, gnu::cold]] bool push_slowly(Event head, std::string_view a, std::string_view b, std::uint64_t slots,
                                                bool reserved) noexcept {
    const std::uint64_t needed = slots + (pending_ != 0 ? 1 : 0);
    bool in_reserve = false;
    if constexpr (Overflow::kHasReserve) {
      return_from_reserve();
      in_reserve = spilled_;
      if (!in_reserve && !has_room(needed, reserved)) in_reserve = spilled_ = true;
      if (in_reserve && !reserve_has_room(needed, reserved)) return refuse(head);
    } else {
      if (!has_room(needed, reserved)) return refuse(head);
    }
    const auto put_down = [&](const Event& event, std::string_view first, std::string_view second, std::uint64_t size) {
      if constexpr (Overflow::kHasReserve) {
        if (in_reserve) return write_reserve(event, first, second, size);
      }
      write_main(event, first, second, size);
    };
    if (pending_ != 0) {
      put_down({Event::head_of(static_cast<ResourceId>(pending_), EventKind::kLost),
                control().first_lost.load(std::memory_order_relaxed), control().last_lost.load(std::memory_order_relaxed), 0},
               {}, {}, 1);
      pending_ = 0;
    }
    put_down(head, a, b, slots);
    if (in_reserve) {
      limit_.store(nullptr, std::memory_order_seq_cst);  // until the reader has emptied both
    } else {
      open_up();
    }
    return true;
  }

  [[nodiscard]] bool has_room(std::uint64_t needed, bool reserved) noexcept {
    head_seen_ = control().head.load(std::memory_order_acquire);  // pairs with the release in drain_ring()
    return mask_ + 1 - (main_tail() - head_seen_) >= needed + (reserved ? 0 : kept_back_);
  }

  [[nodiscard]] bool reserve_has_room(std::uint64_t needed, bool reserved) noexcept {
    const RingControl& reserve = reserve_.storage.control();
    const std::uint64_t slots = reserve_.storage.slots().size();
    const std::uint64_t used = reserve.tail.load(std::memory_order_relaxed) - reserve.head.load(std::memory_order_acquire);
    return slots - used >= needed + (reserved ? 0 : std::min<std::uint64_t>(16, slots / 16));
  }

  /// Back to the main ring, as soon as the reader has emptied the reserve (and the main ring before it).
  void return_from_reserve() noexcept {
    const RingControl& reserve = reserve_.storage.control();
    if (spilled_ && reserve.head.load(std::memory_order_acquire) == reserve.tail.load(std::memory_order_relaxed)) spilled_ = false;
  }

  bool refuse(const Event& event) noexcept {
    RingControl& counts = main_.storage.control();
    if (pending_ == 0) counts.first_lost.store(event.ticks, std::memory_order_relaxed);
    counts.last_lost.store(event.ticks, std::memory_order_relaxed);
    ++pending_;
    counts.lost.store(counts.lost.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    limit_.store(nullptr, std::memory_order_seq_cst);  // the fast path stays closed until the loss is marked
    return false;
  }

  template <class Take>
  static std::size_t drain_ring(Storage& storage, std::uint64_t end, Take& take) {
    RingControl& control = storage.control();
    const View<Event> slots = storage.slots();
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

  /// Loss is counted in one place, whichever ring is in use.
  [[nodiscard]] const RingControl& control() const noexcept { return const_cast<Storage&>(main_.storage).control(); }

  // The producer's line: the consumer looks at it once a drain.
  alignas(kCacheLine) Event* cursor_ = nullptr;  // where the main ring's next event goes; slots_ + capacity at a lap's end
  std::atomic<Event*> limit_{nullptr};           // put() may go up to here; null: closed
  std::atomic<bool> shut_{false};                // and to stay so
  Event* slots_ = nullptr;
  std::uint64_t mask_ = 0;
  std::uint64_t lap_ = 0;        // position of slots_[0] in this lap
  std::uint64_t head_seen_ = 0;
  std::uint64_t kept_back_ = 0;
  std::uint64_t pending_ = 0;    // lost and not yet marked
  std::atomic<std::uint64_t> full_at_{0};  // the tail when the ring was last filled to its last slot
  bool spilled_ = false;
  alignas(kCacheLine) Holder main_;
  [[no_unique_address]] std::conditional_t<Overflow::kHasReserve, Holder, Nothing> reserve_;
};

}  // namespace THENCE_ABI
}  // namespace thence
