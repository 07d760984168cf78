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
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/storage/ring_buffer.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Memory for what events point to, given back in the order in which it was taken.
class FifoArena {
 public:
  /// `owner` numbers the event that the bytes belong to; it never decreases.
  [[nodiscard]] void* take(std::size_t bytes, std::uint64_t owner) {
    bytes = (bytes + alignof(std::max_align_t) - 1) & ~(alignof(std::max_align_t) - 1);
    if (blocks_.empty() || blocks_.back().size - blocks_.back().used < bytes) add_block(bytes);
    Block& block = blocks_.back();
    void* const result = block.bytes.get() + block.used;
    block.used += bytes;
    block.last_owner = owner;
    return result;
  }
  /// Everything of owners under `owner` is no longer needed.
  void release_before(std::uint64_t owner) {
    while (!blocks_.empty() && blocks_.front().last_owner < owner) {
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
    std::uint64_t last_owner = 0;
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
        event.annotation = keep(Annotation{{}, number_value(static_cast<ValueKind>(head.flags()), head.other)});
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
    auto* const kept = static_cast<LossRange*>(arena_.take(sizeof(LossRange), next_owner()));
    *kept = range;
    event.loss = kept;
    push(event);
  }

  [[nodiscard]] bool empty() const noexcept { return taken_ == events_.size(); }
  [[nodiscard]] const TraceEvent& front() const noexcept { return events_[taken_]; }
  void pop() noexcept { ++taken_; }
  /// What was popped, and what it pointed to, may be forgotten.
  void recycle() {
    if (taken_ == 0) return;
    first_owner_ += taken_;
    arena_.release_before(first_owner_);
    events_.erase(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(taken_));
    taken_ = 0;
  }

  [[nodiscard]] std::uint64_t marked_lost() const noexcept { return marked_lost_; }
  [[nodiscard]] const LossRange& lost() const noexcept { return lost_; }
  [[nodiscard]] std::uint64_t decoded() const noexcept { return decoded_; }

 private:
  [[nodiscard]] std::uint64_t next_owner() const noexcept { return first_owner_ + events_.size(); }

  void push(const TraceEvent& event) {
    events_.push_back(event);
    ++decoded_;
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

  const Annotation* keep(const Annotation& annotation) {
    return new (arena_.take(sizeof(Annotation), next_owner())) Annotation(annotation);
  }
  std::string_view keep_text(std::string_view text) {
    if (text.empty()) return {};
    auto* const bytes = static_cast<char*>(arena_.take(text.size(), next_owner()));
    std::memcpy(bytes, text.data(), text.size());
    return {bytes, text.size()};
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
      return keep(Annotation{keep_text(key), number_value(kind, bits)});
    }
    const std::string_view kept_key = keep_text(key);
    return keep(Annotation{kept_key, Value::of(keep_text(redact(key, raw)), (head.flags() & 1) != 0)});
  }

  LaneId lane_;
  std::vector<TraceEvent> events_;
  std::size_t taken_ = 0;
  std::uint64_t first_owner_ = 0;
  FifoArena arena_;
  std::string payload_;
  std::uint64_t marked_lost_ = 0;
  LossRange lost_;
  std::uint64_t decoded_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
