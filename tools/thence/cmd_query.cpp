// SPDX-License-Identifier: MIT
// cmd_query.cpp: `thence query FILE EXPRESSION`: the resources that a filter keeps, as a table, CSV or JSON.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "analyse.hpp"
#include "formats.hpp"
#include "json_out.hpp"
#include "options.hpp"
#include "terminal.hpp"
#include "thence/analysis/search.hpp"
#include "thence/analysis/tree.hpp"
#include "thence/formats/csv/csv_writer.hpp"
#include "thence/formats/resource_rows.hpp"
#include "thence/formats/words.hpp"
#include "thence/model/frame_text.hpp"
#include "thence/model/replay.hpp"
#include "thence/model/request_order.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;

namespace {

struct Options {
  std::string file, expression, format = "table", sort = "created";
  std::uint64_t limit = 0;
  bool count = false;
  ReadOptions read;
};

/// The answer of a search, by row of the model's resources.
struct Asked {
  Asked(const TraceModel& model, Search& search) {
    if (search.needs_analysis()) {
      const std::unique_ptr<Analysis> all = analyse(model);
      answer(search, {all->run, ResourceTree(all->normal), all->context.on_path, all->findings});
    } else {
      const AnalysisSettings settings;
      const Normalised normal = normalise(model);
      const Execution run(model, normal, settings);
      answer(search, {run, ResourceTree(normal)});
    }
  }
  std::vector<bool> kept;
  std::vector<std::string_view> status;

 private:
  void answer(Search& search, const Search::In& in) {
    kept = search.find(in);
    status.reserve(kept.size());
    for (std::uint32_t row = 0; row < kept.size(); ++row) status.push_back(status_of(in.run, row));
  }
};

struct Hit {
  ResourceRow row;
  std::uint32_t resource = 0;
  std::uint32_t request = 0;
  std::string_view status;
};

/// Of the rows of a trace, those that were asked for: the others, mostly nearly all, are not kept.
class Hits {
 public:
  Hits(const TraceModel& model, const Asked& asked) : model_(model), asked_(asked), request_of_(model.roots.size(), 0) {
    std::uint32_t n = 0;
    for (const std::uint32_t root : requests_of(model)) request_of_[root] = ++n;
  }
  void born(ResourceRow&, const ResourceRow*) {}
  void row(const ResourceRow& row) {
    const std::uint32_t resource = model_.find(row.id);
    if (resource == TraceModel::kNone || !asked_.kept[resource]) return;
    const std::uint32_t root = model_.root[resource];
    hits.push_back({row, resource, root == TraceModel::kNone ? 0 : request_of_[root], asked_.status[resource]});
  }

  std::vector<Hit> hits;

 private:
  const TraceModel& model_;
  const Asked& asked_;
  std::vector<std::uint32_t> request_of_;
};

MaybeNs wait_of(const ResourceRow& row) { return row.invocations != 0 ? row.async_delay() : elapsed(row.created, row.settled); }
MaybeNs total_of(const ResourceRow& row) { return row.invocations != 0 ? row.total() : elapsed(row.created, row.settled); }

void sort_hits(std::vector<Hit>& hits, const std::string& by, const TraceModel& model) {
  const auto longest_first = [&](auto&& value_of) {
    std::stable_sort(hits.begin(), hits.end(), [&](const Hit& a, const Hit& b) {
      const MaybeNs x = value_of(a.row), y = value_of(b.row);
      if (x.ns == y.ns) return false;
      if (!x || !y) return static_cast<bool>(x);  // what is not known comes last
      return x.ns > y.ns;
    });
  };
  std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) {
    return a.row.created.ns != b.row.created.ns ? a.row.created.ns < b.row.created.ns : number(a.row.id) < number(b.row.id);
  });
  if (by == "wait") longest_first(wait_of);
  if (by == "exec") longest_first([](const ResourceRow& row) { return row.self_time(); });
  if (by == "total") longest_first(total_of);
  if (by == "delay") longest_first([](const ResourceRow& row) { return row.scheduling_delay(); });
  if (by == "depth") {
    longest_first([](const ResourceRow& row) { return row.depth_known ? MaybeNs{row.depth} : MaybeNs{}; });
  }
  if (by == "id") std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) { return number(a.row.id) < number(b.row.id); });
  if (by == "type") {
    std::stable_sort(hits.begin(), hits.end(),
                     [&](const Hit& a, const Hit& b) { return model.type_name(a.resource) < model.type_name(b.resource); });
  }
}

