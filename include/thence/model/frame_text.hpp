// SPDX-License-Identifier: MIT
// frame_text.hpp: a frame of a model as people read it.
//
//   frame_text(model, model.frames[row])          // "load @ app.js:10:3", as formats/frame_text.hpp writes it
// Layer: model (includes formats/ and below).
#pragma once

#include <string>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/frame_text.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A frame of a model as append_frame_text writes it.
[[nodiscard]] inline std::string frame_text(const TraceModel& model, const TraceModel::Frame& frame) {
  FrameInfo info;
  info.kind = frame.kind;
  info.function = model.text(frame.function);
  info.file = model.text(frame.file);
  info.line = frame.line;
  info.column = frame.column;
  info.pc = frame.pc;
  info.relative_pc = frame.relative_pc;
  std::string out;
  append_frame_text(out, info);
  return out;
}

}  // namespace THENCE_ABI
}  // namespace thence
