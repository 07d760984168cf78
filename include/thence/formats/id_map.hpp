// SPDX-License-Identifier: MIT
// id_map.hpp: from an id to a place in a table, for what an encoder keeps of that which is open.
//
// Entries come and go millions of times while few are there at once: open addressing, deletion without tombstones, and no
// allocation once the table has grown to the peak.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>

#include "thence/config/version.hpp"
#include "thence/core/vector.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A bijection of 64 bits that spreads them (Stafford's variant 13, the finaliser of SplitMix64).
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t value) noexcept {
  value ^= value >> 30;
  value *= 0xbf58476d1ce4e5b9u;
  value ^= value >> 27;
  value *= 0x94d049bb133111ebu;
  return value ^ value >> 31;
}

/// 64-bit keys other than 0 to 32-bit places.
///   Threads   one.
///   Cost      O(1) expected; at most half full, so that what is not there is known after 2.5 looks on average.
///   When full it doubles.
///   Errors    std::bad_alloc.
class IdMap {
 public:
  static constexpr std::uint32_t kAbsent = ~std::uint32_t{0};

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  [[nodiscard]] std::uint32_t find(std::uint64_t key) const noexcept {
    if (slots_.empty()) return kAbsent;
    for (std::size_t at = home(key);; at = (at + 1) & mask()) {
      if (slots_[at].key == key) return slots_[at].place;
      if (slots_[at].key == 0) return kAbsent;
    }
  }

  /// `key` must not be there yet.
  void insert(std::uint64_t key, std::uint32_t place) {
    if ((size_ + 1) * 2 > slots_.size()) grow();
    put(key, place);
    ++size_;
  }

  void erase(std::uint64_t key) noexcept {
    if (slots_.empty()) return;
    std::size_t hole = home(key);
    while (slots_[hole].key != key) {
      if (slots_[hole].key == 0) return;
      hole = (hole + 1) & mask();
    }
    // What follows moves up wherever the hole stands between its home and its place.
    for (std::size_t at = (hole + 1) & mask(); slots_[at].key != 0; at = (at + 1) & mask()) {
      if (((at - home(slots_[at].key)) & mask()) >= ((at - hole) & mask())) {
        slots_[hole] = slots_[at];
        hole = at;
      }
    }
    slots_[hole] = {};
    --size_;
  }

  void clear() noexcept {
    for (Slot& slot : slots_) slot = {};
    size_ = 0;
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::uint32_t place = 0;
  };

  [[nodiscard]] std::size_t mask() const noexcept { return slots_.size() - 1; }
  [[nodiscard]] std::size_t home(std::uint64_t key) const noexcept { return static_cast<std::size_t>(mix64(key)) & mask(); }
  void put(std::uint64_t key, std::uint32_t place) noexcept {
    std::size_t at = home(key);
    while (slots_[at].key != 0) at = (at + 1) & mask();
    slots_[at] = {key, place};
  }
  void grow() {
    detail::Vector<Slot> old(slots_.empty() ? 16 : slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.key != 0) put(slot.key, slot.place);
    }
  }

  detail::Vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
