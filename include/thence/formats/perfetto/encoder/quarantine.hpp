// SPDX-License-Identifier: MIT
// quarantine.hpp: resources that have ended, until nothing late is expected of them any more.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>

#include "thence/config/version.hpp"
#include "thence/core/vector.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// A queue in the order of deadlines, which come in that order.
///   Threads   one.
///   Cost      O(1), amortized.
///   When full it grows.
///   Errors    make_room may throw std::bad_alloc: then nothing has changed.
class Quarantine {
 public:
  struct Entry {
    std::uint64_t resource = 0;
    std::uint64_t deadline = 0;
    std::uint32_t place = 0;
  };

  Quarantine() { entries_.reserve(64); }  // so that the first one is added without memory

  /// Whether the first deadline lies before `now`.
  [[nodiscard]] bool due(std::uint64_t now) const noexcept { return next_ < now; }

  /// To be called before each `add`.
  [[gnu::always_inline]] inline void make_room() {
    if (entries_.size() == entries_.capacity()) [[unlikely]] make_more_room();
  }
  [[gnu::always_inline]] inline void add(const Entry& entry) noexcept {
    if (next_ == kNever) {
      entries_.clear();
      first_ = 0;
      next_ = entry.deadline;
    }
    entries_.push_back(entry);
  }
  /// The first one, which must be there.
  [[nodiscard]] Entry take() noexcept {
    const Entry entry = entries_[first_++];
    next_ = first_ == entries_.size() ? kNever : entries_[first_].deadline;
    return entry;
  }
  /// The one that will be taken after `count` others; nullptr: there is none.
  [[nodiscard]] const Entry* ahead(std::size_t count) const noexcept {
    return entries_.size() - first_ > count ? &entries_[first_ + count] : nullptr;
  }

 private:
  [[gnu::noinline]] void make_more_room() {
    if (first_ * 2 <= entries_.size()) return entries_.reserve(2 * entries_.size());
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }

  static constexpr std::uint64_t kNever = ~std::uint64_t{0};
  detail::Vector<Entry> entries_;
  std::size_t first_ = 0;
  std::uint64_t next_ = kNever;  // the first one's deadline
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
