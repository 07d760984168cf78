// SPDX-License-Identifier: MIT
// pattern_context.hpp: what the detectors of patterns share: who followed whom, what an operation was for, what it cost.
//
// "The second fetch came after the first" is a matter of causes, not of times: from the callback that made the second one
// back over what made that callback ready, to the operation whose completion began it all.
//   PatternContext context(run, units, groups, where, paths, &ideal, gaps, coverage);
//   context.after[fetch2].unit == fetch1;               // nothing but callbacks in between ...
//   context.after[fetch2].exec_ns <= 5'000'000;         // ... that ran so long
//   context.on_path[fetch1];                            // its time on the request's critical path
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/analysis/coverage.hpp"
#include "thence/analysis/critical_path.hpp"
#include "thence/analysis/execution.hpp"
#include "thence/analysis/finding.hpp"
#include "thence/analysis/gaps.hpp"
#include "thence/analysis/groups.hpp"
#include "thence/analysis/ideal_schedule.hpp"
#include "thence/analysis/locations.hpp"
#include "thence/analysis/report_text.hpp"
#include "thence/analysis/settings.hpp"
#include "thence/analysis/units.hpp"
#include "thence/analysis/url.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Tables by row of resources (of units) and of invocations.
///   Threads   one: it asks the ideal schedule.
///   Cost      constructor: O(resources + invocations + annotations + critical paths).
///   Lifetime  keeps references to all that it is made of.
class PatternContext {
 public:
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  /// The operation after whose completion something came, with nothing but callbacks in between.
  struct After {
    std::uint32_t unit = kNone;   ///< kNone: none, or not known
    std::uint64_t exec_ns = 0;    ///< that those callbacks ran
    bool told = true;             ///< false: a step in between is not told, only that one was created by the other
  };

  /// `schedule` may be null: then no saving is replayed.
  PatternContext(const Execution& execution, const Units& all_units, const Groups& all_groups, const Locations& locations,
                 const CriticalPaths& critical, IdealSchedule* schedule, const Gaps& all_gaps, const Coverage& what_is_there)
      : run(execution), units(all_units), groups(all_groups), where(locations), paths(critical), ideal(schedule),
        gaps(all_gaps), coverage(what_is_there), model(execution.model), settings(execution.settings.patterns) {
    find_keys();
    find_operations();
    follow_causes();
    add_up_paths();
  }

  const Execution& run;
  const Units& units;
  const Groups& groups;
  const Locations& where;
  const CriticalPaths& paths;
  IdealSchedule* ideal;
  const Gaps& gaps;
  const Coverage& coverage;
  const TraceModel& model;
  const PatternSettings& settings;

  std::vector<std::uint32_t> operations;        ///< units that are completed from outside, in the order of units.rows
  std::vector<std::uint32_t> network;           ///< of them, requests to others
  std::vector<After> after;                     ///< by unit
  std::vector<After> after_invocation;          ///< what an invocation's beginning came after
  std::vector<std::uint64_t> on_path;           ///< by unit: time on the critical path of its request
  std::vector<std::uint64_t> invocation_on_path;
  std::vector<std::uint32_t> caller;            ///< by stack: the function that made the call, numbered; see caller_of

  // -- operations -----------------------------------------------------------------------------------------------------

