// SPDX-License-Identifier: MIT
// settings.hpp: every threshold of every analysis, in one place, with its unit in its name.
//
// A finding is a comparison with a number, and no number fits all programs. The defaults are those of docs/analyses.md:
//   AnalysisSettings settings;
//   settings.patterns.loop_block_ns = 16'000'000;                  // a user interface, not a server
//   settings.types.push_back({"sql-query", TypeClass::kStorage});  // a type of the host's own
// "Over n" means `> n`, "at least n" means `>= n`.
// Layer: analysis (includes model/ and below).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "thence/analysis/scheduling_settings.hpp"
#include "thence/analysis/type_class.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct PathSettings {
  /// On several lanes, where a resource was made ready on another lane than the one it ran on: how long its own lane may
  /// have been free before it, and still count as what it waited for. The time a loop or an idle worker takes to look for
  /// work; longer, and the delay is the scheduler's.
  std::uint64_t dispatch_gap_ns = 50'000;
  /// In a document that tells no causes: at most so long before another began a bridge's callback ended that made it ready.
  /// (NormaliseOptions has the like for all other callbacks.)
  std::uint64_t infer_within_ns = 200'000;
  /// Members of each critical path whose saving is computed exactly, by a replay each. The others have the time that they
  /// have on the path as an upper bound.
  std::uint32_t savings_per_request = 5;
  /// Critical paths without contention edges: what depended on what, whoever held the lane. For teaching.
  bool dependency_only = false;
  /// The annotation by which an operation says how many nanoseconds after its creation it was begun: before that, it queued.
  std::string started_key = "started_ns";
};

struct GapSettings {
  std::uint64_t min_ns = 100'000;     ///< a gap is shown if it is at least this long ...
  std::uint32_t min_permille = 5;     ///< ... and at least this part of the request
  std::uint32_t others_kept = 8;      ///< other operations in flight that are named ("could have overlapped")
};

/// 5.4; see patterns for what each is compared with.
struct PatternSettings {
  std::uint64_t sequential_between_exec_ns = 5'000'000;
  std::uint32_t sequential_min = 2;
  std::uint64_t loop_block_ns = 50'000'000;
  std::uint64_t checkpoint_gap_ns = 100'000;
  std::uint32_t descheduled_cpu_percent = 50;
  std::uint32_t unbatched_min = 3;
  std::uint64_t unbatched_window_ns = 5'000'000;
  std::uint32_t duplicate_min = 2;
  std::uint32_t chain_depth = 10;
  std::uint32_t chains_reported = 3;
  std::uint32_t waterfall_min = 3;
  std::uint32_t waterfall_percent = 25;
  std::uint32_t waterfall_two_hop_percent = 50;
  std::uint64_t long_gap_ns = 500'000'000;
  std::uint64_t long_gap_share_ns = 50'000'000;
  std::uint32_t long_gap_percent = 25;
  std::uint32_t promise_flood_min = 20;
  std::uint64_t promise_flood_window_ns = 1'000'000;
  std::uint32_t promise_flood_factor = 5;
  std::uint32_t callback_flood_min = 10;
  std::uint64_t callback_flood_window_ns = 1'000'000;
  std::uint64_t callback_flood_busy_ns = 5'000'000;
  std::uint32_t concurrency_limit = 6;
  std::uint32_t redundant_timer_min = 2;
  std::uint64_t redundant_timer_window_ns = 5'000'000;
  std::uint64_t redundant_timer_slack_ns = 1'000'000;
  std::uint32_t redundant_timer_slack_percent = 10;
  std::uint32_t redundant_timer_overlap_percent = 50;
  std::uint32_t timer_recreate_min = 3;
  std::uint64_t cache_wait_ns = 50'000'000;
  std::uint32_t cache_hit_percent = 90;
  std::uint32_t hot_min = 1000;
  std::uint32_t hot_percent = 20;
  std::uint32_t hot_percent_min = 50;
  std::uint32_t hot_exec_percent = 5;
  std::uint32_t hot_children = 100;
  /// Instead of promise_flood_min, where most promises are not JavaScript's: native ones cost a thousandth of them.
  std::uint32_t promise_flood_native_min = 1000;
  /// Two network operations in a row are a waterfall only if the shorter one, too, is over this part of the request.
  std::uint32_t waterfall_two_hop_shorter_percent = 10;
  /// Storage types that have one call for many keys.
  std::vector<std::string> batch_types = {"kv-get", "do-get", "do-put", "do-delete", "r2-delete", "d1-query", "queue-send"};
  /// Annotation with the processor time of a resource's only callback.
  std::string cpu_key = "cpu_ns";
  /// Findings of one request and pattern whose saving is computed exactly, by a replay each, largest bound first. The others
  /// have the time that they have on the path as an upper bound.
  std::uint32_t savings_per_pattern = 4;
  std::uint64_t trivial_saving_ns = 1'000'000;
  std::uint32_t trivial_saving_percent = 1;
};

struct AnalysisSettings {
  struct Type {
    std::string name;
    TypeClass is = TypeClass::kOther;
  };

  PathSettings path;
  GapSettings gaps;
  PatternSettings patterns;
  SchedulingSettings scheduling;
  EventLoopSettings event_loop;
  /// Classes of the host's own types; they go before the built-in table.
  std::vector<Type> types;
  /// Beginnings of file names whose frames are not the user's code, besides the built-in ones (visibility.hpp).
  std::vector<std::string> internal_files;
  /// Promises without a frame of the user's code are left out of trees and lists, and their children given to the nearest
  /// visible ancestor. Never changes a time.
  bool hide_internals = true;
};

}  // namespace THENCE_ABI
}  // namespace thence
