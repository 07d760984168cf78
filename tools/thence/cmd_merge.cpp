// SPDX-License-Identifier: MIT
// cmd_merge.cpp: `thence merge IN... --output OUT`: several traces as one, in the order of time.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "formats.hpp"
#include "json_out.hpp"
#include "options.hpp"
#include "terminal.hpp"
#include "thence/model/model_builder.hpp"
#include "thence/model/replay.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;

namespace {

struct Options {
  std::vector<std::string> in;
  std::string out, to, align = "boottime";
  ReadOptions read;
};

/// Moves all times of a trace.
class Shift {
 public:
  Shift(ModelBuilder& builder, std::int64_t by) : builder_(&builder), by_(by) {}
  void begin(const TraceInfo& info) { builder_->begin(info); }
  void define_lane(const LaneInfo& lane) { builder_->define_lane(lane); }
  void define_type(TypeId type, std::string_view name) { builder_->define_type(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view unit) { builder_->define_counter(counter, name, unit); }
  void define_stack(const StackInfo& stack) { builder_->define_stack(stack); }
  void synchronise(const ClockSnapshot& clock) {
    ClockSnapshot moved = clock;
    moved.boottime = at(clock.boottime);
    builder_->synchronise(moved);
  }
  void take(std::span<const TraceEvent> events) {
    for (const TraceEvent& event : events) {
      TraceEvent moved = event;
      moved.time = static_cast<Timestamp>(at(ns_of(event.time)));
      LossRange loss;
      if (event.loss != nullptr) {
        loss = {event.loss->count, static_cast<Timestamp>(at(ns_of(event.loss->first))), static_cast<Timestamp>(at(ns_of(event.loss->last)))};
        moved.loss = &loss;
      }
      builder_->take(std::span(&moved, 1));
    }
  }
  void flush() {}
  void end(const TraceSummary& summary) { builder_->end(summary); }

 private:
  [[nodiscard]] std::uint64_t at(std::uint64_t time) const noexcept {
    if (by_ < 0 && time < static_cast<std::uint64_t>(-by_)) return 0;
    return time + static_cast<std::uint64_t>(by_);
  }
  ModelBuilder* builder_;
  std::int64_t by_;
};

/// realtime - boottime of a trace's first snapshot that has both.
std::optional<std::int64_t> wall_offset(const TraceModel& model) {
  for (const ClockSnapshot& clock : model.clocks) {
    if (clock.boottime != 0 && clock.realtime != 0) return static_cast<std::int64_t>(clock.realtime - clock.boottime);
  }
  return std::nullopt;
}

int run(const Options& options, const Common& common) {
  if (common.json && options.out == "-") throw Failure(kUsage, "--json would mix with the trace on standard output");
  if (std::count(options.in.begin(), options.in.end(), "-") > 1) throw Failure(kUsage, "standard input can be read once only");
  const OutputFormat format = output_format(options.to, options.out);

  ModelBuilder builder;
  std::optional<std::int64_t> reference;
  bool damaged = false;
  std::uint64_t events = 0;
  for (const std::string& path : options.in) {
    const LoadedTrace trace = load(path, options.read, common);
    complain_of_unread(trace.result, trace.name, common);
    damaged = damaged || !trace.result.good();
    events += trace.result.events;
    std::int64_t shift = 0;
    if (options.align == "realtime") {
      const auto offset = wall_offset(trace.model);
      if (!offset) throw Failure(kNoInput, trace.name + ": no clock snapshot says the time of day: it cannot be aligned by --align realtime");
      if (!reference) reference = offset;
      shift = *offset - *reference;
    }
    Shift shifted{builder, shift};
    replay(trace.model, shifted);
  }
  const TraceModel model = builder.build();
  WriteOptions write;
  write.title = "merged";
  const WriteResult written = write_trace(model, feed_of(model, {}), options.out, format, write);
  if (!common.quiet) {
    for (const std::string& note : written.notes) complain(note);
  }
  if (common.json) {
    JsonOut json;
    json->begin_object();
    json->member("inputs", options.in.size());
    json->member("to", name_of(format));
    json->member("events", events);
    json->member("resources", model.resources());
    json->member("requests", model.roots.size());
    json->member("lanes", model.lanes.size());
    json->key("files");
    json->begin_array();
    for (const std::string& file : written.files) json->value(std::string_view(file));
    json->end_array();
    json->member("bytes", written.bytes);
    json->member("damaged", damaged);
    json->end_object();
    json.finish();
  }
  return damaged ? kDamaged : kDone;
}

}  // namespace

Command add_merge(CLI::App& app, Common& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("merge", "Makes one trace of several, in the order of time");
  command->add_option("IN", options->in, "The traces; ids that clash are moved apart")->required()->expected(1, -1);
  command->add_option("-o,--output", options->out, "The file; - is standard output")->required()->option_text("OUT");
  command->add_option("--to", options->to, "The format of the output; without it, by the end of OUT")
      ->option_text("FORMAT")
      ->check(CLI::IsMember(choices_of("--to")));
  command->add_option("--align", options->align, "By the machine's clock (traces of one machine), or by the time of day (of several)")
      ->option_text("CLOCK")
      ->check(CLI::IsMember(choices_of("--align")));
  add_reading(*command, options->read);
  add_common(*command, common);
  return {command, [options, &common] { return run(*options, common); }};
}

}  // namespace tool
