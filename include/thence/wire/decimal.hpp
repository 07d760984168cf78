// SPDX-License-Identifier: MIT
// decimal.hpp: from decimal digits to the nearest double, the same everywhere.
//
// The C library's strtod depends on the locale, and <charconv> reads doubles only where the standard library is recent (the
// one for WebAssembly is not). What a trace holds must not depend on either.
// Layer: wire (includes core/ only).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace detail {

/// An unsigned integer of up to 4,352 bits: enough for 800 digits by any power of ten that a double knows.
class BigInteger {
 public:
  static constexpr unsigned kWords = 136;

  [[nodiscard]] bool is_zero() const noexcept { return size_ == 0; }
  [[nodiscard]] int bits() const noexcept {
    return size_ == 0 ? 0 : static_cast<int>(32 * (size_ - 1)) + static_cast<int>(std::bit_width(words_[size_ - 1]));
  }
  void multiply_add(std::uint32_t factor, std::uint32_t addend) noexcept {
    std::uint64_t carry = addend;
    for (unsigned at = 0; at < size_; ++at) {
      carry += std::uint64_t{words_[at]} * factor;
      words_[at] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0 && size_ < kWords) words_[size_++] = static_cast<std::uint32_t>(carry);
  }
  void multiply_power_of_ten(int power) noexcept {
    for (; power >= 9; power -= 9) multiply_add(1'000'000'000u, 0);
    for (; power > 0; --power) multiply_add(10, 0);
  }
  void shift_left(unsigned count) noexcept {
    const unsigned words = count / 32, rest = count % 32;
    if (size_ == 0 || size_ + words + 1 > kWords) return;
    if (words != 0) {
      for (unsigned at = size_; at-- != 0;) words_[at + words] = words_[at];
      for (unsigned at = 0; at < words; ++at) words_[at] = 0;
      size_ += words;
    }
    if (rest == 0) return;
    std::uint32_t carry = 0;
    for (unsigned at = 0; at < size_; ++at) {
      const std::uint32_t word = words_[at];
      words_[at] = word << rest | carry;
      carry = word >> (32 - rest);
    }
    if (carry != 0) words_[size_++] = carry;
  }
  [[nodiscard]] bool at_least(const BigInteger& other) const noexcept {
    if (size_ != other.size_) return size_ > other.size_;
    for (unsigned at = size_; at-- != 0;) {
      if (words_[at] != other.words_[at]) return words_[at] > other.words_[at];
    }
    return true;
  }
  /// `other` is not larger.
  void subtract(const BigInteger& other) noexcept {
    std::uint64_t borrow = 0;
    for (unsigned at = 0; at < size_; ++at) {
      const std::uint64_t right = (at < other.size_ ? std::uint64_t{other.words_[at]} : 0) + borrow;
      const std::uint64_t left = words_[at];
      borrow = left < right ? 1 : 0;
      words_[at] = static_cast<std::uint32_t>(left - right);
    }
    while (size_ != 0 && words_[size_ - 1] == 0) --size_;
  }
  void set_one() noexcept {
    words_[0] = 1;
    size_ = 1;
  }

 private:
  std::uint32_t words_[kWords] = {};
  unsigned size_ = 0;
};

/// The double nearest to digits * 10^exponent, ties to even; infinity where there is none so large. `text` holds digits and
/// at most one point.
[[nodiscard]] inline double slow_decimal(std::string_view text, int exponent) noexcept {
  constexpr int kMaxDigits = 800;  // more than 767: with a mark for what is beyond, no tie is misjudged
  BigInteger above, below;
  int digits = 0;
  bool point = false, beyond = false;
  for (const char c : text) {
    if (c == '.') {
      point = true;
      continue;
    }
    if (point) --exponent;
    if (digits == 0 && c == '0') continue;
    if (digits < kMaxDigits) {
      above.multiply_add(10, static_cast<std::uint32_t>(c - '0'));
      ++digits;
    } else {
      ++exponent;
      beyond = beyond || c != '0';
    }
  }
  if (digits == 0) return 0;
  if (digits + exponent > 310) return std::numeric_limits<double>::infinity();
  if (digits + exponent < -330) return 0;
  if (beyond) {
    above.multiply_add(10, 1);
    --exponent;
  }
  below.set_one();
  if (exponent >= 0) {
    above.multiply_power_of_ten(exponent);
  } else {
    below.multiply_power_of_ten(-exponent);
  }
  // above / below = 2^shift * q with 1/2 <= q < 2; then 64 bits of it, one by one.
  const int shift = above.bits() - below.bits();
  if (shift > 0) {
    below.shift_left(static_cast<unsigned>(shift));
  } else {
    above.shift_left(static_cast<unsigned>(-shift));
  }
  std::uint64_t bits = 0;
  for (int at = 0; at < 64; ++at) {
    bits <<= 1;
    if (above.at_least(below)) {
      above.subtract(below);
      bits |= 1;
    }
    above.shift_left(1);
  }
  // value = bits * 2^(shift - 63), and a rest if `above` is not zero.
  int scale = shift - 63;
  bool rest = !above.is_zero();
  if (bits >> 63 == 0) {  // q was below 1
    bits <<= 1;
    --scale;
  }
  const int top = scale + 63;  // the exponent of the highest bit
  int drop = 11;
  if (top < -1022) drop += -1022 - top;
  std::uint64_t mantissa = 0;
  if (drop <= 64) {
    const std::uint64_t half = std::uint64_t{1} << (drop - 1);
    const std::uint64_t tail = drop == 64 ? bits : bits & ((half << 1) - 1);
    mantissa = drop == 64 ? 0 : bits >> drop;
    if (tail > half || (tail == half && (rest || (mantissa & 1) != 0))) ++mantissa;
  }
  std::uint64_t field = top < -1022 ? 0 : static_cast<std::uint64_t>(top + 1023);
  // A mantissa that was rounded up to the next power of two carries into the exponent by itself.
  const std::uint64_t encoded = (field == 0 ? mantissa : ((field - 1) << 52) + mantissa);
  if (encoded >= std::uint64_t{0x7ff} << 52) return std::numeric_limits<double>::infinity();
  return std::bit_cast<double>(encoded);
}

}  // namespace detail

