// SPDX-License-Identifier: MIT
// trace_model.hpp: a trace in memory, as tables that analyses can walk.
//
// A million resources are some 64 bytes each: columns of numbers, indexed by row. Rows are in order of time, whatever the
// order was in which their events came, so equal traces are equal models.
//   ModelBuilder builder;                          // an EventSink: a session or a reader feeds it
//   TraceModel model = builder.build();
//   for (std::uint32_t row = 0; row < model.resources(); ++row) {
//     if (model.has(row, ResourceFlag::kSettled)) total += model.settled[row] - model.created[row];
//     for (std::uint32_t at : model.invocations_of(row)) busy += model.invocations[at].end - model.invocations[at].start;
//   }
// All that is here is what was recorded; what follows from it by rule (a parent for an orphan, an inferred wake) is made
// by normalise() (normalised.hpp) and marked there.
//
// A reference is a row number, or kNone. A resource that was mentioned, and whose creation is not in the trace, has a row
// too: without kCreated, with nothing known but its id and, perhaps, its root.
// Layer: model (includes formats/ and below).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/model/text_arena.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Bits of a resource. A time, lane, outcome or settler means nothing where its bit is not set.
enum class ResourceFlag : std::uint16_t {
  kCreated = 1 << 0,
  kSettled = 1 << 1,    ///< with an outcome other than kResolved
  kDestroyed = 1 << 2,
};

/// From rows of one table to rows of another: the rows of `of` are items[first[of]] .. items[first[of + 1]].
struct RowIndex {
  std::vector<std::uint32_t> first;
  std::vector<std::uint32_t> items;

  [[nodiscard]] std::span<const std::uint32_t> operator[](std::uint32_t of) const noexcept {
    return {items.data() + first[of], first[of + 1] - first[of]};
  }
  /// Groups rows 0 .. rows-1 by group_of(row) < groups (others are left out); within a group they keep their order.
  template <class GroupOf>
  void build(std::size_t groups, std::size_t rows, GroupOf&& group_of) {
    first.assign(groups + 1, 0);
    items.clear();
    std::size_t kept = 0;
    for (std::uint32_t row = 0; row < rows; ++row) {
      const std::uint32_t group = group_of(row);
      if (group >= groups) continue;
      ++first[group + 1];
      ++kept;
    }
    for (std::size_t group = 0; group < groups; ++group) first[group + 1] += first[group];
    items.resize(kept);
    std::vector<std::uint32_t> next(first.begin(), first.end());
    for (std::uint32_t row = 0; row < rows; ++row) {
      const std::uint32_t group = group_of(row);
      if (group < groups) items[next[group]++] = row;
    }
  }
};

/// The tables. Everybody may read them; they are made by ModelBuilder.
///   Shape     about 64 bytes a resource, 48 an invocation, 24 to 48 any other record, and the texts once each.
///   Threads   any number of readers.
///   Lifetime  movable; views of texts stay valid when it is moved.
class TraceModel {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  using Text = TextArena::Id;

  // -- what the trace is made of --------------------------------------------------------------------------------------

  /// One traced process: a file may hold several.
  struct Source {
    std::uint64_t salt = 0;
    std::int32_t process_id = 0;
    Text process_name = 0;
    Text overflow_policy = 0;
    Text clock = 0;
    Text sampling = 0;
  };
  struct Lane {
    LaneId id = LaneId::kNone;
    std::uint32_t source = 0;
    std::int32_t process_id = 0;
    std::int32_t thread_id = 0;
    Text name = 0;
    bool defined = false;
  };
  struct Counter {
    CounterId id = CounterId::kNone;
    std::uint32_t source = 0;
    Text name = 0;
    Text unit = 0;
  };
  struct Frame {
    FrameKind kind = FrameKind::kSource;
    Text function = 0;
    Text file = 0;
    Text build_id = 0;
    std::uint32_t line = 0;
    std::uint32_t column = 0;
    std::uint64_t pc = 0;
    std::uint64_t relative_pc = 0;
    friend bool operator==(const Frame&, const Frame&) = default;
  };
  struct Stack {
    StackId id = StackId::kNone;
    std::uint32_t source = 0;
    std::uint32_t first = 0;  ///< of `frame_rows`; innermost first
    std::uint32_t count = 0;
    bool defined = false;     ///< false: mentioned, its frames are not in the trace
  };
  struct Root {
    RootId id = RootId::kNone;
    std::uint32_t source = 0;
    std::uint32_t resource = kNone;  ///< the resource that stands for the request
    std::uint32_t finished_lane = kNone;
    std::uint64_t finished = 0;
    std::uint64_t sealed = 0;
    SealReason reason = SealReason::kFinished;
    bool has_finished = false;
    bool has_sealed = false;
  };

