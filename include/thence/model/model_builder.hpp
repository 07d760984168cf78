// SPDX-License-Identifier: MIT
// model_builder.hpp: makes a TraceModel of the events of a session or of a reader.
//
// A session hands over events in order of time; a reader hands them over in the order of its file, which for a JSON document
// is none. So this sink takes them in any order, also definitions after their first use; an event that comes after a later
// one costs more time, and means the same. Equal events give equal models.
//   ModelBuilder builder;
//   AsyncTraceReader reader{builder};  ...             // or session.add_sink(builder)
//   TraceModel model = builder.build();
// Several traces may be put into one model, one after the other: each `begin` after an `end`, or with another salt, is of
// another process (of the same one, where the salt is known and equal), and ids that clash are moved apart.
// Layer: model (includes formats/ and below).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// An EventSink that keeps everything.
///   Shape     TraceModel's, and 20 bytes a resource until `build`; half as much again while a table grows.
///   Threads   one at a time.
///   Cost      O(1) expected an event; build: O(n), O(n log n) for what came out of order.
///   When full it grows.
///   Errors    std::bad_alloc. What does not fit the tables is kept in TraceModel::extras or counted in its quality.
///   Lifetime  `build` takes all that was collected; the builder is then as new.
class ModelBuilder {
 public:
  ModelBuilder() { restart(); }

  // -- the EventSink --------------------------------------------------------------------------------------------------

  void begin(const TraceInfo& info) {
    const std::uint64_t salt = info.salt;
    const bool same = began_ && !ended_ && (model_.sources[source_].salt == 0 || model_.sources[source_].salt == salt);
    if (began_ && !same) {
      std::uint32_t found = kNone;
      for (std::uint32_t at = 0; salt != 0 && at < model_.sources.size(); ++at) {
        if (model_.sources[at].salt == salt) found = at;
      }
      if (found == kNone) {
        found = static_cast<std::uint32_t>(model_.sources.size());
        add_source();
      }
      source_ = found;
    }
    began_ = true;
    ended_ = false;
    TraceModel::Source& source = model_.sources[source_];
    source.salt = salt;
    if (info.process_id != 0) source.process_id = info.process_id;
    const auto keep = [&](TraceModel::Text& to, std::string_view text) {
      if (!text.empty()) to = model_.texts.intern(text);
    };
    keep(source.process_name, info.process_name);
    keep(source.overflow_policy, info.overflow_policy);
    keep(source.clock, info.clock);
    keep(source.sampling, info.sampling);
  }

  void define_lane(const LaneInfo& info) {
    const std::uint32_t row = lane_row(info.id);
    if (row == kNone) return;
    TraceModel::Lane& lane = model_.lanes[row];
    lane.process_id = info.process_id;
    lane.thread_id = info.thread_id;
    lane.name = model_.texts.intern(info.name);
    lane.defined = true;
  }

  void define_type(TypeId type, std::string_view name) {
    std::vector<std::uint16_t>& types = books_[source_].types;
    const auto at = static_cast<std::size_t>(type);
    if (at >= types.size()) types.resize(at + 1, kNoType);
    types[at] = number_of_type(at, name);
  }

  void define_counter(CounterId counter, std::string_view name, std::string_view unit) {
    TraceModel::Counter& known = model_.counters[counter_row(counter)];
    known.name = model_.texts.intern(name);
    known.unit = model_.texts.intern(unit);
  }

  /// The first definition of a stack holds.
  void define_stack(const StackInfo& info) {
    const std::uint32_t row = stack_row(info.id);
    if (row == kNone || model_.stacks[row].defined) return;
    TraceModel::Stack& stack = model_.stacks[row];
    stack.defined = true;
    stack.first = static_cast<std::uint32_t>(model_.frame_rows.size());
    stack.count = static_cast<std::uint32_t>(info.frames.size());
    for (const FrameInfo& frame : info.frames) model_.frame_rows.push_back(frame_row(frame));
  }

  void synchronise(const ClockSnapshot& clock) { model_.clocks.push_back(clock); }

  void take(std::span<const TraceEvent> events) {
    for (const TraceEvent& event : events) take_one(event);
  }

  void flush() noexcept {}

  void end(const TraceSummary& summary) {
    ended_ = true;
    for (const LaneSummary& lane : summary.lanes) {
      const std::uint32_t row = lane_row(lane.lane);
      TraceModel::LaneTotals* totals = nullptr;
      for (TraceModel::LaneTotals& known : model_.lane_totals) {
        if (known.lane == row) totals = &known;
      }
      if (totals == nullptr) {
        model_.lane_totals.push_back({});
        totals = &model_.lane_totals.back();
        totals->lane = row;
      }
      totals->events += lane.events;
      totals->lost.add(lane.lost);
      totals->misuse.exit_without_enter += lane.misuse.exit_without_enter;
      totals->misuse.exits_crossed += lane.misuse.exits_crossed;
      totals->misuse.too_deep += lane.misuse.too_deep;
      totals->misuse.annotations_cut += lane.misuse.annotations_cut;
      totals->misuse.stacks_refused += lane.misuse.stacks_refused;
      totals->misuse.roots_ends_lost += lane.misuse.roots_ends_lost;
      totals->ring_bytes = std::max(totals->ring_bytes, lane.ring_bytes);
    }
    TraceSummary& all = model_.summary;
    all.events += summary.events;
    all.lost += summary.lost;
    all.late_events += summary.late_events;
    all.after_seal += summary.after_seal;
    all.roots_sealed += summary.roots_sealed;
    all.roots_abandoned += summary.roots_abandoned;
    all.drain_ns += summary.drain_ns;
    all.bytes_written += summary.bytes_written;
    if (!summary.lanes.empty() || summary.events != 0) model_.has_summary = true;
  }

