// SPDX-License-Identifier: MIT
// copy_short.hpp: copies the texts that an event bears, nearly all of which are short.
//
//   to = detail::copy_short<24>(to, "url");
//
// Layer: core (includes config/ only).
#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace detail {

/// Copies `text`, which has at most `kMost` characters, and returns where it ends in `to`. Words that may overlap take up to 24 of
/// them, a call more: where kMost allows for none, the caller stays without one and saves no registers for it.
template <std::size_t kMost, class Byte>
[[gnu::always_inline]] inline Byte* copy_short(Byte* to, std::string_view text) noexcept {
  const char* const from = text.data();
  const std::size_t size = text.size();
  if (size >= 8) {
    if (kMost > 24 && size > 24) {
      std::memcpy(to, from, size);
    } else {
      std::memcpy(to, from, 8);
      if (size > 16) std::memcpy(to + 8, from + 8, 8);
      std::memcpy(to + size - 8, from + size - 8, 8);
    }
  } else if (size >= 4) {
    std::memcpy(to, from, 4);
    std::memcpy(to + size - 4, from + size - 4, 4);
  } else if (size != 0) {
    to[0] = static_cast<Byte>(from[0]);
    to[size / 2] = static_cast<Byte>(from[size / 2]);
    to[size - 1] = static_cast<Byte>(from[size - 1]);
  }
  return to + size;
}

}  // namespace detail
}  // namespace THENCE_ABI
}  // namespace thence
