// SPDX-License-Identifier: MIT
// frame_text.hpp: a frame of a stack as people read it: `function file:line:column`, with what is known of it.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/trace_stacks.hpp"

namespace thence {
inline namespace THENCE_ABI {

inline void append_number(std::string& out, std::uint64_t value, int base = 10) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, base).ptr;
  out.append(digits, static_cast<std::size_t>(end - digits));
}

/// `load app.js:7:3`; `(anonymous) app.js:7:3`; of a native frame `kj::run worker`, or `worker+0x1234`; `0x7f00` where nothing is known.
inline void append_frame_text(std::string& out, const TraceStacks& stacks, const StoredFrame& frame) {
  const std::string_view function = frame.function == 0 ? std::string_view{} : stacks.string(frame.function);
  std::string_view file = frame.file == 0 ? std::string_view{} : stacks.string(frame.file);
  if (frame.kind == FrameKind::kNative) {
    if (const std::size_t slash = file.rfind('/'); slash != std::string_view::npos) file.remove_prefix(slash + 1);
    out.append(function);
    if (!function.empty()) {
      if (file.empty()) return;
      out.append(" ").append(file);
      return;
    }
    if (file.empty()) {
      out.append("0x");
      append_number(out, frame.pc, 16);
      return;
    }
    out.append(file).append("+0x");
    append_number(out, frame.relative_pc, 16);
    return;
  }
  out.append(function.empty() ? std::string_view("(anonymous)") : function);
  if (file.empty()) return;
  out.append(" ").append(file);
  if (frame.line == 0) return;
  out.append(":");
  append_number(out, frame.line);
  if (frame.column == 0) return;
  out.append(":");
  append_number(out, frame.column);
}

/// All frames of a stack that is known, innermost first.
inline void append_stack_text(std::string& out, const TraceStacks& stacks, StackId id, std::string_view between) {
  bool first = true;
  for (const std::uint32_t frame : stacks.frames_of(id)) {
    if (!first) out.append(between);
    first = false;
    append_frame_text(out, stacks, stacks.frame(frame));
  }
}

}  // namespace THENCE_ABI
}  // namespace thence