  [[nodiscard]] TypeClass class_of(std::uint32_t unit) const noexcept { return run.class_of(unit); }
  [[nodiscard]] std::uint64_t duration(std::uint32_t unit) const noexcept {
    const Execution::Interval time = run.operation_time(unit);
    return time.end - time.start;
  }
  [[nodiscard]] bool completed(std::uint32_t unit) const noexcept { return run.settle_known[unit]; }
  [[nodiscard]] std::uint64_t completion(std::uint32_t unit) const noexcept { return run.operation_time(unit).end; }
  /// S of the request of a resource; of a resource without one, the whole trace.
  [[nodiscard]] std::uint64_t request_time(std::uint32_t row) const noexcept {
    const std::uint32_t request = run.request[row];
    return request == kNone ? model.last_time - model.first_time : run.requests[request].duration();
  }
  /// Requests by number, with one more for what belongs to none.
  [[nodiscard]] std::uint32_t request_number(std::uint32_t row) const noexcept {
    return std::min(run.request[row], static_cast<std::uint32_t>(run.requests.size()));
  }
  /// The function of the user's that made the call: the innermost user frame, but where that is the call itself (`fetch`,
  /// called by a function of the user's) the one that called it. 0: not known. Equal numbers: same function of the same file.
  [[nodiscard]] std::uint32_t caller_of(std::uint32_t unit) const noexcept {
    const std::uint32_t stack = model.stack[unit];
    return stack == kNone ? 0 : caller[stack];
  }
  /// Function of the innermost user frame, numbered likewise.
  [[nodiscard]] std::uint32_t callee_of(std::uint32_t unit) const noexcept {
    const std::uint32_t stack = model.stack[unit];
    return stack == kNone ? 0 : callee_[stack];
  }
  /// How many functions there are: numbers go from 1 to it.
  [[nodiscard]] std::uint32_t functions() const noexcept { return functions_; }
  /// Equal: the same frames, of which one at least is the user's. 0: not known.
  [[nodiscard]] std::uint32_t stack_key(std::uint32_t unit) const noexcept {
    const std::uint32_t stack = model.stack[unit];
    return stack == kNone ? 0 : stack_keys_[stack];
  }

  // -- annotations ----------------------------------------------------------------------------------------------------

  /// Keys that detectors ask for.
  enum Key : unsigned {
    kUrl, kUrlHash, kMethod, kVary, kRange, kKey, kResult, kCache, kDelay, kType, kNamespace, kBinding, kDoName, kBucket,
    kDatabase, kQueue, kCpu, kKeys
  };
  /// The first annotation of a unit's parts with that key; null: none.
  [[nodiscard]] const TraceModel::Note* note(std::uint32_t unit, Key key) const noexcept {
    if (key_text_[key] == 0) return nullptr;
    for (const std::uint32_t part : run.members[unit]) {
      for (const TraceModel::Note& one : model.notes_of(part)) {
        if (one.key == key_text_[key]) return &one;
      }
    }
    return nullptr;
  }
  [[nodiscard]] std::string_view note_text(std::uint32_t unit, Key key) const noexcept {
    const TraceModel::Note* const found = note(unit, key);
    return found != nullptr && found->kind == ValueKind::kString ? found->text : std::string_view{};
  }
  /// What tells equal requests: the normalised URL, or its hash where it was redacted; empty: not known in full.
  [[nodiscard]] std::string full_url(std::uint32_t unit) const {
    const std::string_view hash = note_text(unit, kUrlHash);
    if (!hash.empty()) return std::string(hash);
    const TraceModel::Note* const found = note(unit, kUrl);
    if (found == nullptr || found->kind != ValueKind::kString || found->cut || is_redacted(found->text)) return {};
    return normalised_url(found->text);
  }
  [[nodiscard]] std::string method(std::uint32_t unit) const {
    std::string made;
    for (const char c : note_text(unit, kMethod)) made += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    return made.empty() ? "GET" : made;
  }

  // -- findings -------------------------------------------------------------------------------------------------------