std::string location_of(const TraceModel& model, std::uint32_t resource) {
  const std::uint32_t stack = model.stack[resource];
  if (stack == TraceModel::kNone) return {};
  const auto frames = model.frames_of(stack);
  return frames.empty() ? std::string() : frame_text(model, model.frames[frames.front()]);
}

std::string what_of(const TraceModel& model, std::uint32_t resource) {
  for (const std::string_view wanted : {"url", "name", "key", "method"}) {
    for (const TraceModel::Note& note : model.notes_of(resource)) {
      if (note.kind == ValueKind::kString && model.text(note.key) == wanted) return std::string(note.text);
    }
  }
  return {};
}

void as_json(const TraceModel& model, const std::vector<Hit>& hits, std::uint64_t matched, const LoadedTrace& trace) {
  JsonOut json;
  json->begin_object();
  json->member("file", trace.name);
  json->member("resources", model.resources());
  json->member("matched", matched);
  json->key("rows");
  json->begin_array();
  for (const Hit& hit : hits) {
    const ResourceRow& row = hit.row;
    json->new_line();
    json->begin_object();
    json->member("id", number(row.id));
    if (hit.request != 0) json->member("request", hit.request);
    if (row.trigger != ResourceId::kNone) json->member("trigger", number(row.trigger));
    json->member("type", model.type_name(hit.resource));
    json->member("status", hit.status);
    const auto time = [&](std::string_view key, MaybeNs ns) {
      if (ns) json->member(key, ns.ns);
    };
    time("created_ns", row.created);
    time("first_entered_ns", row.first_entered);
    time("last_exited_ns", row.last_exited);
    time("settled_ns", row.settled);
    time("destroyed_ns", row.destroyed);
    time("wait_ns", wait_of(row));
    time("exec_ns", row.self_time());
    time("delay_ns", row.scheduling_delay());
    time("total_ns", total_of(row));
    json->member("invocations", row.invocations);
    if (row.depth_known) json->member("depth", row.depth);
    if (row.life.settled) json->member("settled_by", word(row.settled_by));
    if (row.settler != ResourceId::kNone) json->member("settler", number(row.settler));
    const std::uint32_t stack = model.stack[hit.resource];
    if (stack != TraceModel::kNone) {
      json->key("stack");
      json->begin_array();
      for (const std::uint32_t frame : model.frames_of(stack)) json->value(std::string_view(frame_text(model, model.frames[frame])));
      json->end_array();
    }
    const auto notes = model.notes_of(hit.resource);
    if (!notes.empty()) {
      json->key("annotations");
      json->begin_array();
      for (const TraceModel::Note& note : notes) {
        json->begin_object();
        json->member("key", model.text(note.key));
        json->key("value");
        const Value value = TraceModel::value_of(note);
        switch (value.kind) {
          case ValueKind::kString: json->value(value.text); break;
          case ValueKind::kInt: json->value(value.integer); break;
          case ValueKind::kUint: json->value(value.uinteger); break;
          case ValueKind::kDouble: json->value(value.real); break;
          case ValueKind::kBool: json->value(value.boolean); break;
        }
        json->end_object();
      }
      json->end_array();
    }
    json->end_object();
  }
  json->end_array();
  put_damage(*json, trace.result);
  json->end_object();
  json.finish();
}

void as_csv(const TraceModel& model, const std::vector<Hit>& hits) {
  Output out("-");
  CsvWriter<Output> csv{out};
  for (const char* head : {"id", "request", "trigger", "type", "status", "created_ns", "wait_ns", "exec_ns", "delay_ns", "total_ns", "invocations",
                           "depth", "what", "location"}) {
    csv.text(head);
  }
  csv.end_row();
  for (const Hit& hit : hits) {
    const ResourceRow& row = hit.row;
    const auto count = [&](std::uint64_t n, bool known) { known ? csv.number(n) : csv.absent(); };
    const auto time = [&](MaybeNs ns) { count(ns.ns, static_cast<bool>(ns)); };
    const auto text = [&](const std::string& what) { what.empty() ? csv.absent() : csv.text(what); };
    csv.number(number(row.id));
    count(hit.request, hit.request != 0);
    count(number(row.trigger), row.trigger != ResourceId::kNone);
    csv.text(model.type_name(hit.resource));
    csv.text(hit.status);
    time(row.created);
    time(wait_of(row));
    time(row.self_time());
    time(row.scheduling_delay());
    time(total_of(row));
    csv.number(row.invocations);
    count(row.depth, row.depth_known);
    text(what_of(model, hit.resource));
    text(location_of(model, hit.resource));
    csv.end_row();
  }
  csv.flush();
  out.finish();
}

