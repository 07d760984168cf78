// SPDX-License-Identifier: MIT
// dump.hpp: a model as sorted lines of text, by ids instead of rows, for tests to compare.
// Layer: tests.
#pragma once

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "thence/model/trace_model.hpp"

namespace thence_test {

struct DumpOptions {
  bool clocks = true;
  bool summary = true;
  bool lanes = true;
  bool note_order = true;
  bool stack_ids = false;  ///< else by their content only
};

class Dump {
 public:
  explicit Dump(const thence::TraceModel& model, const DumpOptions& options = {}) : model_(model), options_(options) {}

  std::vector<std::string> lines() {
    using namespace thence;
    const TraceModel& m = model_;
    for (const TraceModel::Source& s : m.sources) {
      line("source salt=%" PRIx64 " pid=%d name=%s overflow=%s clock=%s sampling=%s", s.salt, s.process_id, text(s.process_name),
           text(s.overflow_policy), text(s.clock), text(s.sampling));
    }
    if (options_.lanes) {
      for (const TraceModel::Lane& l : m.lanes) {
        line("lane %u pid=%d tid=%d name=%s", unsigned(number(l.id)), l.process_id, l.thread_id, text(l.name));
      }
    }
    for (std::uint32_t row = 0; row < m.resources(); ++row) {
      std::string out = "resource " + id(row);
      if (m.has(row, ResourceFlag::kCreated)) {
        out += " created " + std::to_string(m.created[row]) + " type=" + std::string(m.type_name(row)) +
               " trigger=" + id(m.trigger[row]) + lane(m.created_lane[row]) + stack(m.stack[row]);
      }
      out += " root=" + root(m.root[row]);
      if (m.has(row, ResourceFlag::kSettled)) {
        out += " settled " + std::to_string(m.settled[row]) + " outcome=" + std::to_string(int(m.outcome(row))) +
               " by=" + std::to_string(int(m.settled_by(row))) + " settler=" + id(m.settler[row]) + lane(m.settled_lane[row]) +
               stack(m.settle_stack(row));
      }
      if (m.has(row, ResourceFlag::kDestroyed)) {
        out += " destroyed " + std::to_string(m.destroyed[row]) + lane(m.destroyed_lane[row]);
      }
      add(out);
      int nth = 0;
      for (const TraceModel::Note& note : m.notes_of(row)) {
        add("note " + id(row) + " #" + std::to_string(options_.note_order ? nth++ : 0) + " " + text(note.key) + "=" + value(TraceModel::value_of(note)));
      }
    }
    for (const TraceModel::Invocation& i : m.invocations) {
      std::string out = "invocation " + id(i.resource) + " " + std::to_string(i.start);
      out += i.ended ? " to " + std::to_string(i.end) : " unended";
      out += lane(i.lane);
      if (i.exit_lane != TraceModel::kNone) out += " exit" + lane(i.exit_lane);
      out += " cause=" + std::to_string(int(i.cause)) + " by=" + id(i.cause_by) + stack(i.stack);
      if (i.wake != TraceModel::kNone) out += " ready=" + std::to_string(m.wakes[i.wake].time);
      add(out);
    }
    for (const TraceModel::Wake& w : m.wakes) {
      add("wake " + id(w.resource) + " " + std::to_string(w.time) + lane(w.lane) + " by=" + id(w.by) + " actor=" +
          std::to_string(int(w.actor)));
    }
    for (const TraceModel::Link& l : m.links) {
      add("link " + id(l.effect) + " " + std::to_string(l.time) + " cause=" + id(l.cause) + " kind=" + std::to_string(int(l.kind)) +
          lane(l.lane) + stack(l.stack));
    }
    for (const TraceModel::LaneEvent& e : m.lane_events) {
      add("lane-event " + std::to_string(e.time) + lane(e.lane) + " kind=" + std::to_string(int(e.kind)) + " pause=" +
          std::to_string(int(e.pause)));
    }
    for (const TraceModel::CounterSample& c : m.counter_samples) {
      add("counter " + counter_name(m.counters[c.counter]) + " [" + text(m.counters[c.counter].unit) + "] " +
          std::to_string(c.time) + lane(c.lane) + " " + counted(TraceModel::value_of(c.kind, c.bits)));
    }
    for (const TraceModel::Sample& s : m.samples) {
      add("sample " + std::to_string(s.time) + lane(s.lane) + " of " + id(s.resource) + " kind=" + std::to_string(int(s.kind)) +
          stack(s.stack));
    }
    for (const TraceModel::Loss& l : m.losses) {
      add("loss" + lane(l.lane) + " " + std::to_string(l.count) + " " + std::to_string(l.first) + ".." + std::to_string(l.last));
    }
    for (const TraceModel::Extra& e : m.extras) {
      add("extra " + std::to_string(e.time) + " kind=" + std::to_string(int(e.kind)) + " of " + id(e.resource) + " other=" +
          id(e.other) + lane(e.lane) + stack(e.stack) + " flags=" + std::to_string(e.flags) +
          (e.kind == EventKind::kCreated ? " type=" + std::string(m.name_of(static_cast<TypeId>(e.type))) : std::string()));
    }
    for (const TraceModel::Root& r : m.roots) {
      std::string out = "root " + std::to_string(number(r.id)) + " resource=" + id(r.resource);
      if (r.has_finished) out += " finished " + std::to_string(r.finished) + lane(r.finished_lane);
      if (r.has_sealed) out += " sealed " + std::to_string(r.sealed) + " reason=" + std::to_string(int(r.reason));
      add(out);
    }
    if (options_.clocks) {
      for (const ClockSnapshot& c : m.clocks) {
        line("clock %" PRIu64 " %" PRIu64 " %" PRIu64, c.boottime, c.monotonic, c.realtime);
      }
    }
    if (options_.summary) {
      for (const TraceModel::LaneTotals& t : m.lane_totals) {
        add("totals" + lane(t.lane) + " events=" + std::to_string(t.events) + " lost=" + std::to_string(t.lost.count) + " " +
            std::to_string(ns_of(t.lost.first)) + ".." + std::to_string(ns_of(t.lost.last)) + " misuse=" +
            std::to_string(t.misuse.exit_without_enter) + "," + std::to_string(t.misuse.exits_crossed) + "," +
            std::to_string(t.misuse.too_deep) + "," + std::to_string(t.misuse.annotations_cut) + "," +
            std::to_string(t.misuse.stacks_refused) + "," + std::to_string(t.misuse.roots_ends_lost) + " ring=" +
            std::to_string(t.ring_bytes));
      }
      line("summary events=%" PRIu64 " lost=%" PRIu64 " late=%" PRIu64 " after=%" PRIu64 " sealed=%" PRIu64 " abandoned=%" PRIu64
           " drain=%" PRIu64, m.summary.events, m.summary.lost, m.summary.late_events, m.summary.after_seal,
           m.summary.roots_sealed, m.summary.roots_abandoned, m.summary.drain_ns);
    }
    std::sort(lines_.begin(), lines_.end());
    return std::move(lines_);
  }

