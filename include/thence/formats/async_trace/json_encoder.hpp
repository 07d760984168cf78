// SPDX-License-Identifier: MIT
// json_encoder.hpp: the async-trace JSON format, one document a request, handed out when the request is sealed.
//
// The format's own members come first and mean what they always meant: nanoseconds from the root's start, 0 where a thing
// did not happen, the root is asyncId 1. What they cannot say stands in further members, which an older reader skips and
// in which what is not known is absent (docs/formats.md; docs/async-trace.schema.json):
//   struct Files {
//     FileSink open(thence::RootId root, std::uint64_t ordinal);     // any ByteSink; destroyed when the document is whole
//   };
//   Files files;
//   thence::JsonEncoder encoder{files};                              // an EventSink
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/loss_by_lane.hpp"
#include "thence/formats/trace_stacks.hpp"
#include "thence/formats/words.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"
#include "thence/wire/json_writer.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Gives a sink for each document: of root `root`, the `ordinal`-th that began (from 1). The sink is destroyed when the
/// document is whole, after finish() where it has one; that returns whether all went well.
template <class F>
concept DocumentFactory = requires(F& factory, RootId root, std::uint64_t ordinal) {
  requires ByteSink<std::remove_cvref_t<decltype(factory.open(root, ordinal))>>;
};

struct JsonOptions {
  /// Whether what belongs to no request is kept and written at the end, as a document of its own (RootId::kNone, ordinal
  /// 0). If not, it is counted; if so, it takes memory for as long as the trace runs.
  bool write_rootless = false;
  /// Records (resources, invocations, links, annotations ...) of one document; what is beyond is counted in it, not kept.
  std::size_t max_records = std::size_t{1} << 20;
  /// Bytes of annotations of one document; likewise.
  std::size_t max_text_bytes = std::size_t{64} << 20;
  /// Stacks kept for all documents; a resource whose stack is beyond says that it is missing.
  std::size_t max_stack_bytes = std::size_t{64} << 20;
};

/// Assembles each request and writes it when it is sealed.
///   Shape     the records of the requests that are open; memory of a sealed one serves the next.
///   Threads   one at a time.
///   Cost      O(1) an event; O(n log n) a document.
///   When full see JsonOptions: counted, in the document itself.
///   Errors    std::bad_alloc. A sink that refuses: failures().
///   Lifetime  the factory outlives it; `end` writes what is still open.
template <DocumentFactory Factory>
class JsonEncoder {
 public:
  using Options = JsonOptions;
  static constexpr int kFormatVersion = 1;

  explicit JsonEncoder(Factory& factory, const Options& options = {})
      : factory_(&factory), options_(options), stacks_(options.max_stack_bytes) {}
  JsonEncoder(const JsonEncoder&) = delete;
  JsonEncoder& operator=(const JsonEncoder&) = delete;

  void begin(const TraceInfo& info) {
    salt_ = info.salt;
    process_id_ = info.process_id;
    process_name_ = info.process_name;
    overflow_policy_ = info.overflow_policy;
    clock_ = info.clock;
    sampling_ = info.sampling;
  }
  void define_lane(const LaneInfo& info) {
    for (LaneName& lane : lanes_) {
      if (lane.id == info.id) {
        lane = {info.id, info.process_id, info.thread_id, std::string(info.name)};
        return;
      }
    }
    lanes_.push_back({info.id, info.process_id, info.thread_id, std::string(info.name)});
  }
  void define_type(TypeId type, std::string_view name) {
    const auto index = static_cast<std::size_t>(type);
    if (index >= type_names_.size()) type_names_.resize(index + 1);
    type_names_[index] = name;
  }
  void define_counter(CounterId, std::string_view, std::string_view) noexcept {}
  void define_stack(const StackInfo& stack) { stacks_.define(stack); }
  void synchronise(const ClockSnapshot& clocks) noexcept { last_clocks_ = clocks; }
  void flush() noexcept {}

  void take(View<const TraceEvent> events) {
    for (const TraceEvent& event : events) take_one(event);
  }

  void end(const TraceSummary&) {
    // In the order in which they began.
    for (;;) {
      std::uint32_t first = kNone;
      for (std::uint32_t at = 0; at < documents_.size(); ++at) {
        if (documents_[at].used && !documents_[at].rootless &&
            (first == kNone || documents_[at].ordinal < documents_[first].ordinal)) {
          first = at;
        }
      }
      if (first == kNone) break;
      write(documents_[first]);
      release(first);
    }
    for (std::uint32_t at = 0; at < documents_.size(); ++at) {
      if (!documents_[at].used) continue;
      write(documents_[at]);
      release(at);
    }
  }