void as_table(const TraceModel& model, const std::vector<Hit>& hits, std::uint64_t matched, bool colour) {
  Table table;
  table.column("id", Table::Align::kRight);
  table.column("request", Table::Align::kRight);
  table.column("type");
  table.column("status");
  for (const char* head : {"created at", "wait", "exec", "total"}) table.column(head, Table::Align::kRight);
  table.column("what");
  table.column("location");
  const auto time = [](MaybeNs ns) { return ns ? duration(ns.ns) : std::string("-"); };
  for (const Hit& hit : hits) {
    const ResourceRow& row = hit.row;
    std::string what = printable(what_of(model, hit.resource));
    if (what.size() > 60) {
      std::size_t cut = 57;
      while (cut != 0 && (static_cast<unsigned char>(what[cut]) & 0xc0) == 0x80) --cut;
      what = what.substr(0, cut) + "...";
    }
    table.row({"#" + std::to_string(number(row.id)), hit.request == 0 ? "-" : std::to_string(hit.request),
               printable(model.type_name(hit.resource)), std::string(hit.status), time(elapsed({model.first_time}, row.created)),
               time(wait_of(row)), time(row.self_time()), time(total_of(row)), what, printable(location_of(model, hit.resource))});
  }
  std::string text = table.empty() ? "" : table.text(colour);
  text += inked(grouped(matched) + " of " + grouped(model.resources()) + " resources" +
                    (hits.size() < matched ? ", the first " + grouped(hits.size()) + " of them" : ""),
                Ink::kDim, colour) +
          "\n";
  print(text);
}

int run(const Options& options, const Common& common) {
  Search search;  // before a long file is read
  if (!search.parse(options.expression)) throw Failure(kUsage, "query: " + search.error());
  const LoadedTrace trace = load(options.file, options.read, common);
  complain_of_unread(trace.result, trace.name, common);
  const TraceModel& model = trace.model;
  const Asked asked(model, search);
  Hits found(model, asked);
  {
    ResourceTracker<Hits> tracker{found};
    replay(model, tracker);
  }
  std::vector<Hit>& hits = found.hits;
  const std::uint64_t matched = hits.size();
  sort_hits(hits, options.sort, model);
  if (options.limit != 0 && hits.size() > options.limit) hits.resize(options.limit);
  if (options.count) {
    if (common.json) {
      JsonOut json;
      json->begin_object();
      json->member("file", trace.name);
      json->member("resources", model.resources());
      json->member("matched", matched);
      put_damage(*json, trace.result);
      json->end_object();
      json.finish();
    } else {
      print(std::to_string(matched) + "\n");
    }
  } else if (common.json || options.format == "json") {
    as_json(model, hits, matched, trace);
  } else if (options.format == "csv") {
    as_csv(model, hits);
  } else {
    as_table(model, hits, matched, colours(common));
  }
  return trace.result.good() ? kDone : kDamaged;
}

}  // namespace

Command add_query(CLI::App& app, Common& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("query", "The resources that a filter keeps: type:fetch wait>50ms -status:fulfilled");
  command->add_option("FILE", options->file, "The trace; - is standard input")->required();
  command->add_option("EXPRESSION", options->expression, "What to look for; nothing: every resource");
  command->add_option("--format", options->format, "How to answer")->option_text("FORMAT")->check(CLI::IsMember(choices_of("--format")));
  command->add_option("--sort", options->sort, "The order; durations and depth: the greatest first")
      ->option_text("COLUMN")
      ->check(CLI::IsMember(choices_of("--sort")));
  command->add_option("--limit", options->limit, "At most N rows")->option_text("N");
  command->add_flag("--count", options->count, "Only how many");
  add_reading(*command, options->read);
  add_common(*command, common);
  return {command, [options, &common] { return run(*options, common); }};
}

}  // namespace tool
