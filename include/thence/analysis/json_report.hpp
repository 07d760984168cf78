// SPDX-License-Identifier: MIT
// json_report.hpp: an analysis as JSON: what `thence analyze --json` prints, what the viewer shows and what a gate asks.
//
//   JsonWriter json{sink};
//   write_json(json, analysis);
// docs/analyze.schema.json is its schema. Times are whole nanoseconds, those of moments in the clock of the trace; shares are
// whole thousandths; resources are called by their ids; code by `function @ file:line`. No number has a fraction, so that the
// same trace gives the same bytes on every machine. What is not known is absent, or null.
// Layer: analysis (includes model/ and below).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/analysis/analysis.hpp"
#include "thence/analysis/bottlenecks.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/words.hpp"
#include "thence/wire/json_writer.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct JsonReportOptions {
  std::span<const std::uint32_t> requests = {};  ///< rows of run.requests; empty: all
  bool scheduling = true;
  bool event_loop = true;
  /// Bottlenecks are replayed for each request; beyond so many they are left out.
  std::size_t bottlenecks_of_requests = 100;
};

namespace detail {

template <class Json>
class JsonReport {
 public:
  JsonReport(Json& json, Analysis& all) : json_(json), all_(all), model_(all.model) {}

  /// The members of the report, without its braces.
  void members(const JsonReportOptions& options) {
    json_.member("schema", 1);
    json_.key("trace");
    trace();
    const std::size_t shown = options.requests.empty() ? all_.requests.size() : options.requests.size();
    with_bottlenecks_ = shown <= options.bottlenecks_of_requests;
    if (with_bottlenecks_) {
      units_by_request_ = units_by_request(all_.run, all_.units);
      wrappers_ = wrappers_of(all_.run, all_.units);
    }
    json_.key("requests");
    json_.begin_array();
    if (options.requests.empty()) {
      for (const std::uint32_t which : all_.requests) request(which);
    } else {
      for (const std::uint32_t which : options.requests) request(which);
    }
    json_.end_array();
    json_.new_line();
    json_.key("findings");
    json_.begin_array();
    for (const Finding& found : all_.findings) finding(found);
    json_.end_array();
    json_.new_line();
    if (options.scheduling) {
      json_.key("scheduling");
      scheduling();
      json_.new_line();
    }
    if (options.event_loop) {
      json_.key("event_loop");
      event_loop();
      json_.new_line();
    }
    json_.key("coverage");
    coverage();
    json_.new_line();
  }

 private:
  static constexpr std::uint32_t kNone = TraceModel::kNone;

  // -- parts ----------------------------------------------------------------------------------------------------------

  void location(std::string_view key, std::uint32_t frame) {
    if (frame != kNone) json_.member(key, std::string_view(location_text(model_, frame)));
  }
  void resource(std::string_view key, std::uint32_t row) {
    if (row != kNone) json_.member(key, model_.id[row]);
  }
  /// type, location, label of a resource.
  void describe(std::uint32_t row) {
    if (row == kNone) return;
    json_.member("resource", model_.id[row]);
    json_.member("type", model_.type_name(row));
    location("location", all_.run.visible.user_frame(model_, row));
    const std::string_view label = all_.label_of(row);
    if (!label.empty()) json_.member("label", label);
  }
  void lane(std::string_view key, std::uint32_t row) {
    if (row < model_.lanes.size()) json_.member(key, std::string_view(report::lane_text(model_, row)));
  }
  void durations(std::string_view key, const Durations& of, std::string_view unit = "_ns") {
    json_.key(key);
    json_.begin_object();
    json_.member("n", of.n);
    if (of.n != 0) {
      const auto put = [&](std::string_view name, std::uint64_t value) { json_.member(std::string(name).append(unit), value); };
      put("sum", of.sum);
      put("mean", of.mean());
      put("min", of.min);
      put("p50", of.p50);
      if (of.p90) put("p90", *of.p90);
      if (of.p99) put("p99", *of.p99);
      if (of.p999) put("p999", *of.p999);
      put("max", of.max);
    }
    json_.end_object();
  }
  void needs(std::string_view key, NeedSet set) {
    json_.key(key);
    json_.begin_array();
    for (unsigned at = 0; at < kNeeds; ++at) {
      if (set.has(static_cast<Need>(at))) json_.value(word(static_cast<Need>(at)));
    }
    json_.end_array();
  }
  void stack(std::string_view key, std::uint32_t row) {
    if (row == kNone || model_.stacks[row].count == 0) return;
    json_.key(key);
    json_.begin_array();
    for (const std::uint32_t frame : model_.frames_of(row)) json_.value(std::string_view(location_text(model_, frame)));
    json_.end_array();
  }

