// SPDX-License-Identifier: MIT
// lane_reader.hpp: the draining side of one tracer: raw records in, decoded events out, in the order of the lane.
// Layer: session (includes capture/, core/).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"
#include "thence/session/block_arena.hpp"
#include "thence/storage/ring_buffer.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Events that go to the sinks together.
class DrainBatch {
 public:
  static constexpr std::size_t kEvents = 256;

  /// Where the next one goes; it is of the batch once it is kept. Not when full.
  [[nodiscard]] TraceEvent& next() noexcept { return events_[size_]; }
  void keep() noexcept { ++size_; }
  void clear() noexcept { size_ = 0; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] bool full() const noexcept { return size_ == kEvents; }
  [[nodiscard]] View<const TraceEvent> events() const noexcept { return {events_.data(), size_}; }

 private:
  detail::Vector<TraceEvent> events_ = detail::Vector<TraceEvent>(kEvents);
  std::size_t size_ = 0;
};

/// The records of one lane that were not handed on yet: as the ring had them, in order of time, and decoded one by one.
///   Threads   one
///   Cost      add: a copy of the record; next: its decoding
///   Errors    may throw std::bad_alloc
class LaneReader {
 public:
  explicit LaneReader(LaneId lane) noexcept : lane_(lane) {}

  /// Keeps one record. `to_time(Ticks)` is the session's.
  template <class ToTime>
  void add(const RecordView& record, ToTime&& to_time) {
    const Event& head = record.head();
    if (is_plain(head.kind()) && (count_of(head.time()) >= newest_ || empty())) [[likely]] {
      ++records_;
      newest_ = count_of(head.time());
      append(head);
      return;
    }
    if (head.kind() == EventKind::kPayload) return;  // the tail of a record whose head is gone
    if (head.kind() == EventKind::kLost) [[unlikely]] count_loss(head, to_time);
    push(record);
  }

  /// A loss that no record tells, as one at its first moment.
  template <class ToTime>
  void add_loss(const BufferLoss& loss, ToTime&& to_time) {
    const Event head{Event::head_of(static_cast<ResourceId>(loss.count), EventKind::kLost), count_of(loss.first), count_of(loss.last), 0};
    add(RecordView(&head, 0, 0), to_time);
  }

  [[nodiscard]] bool empty() const noexcept { return taken_ == end_; }
  /// When the next one was made.
  [[nodiscard]] Ticks front() const noexcept { return slots_[taken_].time(); }

  /// Takes the next one: decodes it to `event`, all of which is written, and what it points to into `arena`. `time` is front()'s.
  /// `to_time(Ticks)`, `stack(StackId) -> StackId` and `redact(key, value) -> string_view` are the session's.
  template <class ToTime, class Stack, class Redact>
  [[gnu::always_inline]] inline void next(TraceEvent& event, Timestamp time, BlockArena& arena, ToTime&& to_time, Stack&& stack,
                                          Redact&& redact) {
    const Event& head = slots_[taken_];
    const EventKind kind = head.kind();
    if (is_plain(kind)) [[likely]] {
      event = {.time = time,
               .resource = head.resource(),
               .other = head.other_id(),
               .root = head.root(),
               .lane = lane_,
               .stack = head.stack() == StackId::kNone ? StackId::kNone : stack(head.stack()),
               .type = head.type(),
               .kind = kind,
               .flags = head.flags()};
      ++taken_;
      return;
    }
    event = {.time = time, .lane = lane_, .kind = kind};
    if (kind == EventKind::kCounter) {
      event.counter = static_cast<CounterId>(number(head.resource()));
      event.annotation = keep(arena, {}, number_value(static_cast<ValueKind>(head.flags()), head.other));
    } else if (kind == EventKind::kLost) {
      event.loss = new (arena.take(sizeof(LossRange))) LossRange(loss_of(head, to_time));
    } else {
      event.resource = head.resource();
      event.root = head.root();
      event.annotation = decode_annotation(RecordView(slots_.data(), ~std::uint64_t{0}, taken_), arena, redact);
    }
    taken_ += 1 + payload_slots(head);
  }
  /// The memory of what was taken may be used again.
  void recycle() {
    if (taken_ == 0 || taken_ * 2 < end_) return;  // nothing to give back, or not worth moving the rest
    std::memmove(slots_.data(), slots_.data() + taken_, (end_ - taken_) * sizeof(Event));
    end_ -= taken_;
    taken_ = 0;
  }

  [[nodiscard]] std::uint64_t marked_lost() const noexcept { return marked_lost_; }
  [[nodiscard]] const LossRange& lost() const noexcept { return lost_; }
  [[nodiscard]] std::uint64_t records() const noexcept { return records_; }

