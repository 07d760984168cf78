// SPDX-License-Identifier: MIT
// cmd_aggregate.cpp: `thence aggregate FILES...`: many traces as one picture, one after the other, in bounded memory.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "analyse.hpp"
#include "formats.hpp"
#include "json_out.hpp"
#include "options.hpp"
#include "report.hpp"
#include "terminal.hpp"
#include "thence/analysis/anomalies.hpp"
#include "thence/analysis/concurrency.hpp"
#include "thence/analysis/url.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;
using thence::report::duration_text;
using thence::report::permille;

namespace {

constexpr std::size_t kKeys = 1000;      // routes, locations, findings: what is beyond is summed up
constexpr std::size_t kSlowest = 10;
constexpr std::size_t kFeatures = 1000;  // traces that are searched for odd ones

struct Options {
  std::vector<std::string> files;
  bool markdown = false;
  ReadOptions read;
};

/// Counts of durations in steps of 1/16 of a power of two: a percentile is at most 6.25 % too large, never too small.
class Spread {
 public:
  void add(std::uint64_t ns) {
    if (counts_.empty()) counts_.resize(kBuckets);
    ++counts_[bucket_of(ns)];
    ++n_;
    sum_ += ns;
    max_ = std::max(max_, ns);
  }
  [[nodiscard]] std::uint64_t n() const { return n_; }
  [[nodiscard]] std::uint64_t sum() const { return sum_; }
  [[nodiscard]] std::uint64_t max() const { return max_; }
  [[nodiscard]] std::uint64_t percentile(std::uint64_t thousandths) const {
    std::uint64_t rank = std::max<std::uint64_t>((n_ * thousandths + 999) / 1000, 1);
    for (std::size_t at = 0; at < counts_.size(); ++at) {
      if (counts_[at] >= rank) return std::min(max_, top_of(at));
      rank -= counts_[at];
    }
    return max_;
  }

 private:
  static constexpr std::size_t kBuckets = 16 * 61;
  static std::size_t bucket_of(std::uint64_t ns) {
    if (ns < 16) return static_cast<std::size_t>(ns);
    const unsigned power = 63 - static_cast<unsigned>(__builtin_clzll(ns));
    return (power - 3) * std::size_t{16} + static_cast<std::size_t>(ns >> (power - 4) & 15);
  }
  static std::uint64_t top_of(std::size_t bucket) {
    if (bucket < 16) return bucket;
    const unsigned power = static_cast<unsigned>(bucket / 16) + 3;
    return ((std::uint64_t{16} + bucket % 16 + 1) << (power - 4)) - 1;
  }
  std::vector<std::uint32_t> counts_;
  std::uint64_t n_ = 0, sum_ = 0, max_ = 0;
};

/// At most kKeys of them, first come; the rest under one name.
template <class Value>
class Bounded {
 public:
  Value& operator[](const std::string& key) {
    const auto found = values_.find(key);
    if (found != values_.end()) return found->second;
    if (values_.size() < kKeys) return values_[key];
    ++beyond_;
    return rest_;
  }
  [[nodiscard]] const std::map<std::string, Value>& values() const { return values_; }
  [[nodiscard]] std::uint64_t beyond() const { return beyond_; }