  /// Events taken so far.
  [[nodiscard]] std::uint64_t events() const noexcept { return model_.quality.events; }

  // -- the model ------------------------------------------------------------------------------------------------------

  /// Puts all in order and gives it away.
  [[nodiscard]] TraceModel build() {
    match_again();
    order_resources();
    number_apart();
    order_invocations();
    match_wakes();
    order_records();
    index();
    TraceModel model = std::move(model_);
    restart();
    return model;
  }

 private:
  static constexpr std::uint32_t kNone = TraceModel::kNone;
  static constexpr std::uint16_t kNoType = 0xffff;
  static constexpr std::uint16_t kCreated = static_cast<std::uint16_t>(ResourceFlag::kCreated);
  static constexpr std::uint16_t kSettled = static_cast<std::uint16_t>(ResourceFlag::kSettled);
  static constexpr std::uint16_t kDestroyed = static_cast<std::uint16_t>(ResourceFlag::kDestroyed);
  static constexpr std::uint16_t kDisordered = 1 << 15;
  static constexpr unsigned kLongestSearch = 4096;

  /// What is known of a resource only while it is heard of; the rest stands in the model's columns at once.
  struct Draft {
    std::uint64_t last_callback = 0;  ///< the latest enter or exit so far
    std::uint32_t open = kNone;       ///< its latest invocation that has not ended; they are chained by `wake`
    std::uint32_t source = 0;
  };

  /// The ids of one source.
  struct Book {
    TraceModel::IdIndex resources;
    IdMap roots;
    IdMap lanes;
    IdMap stacks;
    IdMap counters;
    std::vector<std::uint16_t> types;
    std::uint64_t highest_id = 0;
    // The last answers.
    std::uint64_t root_id = 0;
    std::uint32_t root_row = kNone;
    std::uint32_t lane_id = 0;
    std::uint32_t lane_row = kNone;
    std::uint32_t stack_id = 0;
    std::uint32_t stack_row = kNone;
  };

  void restart() {
    model_ = TraceModel{};
    drafts_.clear();
    settle_stack_.clear();
    open_ = 0;
    disordered_ = false;
    books_.clear();
    frame_next_.clear();
    frames_by_hash_.clear();
    type_by_name_.clear();
    source_ = 0;
    began_ = ended_ = false;
    model_.type_names.assign(kResourceTypeNames.size(), 0);
    for (std::size_t at = 0; at < kResourceTypeNames.size(); ++at) {
      const TraceModel::Text name = model_.texts.intern(kResourceTypeNames[at]);
      model_.type_names[at] = name;
      remember_type(name, static_cast<std::uint16_t>(at));
    }
    add_source();
  }
  void add_source() {
    model_.sources.push_back({});
    books_.emplace_back();
  }

  // -- rows of ids ----------------------------------------------------------------------------------------------------

  std::uint32_t row_of(ResourceId id, std::uint64_t time, RootId root = RootId::kNone) {
    if (id == ResourceId::kNone) return kNone;
    Book& book = books_[source_];
    std::uint32_t row = book.resources.find(number(id));
    if (row != kNone) [[likely]] {
      if (!model_.has(row, ResourceFlag::kCreated)) {
        model_.created[row] = std::min(model_.created[row], time);
        if (model_.root[row] == kNone && root != RootId::kNone) model_.root[row] = root_row(root);
      }
      return row;
    }
    row = model_.resources();
    book.resources.insert(number(id), row);
    book.highest_id = std::max(book.highest_id, number(id));
    drafts_.push_back({0, kNone, source_});
    model_.id.push_back(number(id));
    model_.created.push_back(time);  // first heard of, until it is known
    model_.settled.push_back(0);
    model_.destroyed.push_back(0);
    model_.trigger.push_back(kNone);
    model_.root.push_back(root_row(root));
    model_.stack.push_back(kNone);
    model_.settler.push_back(kNone);
    model_.created_lane.push_back(kNone);
    model_.settled_lane.push_back(kNone);
    model_.destroyed_lane.push_back(kNone);
    model_.type.push_back(0);
    model_.flags.push_back(0);
    return row;
  }
  [[nodiscard]] std::uint32_t settle_stack(std::uint32_t row) const noexcept {
    return row < settle_stack_.size() ? settle_stack_[row] : kNone;
  }
  void set_settle_stack(std::uint32_t row, std::uint32_t stack) {
    if (row >= settle_stack_.size()) {
      if (stack == kNone) return;
      settle_stack_.resize(row + 1, kNone);
    }
    settle_stack_[row] = stack;
  }
  void set(std::uint32_t row, std::uint16_t flags) noexcept { model_.flags[row] = static_cast<std::uint16_t>(model_.flags[row] | flags); }

