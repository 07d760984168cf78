// SPDX-License-Identifier: MIT
// cmd_info.cpp: `thence info FILE...`: what is in a trace, how much of it, and how far it can be trusted.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "formats.hpp"
#include "json_out.hpp"
#include "options.hpp"
#include "select.hpp"
#include "terminal.hpp"
#include "thence/analysis/coverage.hpp"
#include "thence/formats/resource_rows.hpp"
#include "thence/formats/words.hpp"
#include "thence/model/replay.hpp"
#include "thence/model/request_order.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;

namespace {

constexpr std::size_t kShownRequests = 20;
constexpr std::size_t kShownTypes = 40;

struct Options {
  std::vector<std::string> files;
  ReadOptions read;
};

struct TypeFacts {
  std::uint64_t count = 0, open = 0, invocations = 0, self_ns = 0, waiting_ns = 0, longest_wait_ns = 0;
  std::uint64_t self_known = 0, waiting_known = 0;  ///< of how many resources the sums are
};

/// What the rows of all resources add up to.
struct Facts {
  const TraceModel* model = nullptr;
  std::map<std::string, TypeFacts, std::less<>> types;
  std::uint64_t resources = 0, created = 0, open = 0, with_stack = 0, with_trigger = 0, settled = 0, settled_by_known = 0,
                invocations_cut = 0, self_ns = 0;
  std::map<std::uint64_t, std::pair<std::uint64_t, std::uint64_t>> by_root;  // resources, open