  [[nodiscard]] std::uint64_t documents() const noexcept { return documents_written_; }
  /// Documents that their sink did not take whole.
  [[nodiscard]] std::uint64_t failures() const noexcept { return failures_; }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return bytes_written_; }
  [[nodiscard]] std::size_t open_roots() const noexcept { return by_root_.size(); }
  /// Created without a request.
  [[nodiscard]] std::uint64_t rootless_resources() const noexcept { return rootless_resources_; }
  /// Events without the data that their kind needs.
  [[nodiscard]] std::uint64_t malformed() const noexcept { return malformed_; }

 private:
  static constexpr std::uint32_t kNone = IdMap::kAbsent;

  struct LaneName {
    LaneId id;
    std::int32_t process_id;
    std::int32_t thread_id;
    std::string name;
  };

  /// One act on a resource: when, on which lane, by whom.
  struct Act {
    bool known = false;
    Actor actor = Actor::kUnknown;
    std::uint32_t lane = 0;
    std::uint64_t at = 0;
    std::uint64_t by = 0;
  };

  struct Wake {
    Act act;
    std::uint32_t next = kNone;
  };

  struct Invocation {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint64_t cause_by = 0;
    Act ready;
    std::uint32_t lane = 0;
    std::uint32_t exit_lane = 0;
    std::uint32_t next = kNone;
    std::uint32_t previous = kNone;
    StackId stack = StackId::kNone;
    CauseKind cause = CauseKind::kUnspecified;
    bool ended = false;
    bool begun = true;  // false: an exit whose enter was lost
  };

  struct Resource {
    std::uint64_t id = 0;
    std::uint64_t trigger = 0;
    std::uint64_t first_heard = 0;
    Act created;
    Act settled;
    Act resolved;
    Act destroyed;
    Act finished;
    Act woken;
    Life life;
    Outcome outcome = Outcome::kUnknown;
    StackId stack = StackId::kNone;
    std::uint32_t further_settles = 0;
    std::uint32_t first_invocation = kNone;
    std::uint32_t last_invocation = kNone;
    std::uint32_t first_wake = kNone;  // wakes after which no invocation came
    std::uint32_t last_wake = kNone;
    std::uint32_t async_id = 0;
  };

  struct Link {
    LinkKind kind;
    std::uint32_t lane;
    std::uint64_t at;
    std::uint64_t effect;
    std::uint64_t cause;
  };

  struct Note {
    std::uint64_t resource;
    std::size_t key;
    std::size_t key_length;
    std::size_t text;
    std::size_t text_length;
    std::uint64_t bits;
    ValueKind kind;
    bool cut;
  };

  struct Document {
    RootId root = RootId::kNone;
    std::uint64_t ordinal = 0;
    bool used = false;
    bool rootless = false;
    std::uint64_t first_heard = 0;
    std::uint64_t last_heard = 0;
    std::uint64_t late = 0;
    std::uint64_t not_kept = 0;
    std::uint64_t root_resource = 0;
    bool sealed = false;
    SealReason seal_reason = SealReason::kFinished;
    std::uint64_t sealed_at = 0;
    std::size_t records = 0;
    detail::Vector<Resource> resources;
    detail::Vector<Invocation> invocations;
    detail::Vector<Wake> wakes;
    detail::Vector<Link> links;
    detail::Vector<Note> notes;
    LossByLane losses;
    ByteBuffer text;
    IdMap by_id;
  };

  // -- assembling -----------------------------------------------------------------------------------------------------

  void take_one(const TraceEvent& event) {
    switch (event.kind) {
      case EventKind::kLost: return lost(event);
      case EventKind::kRootSealed: return sealed(event);
      case EventKind::kCounter:
      case EventKind::kParked:
      case EventKind::kUnparked:
      case EventKind::kPauseBegan:
      case EventKind::kPauseEnded:
      case EventKind::kSample:
      case EventKind::kPayload: return;  // of a lane, not of a request
      case EventKind::kCreated:
      case EventKind::kScheduled:
      case EventKind::kEntered:
      case EventKind::kExited:
      case EventKind::kSettled:
      case EventKind::kDestroyed:
      case EventKind::kLinked:
      case EventKind::kAnnotated:
      case EventKind::kRootFinished: break;
    }
    if (event.root == RootId::kNone) {
      if (event.kind == EventKind::kCreated) ++rootless_resources_;
      if (!options_.write_rootless) return;
    }
    if (event.resource == ResourceId::kNone) {
      ++malformed_;
      return;
    }
    Document& document = documents_[document_of(event)];
    document.last_heard = std::max(document.last_heard, ns_of(event.time));
    document.first_heard = std::min(document.first_heard, ns_of(event.time));
    if (event.late) ++document.late;
    if (document.records >= options_.max_records) {
      ++document.not_kept;
      return;
    }
    Resource& resource = resource_of(document, event);
    switch (event.kind) {
      case EventKind::kCreated: return created(document, resource, event);
      case EventKind::kScheduled: return scheduled(document, resource, event);
      case EventKind::kEntered: return entered(document, resource, event);
      case EventKind::kExited: return exited(document, resource, event);
      case EventKind::kSettled: return settled(resource, event);
      case EventKind::kDestroyed:
        if (!resource.destroyed.known || ns_of(event.time) < resource.destroyed.at) resource.destroyed = act(event);
        resource.life.destroyed = true;
        return;
      case EventKind::kLinked:
        ++document.records;
        document.links.push_back({event.link(), lane_number(event), ns_of(event.time), number(event.resource),
                                  number(event.other)});
        return;
      case EventKind::kAnnotated: return annotated(document, event);
      case EventKind::kRootFinished:
        if (!resource.finished.known || ns_of(event.time) < resource.finished.at) resource.finished = act(event);
        resource.life.finished = true;
        document.root_resource = resource.id;
        return;
      default: return;
    }
  }

  [[nodiscard]] static std::uint32_t lane_number(const TraceEvent& event) noexcept {
    return static_cast<std::uint32_t>(number(event.lane));
  }
  [[nodiscard]] static Act act(const TraceEvent& event, Actor actor = Actor::kUnknown) noexcept {
    return {true, actor, lane_number(event), ns_of(event.time), number(event.other)};
  }

  std::uint32_t document_of(const TraceEvent& event) {
    const std::uint64_t key = number(event.root) + 1;
    std::uint32_t index = by_root_.find(key);
    if (index != kNone) return index;
    if (!free_.empty()) {
      index = free_.back();
      free_.pop_back();
    } else {
      index = static_cast<std::uint32_t>(documents_.size());
      documents_.emplace_back();
    }
    Document& document = documents_[index];
    document.used = true;
    document.root = event.root;
    document.rootless = event.root == RootId::kNone;
    document.ordinal = document.rootless ? 0 : ++ordinals_;
    document.first_heard = ns_of(event.time);
    document.last_heard = document.first_heard;
    by_root_.insert(key, index);
    return index;
  }

  void release(std::uint32_t index) {
    Document& document = documents_[index];
    by_root_.erase(number(document.root) + 1);
    document.used = false;
    document.late = document.not_kept = document.root_resource = 0;
    document.sealed = false;
    document.records = 0;
    document.resources.clear();
    document.invocations.clear();
    document.wakes.clear();
    document.links.clear();
    document.notes.clear();
    document.losses.clear();
    document.text.clear();
    document.by_id.clear();
    // One request that was far larger than the others does not keep its memory.
    if (document.resources.capacity() > kKeptRecords || document.invocations.capacity() > kKeptRecords ||
        document.notes.capacity() > kKeptRecords || document.text.capacity() > kKeptRecords * 16) {
      document = Document{};
    }
    free_.push_back(index);
  }

  Resource& resource_of(Document& document, const TraceEvent& event) {
    const std::uint64_t id = number(event.resource);
    const std::uint32_t known = document.by_id.find(id);
    if (known != kNone) return document.resources[known];
    document.by_id.insert(id, static_cast<std::uint32_t>(document.resources.size()));
    ++document.records;
    document.resources.emplace_back();
    Resource& resource = document.resources.back();
    resource.id = id;
    resource.first_heard = ns_of(event.time);
    return resource;
  }

  void created(Document& document, Resource& resource, const TraceEvent& event) {
    if (resource.created.known) {
      ++malformed_;
      return;
    }
    resource.created = act(event);
    resource.trigger = number(event.other);
    resource.stack = event.stack;
    resource.life.type = event.type;
    resource.life.created = true;
    if (!document.rootless && document.root_resource == 0 &&
        (event.type == type_id(ResourceType::kRoot) || event.other == ResourceId::kNone)) {
      document.root_resource = resource.id;
    }
  }

  void scheduled(Document& document, Resource& resource, const TraceEvent& event) {
    if (!resource.woken.known) {
      resource.woken = act(event, event.scheduled_by());
      return;
    }
    add_wake(document, resource, act(event, event.scheduled_by()));
  }
  void add_wake(Document& document, Resource& resource, const Act& wake) {
    const auto index = static_cast<std::uint32_t>(document.wakes.size());
    document.wakes.push_back({wake, kNone});
    ++document.records;
    if (resource.last_wake == kNone) {
      resource.first_wake = index;
    } else {
      document.wakes[resource.last_wake].next = index;
    }
    resource.last_wake = index;
  }

  Invocation& add_invocation(Document& document, Resource& resource) {
    const auto index = static_cast<std::uint32_t>(document.invocations.size());
    document.invocations.emplace_back();
    ++document.records;
    Invocation& invocation = document.invocations.back();
    invocation.previous = resource.last_invocation;
    if (resource.last_invocation == kNone) {
      resource.first_invocation = index;
    } else {
      document.invocations[resource.last_invocation].next = index;
    }
    resource.last_invocation = index;
    return invocation;
  }
  void entered(Document& document, Resource& resource, const TraceEvent& event) {
    const std::uint32_t early = event.late ? exit_without_enter(document, resource, ns_of(event.time)) : kNone;
    Invocation& invocation = early != kNone ? document.invocations[early] : add_invocation(document, resource);
    if (early != kNone) {
      if (invocation.lane != lane_number(event)) invocation.exit_lane = invocation.lane;
      invocation.begun = true;
    }
    invocation.begin = ns_of(event.time);
    invocation.lane = lane_number(event);
    invocation.cause = event.cause();
    invocation.cause_by = number(event.other);
    invocation.stack = event.stack;
    invocation.ready = resource.woken;
    resource.woken = {};
    if (early == kNone) ++resource.life.running;
  }
  /// The first exit after `begin` that was published before its enter.
  [[nodiscard]] std::uint32_t exit_without_enter(const Document& document, const Resource& resource,
                                                 std::uint64_t begin) const noexcept {
    std::uint32_t found = kNone;
    for (std::uint32_t at = resource.first_invocation; at != kNone; at = document.invocations[at].next) {
      const Invocation& invocation = document.invocations[at];
      if (invocation.begun || invocation.end < begin) continue;
      if (found == kNone || invocation.end < document.invocations[found].end) found = at;
    }
    return found;
  }
  void exited(Document& document, Resource& resource, const TraceEvent& event) {
    // The innermost on this lane; else, as a coroutine may go on elsewhere, the innermost on another.
    std::uint32_t found = kNone;
    for (std::uint32_t at = resource.last_invocation; at != kNone; at = document.invocations[at].previous) {
      const Invocation& invocation = document.invocations[at];
      if (invocation.ended) continue;
      if (invocation.lane == lane_number(event)) {
        found = at;
        break;
      }
      if (found == kNone) found = at;
    }
    resource.life.ran = true;
    if (found == kNone) {
      Invocation& invocation = add_invocation(document, resource);
      invocation.begun = false;
      invocation.ended = true;
      invocation.lane = lane_number(event);
      invocation.end = ns_of(event.time);
      return;
    }
    Invocation& invocation = document.invocations[found];
    invocation.ended = true;
    invocation.end = ns_of(event.time);
    if (invocation.lane != lane_number(event)) invocation.exit_lane = lane_number(event);
    if (resource.life.running != 0) --resource.life.running;
  }

  void settled(Resource& resource, const TraceEvent& event) {
    if (event.outcome() == Outcome::kResolved) {
      if (resource.resolved.known) ++resource.further_settles;
      if (!resource.resolved.known || ns_of(event.time) < resource.resolved.at) {
        resource.resolved = act(event, event.settled_by());
      }
      resource.life.resolved = true;
      return;
    }
    if (resource.settled.known) {
      ++resource.further_settles;
      if (resource.settled.at <= ns_of(event.time)) return;  // the first one counts, also where it came late
    }
    resource.settled = act(event, event.settled_by());
    resource.outcome = event.outcome();
    resource.life.settled = true;
  }

  void annotated(Document& document, const TraceEvent& event) {
    if (event.annotation == nullptr) {
      ++malformed_;
      return;
    }
    const Annotation& annotation = *event.annotation;
    const Value& value = annotation.value;
    const bool text = value.kind == ValueKind::kString;
    if (document.text.size() + annotation.key.size() + (text ? value.text.size() : 0) > options_.max_text_bytes) {
      ++document.not_kept;
      return;
    }
    ++document.records;
    Note note{};
    note.resource = number(event.resource);
    note.kind = value.kind;
    note.cut = value.cut;
    note.key = document.text.size();
    note.key_length = annotation.key.size();
    document.text.append(annotation.key);
    note.text = document.text.size();
    switch (value.kind) {
      case ValueKind::kString:
        note.text_length = value.text.size();
        document.text.append(value.text);
        break;
      case ValueKind::kInt: note.bits = static_cast<std::uint64_t>(value.integer); break;
      case ValueKind::kUint: note.bits = value.uinteger; break;
      case ValueKind::kDouble: note.bits = std::bit_cast<std::uint64_t>(value.real); break;
      case ValueKind::kBool: note.bits = value.boolean ? 1 : 0; break;
    }
    document.notes.push_back(note);
  }

  /// What a lane lost may have been of any request that was open then.
  void lost(const TraceEvent& event) {
    if (event.loss == nullptr) {
      ++malformed_;
      return;
    }
    for (Document& document : documents_) {
      if (!document.used || ns_of(event.loss->last) < document.first_heard) continue;
      document.losses.add(event.lane, *event.loss);
    }
  }

  void sealed(const TraceEvent& event) {
    const std::uint32_t index = by_root_.find(number(event.root) + 1);
    if (index == kNone || event.root == RootId::kNone) return;  // nothing was heard of it
    Document& document = documents_[index];
    document.sealed = true;
    document.seal_reason = event.seal_reason();
    document.sealed_at = ns_of(event.time);
    write(document);
    release(index);
  }

  // -- writing --------------------------------------------------------------------------------------------------------

  void write(Document& document) {
    auto sink = factory_->open(document.root, document.ordinal);
    JsonWriter<decltype(sink)> json(sink);
    prepare(document);
    json.begin_object();
    json.member("requestDurationNs", non_negative(relative(end_)));
    json.key("resources");
    json.begin_array();
    if (!root_known_) write_root_placeholder(json);
    for (const std::uint32_t index : order_) {
      json.new_line();
      write_resource(json, document, document.resources[index]);
    }
    json.new_line();
    json.end_array();
    write_stacks(json);
    write_annotations(json, document);
    write_extension(json, document);
    json.end_object();
    json.new_line();
    bool good = json.flush();
    bytes_written_ += json.written();
    if constexpr (requires { { sink.finish() } -> std::convertible_to<bool>; }) good = sink.finish() && good;
    ++documents_written_;
    if (!good) ++failures_;
  }

  /// Numbers the resources and finds the start and the end.
  void prepare(Document& document) {
    order_.clear();
    for (std::uint32_t at = 0; at < document.resources.size(); ++at) order_.push_back(at);
    const auto since = [&](std::uint32_t at) {
      const Resource& resource = document.resources[at];
      return resource.created.known ? resource.created.at : resource.first_heard;
    };
    std::sort(order_.begin(), order_.end(), [&](std::uint32_t a, std::uint32_t b) {
      const bool root_a = document.resources[a].id == document.root_resource;
      const bool root_b = document.resources[b].id == document.root_resource;
      if (root_a != root_b) return root_a;
      return since(a) != since(b) ? since(a) < since(b) : a < b;
    });
    root_known_ = document.root_resource != 0;
    std::uint32_t next = root_known_ ? 1 : 2;
    open_resources_ = 0;
    for (const std::uint32_t at : order_) {
      document.resources[at].async_id = next++;
      if (!document.resources[at].life.ended()) ++open_resources_;
    }
    document_ = &document;
    start_ = document.first_heard;
    start_known_ = false;
    end_ = document.last_heard;
    end_from_ = "last-event";
    if (root_known_) {
      const Resource& root = document.resources[order_.front()];
      if (root.created.known) {
        start_ = root.created.at;
        start_known_ = true;
      }
      if (root.finished.known) {
        end_ = root.finished.at;
        end_from_ = "finished";
      } else if (root.settled.known) {
        end_ = root.settled.at;
        end_from_ = "settled";
      } else if (root.destroyed.known) {
        end_ = root.destroyed.at;
        end_from_ = "destroyed";
      }
    }
    stack_order_.clear();
    stack_numbers_.clear();
  }

  [[nodiscard]] std::int64_t relative(std::uint64_t time) const noexcept { return static_cast<std::int64_t>(time - start_); }
  [[nodiscard]] static std::int64_t non_negative(std::int64_t time) noexcept { return time < 0 ? 0 : time; }

  [[nodiscard]] std::uint32_t async_id_of(std::uint64_t id) const noexcept {
    const std::uint32_t at = id == 0 ? kNone : document_->by_id.find(id);
    return at == kNone ? 0 : document_->resources[at].async_id;
  }

  [[nodiscard]] std::uint32_t stack_number(StackId id) {
    if (id == StackId::kNone || !stacks_.knows(id)) return 0;
    const std::uint32_t known = stack_numbers_.find(number(id));
    if (known != kNone) return known;
    stack_order_.push_back(id);
    const auto index = static_cast<std::uint32_t>(stack_order_.size());
    stack_numbers_.insert(number(id), index);
    return index;
  }

  /// `name`: the resource's number in this document; `name`Ref: its true id, where it is not in this document.
  template <class Json>
  void reference(Json& json, std::string_view name, std::string_view name_elsewhere, std::uint64_t id) {
    if (id == 0) return;
    if (const std::uint32_t here = async_id_of(id); here != 0) {
      json.member(name, here);
    } else {
      json.member(name_elsewhere, id);
    }
  }
  template <class Json>
  void lane_member(Json& json, std::string_view name, std::uint32_t lane) {
    if (lane != 0) json.member(name, lane);
  }

  template <class Json>
  void write_root_placeholder(Json& json) {
    json.new_line();
    json.begin_object();
    write_base(json, 1, 0, "root", 0, 0, 0, 0, 0);
    json.member("placeholder", true);
    json.end_object();
  }

  template <class Json>
  void write_base(Json& json, std::uint32_t async_id, std::uint32_t trigger, std::string_view type, std::uint32_t stack,
                  std::int64_t created, std::int64_t started, std::int64_t ended, std::int64_t destroyed) {
    json.member("asyncId", async_id);
    json.member("triggerId", trigger);
    json.member("type", type);
    json.member("stackTraceId", stack);
    json.member("createdAt", non_negative(created));
    json.member("callbackStartedAt", non_negative(started));
    json.member("callbackEndedAt", non_negative(ended));
    json.member("destroyedAt", non_negative(destroyed));
  }

  template <class Json>
  void write_resource(Json& json, Document& document, Resource& resource) {
    if (resource.woken.known) {  // no invocation came of it
      add_wake(document, resource, resource.woken);
      resource.woken = {};
    }
    std::int64_t started = 0, ended = 0;
    for (std::uint32_t at = resource.first_invocation; at != kNone; at = document.invocations[at].next) {
      const Invocation& invocation = document.invocations[at];
      if (invocation.begun && at == resource.first_invocation) started = relative(invocation.begin);
      if (invocation.ended) ended = std::max(ended, relative(invocation.end));
    }
    const std::int64_t created = resource.created.known ? relative(resource.created.at) : 0;
    json.begin_object();
    write_base(json, resource.async_id, async_id_of(resource.trigger),
               resource.created.known ? type_name(resource.life.type) : std::string_view("unknown"),
               stack_number(resource.stack), created, started, ended,
               resource.destroyed.known ? relative(resource.destroyed.at) : 0);
    json.member("id", resource.id);
    if (!resource.created.known) {
      json.member("creationLost", true);
      json.member("firstHeardAt", relative(resource.first_heard));
    } else {
      lane_member(json, "createdOn", resource.created.lane);
      if (created < 0) json.member("createdBeforeStart", -created);
      if (resource.trigger != 0 && async_id_of(resource.trigger) == 0) json.member("triggerRef", resource.trigger);
      if (resource.stack != StackId::kNone && !stacks_.knows(resource.stack)) json.member("stackMissing", true);
    }
    if (!resource.life.ended()) json.member("open", true);
    if (resource.resolved.known) {
      json.member("resolvedAt", relative(resource.resolved.at));
      json.member("resolvedBy", word(resource.resolved.actor));
      lane_member(json, "resolvedOn", resource.resolved.lane);
      reference(json, "resolver", "resolverRef", resource.resolved.by);
    }
    if (resource.settled.known) {
      json.member("settledAt", relative(resource.settled.at));
      json.member("outcome", word(resource.outcome));
      json.member("settledBy", word(resource.settled.actor));
      lane_member(json, "settledOn", resource.settled.lane);
      reference(json, "settler", "settlerRef", resource.settled.by);
    }
    if (resource.further_settles != 0) json.member("furtherSettles", resource.further_settles);
    if (resource.finished.known) json.member("finishedAt", relative(resource.finished.at));
    if (resource.destroyed.known) {
      json.member("destroyed", true);
      lane_member(json, "destroyedOn", resource.destroyed.lane);
    }
    write_invocations(json, document, resource);
    if (resource.first_wake != kNone) {
      json.key("wakes");
      json.begin_array();
      for (std::uint32_t at = resource.first_wake; at != kNone; at = document.wakes[at].next) {
        const Act& wake = document.wakes[at].act;
        json.begin_object();
        json.member("at", relative(wake.at));
        lane_member(json, "lane", wake.lane);
        json.member("by", word(wake.actor));
        reference(json, "waker", "wakerRef", wake.by);
        json.end_object();
      }
      json.end_array();
    }
    json.end_object();
  }

  template <class Json>
  void write_invocations(Json& json, const Document& document, const Resource& resource) {
    if (resource.first_invocation == kNone) return;
    json.key("invocations");
    json.begin_array();
    for (std::uint32_t at = resource.first_invocation; at != kNone; at = document.invocations[at].next) {
      const Invocation& invocation = document.invocations[at];
      json.begin_object();
      lane_member(json, "lane", invocation.lane);
      if (invocation.begun) json.member("startedAt", relative(invocation.begin));
      if (invocation.ended) json.member("endedAt", relative(invocation.end));
      lane_member(json, "exitLane", invocation.exit_lane);
      if (invocation.ready.known) {
        json.member("readyAt", relative(invocation.ready.at));
        json.member("readyBy", word(invocation.ready.actor));
        lane_member(json, "readyOn", invocation.ready.lane);
        reference(json, "waker", "wakerRef", invocation.ready.by);
      }
      if (invocation.cause != CauseKind::kUnspecified) json.member("cause", word(invocation.cause));
      reference(json, "causeBy", "causeByRef", invocation.cause_by);
      if (const std::uint32_t stack = stack_number(invocation.stack); stack != 0) json.member("stackTraceId", stack);
      json.end_object();
    }
    json.end_array();
  }

  [[nodiscard]] std::string_view type_name(TypeId type) const noexcept {
    const auto index = static_cast<std::size_t>(type);
    if (index < type_names_.size() && !type_names_[index].empty()) return type_names_[index];
    return BuiltinTypes::name(type);
  }

  template <class Json>
  void write_stacks(Json& json) {
    json.new_line();
    json.key("stackTraces");
    json.begin_array();
    json.new_line();
    json.begin_object();  // what a resource without a stack refers to
    json.member("id", 0);
    json.key("frames");
    json.begin_array();
    json.end_array();
    json.end_object();
    for (std::size_t at = 0; at < stack_order_.size(); ++at) {
      json.new_line();
      json.begin_object();
      json.member("id", at + 1);
      json.key("frames");
      json.begin_array();
      bool plain = true;
      for (const std::uint32_t index : stacks_.frames_of(stack_order_[at])) {
        const StoredFrame& frame = stacks_.frame(index);
        line_.clear();
        append_frame(frame);
        json.value(std::string_view(line_));
        plain = plain && frame.kind == FrameKind::kScript && frame.function != 0 && frame.file != 0;
      }
      json.end_array();
      if (!plain) write_frame_details(json, stack_order_[at]);
      json.end_object();
    }
    json.new_line();
    json.end_array();
  }
  void append_frame(const StoredFrame& frame) {
    line_ += frame.function == 0 ? std::string_view("(unknown)") : stacks_.string(frame.function);
    line_ += " @ ";
    line_ += frame.file == 0 ? std::string_view("(unknown)") : stacks_.string(frame.file);
    line_ += ':';
    append_number(frame.line);
    line_ += ':';
    append_number(frame.column);
  }
  void append_number(std::uint64_t value) {
    char digits[20];
    const char* const end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    line_.append(digits, static_cast<std::size_t>(end - digits));
  }
  template <class Json>
  void write_frame_details(Json& json, StackId id) {
    json.key("frameDetails");
    json.begin_array();
    for (const std::uint32_t index : stacks_.frames_of(id)) {
      const StoredFrame& frame = stacks_.frame(index);
      json.begin_object();
      json.member("kind", word(frame.kind));
      if (frame.function == 0) json.member("functionUnknown", true);
      if (frame.file == 0) json.member("fileUnknown", true);
      if (frame.kind == FrameKind::kNative) {
        json.member("pc", frame.pc);
        json.member("relativePc", frame.relative_pc);
        if (frame.build_id != 0) json.member("buildId", stacks_.string(frame.build_id));
      }
      json.end_object();
    }
    json.end_array();
  }

  template <class Json>
  void write_annotations(Json& json, const Document& document) {
    json.new_line();
    json.key("annotations");
    json.begin_array();
    const std::string_view all = document.text.text();
    for (const Note& note : document.notes) {
      json.new_line();
      json.begin_object();
      json.member("asyncId", async_id_of(note.resource));
      json.member("key", all.substr(note.key, note.key_length));
      json.key("value");
      switch (note.kind) {
        case ValueKind::kString: json.value(all.substr(note.text, note.text_length)); break;
        case ValueKind::kInt: typed(json, note, static_cast<std::int64_t>(note.bits)); break;
        case ValueKind::kUint: typed(json, note, note.bits); break;
        case ValueKind::kDouble: typed(json, note, std::bit_cast<double>(note.bits)); break;
        case ValueKind::kBool:
          json.value(note.bits != 0 ? "true" : "false");
          json.member("valueType", word(note.kind));
          json.member("typedValue", note.bits != 0);
          break;
      }
      if (note.cut) json.member("cut", true);
      json.end_object();
    }
    json.new_line();
    json.end_array();
  }
  template <class Json, class N>
  void typed(Json& json, const Note& note, N value) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    json.value(text_at(digits, static_cast<std::size_t>(end - digits)));
    json.member("valueType", word(note.kind));
    if constexpr (std::same_as<N, double>) {
      if (!__builtin_isfinite(value)) return;  // JSON has no such number: the string says it
    }
    json.member("typedValue", value);
  }

  template <class Json>
  void write_extension(Json& json, const Document& document) {
    json.new_line();
    json.key("thence");
    json.begin_object();
    json.member("version", kFormatVersion);
    if (document.rootless) {
      json.member("rootless", true);
    } else {
      json.member("rootId", number(document.root));
    }
    std::array<char, 16> salt{};
    for (std::size_t at = 0; at < salt.size(); ++at) salt[at] = "0123456789abcdef"[salt_ >> (60 - 4 * at) & 15];
    json.member("salt", text_at(salt.data(), salt.size()));
    json.member("processId", process_id_);
    json.member("processName", std::string_view(process_name_));
    json.member("clock", std::string_view(clock_));
    json.member("sampling", std::string_view(sampling_));
    json.member("overflowPolicy", std::string_view(overflow_policy_));
    json.member("startBoottimeNs", start_);
    if (last_clocks_.realtime != 0 && last_clocks_.boottime != 0) {
      json.member("startUnixNs", last_clocks_.realtime + (start_ - last_clocks_.boottime));
    }
    if (!start_known_) json.member("startUnknown", true);
    json.member("durationFrom", end_from_);
    if (document.sealed) {
      json.member("sealReason", word(document.seal_reason));
      json.member("sealedAt", relative(document.sealed_at));
    }
    json.member("openResources", open_resources_);
    json.member("lateEvents", document.late);
    json.member("notKept", document.not_kept);
    json.key("lanes");
    json.begin_array();
    for (const LaneName& lane : lanes_) {
      json.begin_object();
      json.member("id", number(lane.id));
      json.member("processId", lane.process_id);
      json.member("threadId", lane.thread_id);
      json.member("name", std::string_view(lane.name));
      json.end_object();
    }
    json.end_array();
    json.key("lost");
    json.begin_array();
    for (const LossByLane::Lost& loss : document.losses.all()) {
      json.begin_object();
      json.member("lane", number(loss.lane));
      json.member("count", loss.range.count);
      json.member("firstAt", relative(ns_of(loss.range.first)));
      json.member("lastAt", relative(ns_of(loss.range.last)));
      json.end_object();
    }
    json.end_array();
    json.key("links");
    json.begin_array();
    for (const Link& link : document.links) {
      json.begin_object();
      json.member("kind", word(link.kind));
      reference(json, "effect", "effectRef", link.effect);
      reference(json, "cause", "causeRef", link.cause);
      json.member("at", relative(link.at));
      lane_member(json, "lane", link.lane);
      json.end_object();
    }
    json.end_array();
    json.end_object();
  }

  static constexpr std::size_t kKeptRecords = 64 * 1024;

  Factory* factory_;
  Options options_;
  TraceStacks stacks_;
  std::uint64_t salt_ = 0;
  std::int32_t process_id_ = 0;
  std::string process_name_, overflow_policy_, clock_, sampling_;
  ClockSnapshot last_clocks_;
  detail::Vector<LaneName> lanes_;
  detail::Vector<std::string> type_names_;
  detail::Vector<Document> documents_;
  detail::Vector<std::uint32_t> free_;
  IdMap by_root_;
  std::uint64_t ordinals_ = 0;
  std::uint64_t documents_written_ = 0;
  std::uint64_t failures_ = 0;
  std::uint64_t bytes_written_ = 0;
  std::uint64_t rootless_resources_ = 0;
  std::uint64_t malformed_ = 0;
  // For the document that is being written.
  const Document* document_ = nullptr;
  detail::Vector<std::uint32_t> order_;
  detail::Vector<StackId> stack_order_;
  IdMap stack_numbers_;
  std::string line_;
  std::uint64_t start_ = 0;
  std::uint64_t end_ = 0;
  std::string_view end_from_;
  std::uint64_t open_resources_ = 0;
  bool start_known_ = false;
  bool root_known_ = false;
};

}  // namespace THENCE_ABI
}  // namespace thence