  void trace() {
    json_.begin_object();
    json_.member("first_ns", model_.first_time);
    json_.member("last_ns", model_.last_time);
    json_.member("resources", model_.resources());
    json_.member("invocations", model_.invocations.size());
    json_.member("requests", all_.requests.size());
    json_.member("requests_unknown", all_.requests_unknown);
    durations("request_durations", all_.request_durations());
    json_.end_object();
    json_.new_line();
  }

  // -- requests -------------------------------------------------------------------------------------------------------

  void request(std::uint32_t which) {
    const Execution::Request& of = all_.run.requests[which];
    json_.new_line();
    json_.begin_object();
    json_.member("n", all_.number_of(which));
    describe(of.resource);
    json_.member("start_ns", of.start);
    json_.member("duration_ns", of.duration());
    json_.member("ended", of.is_ended);
    json_.member("resources", model_.resources_by_root[of.root].size());
    json_.key("critical_path");
    path(which);
    json_.key("time_split");
    split(all_.splits.of_request(which), all_.splits.request_waits(which));
    json_.key("ideal");
    ideal(which);
    json_.key("gaps");
    gaps(which);
    if (with_bottlenecks_) {
      json_.key("bottlenecks");
      bottlenecks(which);
    }
    json_.end_object();
  }

  void bottlenecks(std::uint32_t which) {
    const Bottlenecks of = bottlenecks_of(all_.context, units_by_request_, wrappers_, which);
    json_.begin_object();
    json_.member("groups", of.groups);
    json_.key("on_path");
    json_.begin_array();
    for (const Bottlenecks::Group& group : of.on_path) {
      json_.begin_object();
      json_.member("type", model_.name_of(static_cast<TypeId>(group.type)));
      if (group.location != kNone) json_.member("location", std::string_view(all_.where.entries[group.location].text));
      resource("first", group.first);
      json_.member("count", group.count);
      json_.member("ns", group.total_ns);
      json_.member("share_permille", group.share_permille);
      if (group.saving_known) json_.member("saving_ns", group.saving_ns);
      json_.end_object();
    }
    json_.end_array();
    json_.key("off_path");
    json_.begin_array();
    for (const Bottlenecks::Wait& wait : of.off_path) {
      json_.begin_object();
      describe(wait.unit);
      json_.member("wait_ns", wait.wait_ns);
      json_.end_object();
    }
    json_.end_array();
    if (of.runner_up != kNone) {
      resource("runner_up", of.runner_up);
      json_.member("runner_up_slack_ns", of.runner_up_slack_ns);
    }
    json_.end_object();
  }

  void path(std::uint32_t which) {
    const std::span<const PathSegment> segments = all_.paths.of(which);
    json_.begin_object();
    json_.member("explained_permille", all_.paths.explained_permille(which));
    json_.member("recorded_permille", all_.paths.recorded_permille(which));
    json_.key("by_kind");
    json_.begin_object();
    for (unsigned kind = 0; kind < kPathKinds; ++kind) {
      const std::uint64_t ns = all_.paths.totals(which)[static_cast<PathKind>(kind)];
      if (ns != 0) json_.member(word(static_cast<PathKind>(kind)), ns);
    }
    json_.end_object();
    json_.key("by_type");
    shares(segments, PathGrouping::kType);
    json_.key("by_location");
    shares(segments, PathGrouping::kLocation);
    json_.key("members");
    json_.begin_array();
    for (const PathMember& member : all_.ideal.members_of(which)) {
      json_.begin_object();
      describe(member.unit);
      json_.member("on_path_ns", member.on_path_ns);
      if (member.saving_known) json_.member("saving_ns", member.saving_ns);
      json_.end_object();
    }
    json_.end_array();
    json_.key("segments");
    json_.begin_array();
    for (const PathSegment& part : segments) {
      json_.new_line();
      json_.begin_object();
      json_.member("start_ns", part.start);
      json_.member("end_ns", part.end);
      json_.member("kind", word(part.kind));
      if (part.resource != kNone) {
        json_.member("resource", model_.id[part.resource]);
        json_.member("type", model_.type_name(part.resource));
        std::uint32_t frame = all_.run.visible.user_frame(model_, part.resource);
        if (frame == kNone) frame = all_.run.visible.user_frame(model_, all_.run.unit[part.resource]);
        location("location", frame);
      }
      resource("delayed", part.other);
      if (part.inferred) json_.member("inferred", true);
      if (part.contention) json_.member("contention", true);
      json_.end_object();
    }
    json_.end_array();
    json_.end_object();
  }
  void shares(std::span<const PathSegment> segments, PathGrouping grouping) {
    json_.begin_array();
    for (const PathShare& share : path_shares(all_.run, segments, grouping)) {
      json_.begin_object();
      json_.member("kind", word(share.kind));
      if (share.type != kNone) json_.member("type", model_.name_of(static_cast<TypeId>(share.type)));
      location("location", share.location);
      json_.member("ns", share.total);
      json_.member("count", share.count);
      json_.end_object();
    }
    json_.end_array();
  }

