// SPDX-License-Identifier: MIT
// cmd_convert.cpp: `thence convert IN OUT`: a trace, or a part of one, in another format.
#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "formats.hpp"
#include "json_out.hpp"
#include "options.hpp"
#include "select.hpp"
#include "terminal.hpp"
#include "thence/formats/duration_text.hpp"
#include "tool.hpp"

namespace tool {
namespace {

struct Options {
  std::string in, out, to, by = "stack", time = "running", min, spans = "both";
  ReadOptions read;
  Selection selection;
  bool no_flows = false, track_per_resource = false, compress_packets = false;
};

int run(const Options& options, const Common& common) {
  const OutputFormat format = output_format(options.to, options.out);
  if (common.json && options.out == "-") throw Failure(kUsage, "--json would mix with the trace on standard output");
  WriteOptions write;
  write.fold.by = options.by == "chain" ? thence::FoldBy::kCausalChain : thence::FoldBy::kCreationStack;
  write.fold.time = options.time == "waiting" ? thence::FoldTime::kWaiting
                    : options.time == "both"  ? thence::FoldTime::kBoth
                                              : thence::FoldTime::kRunning;
  if (!options.min.empty()) {
    const auto min = thence::parse_duration(options.min);
    if (!min) throw Failure(kUsage, "--min " + options.min + ": expected a number and a unit, like 1ms (ns, us, ms, s, m)");
    write.fold.min_ns = *min;
  }
  write.flows = !options.no_flows;
  write.spans = options.spans == "requests" ? thence::PerfettoSpans::kRequests
                : options.spans == "lanes"  ? thence::PerfettoSpans::kLanes
                                            : thence::PerfettoSpans::kBoth;
  write.track_per_resource = options.track_per_resource;
  write.compress_packets = options.compress_packets;
  const LoadedTrace trace = load(options.in, options.read, common);
  // Of the path only the name: the same content gives the same picture wherever it lies.
  write.title = trace.name.substr(trace.name.rfind('/') + 1) + ": " + options.time + " time by " +
                (options.by == "chain" ? "causal chain" : "stack of creation");
  WriteResult written;
  try {
    written = write_trace(trace.model, feed_of(trace.model, options.selection), options.out, format, write);
  } catch (const Failure& failure) {
    // Of a damaged input it is no wonder that what was asked for is not there.
    if (failure.code() == kUsage && !trace.result.good()) throw Failure(kDamaged, failure.what());
    throw;
  }
  complain_of_unread(trace.result, trace.name, common);
  if (!common.quiet) {
    for (const std::string& note : written.notes) complain(trace.name + ": " + note);
  }
  if (common.json) {
    JsonOut json;
    json->begin_object();
    json->member("input", trace.name);
    json->member("from", name_of(trace.result.format));
    json->member("to", name_of(format));
    json->member("events", trace.result.events);
    json->key("files");
    json->begin_array();
    for (const std::string& file : written.files) json->value(std::string_view(file));
    json->end_array();
    json->member("bytes", written.bytes);
    json->key("notes");
    json->begin_array();
    for (const std::string& note : written.notes) json->value(std::string_view(note));
    json->end_array();
    put_damage(*json, trace.result);
    json->end_object();
    json.finish();
  }
  return trace.result.good() ? kDone : kDamaged;
}

}  // namespace

void add_selection(CLI::App& command, Selection& selection) {
  command.add_option("--request", selection.request, "Only the N-th request, counted from 1 in the order in which they began")
      ->option_text("N")
      ->check(CLI::Range(1u, ~0u));
  command.add_option("--range", selection.range, "Only what was alive in A..B, from the first event on, like 10ms..2s; @A: absolute ns")
      ->option_text("A..B");
  command.add_option("--type", selection.types, "Only resources of this type, and what led to them; * is anything; may be repeated")
      ->option_text("T")
      ->allow_extra_args(false);
}

void add_reading(CLI::App& command, ReadOptions& options) {
  command.add_option("--from", options.from, "The format of the input, where its content does not tell")
      ->option_text("FORMAT")
      ->check(CLI::IsMember(choices_of("--from")));
}

Command add_convert(CLI::App& app, Common& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("convert", "Writes a trace, or a part of one, in another format");
  command->add_option("IN", options->in, "The trace; - is standard input")->required();
  command->add_option("OUT", options->out, "The file, or a folder/ for formats of several files; - is standard output; .gz and .zst compress")
      ->required();
  command->add_option("--to", options->to, "The format of the output; without it, by the end of OUT")
      ->option_text("FORMAT")
      ->check(CLI::IsMember(choices_of("--to")));
  add_reading(*command, options->read);
  add_selection(*command, options->selection);
  command->add_option("--by", options->by, "folded, svg: by stack of creation, or by causal chain")
      ->option_text("WHAT")
      ->check(CLI::IsMember(choices_of("--by")));
  command->add_option("--time", options->time, "folded, svg: running, waiting, or both")
      ->option_text("WHAT")
      ->check(CLI::IsMember(choices_of("--time")));
  command->add_option("--min", options->min, "folded, svg: leave out resources with less time, like 1ms")->option_text("DURATION");
  command->add_flag("--no-flows", options->no_flows, "pftrace, chrome: no arrows");
  command->add_option("--spans", options->spans, "pftrace: slices of requests, of lanes, or both")
      ->option_text("WHAT")
      ->check(CLI::IsMember(choices_of("--spans")));
  command->add_flag("--track-per-resource", options->track_per_resource, "pftrace: a track of its own for each resource");
  command->add_flag("--compress-packets", options->compress_packets, "pftrace: compress inside of the trace, which Perfetto reads; a third of the size");
  add_common(*command, common);
  return {command, [options, &common] { return run(*options, common); }};
}

}  // namespace tool