 private:
  /// All of the record is in its head, and its fields are those of a TraceEvent.
  [[nodiscard]] static constexpr bool is_plain(EventKind kind) noexcept {
    constexpr auto bit = [](EventKind one) { return std::uint64_t{1} << static_cast<unsigned>(one); };
    constexpr std::uint64_t kOthers =
        bit(EventKind::kPayload) | bit(EventKind::kLost) | bit(EventKind::kAnnotated) | bit(EventKind::kCounter);
    return (kOthers >> (static_cast<unsigned>(kind) % 64) & 1) == 0;
  }

  /// At its place in time: an adapter may record a moment a little after it (Tracer::at).
  [[gnu::noinline]] void push(const RecordView& record) {
    ++records_;
    const Event& head = record.head();
    if (count_of(head.time()) >= newest_ || empty()) {
      newest_ = count_of(head.time());
      for (std::size_t slot = 0; slot <= payload_slots(head); ++slot) append(record.slot(slot));
      return;
    }
    insert(record);
  }
  [[gnu::noinline]] void insert(const RecordView& record) {
    const Event head = record.head();
    std::size_t at = end_;
    for (std::size_t before = at; before-- > taken_;) {
      if (slots_[before].kind() == EventKind::kPayload) continue;
      if (slots_[before].ticks <= head.ticks) break;
      at = before;
    }
    const std::size_t count = 1 + payload_slots(head);
    for (std::size_t slot = 0; slot < count; ++slot) append({});
    std::memmove(&slots_[at + count], &slots_[at], (end_ - count - at) * sizeof(Event));
    for (std::size_t slot = 0; slot < count; ++slot) slots_[at + slot] = record.slot(slot);
  }
  [[gnu::always_inline]] inline void append(const Event& slot) {
    if (end_ == slots_.size()) [[unlikely]] grow();
    slots_[end_++] = slot;
  }
  [[gnu::noinline]] void grow() { slots_.resize(std::max<std::size_t>(256, slots_.size() * 2)); }

  template <class ToTime>
  [[nodiscard]] static LossRange loss_of(const Event& head, ToTime& to_time) {
    return {number(head.resource()), to_time(head.time()), to_time(static_cast<Ticks>(head.other))};
  }
  template <class ToTime>
  void count_loss(const Event& head, ToTime& to_time) {
    const LossRange range = loss_of(head, to_time);
    marked_lost_ += range.count;
    if (lost_.count == 0) lost_.first = range.first;
    lost_.last = range.last;
    lost_.count += range.count;
  }

  [[nodiscard]] static Value number_value(ValueKind kind, std::uint64_t bits) noexcept {
    switch (kind) {
      case ValueKind::kInt: return Value::of(static_cast<std::int64_t>(bits));
      case ValueKind::kUint: return Value::of(bits);
      case ValueKind::kDouble: return Value::of(std::bit_cast<double>(bits));
      case ValueKind::kBool: return Value::of(bits != 0);
      case ValueKind::kString: break;
    }
    return Value::of(bits);
  }

  /// One piece of memory: the annotation, its key, its text.
  [[nodiscard]] static const Annotation* keep(BlockArena& arena, std::string_view key, Value value) {
    const std::size_t text_bytes = value.kind == ValueKind::kString ? value.text.size() : 0;
    std::byte* const memory = arena.take(sizeof(Annotation) + key.size() + text_bytes);
    auto* const text = reinterpret_cast<char*>(memory + sizeof(Annotation));
    if (!key.empty()) std::memcpy(text, key.data(), key.size());
    if (text_bytes != 0) {
      std::memcpy(text + key.size(), value.text.data(), text_bytes);
      value.text = text_at(text + key.size(), text_bytes);
    }
    return new (memory) Annotation{text_at(text, key.size()), value};
  }

  template <class Redact>
  [[gnu::noinline]] const Annotation* decode_annotation(const RecordView& record, BlockArena& arena, Redact& redact) {
    const Event& head = record.head();
    const auto word = static_cast<std::uint16_t>(head.type());
    const auto kind = static_cast<ValueKind>(word >> 12);
    const std::size_t key_bytes = word & 0xfffu;
    payload_.resize(record.payload_bytes());
    record.copy_payload(payload_.data());
    const std::string_view payload = payload_;
    const std::string_view key = payload.substr(0, key_bytes);
    const std::string_view raw = payload.substr(key.size());
    if (kind != ValueKind::kString && raw.size() == sizeof(std::uint64_t)) {
      std::uint64_t bits;
      std::memcpy(&bits, raw.data(), sizeof bits);
      return keep(arena, key, number_value(kind, bits));
    }
    return keep(arena, key, Value::of(redact(key, raw), (head.flags() & 1) != 0));
  }

  LaneId lane_;
  detail::Vector<Event> slots_;  // those from `taken_` to `end_` are waiting
  std::size_t taken_ = 0;
  std::size_t end_ = 0;
  std::uint64_t newest_ = 0;  // ticks of the last record
  std::string payload_;
  std::uint64_t marked_lost_ = 0;
  LossRange lost_;
  std::uint64_t records_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
