// SPDX-License-Identifier: MIT
// mathematics.hpp: logarithm, exponential and the tails of distributions, the same to the bit on every machine.
//
// A report that WebAssembly makes must equal the one that a native tool makes, byte for byte; the C library's log() and
// exp() differ between the two. These use +, -, *, / and the square root only, which IEEE 754 defines exactly.
//   const double axis = mathematics::natural_log(static_cast<double>(wait_ns));
//   const double p = 2 * mathematics::normal_upper_tail(z);
// Layer: analysis (includes model/ and below).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace mathematics {

inline constexpr double kLn2 = 0.693147180559945309417232121458;
inline constexpr double kLn10 = 2.302585092994045684017991454684;
inline constexpr double kPi = 3.141592653589793238462643383280;

/// ln x. x <= 0 gives minus infinity; relative error under 4e-16.
[[nodiscard]] inline double natural_log(double x) noexcept {
  if (!(x > 0)) return -std::numeric_limits<double>::infinity();
  if (x > std::numeric_limits<double>::max()) return x;
  int exponent = 0;
  if (x < std::numeric_limits<double>::min()) {
    x *= 0x1p54;
    exponent = -54;
  }
  const auto bits = std::bit_cast<std::uint64_t>(x);
  exponent += static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000f'ffff'ffff'ffffu) | 0x3ff0'0000'0000'0000u);
  if (m > 1.41421356237309504880) {  // m in [sqrt(1/2), sqrt(2)]
    m *= 0.5;
    ++exponent;
  }
  // ln m = 2 atanh(s), s = (m-1)/(m+1), |s| < 0.1716: eleven terms leave less than 1e-17.
  const double s = (m - 1) / (m + 1);
  const double z = s * s;
  constexpr double kParts[] = {1.0 / 23, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13,
                               1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3};
  double series = 0;
  for (const double part : kParts) series = (series + part) * z;
  return static_cast<double>(exponent) * kLn2 + 2 * s + 2 * s * series;
}

/// e^x. Relative error under 1e-15.
[[nodiscard]] inline double exponential(double x) noexcept {
  if (x > 709.78) return std::numeric_limits<double>::infinity();
  if (x < -745.2) return 0;
  if (!(x == x)) return x;
  constexpr double kLn2High = 6.93147180369123816490e-01;  // its low 32 bits are zero: times an exponent it is exact
  constexpr double kLn2Low = 1.90821492927058770002e-10;
  const double turns = std::floor(x / kLn2 + 0.5);
  const double r = (x - turns * kLn2High) - turns * kLn2Low;
  double sum = 1;
  for (int k = 14; k >= 1; --k) sum = 1 + sum * r / k;
  const int exponent = static_cast<int>(turns);
  const auto two_to = [](int power) noexcept {
    return std::bit_cast<double>(static_cast<std::uint64_t>(power + 1023) << 52);
  };
  if (exponent < -1021) return sum * two_to(exponent + 54) * 0x1p-54;
  if (exponent > 1023) return sum * two_to(1023) * 2;
  return sum * two_to(exponent);
}

/// P(Z > z) of the standard normal distribution, to about 1e-13 of itself.
[[nodiscard]] inline double normal_upper_tail(double z) noexcept {
  const double x = (z < 0 ? -z : z) * 0.70710678118654752440;  // 1/sqrt 2
  double tail = 0;                                             // erfc(x) / 2
  if (x < 2.5) {
    // erf x = 2/sqrt(pi) e^(-x^2) sum of 2^n x^(2n+1) / (1*3*...*(2n+1)): all terms positive.
    double term = x;
    double sum = x;
    for (int n = 1; n < 80; ++n) {
      term *= 2 * x * x / (2 * n + 1);
      sum += term;
    }
    tail = 0.5 - sum * exponential(-x * x) / std::sqrt(kPi);
  } else {
    // erfc x = e^(-x^2)/sqrt(pi) / (x + (1/2)/(x + 1/(x + (3/2)/(x + ...)))), from its end.
    double fraction = x;
    for (int n = 60; n >= 1; --n) fraction = x + 0.5 * n / fraction;
    tail = 0.5 * exponential(-x * x) / (std::sqrt(kPi) * fraction);
  }
  return z < 0 ? 1 - tail : tail;
}

/// ln of the gamma function, x > 0.
[[nodiscard]] inline double log_gamma(double x) noexcept {
  double shift = 0;
  while (x < 16) {
    shift += natural_log(x);
    x += 1;
  }
  const double r = 1 / x;
  const double z = r * r;
  const double series =
      r * (1.0 / 12 - z * (1.0 / 360 - z * (1.0 / 1260 - z * (1.0 / 1680 - z * (1.0 / 1188 - z * 691.0 / 360360)))));
  return (x - 0.5) * natural_log(x) - x + 0.91893853320467274178 + series - shift;
}

/// The regularised incomplete beta function I_x(a, b), 0 <= x <= 1.
[[nodiscard]] inline double incomplete_beta(double a, double b, double x) noexcept {
  if (!(x > 0)) return 0;
  if (x >= 1) return 1;
  const bool swapped = x > (a + 1) / (a + b + 2);
  if (swapped) {
    const double other = a;
    a = b;
    b = other;
    x = 1 - x;
  }
  const double front = exponential(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * natural_log(x) +
                                   b * natural_log(1 - x)) / a;
  // Lentz's continued fraction.
  constexpr double kTiny = 1e-300;
  double c = 1;
  double d = 1 - (a + b) * x / (a + 1);
  d = 1 / (d < kTiny && d > -kTiny ? kTiny : d);
  double fraction = d;
  for (int m = 1; m <= 500; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 + even * d;
    d = 1 / (d < kTiny && d > -kTiny ? kTiny : d);
    c = 1 + even / c;
    c = c < kTiny && c > -kTiny ? kTiny : c;
    fraction *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 + odd * d;
    d = 1 / (d < kTiny && d > -kTiny ? kTiny : d);
    c = 1 + odd / c;
    c = c < kTiny && c > -kTiny ? kTiny : c;
    const double step = d * c;
    fraction *= step;
    if (step - 1 < 1e-15 && 1 - step < 1e-15) break;
  }
  return swapped ? 1 - front * fraction : front * fraction;
}

/// P(|T| > |t|) of Student's distribution.
[[nodiscard]] inline double student_two_sided(double t, double degrees) noexcept {
  return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t));
}

/// The tail of Kolmogorov's distribution: 2 sum of (-1)^(k-1) e^(-2 k^2 lambda^2).
[[nodiscard]] inline double kolmogorov_tail(double lambda) noexcept {
  if (!(lambda > 0.2)) return 1;  // 1 - 2e-13 at 0.2
  double sum = 0;
  double sign = 1;
  for (int k = 1; k <= 100; ++k) {
    const double term = exponential(-2.0 * k * k * lambda * lambda);
    sum += sign * term;
    if (term < 1e-17) break;
    sign = -sign;
  }
  return sum < 0 ? 0 : sum > 0.5 ? 1 : 2 * sum;
}

}  // namespace mathematics
}  // namespace THENCE_ABI
}  // namespace thence
