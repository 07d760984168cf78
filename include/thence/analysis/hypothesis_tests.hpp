// SPDX-License-Identifier: MIT
// hypothesis_tests.hpp: whether two sets of measurements differ, by how much, and whether there were enough to tell.
//
// Durations are not normal, so nothing here assumes that they are: ranks (Mann-Whitney, Hodges-Lehmann, Cliff), whole
// distributions (Kolmogorov-Smirnov), resampling of blocks for values that depend on each other, exact tests for counts.
// A test that could not have reached significance says so: `underpowered` is not `no difference`.
//   const auto test = statistics::mann_whitney(base, now);
//   if (test.p < 0.05) shift = statistics::hodges_lehmann(base, now).shift;   // now - base
// "First" is the base, "second" what is compared with it; every effect is second - first.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "thence/analysis/mathematics.hpp"
#include "thence/analysis/statistics.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace statistics {

/// The PCG32 generator (O'Neill): the same numbers everywhere.
class Pcg32 {
 public:
  explicit constexpr Pcg32(std::uint64_t seed, std::uint64_t stream = 0xda3e39cb94b95bdbu) noexcept
      : increment_(stream << 1 | 1) {
    next();
    state_ += seed;
    next();
  }
  constexpr std::uint32_t next() noexcept {
    const std::uint64_t old = state_;
    state_ = old * 6364136223846793005u + increment_;
    const auto mixed = static_cast<std::uint32_t>((old >> 18 ^ old) >> 27);
    return std::rotr(mixed, static_cast<int>(old >> 59));
  }
  /// Below `bound`, which is not 0; each equally likely.
  constexpr std::uint32_t below(std::uint32_t bound) noexcept {
    const std::uint32_t threshold = (0u - bound) % bound;
    for (;;) {
      const std::uint32_t drawn = next();
      if (drawn >= threshold) return drawn % bound;
    }
  }

 private:
  std::uint64_t state_ = 0;
  std::uint64_t increment_;
};

// -- two samples ------------------------------------------------------------------------------------------------------

struct MannWhitney {
  std::size_t first = 0;
  std::size_t second = 0;
  double u = 0;            ///< pairs in which the second is greater, ties half
  double p = 1;            ///< two-sided
  double smallest_p = 1;   ///< that n1 and n2 can reach at all: 2 / C(n1+n2, n1)
  double cliffs_delta = 0; ///< (greater - less) / pairs: -1 to 1
  bool exact = false;
  bool ties = false;
};

namespace detail {

/// How many of the orders of n1 + n2 distinct values have each U: the coefficients of the Gaussian binomial.
[[nodiscard]] inline std::vector<double> u_counts(std::size_t n1, std::size_t n2) {
  const std::size_t most = n1 * n2;
  std::vector<double> counts(most + 1, 0);
  counts[0] = 1;
  for (std::size_t k = 1; k <= n1; ++k) {
    // Times (1 - q^(n2+k)), divided by (1 - q^k).
    for (std::size_t u = most + 1; u-- > n2 + k;) counts[u] -= counts[u - n2 - k];
    for (std::size_t u = k; u <= most; ++u) counts[u] += counts[u - k];
  }
  return counts;
}

[[nodiscard]] inline double choose(std::size_t n, std::size_t k) noexcept {
  double made = 1;
  for (std::size_t at = 1; at <= std::min(k, n - k); ++at) {
    made = made * static_cast<double>(n - at + 1) / static_cast<double>(at);
  }
  return made;
}

inline constexpr std::size_t kExactLimit = 20;

}  // namespace detail

