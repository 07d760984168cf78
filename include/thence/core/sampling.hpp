// SPDX-License-Identifier: MIT
// sampling.hpp: which roots are traced. Decided once, when a root begins; all that comes of an untraced root records nothing.
// Layer: core (includes config/ only).
#pragma once

#include <cstdint>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// May be changed while a session runs (Session::set_sampling); it then holds for roots that begin later.
struct Sampling {
  enum class Mode : std::uint8_t {
    kAll,       ///< every root
    kNone,      ///< no root; resources without a root are still recorded
    kOneIn,     ///< one root in `every`, per lane
    kWhenAsked  ///< those for which the host says so: a header, a cookie, a customer
  };
  Mode mode = Mode::kAll;
  std::uint32_t every = 1;

  [[nodiscard]] static constexpr Sampling all() noexcept { return {Mode::kAll, 1}; }
  [[nodiscard]] static constexpr Sampling none() noexcept { return {Mode::kNone, 1}; }
  [[nodiscard]] static constexpr Sampling one_in(std::uint32_t roots) noexcept {
    return {Mode::kOneIn, roots == 0 ? 1 : roots};
  }
  [[nodiscard]] static constexpr Sampling when_asked() noexcept { return {Mode::kWhenAsked, 1}; }
};

/// What the host knows of a root when it begins.
struct RootRequest {
  bool asked = false;  ///< the host's own word (a header) for Sampling::when_asked()
};

}  // namespace THENCE_ABI
}  // namespace thence