  std::uint32_t root_row(RootId id) {
    const Book& book = books_[source_];
    if (book.root_id == number(id)) [[likely]] return book.root_row;
    return find_root(id);
  }
  [[gnu::noinline]] std::uint32_t find_root(RootId id) {
    if (id == RootId::kNone) return kNone;
    Book& book = books_[source_];
    std::uint32_t row = book.roots.find(number(id));
    if (row == kNone) {
      row = static_cast<std::uint32_t>(model_.roots.size());
      book.roots.insert(number(id), row);
      model_.roots.push_back({});
      model_.roots.back().id = id;
      model_.roots.back().source = source_;
    }
    book.root_id = number(id);
    book.root_row = row;
    return row;
  }

  std::uint32_t lane_row(LaneId id) {
    const Book& book = books_[source_];
    if (book.lane_id == number(id)) [[likely]] return book.lane_row;
    return find_lane(id);
  }
  [[gnu::noinline]] std::uint32_t find_lane(LaneId id) {
    if (id == LaneId::kNone) return kNone;
    Book& book = books_[source_];
    std::uint32_t row = book.lanes.find(number(id));
    if (row == kNone) {
      row = static_cast<std::uint32_t>(model_.lanes.size());
      book.lanes.insert(number(id), row);
      model_.lanes.push_back({});
      model_.lanes.back().id = id;
      model_.lanes.back().source = source_;
    }
    book.lane_id = static_cast<std::uint32_t>(number(id));
    book.lane_row = row;
    return row;
  }

  std::uint32_t counter_row(CounterId id) {
    Book& book = books_[source_];
    std::uint32_t row = book.counters.find(number(id) + 1);
    if (row == kNone) {
      row = static_cast<std::uint32_t>(model_.counters.size());
      book.counters.insert(number(id) + 1, row);
      model_.counters.push_back({id, source_, 0, 0});
    }
    return row;
  }

  std::uint32_t stack_row(StackId id) {
    const Book& book = books_[source_];
    if (book.stack_id == number(id)) [[likely]] return book.stack_row;
    return find_stack(id);
  }
  [[gnu::noinline]] std::uint32_t find_stack(StackId id) {
    if (id == StackId::kNone) return kNone;
    Book& book = books_[source_];
    std::uint32_t row = book.stacks.find(number(id));
    if (row == kNone) {
      row = static_cast<std::uint32_t>(model_.stacks.size());
      book.stacks.insert(number(id), row);
      model_.stacks.push_back({});
      model_.stacks.back().id = id;
      model_.stacks.back().source = source_;
    }
    book.stack_id = static_cast<std::uint32_t>(number(id));
    book.stack_row = row;
    return row;
  }

  std::uint32_t frame_row(const FrameInfo& info) {
    TraceModel::Frame frame;
    frame.kind = info.kind;
    frame.function = model_.texts.intern(info.function);
    frame.file = model_.texts.intern(info.file);
    frame.build_id = model_.texts.intern(info.build_id);
    frame.line = info.line;
    frame.column = info.column;
    frame.pc = info.pc;
    frame.relative_pc = info.relative_pc;
    std::uint64_t hash = mix64(frame.function + (std::uint64_t{frame.file} << 32));
    hash = mix64(hash ^ (frame.line + (std::uint64_t{frame.column} << 32)));
    hash = (mix64(hash ^ frame.pc) ^ mix64(frame.relative_pc + 1) ^ frame.build_id) | 1u;
    const std::uint32_t first = frames_by_hash_.find(hash);
    for (std::uint32_t at = first; at != IdMap::kAbsent; at = frame_next_[at]) {
      if (model_.frames[at] == frame) return at;
    }
    const auto row = static_cast<std::uint32_t>(model_.frames.size());
    model_.frames.push_back(frame);
    frame_next_.push_back(IdMap::kAbsent);
    if (first == IdMap::kAbsent) {
      frames_by_hash_.insert(hash, row);
    } else {
      frame_next_[row] = frame_next_[first];
      frame_next_[first] = row;
    }
    return row;
  }

  void remember_type(TraceModel::Text name, std::uint16_t type) {
    if (name >= type_by_name_.size()) type_by_name_.resize(name + name / 2 + 64, kNoType);
    type_by_name_[name] = type;
  }
  /// A name has one number in the model: its own if that is free, else the next free one.
  std::uint16_t number_of_type(std::size_t wanted, std::string_view name) {
    const TraceModel::Text text = model_.texts.intern(name);
    if (text < type_by_name_.size() && type_by_name_[text] != kNoType) return type_by_name_[text];
    std::vector<TraceModel::Text>& names = model_.type_names;
    std::size_t at = wanted;
    if (at < kFirstHostType || at >= kNoType || (at < names.size() && names[at] != 0) || text == 0) {
      at = std::max<std::size_t>(next_type_, kFirstHostType);
      while (at < names.size() && names[at] != 0) ++at;
      next_type_ = at;
    }
    if (at >= kNoType || text == 0) {
      ++model_.quality.types_refused;
      return static_cast<std::uint16_t>(ResourceType::kOther);
    }
    if (at >= names.size()) names.resize(at + 1, 0);
    names[at] = text;
    remember_type(text, static_cast<std::uint16_t>(at));
    return static_cast<std::uint16_t>(at);
  }
  std::uint16_t type_of(TypeId type) {
    std::vector<std::uint16_t>& types = books_[source_].types;
    const auto at = static_cast<std::size_t>(type);
    if (at < types.size() && types[at] != kNoType) [[likely]] return types[at];
    define_type(type, BuiltinTypes::name(type));
    return books_[source_].types[at];
  }