  std::vector<Source> sources;
  std::vector<Lane> lanes;
  std::vector<Counter> counters;
  std::vector<Frame> frames;
  std::vector<std::uint32_t> frame_rows;
  std::vector<Stack> stacks;
  std::vector<Root> roots;
  std::vector<Text> type_names;  ///< by TypeId; 0: that number is not in use
  std::vector<ClockSnapshot> clocks;

  // -- resources, by row ----------------------------------------------------------------------------------------------

  std::vector<std::uint64_t> id;
  std::vector<std::uint64_t> created;
  std::vector<std::uint64_t> settled;
  std::vector<std::uint64_t> destroyed;
  std::vector<std::uint32_t> trigger;         ///< resource
  std::vector<std::uint32_t> root;            ///< roots
  std::vector<std::uint32_t> stack;           ///< stacks: where it was created
  std::vector<std::uint32_t> settler;         ///< resource
  std::vector<std::uint32_t> created_lane;    ///< lanes; kNone: not known
  std::vector<std::uint32_t> settled_lane;
  std::vector<std::uint32_t> destroyed_lane;
  std::vector<std::uint16_t> type;            ///< TypeId; means something where kCreated is set
  std::vector<std::uint16_t> flags;           ///< ResourceFlag, Outcome << 4, Actor << 8

  [[nodiscard]] std::uint32_t resources() const noexcept { return static_cast<std::uint32_t>(id.size()); }
  [[nodiscard]] bool has(std::uint32_t row, ResourceFlag flag) const noexcept {
    return (flags[row] & static_cast<std::uint16_t>(flag)) != 0;
  }
  /// Where a resource was settled, where the host said so: few do. Sorted by resource; see settle_stack.
  struct SettleStack {
    std::uint32_t resource = kNone;
    std::uint32_t stack = kNone;
  };
  std::vector<SettleStack> settle_stacks;

  [[nodiscard]] std::uint32_t settle_stack(std::uint32_t row) const noexcept {
    const auto found = std::lower_bound(settle_stacks.begin(), settle_stacks.end(), row,
                                        [](const SettleStack& a, std::uint32_t wanted) { return a.resource < wanted; });
    return found != settle_stacks.end() && found->resource == row ? found->stack : kNone;
  }
  [[nodiscard]] Outcome outcome(std::uint32_t row) const noexcept { return static_cast<Outcome>(flags[row] >> 4 & 0xf); }
  [[nodiscard]] Actor settled_by(std::uint32_t row) const noexcept { return static_cast<Actor>(flags[row] >> 8 & 0xf); }
  [[nodiscard]] ResourceId id_of(std::uint32_t row) const noexcept {
    return row == kNone ? ResourceId::kNone : static_cast<ResourceId>(id[row]);
  }
  /// kNone: no such resource is mentioned.
  [[nodiscard]] std::uint32_t find(ResourceId resource) const noexcept {
    return resource == ResourceId::kNone ? kNone : by_id.find(number(resource));
  }
  [[nodiscard]] std::string_view type_name(std::uint32_t row) const noexcept {
    return has(row, ResourceFlag::kCreated) ? name_of(static_cast<TypeId>(type[row])) : std::string_view("unknown");
  }
  [[nodiscard]] std::string_view name_of(TypeId number) const noexcept {
    const auto at = static_cast<std::size_t>(number);
    if (at < type_names.size() && type_names[at] != 0) return texts.view(type_names[at]);
    return BuiltinTypes::name(number);
  }

  // -- records --------------------------------------------------------------------------------------------------------

