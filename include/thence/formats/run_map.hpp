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
#include <vector>

#include "thence/config/version.hpp"
#include "thence/formats/id_map.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// From an id, which is not 0, to a place in a table.
///   Shape     a page of 64 bytes for each 16 ids of which at least one is there
///   Threads   one
///   Cost      O(1): one comparison in the page that was used last, a look-up in an IdMap elsewhere; no allocation once it
///             has grown to the peak
///   Errors    insert may throw std::bad_alloc
class RunMap {
 public:
  static constexpr std::uint32_t kAbsent = IdMap::kAbsent;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  [[nodiscard]] std::uint32_t find(std::uint64_t id) noexcept {
    Page* const page = page_of(id);
    return page == nullptr ? kAbsent : page->places[id % kIds];
  }

  /// `id` must not be there yet.
  void insert(std::uint64_t id, std::uint32_t place) {
    Page* page = page_of(id);
    if (page == nullptr) [[unlikely]] page = add_page(id);
    page->places[id % kIds] = place;
    ++used_[last_];
    ++size_;
  }

  void erase(std::uint64_t id) noexcept {
    Page* const page = page_of(id);
    if (page == nullptr || page->places[id % kIds] == kAbsent) return;
    page->places[id % kIds] = kAbsent;
    --size_;
    if (--used_[last_] == 0) remove_page(id);
  }

 private:
  static constexpr std::size_t kIds = 16;
  struct alignas(64) Page {
    std::array<std::uint32_t, kIds> places;
  };
  /// Pages are told apart by this; 0, which is no key of an IdMap, stands for none.
  [[nodiscard]] static constexpr std::uint64_t key_of(std::uint64_t id) noexcept { return id / kIds + 1; }

  [[nodiscard]] Page* page_of(std::uint64_t id) noexcept {
    const std::uint64_t key = key_of(id);
    if (key != last_key_) {
      const std::uint32_t found = by_key_.find(key);
      if (found == kAbsent) return nullptr;
      last_key_ = key;
      last_ = found;
    }
    return &pages_[last_];
  }

  Page* add_page(std::uint64_t id) {
    std::uint32_t index = 0;
    if (free_.empty()) {
      index = static_cast<std::uint32_t>(pages_.size());
      pages_.emplace_back();
      used_.push_back(0);
      free_.reserve(pages_.capacity());  // so that erase never allocates
    } else {
      index = free_.back();
    }
    by_key_.insert(key_of(id), index);
    if (!free_.empty()) free_.pop_back();
    pages_[index].places.fill(kAbsent);
    last_key_ = key_of(id);
    last_ = index;
    return &pages_[index];
  }
  void remove_page(std::uint64_t id) noexcept {
    by_key_.erase(key_of(id));
    free_.push_back(last_);
    last_key_ = 0;
  }

  IdMap by_key_;
  std::vector<Page> pages_;
  std::vector<std::uint8_t> used_;  // ids of each page
  std::vector<std::uint32_t> free_;
  std::uint64_t last_key_ = 0;
  std::uint32_t last_ = 0;
  std::size_t size_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
