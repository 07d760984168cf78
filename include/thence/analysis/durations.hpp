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

#include "thence/analysis/ranks.hpp"
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
  const auto rank_of = [&](std::uint64_t thousandths) { return static_cast<std::size_t>((values.size() * thousandths + 999) / 1000) - 1; };
  const std::size_t ranks[] = {rank_of(500), rank_of(900), rank_of(990), rank_of(999)};
  std::uint64_t found[4] = {};
  const std::size_t known = all.n >= 1000 ? 4 : all.n >= 100 ? 3 : all.n >= 10 ? 2 : 1;
  values_at_ranks(values, std::span(ranks, known), found);
  all.p50 = found[0];
  if (known > 1) all.p90 = found[1];
  if (known > 2) all.p99 = found[2];
  if (known > 3) all.p999 = found[3];
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
