// SPDX-License-Identifier: MIT
// time_folder.hpp: an EventSink that adds up where the time of a trace went, as a tree.
//
// Two questions, two trees. By stack of creation: which code made what runs (or waits)? The path is the stack that created
// a resource, outermost frame first, then the resource's type. By causal chain: what led to it? The path is the chain of
// triggers from the request down, each as `type function file:line`. And two times: running (own time of the invocations,
// pauses of the lane apart, as `[pause]`) and waiting (created or left, and not yet entered).
//   TimeFolder folder{{.by = FoldBy::kCausalChain}};
//   ... events ...
//   folder.end(summary);
//   write_folded(folder.profile(), sink);              // folded_encoder.hpp
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/folded/stack_profile.hpp"
#include "thence/formats/frame_text.hpp"
#include "thence/formats/resource_rows.hpp"
#include "thence/formats/trace_names.hpp"
#include "thence/formats/trace_stacks.hpp"

namespace thence {
inline namespace THENCE_ABI {

enum class FoldBy : std::uint8_t { kCreationStack, kCausalChain };
enum class FoldTime : std::uint8_t {
  kRunning,
  kWaiting,
  kBoth,  ///< each path ends in `[running]` or `[waiting]`
};

struct FoldOptions {
  FoldBy by = FoldBy::kCreationStack;
  FoldTime time = FoldTime::kRunning;
  /// A resource whose time is less is left out (and counted). 0 keeps all.
  std::uint64_t min_ns = 0;
  /// Labels of a path; what lies deeper ends in `[deeper]`. Less: long chains are cut. More: a chain of n creations makes
  /// lines of n labels.
  std::uint32_t max_depth = 256;
  std::size_t max_nodes = std::size_t{1} << 22;
  std::size_t max_stack_bytes = std::size_t{256} << 20;
};

/// Folds a trace.
///   Shape     as ResourceTracker; the tree.
///   Threads   one at a time.
///   Cost      O(1) an event; O(frames) a resource.
///   When full see FoldOptions and StackProfile.
///   Errors    std::bad_alloc.
class TimeFolder {
 public:
  explicit TimeFolder(const FoldOptions& options = {})
      : options_(options), profile_(options.max_nodes), stacks_(options.max_stack_bytes), tracker_(*this) {}
  TimeFolder(const TimeFolder&) = delete;
  TimeFolder& operator=(const TimeFolder&) = delete;

  void begin(const TraceInfo&) noexcept {}
  void define_lane(const LaneInfo&) noexcept {}
  void define_type(TypeId type, std::string_view name) { names_.define_type(type, name); }
  void define_counter(CounterId, std::string_view, std::string_view) noexcept {}
  void define_stack(const StackInfo& stack) { stacks_.define(stack); }
  void synchronise(const ClockSnapshot&) noexcept {}
  void take(std::span<const TraceEvent> events) {
    for (const TraceEvent& event : events) tracker_.take(event);
  }
  void flush() noexcept {}
  void end(const TraceSummary&) { tracker_.close(); }

  [[nodiscard]] const StackProfile& profile() const noexcept { return profile_; }
  /// Resources left out: their time is below min_ns.
  [[nodiscard]] std::uint64_t below_min() const noexcept { return below_min_; }
  /// Resources left out: a begin or an end that their time depends on is not known.
  [[nodiscard]] std::uint64_t unknown() const noexcept { return unknown_; }

  void born(ResourceRow& row, const ResourceRow* trigger) {
    if (options_.by == FoldBy::kCreationStack) {
      row.user = path_of_stack(row);
      return;
    }
    StackProfile::Node parent = StackProfile::kTop;
    if (trigger != nullptr && trigger->created) {
      parent = trigger->user;
    } else if (row.trigger != ResourceId::kNone) {
      parent = profile_.child(parent, profile_.label("[unknown trigger]"));
    }
    row.user = below(parent, chain_label(row));
  }

  void row(const ResourceRow& row) {
    // Of what was never created in this trace neither stack nor trigger is known.
    const StackProfile::Node node =
        row.created ? row.user : profile_.child(StackProfile::kTop, profile_.label("[created before the trace]"));
    if (options_.time != FoldTime::kWaiting && row.invocations != 0) {
      const MaybeNs own = row.self_time();
      if (!own) {
        ++unknown_;
      } else {
        running(node, own.ns, row.pause_ns);
      }
    }
    if (options_.time != FoldTime::kRunning) {
      const MaybeNs waiting = row.waiting();
      if (!waiting) {
        ++unknown_;
      } else if (waiting.ns < options_.min_ns) {
        ++below_min_;
      } else if (waiting.ns != 0) {
        profile_.add(options_.time == FoldTime::kBoth ? profile_.child(node, profile_.label("[waiting]")) : node, waiting.ns);
      }
    }
  }

 private:
  void running(StackProfile::Node node, std::uint64_t own, std::uint64_t pause) {
    if (own < options_.min_ns) {
      ++below_min_;
      return;
    }
    if (options_.time == FoldTime::kBoth) node = profile_.child(node, profile_.label("[running]"));
    if (own > pause) profile_.add(node, own - pause);
    if (pause != 0) profile_.add(profile_.child(node, profile_.label("[pause]")), pause);
  }

  [[nodiscard]] StackProfile::Node below(StackProfile::Node parent, std::string_view label) {
    const std::uint32_t depth = profile_.depth(parent);
    if (depth + 1 < options_.max_depth) return profile_.child(parent, profile_.label(label));
    const StackProfile::Label deeper = profile_.label("[deeper]");
    // One such label is enough for all that lies below it.
    return depth + 1 == options_.max_depth ? profile_.child(parent, deeper) : parent;
  }

  [[nodiscard]] StackProfile::Node path_of_stack(const ResourceRow& row) {
    StackProfile::Node node = StackProfile::kTop;
    if (row.stack == StackId::kNone || !stacks_.knows(row.stack)) {
      node = below(node, "[no stack]");
    } else {
      const auto frames = stacks_.frames_of(row.stack);
      if (frames.empty()) node = below(node, "[no stack]");
      for (std::size_t at = frames.size(); at-- != 0;) {
        text_.clear();
        append_frame_text(text_, stacks_, stacks_.frame(frames[at]));
        node = below(node, text_);
      }
    }
    return below(node, names_.type(row.type()));
  }

  [[nodiscard]] std::string_view chain_label(const ResourceRow& row) {
    text_.assign(names_.type(row.type()));
    if (row.stack != StackId::kNone && stacks_.knows(row.stack)) {
      const auto frames = stacks_.frames_of(row.stack);
      if (!frames.empty()) {
        text_.append(" ");
        append_frame_text(text_, stacks_, stacks_.frame(frames.front()));
      }
    }
    return text_;
  }

  FoldOptions options_;
  StackProfile profile_;
  TraceNames names_;
  TraceStacks stacks_;
  ResourceTracker<TimeFolder> tracker_;
  std::string text_;
  std::uint64_t below_min_ = 0;
  std::uint64_t unknown_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
