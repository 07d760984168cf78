// SPDX-License-Identifier: MIT
// radix_sort.hpp: many records by a number, without comparing them.
//
//   std::vector<One> scratch;                                                        // used again from call to call
//   radix_sort(std::span(all), scratch, [](const One& one) { return one.wait; });
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Ascending by key(record), an unsigned number; those of equal keys stay in their order.
///   Cost      O(n) for each eleven bits of the largest key; O(n log n) of few. `scratch` grows to n.
///   Errors    std::bad_alloc.
template <class Record, class Key>
  requires std::is_trivially_copyable_v<Record>
void radix_sort(std::span<Record> records, std::vector<Record>& scratch, Key&& key) {
  constexpr std::size_t kFew = 256;
  constexpr unsigned kDigit = 11;
  if (records.size() < kFew) {
    std::stable_sort(records.begin(), records.end(), [&](const Record& a, const Record& b) { return key(a) < key(b); });
    return;
  }
  std::uint64_t every = 0;  // bits that any key has
  for (const Record& record : records) every |= key(record);
  if (scratch.size() < records.size()) scratch.resize(records.size());
  std::span<Record> from = records;
  std::span<Record> to(scratch.data(), records.size());
  for (unsigned shift = 0; shift < static_cast<unsigned>(std::bit_width(every)); shift += kDigit) {
    const auto digit_of = [&](const Record& record) { return key(record) >> shift & ((1u << kDigit) - 1); };
    std::size_t next[1 << kDigit] = {};
    for (const Record& record : from) ++next[digit_of(record)];
    std::size_t before = 0;
    for (std::size_t& count : next) before += std::exchange(count, before);
    for (const Record& record : from) to[next[digit_of(record)]++] = record;
    std::swap(from, to);
  }
  if (from.data() != records.data()) std::copy(from.begin(), from.end(), records.begin());
}

}  // namespace THENCE_ABI
}  // namespace thence