  void born(ResourceRow&, const ResourceRow*) {}
  void row(const ResourceRow& row) {
    ++resources;
    TypeFacts& type = types[row.created ? std::string(model->name_of(row.type())) : std::string("unknown")];
    ++type.count;
    if (row.created) ++created;
    if (row.open()) {
      ++open;
      ++type.open;
    }
    if (row.stack != StackId::kNone) ++with_stack;
    if (row.trigger != ResourceId::kNone) ++with_trigger;
    if (row.life.settled) {
      ++settled;
      if (row.settled_by != Actor::kUnknown) ++settled_by_known;
    }
    if (const MaybeNs own = row.self_time()) {
      type.self_ns += own.ns;
      ++type.self_known;
      self_ns += own.ns;
    }
    if (const MaybeNs wait = row.waiting()) {
      type.waiting_ns += wait.ns;
      ++type.waiting_known;
      type.longest_wait_ns = std::max(type.longest_wait_ns, wait.ns);
    }
    invocations_cut += row.cut;
    if (row.root != RootId::kNone) {
      auto& root = by_root[number(row.root)];
      ++root.first;
      if (row.open()) ++root.second;
    }
  }
};

/// An invocation is what was entered: an exit without an enter, of which a row makes one too, is told of in the quality.
void count_invocations(const TraceModel& model, Facts& facts) {
  for (const TraceModel::Invocation& invocation : model.invocations) {
    const auto type = facts.types.find(model.type_name(invocation.resource));
    if (type != facts.types.end()) ++type->second.invocations;
  }
}

struct Request {
  std::uint32_t n = 0;
  RootId root = RootId::kNone;
  ResourceId id = ResourceId::kNone;
  MaybeNs begin, end;
  std::uint64_t resources = 0, open = 0;
  std::string_view state;
  std::string label;
};

std::string wall_time(std::uint64_t ns) {
  const auto seconds = static_cast<std::time_t>(ns / 1'000'000'000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[40];
  const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  char fraction[16];
  std::snprintf(fraction, sizeof fraction, ".%03dZ", static_cast<int>(ns / 1'000'000 % 1000));
  return std::string(text, length) + fraction;
}

std::string label_of(const TraceModel& model, std::uint32_t resource) {
  for (const std::string_view wanted : {"url", "name", "method"}) {
    for (const TraceModel::Note& note : model.notes_of(resource)) {
      if (note.kind == ValueKind::kString && model.text(note.key) == wanted) return std::string(note.text);
    }
  }
  return {};
}

std::vector<Request> requests(const TraceModel& model, const Facts& facts) {
  std::vector<Request> all;
  std::uint32_t n = 0;
  for (const std::uint32_t row : requests_of(model)) {
    const TraceModel::Root& root = model.roots[row];
    Request request;
    request.n = ++n;
    request.root = root.id;
    if (root.resource != TraceModel::kNone) {
      request.id = model.id_of(root.resource);
      if (model.has(root.resource, ResourceFlag::kCreated)) request.begin = {model.created[root.resource]};
      request.label = label_of(model, root.resource);
      // Until its work was done; else until it was answered.
      if (model.has(root.resource, ResourceFlag::kSettled)) request.end = {model.settled[root.resource]};
    }
    if (root.has_finished) request.end = {root.finished};
    if (!request.end) {
      std::uint64_t last = 0;
      for (const std::uint32_t resource : model.resources_by_root[row]) last = std::max(last, end_of(model, resource));
      if (last != 0) request.end = {last};
    }
    const auto known = facts.by_root.find(number(root.id));
    if (known != facts.by_root.end()) {
      request.resources = known->second.first;
      request.open = known->second.second;
    }
    request.state = root.has_sealed ? word(root.reason) : std::string_view("open");
    all.push_back(std::move(request));
  }
  return all;
}

std::uint64_t lost_of(const TraceModel& model, std::uint32_t lane) {
  std::uint64_t marked = 0, total = 0;
  for (const TraceModel::Loss& loss : model.losses) {
    if (loss.lane == lane) marked += loss.count;
  }
  for (const TraceModel::LaneTotals& totals : model.lane_totals) {
    if (totals.lane == lane) total += totals.lost.count;
  }
  return std::max(marked, total);
}

std::uint64_t lost_in_all(const TraceModel& model) {
  std::uint64_t marked = 0;
  for (const TraceModel::Loss& loss : model.losses) marked += loss.count;
  return std::max(marked, model.summary.lost);
}


void put_json(JsonText& json, const LoadedTrace& trace, const Facts& facts, const TrackingCounts& tracking) {
  const TraceModel& model = trace.model;
  json.begin_object();
  json.member("file", trace.name);
  json.member("format", name_of(trace.result.format));
  json.member("compression", trace.compression);
  json.member("bytes", trace.bytes);
  json.member("events", trace.result.events);
  put_damage(json, trace.result);
  json.key("time");
  json.begin_object();
  const bool timed = trace.result.events != 0;
  if (timed) {
    json.member("first_ns", model.first_time);
    json.member("last_ns", model.last_time);
    json.member("span_ns", model.last_time - model.first_time);
  }
  for (const ClockSnapshot& clock : model.clocks) {
    if (!timed || clock.boottime == 0 || clock.realtime == 0) continue;
    json.member("first_realtime_ns", clock.realtime + model.first_time - clock.boottime);
    break;
  }
  json.member("clock_snapshots", model.clocks.size());
  json.end_object();
  json.key("processes");
  json.begin_array();
  for (const TraceModel::Source& source : model.sources) {
    json.begin_object();
    char salt[24];
    std::snprintf(salt, sizeof salt, "0x%llx", static_cast<unsigned long long>(source.salt));
    json.member("salt", static_cast<const char*>(salt));
    if (source.process_id != 0) json.member("process_id", source.process_id);
    const auto text = [&](std::string_view key, TraceModel::Text value) {
      if (!model.text(value).empty()) json.member(key, model.text(value));
    };
    text("name", source.process_name);
    text("clock", source.clock);
    text("overflow_policy", source.overflow_policy);
    text("sampling", source.sampling);
    json.end_object();
  }
  json.end_array();
  json.key("lanes");
  json.begin_array();
  for (std::uint32_t lane = 0; lane < model.lanes.size(); ++lane) {
    const TraceModel::Lane& known = model.lanes[lane];
    json.begin_object();
    json.member("lane", number(known.id));
    if (known.process_id != 0) json.member("process_id", known.process_id);
    if (known.thread_id != 0) json.member("thread_id", known.thread_id);
    if (!model.text(known.name).empty()) json.member("name", model.text(known.name));
    json.member("invocations", model.invocations_by_lane[lane].size());
    json.member("lost", lost_of(model, lane));
    json.end_object();
  }
  json.end_array();
  json.key("resources");
  json.begin_object();
  json.member("count", facts.resources);
  json.member("open", facts.open);
  json.key("types");
  json.begin_array();
  for (const auto& [name, type] : facts.types) {
    json.begin_object();
    json.member("type", std::string_view(name));
    json.member("count", type.count);
    json.member("open", type.open);
    json.member("invocations", type.invocations);
    json.member("self_known", type.self_known);
    if (type.self_known != 0) json.member("self_ns", type.self_ns);
    json.member("waiting_known", type.waiting_known);
    if (type.waiting_known != 0) {
      json.member("waiting_ns", type.waiting_ns);
      json.member("longest_wait_ns", type.longest_wait_ns);
    }
    json.end_object();
  }
  json.end_array();
  json.end_object();
  json.key("requests");
  json.begin_array();
  for (const Request& request : requests(model, facts)) {
    json.begin_object();
    json.member("n", request.n);
    json.member("root", number(request.root));
    if (request.id != ResourceId::kNone) json.member("id", number(request.id));
    if (request.begin) json.member("begin_ns", request.begin.ns);
    if (const MaybeNs took = elapsed(request.begin, request.end)) json.member("duration_ns", took.ns);
    json.member("resources", request.resources);
    json.member("open", request.open);
    json.member("state", request.state);
    if (!request.label.empty()) json.member("label", std::string_view(request.label));
    json.end_object();
  }
  json.end_array();
  json.key("records");
  json.begin_object();
  json.member("invocations", model.invocations.size());
  json.member("wakes", model.wakes.size());
  json.member("links", model.links.size());
  json.member("annotations", model.notes.size());
  json.member("stacks", model.stacks.size());
  json.member("frames", model.frames.size());
  json.member("counter_samples", model.counter_samples.size());
  json.member("samples", model.samples.size());
  json.end_object();
  std::uint64_t causes = 0;
  for (const TraceModel::Invocation& invocation : model.invocations) {
    if (invocation.cause != CauseKind::kUnspecified || invocation.wake != TraceModel::kNone) ++causes;
  }
  json.key("coverage");
  json.begin_object();
  json.member("created_seen", facts.created);
  json.member("with_stack", facts.with_stack);
  json.member("with_trigger", facts.with_trigger);
  json.member("settled", facts.settled);
  json.member("settled_by_known", facts.settled_by_known);
  json.member("invocations_with_cause", causes);
  json.member("light_requests", light_requests(model));
  json.end_object();
  json.key("losses");
  json.begin_object();
  json.member("events", lost_in_all(model));
  json.key("ranges");
  json.begin_array();
  for (const TraceModel::Loss& loss : model.losses) {
    json.begin_object();
    if (loss.lane != TraceModel::kNone) json.member("lane", number(model.lanes[loss.lane].id));
    json.member("count", loss.count);
    json.member("first_ns", loss.first);
    json.member("last_ns", loss.last);
    json.end_object();
  }
  json.end_array();
  json.end_object();
  json.key("quality");
  json.begin_object();
  json.member("unknown_creations", model.quality.unknown_creations);
  json.member("repeated", model.quality.repeated);
  json.member("exits_unmatched", model.quality.exits_unmatched);
  json.member("unended_invocations", model.quality.unended);
  json.member("malformed", model.quality.malformed);
  json.member("types_refused", model.quality.types_refused);
  json.member("stacks_missing", model.quality.stacks_missing);
  json.member("backwards", tracking.backwards);
  json.member("invocations_cut", facts.invocations_cut);
  json.end_object();
  json.key("unread");
  json.begin_object();
  for (const Unread& one : trace.result.unread) json.member(one.key, one.count);
  json.end_object();
  if (model.has_summary) {
    json.key("tracer");
    json.begin_object();
    json.member("events", model.summary.events);
    json.member("lost", model.summary.lost);
    json.member("late_events", model.summary.late_events);
    json.member("after_seal", model.summary.after_seal);
    json.member("roots_sealed", model.summary.roots_sealed);
    json.member("roots_abandoned", model.summary.roots_abandoned);
    json.member("drain_ns", model.summary.drain_ns);
    json.end_object();
  }
  json.end_object();
}

void put_text(std::string& out, const LoadedTrace& trace, const Facts& facts, const TrackingCounts& tracking, bool colour) {
  const TraceModel& model = trace.model;
  const auto line = [&](std::string_view name, const std::string& text) {
    std::string head(name);
    head.resize(12, ' ');
    out += inked(head, Ink::kDim, colour) + text + "\n";
  };
  out += inked(printable(trace.name), Ink::kBold, colour) + "\n";
  line("format", std::string(name_of(trace.result.format)) + (trace.compression == "none" ? "" : ", " + trace.compression) + ", " +
                     grouped(trace.bytes) + " bytes, " + grouped(trace.result.events) + " events");
  if (!trace.result.good()) line("damage", inked(trace.result.message, Ink::kBad, colour));
  const bool timed = trace.result.events != 0;
  std::string span = timed ? duration(model.last_time - model.first_time) : "unknown: there is no event";
  for (const ClockSnapshot& clock : model.clocks) {
    if (!timed || clock.boottime == 0 || clock.realtime == 0) continue;
    span += ", from " + wall_time(clock.realtime + model.first_time - clock.boottime);
    break;
  }
  line("time", span + ", " + grouped(model.clocks.size()) + (model.clocks.size() == 1 ? " clock snapshot" : " clock snapshots"));
  for (const TraceModel::Source& source : model.sources) {
    std::string text;
    const auto add = [&](const std::string& more) {
      if (!more.empty()) text += (text.empty() ? "" : ", ") + more;
    };
    add(printable(model.text(source.process_name)));
    if (source.process_id != 0) add("pid " + std::to_string(source.process_id));
    if (!model.text(source.clock).empty()) add("clock " + printable(model.text(source.clock)));
    if (!model.text(source.sampling).empty()) add("sampling " + printable(model.text(source.sampling)));
    if (!model.text(source.overflow_policy).empty()) add("when full " + printable(model.text(source.overflow_policy)));
    line("process", text.empty() ? "not said" : text);
  }
  if (!model.lanes.empty()) {
    Table lanes;
    lanes.column("lane", Table::Align::kRight);
    lanes.column("name");
    lanes.column("thread", Table::Align::kRight);
    lanes.column("invocations", Table::Align::kRight);
    lanes.column("lost", Table::Align::kRight);
    for (std::uint32_t lane = 0; lane < model.lanes.size(); ++lane) {
      const TraceModel::Lane& known = model.lanes[lane];
      lanes.row({std::to_string(number(known.id)), printable(model.text(known.name)), known.thread_id == 0 ? "-" : std::to_string(known.thread_id),
                 grouped(model.invocations_by_lane[lane].size()), grouped(lost_of(model, lane))});
    }
    out += "\n" + lanes.text(colour, "  ");
  }
  if (!facts.types.empty()) {
    std::vector<std::pair<std::string, TypeFacts>> types(facts.types.begin(), facts.types.end());
    std::stable_sort(types.begin(), types.end(), [](const auto& a, const auto& b) { return a.second.count > b.second.count; });
    Table table;
    table.column("type");
    for (const char* head : {"resources", "open", "invocations", "ran", "waited", "most by one"}) table.column(head, Table::Align::kRight);
    for (std::size_t at = 0; at < types.size() && at < kShownTypes; ++at) {
      const auto& [name, type] = types[at];
      const auto known = [](std::uint64_t of, std::uint64_t ns) { return of == 0 ? std::string("-") : duration(ns); };
      table.row({printable(name), grouped(type.count), grouped(type.open), grouped(type.invocations), known(type.self_known, type.self_ns),
                 known(type.waiting_known, type.waiting_ns), known(type.waiting_known, type.longest_wait_ns)});
    }
    out += "\n" + table.text(colour, "  ");
    if (types.size() > kShownTypes) out += "  ... and " + grouped(types.size() - kShownTypes) + " more types (--json has all)\n";
  }
  const auto all = requests(model, facts);
  if (!all.empty()) {
    Table table;
    table.column("request", Table::Align::kRight);
    for (const char* head : {"began at", "took", "resources", "open"}) table.column(head, Table::Align::kRight);
    table.column("state");
    table.column("what");
    for (std::size_t at = 0; at < all.size() && at < kShownRequests; ++at) {
      const Request& request = all[at];
      const MaybeNs took = elapsed(request.begin, request.end);
      table.row({std::to_string(request.n), request.begin ? duration(request.begin.ns - std::min(request.begin.ns, model.first_time)) : "unknown",
                 took ? duration(took.ns) : "unknown", grouped(request.resources), grouped(request.open), std::string(request.state),
                 printable(request.label)});
    }
    out += "\n" + table.text(colour, "  ");
    if (all.size() > kShownRequests) out += "  ... and " + grouped(all.size() - kShownRequests) + " more requests (--json has all)\n";
  }
  std::uint64_t causes = 0;
  for (const TraceModel::Invocation& invocation : model.invocations) {
    if (invocation.cause != CauseKind::kUnspecified || invocation.wake != TraceModel::kNone) ++causes;
  }
  out += "\n";
  line("coverage", "stack " + percent(facts.with_stack, facts.resources) + " of " + grouped(facts.resources) + " resources, settled by " +
                       percent(facts.settled_by_known, facts.settled) + " of " + grouped(facts.settled) + ", cause " +
                       percent(causes, model.invocations.size()) + " of " + grouped(model.invocations.size()) + " invocations");
  if (const std::uint64_t light = light_requests(model); light != 0) {
    line("light", grouped(light) + " of " + grouped(all.size()) + " requests: their promises were not followed");
  }
  const std::uint64_t lost = lost_in_all(model);
  line("lost", lost == 0 ? std::string("nothing")
                         : inked(grouped(lost) + (lost == 1 ? " event, in " : " events, in ") + grouped(model.losses.size()) +
                                     (model.losses.size() == 1 ? " place" : " places"),
                                 Ink::kBad, colour));
  std::string quality;
  const auto count = [&](std::uint64_t n, std::string_view what) {
    if (n != 0) quality += (quality.empty() ? "" : ", ") + grouped(n) + " " + std::string(what);
  };
  count(model.quality.unknown_creations, "resources not seen created");
  count(model.quality.repeated, "events said twice");
  count(model.quality.exits_unmatched, "exits without an enter");
  count(model.quality.unended, "invocations without an end");
  count(model.quality.malformed, "malformed events");
  count(model.quality.types_refused, "types beyond the numbers there are");
  count(model.quality.stacks_missing, "stacks missing");
  count(tracking.backwards, "intervals that run backwards");
  line("quality", quality.empty() ? "nothing amiss" : quality);
  std::string unread;
  for (const Unread& one : trace.result.unread) unread += (unread.empty() ? "" : ", ") + std::string(one.what) + ": " + grouped(one.count);
  if (!unread.empty()) line("not read", inked(unread, Ink::kBad, colour));
}

int run(const Options& options, const Common& common) {
  const bool colour = colours(common);
  bool damaged = false;
  std::string text;
  std::unique_ptr<JsonOut> json;
  if (common.json) {
    json = std::make_unique<JsonOut>();
    (*json)->begin_array();
  }
  for (const std::string& file : options.files) {
    const LoadedTrace trace = load(file, options.read, common);
    damaged = damaged || !trace.result.good();
    Facts facts;
    facts.model = &trace.model;
    ResourceTracker<Facts> tracker{facts};
    replay(trace.model, tracker);
    count_invocations(trace.model, facts);
    if (json != nullptr) {
      put_json(**json, trace, facts, tracker.counts());
      continue;
    }
    if (!text.empty()) text += "\n";
    put_text(text, trace, facts, tracker.counts(), colour);
  }
  if (json != nullptr) {
    (*json)->end_array();
    json->finish();
  } else {
    print(text);
  }
  return damaged ? kDamaged : kDone;
}

}  // namespace

Command add_info(CLI::App& app, Common& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("info", "What is in a trace: time, processes, lanes, requests, resources by type, losses, quality");
  command->add_option("FILE", options->files, "The traces; - is standard input")->required()->expected(1, -1);
  add_reading(*command, options->read);
  add_common(*command, common);
  return {command, [options, &common] { return run(*options, common); }};
}

}  // namespace tool
