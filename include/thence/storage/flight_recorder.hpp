// SPDX-License-Identifier: MIT
// flight_recorder.hpp: always holds the newest events, and costs its reader nothing until something goes wrong.
//
// A server that runs for weeks cannot write all its events down; what one wants after an incident is the last second before
// it. The recorder overwrites the oldest events and needs no reader. A snapshot may be taken by any thread while the
// producer runs; over a mapped file (mapped_storage.hpp) what a killed process leaves is such a snapshot too.
//
//   FlightRecorder<> recorder{HeapStorage{32'768}};
//   recorder.try_push(event);                                    // producer
//   FlightSnapshot snapshot;
//   recorder.snapshot(snapshot);                                 // any other thread
//   snapshot.for_each([](const RecordView& record) { ... });
//
// Layer: storage (includes core/ only).
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "thence/config/platform.hpp"
#include "thence/core/event.hpp"
#include "thence/core/vector.hpp"
#include "thence/storage/event_buffer.hpp"
#include "thence/storage/ring_storage.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A full buffer gives up its oldest events. What was overwritten before anyone took it is counted, with its time range.
struct OverwriteOldest {
  static constexpr std::string_view kName = "overwrite-oldest";
  static constexpr bool kHasReserve = false;
};
static_assert(OverflowPolicy<OverwriteOldest>);

template <RingStorage Storage>
class FlightRecorder;

/// What a recorder held at one moment: whole records without a gap, from the oldest it still had to the newest.
/// Reuse one for several snapshots: its memory is then allocated once.
class FlightSnapshot {
 public:
  /// Hands every record, oldest first, to `take(const RecordView&)`; returns how many. The views live as long as this does.
  template <class Take>
  std::size_t for_each(Take&& take) const noexcept(noexcept(take(std::declval<const RecordView&>()))) {
    return for_each_from(begin_, take);
  }
  /// Records that had been overwritten by then, and the time of the last of them.
  [[nodiscard]] std::uint64_t overwritten() const noexcept { return overwritten_; }
  [[nodiscard]] Ticks last_overwritten() const noexcept { return last_overwritten_; }

 private:
  template <RingStorage Storage>
  friend class FlightRecorder;

  template <class Take>
  std::size_t for_each_from(std::uint64_t at, Take&& take) const {
    const std::uint64_t mask = slots_.size() - 1;
    std::size_t taken = 0;
    while (at != end_) {
      const RecordView record{slots_.data(), mask, at};
      at += 1 + payload_slots(record.head());
      take(record);
      ++taken;
    }
    return taken;
  }

  detail::Vector<Event> slots_;
  std::uint64_t oldest_ = 0;  // below this, all is overwritten
  std::uint64_t begin_ = 0;   // the first record's head
  std::uint64_t end_ = 0;
  std::uint64_t overwritten_ = 0;
  Ticks last_overwritten_{};
};

/// Keeps the newest events; the same calls as a RingBuffer, whose place in a tracer it can take.
///   Shape     `capacity` slots of 32 bytes (a power of two). At least capacity - max(64, its longest record) slots hold
///             events that can be read: the next slots to be overwritten are announced in batches of at most 64.
///   Threads   one producer: try_push, push_reserved. One consumer: drain. Anyone: snapshot, lost, overwritten, fill.
///   Cost      try_push: O(1) amortised, wait-free, no allocation, no system call. A snapshot: a copy of the slots, on its
///             reader's side; lock-free (it starts again further on where the producer overtakes it), and never waited for.
///   When full the oldest events are overwritten, counted. Only a record longer than the whole buffer is refused (counted too).
///   Errors    everything but construction, snapshot and drain is noexcept; these may throw std::bad_alloc.
///   Lifetime  neither copied nor moved; outlives the last call on either side.
template <RingStorage Storage = HeapStorage>
class FlightRecorder {
 public:
  using OverflowPolicyType = OverwriteOldest;
  using Loss = BufferLoss;

  FlightRecorder() requires std::default_initializable<Storage> { adopt(); }
  explicit FlightRecorder(Storage storage) requires std::move_constructible<Storage> : storage_{std::move(storage)} { adopt(); }
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  /// Appends one event, over the oldest if need be. Always true.
  bool try_push(const Event& event) noexcept {
    if (tail_ == limit_) [[unlikely]]
      announce(1);
    put(tail_, event);
    publish(tail_ + 1);
    return true;
  }

  /// Appends a head and its payload (the bytes of `a`, then of `b`) as one record. False: longer than the buffer, counted.
  bool try_push(const Event& head, std::string_view a, std::string_view b) noexcept {
    const std::uint64_t slots = detail::record_slots(a.size() + b.size());
    if (limit_ - tail_ < slots) [[unlikely]] {
      if (slots > mask_ + 1) return refuse(head);
      announce(slots);
    }
    put(tail_, head);
    std::uint64_t at = tail_ + 1;
    detail::for_each_payload_slot(a, b, [&](const Event& slot) { put(at++, slot); });
    publish(at);
    return true;
  }

  /// As try_push: there is always room.
  bool push_reserved(const Event& event) noexcept { return try_push(event); }