 private:
  std::map<std::string, Value> values_;
  Value rest_{};
  std::uint64_t beyond_ = 0;
};

struct Place {
  Spread wait;            ///< on the critical path, a request
};
struct FindingCount {
  std::uint64_t count = 0;
  std::uint64_t files = 0;
  std::uint64_t saving_ns = 0;
  std::size_t last_file = ~std::size_t{0};
  Severity severity = Severity::kNote;
  std::string id, location, example, file;
  std::uint64_t best_saving = 0;
};
struct Example {
  std::uint64_t ns = 0;
  std::string file, label, mostly;
  std::uint32_t request = 0;
};

struct Sums {
  Spread durations;
  Bounded<Spread> routes;
  Bounded<Place> places;
  Bounded<FindingCount> findings;
  std::vector<Example> slowest;
  std::vector<TraceFeatures> features;
  std::vector<std::string> feature_files;
  std::uint64_t files = 0, failed = 0, damaged = 0, requests = 0, unended = 0, lost = 0, resources = 0;
  std::uint64_t on_path = 0;
};

std::string route_of(std::string_view label) {
  if (label.empty()) return "(no label)";
  return url_template(normalised_url(label));
}

void add(Sums& sums, Analysis& all, const std::string& file) {
  const TraceModel& model = all.model;
  sums.resources += model.resources();
  sums.lost += all.coverage.lost;
  for (const std::uint32_t which : all.requests) {
    const Execution::Request& of = all.run.requests[which];
    ++sums.requests;
    if (!of.is_ended) {
      ++sums.unended;
      continue;
    }
    const std::string label(all.label_of(of.resource));
    sums.durations.add(of.duration());
    sums.routes[route_of(label)].add(of.duration());
    const auto shares = path_shares(all.run, all.paths.of(which));
    for (const PathShare& share : shares) {
      sums.on_path += share.total;
      if (share.kind == PathKind::kExec && share.location == TraceModel::kNone) continue;
      std::string key(word(share.kind));
      if (share.type != TraceModel::kNone) key += " " + std::string(model.name_of(static_cast<TypeId>(share.type)));
      if (share.location != TraceModel::kNone) key += "  " + location_text(model, share.location);
      sums.places[key].wait.add(share.total);
    }
    if (sums.slowest.size() == kSlowest && of.duration() <= sums.slowest.back().ns) continue;
    Example example{of.duration(), file, label, {}, all.number_of(which)};
    if (!shares.empty()) {
      example.mostly = std::string(word(shares[0].kind));
      if (shares[0].type != TraceModel::kNone) example.mostly += " " + std::string(model.name_of(static_cast<TypeId>(shares[0].type)));
    }
    const auto place = std::upper_bound(sums.slowest.begin(), sums.slowest.end(), example, [](const Example& a, const Example& b) { return a.ns > b.ns; });
    sums.slowest.insert(place, std::move(example));
    if (sums.slowest.size() > kSlowest) sums.slowest.pop_back();
  }
  for (const Finding& found : all.findings) {
    FindingCount& count = sums.findings[found.mute_key];
    ++count.count;
    if (count.last_file != sums.files) ++count.files;
    count.last_file = sums.files;
    count.saving_ns += found.saving_ns;
    count.severity = std::max(count.severity, found.severity);
    if (count.id.empty() || found.saving_ns > count.best_saving) {
      count.id = found.id;
      count.best_saving = found.saving_ns;
      count.example = found.summary;
      count.location = found.location == TraceModel::kNone ? "" : location_text(model, found.location);
      count.file = file;
    }
  }
  if (!all.by_duration.empty() && sums.features.size() < kFeatures) {
    const std::uint32_t slowest = all.by_duration.front();
    std::uint32_t most = 0;
    for (const Concurrency::Step& step : concurrency_of(all.run, slowest).steps) most = std::max(most, step.exec + step.wait);
    sums.features.push_back(features_of(all.paths.totals(slowest), all.run.requests[slowest].duration(), all.findings, slowest, most,
                                        all.ideal.bounds[slowest].efficiency()));
    sums.feature_files.push_back(file);
  }
}

template <class Map, class Before>
auto sorted(const Map& map, Before before) {
  std::vector<const typename Map::value_type*> all;
  for (const auto& one : map) all.push_back(&one);
  std::stable_sort(all.begin(), all.end(), [&](const auto* a, const auto* b) { return before(a->second, b->second); });
  return all;
}
constexpr auto kLargestSum = [](const Spread& a, const Spread& b) { return a.sum() > b.sum(); };
constexpr auto kLargestPlace = [](const Place& a, const Place& b) { return a.wait.sum() > b.wait.sum(); };
constexpr auto kWorstFinding = [](const FindingCount& a, const FindingCount& b) {
  if (a.severity != b.severity) return a.severity > b.severity;
  return a.count != b.count ? a.count > b.count : a.saving_ns > b.saving_ns;
};

void put_text(Report& report, const Sums& sums) {
  report.title(grouped(sums.files) + (sums.files == 1 ? " trace" : " traces") + ", " + grouped(sums.requests) + " requests, " + grouped(sums.resources) +
               " resources");
  std::string amiss;
  const auto count = [&](std::uint64_t n, const char* what) {
    if (n != 0) amiss += (amiss.empty() ? "" : ", ") + grouped(n) + " " + what;
  };
  count(sums.failed, "files that could not be read");
  count(sums.damaged, "damaged files");
  count(sums.unended, "requests that had not ended: left out");
  count(sums.lost, "events lost");
  if (!amiss.empty()) report.text(amiss, Ink::kBad);
  if (sums.durations.n() != 0) {
    report.text("requests: median " + duration_text(sums.durations.percentile(500)) + ", p90 " + duration_text(sums.durations.percentile(900)) + ", p99 " +
                duration_text(sums.durations.percentile(990)) + ", slowest " + duration_text(sums.durations.max()) +
                " (percentiles are at most 6.25 % too large)");
    report.heading("By route");
    auto& rows = report.table({{"requests", true}, {"p50", true}, {"p90", true}, {"p99", true}, {"slowest", true}, {"route", false, 20}});
    std::size_t shown = 0;
    for (const auto* one : sorted(sums.routes.values(), kLargestSum)) {
      if (shown++ == 15) break;
      const Spread& of = one->second;
      rows.push_back({grouped(of.n()), duration_text(of.percentile(500)), duration_text(of.percentile(900)), duration_text(of.percentile(990)),
                      duration_text(of.max()), printable(one->first)});
    }
    report.heading("On critical paths, by location");
    auto& places = report.table({{"in all", true}, {"", true}, {"requests", true}, {"p50", true}, {"p99", true}, {"what", false, 20, true}});
    shown = 0;
    for (const auto* one : sorted(sums.places.values(), kLargestPlace)) {
      if (shown++ == 15) break;
      const Spread& of = one->second.wait;
      places.push_back({duration_text(of.sum()), thence::report::percent_text(permille(of.sum(), sums.on_path)), grouped(of.n()),
                        duration_text(of.percentile(500)), duration_text(of.percentile(990)), printable(one->first)});
    }
  }
  if (!sums.findings.values().empty()) {
    report.heading("Findings, the worst and most frequent first");
    auto& rows = report.table({{"severity"}, {"times", true}, {"files", true}, {"saves", true}, {"finding"}, {"location", false, 20, true}});
    std::size_t shown = 0;
    for (const auto* one : sorted(sums.findings.values(), kWorstFinding)) {
      if (shown++ == 20) break;
      const FindingCount& of = one->second;
      rows.push_back({std::string(word(of.severity)), grouped(of.count), grouped(of.files), of.saving_ns == 0 ? "-" : duration_text(of.saving_ns), of.id,
                      of.location.empty() ? "unknown" : printable(of.location)});
    }
  }
  if (!sums.slowest.empty()) {
    report.heading("The slowest requests");
    auto& rows = report.table({{"took", true}, {"mostly", false, 12}, {"request", true}, {"file", false, 16, true}, {"what", false, 12}});
    for (const Example& one : sums.slowest) {
      rows.push_back({duration_text(one.ns), printable(one.mostly), std::to_string(one.request), printable(one.file), printable(one.label)});
    }
  }
  const std::vector<OddTrace> odd = odd_traces(sums.features);
  if (!odd.empty()) {
    report.heading("Traces unlike the others");
    auto& rows = report.table({{"file", false, 20, true}, {"mostly by"}, {"and by"}});
    for (std::size_t at = 0; at < odd.size() && at < 10; ++at) {
      rows.push_back({printable(sums.feature_files[odd[at].trace]), std::string(TraceFeatures::name(odd[at].reasons[0].feature)),
                      std::string(TraceFeatures::name(odd[at].reasons[1].feature))});
    }
  }
}

void put_json(JsonText& json, const Sums& sums) {
  const auto spread = [&](const Spread& of) {
    json.member("n", of.n());
    json.member("sum_ns", of.sum());
    if (of.n() == 0) return;
    json.member("p50_ns", of.percentile(500));
    json.member("p90_ns", of.percentile(900));
    json.member("p99_ns", of.percentile(990));
    json.member("max_ns", of.max());
  };
  json.begin_object();
  json.member("files", sums.files);
  json.member("failed", sums.failed);
  json.member("damaged", sums.damaged);
  json.member("requests", sums.requests);
  json.member("unended", sums.unended);
  json.member("resources", sums.resources);
  json.member("lost", sums.lost);
  json.key("durations");
  json.begin_object();
  spread(sums.durations);
  json.end_object();
  json.new_line();
  json.key("routes");
  json.begin_array();
  for (const auto* one : sorted(sums.routes.values(), kLargestSum)) {
    json.new_line();
    json.begin_object();
    json.member("route", std::string_view(one->first));
    spread(one->second);
    json.end_object();
  }
  json.end_array();
  json.member("routes_beyond", sums.routes.beyond());
  json.key("locations");
  json.begin_array();
  for (const auto* one : sorted(sums.places.values(), kLargestPlace)) {
    json.new_line();
    json.begin_object();
    json.member("what", std::string_view(one->first));
    spread(one->second.wait);
    json.end_object();
  }
  json.end_array();
  json.member("locations_beyond", sums.places.beyond());
  json.key("findings");
  json.begin_array();
  for (const auto* one : sorted(sums.findings.values(), kWorstFinding)) {
    const FindingCount& of = one->second;
    json.new_line();
    json.begin_object();
    json.member("mute_key", std::string_view(one->first));
    json.member("id", std::string_view(of.id));
    json.member("severity", word(of.severity));
    json.member("count", of.count);
    json.member("files", of.files);
    json.member("saving_ns", of.saving_ns);
    if (!of.location.empty()) json.member("location", std::string_view(of.location));
    json.member("example", std::string_view(of.example));
    json.member("example_file", std::string_view(of.file));
    json.end_object();
  }
  json.end_array();
  json.member("findings_beyond", sums.findings.beyond());
  json.key("slowest");
  json.begin_array();
  for (const Example& one : sums.slowest) {
    json.new_line();
    json.begin_object();
    json.member("file", std::string_view(one.file));
    json.member("request", one.request);
    json.member("duration_ns", one.ns);
    json.member("label", std::string_view(one.label));
    json.end_object();
  }
  json.end_array();
  json.key("odd");
  json.begin_array();
  for (const OddTrace& one : odd_traces(sums.features)) {
    json.begin_object();
    json.member("file", std::string_view(sums.feature_files[one.trace]));
    json.member("score", one.score);
    json.member("limit", one.limit);
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

int run(const Options& options, const Common& common) {
  Sums sums;
  for (const std::string& file : options.files) {
    try {
      const LoadedTrace trace = load(file, options.read, common);
      if (!trace.result.good()) ++sums.damaged;
      add(sums, *analyse(trace.model), trace.name);
      ++sums.files;
    } catch (const Failure& failure) {
      complain(failure.what());
      ++sums.failed;
    }
  }
  if (common.json) {
    JsonOut json;
    put_json(*json, sums);
    json.finish();
  } else {
    Report report;
    put_text(report, sums);
    print(options.markdown ? to_markdown(report) : to_terminal(report, colours(common)));
  }
  return sums.failed != 0 ? kNoInput : sums.damaged != 0 ? kDamaged : kDone;
}

}  // namespace

Command add_aggregate(CLI::App& app, Common& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("aggregate", "Many traces as one: percentiles by route and location, findings, the slowest");
  command->add_option("FILE", options->files, "The traces, read one after the other")->required()->expected(1, -1);
  command->add_flag("--markdown", options->markdown, "As Markdown");
  add_reading(*command, options->read);
  add_common(*command, common);
  return {command, [options, &common] { return run(*options, common); }};
}

}  // namespace tool
