// SPDX-License-Identifier: MIT
#include "select.hpp"

#include <algorithm>
#include <charconv>
#include <memory>
#include <span>
#include <utility>

#include "terminal.hpp"
#include "thence/model/replay.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;

std::optional<std::uint64_t> parse_duration(std::string_view text) {
  std::size_t at = 0;
  std::uint64_t whole = 0;
  std::string_view digits = text;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (error != std::errc{}) return std::nullopt;
  at = static_cast<std::size_t>(end - text.data());
  std::string_view fraction;
  if (at < text.size() && text[at] == '.') {
    const std::size_t from = ++at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    fraction = digits.substr(from, at - from);
    if (fraction.empty()) return std::nullopt;
  }
  const std::string_view unit = text.substr(at);
  std::uint64_t scale = 0;
  if (unit.empty() || unit == "ns") scale = 1;
  if (unit == "us") scale = 1'000;
  if (unit == "ms") scale = 1'000'000;
  if (unit == "s") scale = 1'000'000'000;
  if (unit == "m") scale = 60'000'000'000;
  if (scale == 0) return std::nullopt;
  if (whole > ~std::uint64_t{0} / scale) return std::nullopt;
  std::uint64_t ns = whole * scale;
  for (const char digit : fraction) {
    scale /= 10;
    const std::uint64_t more = scale * static_cast<std::uint64_t>(digit - '0');
    if (ns > ~std::uint64_t{0} - more) return std::nullopt;
    ns += more;
  }
  return ns;
}

bool matches_glob(std::string_view pattern, std::string_view text) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  std::size_t p = 0, t = 0, star = std::string_view::npos, from = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = t;
    } else if (p < pattern.size() && lower(pattern[p]) == lower(text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++from;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::vector<std::uint32_t> requests_of(const TraceModel& model) {
  std::vector<std::uint32_t> rows;
  std::vector<std::uint64_t> began(model.roots.size(), ~std::uint64_t{0});
  for (std::uint32_t row = 0; row < model.roots.size(); ++row) {
    const std::uint32_t resource = model.roots[row].resource;
    if (resource != TraceModel::kNone) {
      began[row] = model.created[resource];
    } else {
      for (const std::uint32_t one : model.resources_by_root[row]) began[row] = std::min(began[row], model.created[one]);
    }
    rows.push_back(row);
  }
  std::stable_sort(rows.begin(), rows.end(), [&](std::uint32_t a, std::uint32_t b) {
    if (began[a] != began[b]) return began[a] < began[b];
    return number(model.roots[a].id) < number(model.roots[b].id);
  });
  return rows;
}

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
