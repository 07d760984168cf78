// SPDX-License-Identifier: MIT
// source_site.hpp: the caller's file, function and line, taken for free as a default argument.
//
// clang 14 with libstdc++ 12 has no std::source_location; the builtins it is made of are in both compilers, and nested
// default arguments give the outermost caller's line.
// Layer: core (includes config/ only).
#pragma once

#include <cstdint>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Pointers to strings of static storage duration; two sites of one line in one file are the same site.
struct SourceSite {
  const char* file = nullptr;
  const char* function = nullptr;
  std::uint32_t line = 0;

  [[nodiscard]] static constexpr SourceSite current(const char* file = __builtin_FILE(),
                                                    const char* function = __builtin_FUNCTION(),
                                                    unsigned line = __builtin_LINE()) noexcept {
    return {file, function, line};
  }
};

}  // namespace THENCE_ABI
}  // namespace thence