  void split(const TimeSplit& of, std::span<const Waited> waits) {
    json_.begin_object();
    json_.member("elapsed_ns", of.elapsed_ns());
    json_.member("running_ns", of.running_ns);
    json_.member("blocked_ns", of.blocked_ns);
    json_.member("waiting_ns", of.waiting_ns);
    json_.member("scheduling_ns", of.scheduling_ns);
    json_.member("unknown_ns", of.unknown_ns);
    json_.key("waits");
    json_.begin_array();
    for (const Waited& wait : waits) {
      json_.begin_object();
      describe(wait.on);
      json_.member("ns", wait.ns);
      json_.end_object();
    }
    json_.end_array();
    json_.end_object();
  }

  void ideal(std::uint32_t which) {
    const IdealSchedule::Bound& bound = all_.ideal.bounds[which];
    json_.begin_object();
    json_.member("observed_ns", bound.observed_ns);
    json_.member("dependency_ns", bound.dependency_ns);
    json_.member("lane_ns", bound.lane_ns);
    json_.member("ideal_ns", bound.ideal_ns);
    json_.member("exec_ns", bound.exec_ns);
    json_.member("operations_ns", bound.operations_ns);
    json_.member("efficiency_permille", bound.observed_ns == 0 ? 1000 : report::permille(bound.ideal_ns, bound.observed_ns));
    json_.member("concurrency_milli", report::permille(bound.exec_ns + bound.operations_ns, bound.observed_ns));
    json_.end_object();
  }

  void gaps(std::uint32_t which) {
    json_.begin_object();
    json_.member("idle_ns", all_.gaps.idle_ns(which));
    json_.member("busy_ns", all_.gaps.busy_ns(which));
    json_.key("shown");
    json_.begin_array();
    for (const Gap& gap : all_.gaps.of(which)) {
      json_.begin_object();
      json_.member("start_ns", gap.start);
      json_.member("end_ns", gap.end);
      json_.member("cause", word(gap.cause));
      if (gap.guessed) json_.member("guessed", true);
      resource("operation", gap.operation);
      json_.member("in_flight", gap.in_flight);
      if (gap.foreign_ns != 0) json_.member("others_ran_ns", gap.foreign_ns);
      json_.member("advice", gap_advice(gap.cause));
      json_.end_object();
    }
    json_.end_array();
    json_.end_object();
  }

  // -- findings -------------------------------------------------------------------------------------------------------

