// SPDX-License-Identifier: MIT
// run_map.hpp: an IdMap for ids that are handed out one after the other, so that neighbours lie in one cache line.
//
// A resource's id is looked up at each of its events, mostly soon after its neighbours'. Hashed one by one they would lie
// all over a table; here 16 of them share a page, and only pages are hashed.
//   RunMap places;
//   places.insert(id, 7);
//   places.find(id);            // 7
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "thence/config/version.hpp"
#include "thence/core/vector.hpp"
#include "thence/formats/id_map.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// From an id, which is not 0, to a place in a table.
///   Shape     a page of 64 bytes for each 16 ids of which at least one is there
///   Threads   one
///   Cost      O(1): one comparison for the pages that were used last, a look-up in an IdMap for the others; no allocation
///             once it has grown to the peak
///   Errors    insert may throw std::bad_alloc
class RunMap {
 public:
  static constexpr std::uint32_t kAbsent = IdMap::kAbsent;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  [[nodiscard]] std::uint32_t find(std::uint64_t id) noexcept {
    const std::uint32_t page = page_of(id);
    return page == kAbsent ? kAbsent : pages_[page].places[id % kIds];
  }

  /// `id` must not be there yet.
  void insert(std::uint64_t id, std::uint32_t place) {
    std::uint32_t page = page_of(id);
    if (page == kAbsent) [[unlikely]] page = add_page(id);
    pages_[page].places[id % kIds] = place;
    ++used_[page];
    ++size_;
  }

  void erase(std::uint64_t id) noexcept {
    const std::uint32_t page = page_of(id);
    if (page == kAbsent || pages_[page].places[id % kIds] == kAbsent) return;
    pages_[page].places[id % kIds] = kAbsent;
    --size_;
    if (--used_[page] == 0) remove_page(id, page);
  }

 private:
  static constexpr std::size_t kIds = 16;     // of a page
  static constexpr std::size_t kRecent = 64;  // pages
  struct alignas(64) Page {
    std::array<std::uint32_t, kIds> places;
  };
  struct Recent {
    std::uint64_t key = 0;
    std::uint32_t page = 0;
  };
  /// Pages are told apart by this; 0, which is no key of an IdMap, stands for none.
  [[nodiscard]] static constexpr std::uint64_t key_of(std::uint64_t id) noexcept { return id / kIds + 1; }

  [[gnu::always_inline]] [[nodiscard]] inline std::uint32_t page_of(std::uint64_t id) noexcept {
    const std::uint64_t key = key_of(id);
    Recent& recent = recent_[key % kRecent];
    if (recent.key == key) [[likely]] return recent.page;
    const std::uint32_t page = by_key_.find(key);
    if (page != kAbsent) recent = {key, page};
    return page;
  }

  [[gnu::noinline]] std::uint32_t add_page(std::uint64_t id) {
    std::uint32_t page = 0;
    if (free_.empty()) {
      page = static_cast<std::uint32_t>(pages_.size());
      used_.resize(page + 1);
      pages_.emplace_back();
      free_.reserve(pages_.capacity());  // so that erase never allocates
    } else {
      page = free_.back();
    }
    const std::uint64_t key = key_of(id);
    by_key_.insert(key, page);
    if (!free_.empty()) free_.pop_back();
    for (std::uint32_t& place : pages_[page].places) place = kAbsent;
    recent_[key % kRecent] = {key, page};
    return page;
  }
  [[gnu::noinline]] void remove_page(std::uint64_t id, std::uint32_t page) noexcept {
    const std::uint64_t key = key_of(id);
    by_key_.erase(key);
    free_.push_back(page);
    if (recent_[key % kRecent].key == key) recent_[key % kRecent] = {};
  }

  IdMap by_key_;
  detail::Vector<Page> pages_;
  detail::Vector<std::uint8_t> used_;  // ids of each page
  detail::Vector<std::uint32_t> free_;
  std::array<Recent, kRecent> recent_{};
  std::size_t size_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