  // -- one event ------------------------------------------------------------------------------------------------------

  void take_one(const TraceEvent& event) {
    ++model_.quality.events;
    const std::uint64_t time = ns_of(event.time);
    switch (event.kind) {
      case EventKind::kCreated: return created(event, time);
      case EventKind::kScheduled: {
        const std::uint32_t row = need_row(event, time);
        if (row == kNone) return;
        const std::uint32_t by = row_of(event.other, time);
        model_.wakes.push_back({time, row, lane_row(event.lane), by, kNone, event.scheduled_by()});
        return;
      }
      case EventKind::kEntered: return entered(event, time);
      case EventKind::kExited: return exited(event, time);
      case EventKind::kSettled: return settled(event, time);
      case EventKind::kDestroyed: {
        const std::uint32_t row = need_row(event, time);
        if (row == kNone) return;
        if (model_.has(row, ResourceFlag::kDestroyed)) {
          // One that was heard of before its creation is in a .pftrace twice.
          if (time == model_.destroyed[row] && lane_row(event.lane) == model_.destroyed_lane[row]) return;
          if (time >= model_.destroyed[row]) return repeated(event, row);
          displace(row, EventKind::kDestroyed, model_.destroyed[row], model_.destroyed_lane[row]);
        }
        set(row, kDestroyed);
        model_.destroyed[row] = time;
        model_.destroyed_lane[row] = lane_row(event.lane);
        return;
      }
      case EventKind::kLinked: {
        const std::uint32_t row = need_row(event, time);
        if (row == kNone) return;
        const std::uint32_t cause = row_of(event.other, time);
        model_.links.push_back({time, row, cause, lane_row(event.lane), stack_row(event.stack), event.link()});
        return;
      }
      case EventKind::kAnnotated: {
        if (event.annotation == nullptr) return malformed();
        const std::uint32_t row = need_row(event, time);
        if (row == kNone) return;
        const Value& value = event.annotation->value;
        model_.notes.push_back({row, model_.texts.intern(event.annotation->key), TraceModel::bits_of(value),
                                value.kind == ValueKind::kString ? model_.texts.keep(value.text) : std::string_view{},
                                value.kind, value.cut});
        return;
      }
      case EventKind::kCounter: {
        if (event.annotation == nullptr || event.annotation->value.kind == ValueKind::kString) return malformed();
        const Value& value = event.annotation->value;
        model_.counter_samples.push_back(
            {time, TraceModel::bits_of(value), counter_row(event.counter), lane_row(event.lane), value.kind});
        return;
      }
      case EventKind::kParked:
      case EventKind::kUnparked:
        model_.lane_events.push_back({time, lane_row(event.lane), event.kind, PauseKind::kOther});
        return;
      case EventKind::kPauseBegan:
      case EventKind::kPauseEnded:
        model_.lane_events.push_back({time, lane_row(event.lane), event.kind, event.pause()});
        return;
      case EventKind::kSample: {
        const std::uint32_t row = row_of(event.resource, time, event.root);
        model_.samples.push_back({time, lane_row(event.lane), stack_row(event.stack), row, event.sample()});
        return;
      }
      case EventKind::kRootFinished: return root_finished(event, time);
      case EventKind::kLost: {
        const LossRange range = event.loss != nullptr ? *event.loss : LossRange{0, event.time, event.time};
        model_.losses.push_back({lane_row(event.lane), range.count, ns_of(range.first), ns_of(range.last)});
        return;
      }
      case EventKind::kRootSealed: {
        if (event.root == RootId::kNone) return malformed();
        TraceModel::Root& root = model_.roots[root_row(event.root)];
        if (root.has_sealed) {
          if (time >= root.sealed) return repeated(event, kNone);
          TraceModel::Extra& extra = displace(kNone, EventKind::kRootSealed, root.sealed, kNone);
          extra.root = root_row(event.root);
          extra.flags = static_cast<std::uint8_t>(root.reason);
        }
        root.has_sealed = true;
        root.sealed = time;
        root.reason = event.seal_reason();
        return;
      }
      case EventKind::kPayload: break;
    }
    malformed();
  }

  void malformed() noexcept { ++model_.quality.malformed; }

  std::uint32_t need_row(const TraceEvent& event, std::uint64_t time) {
    if (event.resource == ResourceId::kNone) {
      malformed();
      return kNone;
    }
    return row_of(event.resource, time, event.root);
  }

