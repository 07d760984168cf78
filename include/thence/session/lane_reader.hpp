// SPDX-License-Identifier: MIT
// lane_reader.hpp: the draining side of one tracer: raw records in, decoded events out, in the order of the lane.
// Layer: session (includes capture/, core/).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/storage/ring_buffer.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Memory for what events point to. Events leave about in the order in which they came, and a block is used again when all
/// that was taken from it was given back.
class EventArena {
 public:
  [[nodiscard]] std::byte* take(std::size_t bytes) {
    bytes = (bytes + alignof(std::max_align_t) - 1) & ~(alignof(std::max_align_t) - 1);
    if (blocks_.empty() || blocks_.back().size - blocks_.back().used < bytes) add_block(bytes);
    Block& block = blocks_.back();
    std::byte* const result = block.bytes.get() + block.used;
    block.used += bytes;
    ++block.live;
    return result;
  }
  /// `taken` was returned by take().
  void give_back(const void* taken) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(taken);
    for (Block& block : blocks_) {
      const auto begin = reinterpret_cast<std::uintptr_t>(block.bytes.get());
      if (address < begin || address >= begin + block.size) continue;
      --block.live;
      break;
    }
    while (!blocks_.empty() && blocks_.front().live == 0) {
      if (spare_.bytes == nullptr && blocks_.front().size == kBlock) spare_ = std::move(blocks_.front());
      blocks_.pop_front();
    }
  }

 private:
  static constexpr std::size_t kBlock = 64 * 1024;
  struct Block {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t size = 0;
    std::size_t used = 0;
    std::size_t live = 0;
  };
  void add_block(std::size_t bytes) {
    if (spare_.bytes != nullptr && bytes <= kBlock) {
      blocks_.push_back(std::move(spare_));
      spare_ = {};
      blocks_.back().used = 0;
      return;
    }
    const std::size_t size = bytes > kBlock ? bytes : kBlock;
    blocks_.push_back({std::make_unique_for_overwrite<std::byte[]>(size), size, 0, 0});
  }

  std::deque<Block> blocks_;
  Block spare_;
};

/// The decoded events of one lane that were not handed on yet.
///   Threads   one
///   Errors    may throw std::bad_alloc
class LaneReader {
 public:
  explicit LaneReader(LaneId lane) noexcept : lane_(lane) {}

  /// Decodes one record. `to_time(Ticks)`, `stack(StackId) -> StackId` and `redact(key, value) -> string_view` are the session's.
  template <class ToTime, class Stack, class Redact>
  void add(const RecordView& record, ToTime&& to_time, Stack&& stack, Redact&& redact) {
    const Event& head = record.head();
    TraceEvent event;
    event.lane = lane_;
    event.kind = head.kind();
    event.flags = head.flags();
    event.time = to_time(head.time());
    switch (head.kind()) {
      case EventKind::kPayload: return;  // the tail of a record whose head is gone
      case EventKind::kAnnotated:
        event.resource = head.resource();
        event.root = head.root();
        event.annotation = decode_annotation(record, redact);
        event.flags = 0;
        break;
      case EventKind::kCounter: {
        event.counter = static_cast<CounterId>(number(head.resource()));
        event.annotation = keep({}, number_value(static_cast<ValueKind>(head.flags()), head.other));
        event.flags = 0;
        break;
      }
      case EventKind::kLost: {
        const LossRange range{number(head.resource()), event.time, to_time(static_cast<Ticks>(head.other))};
        add_loss(range);
        return;
      }
      default:
        event.resource = head.resource();
        event.other = head.other_id();
        event.root = head.root();
        event.type = head.type();
        event.stack = head.stack() == StackId::kNone ? StackId::kNone : stack(head.stack());
        break;
    }
    push(event);
  }

  /// A loss, as an event at its first moment.
  void add_loss(const LossRange& range) {
    marked_lost_ += range.count;
    if (lost_.count == 0) lost_.first = range.first;
    lost_.last = range.last;
    lost_.count += range.count;
    TraceEvent event;
    event.lane = lane_;
    event.kind = EventKind::kLost;
    event.time = range.first;
    event.loss = new (arena_.take(sizeof(LossRange))) LossRange(range);
    ++kept_;
    push(event);
  }

  [[nodiscard]] bool empty() const noexcept { return taken_ == events_.size(); }
  [[nodiscard]] const TraceEvent& front() const noexcept { return events_[taken_]; }
  /// What was not taken yet, in order of time; it stays where it is until the next add() or recycle().
  [[nodiscard]] std::span<TraceEvent> waiting() noexcept { return std::span(events_).subspan(taken_); }
  void pop(std::size_t count = 1) noexcept { taken_ += count; }
  /// What was popped, and what it pointed to, may be forgotten.
  void recycle() {
    for (std::size_t at = 0; at < taken_ && kept_ != 0; ++at) {
      if (events_[at].annotation != nullptr || events_[at].loss != nullptr) --kept_;
      if (events_[at].annotation != nullptr) arena_.give_back(events_[at].annotation);
      if (events_[at].loss != nullptr) arena_.give_back(events_[at].loss);
    }
    events_.erase(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(taken_));
    taken_ = 0;
  }

  [[nodiscard]] std::uint64_t marked_lost() const noexcept { return marked_lost_; }
  [[nodiscard]] const LossRange& lost() const noexcept { return lost_; }
  [[nodiscard]] std::uint64_t decoded() const noexcept { return decoded_; }

 private:
  /// At its place in time: an adapter may record a moment a little after it (Tracer::at).
  void push(const TraceEvent& event) {
    ++decoded_;
    if (events_.size() == taken_ || !(event.time < events_.back().time)) [[likely]] {
      events_.push_back(event);
      return;
    }
    std::size_t at = events_.size();
    while (at > taken_ && event.time < events_[at - 1].time) --at;
    events_.insert(events_.begin() + static_cast<std::ptrdiff_t>(at), event);
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
  const Annotation* keep(std::string_view key, Value value) {
    const std::size_t text_bytes = value.kind == ValueKind::kString ? value.text.size() : 0;
    std::byte* const memory = arena_.take(sizeof(Annotation) + key.size() + text_bytes);
    ++kept_;
    auto* const text = reinterpret_cast<char*>(memory + sizeof(Annotation));
    if (!key.empty()) std::memcpy(text, key.data(), key.size());
    if (text_bytes != 0) {
      std::memcpy(text + key.size(), value.text.data(), text_bytes);
      value.text = {text + key.size(), text_bytes};
    }
    return new (memory) Annotation{{text, key.size()}, value};
  }

  template <class Redact>
  const Annotation* decode_annotation(const RecordView& record, Redact& redact) {
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
      return keep(key, number_value(kind, bits));
    }
    return keep(key, Value::of(redact(key, raw), (head.flags() & 1) != 0));
  }

  LaneId lane_;
  std::vector<TraceEvent> events_;
  std::size_t taken_ = 0;
  std::size_t kept_ = 0;  // events with something in the arena
  EventArena arena_;
  std::string payload_;
  std::uint64_t marked_lost_ = 0;
  LossRange lost_;
  std::uint64_t decoded_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
