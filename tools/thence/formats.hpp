// SPDX-License-Identifier: MIT
// formats.hpp: the formats that the command reads and writes, by name, by content, by the end of a file's name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "input.hpp"
#include "output.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/folded/time_folder.hpp"
#include "thence/formats/perfetto/perfetto_encoder.hpp"
#include "thence/model/model_builder.hpp"
#include "thence/model/trace_model.hpp"
#include "thence/session/any_sink.hpp"
#include "tool.hpp"

namespace tool {

// -- reading ------------------------------------------------------------------------------------------------------------

enum class InputFormat { kPerfetto, kAsyncTrace, kTokio, kChrome };
[[nodiscard]] std::string_view name_of(InputFormat format);

/// By content. nullopt: none that we read; `why` then says what it looks like.
[[nodiscard]] std::optional<InputFormat> detect(std::span<const std::byte> beginning, std::string& why);

struct ReadOptions {
  std::string from;  ///< a format's name; empty: by content
};

/// What stands in an input and is not in the trace that was made of it.
struct Unread {
  std::string_view key;   ///< in JSON answers
  std::string_view what;  ///< for people, before its number
  std::uint64_t count = 0;
};

/// How reading an input went.
struct ReadResult {
  InputFormat format = InputFormat::kPerfetto;
  std::uint64_t events = 0;
  std::vector<Unread> unread;  ///< only what there is
  thence::Damage damage;       ///< of the trace or of its compression
  std::string message;         ///< of the damage, as the user reads it; empty: none
  [[nodiscard]] bool good() const noexcept { return message.empty(); }
};

/// Reads all of an input into a sink. Damage is no failure: the result has it. Throws Failure(kNoInput) where the input is no
/// trace. `after_each` is called after each piece of the input (for who follows a growing file).
ReadResult read_trace(Input& input, thence::AnySink& sink, const ReadOptions& options, const Common& common,
                      const std::function<void()>& after_each = {});

struct LoadedTrace {
  std::string path;
  std::string name;
  std::string compression;
  std::uint64_t bytes = 0;
  ReadResult result;
  thence::TraceModel model;
};

/// Says on stderr what a reader passed over, unless quiet.
void complain_of_unread(const ReadResult& result, const std::string& name, const Common& common);

/// Reads an input into a model. Complains of damage on stderr.
[[nodiscard]] LoadedTrace load(const std::string& path, const ReadOptions& options, const Common& common);

/// Lets one sink be fed by reference where one by value is asked for.
template <thence::EventSink Sink>
class SinkRef {
 public:
  explicit SinkRef(Sink& sink) : sink_(&sink) {}
  void begin(const thence::TraceInfo& info) { sink_->begin(info); }
  void define_lane(const thence::LaneInfo& lane) { sink_->define_lane(lane); }
  void define_type(thence::TypeId type, std::string_view name) { sink_->define_type(type, name); }
  void define_counter(thence::CounterId counter, std::string_view name, std::string_view unit) {
    sink_->define_counter(counter, name, unit);
  }
  void define_stack(const thence::StackInfo& stack) { sink_->define_stack(stack); }
  void synchronise(const thence::ClockSnapshot& clock) { sink_->synchronise(clock); }
  void take(std::span<const thence::TraceEvent> events) { sink_->take(events); }
  void flush() { sink_->flush(); }
  void end(const thence::TraceSummary& summary) { sink_->end(summary); }

 private:
  Sink* sink_;
};

// -- writing ------------------------------------------------------------------------------------------------------------

enum class OutputFormat { kPerfetto, kAsyncTrace, kJsonl, kResourcesCsv, kEventsCsv, kCsv, kChrome, kFolded, kSvg };
[[nodiscard]] std::string_view name_of(OutputFormat format);
[[nodiscard]] const std::vector<std::string>& output_format_names();
[[nodiscard]] const std::vector<std::string>& input_format_names();
/// The format called `name`; where that is empty the one that the end of `path` says, without .gz and .zst ("-" says none).
/// Throws Failure(kUsage).
[[nodiscard]] OutputFormat output_format(std::string_view name, const std::string& path);

struct WriteOptions {
  thence::FoldOptions fold;
  std::string title;
  bool flows = true;                 ///< pftrace, chrome: arrows
  thence::PerfettoSpans spans = thence::PerfettoSpans::kBoth;
  bool track_per_resource = false;
  bool compress_packets = false;     ///< inside of the trace
};

struct WriteResult {
  std::vector<std::string> files;   ///< written, in order; empty for stdout
  std::uint64_t bytes = 0;
  std::vector<std::string> notes;   ///< what the format could not take
};

/// What feeds an exporter: the whole model, or what is chosen of it.
using Feed = std::function<void(thence::AnySink&)>;

/// Writes a model to a path, or to "-". Throws Failure.
WriteResult write_trace(const thence::TraceModel& model, const Feed& feed, const std::string& path, OutputFormat format,
                        const WriteOptions& options);

}  // namespace tool