  void keep_extra(const TraceEvent& event, std::uint32_t row) {
    TraceModel::Extra extra;
    extra.time = ns_of(event.time);
    extra.resource = row;
    extra.other = row_of(event.other, extra.time);
    extra.lane = lane_row(event.lane);
    extra.stack = stack_row(event.stack);
    extra.root = root_row(event.root);
    extra.type = event.kind == EventKind::kCreated ? type_of(event.type) : std::uint16_t{0};
    extra.kind = event.kind;
    extra.flags = event.flags;
    model_.extras.push_back(extra);
  }
  void repeated(const TraceEvent& event, std::uint32_t row) {
    ++model_.quality.repeated;
    keep_extra(event, row);
  }
  /// Of two that there should be one of the earlier one holds, also where it comes later.
  TraceModel::Extra& displace(std::uint32_t row, EventKind kind, std::uint64_t time, std::uint32_t lane) {
    ++model_.quality.repeated;
    TraceModel::Extra extra;
    extra.time = time;
    extra.resource = row;
    extra.lane = lane;
    extra.kind = kind;
    if (row != kNone) extra.root = model_.root[row];
    model_.extras.push_back(extra);
    return model_.extras.back();
  }

  void created(const TraceEvent& event, std::uint64_t time) {
    const std::uint32_t row = need_row(event, time);
    if (row == kNone) return;
    if (model_.has(row, ResourceFlag::kCreated)) {
      if (time >= model_.created[row]) return repeated(event, row);
      TraceModel::Extra& extra = displace(row, EventKind::kCreated, model_.created[row], model_.created_lane[row]);
      extra.other = model_.trigger[row];
      extra.stack = model_.stack[row];
      extra.type = model_.type[row];
    }
    const std::uint32_t trigger = row_of(event.other, time);
    const std::uint32_t root_at = root_row(event.root);
    const std::uint16_t type = type_of(event.type);
    set(row, kCreated);
    model_.created[row] = time;
    model_.trigger[row] = trigger;
    model_.root[row] = root_at;
    model_.stack[row] = stack_row(event.stack);
    model_.created_lane[row] = lane_row(event.lane);
    model_.type[row] = type;
    if (root_at == kNone) return;
    TraceModel::Root& root = model_.roots[root_at];
    // What is of type root stands for the request; else what nothing in it created.
    constexpr auto kRootType = static_cast<std::uint16_t>(ResourceType::kRoot);
    if (root.resource == kNone ? type == kRootType || event.other == ResourceId::kNone
                               : !root.has_finished && type == kRootType && model_.type[root.resource] != kRootType) {
      root.resource = row;
    }
  }

  void entered(const TraceEvent& event, std::uint64_t time) {
    const std::uint32_t row = need_row(event, time);
    if (row == kNone) return;
    const std::uint32_t cause_by = row_of(event.other, time);
    const auto at = static_cast<std::uint32_t>(model_.invocations.size());
    model_.invocations.emplace_back();
    TraceModel::Invocation& invocation = model_.invocations.back();
    invocation.start = time;
    invocation.resource = row;
    invocation.lane = lane_row(event.lane);
    invocation.cause_by = cause_by;
    invocation.stack = stack_row(event.stack);
    invocation.cause = event.cause();
    Draft& draft = drafts_[row];
    note_callback(draft, row, time);
    invocation.wake = draft.open;  // the chain of the open ones
    draft.open = at;
    ++open_;
  }

  void exited(const TraceEvent& event, std::uint64_t time) {
    const std::uint32_t row = need_row(event, time);
    if (row == kNone) return;
    Draft& draft = drafts_[row];
    note_callback(draft, row, time);
    if (!end_invocation(draft, lane_row(event.lane), time)) {
      ++model_.quality.exits_unmatched;
      keep_extra(event, row);
    }
  }

  void note_callback(Draft& draft, std::uint32_t row, std::uint64_t time) noexcept {
    if (time < draft.last_callback) {
      set(row, kDisordered);
      disordered_ = true;
    } else {
      draft.last_callback = time;
    }
  }

  /// Ends the innermost invocation on this lane; else, as a coroutine may go on elsewhere, the innermost on another.
  bool end_invocation(Draft& draft, std::uint32_t lane, std::uint64_t time) {
    std::vector<TraceModel::Invocation>& all = model_.invocations;
    std::uint32_t before = kNone;
    std::uint32_t found = draft.open;
    unsigned steps = 0;
    for (std::uint32_t at = draft.open, previous = kNone; at != kNone && steps < kLongestSearch; ++steps) {
      if (all[at].lane == lane) {
        found = at;
        before = previous;
        break;
      }
      previous = at;
      at = all[at].wake;
    }
    if (found == kNone) return false;
    TraceModel::Invocation& invocation = all[found];
    (before == kNone ? draft.open : all[before].wake) = invocation.wake;
    invocation.wake = kNone;
    invocation.end = time;
    invocation.ended = true;
    --open_;
    if (invocation.lane != lane) invocation.exit_lane = lane;
    return true;
  }

  void settled(const TraceEvent& event, std::uint64_t time) {
    const std::uint32_t row = need_row(event, time);
    if (row == kNone) return;
    if (event.outcome() == Outcome::kResolved) return keep_extra(event, row);
    if (model_.has(row, ResourceFlag::kSettled)) {
      if (time >= model_.settled[row]) return repeated(event, row);
      TraceModel::Extra& extra = displace(row, EventKind::kSettled, model_.settled[row], model_.settled_lane[row]);
      extra.other = model_.settler[row];
      extra.flags = static_cast<std::uint8_t>((model_.flags[row] >> 4 & 0xf) | (model_.flags[row] >> 8 & 0xf) << 4);
      extra.stack = settle_stack(row);
      model_.flags[row] = static_cast<std::uint16_t>(model_.flags[row] & ~0xff0u);
    }
    const std::uint32_t settler = event.other == event.resource ? row : row_of(event.other, time);
    set(row, static_cast<std::uint16_t>(kSettled | static_cast<unsigned>(event.outcome()) << 4 |
                                        (static_cast<unsigned>(event.settled_by()) & 0xf) << 8));
    model_.settled[row] = time;
    model_.settler[row] = settler;
    model_.settled_lane[row] = lane_row(event.lane);
    set_settle_stack(row, stack_row(event.stack));
  }

