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
inline void append_frame_text(std::string& out, const FrameInfo& frame) {
  if (frame.kind == FrameKind::kNative) {
    const std::string_view module = frame.file.substr(frame.file.rfind('/') + 1);
    if (!frame.function.empty()) {
      out.append(frame.function);
      if (!module.empty()) out.append(" ").append(module);
      return;
    }
    out.append(module).append(module.empty() ? "0x" : "+0x");
    append_number(out, module.empty() ? frame.pc : frame.relative_pc, 16);
    return;
  }
  out.append(frame.function.empty() ? std::string_view("(anonymous)") : frame.function);
  if (frame.file.empty()) return;
  out.append(" ").append(frame.file);
  if (frame.line == 0) return;
  out.append(":");
  append_number(out, frame.line);
  if (frame.column == 0) return;
  out.append(":");
  append_number(out, frame.column);
}
inline void append_frame_text(std::string& out, const TraceStacks& stacks, const StoredFrame& stored) {
  FrameInfo frame;
  frame.kind = stored.kind;
  if (stored.function != 0) frame.function = stacks.string(stored.function);
  if (stored.file != 0) frame.file = stacks.string(stored.file);
  frame.line = stored.line;
  frame.column = stored.column;
  frame.pc = stored.pc;
  frame.relative_pc = stored.relative_pc;
  append_frame_text(out, frame);
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
