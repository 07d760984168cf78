// SPDX-License-Identifier: MIT
// version.hpp: the version, the compile-time switch, and the ABI tag that keeps its two settings apart.
//
// THENCE_ENABLED decides, for one translation unit, whether the default tracer records (1, the default) or is an empty
// type whose calls leave no instruction behind (0). The setting is part of every symbol's name by way of the inline
// namespace THENCE_ABI: units of either setting link into one program and each behaves by its own. What the tag cannot
// guard is a *host's* struct that holds one of our types: such a struct changes its layout with the switch, so set the
// switch for a whole program at once where our types are members.
//
// Layer: config (includes nothing).
#pragma once

#define THENCE_VERSION_MAJOR 0
#define THENCE_VERSION_MINOR 1
#define THENCE_VERSION_PATCH 0
#define THENCE_VERSION_STRING "0.1.0"

#ifndef THENCE_ENABLED
#define THENCE_ENABLED 1
#endif

#if THENCE_ENABLED
#define THENCE_ABI v0_on
#else
#define THENCE_ABI v0_off
#endif

namespace thence {
inline namespace THENCE_ABI {

/// Whether this translation unit records. The one place where the switch becomes a value.
inline constexpr bool kEnabled = THENCE_ENABLED != 0;

}  // namespace THENCE_ABI
}  // namespace thence
