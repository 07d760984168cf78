// SPDX-License-Identifier: MIT
// unit.hpp: the same work, compiled once with THENCE_ENABLED=1 and once with 0, and what came of it.
#pragma once

#include <cstddef>
#include <cstdint>

/// What one unit saw. No type of thence's is in it: such a struct would have two layouts.
struct UnitReport {
  bool enabled = false;         ///< thence::kEnabled, read from memory: what the linker kept, not what the compiler folded
  bool session_started = false;
  bool handle_given = false;    ///< create() gave a resource
  std::size_t depth_inside = 0; ///< the tracer's nesting inside a CallbackScope
  std::uint64_t events = 0;     ///< that a sink got
  std::size_t tracer_bytes = 0;
};

UnitReport report_of_unit_on();
UnitReport report_of_unit_off();