/// Whether one of two independent samples tends to be greater. Exact where both have at most 20 values and there is no
/// tie; else by the normal distribution, with corrections for ties and for continuity.
///   Cost      O(n log n).
[[nodiscard]] inline MannWhitney mann_whitney(std::span<const double> first, std::span<const double> second) {
  MannWhitney made;
  made.first = first.size();
  made.second = second.size();
  if (first.empty() || second.empty()) return made;
  struct One {
    double value;
    bool second;
  };
  std::vector<One> all;
  all.reserve(first.size() + second.size());
  for (const double value : first) all.push_back({value, false});
  for (const double value : second) all.push_back({value, true});
  std::sort(all.begin(), all.end(), [](const One& a, const One& b) { return a.value < b.value; });
  double tied = 0;  // sum of t^3 - t
  double below = 0; // of the first
  for (std::size_t at = 0; at < all.size();) {
    std::size_t end = at;
    double of_first = 0;
    double of_second = 0;
    for (; end < all.size() && all[end].value == all[at].value; ++end) (all[end].second ? of_second : of_first) += 1;
    made.u += of_second * (below + of_first / 2);
    below += of_first;
    const double t = of_first + of_second;
    tied += t * t * t - t;
    at = end;
  }
  made.ties = tied > 0;
  const auto n1 = static_cast<double>(first.size());
  const auto n2 = static_cast<double>(second.size());
  made.cliffs_delta = 2 * made.u / (n1 * n2) - 1;
  made.smallest_p = std::min(1.0, 2 / detail::choose(first.size() + second.size(), first.size()));
  if (first.size() <= detail::kExactLimit && second.size() <= detail::kExactLimit && !made.ties) {
    made.exact = true;
    const std::vector<double> counts = detail::u_counts(first.size(), second.size());
    const double least = std::min(made.u, n1 * n2 - made.u);
    double tail = 0;
    for (std::size_t u = 0; static_cast<double>(u) <= least; ++u) tail += counts[u];
    made.p = std::min(1.0, 2 * tail / detail::choose(first.size() + second.size(), first.size()));
    return made;
  }
  const double n = n1 + n2;
  const double variance = n1 * n2 / 12 * (n + 1 - tied / (n * (n - 1)));
  if (!(variance > 0)) return made;  // all values are equal
  const double apart = made.u > n1 * n2 / 2 ? made.u - n1 * n2 / 2 : n1 * n2 / 2 - made.u;
  made.p = std::min(1.0, 2 * mathematics::normal_upper_tail((apart > 0.5 ? apart - 0.5 : 0) / std::sqrt(variance)));
  return made;
}

/// The shift from the first sample to the second: the median of all differences, with its 95 % interval.
struct Shift {
  double shift = 0;
  double low = 0;
  double high = 0;
  bool interval_known = false;  ///< false: too few values for one of 95 %
};

namespace detail {

/// Doubles in their order as integers: what lies between two of them can be halved exactly.
[[nodiscard]] inline std::uint64_t ordered(double value) noexcept {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  return bits >> 63 != 0 ? ~bits : bits | std::uint64_t{1} << 63;
}
[[nodiscard]] inline double from_ordered(std::uint64_t key) noexcept {
  return std::bit_cast<double>(key >> 63 != 0 ? key & ~(std::uint64_t{1} << 63) : ~key);
}

/// The k-th smallest (from 0) of all b - a. Both sorted. O((n1 + n2) x 64).
[[nodiscard]] inline double kth_difference(std::span<const double> a, std::span<const double> b, std::uint64_t k) noexcept {
  std::uint64_t low = ordered(b.front() - a.back());
  std::uint64_t high = ordered(b.back() - a.front());
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    const double limit = from_ordered(middle);
    // How many b - a are <= limit: as a grows, so does the b that is within it.
    std::uint64_t count = 0;
    std::size_t within = 0;
    for (const double value : a) {
      while (within < b.size() && b[within] - value <= limit) ++within;
      count += within;
    }
    if (count > k) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return from_ordered(low);
}

}  // namespace detail

/// Hodges and Lehmann's estimate. The interval is the one that the Mann-Whitney test does not reject: by the exact
/// distribution of U where both have at most 20 values and there is no tie, else by the normal one.
///   Cost      O(n log n).
[[nodiscard]] inline Shift hodges_lehmann(std::span<const double> first, std::span<const double> second) {
  Shift made;
  if (first.empty() || second.empty()) return made;
  std::vector<double> a(first.begin(), first.end());
  std::vector<double> b(second.begin(), second.end());
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  const std::uint64_t pairs = static_cast<std::uint64_t>(a.size()) * b.size();
  made.shift = detail::kth_difference(a, b, pairs / 2);
  if (pairs % 2 == 0) made.shift = (made.shift + detail::kth_difference(a, b, pairs / 2 - 1)) / 2;
  const MannWhitney test = mann_whitney(first, second);
  std::uint64_t least = 0;  // the least U that the test does not reject
  if (test.exact) {
    const std::vector<double> counts = detail::u_counts(a.size(), b.size());
    const double all = detail::choose(a.size() + b.size(), a.size());
    for (double tail = counts[0]; tail < 0.025 * all; tail += counts[++least]) {
    }
  } else {
    const auto n1 = static_cast<double>(a.size());
    const auto n2 = static_cast<double>(b.size());
    const double half = 1.959963984540054 * std::sqrt(n1 * n2 * (n1 + n2 + 1) / 12);
    const double left = std::floor(n1 * n2 / 2 - half);
    least = left > 0 ? static_cast<std::uint64_t>(left) : 0;
  }
  made.interval_known = least > 0;
  const std::uint64_t outside = least == 0 ? 0 : std::min(least - 1, (pairs - 1) / 2);
  made.low = detail::kth_difference(a, b, outside);
  made.high = detail::kth_difference(a, b, pairs - 1 - outside);
  return made;
}

struct KolmogorovSmirnov {
  double d = 0;  ///< the greatest distance between the two distribution functions
  double p = 1;  ///< asymptotic, with Stephens' correction
};