 private:
  void add(std::string text) { lines_.push_back(std::move(text)); }
  template <class... Args>
  void line(const char* format, Args... args) {
    char buffer[1024];
    std::snprintf(buffer, sizeof buffer, format, args...);
    lines_.emplace_back(buffer);
  }
  const char* text(thence::TraceModel::Text which) {
    kept_.push_back(std::make_unique<std::string>(model_.text(which)));
    return kept_.back()->c_str();
  }
  [[nodiscard]] std::string id(std::uint32_t row) const {
    return row == thence::TraceModel::kNone ? "-" : std::to_string(model_.id[row]);
  }
  [[nodiscard]] std::string root(std::uint32_t row) const {
    return row == thence::TraceModel::kNone ? "-" : std::to_string(thence::number(model_.roots[row].id));
  }
  [[nodiscard]] std::string lane(std::uint32_t row) const {
    if (!options_.lanes || row == thence::TraceModel::kNone) return {};
    return " on " + std::to_string(thence::number(model_.lanes[row].id));
  }
  [[nodiscard]] std::string stack(std::uint32_t row) {
    if (row == thence::TraceModel::kNone) return {};
    if (!model_.stacks[row].defined) return " stack=?";
    std::string out = " stack=";
    if (options_.stack_ids) out += std::to_string(thence::number(model_.stacks[row].id));
    out += "{";
    for (const std::uint32_t at : model_.frames_of(row)) {
      const thence::TraceModel::Frame& frame = model_.frames[at];
      out += std::to_string(int(frame.kind)) + ":" + std::string(model_.text(frame.function)) + "@" +
             std::string(model_.text(frame.file)) + ":" + std::to_string(frame.line) + ":" + std::to_string(frame.column) + "|" +
             std::to_string(frame.pc) + "|" + std::to_string(frame.relative_pc) + "|" +
             std::string(model_.text(frame.build_id)) + ";";
    }
    return out + "}";
  }
  /// One that nobody named is named by its number, as the encoder does.
  [[nodiscard]] std::string counter_name(const thence::TraceModel::Counter& counter) const {
    if (counter.name != 0) return std::string(model_.text(counter.name));
    return "counter " + std::to_string(unsigned(thence::number(counter.id)));
  }
  /// A counter's value: Perfetto keeps the number, not how it was spelt.
  [[nodiscard]] static std::string counted(const thence::Value& value) {
    using thence::ValueKind;
    if (value.kind == ValueKind::kDouble) return std::to_string(value.real);
    if (value.kind == ValueKind::kInt) return std::to_string(value.integer);
    return std::to_string(thence::TraceModel::bits_of(value));
  }
  [[nodiscard]] static std::string value(const thence::Value& value) {
    std::string out = std::to_string(int(value.kind)) + ":";
    if (value.kind == thence::ValueKind::kString) {
      out += value.text;
    } else {
      out += std::to_string(thence::TraceModel::bits_of(value));
    }
    return value.cut ? out + " (cut)" : out;
  }

  const thence::TraceModel& model_;
  DumpOptions options_;
  std::vector<std::string> lines_;
  std::vector<std::unique_ptr<std::string>> kept_;
};

[[nodiscard]] inline std::vector<std::string> dump(const thence::TraceModel& model, const DumpOptions& options = {}) {
  return Dump(model, options).lines();
}

/// The lines that only one of two dumps has: empty if they are equal.
[[nodiscard]] inline std::string difference(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::string> left, right;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(left));
  std::set_difference(b.begin(), b.end(), a.begin(), a.end(), std::back_inserter(right));
  std::string out;
  for (std::size_t at = 0; at < left.size() && at < 20; ++at) out += "- " + left[at] + "\n";
  for (std::size_t at = 0; at < right.size() && at < 20; ++at) out += "+ " + right[at] + "\n";
  return out;
}

}  // namespace thence_test
