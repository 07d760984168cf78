// SPDX-License-Identifier: MIT
// statistics.hpp: what can be said of a set of durations: its percentiles, outliers, shape and trends.
//
// Durations are skewed, tied and few. So percentiles are members of the data (a p99 can be clicked on), a percentile that
// the data are too few for is not given, outliers are judged by median and MAD on the logarithm too, and a shape is drawn
// only over the range in which there are data.
//   std::sort(waits.begin(), waits.end());
//   if (const auto p99 = statistics::printable_percentile(waits, 0.99)) ...
//   const statistics::Summary all = statistics::summarise(waits);
// Sorted means ascending. All results are the same to the bit on every machine.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "thence/analysis/mathematics.hpp"
#include "thence/analysis/ranks.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace statistics {

// -- percentiles ------------------------------------------------------------------------------------------------------

/// Nearest rank: the index of the q-quantile of n sorted values, ceil(q n) - 1. n > 0, 0 <= q <= 1.
/// q is taken to the millionth, so that 0.29 of 100 is the 29th whatever binary fractions make of it.
[[nodiscard]] inline std::size_t percentile_index(std::size_t n, double q) noexcept {
  const auto millionths = static_cast<std::uint64_t>(q * 1e6 + 0.5);
  const std::uint64_t rank = (static_cast<std::uint64_t>(n) * millionths + 999'999) / 1'000'000;
  return static_cast<std::size_t>(rank == 0 ? 0 : rank > n ? n - 1 : rank - 1);
}

/// Whether n values are enough for the q-quantile to mean something: n >= 1 / (1 - q), so 2 for the median, 100 for p99.
[[nodiscard]] inline bool percentile_known(std::size_t n, double q) noexcept {
  const auto left = 1'000'000 - static_cast<std::uint64_t>(q * 1e6 + 0.5);
  return n != 0 && (left == 0 || static_cast<std::uint64_t>(n) * left >= 1'000'000);
}

/// The q-quantile of sorted values, which are not empty: one of them.
template <class Number>
[[nodiscard]] Number percentile(std::span<const Number> sorted, double q) noexcept {
  return sorted[percentile_index(sorted.size(), q)];
}
template <class Number>
[[nodiscard]] std::optional<Number> printable_percentile(std::span<const Number> sorted, double q) noexcept {
  if (!percentile_known(sorted.size(), q)) return std::nullopt;
  return percentile(sorted, q);
}

/// The middle one, or the mean of the middle two. Sorted, not empty.
template <class Number>
[[nodiscard]] double median(std::span<const Number> sorted) noexcept {
  const std::size_t half = sorted.size() / 2;
  if (sorted.size() % 2 != 0) return static_cast<double>(sorted[half]);
  return (static_cast<double>(sorted[half - 1]) + static_cast<double>(sorted[half])) / 2;
}

// -- moments ----------------------------------------------------------------------------------------------------------

struct Moments {
  std::size_t n = 0;
  double mean = 0;
  double deviation = 0;  ///< of the sample (n - 1); 0 where n < 2
};

/// Two passes: no cancellation.
template <class Number>
[[nodiscard]] Moments moments(std::span<const Number> values) noexcept {
  Moments all;
  all.n = values.size();
  if (all.n == 0) return all;
  double sum = 0;
  for (const Number value : values) sum += static_cast<double>(value);
  all.mean = sum / static_cast<double>(all.n);
  double squares = 0;
  for (const Number value : values) {
    const double apart = static_cast<double>(value) - all.mean;
    squares += apart * apart;
  }
  if (all.n > 1) all.deviation = std::sqrt(squares / static_cast<double>(all.n - 1));
  return all;
}

/// What a table prints of a group. A percentile that n is too small for is absent.
struct Summary {
  std::size_t n = 0;
  std::uint64_t sum = 0;
  std::uint64_t min = 0;
  std::uint64_t max = 0;
  std::uint64_t p50 = 0;  ///< given whenever n > 0
  std::optional<std::uint64_t> p90;
  std::optional<std::uint64_t> p95;
  std::optional<std::uint64_t> p99;
  std::optional<std::uint64_t> p999;
  double mean = 0;
  double deviation = 0;
};

[[nodiscard]] inline Summary summarise(std::span<const std::uint64_t> sorted) noexcept {
  Summary all;
  all.n = sorted.size();
  if (sorted.empty()) return all;
  for (const std::uint64_t value : sorted) all.sum += value;
  all.min = sorted.front();
  all.max = sorted.back();
  all.p50 = percentile(sorted, 0.5);
  all.p90 = printable_percentile(sorted, 0.9);
  all.p95 = printable_percentile(sorted, 0.95);
  all.p99 = printable_percentile(sorted, 0.99);
  all.p999 = printable_percentile(sorted, 0.999);
  const Moments m = moments(sorted);
  all.mean = m.mean;
  all.deviation = m.deviation;
  return all;
}

/// The same of values in any order, which it puts into another one. O(n) expected.
[[nodiscard]] inline Summary summarise_unsorted(std::span<std::uint64_t> values) noexcept {
  Summary all;
  const Moments m = moments(std::span<const std::uint64_t>(values));  // in the order in which they came: the same everywhere
  all.n = values.size();
  all.mean = m.mean;
  all.deviation = m.deviation;
  if (values.empty()) return all;
  all.min = all.max = values.front();
  for (const std::uint64_t value : values) {
    all.sum += value;
    all.min = std::min(all.min, value);
    all.max = std::max(all.max, value);
  }
  constexpr double kShares[] = {0.5, 0.9, 0.95, 0.99, 0.999};
  std::size_t ranks[5] = {};
  std::uint64_t found[5] = {};
  std::size_t known = 0;  // the median always
  do ranks[known] = percentile_index(values.size(), kShares[known]);
  while (++known < 5 && percentile_known(all.n, kShares[known]));
  values_at_ranks(values, std::span(ranks, known), found);
  all.p50 = found[0];
  if (known > 1) all.p90 = found[1];
  if (known > 2) all.p95 = found[2];
  if (known > 3) all.p99 = found[3];
  if (known > 4) all.p999 = found[4];
  return all;
}

// -- outliers ---------------------------------------------------------------------------------------------------------

/// Above it a value is an outlier by three standard deviations; absent where n < 11: the largest z that n values can reach
/// is (n-1)/sqrt(n), under 3 up to n = 10.
template <class Number>
[[nodiscard]] std::optional<double> three_sigma_limit(std::span<const Number> values) noexcept {
  if (values.size() < 11) return std::nullopt;
  const Moments m = moments(values);
  return m.mean + 3 * m.deviation;
}

/// How far from the middle, in robust units, on the logarithm; see `of`.
struct ModifiedZ {
  double median = 0;  ///< of ln x
  double scale = 0;   ///< multiplies |ln x - median|; 0: nothing can be said
  bool known = false;

  static constexpr std::size_t kFewest = 8;

  /// 0 where nothing can be said. A zero duration counts as one nanosecond, which has a logarithm.
  [[nodiscard]] double of(std::uint64_t value) const noexcept { return known ? of_log(log_of(value)) : 0; }
  [[nodiscard]] double of_log(double log) const noexcept { return known ? (log - median) * scale : 0; }
  [[nodiscard]] static double log_of(std::uint64_t value) noexcept {
    return mathematics::natural_log(static_cast<double>(value == 0 ? 1 : value));
  }
};

namespace detail {

/// Of values in ascending order, value(0) .. value(n - 1). Their distances from the median grow to both sides of it, so the
/// middle distances are found by walking outwards, over half of them.
template <class Value>
[[nodiscard]] ModifiedZ modified_z(std::size_t n, Value&& value) noexcept {
  ModifiedZ z;
  if (n < ModifiedZ::kFewest) return z;
  const std::size_t half = n / 2;
  z.median = n % 2 != 0 ? value(half) : (value(half - 1) + value(half)) / 2;
  std::size_t below = half;  // the next ones are below - 1 and above
  std::size_t above = half;
  double down = z.median - value(below - 1);
  double up = value(above) - z.median;
  double before = 0;
  double last = 0;
  for (std::size_t step = 0; step <= half; ++step) {
    before = last;
    if (above == n || (below != 0 && down < up)) {
      last = down;
      if (--below != 0) down = z.median - value(below - 1);
    } else {
      last = up;
      if (++above != n) up = value(above) - z.median;
    }
  }
  const double mad = n % 2 != 0 ? last : (before + last) / 2;
  if (mad > 0) {
    z.scale = 0.6745 / mad;
  } else {
    double sum = 0;
    for (std::size_t at = 0; at < n; ++at) sum += value(at) < z.median ? z.median - value(at) : value(at) - z.median;
    if (!(sum > 0)) return z;
    z.scale = 1 / (1.2533 * sum / static_cast<double>(n));
  }
  z.known = true;
  return z;
}

}  // namespace detail

/// 0.6745 (x - median) / MAD; where the MAD is 0, (x - median) / (1.2533 x mean absolute deviation from the median);
/// where that is 0 too, or there are under 8, nothing.
///   Cost      O(n), no allocation.
[[nodiscard]] inline ModifiedZ modified_z(std::span<const double> sorted) noexcept {
  return detail::modified_z(sorted.size(), [&](std::size_t at) { return sorted[at]; });
}
/// The same of the logarithms of durations. Sorted.
[[nodiscard]] inline ModifiedZ modified_z_of_logs(std::span<const std::uint64_t> sorted) noexcept {
  return detail::modified_z(sorted.size(), [&](std::size_t at) { return ModifiedZ::log_of(sorted[at]); });
}

// -- shapes -----------------------------------------------------------------------------------------------------------

inline constexpr std::uint64_t kMicrosecond = 1'000;

/// max / max(min, 1 us) > 100. Sorted.
[[nodiscard]] inline bool wants_log_axis(std::span<const std::uint64_t> sorted) noexcept {
  if (sorted.empty()) return false;
  const std::uint64_t low = std::max(sorted.front(), kMicrosecond);
  return sorted.back() / low > 100 || (sorted.back() / low == 100 && sorted.back() % low != 0);
}

/// The interquartile range by nearest rank. Sorted, not empty.
template <class Number>
[[nodiscard]] double interquartile_range(std::span<const Number> sorted) noexcept {
  return static_cast<double>(percentile(sorted, 0.75)) - static_cast<double>(percentile(sorted, 0.25));
}

/// Durations where an axis has them: as they are, or as log10, which has no place for zeros.
struct AxisValues {
  std::vector<double> at;
  std::uint64_t underflow = 0;
};
[[nodiscard]] inline AxisValues axis_values(std::span<const std::uint64_t> sorted, bool log_axis) {
  AxisValues made;
  made.at.reserve(sorted.size());
  for (const std::uint64_t value : sorted) {
    if (log_axis && value == 0) {
      ++made.underflow;
    } else {
      made.at.push_back(log_axis ? mathematics::natural_log(static_cast<double>(value)) / mathematics::kLn10 : static_cast<double>(value));
    }
  }
  return made;
}

/// Bins of equal width on the axis; bin i holds [edge i, edge i+1), the last one its upper edge too.
struct Histogram {
  bool log_axis = false;
  std::uint64_t underflow = 0;  ///< zeros, which a logarithmic axis has no place for
  double first = 0;             ///< on the axis: ns, or log10 ns
  double width = 0;             ///< of a bin; 0 where all values are equal
  std::vector<std::uint64_t> counts;
};

/// As many bins as Freedman and Diaconis ask for, from 10 to 60. Sorted.
[[nodiscard]] inline Histogram histogram(std::span<const std::uint64_t> sorted) {
  Histogram made;
  made.log_axis = wants_log_axis(sorted);
  const auto [at, underflow] = axis_values(sorted, made.log_axis);
  made.underflow = underflow;
  if (at.empty()) return made;
  made.first = at.front();
  const double range = at.back() - at.front();
  if (!(range > 0)) {
    made.counts.assign(1, at.size());
    return made;
  }
  // The cube root by Newton's method: n >= 1.
  const auto n = static_cast<double>(at.size());
  double root = 1;
  while (root * root * root < n) root *= 2;
  for (int step = 0; step < 60; ++step) root -= (root * root * root - n) / (3 * root * root);
  const double wanted = 2 * interquartile_range<double>(at) / root;
  const double bins = wanted > 0 ? std::min(60.0, std::max(10.0, std::ceil(range / wanted))) : 60;
  made.width = range / bins;
  made.counts.assign(static_cast<std::size_t>(bins), 0);
  for (const double value : at) {
    const auto bin = static_cast<std::size_t>((value - made.first) / made.width);
    ++made.counts[std::min(bin, made.counts.size() - 1)];
  }
  return made;
}

/// A step of the distribution function: up to and including `value`, `count` of n.
struct CdfStep {
  std::uint64_t value = 0;
  std::uint64_t count = 0;
};

/// Every step where there are at most `most`; else those at evenly spread ranks, the last one always. Sorted.
[[nodiscard]] inline std::vector<CdfStep> cdf(std::span<const std::uint64_t> sorted, std::size_t most = 4096) {
  std::vector<CdfStep> steps;
  for (std::size_t at = 0; at < sorted.size(); ++at) {
    if (at + 1 == sorted.size() || sorted[at + 1] != sorted[at]) steps.push_back({sorted[at], at + 1});
  }
  if (most < 2 || steps.size() <= most) return steps;
  std::vector<CdfStep> kept;
  kept.reserve(most);
  for (std::size_t k = 0; k < most; ++k) kept.push_back(steps[k * (steps.size() - 1) / (most - 1)]);
  return kept;
}

/// Half the height of the band in which the true distribution lies with 95 % (Dvoretzky, Kiefer, Wolfowitz). n > 0.
[[nodiscard]] inline double dkw_band(std::size_t n) noexcept {
  return std::sqrt(mathematics::natural_log(2 / 0.05) / (2 * static_cast<double>(n)));
}

/// A violin with its box. Values of `density` are at `cells` points evenly spread from `low` to `high`, on the axis, and
/// integrate to 1 over it.
struct Violin {
  enum class Shape : std::uint8_t { kNothing, kDots, kLine, kViolin, kViolinAndDots };
  Shape shape = Shape::kNothing;
  bool log_axis = false;
  std::uint64_t underflow = 0;  ///< zeros left out of a logarithmic axis
  double low = 0;
  double high = 0;
  double bandwidth = 0;
  std::vector<double> density;
  std::uint64_t q1 = 0;
  std::uint64_t q2 = 0;
  std::uint64_t q3 = 0;
  double mean = 0;
};

/// Gaussian kernels of Silverman's width over 512 cells, values binned linearly, reflected at both ends: no mass where
/// there are no data. Under 5 values: dots; up to 30: dots as well; all equal: a line. Sorted.
///   Cost      O(n + cells x kernel), at most 512 x 1024 multiplications.
[[nodiscard]] inline Violin violin(std::span<const std::uint64_t> sorted, std::optional<bool> log_axis = std::nullopt) {
  constexpr std::size_t kCells = 512;
  Violin made;
  if (sorted.empty()) return made;
  made.log_axis = log_axis.value_or(wants_log_axis(sorted));
  made.q1 = percentile(sorted, 0.25);
  made.q2 = percentile(sorted, 0.5);
  made.q3 = percentile(sorted, 0.75);
  made.mean = moments(sorted).mean;
  const auto [at, underflow] = axis_values(sorted, made.log_axis);
  made.underflow = underflow;
  made.shape = Violin::Shape::kDots;
  if (at.empty()) return made;
  made.low = at.front();
  made.high = at.back();
  if (at.size() < 5) return made;
  const double range = made.high - made.low;
  if (!(range > 0)) {
    made.shape = Violin::Shape::kLine;
    return made;
  }
  made.shape = at.size() <= 30 ? Violin::Shape::kViolinAndDots : Violin::Shape::kViolin;
  const Moments m = moments<double>(at);
  const double iqr = interquartile_range<double>(at) / 1.349;
  const double spread = iqr > 0 ? std::min(m.deviation, iqr) : m.deviation;
  const auto n = static_cast<double>(at.size());
  const double fifth_root = mathematics::exponential(mathematics::natural_log(n) / 5);
  made.bandwidth = std::max(0.9 * spread / fifth_root, range / 200);
  const double step = range / static_cast<double>(kCells - 1);
  std::vector<double> cells(kCells, 0);
  for (const double value : at) {
    const double place = (value - made.low) / step;
    const auto cell = std::min(static_cast<std::size_t>(place), kCells - 1);
    const double part = place - static_cast<double>(cell);
    if (cell + 1 < kCells) {
      cells[cell] += 1 - part;
      cells[cell + 1] += part;
    } else {
      cells[cell] += 1;
    }
  }
  const auto reach = std::min(static_cast<std::size_t>(8 * made.bandwidth / step) + 1, 2 * (kCells - 1));
  std::vector<double> kernel(reach + 1);
  for (std::size_t k = 0; k <= reach; ++k) {
    const double u = static_cast<double>(k) * step / made.bandwidth;
    kernel[k] = mathematics::exponential(-0.5 * u * u);
  }
  made.density.assign(kCells, 0);
  constexpr std::size_t kPeriod = 2 * (kCells - 1);  // mirrored at both ends, the cells repeat after that many
  for (std::size_t from = 0; from < kCells; ++from) {
    if (cells[from] == 0) continue;
    for (std::size_t k = 0; k <= reach; ++k) {
      const double mass = cells[from] * kernel[k];
      const std::size_t up = (from + k) % kPeriod;
      made.density[up < kCells ? up : kPeriod - up] += mass;
      if (k == 0) continue;
      const std::size_t down = (from + 2 * kPeriod - k) % kPeriod;
      made.density[down < kCells ? down : kPeriod - down] += mass;
    }
  }
  made.density.front() *= 2;  // an end is its own mirror image, and gets the mass from both sides
  made.density.back() *= 2;
  double area = 0;  // by the trapezium rule
  for (std::size_t cell = 0; cell < kCells; ++cell) {
    area += made.density[cell] * (cell == 0 || cell + 1 == kCells ? 0.5 : 1.0) * step;
  }
  for (double& value : made.density) value /= area;
  return made;
}

// -- trends -----------------------------------------------------------------------------------------------------------

/// Ranks from 1; equal values share the mean of theirs.
[[nodiscard]] inline std::vector<double> ranks(std::span<const double> values) {
  struct One {
    double value;
    std::uint32_t at;
  };
  std::vector<One> order(values.size());
  for (std::uint32_t at = 0; at < order.size(); ++at) order[at] = {values[at], at};
  std::sort(order.begin(), order.end(), [](const One& a, const One& b) { return a.value < b.value; });
  std::vector<double> made(values.size());
  for (std::size_t at = 0; at < order.size();) {
    std::size_t end = at + 1;
    while (end < order.size() && order[end].value == order[at].value) ++end;
    const double rank = static_cast<double>(at + 1 + end) / 2;
    for (; at < end; ++at) made[order[at].at] = rank;
  }
  return made;
}

struct Correlation {
  std::size_t n = 0;
  double rho = 0;
  double p = 1;        ///< two-sided, by Student's distribution of n - 2 degrees
  bool known = false;  ///< n >= 3 and neither side is constant
};

/// Spearman's rank correlation. O(n log n).
[[nodiscard]] inline Correlation spearman(std::span<const double> x, std::span<const double> y) {
  Correlation made;
  made.n = std::min(x.size(), y.size());
  if (made.n < 3) return made;
  const std::vector<double> a = ranks(x.first(made.n));
  const std::vector<double> b = ranks(y.first(made.n));
  const double mean = (static_cast<double>(made.n) + 1) / 2;
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (std::size_t at = 0; at < made.n; ++at) {
    ab += (a[at] - mean) * (b[at] - mean);
    aa += (a[at] - mean) * (a[at] - mean);
    bb += (b[at] - mean) * (b[at] - mean);
  }
  if (!(aa > 0) || !(bb > 0)) return made;
  made.known = true;
  made.rho = std::max(-1.0, std::min(1.0, ab / std::sqrt(aa * bb)));
  const double degrees = static_cast<double>(made.n) - 2;
  const double rest = 1 - made.rho * made.rho;
  made.p = rest > 0 ? mathematics::student_two_sided(made.rho * std::sqrt(degrees / rest), degrees) : 0;
  return made;
}

/// The median of the slopes between all pairs of points with different x; of over `most` points between those at evenly
/// spread places. Absent where no two x differ.
///   Cost      O(most^2).
[[nodiscard]] inline std::optional<double> theil_sen(std::span<const double> x, std::span<const double> y,
                                                     std::size_t most = 256) {
  const std::size_t all = std::min(x.size(), y.size());
  const std::size_t n = std::min(all, most);
  if (n < 2) return std::nullopt;
  std::vector<double> slopes;
  slopes.reserve(n * (n - 1) / 2);
  const auto place = [&](std::size_t k) { return n == all ? k : k * (all - 1) / (n - 1); };
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = i + 1; k < n; ++k) {
      const double dx = x[place(k)] - x[place(i)];
      if (dx != 0) slopes.push_back((y[place(k)] - y[place(i)]) / dx);
    }
  }
  if (slopes.empty()) return std::nullopt;
  const auto middle = slopes.begin() + static_cast<std::ptrdiff_t>(slopes.size() / 2);
  std::nth_element(slopes.begin(), middle, slopes.end());
  if (slopes.size() % 2 != 0) return *middle;
  return (*middle + *std::max_element(slopes.begin(), middle)) / 2;
}

/// How one thing grows with another: birth order, depth. Called out where n >= 10, |rho| >= 0.5 and p < 0.05.
struct Trend {
  Correlation correlation;
  std::optional<double> slope;  ///< y a unit of x; only where it is called out
  bool called_out = false;
};

struct TrendSettings {
  std::size_t fewest = 10;
  double rho = 0.5;
  double p = 0.05;
};

[[nodiscard]] inline Trend trend(std::span<const double> x, std::span<const double> y, const TrendSettings& settings = {}) {
  Trend made;
  made.correlation = spearman(x, y);
  made.called_out = made.correlation.known && made.correlation.n >= settings.fewest && made.correlation.p < settings.p &&
                    (made.correlation.rho >= settings.rho || made.correlation.rho <= -settings.rho);
  if (made.called_out) made.slope = theil_sen(x, y);
  return made;
}

}  // namespace statistics
}  // namespace THENCE_ABI
}  // namespace thence