/// What a run of characters that has JSON's number grammar means.
struct DecimalNumber {
  enum class Kind : std::uint8_t { kUint, kInt, kDouble };
  Kind kind = Kind::kUint;   ///< kInt: negative. kDouble: with a fraction or an exponent, or beyond 64 bits
  std::uint64_t magnitude = 0;
  std::int64_t integer = 0;  ///< kInt
  double real = 0;           ///< of every kind; infinite where no double is so large
};

/// `text`: -? digits (. digits)? ([eE] [+-]? digits)?  Exact for 64-bit integers; the nearest double for all else.
[[nodiscard]] inline DecimalNumber parse_decimal(std::string_view text) noexcept {
  DecimalNumber number;
  std::size_t at = 0;
  const bool negative = !text.empty() && text[0] == '-';
  if (negative) ++at;
  const std::size_t first = at;
  std::uint64_t mantissa = 0;
  int exponent = 0;
  bool whole = true;  // neither point nor exponent
  bool fits = true;   // `mantissa` is exact
  bool point = false;
  std::size_t end = at;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '.') {
      point = true;
      whole = false;
      continue;
    }
    if (c < '0' || c > '9') break;
    const auto digit = static_cast<unsigned>(c - '0');
    if (fits && (mantissa > 1'844'674'407'370'955'161u || (mantissa == 1'844'674'407'370'955'161u && digit > 5))) fits = false;
    if (fits) {
      mantissa = mantissa * 10 + digit;
      if (point) --exponent;
    }
  }
  end = at;
  int power = 0;
  if (at < text.size()) {  // e or E
    whole = false;
    ++at;
    bool minus = false;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) minus = text[at++] == '-';
    for (; at < text.size(); ++at) {
      if (power < 100'000) power = power * 10 + (text[at] - '0');
    }
    if (minus) power = -power;
  }
  if (whole && fits) {
    number.magnitude = mantissa;
    number.real = negative ? -static_cast<double>(mantissa) : static_cast<double>(mantissa);
    if (!negative) return number;
    if (mantissa <= std::uint64_t{1} << 63 && mantissa != 0) {
      number.kind = DecimalNumber::Kind::kInt;
      number.integer = static_cast<std::int64_t>(0 - mantissa);
      return number;
    }
    number.kind = DecimalNumber::Kind::kDouble;  // -0, or below the least 64-bit integer
    return number;
  }
  number.kind = DecimalNumber::Kind::kDouble;
  static constexpr double kPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  const int total = exponent + power;
  double real = 0;
  if (fits && mantissa <= std::uint64_t{1} << 53 && total >= -22 && total <= 22) {
    // Both are exact, so one operation rounds once.
    const auto exact = static_cast<double>(mantissa);
    real = total < 0 ? exact / kPowers[-total] : exact * kPowers[total];
  } else if (!(fits && mantissa == 0)) {
    real = detail::slow_decimal(text.substr(first, end - first), power);
  }
  number.real = negative ? -real : real;
  return number;
}

}  // namespace THENCE_ABI
}  // namespace thence