  /// A finding of these units, in their order, with location and request of the first.
  [[nodiscard]] Finding finding(std::string_view id, Severity severity, Confidence confidence,
                                std::span<const std::uint32_t> resources) const {
    Finding made;
    made.id = id;
    made.severity = severity;
    made.confidence = confidence;
    made.resources.assign(resources.begin(), resources.end());
    if (resources.empty()) return made;
    const std::uint32_t first = resources.front();
    made.request = run.request[first];
    made.location = location_of(first);
    made.evidence.reserve(kMostEvidence);
    made.start_ns = ~std::uint64_t{0};
    for (const std::uint32_t unit : resources) {
      made.start_ns = std::min(made.start_ns, units.is_unit(unit) ? units.created[unit] : run.created(unit));
      made.end_ns = std::max(made.end_ns, units.is_unit(unit) ? units.finish[unit] : run.finish_of(unit));
    }
    return made;
  }
  [[nodiscard]] std::uint32_t location_of(std::uint32_t unit) const noexcept {
    std::uint32_t found = run.visible.user_frame(model, unit);
    if (found != kNone) return found;
    for (const std::uint32_t part : run.members[unit]) {
      found = run.visible.user_frame(model, part);
      if (found != kNone) return found;
    }
    return kNone;
  }
  [[nodiscard]] std::string location_name(std::uint32_t unit) const { return location_text(model, location_of(unit)); }

  /// Sets a saving that is at most `bound`, and at most the request. What lies where the path is not explained saves nothing
  /// that is known: that is said instead.
  void saves(Finding& finding, std::uint64_t bound) const {
    if (finding.request == kNone) return;  // no request, no end that could come earlier
    const std::uint64_t dark = bound != 0 ? 0 : unexplained(finding.request, finding.start_ns, finding.end_ns);
    if (dark != 0) {
      finding.says(kNotExplained, Evidence::Unit::kNanoseconds, dark);
      return;
    }
    finding.saving_known = true;
    finding.saving_ns = std::min(bound, run.requests[finding.request].duration());
  }
  static constexpr std::string_view kNotExplained = "path not explained";
  /// How much of a stretch the critical path does not explain. O(log n + segments in it).
  [[nodiscard]] std::uint64_t unexplained(std::uint32_t request, std::uint64_t from, std::uint64_t to) const noexcept {
    const auto path = paths.of(request);
    auto at = std::upper_bound(path.begin(), path.end(), from, [](std::uint64_t time, const PathSegment& part) { return time < part.end; });
    std::uint64_t sum = 0;
    for (; at != path.end() && at->start < to; ++at) {
      if (at->kind == PathKind::kUnknown || at->kind == PathKind::kTail) sum += std::min(to, at->end) - std::max(from, at->start);
    }
    return sum;
  }

 private:
  void find_keys() {
    constexpr std::string_view names[kKeys - 1] = {"url", "url_hash", "method", "vary", "range", "key", "result", "cache",
                                                  "delay", "type", "namespace", "binding", "doName", "bucket", "database",
                                                  "queue"};
    TextNumbers numbers;
    for (const std::string_view name : names) static_cast<void>(numbers.number_of(name));
    static_cast<void>(numbers.number_of(settings.cpu_key));
    std::vector<std::uint8_t> seen(model.texts.texts(), 0);
    for (const TraceModel::Note& one : model.notes) {
      if (seen[one.key] != 0) continue;
      seen[one.key] = 1;
      const std::uint32_t at = numbers.find(model.text(one.key));
      if (at != IdMap::kAbsent && at < kKeys) key_text_[at] = one.key;
    }
    stack_keys_ = stack_keys(model, run.visible);
    number_functions();
  }

  void find_operations() {
    for (const std::uint32_t unit : units.rows) {
      if (!run.operation[unit]) continue;
      operations.push_back(unit);
      if (class_of(unit) == TypeClass::kNetwork) network.push_back(unit);
    }
  }

