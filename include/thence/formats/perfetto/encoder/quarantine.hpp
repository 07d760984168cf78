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
///   Cost      O(1).
///   When full it grows.
///   Errors    std::bad_alloc: then nothing was added.
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

  void add(const Entry& entry) {
    if (next_ == kNever) {
      entries_.clear();
      first_ = 0;
      next_ = entry.deadline;
    }
    if (first_ > 4096 && first_ * 2 > entries_.size()) {
      entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
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
  static constexpr std::uint64_t kNever = ~std::uint64_t{0};
  detail::Vector<Entry> entries_;
  std::size_t first_ = 0;
  std::uint64_t next_ = kNever;  // the first one's deadline
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
