// SPDX-License-Identifier: MIT
// events_csv.hpp: events.csv, one event a row, for a spreadsheet, a data frame, a database.
//
// One table for all kinds: a column that a kind does not use is empty. Times are absolute nanoseconds of the trace's clock,
// ids are the trace's own. docs/exports.md has the columns.
//   EventsCsvEncoder encoder{sink};      // an EventSink
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/csv/csv_writer.hpp"
#include "thence/formats/event_words.hpp"
#include "thence/formats/trace_names.hpp"
#include "thence/formats/words.hpp"
#include "thence/wire/byte_sink.hpp"

namespace thence {
inline namespace THENCE_ABI {

inline constexpr std::string_view kEventsCsvColumns[] = {
    "time_ns", "event", "lane", "resource", "root", "other", "type", "stack", "detail", "by", "key", "value_kind", "value",
    "lost", "first_lost_ns", "last_lost_ns", "late"};

/// Writes the table of events.
///   Shape     the names of types and counters.
///   Threads   one at a time.
///   Cost      O(bytes) an event; no allocation in the steady state.
///   When full the sink says so: failed().
///   Errors    std::bad_alloc.
///   Lifetime  the sink outlives it.
template <ByteSink Sink>
class EventsCsvEncoder {
 public:
  explicit EventsCsvEncoder(Sink& sink) : csv_(sink) {}
  EventsCsvEncoder(const EventsCsvEncoder&) = delete;
  EventsCsvEncoder& operator=(const EventsCsvEncoder&) = delete;

  void begin(const TraceInfo&) { head(); }
  void define_lane(const LaneInfo&) noexcept {}
  void define_type(TypeId type, std::string_view name) { names_.define_type(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view unit) {
    names_.define_counter(counter, name, unit);
  }
  void define_stack(const StackInfo&) noexcept {}
  void synchronise(const ClockSnapshot&) noexcept {}
  void take(std::span<const TraceEvent> events) {
    head();
    for (const TraceEvent& event : events) row(event);
  }
  void flush() { csv_.flush(); }
  void end(const TraceSummary&) {
    head();
    csv_.flush();
  }
  [[nodiscard]] bool failed() const noexcept { return csv_.failed(); }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return csv_.written(); }

 private:
  void head() {
    if (headed_) return;
    headed_ = true;
    for (const std::string_view column : kEventsCsvColumns) csv_.text(column);
    csv_.end_row();
  }
  void row(const TraceEvent& event) {
    const bool pause = event.kind == EventKind::kPauseBegan || event.kind == EventKind::kPauseEnded;
    csv_.number(ns_of(event.time));
    csv_.text(word(event.kind));
    id(number(event.lane));
    id(pause ? 0 : number(event.resource));
    id(number(event.root));
    id(number(event.other));
    if (event.kind == EventKind::kCreated) {
      csv_.text(names_.type(event.type));
    } else {
      csv_.absent();
    }
    id(number(event.stack));
    switch (event.kind) {  // detail
      case EventKind::kEntered:
        event.cause() == CauseKind::kUnspecified ? csv_.absent() : csv_.text(word(event.cause()));
        break;
      case EventKind::kSettled: csv_.text(word(event.outcome())); break;
      case EventKind::kLinked: csv_.text(word(event.link())); break;
      case EventKind::kPauseBegan:
      case EventKind::kPauseEnded: csv_.text(word(event.pause())); break;
      case EventKind::kRootSealed: csv_.text(word(event.seal_reason())); break;
      case EventKind::kSample: csv_.text(word(event.sample())); break;
      case EventKind::kAnnotated:
        event.annotation != nullptr && event.annotation->value.cut ? csv_.text("cut") : csv_.absent();
        break;
      default: csv_.absent(); break;
    }
    switch (event.kind) {  // by
      case EventKind::kScheduled: csv_.text(word(event.scheduled_by())); break;
      case EventKind::kSettled: csv_.text(word(event.settled_by())); break;
      default: csv_.absent(); break;
    }
    key(event);
    value(event);
    if (event.kind == EventKind::kLost && event.loss != nullptr) {
      csv_.number(event.loss->count);
      csv_.number(ns_of(event.loss->first));
      csv_.number(ns_of(event.loss->last));
    } else {
      csv_.absent();
      csv_.absent();
      csv_.absent();
    }
    event.late ? csv_.boolean(true) : csv_.absent();
    csv_.end_row();
  }
  void id(std::uint64_t value) { value == 0 ? csv_.absent() : csv_.number(value); }
  void key(const TraceEvent& event) {
    if (event.kind == EventKind::kAnnotated && event.annotation != nullptr) return csv_.text(event.annotation->key);
    if (event.kind == EventKind::kCounter) {
      const TraceNames::Counter* counter = names_.counter(event.counter);
      if (counter != nullptr && !counter->name.empty()) return csv_.text(counter->name);
      return csv_.number(number(event.counter));
    }
    csv_.absent();
  }
  void value(const TraceEvent& event) {
    if (event.annotation == nullptr) {
      csv_.absent();
      return csv_.absent();
    }
    const Value& value = event.annotation->value;
    csv_.text(word(value.kind));
    switch (value.kind) {
      case ValueKind::kString: return csv_.text(value.text);
      case ValueKind::kInt: return csv_.number(value.integer);
      case ValueKind::kUint: return csv_.number(value.uinteger);
      case ValueKind::kDouble: return csv_.number(value.real);
      case ValueKind::kBool: return csv_.boolean(value.boolean);
    }
    csv_.absent();
  }

  CsvWriter<Sink> csv_;
  TraceNames names_;
  bool headed_ = false;
};

}  // namespace THENCE_ABI
}  // namespace thence
