// SPDX-License-Identifier: MIT
// ranks.hpp: values of given ranks among values in no order, without sorting them.
//
//   const std::size_t ranks[] = {499'999, 989'999};        // ascending: the median and the p99 of a million
//   std::uint64_t found[2];
//   values_at_ranks(values, ranks, found);
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// found[k] is the value that sorting would put at ranks[k]. Puts `values` into another order.
///   Cost      O(n) expected, no allocation. Of many values those are counted that agree in size and in seven bits after the
///             first one; then only those are looked at closer among which a rank is: two passes, however many ranks.
inline void values_at_ranks(std::span<std::uint64_t> values, std::span<const std::size_t> ranks, std::span<std::uint64_t> found) noexcept {
  constexpr std::size_t kFew = 512;
  if (values.size() < kFew) {
    // From the highest rank down: each selection leaves the smaller values before it.
    std::size_t rest = values.size();
    for (std::size_t at = ranks.size(); at-- > 0;) {
      if (ranks[at] < rest) {
        std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(ranks[at]), values.begin() + static_cast<std::ptrdiff_t>(rest));
        rest = ranks[at];
      }
      found[at] = values[ranks[at]];
    }
    return;
  }
  const auto bucket_of = [](std::uint64_t value) {
    const unsigned shift = static_cast<unsigned>(std::bit_width(value | 128)) - 8;
    return static_cast<std::uint32_t>(shift * 128 + (value >> shift));
  };
  constexpr std::size_t kBuckets = 56 * 128 + 256;
  std::size_t counts[kBuckets] = {};
  for (const std::uint64_t value : values) ++counts[bucket_of(value)];
  // Values of all buckets that hold a rank come to the front, ...
  bool wanted[kBuckets] = {};
  std::size_t before = 0;  // so many are in the buckets below
  std::uint32_t bucket = 0;
  for (const std::size_t rank : ranks) {
    for (; rank >= before + counts[bucket]; ++bucket) before += counts[bucket];
    wanted[bucket] = true;
  }
  const auto front = std::partition(values.begin(), values.end(), [&](std::uint64_t value) { return wanted[bucket_of(value)]; });
  // ... and there each bucket by itself.
  before = 0;
  bucket = 0;
  auto from = values.begin();  // those of buckets that are done with
  auto to = values.begin();    // and of the one looked at
  for (std::size_t at = 0; at < ranks.size(); ++at) {
    if (from == to || ranks[at] >= before + counts[bucket]) {
      for (; ranks[at] >= before + counts[bucket]; ++bucket) before += counts[bucket];
      from = to;
      to = std::partition(from, front, [&](std::uint64_t value) { return bucket_of(value) == bucket; });
    }
    const auto place = from + static_cast<std::ptrdiff_t>(ranks[at] - before);
    std::nth_element(from, place, to);
    found[at] = *place;
  }
}

}  // namespace THENCE_ABI
}  // namespace thence