/// Both sorted.
template <class Number>
[[nodiscard]] KolmogorovSmirnov kolmogorov_smirnov(std::span<const Number> first, std::span<const Number> second) noexcept {
  KolmogorovSmirnov made;
  if (first.empty() || second.empty()) return made;
  const auto n1 = static_cast<double>(first.size());
  const auto n2 = static_cast<double>(second.size());
  std::size_t i = 0;
  std::size_t k = 0;
  while (i < first.size() && k < second.size()) {
    const Number at = std::min(first[i], second[k]);
    while (i < first.size() && first[i] == at) ++i;
    while (k < second.size() && second[k] == at) ++k;
    const double apart = static_cast<double>(i) / n1 - static_cast<double>(k) / n2;
    made.d = std::max(made.d, apart < 0 ? -apart : apart);
  }
  const double root = std::sqrt(n1 * n2 / (n1 + n2));
  made.p = mathematics::kolmogorov_tail((root + 0.12 + 0.11 / root) * made.d);
  return made;
}

// -- values that depend on each other -----------------------------------------------------------------------------------

/// A value and the block that it came in.
struct Blocked {
  double value = 0;
  std::uint32_t block = 0;
};

struct Bootstrap {
  double shift = 0;            ///< median of the second - median of the first
  double low = 0;              ///< its 95 % interval by percentiles
  double high = 0;
  double p = 1;                ///< two-sided: twice the smaller share of replicates on either side of 0
  std::uint32_t replicates = 0;
  std::size_t first_blocks = 0;
  std::size_t second_blocks = 0;
  bool known = false;          ///< both sides have `fewest_blocks`
};

struct BootstrapSettings {
  std::uint32_t replicates = 2000;
  std::size_t fewest_blocks = 10;
  std::uint64_t seed = 1;
  std::uint64_t budget = 400'000'000;  ///< values drawn in all: fewer replicates (at least 200) of larger samples
};

namespace detail {

/// One side: values in order, and the block of each by number from 0.
struct BlockedSample {
  std::vector<double> values;
  std::vector<std::uint32_t> blocks;
  std::uint32_t block_count = 0;

  explicit BlockedSample(std::span<const Blocked> from) {
    std::vector<Blocked> sorted(from.begin(), from.end());
    std::sort(sorted.begin(), sorted.end(), [](const Blocked& a, const Blocked& b) {
      return a.value != b.value ? a.value < b.value : a.block < b.block;
    });
    std::vector<std::uint32_t> names;
    for (const Blocked& one : sorted) names.push_back(one.block);
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    block_count = static_cast<std::uint32_t>(names.size());
    for (const Blocked& one : sorted) {
      values.push_back(one.value);
      blocks.push_back(static_cast<std::uint32_t>(std::lower_bound(names.begin(), names.end(), one.block) - names.begin()));
    }
  }
  /// The median when each block's values are there as often as `times` says.
  [[nodiscard]] double median_of(std::span<const std::uint32_t> times) const noexcept {
    std::uint64_t all = 0;
    for (const std::uint32_t block : blocks) all += times[block];
    std::uint64_t seen = 0;
    for (std::size_t at = 0; at < values.size(); ++at) {
      seen += times[blocks[at]];
      if (seen * 2 > all) return values[at];
      if (seen * 2 == all) {
        std::size_t next = at + 1;
        while (next < values.size() && times[blocks[next]] == 0) ++next;
        return next < values.size() ? (values[at] + values[next]) / 2 : values[at];
      }
    }
    return values.empty() ? 0 : values.back();
  }
};

}  // namespace detail

