// SPDX-License-Identifier: MIT
// cmd_cat.cpp: `thence cat FILE`: the events, one a line, in the order of the file; of a growing file as they come.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <memory>
#include <string>
#include <utility>

#include "formats.hpp"
#include "options.hpp"
#include "output.hpp"
#include "terminal.hpp"
#include "thence/formats/event_words.hpp"
#include "thence/formats/frame_text.hpp"
#include "thence/formats/jsonl/jsonl_encoder.hpp"
#include "thence/formats/trace_names.hpp"
#include "thence/formats/trace_stacks.hpp"
#include "thence/formats/words.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;

namespace {

struct Options {
  std::string file;
  ReadOptions read;
  bool follow = false;
  bool absolute = false;
};

volatile sig_atomic_t interrupted = 0;
void interrupt(int) { interrupted = 1; }

constexpr std::size_t kMostStackBytes = std::size_t{1} << 30;

/// Events as text.
class TextEvents {
 public:
  TextEvents(Output& out, bool absolute, bool colour) : out_(&out), absolute_(absolute), colour_(colour), stacks_(kMostStackBytes) {}

  /// A further trace of a joined file numbers its lanes and stacks anew.
  void begin(const TraceInfo&) {
    if (!std::exchange(ended_, false)) return;
    names_ = {};
    stacks_ = TraceStacks(kMostStackBytes);
  }
  void define_lane(const LaneInfo& lane) { names_.define_lane(lane); }
  void define_type(TypeId type, std::string_view name) { names_.define_type(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view unit) { names_.define_counter(counter, name, unit); }
  void define_stack(const StackInfo& stack) { stacks_.define(stack); }
  void synchronise(const ClockSnapshot&) {}
  void take(std::span<const TraceEvent> events) {
    for (const TraceEvent& event : events) line(event);
  }
  void flush() {}
  void end(const TraceSummary&) { ended_ = true; }
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  void line(const TraceEvent& event) {
    const std::uint64_t now = ns_of(event.time);
    text_.clear();
    if (absolute_) {
      append_number(text_, now);
    } else {
      if (!started_) first_ = now;
      started_ = true;
      seconds(now);
    }
    text_ += "  ";
    std::string lane = event.lane == LaneId::kNone ? "-" : lane_name(event.lane);
    lane.resize(std::max<std::size_t>(lane.size(), 12), ' ');
    text_ += inked(lane, Ink::kDim, colour_) + " ";
    std::string kind(word(event.kind));
    kind.resize(std::max<std::size_t>(kind.size(), 11), ' ');
    text_ += inked(kind, Ink::kBold, colour_);
    const bool pause = event.kind == EventKind::kPauseBegan || event.kind == EventKind::kPauseEnded;
    if (event.resource != ResourceId::kNone && !pause) id(" #", event.resource);
    switch (event.kind) {
      case EventKind::kCreated:
        text_ += " " + printable(names_.type(event.type));
        if (event.other != ResourceId::kNone) id(" trigger=#", event.other);
        stack(event.stack);
        break;
      case EventKind::kScheduled:
        text_ += " by=" + std::string(word(event.scheduled_by()));
        if (event.other != ResourceId::kNone) id(" waker=#", event.other);
        break;
      case EventKind::kEntered:
        if (event.cause() != CauseKind::kUnspecified) text_ += " cause=" + std::string(word(event.cause()));
        if (event.other != ResourceId::kNone) id(" of=#", event.other);
        stack(event.stack);
        break;
      case EventKind::kSettled:
        text_ += " " + std::string(word(event.outcome())) + " by=" + std::string(word(event.settled_by()));
        if (event.other != ResourceId::kNone) id(" settler=#", event.other);
        break;
      case EventKind::kLinked:
        text_ += " " + std::string(word(event.link()));
        id(" #", event.other);
        break;
      case EventKind::kAnnotated:
        if (event.annotation != nullptr) {
          text_ += " " + printable(event.annotation->key) + "=";
          value(event.annotation->value);
        }
        break;
      case EventKind::kCounter: {
        const TraceNames::Counter* counter = names_.counter(event.counter);
        text_ += " " + (counter != nullptr ? printable(counter->name) : "counter " + std::to_string(number(event.counter))) + "=";
        if (event.annotation != nullptr) value(event.annotation->value);
        if (counter != nullptr && !counter->unit.empty()) text_ += " " + printable(counter->unit);
        break;
      }
      case EventKind::kPauseBegan:
      case EventKind::kPauseEnded: text_ += " " + std::string(word(event.pause())); break;
      case EventKind::kRootSealed: text_ += " " + std::string(word(event.seal_reason())); break;
      case EventKind::kLost:
        if (event.loss != nullptr) text_ += " " + grouped(event.loss->count) + " events";
        break;
      case EventKind::kSample:
        text_ += " " + std::string(word(event.sample()));
        stack(event.stack);
        break;
      case EventKind::kExited:
      case EventKind::kDestroyed:
      case EventKind::kParked:
      case EventKind::kUnparked:
      case EventKind::kRootFinished:
      case EventKind::kPayload: break;
    }
    if (event.root != RootId::kNone) {
      text_ += " root=";
      append_number(text_, number(event.root));
    }
    if (event.late) text_ += " late";
    text_ += "\n";
    failed_ = !out_->write(std::as_bytes(std::span(text_))) || failed_;
  }
  void seconds(std::uint64_t now) {
    const bool before = now < first_;
    const std::uint64_t ns = before ? first_ - now : now - first_;
    std::string whole;
    append_number(whole, ns / 1'000'000'000);
    std::string fraction;
    append_number(fraction, ns % 1'000'000'000);
    text_ += (before ? "-" : "+") + whole + "." + std::string(9 - fraction.size(), '0') + fraction;
  }
  void id(std::string_view before, ResourceId resource) {
    text_ += before;
    append_number(text_, number(resource));
  }
  void stack(StackId which) {
    if (which == StackId::kNone || !stacks_.knows(which) || stacks_.frames_of(which).empty()) return;
    std::string frame;
    append_frame_text(frame, stacks_, stacks_.frame(stacks_.frames_of(which).front()));
    text_ += " at=" + printable(frame);
  }
  void value(const Value& what) {
    switch (what.kind) {
      case ValueKind::kString: text_ += "\"" + printable(what.text) + (what.cut ? "\"..." : "\""); break;
      case ValueKind::kInt: text_ += std::to_string(what.integer); break;
      case ValueKind::kUint: text_ += std::to_string(what.uinteger); break;
      case ValueKind::kDouble: {
        char digits[32];
        text_.append(digits, std::to_chars(digits, digits + sizeof digits, what.real).ptr);
        break;
      }
      case ValueKind::kBool: text_ += what.boolean ? "true" : "false"; break;
    }
  }
  [[nodiscard]] std::string lane_name(LaneId lane) const {
    const TraceNames::Lane* known = names_.lane(lane);
    return known != nullptr && !known->name.empty() ? printable(known->name) : "lane " + std::to_string(number(lane));
  }

  Output* out_;
  bool absolute_;
  bool colour_;
  bool started_ = false;
  bool failed_ = false;
  bool ended_ = false;
  std::uint64_t first_ = 0;
  TraceNames names_;
  TraceStacks stacks_;
  std::string text_;
};

int run(const Options& options, const Common& given) {
  Common common = given;
  Input input(options.file);
  if (options.follow) {
    struct sigaction action{};
    action.sa_handler = interrupt;
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    input.follow([] { return interrupted != 0; });
    common.quiet = true;  // a bar would never come to its end
  }
  // Where stdout is a terminal, the lines themselves are the progress.
  if (!common.json) common.quiet = true;
  Output out("-");
  ReadResult result;
  const auto write_and_flush = [&](auto& encoder) {
    AnySink sink{SinkRef(encoder)};
    result = read_trace(input, sink, options.read, common, [&] {
      sink.flush();
      // Somebody may be waiting for these lines.
      if (options.follow && !out.flush()) throw Failure(kCannotWrite, out.failure());
      if (encoder.failed()) throw Failure(kCannotWrite, out.failure());
    });
  };
  if (common.json) {
    JsonlEncoder<Output> encoder{out};
    write_and_flush(encoder);
  } else {
    TextEvents encoder{out, options.absolute, colours(common)};
    write_and_flush(encoder);
  }
  out.finish();
  complain_of_unread(result, input.name(), given);
  // Who stops following a file does so at any byte of it.
  if (!result.good() && !(options.follow && result.damage.cut_off)) {
    complain(result.message);
    return kDamaged;
  }
  return kDone;
}

}  // namespace

Command add_cat(CLI::App& app, Common& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("cat", "The events, one a line, in the order of the file");
  command->add_option("FILE", options->file, "The trace; - is standard input")->required();
  command->add_flag("-f,--follow", options->follow, "Goes on with what is appended to the file, until interrupted");
  command->add_flag("--absolute", options->absolute, "Times in ns of the trace's clock, not in s from the first event");
  add_reading(*command, options->read);
  add_common(*command, common);
  return {command, [options, &common] { return run(*options, common); }};
}

}  // namespace tool
