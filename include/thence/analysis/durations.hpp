// SPDX-License-Identifier: MIT
// durations.hpp: how long things of one kind took, in whole nanoseconds and without sorting them.
//
// A trace of a million callbacks has a million delays, wanted by lane, by location and in all. Percentiles are members of
// the data (nearest rank), found by selection, and one that the data are too few for is absent:
//   const Durations delays = durations_of(values);      // `values` is put into another order
//   if (delays.p99) ...
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Nothing but whole numbers: the same on every machine. Counts (queue depths) have this form too.
struct Durations {
  std::uint64_t n = 0;
  std::uint64_t sum = 0;
  std::uint64_t min = 0;  ///< these mean something where n > 0
  std::uint64_t p50 = 0;
  std::uint64_t max = 0;
  std::optional<std::uint64_t> p90;
  std::optional<std::uint64_t> p99;   ///< of at least 100
  std::optional<std::uint64_t> p999;  ///< of at least 1,000

  /// Rounded to the nearest; 0 of nothing.
  [[nodiscard]] constexpr std::uint64_t mean() const noexcept { return n == 0 ? 0 : sum / n + (sum % n * 2 >= n ? 1 : 0); }
};

/// Members of unsorted values by their rank from 0, asked for from the highest down: each selection leaves the smaller
/// values before it.
///   Cost      O(n) expected for a handful of ranks, no allocation. The values are put into another order.
class DescendingRanks {
 public:
  explicit DescendingRanks(std::span<std::uint64_t> values) noexcept : values_(values), rest_(values.size()) {}
  std::uint64_t operator[](std::size_t rank) noexcept {
    if (rank < rest_) {
      const auto begin = values_.begin();
      std::nth_element(begin, begin + static_cast<std::ptrdiff_t>(rank), begin + static_cast<std::ptrdiff_t>(rest_));
      rest_ = rank;
    }
    return values_[rank];
  }

 private:
  std::span<std::uint64_t> values_;
  std::size_t rest_;
};

///   Cost      O(n) expected, no allocation.
[[nodiscard]] inline Durations durations_of(std::span<std::uint64_t> values) noexcept {
  Durations all;
  all.n = values.size();
  if (values.empty()) return all;
  all.min = all.max = values.front();
  for (const std::uint64_t value : values) {
    all.sum += value;
    all.min = std::min(all.min, value);
    all.max = std::max(all.max, value);
  }
  DescendingRanks ranks(values);
  const auto take = [&](std::uint64_t thousandths) {
    return ranks[static_cast<std::size_t>((values.size() * thousandths + 999) / 1000) - 1];
  };
  if (all.n >= 1000) all.p999 = take(999);
  if (all.n >= 100) all.p99 = take(990);
  if (all.n >= 10) all.p90 = take(900);
  all.p50 = take(500);
  return all;
}

/// How many of `n` values lie in each power of two: bucket b has those in [2^b, 2^(b+1)), bucket 0 those under 2.
struct Log2Histogram {
  static constexpr unsigned kBuckets = 64;
  std::uint64_t counts[kBuckets] = {};

  void add(std::uint64_t value) noexcept { ++counts[value < 2 ? 0 : 63 - static_cast<unsigned>(__builtin_clzll(value))]; }
};

}  // namespace THENCE_ABI
}  // namespace thence
