// SPDX-License-Identifier: MIT
// characters.hpp: what a byte of ASCII is, whatever the locale.
// Layer: analysis (includes model/ and below).
#pragma once

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace detail {

[[nodiscard]] constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
[[nodiscard]] constexpr bool is_hex(char c) noexcept { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
[[nodiscard]] constexpr bool is_letter(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
[[nodiscard]] constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace detail
}  // namespace THENCE_ABI
}  // namespace thence