  /// Sorted by start.
  struct Invocation {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::uint32_t resource = kNone;
    std::uint32_t lane = kNone;
    std::uint32_t exit_lane = kNone;  ///< where it ended, if not on `lane` (a coroutine that went on elsewhere)
    std::uint32_t cause_by = kNone;   ///< resource
    std::uint32_t wake = kNone;       ///< wakes: what made it ready
    std::uint32_t stack = kNone;
    CauseKind cause = CauseKind::kUnspecified;
    bool ended = false;               ///< `end` is known
  };
  /// Made runnable. Sorted by time.
  struct Wake {
    std::uint64_t time = 0;
    std::uint32_t resource = kNone;
    std::uint32_t lane = kNone;
    std::uint32_t by = kNone;          ///< resource
    std::uint32_t invocation = kNone;  ///< that began next; kNone: none did, or another wake came first
    Actor actor = Actor::kUnknown;
  };
  /// Sorted by time.
  struct Link {
    std::uint64_t time = 0;
    std::uint32_t effect = kNone;
    std::uint32_t cause = kNone;
    std::uint32_t lane = kNone;
    std::uint32_t stack = kNone;
    LinkKind kind = LinkKind::kAwaits;
  };
  /// Sorted by resource; of one resource in the order in which they came.
  struct Note {
    std::uint32_t resource = kNone;
    Text key = 0;
    std::uint64_t bits = 0;   ///< of a number; see value_of
    std::string_view text;    ///< of a string
    ValueKind kind = ValueKind::kString;
    bool cut = false;
  };
  /// Parked, unparked, a pause that began or ended. Sorted by time.
  struct LaneEvent {
    std::uint64_t time = 0;
    std::uint32_t lane = kNone;
    EventKind kind = EventKind::kParked;
    PauseKind pause = PauseKind::kOther;
  };
  struct CounterSample {
    std::uint64_t time = 0;
    std::uint64_t bits = 0;
    std::uint32_t counter = kNone;
    std::uint32_t lane = kNone;
    ValueKind kind = ValueKind::kUint;
  };
  /// A sampler saw the lane at a stack. Sorted by time.
  struct Sample {
    std::uint64_t time = 0;
    std::uint32_t lane = kNone;
    std::uint32_t stack = kNone;
    std::uint32_t resource = kNone;
    SampleKind kind = SampleKind::kCpu;
  };
  struct Loss {
    std::uint32_t lane = kNone;
    std::uint64_t count = 0;
    std::uint64_t first = 0;
    std::uint64_t last = 0;
  };
  /// An event for which the tables have no place: a resolving before the settling, a second settling, an exit whose enter
  /// was lost. Kept as it was. Sorted by time.
  struct Extra {
    std::uint64_t time = 0;
    std::uint32_t resource = kNone;
    std::uint32_t other = kNone;
    std::uint32_t lane = kNone;
    std::uint32_t stack = kNone;
    std::uint32_t root = kNone;
    std::uint16_t type = 0;
    EventKind kind = EventKind::kPayload;
    std::uint8_t flags = 0;
  };

  std::vector<Invocation> invocations;
  std::vector<Wake> wakes;
  std::vector<Link> links;
  std::vector<Note> notes;
  std::vector<LaneEvent> lane_events;
  std::vector<CounterSample> counter_samples;
  std::vector<Sample> samples;
  std::vector<Loss> losses;
  std::vector<Extra> extras;

  [[nodiscard]] static Value value_of(ValueKind kind, std::uint64_t bits, std::string_view text = {}, bool cut = false) noexcept {
    switch (kind) {
      case ValueKind::kString: return Value::of(text, cut);
      case ValueKind::kInt: return Value::of(static_cast<std::int64_t>(bits));
      case ValueKind::kUint: return Value::of(bits);
      case ValueKind::kDouble: return Value::of(std::bit_cast<double>(bits));
      case ValueKind::kBool: return Value::of(bits != 0);
    }
    return Value::of(bits);
  }
  [[nodiscard]] static std::uint64_t bits_of(const Value& value) noexcept {
    switch (value.kind) {
      case ValueKind::kString: return 0;
      case ValueKind::kInt: return static_cast<std::uint64_t>(value.integer);
      case ValueKind::kUint: return value.uinteger;
      case ValueKind::kDouble: return std::bit_cast<std::uint64_t>(value.real);
      case ValueKind::kBool: return value.boolean ? 1 : 0;
    }
    return 0;
  }
  [[nodiscard]] static Value value_of(const Note& note) noexcept {
    return value_of(note.kind, note.bits, note.text, note.cut);
  }

