// SPDX-License-Identifier: MIT
// stack_deduplicator.hpp: each distinct call stack is stored once.
//
// A server captures the same few hundred stacks millions of times. An event therefore carries a 3-byte StackId; the frames
// are kept here and written to the trace on first sight only.
//
//   StackDeduplicator<std::uint64_t> stacks{{.max_stacks = 16'384, .max_frames = 262'144}};
//   StackId id = stacks.intern(frames);            // equal frames, equal id
//
// Layer: storage (includes core/ only).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <utility>

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#ifndef XXH_NO_XXH3
#define XXH_NO_XXH3  // XXH64 is enough, and keeps the intrinsics' umbrella header out
#endif
#include <xxhash.h>

#include "thence/config/version.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Where to look first for equal frames. Any function of the bytes will do: equality is checked.
struct XxHash64 {
  [[nodiscard]] static std::uint64_t hash(const void* bytes, std::size_t size) noexcept { return XXH64(bytes, size, 0); }
};

/// The same for 64-bit words that come one by one: who walks a stack has its hash when the walk ends, for nothing, because
/// the walk waits for memory and the multiplications do not. Two lanes, so that neither waits for the other.
class WordHash {
 public:
  void add(std::uint64_t word) noexcept {
    lane_ = std::exchange(other_, std::rotl((lane_ ^ word) * kMultiplier, 29));
  }
  [[nodiscard]] std::uint64_t value() const noexcept {
    const std::uint64_t both = (lane_ ^ std::rotl(other_, 32)) * kMultiplier;
    return both ^ both >> 32;
  }
  [[nodiscard]] static std::uint64_t hash(const void* bytes, std::size_t size) noexcept {
    WordHash all;
    for (std::size_t at = 0; at + sizeof(std::uint64_t) <= size; at += sizeof(std::uint64_t)) {
      std::uint64_t word;
      std::memcpy(&word, static_cast<const char*>(bytes) + at, sizeof word);
      all.add(word);
    }
    return all.value();
  }

 private:
  static constexpr std::uint64_t kMultiplier = 0x9E3779B97F4A7C15u;
  std::uint64_t lane_ = 0;
  std::uint64_t other_ = 1;
};

/// Numbers distinct sequences of frames, from 1, in the order of their first sight.
///   Shape     up to `max_stacks` stacks (StackId: at most 2^24 - 1) and `max_frames` frames in all; allocated at
///             construction, never after. Frames are compared as bytes, so their type may have no padding.
///   Threads   one thread interns. Any thread may read the frames of an id that reached it with release/acquire.
///   Cost      intern: one hash of the frames, then one comparison of them on a hit. A hash is no proof: equality is checked.
///   When full a stack that is not there yet is refused (kNone) and counted in refused(); those there are still found.
///   Errors    noexcept, but for construction (std::bad_alloc).
///   Lifetime  not movable; ids are valid as long as it lives.
template <class Frame, class Id = StackId, class Hash = XxHash64>
  requires std::is_trivially_copyable_v<Frame> && std::has_unique_object_representations_v<Frame>
class StackDeduplicator {
 public:
  struct Options {
    std::uint32_t max_stacks = 16'384;
    std::uint32_t max_frames = 262'144;
  };

  explicit StackDeduplicator(Options options = Options())
      : options_{std::min(options.max_stacks, kMaxIds), options.max_frames},
        table_mask_(std::bit_ceil(options_.max_stacks * std::uint64_t{2} + 2) - 1),
        table_(table_mask_ + 1),
        entries_(options_.max_stacks + std::size_t{1}),
        frames_(options_.max_frames + std::size_t{1}) {}
  StackDeduplicator(const StackDeduplicator&) = delete;
  StackDeduplicator& operator=(const StackDeduplicator&) = delete;

  /// The id of these frames; kNone for no frames, and when full.
  Id intern(View<const Frame> frames) noexcept {
    if (frames.empty()) return Id{};
    return intern(frames, Hash::hash(frames.data(), frames.size_bytes()));
  }
  /// For a caller that has the hash already: Hash::hash() of the frames, which are not empty.
  Id intern(View<const Frame> frames, std::uint64_t hash) noexcept {
    for (std::uint64_t at = hash & table_mask_;; at = (at + 1) & table_mask_) {
      const std::uint32_t index = table_[at];
      if (index == 0) return add(frames, hash, at);
      const Entry& entry = entries_[index];
      if (entry.hash == hash && entry.length == frames.size() &&
          std::memcmp(&frames_[entry.offset], frames.data(), frames.size_bytes()) == 0) {
        return static_cast<Id>(index);
      }
    }
  }

  /// The frames of an id that intern() gave; none for kNone.
  [[nodiscard]] View<const Frame> frames(Id id) const noexcept {
    const auto index = static_cast<std::uint64_t>(id);
    if (index == 0 || index > options_.max_stacks) return {};
    const Entry& entry = entries_[index];
    return {&frames_[entry.offset], entry.length};
  }

  /// For the interning thread.
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

 private:
  /// An event has room for kStackIdBits.
  static constexpr std::uint32_t kMaxIds =
      std::is_same_v<Id, StackId> ? (std::uint32_t{1} << kStackIdBits) - 1 : ~std::uint32_t{0} - 1;

  struct Entry {
    std::uint64_t hash = 0;
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
  };

  [[gnu::noinline]] Id add(View<const Frame> frames, std::uint64_t hash, std::uint64_t at) noexcept {
    if (size_ == options_.max_stacks || frames.size() > options_.max_frames - used_frames_) {
      ++refused_;
      return Id{};
    }
    const std::uint32_t index = ++size_;
    std::memcpy(&frames_[used_frames_], frames.data(), frames.size_bytes());
    entries_[index] = {hash, used_frames_, static_cast<std::uint32_t>(frames.size())};
    used_frames_ += static_cast<std::uint32_t>(frames.size());
    table_[at] = index;
    return static_cast<Id>(index);
  }

  Options options_;
  std::uint64_t table_mask_;
  detail::Vector<std::uint32_t> table_;  // index into entries_, 0 = free; at most half full, so a probe always ends
  detail::Vector<Entry> entries_;
  detail::Vector<Frame> frames_;
  std::uint32_t size_ = 0;
  std::uint32_t used_frames_ = 0;
  std::uint64_t refused_ = 0;
};

/// A string that stands once in a StringDeduplicator. 0 = none, or refused.
enum class StringId : std::uint32_t { kNone = 0 };

/// Strings are stacks of characters: each once, fixed capacity, refused and counted when full.
using StringDeduplicator = StackDeduplicator<char, StringId>;

[[nodiscard]] inline StringId intern(StringDeduplicator& strings, std::string_view text) noexcept {
  return strings.intern(View<const char>{text.data(), text.size()});
}
[[nodiscard]] inline std::string_view text_of(const StringDeduplicator& strings, StringId id) noexcept {
  const View<const char> text = strings.frames(id);
  return {text.data(), text.size()};
}

}  // namespace THENCE_ABI
}  // namespace thence
