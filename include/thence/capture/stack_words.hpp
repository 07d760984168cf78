// SPDX-License-Identifier: MIT
// stack_words.hpp: what the words of a stack in a tracer's table mean.
//
// One table holds native stacks (program counters), script stacks (interned names with line and column) and call sites
// (pointers to literals). The first word says which; session/stack_resolver.hpp turns them into FrameInfo.
//
//   kNative  pc, pc, ...                                            innermost first
//   kScript  (function StringId | file StringId << 32), (line | column << 32), ...
//   kSource  file pointer, function pointer, line
//
// Layer: capture (includes storage/, core/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

enum class StackFormat : std::uint64_t { kNative = 1, kScript = 2, kSource = 3 };

inline constexpr std::size_t kMaxFrames = 64;

/// A frame of a script, as its host's engine tells it. Line and column from 1; 0 = unknown.
struct ScriptFrame {
  std::string_view function;
  std::string_view file;
  std::uint32_t line = 0;
  std::uint32_t column = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