  /// Fills `out` with what is there now. It begins at a head and holds no torn record.
  void snapshot(FlightSnapshot& out) const {
    const RingControl& shared = control();
    out.slots_.resize(static_cast<std::size_t>(mask_ + 1));
    std::uint64_t at;
    do {
      const Mark mark = oldest();
      out.oldest_ = at = mark.position;
      out.overwritten_ = mark.count;
      out.last_overwritten_ = static_cast<Ticks>(mark.last);
      out.end_ = shared.tail.load(std::memory_order_acquire);  // pairs with publish()
      while (at != out.end_) {
        const std::uint64_t stop = std::min(out.end_, at + kChunk);
        for (std::uint64_t from = at; from != stop; ++from)
          out.slots_[static_cast<std::size_t>(from & mask_)] = get(from);
        // A word that get() acquired from put() brings the announcement that went before it.
        if (shared.head.load(std::memory_order_relaxed) > at) break;
        at = stop;
      }
    } while (at != out.end_);
    out.begin_ = out.oldest_;
    while (out.begin_ != out.end_ &&
           out.slots_[static_cast<std::size_t>(out.begin_ & mask_)].kind() == EventKind::kPayload) {
      ++out.begin_;  // the rest of a record whose head is overwritten
    }
  }

  /// Hands every record that was not handed over before, oldest first, to `take(const RecordView&)`; returns how many. What
  /// was overwritten in between is told by one kLost record in front; its range begins with the last record taken before.
  template <class Take>
  std::size_t drain(Take&& take) {
    snapshot(copy_);
    const std::uint64_t drained = drained_.load(std::memory_order_relaxed);
    std::size_t taken = 0;
    if (copy_.oldest_ > drained) {
      const std::uint64_t seen = seen_.load(std::memory_order_relaxed);
      const std::uint64_t count = copy_.overwritten_ - seen;
      const std::uint64_t first = drained == 0 ? control().first_lost.load(std::memory_order_relaxed) : last_taken_;
      const Event lost{Event::head_of(static_cast<ResourceId>(count), EventKind::kLost), first,
                       count_of(copy_.last_overwritten_), 0};
      marked_.store(marked_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
      seen_.store(seen + count, std::memory_order_relaxed);
      take(RecordView{&lost, 0, 0});
      ++taken;
    }
    const std::size_t records = copy_.for_each_from(std::max(drained, copy_.begin_), [&](const RecordView& record) {
      last_taken_ = record.head().ticks;
      take(record);
    });
    seen_.store(seen_.load(std::memory_order_relaxed) + records, std::memory_order_relaxed);
    drained_.store(copy_.end_, std::memory_order_relaxed);
    return taken + records;
  }

  /// Events overwritten since the beginning, taken before or not.
  [[nodiscard]] std::uint64_t overwritten() const noexcept { return oldest().count; }

  /// Events that drain() will never hand over.
  [[nodiscard]] std::uint64_t lost() const noexcept {
    const Mark mark = oldest();
    const std::uint64_t told = marked_.load(std::memory_order_relaxed) + refused_.load(std::memory_order_relaxed);
    const std::uint64_t seen = seen_.load(std::memory_order_relaxed);
    const bool untold = mark.position > drained_.load(std::memory_order_relaxed) && mark.count > seen;
    return untold ? told + mark.count - seen : told;
  }

  /// The loss that no kLost record tells. `marked`: the counts of all kLost records seen.
  /// For the consumer, when the producer is known to be quiet.
  [[nodiscard]] Loss unmarked_loss(std::uint64_t marked) const noexcept {
    const std::uint64_t all = lost();
    if (all <= marked) return {};
    return {all - marked, static_cast<Ticks>(control().first_lost.load(std::memory_order_relaxed)),
            static_cast<Ticks>(control().last_lost.load(std::memory_order_relaxed))};
  }

  /// Slots that can be read now (a moment's view), and slots in all.
  [[nodiscard]] std::size_t fill() const noexcept {
    const std::uint64_t head = control().head.load(std::memory_order_relaxed);
    const std::uint64_t tail = control().tail.load(std::memory_order_relaxed);
    return tail > head ? static_cast<std::size_t>(tail - head) : 0;
  }
  [[nodiscard]] std::size_t capacity() const noexcept { return static_cast<std::size_t>(mask_ + 1); }

  /// For what a storage offers beyond its slots: a file's header.
  [[nodiscard]] Storage& storage() noexcept { return storage_; }

 private:
  static constexpr std::uint64_t kMaxBatch = 64;  // slots announced at once
  static constexpr std::uint64_t kChunk = 64;     // slots a snapshot copies before it looks whether they still stood
  static constexpr std::uint64_t kBeingWritten = ~std::uint64_t{0};

  struct Mark {
    std::uint64_t position = 0;
    std::uint64_t count = 0;
    std::uint64_t last = 0;
  };

  void adopt() noexcept {
    slots_ = storage_.slots().data();
    mask_ = storage_.slots().size() - 1;
    control_ = &storage_.control();
    batch_ = std::clamp<std::uint64_t>((mask_ + 1) / 8, 1, kMaxBatch);
    limit_ = mask_ + 1;
    detail::name_policy<OverwriteOldest>(storage_);
  }

  /// Each word is released, so that a reader that gets it also gets the announcement made before. Plain moves on x86-64.
  void put(std::uint64_t position, const Event& event) noexcept {
    Event& slot = slots_[position & mask_];
    std::atomic_ref(slot.head).store(event.head, std::memory_order_release);
    std::atomic_ref(slot.ticks).store(event.ticks, std::memory_order_release);
    std::atomic_ref(slot.other).store(event.other, std::memory_order_release);
    std::atomic_ref(slot.context).store(event.context, std::memory_order_release);
  }
  [[nodiscard]] Event get(std::uint64_t position) const noexcept {
    Event& slot = slots_[position & mask_];
    return {std::atomic_ref(slot.head).load(std::memory_order_acquire),
            std::atomic_ref(slot.ticks).load(std::memory_order_acquire),
            std::atomic_ref(slot.other).load(std::memory_order_acquire),
            std::atomic_ref(slot.context).load(std::memory_order_acquire)};
  }
  void publish(std::uint64_t tail) noexcept {
    tail_ = tail;
    control_->tail.store(tail, std::memory_order_release);
  }

  /// Counts the records that the next writes will destroy, says so, and only then lets them happen.
  [[gnu::noinline, gnu::cold]] void announce(std::uint64_t slots) noexcept {
    const std::uint64_t end = tail_ + std::max(slots, batch_);
    const std::uint64_t oldest = end - (mask_ + 1);  // the first lap ends at limit_, so end is beyond it
    for (; oldest_ != oldest; ++oldest_) {
      const Event& slot = slots_[oldest_ & mask_];
      if (slot.kind() == EventKind::kPayload) continue;
      if (count_++ == 0 && refused_.load(std::memory_order_relaxed) == 0) {
        control_->first_lost.store(slot.ticks, std::memory_order_relaxed);
      }
      last_ = slot.ticks;
    }
    turn_ ^= 1;
    RingControl::Overwritten& mark = control_->overwritten[turn_];
    mark.position.store(kBeingWritten, std::memory_order_relaxed);
    mark.count.store(count_, std::memory_order_release);  // who reads it also reads kBeingWritten, or what followed
    mark.last.store(last_, std::memory_order_release);
    mark.position.store(oldest, std::memory_order_release);
    control_->head.store(oldest, std::memory_order_release);
    count_losses(last_);
    limit_ = end;
  }

  [[gnu::noinline, gnu::cold]] bool refuse(const Event& event) noexcept {
    const std::uint64_t refused = refused_.load(std::memory_order_relaxed);
    if (count_ + refused == 0) control_->first_lost.store(event.ticks, std::memory_order_relaxed);
    refused_.store(refused + 1, std::memory_order_relaxed);
    count_losses(event.ticks);
    return false;
  }

  /// For who reads the storage alone: a file's reader.
  void count_losses(std::uint64_t ticks) noexcept {
    control_->last_lost.store(ticks, std::memory_order_relaxed);
    control_->lost.store(count_ + refused_.load(std::memory_order_relaxed), std::memory_order_release);
  }

  /// What is overwritten, all three words of one moment. Starts again only where the producer announced twice meanwhile.
  [[nodiscard]] Mark oldest() const noexcept {
    for (;;) {
      const std::uint64_t head = control().head.load(std::memory_order_acquire);
      if (head == 0) return {};
      for (const RingControl::Overwritten& mark : control().overwritten) {
        if (mark.position.load(std::memory_order_acquire) != head) continue;
        const Mark found{head, mark.count.load(std::memory_order_acquire), mark.last.load(std::memory_order_acquire)};
        if (mark.position.load(std::memory_order_relaxed) == head) return found;
      }
    }
  }

  [[nodiscard]] const RingControl& control() const noexcept { return *control_; }

  // The producer's own.
  alignas(kCacheLine) Event* slots_ = nullptr;
  std::uint64_t mask_ = 0;
  std::uint64_t tail_ = 0;
  std::uint64_t limit_ = 0;  // tail_ up to which all that is overwritten is announced
  RingControl* control_ = nullptr;
  std::uint64_t batch_ = 1;
  std::uint64_t oldest_ = 0;
  std::uint64_t count_ = 0;  // records below oldest_
  std::uint64_t last_ = 0;
  unsigned turn_ = 0;
  std::atomic<std::uint64_t> refused_{0};

  // The consumer's own, readable by all.
  alignas(kCacheLine) std::atomic<std::uint64_t> drained_{0};  // position up to which drain() handed over
  std::atomic<std::uint64_t> seen_{0};                         // records up to there: handed over or told as lost
  std::atomic<std::uint64_t> marked_{0};                       // records told as lost
  std::uint64_t last_taken_ = 0;
  FlightSnapshot copy_;

  alignas(kCacheLine) [[no_unique_address]] Storage storage_;
};

}  // namespace THENCE_ABI
}  // namespace thence