  void root_finished(const TraceEvent& event, std::uint64_t time) {
    const std::uint32_t row = need_row(event, time);
    if (row == kNone) return;
    if (event.root == RootId::kNone) return keep_extra(event, row);
    TraceModel::Root& root = model_.roots[root_row(event.root)];
    if (root.has_finished) {
      if (time >= root.finished) return repeated(event, row);
      TraceModel::Extra& extra = displace(root.resource, EventKind::kRootFinished, root.finished, root.finished_lane);
      extra.root = root_row(event.root);
    }
    root.has_finished = true;
    root.finished = time;
    root.finished_lane = lane_row(event.lane);
    root.resource = row;
  }

  // -- putting in order -----------------------------------------------------------------------------------------------

  /// Enters and exits that came out of order are matched once more, in order.
  void match_again() {
    unchain();
    if (!disordered_) return;
    std::vector<std::uint32_t> group_of(drafts_.size(), kNone);
    std::uint32_t groups = 0;
    for (std::uint32_t row = 0; row < drafts_.size(); ++row) {
      if ((model_.flags[row] & kDisordered) == 0) continue;
      model_.flags[row] = static_cast<std::uint16_t>(model_.flags[row] & ~kDisordered);
      group_of[row] = groups++;
    }
    struct Half {
      std::uint32_t group;
      std::uint32_t row;
      std::uint64_t time;
      std::uint32_t lane;        // of an exit
      std::uint32_t invocation;  // of an enter; else kNone
    };
    std::vector<Half> halves;
    for (std::uint32_t at = 0; at < model_.invocations.size(); ++at) {
      TraceModel::Invocation& invocation = model_.invocations[at];
      const std::uint32_t group = group_of[invocation.resource];
      if (group == kNone) continue;
      halves.push_back({group, invocation.resource, invocation.start, kNone, at});
      if (!invocation.ended) continue;
      const std::uint32_t lane = invocation.exit_lane == kNone ? invocation.lane : invocation.exit_lane;
      halves.push_back({group, invocation.resource, invocation.end, lane, kNone});
      invocation.ended = false;
      invocation.end = 0;
      invocation.exit_lane = kNone;
      ++open_;
    }
    std::vector<TraceModel::Extra> rest;
    for (const TraceModel::Extra& extra : model_.extras) {
      const bool again = extra.kind == EventKind::kExited && extra.resource != kNone && group_of[extra.resource] != kNone;
      if (!again) {
        rest.push_back(extra);
        continue;
      }
      halves.push_back({group_of[extra.resource], extra.resource, extra.time, extra.lane, kNone});
      --model_.quality.exits_unmatched;
    }
    model_.extras = std::move(rest);
    std::stable_sort(halves.begin(), halves.end(), [](const Half& a, const Half& b) {
      return a.group != b.group ? a.group < b.group : a.time < b.time;
    });
    for (const Half& half : halves) {
      Draft& draft = drafts_[half.row];
      if (half.invocation != kNone) {
        model_.invocations[half.invocation].wake = draft.open;
        draft.open = half.invocation;
      } else if (!end_invocation(draft, half.lane, half.time)) {
        ++model_.quality.exits_unmatched;
        TraceModel::Extra extra;
        extra.time = half.time;
        extra.resource = half.row;
        extra.lane = half.lane;
        extra.root = model_.root[half.row];
        extra.kind = EventKind::kExited;
        model_.extras.push_back(extra);
      }
    }
    unchain();
  }
  /// The chains of what is open have done their work.
  void unchain() noexcept {
    if (open_ == 0) return;
    for (Draft& draft : drafts_) {
      for (std::uint32_t at = std::exchange(draft.open, kNone); at != kNone;) at = std::exchange(model_.invocations[at].wake, kNone);
    }
  }

  /// Sorts by `less` unless it is sorted; returns for each old place the new one, empty where nothing moved.
  template <class Row, class Less>
  static std::vector<std::uint32_t> order(std::vector<Row>& rows, Less&& less) {
    if (std::is_sorted(rows.begin(), rows.end(), less)) return {};
    std::vector<std::uint32_t> old(rows.size());
    for (std::uint32_t at = 0; at < old.size(); ++at) old[at] = at;
    std::sort(old.begin(), old.end(), [&](std::uint32_t a, std::uint32_t b) {
      if (less(rows[a], rows[b])) return true;
      return !less(rows[b], rows[a]) && a < b;
    });
    std::vector<Row> sorted(rows.size());
    std::vector<std::uint32_t> moved(rows.size());
    for (std::uint32_t at = 0; at < old.size(); ++at) {
      sorted[at] = rows[old[at]];
      moved[old[at]] = at;
    }
    rows = std::move(sorted);
    return moved;
  }

