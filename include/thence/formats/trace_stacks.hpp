// SPDX-License-Identifier: MIT
// trace_stacks.hpp: the strings, frames and stacks that a trace has named so far, for as long as a file may name them again.
//
// A stack is handed over once, while files need it many times: in each document, and after each point from which a cut
// file must be readable. So it is kept, each string and frame once, up to a bound.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"
#include "thence/formats/id_map.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Each distinct string once, numbered from 1; 0 is none.
///   Threads   one.
///   When full `intern` returns kNone (max_strings or max_bytes reached).
///   Errors    std::bad_alloc.
///   Lifetime  views are valid until the next intern.
class TraceStrings {
 public:
  static constexpr std::uint32_t kNone = 0;

  TraceStrings(std::size_t max_strings, std::size_t max_bytes) : max_strings_(max_strings), max_bytes_(max_bytes) {
    entries_.push_back({});
  }

  [[nodiscard]] std::uint32_t intern(std::string_view text) {
    // 0 is no key of the map, so a hash of 0 counts as 1; equal hashes are chained.
    const std::uint64_t hash = std::hash<std::string_view>{}(text) | 1u;
    const std::uint32_t first = map_.find(hash);
    for (std::uint32_t at = first; at != IdMap::kAbsent; at = entries_[at].next) {
      if (view(at) == text) return at;
    }
    if (entries_.size() > max_strings_ || text_.size() + text.size() > max_bytes_) return kNone;
    const auto index = static_cast<std::uint32_t>(entries_.size());
    entries_.push_back({text_.size(), text.size(), IdMap::kAbsent});
    text_.append(text);
    if (first == IdMap::kAbsent) {
      map_.insert(hash, index);
    } else {
      entries_[index].next = entries_[first].next;
      entries_[first].next = index;
    }
    return index;
  }

  [[nodiscard]] std::string_view view(std::uint32_t index) const noexcept {
    const Entry& entry = entries_[index];
    return {text_.data() + entry.offset, entry.length};
  }
  /// One more than the highest index.
  [[nodiscard]] std::size_t end() const noexcept { return entries_.size(); }

 private:
  struct Entry {
    std::size_t offset = 0;
    std::size_t length = 0;
    std::uint32_t next = IdMap::kAbsent;
  };
  std::size_t max_strings_;
  std::size_t max_bytes_;
  detail::Vector<Entry> entries_;
  std::string text_;
  IdMap map_;
};

/// A frame with its strings interned (0 = unknown).
struct StoredFrame {
  FrameKind kind = FrameKind::kSource;
  std::uint32_t function = 0;
  std::uint32_t file = 0;
  std::uint32_t build_id = 0;
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  std::uint64_t pc = 0;
  std::uint64_t relative_pc = 0;
  friend bool operator==(const StoredFrame&, const StoredFrame&) = default;
};

/// The stacks of a trace by their ids.
///   Threads   one.
///   Cost      define: O(frames). Nothing of an event's path allocates.
///   When full a stack beyond `max_bytes` is not kept: `find` does not know it and `refused()` counts it.
///   Errors    std::bad_alloc.
class TraceStacks {
 public:
  explicit TraceStacks(std::size_t max_bytes) : max_bytes_(max_bytes), strings_(~std::uint32_t{0} - 1, max_bytes) {
    frames_.push_back({});
    frame_next_.push_back(IdMap::kAbsent);
  }

  void define(const StackInfo& stack) {
    if (stack.id == StackId::kNone || by_id_.find(number(stack.id)) != IdMap::kAbsent) return;
    const std::size_t cost = stack.frames.size() * (sizeof(std::uint32_t) + sizeof(StoredFrame)) + sizeof(Range);
    if (bytes_ + cost > max_bytes_) {
      ++refused_;
      return;
    }
    const std::size_t first = frame_ids_.size();
    for (const FrameInfo& frame : stack.frames) {
      StoredFrame stored;
      stored.kind = frame.kind;
      stored.line = frame.line;
      stored.column = frame.column;
      stored.pc = frame.pc;
      stored.relative_pc = frame.relative_pc;
      if (!keep(frame.function, stored.function) || !keep(frame.file, stored.file) || !keep(frame.build_id, stored.build_id)) {
        frame_ids_.resize(first);
        ++refused_;
        return;
      }
      frame_ids_.push_back(intern(stored));
    }
    bytes_ += cost;
    stacks_.push_back({first, stack.frames.size()});
    by_id_.insert(number(stack.id), static_cast<std::uint32_t>(stacks_.size() - 1));
  }

  [[nodiscard]] bool knows(StackId id) const noexcept { return by_id_.find(number(id)) != IdMap::kAbsent; }

  /// The frames of a stack that is known, innermost first, as indices for `frame`.
  [[nodiscard]] View<const std::uint32_t> frames_of(StackId id) const noexcept {
    const Range& range = stacks_[by_id_.find(number(id))];
    return {frame_ids_.data() + range.first, range.count};
  }
  [[nodiscard]] const StoredFrame& frame(std::uint32_t index) const noexcept { return frames_[index]; }
  [[nodiscard]] std::string_view string(std::uint32_t index) const noexcept { return strings_.view(index); }
  [[nodiscard]] TraceStrings& strings() noexcept { return strings_; }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

 private:
  struct Range {
    std::size_t first = 0;
    std::size_t count = 0;
  };

  bool keep(std::string_view text, std::uint32_t& index) {
    if (text.empty()) return true;
    index = strings_.intern(text);
    return index != TraceStrings::kNone;
  }
  std::uint32_t intern(const StoredFrame& frame) {
    std::uint64_t hash = mix64(frame.function + (std::uint64_t{frame.file} << 32));
    hash = mix64(hash ^ (frame.line + (std::uint64_t{frame.column} << 32)));
    hash = mix64(hash ^ frame.pc) ^ mix64(frame.relative_pc + 1) ^ frame.build_id ^ static_cast<std::uint64_t>(frame.kind);
    hash |= 1u;
    const std::uint32_t first = by_frame_.find(hash);
    for (std::uint32_t at = first; at != IdMap::kAbsent; at = frame_next_[at]) {
      if (frames_[at] == frame) return at;
    }
    const auto index = static_cast<std::uint32_t>(frames_.size());
    frame_next_.resize(frames_.size() + 1, IdMap::kAbsent);
    frames_.push_back(frame);
    if (first == IdMap::kAbsent) {
      by_frame_.insert(hash, index);
    } else {
      frame_next_[index] = frame_next_[first];
      frame_next_[first] = index;
    }
    return index;
  }

  std::size_t max_bytes_;
  std::size_t bytes_ = 0;
  std::uint64_t refused_ = 0;
  TraceStrings strings_;
  detail::Vector<StoredFrame> frames_;
  detail::Vector<std::uint32_t> frame_next_;
  IdMap by_frame_;
  detail::Vector<std::uint32_t> frame_ids_;
  detail::Vector<Range> stacks_;
  IdMap by_id_;
};

}  // namespace THENCE_ABI
}  // namespace thence