  // -- totals ---------------------------------------------------------------------------------------------------------

  struct LaneTotals {
    std::uint32_t lane = kNone;
    std::uint64_t events = 0;
    LossRange lost;
    MisuseCounts misuse;
    std::uint64_t ring_bytes = 0;
  };
  std::vector<LaneTotals> lane_totals;
  TraceSummary summary;  ///< `lanes` is empty: see lane_totals. Only said by a trace that was ended in order
  bool has_summary = false;

  /// What the records themselves had wrong with them.
  struct Quality {
    std::uint64_t events = 0;           ///< that were taken
    std::uint64_t unknown_creations = 0;///< resources that are mentioned and were not seen created
    std::uint64_t repeated = 0;         ///< created, settled, destroyed or finished a second time: in `extras`
    std::uint64_t exits_unmatched = 0;  ///< in `extras`
    std::uint64_t unended = 0;          ///< invocations whose end is not known
    std::uint64_t malformed = 0;        ///< events without what their kind needs: not kept
    std::uint64_t types_refused = 0;    ///< more types than have numbers: shown as "other"
    std::uint64_t stacks_missing = 0;   ///< mentioned, never defined
  } quality;

  std::uint64_t first_time = 0;  ///< of all records; 0 and 0 in an empty trace
  std::uint64_t last_time = 0;

  // -- indexes --------------------------------------------------------------------------------------------------------

  RowIndex invocations_by_resource;  ///< in order of their start
  RowIndex invocations_by_lane;      ///< group lanes.size(): those whose lane is not known
  RowIndex wakes_by_resource;
  RowIndex links_by_effect;
  RowIndex resources_by_root;        ///< group roots.size(): those without a root
  std::vector<std::uint32_t> note_first;  ///< notes of `row`: note_first[row] .. note_first[row + 1]

  /// From a resource's id to its row: a table for small ids, a map for others.
  class IdIndex {
   public:
    [[nodiscard]] std::uint32_t find(std::uint64_t key) const noexcept {
      if (key < dense_.size() && dense_[key] != kNone) return dense_[key];
      return rest_.size() == 0 ? kNone : rest_.find(key);
    }
    /// `key` is not 0 and not there yet.
    void insert(std::uint64_t key, std::uint32_t row) {
      ++size_;
      if (key < dense_.size()) {
        dense_[key] = row;
      } else if (key < kAlwaysDense || key / 4 < size_) {
        std::size_t size = dense_.size() < 1024 ? 1024 : dense_.size() + dense_.size() / 2;
        if (size <= key) size = static_cast<std::size_t>(key) + 1;
        dense_.resize(size, kNone);
        dense_[key] = row;
      } else {
        rest_.insert(key, row);
      }
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    void clear() noexcept {
      dense_.clear();
      rest_.clear();
      size_ = 0;
    }

   private:
    static constexpr std::uint64_t kAlwaysDense = std::uint64_t{1} << 16;
    std::vector<std::uint32_t> dense_;
    IdMap rest_;
    std::size_t size_ = 0;
  };
  IdIndex by_id;

  [[nodiscard]] std::span<const std::uint32_t> invocations_of(std::uint32_t row) const noexcept {
    return invocations_by_resource[row];
  }
  [[nodiscard]] std::span<const Note> notes_of(std::uint32_t row) const noexcept {
    return {notes.data() + note_first[row], note_first[row + 1] - note_first[row]};
  }
  [[nodiscard]] std::span<const std::uint32_t> frames_of(std::uint32_t stack_row) const noexcept {
    const Stack& which = stacks[stack_row];
    return {frame_rows.data() + which.first, which.count};
  }
  [[nodiscard]] std::string_view text(Text which) const noexcept { return texts.view(which); }

  TextArena texts;
};

}  // namespace THENCE_ABI
}  // namespace thence