/// The shift between two medians where values within a block depend on each other: whole blocks are drawn again.
///   Cost      O(n log n + replicates x n).
[[nodiscard]] inline Bootstrap block_bootstrap(std::span<const Blocked> first, std::span<const Blocked> second,
                                               const BootstrapSettings& settings = {}) {
  Bootstrap made;
  if (first.empty() || second.empty()) return made;
  const detail::BlockedSample a(first);
  const detail::BlockedSample b(second);
  made.first_blocks = a.block_count;
  made.second_blocks = b.block_count;
  made.shift = median<double>(b.values) - median<double>(a.values);
  made.low = made.high = made.shift;
  if (a.block_count < settings.fewest_blocks || b.block_count < settings.fewest_blocks) return made;
  made.known = true;
  const std::uint64_t affordable = settings.budget / (a.values.size() + b.values.size());
  made.replicates = std::min(settings.replicates, static_cast<std::uint32_t>(std::max<std::uint64_t>(200, std::min<std::uint64_t>(affordable, settings.replicates))));
  Pcg32 random(settings.seed);
  std::vector<std::uint32_t> times_a(a.block_count);
  std::vector<std::uint32_t> times_b(b.block_count);
  std::vector<double> shifts;
  shifts.reserve(made.replicates);
  std::uint64_t not_above = 0;
  std::uint64_t not_below = 0;
  for (std::uint32_t replicate = 0; replicate < made.replicates; ++replicate) {
    std::fill(times_a.begin(), times_a.end(), 0);
    std::fill(times_b.begin(), times_b.end(), 0);
    for (std::uint32_t drawn = 0; drawn < a.block_count; ++drawn) ++times_a[random.below(a.block_count)];
    for (std::uint32_t drawn = 0; drawn < b.block_count; ++drawn) ++times_b[random.below(b.block_count)];
    const double shift = b.median_of(times_b) - a.median_of(times_a);
    shifts.push_back(shift);
    if (shift <= 0) ++not_above;
    if (shift >= 0) ++not_below;
  }
  std::sort(shifts.begin(), shifts.end());
  made.low = percentile<double>(shifts, 0.025);
  made.high = percentile<double>(shifts, 0.975);
  // One more on either side: a p of 0 is nothing that a sample can show.
  made.p = std::min(1.0, 2 * (static_cast<double>(std::min(not_above, not_below)) + 1) / (made.replicates + 1.0));
  return made;
}

// -- many tests, and counts ---------------------------------------------------------------------------------------------

/// Benjamini and Hochberg's adjusted p-values, in the order of `p`. Reject those <= q: a share q of them is false.
[[nodiscard]] inline std::vector<double> benjamini_hochberg(std::span<const double> p) {
  std::vector<std::uint32_t> order(p.size());
  for (std::uint32_t at = 0; at < order.size(); ++at) order[at] = at;
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return p[a] != p[b] ? p[a] < p[b] : a < b; });
  std::vector<double> adjusted(p.size());
  double least = 1;
  for (std::size_t at = p.size(); at-- > 0;) {
    least = std::min(least, p[order[at]] * static_cast<double>(p.size()) / static_cast<double>(at + 1));
    adjusted[order[at]] = least;
  }
  return adjusted;
}

/// Whether two counts, seen over two exposures (traces, requests, seconds), come from the same rate: the exact test of
/// the first count given the sum, two-sided by adding up whatever is no likelier than what was seen.
///   Cost      O(sqrt(first + second)) terms that matter, each found from its neighbour.
[[nodiscard]] inline double poisson_rate_p(std::uint64_t first, double first_exposure, std::uint64_t second,
                                           double second_exposure) noexcept {
  const std::uint64_t n = first + second;
  if (n == 0 || !(first_exposure > 0) || !(second_exposure > 0)) return 1;
  const double share = first_exposure / (first_exposure + second_exposure);
  const auto log_pmf = [&](std::uint64_t k) noexcept {
    const auto x = static_cast<double>(k);
    const auto all = static_cast<double>(n);
    return mathematics::log_gamma(all + 1) - mathematics::log_gamma(x + 1) - mathematics::log_gamma(all - x + 1) +
           x * mathematics::natural_log(share) + (all - x) * mathematics::natural_log(1 - share);
  };
  // The sum of a tail, from k outwards, until a term no longer counts.
  const double odds = share / (1 - share);
  const auto tail = [&](std::uint64_t k, bool upwards) noexcept {
    double term = mathematics::exponential(log_pmf(k));
    double sum = 0;
    for (;;) {
      sum += term;
      if (term < sum * 1e-17 || (upwards ? k == n : k == 0)) return sum;
      const auto x = static_cast<double>(k);
      term *= upwards ? static_cast<double>(n - k) / (x + 1) * odds : x / static_cast<double>(n - k + 1) / odds;
      upwards ? ++k : --k;
    }
  };
  const double seen = log_pmf(first) + 1e-7;  // as likely, whatever the rounding
  const auto mode = static_cast<std::uint64_t>((static_cast<double>(n) + 1) * share);
  const std::uint64_t top = std::min(mode, n);
  if (first == top) return 1;
  double p = 0;
  if (first < top) {
    p = tail(first, false);
    std::uint64_t low = top;  // the least k above the mode that is no likelier
    std::uint64_t high = n + 1;
    while (low < high) {
      const std::uint64_t middle = low + (high - low) / 2;
      if (log_pmf(middle) <= seen) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    if (low <= n) p += tail(low, true);
  } else {
    p = tail(first, true);
    std::uint64_t low = 0;  // how many k below the mode are no likelier
    std::uint64_t high = top + 1;
    while (low < high) {
      const std::uint64_t middle = low + (high - low) / 2;
      if (log_pmf(middle) <= seen) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low > 0) p += tail(low - 1, false);
  }
  return std::min(1.0, p);
}

}  // namespace statistics
}  // namespace THENCE_ABI
}  // namespace thence
