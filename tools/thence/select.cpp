// SPDX-License-Identifier: MIT
#include "select.hpp"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "terminal.hpp"
#include "thence/analysis/text_pattern.hpp"
#include "thence/formats/duration_text.hpp"
#include "thence/model/replay.hpp"
#include "thence/model/request_order.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;

std::uint64_t end_of(const TraceModel& model, std::uint32_t row) {
  std::uint64_t end = model.created[row];
  if (model.has(row, ResourceFlag::kSettled)) end = std::max(end, model.settled[row]);
  if (model.has(row, ResourceFlag::kDestroyed)) end = std::max(end, model.destroyed[row]);
  for (const std::uint32_t at : model.invocations_of(row)) {
    const TraceModel::Invocation& invocation = model.invocations[at];
    end = std::max(end, invocation.ended ? invocation.end : model.last_time);
  }
  return end;
}

namespace {

std::uint64_t parse_end(std::string_view text, std::uint64_t first, std::string_view range) {
  const bool absolute = text.starts_with('@');
  if (absolute) text.remove_prefix(1);
  const auto ns = parse_duration(text);
  if (!ns) {
    throw Failure(kUsage, "--range " + std::string(range) + ": '" + std::string(text) +
                              "' is no time: expected a number and a unit, like 10ms (ns, us, ms, s, m)");
  }
  return absolute ? *ns : first + *ns;
}

/// Passes on what is chosen.
class Sieve {
 public:
  Sieve(const TraceModel& model, Chosen chosen, AnySink& sink) : model_(&model), chosen_(std::move(chosen)), sink_(&sink) {
    roots_.resize(model.roots.size());
    for (std::uint32_t row = 0; row < model.resources(); ++row) {
      if (chosen_.resources[row] && model.root[row] != TraceModel::kNone) roots_[model.root[row]] = true;
    }
    for (std::uint32_t row = 0; row < model.roots.size(); ++row) root_rows_.push_back({number(model.roots[row].id), row});
    std::sort(root_rows_.begin(), root_rows_.end());
  }
  void begin(const TraceInfo& info) { sink_->begin(info); }
  void define_lane(const LaneInfo& lane) { sink_->define_lane(lane); }
  void define_type(TypeId type, std::string_view name) { sink_->define_type(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view unit) { sink_->define_counter(counter, name, unit); }
  void define_stack(const StackInfo& stack) { sink_->define_stack(stack); }
  void synchronise(const ClockSnapshot& clock) { sink_->synchronise(clock); }
  void take(std::span<const TraceEvent> events) {
    for (const TraceEvent& event : events) {
      if (keeps(event)) sink_->take(std::span(&event, 1));
    }
  }
  void flush() { sink_->flush(); }
  void end(const TraceSummary& summary) { sink_->end(summary); }

 private:
  [[nodiscard]] bool keeps(const TraceEvent& event) const {
    switch (event.kind) {
      case EventKind::kRootSealed: {
        const auto at = std::lower_bound(root_rows_.begin(), root_rows_.end(), std::pair{number(event.root), 0u});
        return at != root_rows_.end() && at->first == number(event.root) && roots_[at->second];
      }
      case EventKind::kParked:
      case EventKind::kUnparked:
      case EventKind::kPauseBegan:
      case EventKind::kPauseEnded:
      case EventKind::kCounter:
      case EventKind::kSample:
      case EventKind::kLost: return ns_of(event.time) >= chosen_.begin && ns_of(event.time) <= chosen_.end;
      default: {
        const std::uint32_t row = model_->find(event.resource);
        return row != TraceModel::kNone && chosen_.resources[row];
      }
    }
  }

  const TraceModel* model_;
  Chosen chosen_;
  AnySink* sink_;
  std::vector<bool> roots_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> root_rows_;
};

}  // namespace

Chosen choose(const TraceModel& model, const Selection& selection) {
  Chosen chosen;
  chosen.resources.assign(model.resources(), false);
  if (!selection.range.empty()) {
    const std::size_t dots = selection.range.find("..");
    if (dots == std::string::npos) {
      throw Failure(kUsage, "--range " + selection.range + ": expected A..B, like 10ms..20ms; either end may be left out");
    }
    const std::string_view from = std::string_view(selection.range).substr(0, dots);
    const std::string_view to = std::string_view(selection.range).substr(dots + 2);
    if (!from.empty()) chosen.begin = parse_end(from, model.first_time, selection.range);
    if (!to.empty()) chosen.end = parse_end(to, model.first_time, selection.range);
    if (chosen.end < chosen.begin) throw Failure(kUsage, "--range " + selection.range + ": ends before it begins");
  }
  std::uint32_t root = TraceModel::kNone;
  if (selection.request != 0) {
    const auto requests = requests_of(model);
    if (selection.request > requests.size()) {
      throw Failure(kUsage, "--request " + std::to_string(selection.request) + ": there " +
                                (requests.size() == 1 ? "is 1 request" : "are " + grouped(requests.size()) + " requests"));
    }
    root = requests[selection.request - 1];
    if (selection.range.empty()) {
      // Of the lanes, what went on while the request ran.
      chosen.begin = ~std::uint64_t{0};
      chosen.end = 0;
      for (const std::uint32_t row : model.resources_by_root[root]) {
        chosen.begin = std::min(chosen.begin, model.created[row]);
        chosen.end = std::max(chosen.end, end_of(model, row));
      }
    }
  }
  for (std::uint32_t row = 0; row < model.resources(); ++row) {
    if (root != TraceModel::kNone && model.root[row] != root) continue;
    if (!selection.types.empty()) {
      const std::string_view type = model.type_name(row);
      const bool wanted = std::any_of(selection.types.begin(), selection.types.end(),
                                      [&](const std::string& pattern) { return matches_glob(pattern, type); });
      if (!wanted) continue;
    }
    if (!selection.range.empty() && (model.created[row] > chosen.end || end_of(model, row) < chosen.begin)) continue;
    ++chosen.count;
    // What led to it: to the first that is there already.
    for (std::uint32_t at = row; at != TraceModel::kNone && !chosen.resources[at]; at = model.trigger[at]) {
      if (at != row && root != TraceModel::kNone && model.root[at] != root) break;
      chosen.resources[at] = true;
    }
  }
  return chosen;
}

Feed feed_of(const TraceModel& model, const Selection& selection) {
  if (selection.all()) {
    return [&model](AnySink& sink) { replay(model, sink); };
  }
  auto chosen = std::make_shared<Chosen>(choose(model, selection));
  return [&model, chosen](AnySink& sink) {
    Sieve sieve{model, *chosen, sink};
    replay(model, sieve);
  };
}

}  // namespace tool