  void finding(const Finding& found) {
    json_.new_line();
    json_.begin_object();
    json_.member("id", found.id);
    json_.member("severity", word(found.severity));
    json_.member("confidence", word(found.confidence));
    json_.member("summary", std::string_view(found.summary));
    json_.member("advice", found.advice);
    if (found.saving_known) json_.member("saving_ns", found.saving_ns);
    location("location", found.location);
    if (found.location != kNone) {
      const TraceModel::Frame& frame = model_.frames[found.location];
      if (frame.file != 0) json_.member("file", model_.text(frame.file));
      if (frame.line != 0) json_.member("line", frame.line);
    }
    const std::uint32_t n = all_.number_of(found.request);
    if (n != 0) json_.member("request", n);
    lane("lane", found.lane);
    json_.member("start_ns", found.start_ns);
    json_.member("end_ns", found.end_ns);
    json_.key("resources");
    json_.begin_array();
    for (const std::uint32_t row : found.resources) json_.value(model_.id[row]);
    json_.end_array();
    json_.key("evidence");
    json_.begin_array();
    for (const Evidence& fact : found.evidence) {
      json_.begin_object();
      json_.member("name", fact.name);
      switch (fact.unit) {
        case Evidence::Unit::kCount: json_.member("count", fact.value); break;
        case Evidence::Unit::kNanoseconds: json_.member("ns", fact.value); break;
        case Evidence::Unit::kPermille: json_.member("permille", fact.value); break;
        case Evidence::Unit::kText: json_.member("text", std::string_view(fact.text)); break;
      }
      json_.end_object();
    }
    json_.end_array();
    json_.member("mute_key", std::string_view(found.mute_key));
    json_.end_object();
  }

  // -- scheduling -----------------------------------------------------------------------------------------------------

  void histogram(std::string_view key, const Log2Histogram& of) {
    json_.key(key);
    json_.begin_array();
    for (unsigned bucket = 0; bucket < Log2Histogram::kBuckets; ++bucket) {
      if (of.counts[bucket] == 0) continue;
      json_.begin_object();
      json_.member("from_ns", bucket == 0 ? std::uint64_t{0} : std::uint64_t{1} << bucket);
      json_.member("count", of.counts[bucket]);
      json_.end_object();
    }
    json_.end_array();
  }

  void scheduling() {
    const Scheduling& of = all_.scheduling;
    json_.begin_object();
    needs("missing", of.missing);
    json_.member("runs", of.runs);
    json_.member("delays_unknown", of.delays_unknown);
    durations("delays", of.delays);
    durations("durations", of.durations);
    histogram("delay_histogram", of.delay_histogram);
    histogram("duration_histogram", of.duration_histogram);
    durations("shared_queue", of.global_depths, "");
    json_.member("wakes", of.wakes);
    json_.member("wakes_again", of.wakes_again);
    json_.member("self_wakes", of.self_wakes);
    json_.member("over_limit", of.over_limit);
    json_.member("over_limit_ns", of.over_limit_ns);
    json_.new_line();
    json_.key("lanes");
    json_.begin_array();
    for (const Scheduling::Lane& one : of.lanes) {
      json_.new_line();
      json_.begin_object();
      lane("lane", one.lane);
      json_.member("first_ns", one.first_ns);
      json_.member("last_ns", one.last_ns);
      json_.member("runs", one.runs);
      json_.member("busy_ns", one.busy_ns);
      json_.member("parked_ns", one.parked_ns);
      json_.member("paused_ns", one.paused_ns);
      json_.member("neither_ns", one.neither_ns);
      json_.member("parks_known", one.parks_known);
      durations("delays", one.delays);
      durations("durations", one.durations);
      durations("queue", one.depths, "");
      json_.member("queue_recorded", one.depths_recorded);
      json_.key("busy_permille");
      json_.begin_array();
      for (const std::uint16_t share : one.busy_permille) json_.value(share);
      json_.end_array();
      json_.end_object();
    }
    json_.end_array();
    json_.member("lanes_not_told", of.lanes_not_told);
    json_.key("locations");
    json_.begin_array();
    for (const Scheduling::Location& one : of.locations) {
      json_.new_line();
      json_.begin_object();
      json_.member("location", std::string_view(all_.where.entries[one.location].text));
      json_.member("tasks", one.tasks);
      json_.member("runs", one.runs);
      json_.member("busy_ns", one.busy_ns);
      json_.member("self_wakes", one.self_wakes);
      json_.member("blamed_ns", one.blamed_ns);
      durations("delays", one.delays);
      durations("durations", one.durations);
      durations("queue", one.depths, "");
      json_.end_object();
    }
    json_.end_array();
    json_.key("pools");
    json_.begin_array();
    for (const Scheduling::Pool& pool : of.pools) {
      json_.begin_object();
      json_.member("name", std::string_view(pool.name));
      json_.member("lanes", pool.lanes.size());
      json_.member("least_busy_permille", pool.least_permille);
      json_.member("most_busy_permille", pool.most_permille);
      json_.end_object();
    }
    json_.end_array();
    json_.key("blocked");
    json_.begin_array();
    for (const Scheduling::Blocked& one : of.blocked) {
      json_.new_line();
      json_.begin_object();
      describe(all_.run.resource_of(one.invocation));
      lane("lane", one.lane);
      json_.member("ready_ns", one.ready_ns);
      json_.member("delay_ns", one.delay_ns);
      json_.key("blocked_by");
      json_.begin_array();
      for (const Scheduling::Blocker& by : one.blockers) {
        json_.begin_object();
        json_.member("location", std::string_view(all_.where.entries[by.location].text));
        json_.member("ns", by.ns);
        json_.member("runs", by.runs);
        json_.end_object();
      }
      json_.end_array();
      json_.member("others_ns", one.others_ns);
      json_.member("parked_ns", one.parked_ns);
      json_.member("paused_ns", one.paused_ns);
      json_.member("idle_ns", one.idle_ns);
      json_.member("samples", one.samples);
      stack("most_sampled", one.top_stack);
      json_.member("moved", one.moved);
      json_.end_object();
    }
    json_.end_array();
    json_.key("samples");
    json_.begin_array();
    for (const Scheduling::SampleGroup& group : of.samples) {
      json_.new_line();
      json_.begin_object();
      json_.member("kind", word(group.kind));
      json_.member("state", group.state == Scheduling::SampleState::kRunning  ? "running"
                            : group.state == Scheduling::SampleState::kParked ? "parked"
                                                                              : "neither");
      if (group.location != kNone) json_.member("location", std::string_view(all_.where.entries[group.location].text));
      json_.member("count", group.count);
      json_.member("while_delayed", group.while_delayed);
      stack("stack", group.stack);
      json_.end_object();
    }
    json_.end_array();
    json_.member("samples_without_lane", of.samples_without_lane);
    json_.end_object();
  }

