// SPDX-License-Identifier: MIT
// duration_text.hpp: durations as people write them.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// `10ms`, `1.5s`, `250` (ns), in nanoseconds; nullopt: it is none, or does not fit 64 bits.
[[nodiscard]] inline std::optional<std::uint64_t> parse_duration(std::string_view text) noexcept {
  std::uint64_t whole = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (error != std::errc{}) return std::nullopt;
  auto at = static_cast<std::size_t>(end - text.data());
  std::string_view fraction;
  if (at < text.size() && text[at] == '.') {
    const std::size_t from = ++at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    fraction = text.substr(from, at - from);
    if (fraction.empty()) return std::nullopt;
  }
  const std::string_view unit = text.substr(at);
  std::uint64_t scale = unit.empty() || unit == "ns" ? 1
                        : unit == "us"               ? 1'000
                        : unit == "ms"               ? 1'000'000
                        : unit == "s"                ? 1'000'000'000
                        : unit == "m"                ? std::uint64_t{60'000'000'000}
                                                     : 0;
  if (scale == 0 || whole > ~std::uint64_t{0} / scale) return std::nullopt;
  std::uint64_t ns = whole * scale;
  for (const char digit : fraction) {
    scale /= 10;
    const std::uint64_t more = scale * static_cast<std::uint64_t>(digit - '0');
    if (ns > ~std::uint64_t{0} - more) return std::nullopt;
    ns += more;
  }
  return ns;
}

}  // namespace THENCE_ABI
}  // namespace thence