  void order_resources() {
    struct Place {
      std::uint64_t created;
      std::uint32_t row;
    };
    const auto before = [&](const Place& a, const Place& b) {
      if (a.created != b.created) return a.created < b.created;
      const std::uint32_t source = drafts_[a.row].source, other = drafts_[b.row].source;
      return source != other ? source < other : model_.id[a.row] < model_.id[b.row];
    };
    const std::uint32_t count = model_.resources();
    bool sorted = true;
    for (std::uint32_t row = 1; row < count && sorted; ++row) {
      sorted = before({model_.created[row - 1], row - 1}, {model_.created[row], row});
    }
    if (sorted && model_.sources.size() == 1) model_.by_id = std::move(books_[0].resources);  // they are rows already
    if (!sorted) {
      std::vector<Place> places(count);
      for (std::uint32_t row = 0; row < count; ++row) places[row] = {model_.created[row], row};
      std::sort(places.begin(), places.end(), before);  // of one source no two ids are equal
      std::vector<std::uint32_t> moved(count);
      for (std::uint32_t row = 0; row < count; ++row) moved[places[row].row] = row;
      const auto gather = [&](auto& column) {
        auto old = std::exchange(column, {});
        column.reserve(count);
        for (const Place& place : places) column.push_back(old[place.row]);
      };
      const auto move = [&](std::uint32_t& row) {
        if (row != kNone) row = moved[row];
      };
      settle_stack_.resize(settle_stack_.empty() ? 0 : count, kNone);
      if (!settle_stack_.empty()) gather(settle_stack_);
      gather(drafts_);
      gather(model_.id);
      gather(model_.created);
      gather(model_.settled);
      gather(model_.destroyed);
      gather(model_.trigger);
      gather(model_.root);
      gather(model_.stack);
      gather(model_.settler);
      gather(model_.created_lane);
      gather(model_.settled_lane);
      gather(model_.destroyed_lane);
      gather(model_.type);
      gather(model_.flags);
      for (std::uint32_t& row : model_.trigger) move(row);
      for (std::uint32_t& row : model_.settler) move(row);
      for (TraceModel::Invocation& row : model_.invocations) {
        move(row.resource);
        move(row.cause_by);
      }
      for (TraceModel::Wake& row : model_.wakes) {
        move(row.resource);
        move(row.by);
      }
      for (TraceModel::Link& row : model_.links) {
        move(row.effect);
        move(row.cause);
      }
      for (TraceModel::Note& row : model_.notes) move(row.resource);
      for (TraceModel::Sample& row : model_.samples) move(row.resource);
      for (TraceModel::Root& row : model_.roots) move(row.resource);
      for (TraceModel::Extra& row : model_.extras) {
        move(row.resource);
        move(row.other);
      }
    }
    for (std::uint32_t row = 0; row < settle_stack_.size(); ++row) {
      if (settle_stack_[row] != kNone) model_.settle_stacks.push_back({row, settle_stack_[row]});
    }
    for (const std::uint16_t flags : model_.flags) {
      if ((flags & kCreated) == 0) ++model_.quality.unknown_creations;
    }
  }

  /// The ids of the first source stay; those of each further one go behind the highest so far.
  void number_apart() {
    if (model_.sources.size() > 1) {
      std::vector<std::uint64_t> offsets(model_.sources.size(), 0);
      std::uint64_t next = 0;
      for (std::size_t at = 0; at < offsets.size(); ++at) {
        offsets[at] = next;
        next += books_[at].highest_id;
      }
      for (std::size_t row = 0; row < drafts_.size(); ++row) model_.id[row] += offsets[drafts_[row].source];
      renumber(model_.roots);
      renumber(model_.lanes);
      renumber(model_.stacks);
      renumber(model_.counters);
    }
    drafts_ = {};
    settle_stack_ = {};
    if (model_.by_id.size() == 0) {
      for (std::uint32_t row = 0; row < model_.resources(); ++row) model_.by_id.insert(model_.id[row], row);
    }
  }
  template <class Row>
  static void renumber(std::vector<Row>& rows) {
    std::uint64_t highest = 0;
    for (const Row& row : rows) {
      if (row.source == 0) highest = std::max(highest, number(row.id));
    }
    for (Row& row : rows) {
      if (row.source != 0) row.id = static_cast<decltype(row.id)>(++highest);
    }
  }

  void order_invocations() {
    static_cast<void>(order(model_.invocations, [](const TraceModel::Invocation& a, const TraceModel::Invocation& b) {
      return a.start != b.start ? a.start < b.start : a.resource < b.resource;
    }));
    model_.quality.unended = open_;
    model_.invocations_by_resource.build(model_.resources(), model_.invocations.size(),
                                         [&](std::uint32_t at) { return model_.invocations[at].resource; });
  }

  /// The first wake since a resource began to run last is what made its next invocation ready.
  void match_wakes() {
    static_cast<void>(order(model_.wakes, [](const TraceModel::Wake& a, const TraceModel::Wake& b) {
      return a.time != b.time ? a.time < b.time : a.resource < b.resource;
    }));
    model_.wakes_by_resource.build(model_.resources(), model_.wakes.size(),
                                   [&](std::uint32_t at) { return model_.wakes[at].resource; });
    for (std::uint32_t row = 0; row < model_.resources(); ++row) {
      const auto wakes = model_.wakes_by_resource[row];
      std::size_t next = 0;
      if (wakes.empty()) continue;
      for (const std::uint32_t at : model_.invocations_by_resource[row]) {
        bool first = true;
        while (next < wakes.size() && model_.wakes[wakes[next]].time <= model_.invocations[at].start) {
          if (first) {
            model_.invocations[at].wake = wakes[next];
            model_.wakes[wakes[next]].invocation = at;
            first = false;
          }
          ++next;
        }
      }
    }
  }