  // -- event loop -----------------------------------------------------------------------------------------------------

  void tasks(const EventLoop::Tasks& of) {
    json_.member("created", of.created);
    json_.member("fulfilled", of.fulfilled);
    json_.member("rejected", of.rejected);
    json_.member("cancelled", of.cancelled);
    json_.member("settled_unknown", of.settled_unknown);
    json_.member("ended_unsaid", of.ended_unsaid);
    json_.member("not_told", of.not_told);
    json_.member("pending", of.pending);
    if (of.oldest != kNone) {
      json_.member("pending_since_ns", of.pending_since_ns);
      json_.member("oldest", model_.id[of.oldest]);
    }
  }

  void event_loop() {
    const EventLoop& of = all_.loop;
    json_.begin_object();
    needs("missing", of.missing);
    json_.member("blocking", of.blocking);
    json_.member("slow", of.slow);
    json_.key("calls");
    json_.begin_array();
    for (const EventLoop::Call& call : of.calls) {
      json_.new_line();
      json_.begin_object();
      const std::uint32_t row = all_.run.resource_of(call.invocation);
      json_.member("resource", model_.id[row]);
      json_.member("type", model_.type_name(row));
      lane("lane", all_.run.lane[call.invocation]);
      json_.member("start_ns", all_.run.start(call.invocation));
      json_.member("held_ns", call.held_ns);
      json_.member("self_ns", call.self_ns);
      json_.member("blocking", call.blocking);
      location("location", call.location);
      json_.member("samples", call.samples);
      json_.member("stack_of", call.stack_of == EventLoop::StackOf::kSampled    ? "sampled"
                               : call.stack_of == EventLoop::StackOf::kCall     ? "call"
                               : call.stack_of == EventLoop::StackOf::kCreation ? "creation"
                                                                                : "nothing");
      stack("stack", call.stack);
      json_.end_object();
    }
    json_.end_array();
    json_.key("lanes");
    json_.begin_array();
    for (const EventLoop::LaneLag& one : of.lanes) {
      json_.new_line();
      json_.begin_object();
      lane("lane", one.lane);
      json_.member("window_ns", one.window_ns);
      json_.member("turns", one.turns);
      json_.member("over", one.over);
      json_.member("late_ns", one.late_ns);
      json_.member("p50_ns", one.p50_ns);
      json_.member("p99_ns", one.p99_ns);
      json_.member("p999_ns", one.p999_ns);
      json_.member("max_ns", one.max_ns);
      durations("reported", one.reported);
      json_.end_object();
    }
    json_.end_array();
    json_.member("lags_over", of.lags_over);
    json_.key("lags");
    json_.begin_array();
    for (const EventLoop::Lag& lag : of.lags) {
      json_.new_line();
      json_.begin_object();
      lane("lane", lag.lane);
      json_.member("start_ns", lag.start_ns);
      json_.member("lag_ns", lag.lag_ns);
      json_.member("reported", lag.reported);
      json_.member("runs", lag.runs);
      if (lag.culprit != kNone) {
        const std::uint32_t row = all_.run.resource_of(lag.culprit);
        json_.member("resource", model_.id[row]);
        json_.member("location", std::string_view(all_.where[row].text));
        json_.member("culprit_ns", lag.culprit_ns);
      }
      json_.end_object();
    }
    json_.end_array();
    json_.key("tasks");
    json_.begin_object();
    tasks(of.all);
    json_.key("by_location");
    json_.begin_array();
    for (const EventLoop::Tasks& one : of.tasks) {
      json_.new_line();
      json_.begin_object();
      if (one.location != kNone) {
        json_.member("location", std::string_view(all_.where.entries[one.location].text));
        json_.member("type", model_.name_of(static_cast<TypeId>(one.type)));
      } else {
        json_.member("locations_beyond", of.tasks_not_listed);
      }
      tasks(one);
      json_.end_object();
    }
    json_.end_array();
    json_.end_object();
    json_.end_object();
  }

