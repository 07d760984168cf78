// SPDX-License-Identifier: MIT
// visibility.hpp: whose code a frame is, and which resources a person wants to see.
//
// Two thirds of the promises of a JavaScript request are the runtime's own. A report names the first frame that is the
// user's code, and a tree leaves out promises that have none:
//   const Visibility visible = visibility_of(model, normal, settings);
//   visible.user_frame(model, row);     // row of `frames`: the code that made it; kNone: none that is known
//   visible.shown_parent[row];          // the nearest ancestor that is shown
// A frame is internal if its file begins with node:, node-internal:, cloudflare:, cloudflare-internal:, workerd:,
// workerd-internal: or one of the settings' beginnings. A frame without a file is unknown: nobody's code.
// Layer: analysis (includes model/ and below).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "thence/analysis/settings.hpp"
#include "thence/config/version.hpp"
#include "thence/model/normalised.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

enum class FrameOwner : std::uint8_t { kUnknown, kInternal, kUser };

/// Whose code is in a file of that name.
[[nodiscard]] inline FrameOwner owner_of_file(std::string_view file, const AnalysisSettings& settings) noexcept {
  if (file.empty()) return FrameOwner::kUnknown;
  constexpr std::string_view internal[] = {"node:", "node-internal:", "cloudflare:", "cloudflare-internal:", "workerd:",
                                           "workerd-internal:"};
  for (const std::string_view beginning : internal) {
    if (file.substr(0, beginning.size()) == beginning) return FrameOwner::kInternal;
  }
  for (const std::string& beginning : settings.internal_files) {
    if (!beginning.empty() && file.substr(0, beginning.size()) == beginning) return FrameOwner::kInternal;
  }
  return FrameOwner::kUser;
}

/// Flat tables by frame, stack, type and resource.
///   Threads   any number of readers.
///   Cost      visibility_of: O(resources + frames of all stacks). user_frame: O(1).
///   Lifetime  stands alone; rows mean something with their model.
struct Visibility {
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  std::vector<FrameOwner> frame_owner;     ///< by row of `frames`
  std::vector<std::uint32_t> first_user;   ///< by row of `stacks`: the innermost frame of the user's; kNone: none
  std::vector<TypeClass> type_class;       ///< by TypeId
  std::vector<bool> hidden;                ///< by resource: bridges, and promises without a frame of the user's
  std::vector<std::uint32_t> shown_parent; ///< by resource: the nearest ancestor that is not hidden
  std::uint64_t hidden_resources = 0;

  [[nodiscard]] TypeClass class_of(const TraceModel& model, std::uint32_t row) const noexcept {
    return model.has(row, ResourceFlag::kCreated) && model.type[row] < type_class.size() ? type_class[model.type[row]]
                                                                                         : TypeClass::kOther;
  }
  [[nodiscard]] std::uint32_t user_frame(const TraceModel& model, std::uint32_t row) const noexcept {
    return model.stack[row] == kNone ? kNone : first_user[model.stack[row]];
  }
};

[[nodiscard]] inline Visibility visibility_of(const TraceModel& model, const Normalised& normal,
                                              const AnalysisSettings& settings = {}) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  Visibility visible;
  visible.frame_owner.resize(model.frames.size());
  for (std::size_t frame = 0; frame < model.frames.size(); ++frame) {
    visible.frame_owner[frame] = owner_of_file(model.text(model.frames[frame].file), settings);
  }
  visible.first_user.assign(model.stacks.size(), kNone);
  for (std::uint32_t stack = 0; stack < model.stacks.size(); ++stack) {
    for (const std::uint32_t frame : model.frames_of(stack)) {
      if (visible.frame_owner[frame] != FrameOwner::kUser) continue;
      visible.first_user[stack] = frame;
      break;
    }
  }
  visible.type_class.resize(model.type_names.size(), TypeClass::kOther);
  for (std::size_t type = 0; type < model.type_names.size(); ++type) {
    if (model.type_names[type] == 0) continue;
    const std::string_view name = model.text(model.type_names[type]);
    visible.type_class[type] = class_of_type(name);
    for (const AnalysisSettings::Type& own : settings.types) {
      if (own.name == name) visible.type_class[type] = own.is;
    }
  }
  const std::uint32_t resources = model.resources();
  // In a trace without stacks nothing is known of whose anything is: all is shown.
  bool told = false;
  for (const TraceModel::Stack& stack : model.stacks) told = told || (stack.defined && stack.count != 0);
  visible.hidden.assign(resources, false);
  visible.shown_parent.assign(resources, kNone);
  for (std::uint32_t row = 0; row < resources; ++row) {
    const TypeClass which = visible.class_of(model, row);
    const std::uint32_t stack = model.stack[row];
    const bool internal = which == TypeClass::kBridge ||
                          ((which == TypeClass::kPromise || which == TypeClass::kMicrotask) && told &&
                           (stack == kNone || visible.first_user[stack] == kNone));
    const std::uint32_t parent = normal.parent[row];
    if (internal) {
      visible.hidden[row] = true;
      ++visible.hidden_resources;
    }
    if (parent != kNone) visible.shown_parent[row] = visible.hidden[parent] ? visible.shown_parent[parent] : parent;
  }
  return visible;
}

}  // namespace THENCE_ABI
}  // namespace thence