  void order_records() {
    const auto by_time = [](const auto& a, const auto& b) { return a.time < b.time; };
    static_cast<void>(order(model_.links, [](const TraceModel::Link& a, const TraceModel::Link& b) {
      if (a.time != b.time) return a.time < b.time;
      return a.effect != b.effect ? a.effect < b.effect : a.cause < b.cause;
    }));
    static_cast<void>(order(model_.notes, [](const TraceModel::Note& a, const TraceModel::Note& b) {
      return a.resource < b.resource;
    }));
    static_cast<void>(order(model_.lane_events, [](const TraceModel::LaneEvent& a, const TraceModel::LaneEvent& b) {
      return a.time != b.time ? a.time < b.time : a.lane < b.lane;
    }));
    static_cast<void>(order(model_.counter_samples, [](const TraceModel::CounterSample& a, const TraceModel::CounterSample& b) {
      if (a.time != b.time) return a.time < b.time;
      return a.lane != b.lane ? a.lane < b.lane : a.counter < b.counter;
    }));
    static_cast<void>(order(model_.samples, [](const TraceModel::Sample& a, const TraceModel::Sample& b) {
      return a.time != b.time ? a.time < b.time : a.lane < b.lane;
    }));
    static_cast<void>(order(model_.losses, [](const TraceModel::Loss& a, const TraceModel::Loss& b) {
      return a.first != b.first ? a.first < b.first : a.lane < b.lane;
    }));
    static_cast<void>(order(model_.extras, [&](const TraceModel::Extra& a, const TraceModel::Extra& b) {
      return a.time != b.time ? by_time(a, b) : a.resource < b.resource;
    }));
    static_cast<void>(order(model_.clocks, [](const ClockSnapshot& a, const ClockSnapshot& b) { return a.boottime < b.boottime; }));
  }

  void index() {
    TraceModel& model = model_;
    const auto lanes = static_cast<std::uint32_t>(model.lanes.size());
    const auto roots = static_cast<std::uint32_t>(model.roots.size());
    model.invocations_by_lane.build(lanes + 1, model.invocations.size(), [&](std::uint32_t at) {
      return std::min(model.invocations[at].lane, lanes);
    });
    model.links_by_effect.build(model.resources(), model.links.size(), [&](std::uint32_t at) { return model.links[at].effect; });
    model.resources_by_root.build(roots + 1, model.resources(), [&](std::uint32_t row) { return std::min(model.root[row], roots); });
    model.note_first.assign(model.resources() + 1, 0);
    for (const TraceModel::Note& note : model.notes) ++model.note_first[note.resource + 1];
    for (std::size_t row = 0; row < model.resources(); ++row) model.note_first[row + 1] += model.note_first[row];
    for (const TraceModel::Stack& stack : model.stacks) {
      if (!stack.defined) ++model.quality.stacks_missing;
    }
    bool any = false;
    const auto seen = [&](std::uint64_t time) {
      model.first_time = any ? std::min(model.first_time, time) : time;
      model.last_time = any ? std::max(model.last_time, time) : time;
      any = true;
    };
    for (std::uint32_t row = 0; row < model.resources(); ++row) {
      seen(model.created[row]);
      if (model.has(row, ResourceFlag::kSettled)) seen(model.settled[row]);
      if (model.has(row, ResourceFlag::kDestroyed)) seen(model.destroyed[row]);
    }
    for (const TraceModel::Invocation& invocation : model.invocations) {
      seen(invocation.start);
      if (invocation.ended) seen(invocation.end);
    }
    const auto ends = [&](const auto& rows) {  // these are sorted
      if (rows.empty()) return;
      seen(rows.front().time);
      seen(rows.back().time);
    };
    ends(model.wakes);
    ends(model.links);
    ends(model.lane_events);
    ends(model.counter_samples);
    ends(model.samples);
    ends(model.extras);
    for (const TraceModel::Loss& loss : model.losses) {
      seen(loss.first);
      seen(loss.last);
    }
    for (const TraceModel::Root& root : model.roots) {
      if (root.has_finished) seen(root.finished);
      if (root.has_sealed) seen(root.sealed);
    }
  }

  TraceModel model_;
  std::vector<Draft> drafts_;
  std::vector<std::uint32_t> settle_stack_;  // as long as the last of them needs: few hosts say it
  std::uint64_t open_ = 0;                   // invocations
  bool disordered_ = false;                  // of some resource
  std::vector<Book> books_;
  std::vector<std::uint32_t> frame_next_;
  IdMap frames_by_hash_;
  std::vector<std::uint16_t> type_by_name_;  // by text
  std::size_t next_type_ = 0;
  std::uint32_t source_ = 0;
  bool began_ = false;
  bool ended_ = false;
};
static_assert(EventSink<ModelBuilder>);

}  // namespace THENCE_ABI
}  // namespace thence