  // -- coverage -------------------------------------------------------------------------------------------------------

  void coverage() {
    const Coverage& of = all_.coverage;
    json_.begin_object();
    json_.key("recorded");
    json_.begin_object();
    for (unsigned at = 0; at < kNeeds; ++at) {
      json_.key(word(static_cast<Need>(at)));
      json_.begin_object();
      json_.member("have", of.recorded[at].have);
      if (of.recorded[at].of != 0) json_.member("of", of.recorded[at].of);
      json_.end_object();
    }
    json_.end_object();
    json_.member("lost", of.lost);
    json_.key("losses");
    json_.begin_array();
    for (const Coverage::Lost& loss : of.losses) {
      json_.begin_object();
      lane("lane", loss.lane);
      json_.member("count", loss.count);
      json_.member("first_ns", loss.first);
      json_.member("last_ns", loss.last);
      json_.end_object();
    }
    json_.end_array();
    json_.member("late", of.late);
    json_.member("after_seal", of.after_seal);
    json_.member("ended", of.ended);
    json_.member("inferred_wakes", of.inferred_wakes);
    json_.member("orphans", of.orphans);
    json_.member("edges_dropped", of.edges_dropped);
    json_.member("skew", of.skew);
    json_.member("open_invocations", of.open_invocations);
    json_.member("light_requests", of.light_requests);
    json_.member("unknown_creations", of.quality.unknown_creations);
    json_.member("repeated", of.quality.repeated);
    json_.member("exits_unmatched", of.quality.exits_unmatched);
    json_.member("malformed", of.quality.malformed);
    json_.member("causes_unknown", all_.run.causes_unknown);
    json_.member("causes_inferred", all_.run.causes_inferred);
    json_.end_object();
  }

  Json& json_;
  Analysis& all_;
  const TraceModel& model_;
  bool with_bottlenecks_ = false;
  RowIndex units_by_request_;
  std::vector<bool> wrappers_;
};

}  // namespace detail

/// The members of the report, inside an object that the caller has begun: beside them he may say what file it is of.
///   Cost      O(bytes); streamed.
template <class Json>
void write_json_members(Json& json, Analysis& analysis, const JsonReportOptions& options = {}) {
  detail::JsonReport<Json>(json, analysis).members(options);
}
/// The report as one object.
template <class Json>
void write_json(Json& json, Analysis& analysis, const JsonReportOptions& options = {}) {
  json.begin_object();
  write_json_members(json, analysis, options);
  json.end_object();
}

}  // namespace THENCE_ABI
}  // namespace thence