  void number_functions() {
    caller.assign(model.stacks.size(), 0);
    callee_.assign(model.stacks.size(), 0);
    IdMap functions;
    std::uint32_t next = 0;
    // A function without a name is known by its place.
    const auto number_of = [&](std::uint32_t row) {
      const TraceModel::Frame& frame = model.frames[row];
      const std::string_view name = model.text(frame.function);
      const bool named = !name.empty() && name != "<anonymous>" && name != "(anonymous)";
      const std::uint64_t key = named ? (std::uint64_t{frame.function} << 32 | frame.file) + 1 : ~std::uint64_t{row};
      std::uint32_t found = functions.find(key);
      if (found == IdMap::kAbsent) functions.insert(key, found = ++next);
      return found;
    };
    for (std::uint32_t stack = 0; stack < model.stacks.size(); ++stack) {
      std::uint32_t first = kNone;
      std::uint32_t second = kNone;
      for (const std::uint32_t frame : model.frames_of(stack)) {
        if (run.visible.frame_owner[frame] != FrameOwner::kUser) continue;
        if (first == kNone) {
          first = frame;
        } else {
          second = frame;
          break;
        }
      }
      if (first == kNone) continue;
      callee_[stack] = number_of(first);
      const bool the_call = model.text(model.frames[first].function) == "fetch";
      caller[stack] = number_of(the_call && second != kNone ? second : first);
    }
    functions_ = next;
  }

  /// In order of their beginnings: a cause began before its effect.
  void follow_causes() {
    after_invocation.resize(model.invocations.size());
    std::vector<std::uint8_t> done(model.invocations.size(), 0);
    for (std::uint32_t at = 0; at < model.invocations.size(); ++at) {
      After& made = after_invocation[at];
      done[at] = 1;
      if (run.is_span(at)) {
        made.told = false;
        continue;
      }
      const Execution::Cause& cause = run.cause[at];
      const std::uint32_t row = run.resource_of(at);
      switch (cause.kind) {
        case CauseOf::kRoot: break;
        case CauseOf::kExternal:
          if (cause.resource != kNone) made.unit = run.unit[whose(cause.resource)];
          if (made.unit != kNone && !units.is_unit(made.unit)) made.unit = kNone;
          break;
        case CauseOf::kCreated:
        case CauseOf::kSettled:
        case CauseOf::kWoken:
        case CauseOf::kCalled: made = behind(cause.invocation, cause.at, done); break;
        case CauseOf::kUnknown:
          made = run.previous[at] != kNone ? behind(run.previous[at], run.end(run.previous[at]), done)
                                           : behind(run.creator[row], run.created(row), done);
          made.told = false;
          break;
      }
    }
    after.assign(model.resources(), {});
    for (const std::uint32_t unit : units.rows) after[unit] = behind(run.creator[units.first[unit]], units.created[unit], done);
  }
  /// The body of an answer is its fetch's: what the outside made for an operation counts as that.
  [[nodiscard]] std::uint32_t whose(std::uint32_t row) const noexcept {
    for (std::uint32_t by; (by = run.made_for(row)) != kNone;) row = by;
    return row;
  }
  /// What a moment of an invocation came after.
  [[nodiscard]] After behind(std::uint32_t at, std::uint64_t moment, const std::vector<std::uint8_t>& done) const noexcept {
    After made;
    if (at == kNone || done[at] == 0 || run.is_span(at)) {
      made.told = false;
      return made;
    }
    made = after_invocation[at];
    made.exec_ns += std::min(run.self[at], moment > run.start(at) ? moment - run.start(at) : 0);
    return made;
  }

  void add_up_paths() {
    on_path.assign(model.resources(), 0);
    invocation_on_path.assign(model.invocations.size(), 0);
    for (std::uint32_t request = 0; request < run.requests.size(); ++request) {
      for (const PathSegment& part : paths.of(request)) {
        if (part.resource == kNone || part.unnamed) continue;
        if (part.kind != PathKind::kExec && part.kind != PathKind::kWait && part.kind != PathKind::kQueue) continue;
        on_path[run.unit[part.resource]] += part.length();
        if (part.kind == PathKind::kExec && part.invocation != kNone) invocation_on_path[part.invocation] += part.length();
      }
    }
  }

  static constexpr std::size_t kMostEvidence = 5;  // of most patterns

  TraceModel::Text key_text_[kKeys] = {};
  std::vector<std::uint32_t> stack_keys_;
  std::vector<std::uint32_t> callee_;
  std::uint32_t functions_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
