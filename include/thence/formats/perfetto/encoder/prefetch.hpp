// SPDX-License-Identifier: MIT
// prefetch.hpp: asks for memory that is needed soon.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// Asks for the first two cache lines of what will be written.
template <class T>
[[gnu::always_inline]] inline void prefetch(const T* what) noexcept {
  __builtin_prefetch(what, 1);
  if constexpr (sizeof(T) > 64) __builtin_prefetch(reinterpret_cast<const std::byte*>(what) + 64, 1);
}

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
