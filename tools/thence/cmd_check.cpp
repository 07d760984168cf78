// SPDX-License-Identifier: MIT
// cmd_check.cpp: `thence check FILE...`: does a trace keep the promises of its format: nesting, flows, ids, losses.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "formats.hpp"
#include "json_out.hpp"
#include "options.hpp"
#include "perfetto_check.hpp"
#include "terminal.hpp"
#include "thence/formats/event_words.hpp"
#include "thence/formats/words.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;

namespace {

struct Options {
  std::vector<std::string> files;
  ReadOptions read;
};

std::string id_text(const TraceModel& model, std::uint32_t row) { return "#" + std::to_string(number(model.id_of(row))); }

/// What holds of the records, whatever the format.
std::vector<Promise> check_records(const TraceModel& model, InputFormat format) {
  constexpr std::uint32_t kNone = TraceModel::kNone;
  Promise ids{"ids", "every resource is created, settled and destroyed once at most", 0, 0, {}, {}};
  Promise references{"references", "what is referred to, a resource or a stack, is in the trace", 0, 0, {}, {}};
  Promise order{"order", "nothing of a resource comes before its creation, and no end before its beginning", 0, 0, {}, {}};
  Promise invocations{"invocations", "every exit has its enter, and every enter its exit, or is open at the end", 0, 0, {}, {}};
  Promise requests{"requests", "every request has its resource, and is sealed or open at the end", 0, 0, {}, {}};
  Promise losses{"losses", "the losses in the trace add up to those in its summary", 0, 0, {}, {}};

  std::uint64_t lost = 0;
  for (const TraceModel::Loss& loss : model.losses) lost += loss.count;
  const bool lossy = lost != 0 || model.summary.lost != 0;
  bool unexcused = false;  // something of the invocations that no late start of the trace explains

  for (std::uint32_t row = 0; row < model.resources(); ++row) {
    ++ids.looked;
    const bool created = model.has(row, ResourceFlag::kCreated);
    ++references.looked;
    if (!created) {
      references.fail(id_text(model, row) + " is mentioned and was not created in the trace");
      continue;
    }
    const auto after = [&](bool known, std::uint64_t time, std::string_view what) {
      ++order.looked;
      if (known && time < model.created[row]) {
        order.fail(id_text(model, row) + " " + std::string(what) + " " + std::to_string(model.created[row] - time) + " ns before its creation");
      }
    };
    after(model.has(row, ResourceFlag::kSettled), model.settled[row], "was settled");
    after(model.has(row, ResourceFlag::kDestroyed), model.destroyed[row], "was destroyed");
    const std::uint32_t trigger = model.trigger[row];
    if (trigger != kNone && model.has(trigger, ResourceFlag::kCreated)) {
      ++order.looked;
      if (model.created[trigger] > model.created[row]) {
        order.fail(id_text(model, row) + " was created before its trigger " + id_text(model, trigger));
      }
    }
  }
  for (const TraceModel::Invocation& invocation : model.invocations) {
    ++invocations.looked;
    if (invocation.ended && invocation.end < invocation.start) {
      order.fail(id_text(model, invocation.resource) + " was left before it was entered");
    }
    if (invocation.resource != kNone && model.has(invocation.resource, ResourceFlag::kCreated) &&
        invocation.start < model.created[invocation.resource]) {
      order.fail(id_text(model, invocation.resource) + " was entered before its creation");
    }
  }
  for (const TraceModel::Extra& extra : model.extras) {
    const bool resolved = extra.kind == EventKind::kSettled && static_cast<Outcome>(extra.flags & 0xf) == Outcome::kResolved;
    if (resolved) continue;
    const std::string who = extra.resource == kNone ? "" : id_text(model, extra.resource) + " ";
    if (extra.kind == EventKind::kExited) {
      // Entered before the trace began, perhaps: then its creation is not there either.
      if (extra.resource != kNone && model.has(extra.resource, ResourceFlag::kCreated)) unexcused = true;
      invocations.fail(who + "was left at " + std::to_string(extra.time) + " ns and had not been entered");
    } else {
      ids.fail(who + "was " + std::string(word(extra.kind)) + " a second time, at " + std::to_string(extra.time) + " ns");
    }
  }
  for (const TraceModel::Invocation& invocation : model.invocations) {
    if (invocation.ended || invocation.resource == kNone) continue;
    const std::uint32_t root = model.root[invocation.resource];
    if (root != kNone && model.roots[root].has_sealed && model.roots[root].reason == SealReason::kFinished) {
      unexcused = true;
      invocations.fail(id_text(model, invocation.resource) + " was entered at " + std::to_string(invocation.start) +
                       " ns and never left, and its request is finished");
    }
  }
  for (std::uint32_t row = 0; row < model.roots.size(); ++row) {
    ++requests.looked;
    const TraceModel::Root& root = model.roots[row];
    if (root.resource == kNone) requests.fail("request " + std::to_string(number(root.id)) + " has no resource that stands for it");
    if (!root.has_sealed) continue;
    for (const std::uint32_t resource : model.resources_by_root[row]) {
      const bool created = model.has(resource, ResourceFlag::kCreated);
      if (created && model.created[resource] > root.sealed) {
        requests.fail(id_text(model, resource) + " was created after its request " + std::to_string(number(root.id)) + " was sealed");
      }
    }
  }
  if (model.has_summary) {
    ++losses.looked;
    if (model.summary.lost != lost) {
      losses.fail("the trace has " + grouped(lost) + " lost events in it, its summary " + grouped(model.summary.lost));
    }
    if (model.summary.events != 0 && model.summary.lost == 0 && model.quality.malformed != 0) {
      losses.fail(grouped(model.quality.malformed) + " events are malformed");
    }
  }
  if (model.quality.stacks_missing != 0) {
    references.fail(grouped(model.quality.stacks_missing) +
                    (model.quality.stacks_missing == 1 ? " stack is mentioned and not defined" : " stacks are mentioned and not defined"));
  }
  const std::string began = "the trace may have begun after that";
  const std::string among = "the trace says that it lost events: these may be among them";
  references.excuse = lossy                                ? among
                      : model.quality.stacks_missing == 0  ? began
                      : format == InputFormat::kAsyncTrace ? "in this format that also says that no stack was taken"
                                                           : std::string();
  invocations.excuse = lossy ? among : !unexcused ? began : std::string();
  if (lossy) requests.excuse = among;
  return {ids, references, order, invocations, requests, losses};
}

struct Checked {
  LoadedTrace trace;
  std::vector<Promise> promises;
  [[nodiscard]] bool kept() const {
    return std::all_of(promises.begin(), promises.end(), [](const Promise& one) { return one.broken == 0 || !one.excuse.empty(); });
  }
};

Checked check(const std::string& path, const Options& options, const Common& common) {
  Checked checked;
  Input input(path);
  ModelBuilder builder;
  AnySink sink{SinkRef(builder)};
  // Both readers see the bytes as they go by: stdin is read once.
  PerfettoCheck packets;
  input.watch([&](std::span<const std::byte> bytes) { packets.feed(bytes); });
  checked.trace.path = path;
  checked.trace.name = input.name();
  checked.trace.result = read_trace(input, sink, options.read, common);
  if (!checked.trace.result.good()) complain(checked.trace.result.message);
  checked.trace.model = builder.build();
  checked.promises = check_records(checked.trace.model, checked.trace.result.format);
  if (checked.trace.result.format == InputFormat::kPerfetto) {
    for (Promise& promise : packets.finish()) checked.promises.push_back(std::move(promise));
  }
  return checked;
}

int run(const Options& options, const Common& common) {
  const bool colour = colours(common);
  bool damaged = false, broken = false;
  std::string text;
  std::unique_ptr<JsonOut> json;
  if (common.json) {
    json = std::make_unique<JsonOut>();
    (*json)->begin_array();
  }
  for (const std::string& file : options.files) {
    const Checked checked = check(file, options, common);
    damaged = damaged || !checked.trace.result.good();
    broken = broken || !checked.kept();
    if (json != nullptr) {
      JsonText& out = **json;
      out.begin_object();
      out.member("file", checked.trace.name);
      out.member("format", name_of(checked.trace.result.format));
      out.member("events", checked.trace.result.events);
      out.member("kept", checked.kept() && checked.trace.result.good());
      out.key("promises");
      out.begin_array();
      for (const Promise& promise : checked.promises) {
        out.begin_object();
        out.member("name", promise.name);
        out.member("text", promise.text);
        out.member("looked_at", promise.looked);
        out.member("broken", promise.broken);
        if (promise.broken != 0) {
          out.member("first", promise.first);
          if (!promise.excuse.empty()) out.member("excuse", promise.excuse);
        }
        out.end_object();
      }
      out.end_array();
      put_damage(out, checked.trace.result);
      out.end_object();
      continue;
    }
    if (!text.empty()) text += "\n";
    text += inked(printable(checked.trace.name), Ink::kBold, colour) + ": " + std::string(name_of(checked.trace.result.format)) + ", " +
            grouped(checked.trace.result.events) + " events\n";
    for (const Promise& promise : checked.promises) {
      const bool kept = promise.broken == 0, excused = !promise.excuse.empty();
      // Where there was nothing to look at, nothing has been shown.
      const bool nothing = kept && promise.looked == 0;
      text += "  " + inked(nothing ? "none  " : kept ? "kept  " : excused ? "but   " : "broken",
                           nothing ? Ink::kDim : kept ? Ink::kGood : excused ? Ink::kPlain : Ink::kBad, colour) +
              "  " + promise.name + ": " + promise.text + "\n";
      if (!kept) {
        text += "          " + grouped(promise.broken) + (promise.broken == 1 ? " time: " : " times, first: ") + printable(promise.first) + "\n";
        if (excused) text += "          " + promise.excuse + "\n";
      }
    }
  }
  if (json != nullptr) {
    (*json)->end_array();
    json->finish();
  } else {
    print(text);
  }
  return damaged ? kDamaged : broken ? kBroken : kDone;
}

}  // namespace

Command add_check(CLI::App& app, Common& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("check", "Whether a trace keeps the promises of its format: nesting, flows, ids, losses");
  command->add_option("FILE", options->files, "The traces; - is standard input")->required()->expected(1, -1);
  add_reading(*command, options->read);
  add_common(*command, common);
  return {command, [options, &common] { return run(*options, common); }};
}

}  // namespace tool
