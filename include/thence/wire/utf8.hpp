// SPDX-License-Identifier: MIT
// utf8.hpp: how much of a run of bytes is well-formed UTF-8, and how much of what is not counts as one error.
//
// Annotation values come from the network. A JSON text must be Unicode, so each maximal ill-formed part becomes one
// U+FFFD (Unicode 15, 3.9, "substitution of maximal subparts"; what browsers do).
// Layer: wire (includes core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct Utf8Part {
  std::size_t length = 0;  ///< bytes to take, at least 1
  bool valid = false;      ///< one whole code point; else a maximal ill-formed part
};

/// The code point, or the ill-formed part, at the start of `text`, which is not empty. Surrogates, overlong forms and
/// what lies beyond U+10FFFF are ill-formed.
[[nodiscard]] constexpr Utf8Part first_utf8_part(std::string_view text) noexcept {
  const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(text[at]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {1, true};
  std::size_t count = 0;
  std::uint8_t low = 0x80, high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    count = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    count = 3;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    count = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
  } else {
    return {1, false};
  }
  for (std::size_t at = 1; at < count; ++at) {
    if (at >= text.size() || byte(at) < low || byte(at) > high) return {at, false};
    low = 0x80;
    high = 0xbf;
  }
  return {count, true};
}

}  // namespace THENCE_ABI
}  // namespace thence
