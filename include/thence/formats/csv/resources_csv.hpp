// SPDX-License-Identifier: MIT
// resources_csv.hpp: resources.csv, one resource a row: its times, its parent, its outcome, where it was created.
//
// A row is written when the resource's request is sealed, without a request some time after its end, at the latest when the
// trace ends. Times are absolute nanoseconds, durations nanoseconds; what is not known is an empty field.
//   ResourcesCsvEncoder encoder{sink};   // an EventSink
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/csv/csv_writer.hpp"
#include "thence/formats/frame_text.hpp"
#include "thence/formats/resource_rows.hpp"
#include "thence/formats/trace_names.hpp"
#include "thence/formats/trace_stacks.hpp"
#include "thence/formats/words.hpp"
#include "thence/wire/byte_sink.hpp"

namespace thence {
inline namespace THENCE_ABI {

inline constexpr std::string_view kResourcesCsvColumns[] = {
    "id", "root", "trigger", "type", "depth", "lane", "created_ns", "first_scheduled_ns", "first_entered_ns", "last_exited_ns",
    "settled_ns", "outcome", "settled_by", "settler", "destroyed_ns", "finished_ns", "invocations", "invocations_cut",
    "async_delay_ns", "sync_time_ns", "self_time_ns", "scheduling_delay_ns", "waiting_ns", "total_ns", "state", "sealed_as",
    "stack_id", "stack"};

/// Writes the table of resources.
///   Shape     as ResourceTracker; names, and stacks up to `max_stack_bytes`.
///   Threads   one at a time.
///   Cost      O(1) an event, O(bytes) a row.
///   When full stacks beyond the bound are empty in the column `stack`; the sink says when it is: failed().
///   Errors    std::bad_alloc.
///   Lifetime  the sink outlives it.
template <ByteSink Sink>
class ResourcesCsvEncoder {
 public:
  explicit ResourcesCsvEncoder(Sink& sink, std::size_t max_stack_bytes = std::size_t{256} << 20)
      : csv_(sink), stacks_(max_stack_bytes), tracker_(*this) {}
  ResourcesCsvEncoder(const ResourcesCsvEncoder&) = delete;
  ResourcesCsvEncoder& operator=(const ResourcesCsvEncoder&) = delete;

  void begin(const TraceInfo&) { head(); }
  void define_lane(const LaneInfo&) noexcept {}
  void define_type(TypeId type, std::string_view name) { names_.define_type(type, name); }
  void define_counter(CounterId, std::string_view, std::string_view) noexcept {}
  void define_stack(const StackInfo& stack) { stacks_.define(stack); }
  void synchronise(const ClockSnapshot&) noexcept {}
  void take(std::span<const TraceEvent> events) {
    head();
    for (const TraceEvent& event : events) tracker_.take(event);
  }
  void flush() { csv_.flush(); }
  void end(const TraceSummary&) {
    head();
    tracker_.close();
    csv_.flush();
  }
  [[nodiscard]] bool failed() const noexcept { return csv_.failed(); }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return csv_.written(); }

  void born(ResourceRow&, const ResourceRow*) noexcept {}
  void row(const ResourceRow& row) {
    id(number(row.id));
    id(number(row.root));
    id(number(row.trigger));
    row.life.created ? csv_.text(names_.type(row.type())) : csv_.absent();
    row.depth_known ? csv_.number(row.depth) : csv_.absent();
    id(number(row.created_on));
    time(row.created);
    time(row.first_scheduled);
    time(row.first_entered);
    time(row.last_exited);
    time(row.settled);
    row.life.settled ? csv_.text(word(row.outcome)) : csv_.absent();
    row.life.settled ? csv_.text(word(row.settled_by)) : csv_.absent();
    id(number(row.settler));
    time(row.destroyed);
    time(row.finished);
    csv_.number(row.invocations);
    csv_.number(row.cut);
    time(row.async_delay());
    time(row.sync_time());
    time(row.self_time());
    time(row.scheduling_delay());
    time(row.waiting());
    time(row.total());
    csv_.text(row.open() ? "open" : "ended");
    row.sealed ? csv_.text(word(row.sealed_as)) : csv_.absent();
    id(number(row.stack));
    if (row.stack != StackId::kNone && stacks_.knows(row.stack)) {
      text_.clear();
      append_stack_text(text_, stacks_, row.stack, " < ");
      csv_.text(text_);
    } else {
      csv_.absent();
    }
    csv_.end_row();
  }

 private:
  void head() {
    if (headed_) return;
    headed_ = true;
    for (const std::string_view column : kResourcesCsvColumns) csv_.text(column);
    csv_.end_row();
  }
  void id(std::uint64_t value) { value == 0 ? csv_.absent() : csv_.number(value); }
  void time(MaybeNs value) { value ? csv_.number(value.ns) : csv_.absent(); }

  CsvWriter<Sink> csv_;
  TraceNames names_;
  TraceStacks stacks_;
  ResourceTracker<ResourcesCsvEncoder> tracker_;
  std::string text_;
  bool headed_ = false;
};

}  // namespace THENCE_ABI
}  // namespace thence
