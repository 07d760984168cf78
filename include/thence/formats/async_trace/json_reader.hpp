// SPDX-License-Identifier: MIT
// json_reader.hpp: reads the async-trace JSON format: anybody's documents, and all that JsonEncoder adds to them.
//
//   thence::ModelBuilder model;
//   thence::AsyncTraceReader reader{model};
//   reader.feed(bytes); ...                   // in pieces of any size
//   if (!reader.finish()) ...                 // reader.damage()
// A plain document is handed over resource by resource as it is read, in the order of the file. 0 is absence, as the format
// says, but for the root's start. Nothing is inferred here: a lane, a cause, a settling that the document does not tell is
// unknown in the events (model/normalised.hpp infers, and says so).
// A document with our members names its request at its end and refers to resources that come later, so it is held back, in
// some 56 bytes a record, until it is whole; JsonEncoder bounds what one document may hold.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/ids.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/json_tokens.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/formats/words.hpp"
#include "thence/wire/damage.hpp"
#include "thence/wire/json_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct AsyncTraceReaderOptions {
  /// The request's number in a document that does not say it.
  RootId root = RootId{1};
  /// Added to the document's own stack numbers, so that those of several documents of one process do not meet.
  std::uint32_t first_stack = 1;
  /// Records held back of a document with our members. One with more is damage.
  std::size_t max_held = std::size_t{1} << 24;
  JsonReaderOptions json = {};
};

namespace detail {

/// What may stand as a member's value.
enum class JsonField : std::uint8_t { kId, kUint, kUint32, kInt, kText, kBool, kAny, kTexts, kObjects, kObject };

struct JsonMember {
  std::string_view name;
  JsonField what;
  std::uint8_t part = 0;  // kObjects, kObject: of what
};

}  // namespace detail

/// Reads one document.
///   Shape     one resource of a plain document; of one with our members, its records.
///   Threads   one.
///   Cost      O(bytes).
///   When full see the options.
///   Errors    damage(); std::bad_alloc.
///   Lifetime  the sink outlives it.
template <EventSink Sink>
class AsyncTraceReader {
 public:
  using Options = AsyncTraceReaderOptions;

  explicit AsyncTraceReader(Sink& sink, const Options& options = {})
      : out_(sink), options_(options), json_(options.json), next_stack_(options.first_stack) {}
  AsyncTraceReader(const AsyncTraceReader&) = delete;
  AsyncTraceReader& operator=(const AsyncTraceReader&) = delete;

  bool feed(std::span<const std::byte> bytes) {
    if (json_.damage()) return false;
    json_.feed(bytes);
    return pump();
  }
  bool finish() {
    if (ended_) return !json_.damage();
    json_.finish();
    if (!json_.damage()) pump();
    ended_ = true;
    release();
    finish_root();
    out_.sink().end(TraceSummary{});
    return !json_.damage();
  }

  [[nodiscard]] const Damage& damage() const noexcept { return json_.damage(); }
  [[nodiscard]] std::uint64_t events() const noexcept { return out_.events() + held_.size() + held_notes_.size(); }
  /// Behind the stack numbers that were used: where those of a further document of the same process may begin.
  [[nodiscard]] std::uint32_t next_stack() const noexcept { return next_stack_; }

 private:
  using Field = detail::JsonField;
  using Member = detail::JsonMember;

  enum Part : std::uint8_t {
    kDocument, kResource, kInvocation, kWake, kStack, kFrame, kNote, kExtension, kLane, kLoss, kLink, kParts
  };

  enum DocumentMember { kDuration, kResources, kStackTraces, kAnnotations, kThence };
  enum ResourceMember {
    kAsyncId, kTriggerId, kType, kStackTraceId, kCreatedAt, kStartedAt, kEndedAt, kDestroyedAt, kTrueId, kCreationLost,
    kFirstHeardAt, kCreatedOn, kBeforeStart, kTriggerRef, kStackMissing, kOpen, kResolvedAt, kResolvedBy, kResolvedOn,
    kResolver, kResolverRef, kSettledAt, kOutcome, kSettledBy, kSettledOn, kSettler, kSettlerRef, kFurther, kFinishedAt,
    kFinishedOn, kDestroyed, kDestroyedOn, kInvocations, kWakes, kPlaceholder
  };
  enum InvocationMember {
    kInLane, kInStartedAt, kInEndedAt, kInExitLane, kInReadyAt, kInReadyBy, kInReadyOn, kInWaker, kInWakerRef, kInCause,
    kInCauseBy, kInCauseByRef, kInStack
  };
  enum WakeMember { kWakeAt, kWakeLane, kWakeBy, kWaker, kWakerRef };
  enum StackMember { kStackId, kFrames, kFrameDetails };
  enum FrameMember { kFrameKind, kFunctionUnknown, kFileUnknown, kPc, kRelativePc, kBuildId };
  enum NoteMember { kNoteId, kNoteKey, kNoteValue, kNoteType, kNoteTyped, kNoteCut };
  enum ExtensionMember {
    kVersion, kRootless, kRootId, kSalt, kProcessId, kProcessName, kClockName, kSamplingName, kOverflow, kStart, kStartUnix,
    kSealReason, kSealedAt, kLanes, kLost, kLinks
  };
  enum LaneMember { kLaneId, kLaneProcess, kLaneThread, kLaneName };
  enum LossMember { kLossLane, kLossCount, kLossFirst, kLossLast };
  enum LinkMember { kLinkKind, kEffect, kEffectRef, kLinkCause, kLinkCauseRef, kLinkAt, kLinkLane, kLinkStack };

  static std::span<const Member> members_of(Part part) noexcept {
    using enum detail::JsonField;
    static constexpr Member document[] = {{"requestDurationNs", kUint},
                                          {"resources", kObjects, kResource},
                                          {"stackTraces", kObjects, kStack},
                                          {"annotations", kObjects, kNote},
                                          {"thence", kObject, kExtension}};
    static constexpr Member resource[] = {{"asyncId", kId},
                                          {"triggerId", kId},
                                          {"type", kText},
                                          {"stackTraceId", kUint32},
                                          {"createdAt", kUint},
                                          {"callbackStartedAt", kUint},
                                          {"callbackEndedAt", kUint},
                                          {"destroyedAt", kUint},
                                          {"id", kId},
                                          {"creationLost", kBool},
                                          {"firstHeardAt", kInt},
                                          {"createdOn", kUint32},
                                          {"createdBeforeStart", kUint},
                                          {"triggerRef", kId},
                                          {"stackMissing", kBool},
                                          {"open", kBool},
                                          {"resolvedAt", kInt},
                                          {"resolvedBy", kText},
                                          {"resolvedOn", kUint32},
                                          {"resolver", kId},
                                          {"resolverRef", kId},
                                          {"settledAt", kInt},
                                          {"outcome", kText},
                                          {"settledBy", kText},
                                          {"settledOn", kUint32},
                                          {"settler", kId},
                                          {"settlerRef", kId},
                                          {"furtherSettles", kUint},
                                          {"finishedAt", kInt},
                                          {"finishedOn", kUint32},
                                          {"destroyed", kBool},
                                          {"destroyedOn", kUint32},
                                          {"invocations", kObjects, kInvocation},
                                          {"wakes", kObjects, kWake},
                                          {"placeholder", kBool}};
    static constexpr Member invocation[] = {{"lane", kUint32},      {"startedAt", kInt}, {"endedAt", kInt},
                                            {"exitLane", kUint32},  {"readyAt", kInt},   {"readyBy", kText},
                                            {"readyOn", kUint32},   {"waker", kId},      {"wakerRef", kId},
                                            {"cause", kText},       {"causeBy", kId},    {"causeByRef", kId},
                                            {"stackTraceId", kUint32}};
    static constexpr Member wake[] = {{"at", kInt}, {"lane", kUint32}, {"by", kText}, {"waker", kId}, {"wakerRef", kId}};
    static constexpr Member stack[] = {{"id", kUint32}, {"frames", kTexts}, {"frameDetails", kObjects, kFrame}};
    static constexpr Member frame[] = {{"kind", kText}, {"functionUnknown", kBool}, {"fileUnknown", kBool},
                                       {"pc", kUint},   {"relativePc", kUint},      {"buildId", kText}};
    static constexpr Member note[] = {{"asyncId", kId},     {"key", kText},       {"value", kAny},
                                      {"valueType", kText}, {"typedValue", kAny}, {"cut", kBool}};
    static constexpr Member extension[] = {{"version", kUint},       {"rootless", kBool},     {"rootId", kUint},
                                           {"salt", kText},          {"processId", kInt},     {"processName", kText},
                                           {"clock", kText},         {"sampling", kText},     {"overflowPolicy", kText},
                                           {"startBoottimeNs", kUint}, {"startUnixNs", kUint}, {"sealReason", kText},
                                           {"sealedAt", kInt},       {"lanes", kObjects, kLane},
                                           {"lost", kObjects, kLoss}, {"links", kObjects, kLink}};
    static constexpr Member lane[] = {{"id", kUint32}, {"processId", kInt}, {"threadId", kInt}, {"name", kText}};
    static constexpr Member loss[] = {{"lane", kUint32}, {"count", kUint}, {"firstAt", kInt}, {"lastAt", kInt}};
    static constexpr Member link[] = {{"kind", kText},   {"effect", kId}, {"effectRef", kId}, {"cause", kId},
                                      {"causeRef", kId}, {"at", kInt},    {"lane", kUint32},  {"stackTraceId", kUint32}};
    switch (part) {
      case kDocument: return document;
      case kResource: return resource;
      case kInvocation: return invocation;
      case kWake: return wake;
      case kStack: return stack;
      case kFrame: return frame;
      case kNote: return note;
      case kExtension: return extension;
      case kLane: return lane;
      case kLoss: return loss;
      case kLink: return link;
      case kParts: break;
    }
    return {};
  }
  static constexpr std::string_view kOneOf[] = {
      "a document", "a resource", "an invocation", "a wake", "a stack", "a frame", "an annotation", "an object", "a lane",
      "a loss", "a link"};

  /// The members of the object of one kind that is being read.
  struct Values {
    std::uint64_t present = 0;
    std::array<std::uint64_t, 36> bits{};
    std::array<std::uint32_t, 36> text_at{};
    std::array<std::uint32_t, 36> text_size{};
    std::array<ValueKind, 36> kind{};
    std::string text;

    [[nodiscard]] bool has(unsigned member) const noexcept { return (present >> member & 1) != 0; }
    [[nodiscard]] std::uint64_t uint(unsigned member) const noexcept { return has(member) ? bits[member] : 0; }
    [[nodiscard]] std::int64_t integer(unsigned member) const noexcept { return static_cast<std::int64_t>(uint(member)); }
    [[nodiscard]] std::uint32_t uint32(unsigned member) const noexcept { return static_cast<std::uint32_t>(uint(member)); }
    [[nodiscard]] bool yes(unsigned member) const noexcept { return has(member) && bits[member] != 0; }
    [[nodiscard]] std::string_view view(unsigned member) const noexcept {
      return has(member) ? std::string_view(text).substr(text_at[member], text_size[member]) : std::string_view{};
    }
  };

  /// A level of the document that is open.
  struct Level {
    Part part = kDocument;
    bool list = false;      // an array of such parts; else an object
    bool texts = false;     // an array of strings
    std::uint8_t member = 0;  // the key that was read; kUnknownMember: none that is known
  };
  static constexpr std::uint8_t kUnknownMember = 255;

  // -- the document's form --------------------------------------------------------------------------------------------

  bool pump() {
    return detail::take_tokens(json_, out_, [this](JsonToken token) { return take(token); });
  }

  bool reject(std::string_view expected) {
    json_.reject(expected);
    return false;
  }

  bool skip(JsonToken token) {
    json_.skip(token);
    return true;
  }

  bool take(JsonToken token) {
    if (levels_ == 0) {
      if (token != JsonToken::kBeginObject || began_) return reject("an object with \"resources\"");
      began_ = true;
      push(kDocument, false);
      return true;
    }
    Level& level = stack_[levels_ - 1];
    if (level.texts) {
      if (token == JsonToken::kEndArray) {
        --levels_;
        return true;
      }
      if (token != JsonToken::kString) return reject("a frame: \"function @ file:line:column\"");
      frames_at_.push_back(static_cast<std::uint32_t>(frames_.size()));
      frames_ += json_.text();
      return true;
    }
    if (level.list) {
      if (token == JsonToken::kEndArray) {
        --levels_;
        return true;
      }
      if (token != JsonToken::kBeginObject) return reject(kOneOf[level.part]);
      push(level.part, false);
      return true;
    }
    if (token == JsonToken::kKey) {
      level.member = find_member(level);
      return true;
    }
    if (token == JsonToken::kEndObject) {
      const Part part = level.part;
      --levels_;
      return whole(part);
    }
    return value(level, token);
  }

  void push(Part part, bool list, bool texts = false) {
    stack_[levels_++] = {part, list, texts, kUnknownMember};
    if (list || texts) return;
    values_[part].present = 0;
    values_[part].text.clear();
    if (part == kStack) {
      frames_.clear();
      frames_at_.clear();
      details_.clear();
      detail_build_ids_.clear();
    }
    if (part == kResource) {
      callbacks_.clear();
    }
  }

  /// Members mostly come in the same order: the one after the last is tried first.
  std::uint8_t find_member(const Level& level) const {
    const std::span<const Member> members = members_of(level.part);
    const std::string_view name = json_.text();
    const std::size_t guess = level.member == kUnknownMember ? 0 : std::size_t{level.member} + 1;
    if (guess < members.size() && members[guess].name == name) return static_cast<std::uint8_t>(guess);
    for (std::size_t at = 0; at < members.size(); ++at) {
      if (members[at].name == name) return static_cast<std::uint8_t>(at);
    }
    return kUnknownMember;
  }

  bool value(Level& level, JsonToken token) {
    if (level.member == kUnknownMember) return skip(token);
    const Member& member = members_of(level.part)[level.member];
    Values& values = values_[level.part];
    const std::uint8_t at = level.member;
    const auto keep = [&](std::uint64_t bits) {
      values.bits[at] = bits;
      values.present |= std::uint64_t{1} << at;
      return true;
    };
    const auto keep_text = [&] {
      values.text_at[at] = static_cast<std::uint32_t>(values.text.size());
      values.text_size[at] = static_cast<std::uint32_t>(json_.text().size());
      values.text += json_.text();
      return keep(0);
    };
    switch (member.what) {
      case Field::kId: {
        std::uint64_t number = 0;
        if (!whole_number(token, number)) return reject("a whole number, 0 or more");
        if (number >= std::uint64_t{1} << kResourceIdBits) return reject("an id below 281474976710656");
        return keep(number);
      }
      case Field::kUint: {
        std::uint64_t number = 0;
        if (!whole_number(token, number)) return reject("a whole number, 0 or more");
        return keep(number);
      }
      case Field::kUint32: {
        std::uint64_t number = 0;
        if (!whole_number(token, number)) return reject("a whole number, 0 or more");
        if (number >= 0xffff'fff0u) return reject("a number below 4294967280");
        return keep(number);
      }
      case Field::kInt: {
        std::int64_t number = 0;
        if (!integer_number(token, number)) return reject("a whole number");
        return keep(static_cast<std::uint64_t>(number));
      }
      case Field::kText:
        if (token != JsonToken::kString) return reject("a string");
        return keep_text();
      case Field::kBool:
        if (token != JsonToken::kTrue && token != JsonToken::kFalse) return reject("true or false");
        return keep(token == JsonToken::kTrue ? 1 : 0);
      case Field::kAny: return any_value(token, values, at, keep, keep_text);
      case Field::kTexts:
        if (token != JsonToken::kBeginArray) return reject("an array");
        push(level.part, false, true);
        return true;
      case Field::kObjects:
        if (token != JsonToken::kBeginArray) return reject("an array");
        keep(0);
        push(static_cast<Part>(member.part), true);
        return true;
      case Field::kObject:
        if (token != JsonToken::kBeginObject) return reject("an object");
        keep(0);
        push(static_cast<Part>(member.part), false);
        return true;
    }
    return true;
  }

  template <class Keep, class KeepText>
  bool any_value(JsonToken token, Values& values, std::uint8_t at, Keep&& keep, KeepText&& keep_text) {
    values.text_at[at] = values.text_size[at] = 0;  // what is no text is an empty one, whatever the object before had there
    switch (token) {
      case JsonToken::kString: values.kind[at] = ValueKind::kString; return keep_text();
      case JsonToken::kTrue:
      case JsonToken::kFalse: values.kind[at] = ValueKind::kBool; return keep(token == JsonToken::kTrue ? 1 : 0);
      case JsonToken::kNumber: {
        const DecimalNumber& number = json_.number();
        switch (number.kind) {
          case DecimalNumber::Kind::kUint: values.kind[at] = ValueKind::kUint; return keep(number.magnitude);
          case DecimalNumber::Kind::kInt:
            values.kind[at] = ValueKind::kInt;
            return keep(static_cast<std::uint64_t>(number.integer));
          case DecimalNumber::Kind::kDouble: values.kind[at] = ValueKind::kDouble; return keep(std::bit_cast<std::uint64_t>(number.real));
        }
        return true;
      }
      case JsonToken::kNull: return true;
      default: return reject("a string, a number, true or false");
    }
  }

  /// Also 1e3 and 5.0, which some writers make of whole numbers.
  bool whole_number(JsonToken token, std::uint64_t& to) const noexcept {
    if (token != JsonToken::kNumber) return false;
    const DecimalNumber& number = json_.number();
    if (number.kind == DecimalNumber::Kind::kUint) {
      to = number.magnitude;
      return true;
    }
    if (number.kind == DecimalNumber::Kind::kInt || !(number.real >= 0) || number.real >= 18446744073709551616.0) return false;
    to = static_cast<std::uint64_t>(number.real);
    return static_cast<double>(to) == number.real;
  }
  bool integer_number(JsonToken token, std::int64_t& to) const noexcept {
    std::uint64_t magnitude = 0;
    if (token == JsonToken::kNumber && json_.number().kind == DecimalNumber::Kind::kInt) {
      to = json_.number().integer;
      return true;
    }
    if (!whole_number(token, magnitude) || magnitude > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return false;
    to = static_cast<std::int64_t>(magnitude);
    return true;
  }

  template <class E>
  static E word_of(std::string_view text, E last, E unknown) noexcept {
    for (unsigned at = 0; at <= static_cast<unsigned>(last); ++at) {
      if (word(static_cast<E>(at)) == text) return static_cast<E>(at);
    }
    return unknown;
  }
  static Actor actor_of(std::string_view text) noexcept { return word_of(text, Actor::kExternal, Actor::kUnknown); }

  // -- what was read --------------------------------------------------------------------------------------------------

  bool whole(Part part) {
    switch (part) {
      case kDocument: return document();
      case kResource: return resource();
      case kInvocation: return invocation();
      case kWake: return wake();
      case kStack: return stack();
      case kFrame: return frame();
      case kNote: return note();
      case kExtension: return extension();
      case kLane: return lane();
      case kLoss: return loss();
      case kLink: return link();
      case kParts: break;
    }
    return true;
  }

  bool document() {
    if (!values_[kDocument].has(kResources)) return reject("\"resources\" in the document");
    if (!decided_) {  // there were none
      decided_ = true;
      start_streaming();
    }
    return true;
  }

  /// An event as a document tells it: a time from the root's start, and references by the document's numbers.
  struct Held {
    std::int64_t at = 0;
    std::uint64_t resource = 0;
    std::uint64_t other = 0;
    std::uint32_t lane = 0;
    std::uint32_t stack = 0;
    TypeId type = {};
    EventKind kind = EventKind::kPayload;
    std::uint8_t flags = 0;
    bool resource_here = false;  // `resource` is an asyncId
    bool other_here = false;
  };

  /// What our members say of one callback or wake, before the resource that bears it is whole.
  struct Callback {
    Held event = {};
  };

  bool resource() {
    const Values& values = values_[kResource];
    if (!values.has(kAsyncId) || values.uint(kAsyncId) == 0) return reject("\"asyncId\", above 0, in the resource");
    const bool ours = values.has(kTrueId);
    if (!decided_) {
      decided_ = true;
      if (!ours) start_streaming();
    }
    if (values.yes(kPlaceholder)) return true;  // stands for a root of which nothing is known
    const std::uint64_t async_id = values.uint(kAsyncId);
    const std::uint64_t id = ours ? values.uint(kTrueId) : async_id;
    if (id == 0) return reject("\"id\", above 0, in the resource");
    if (!streaming_) {
      if (by_async_id_.find(async_id) == IdMap::kAbsent) {
        by_async_id_.insert(async_id, static_cast<std::uint32_t>(true_ids_.size()));
        true_ids_.push_back(id);
      }
    }
    Held event;
    event.resource = id;
    const auto put = [&](EventKind kind, std::int64_t at) {
      event.kind = kind;
      event.at = at;
      return add(event);
    };
    const auto refer = [&](unsigned here, unsigned elsewhere) {
      event.other_here = values.uint(here) != 0;
      event.other = event.other_here ? values.uint(here) : values.uint(elsewhere);
    };
    const auto clear = [&] {
      event.other = 0;
      event.other_here = false;
      event.lane = event.stack = 0;
      event.flags = 0;
      event.type = {};
    };
    if (!values.yes(kCreationLost)) {
      if (!values.has(kType)) return reject("\"type\" in the resource");
      if (!values.has(kCreatedAt)) return reject("\"createdAt\" in the resource");
      event.type = types_.number_of(values.view(kType));
      refer(kTriggerId, kTriggerRef);
      if (values.has(kStackTraceId)) event.stack = stack_number(values.uint32(kStackTraceId), ours);
      event.lane = values.uint32(kCreatedOn);
      std::int64_t created = values.integer(kCreatedAt);
      if (values.has(kBeforeStart)) created = -values.integer(kBeforeStart);
      if (!put(EventKind::kCreated, created)) return false;
      clear();
    }
    if (ours) {
      if (values.has(kResolvedAt)) {
        event.flags = settle_flags(Outcome::kResolved, actor_of(values.view(kResolvedBy)));
        event.lane = values.uint32(kResolvedOn);
        refer(kResolver, kResolverRef);
        if (!put(EventKind::kSettled, values.integer(kResolvedAt))) return false;
        clear();
      }
      for (Callback& callback : callbacks_) {
        callback.event.resource = id;
        if (!add(callback.event)) return false;
      }
      if (values.has(kSettledAt)) {
        event.flags = settle_flags(word_of(values.view(kOutcome), Outcome::kResolved, Outcome::kUnknown),
                                   actor_of(values.view(kSettledBy)));
        event.lane = values.uint32(kSettledOn);
        refer(kSettler, kSettlerRef);
        if (!put(EventKind::kSettled, values.integer(kSettledAt))) return false;
        clear();
      }
      if (values.has(kFinishedAt)) {
        event.lane = values.uint32(kFinishedOn);
        if (!put(EventKind::kRootFinished, values.integer(kFinishedAt))) return false;
        clear();
      }
      if (!values.yes(kDestroyed)) return true;
      event.lane = values.uint32(kDestroyedOn);
      return put(EventKind::kDestroyed, values.integer(kDestroyedAt));
    }
    // 0 did not happen, but that the root begins at 0.
    const bool root = id == 1 || event_is_root(values.view(kType));
    if (root && root_resource_ == 0) root_resource_ = id;
    if (values.uint(kStartedAt) != 0 || root) {
      if (!put(EventKind::kEntered, values.integer(kStartedAt))) return false;
    }
    if (values.uint(kEndedAt) != 0 && !put(EventKind::kExited, values.integer(kEndedAt))) return false;
    if (values.uint(kDestroyedAt) != 0 && !put(EventKind::kDestroyed, values.integer(kDestroyedAt))) return false;
    return true;
  }
  static bool event_is_root(std::string_view type) noexcept {
    return type == kResourceTypeNames[static_cast<unsigned>(ResourceType::kRoot)];
  }
  static std::uint8_t settle_flags(Outcome outcome, Actor actor) noexcept {
    return static_cast<std::uint8_t>(static_cast<unsigned>(outcome) | static_cast<unsigned>(actor) << 4);
  }

  /// Our documents have 0 for "no stack"; in others 0 is a stack like any other.
  std::uint32_t stack_number(std::uint32_t in_document, bool ours) noexcept {
    if (ours && in_document == 0) return 0;
    const std::uint32_t number = options_.first_stack + in_document;
    next_stack_ = std::max(next_stack_, number + 1);
    return number;
  }

  bool invocation() {
    const Values& values = values_[kInvocation];
    if (values.has(kInReadyAt)) {
      Callback ready;
      ready.event.kind = EventKind::kScheduled;
      ready.event.at = values.integer(kInReadyAt);
      ready.event.flags = static_cast<std::uint8_t>(actor_of(values.view(kInReadyBy)));
      ready.event.lane = values.uint32(kInReadyOn);
      ready.event.other_here = values.uint(kInWaker) != 0;
      ready.event.other = ready.event.other_here ? values.uint(kInWaker) : values.uint(kInWakerRef);
      callbacks_.push_back(ready);
    }
    if (values.has(kInStartedAt)) {
      Callback entered;
      entered.event.kind = EventKind::kEntered;
      entered.event.at = values.integer(kInStartedAt);
      entered.event.lane = values.uint32(kInLane);
      entered.event.flags =
          static_cast<std::uint8_t>(word_of(values.view(kInCause), CauseKind::kExternal, CauseKind::kUnspecified));
      entered.event.other_here = values.uint(kInCauseBy) != 0;
      entered.event.other = entered.event.other_here ? values.uint(kInCauseBy) : values.uint(kInCauseByRef);
      if (values.has(kInStack)) entered.event.stack = stack_number(values.uint32(kInStack), true);
      callbacks_.push_back(entered);
    }
    if (values.has(kInEndedAt)) {
      Callback exited;
      exited.event.kind = EventKind::kExited;
      exited.event.at = values.integer(kInEndedAt);
      exited.event.lane = values.has(kInExitLane) ? values.uint32(kInExitLane) : values.uint32(kInLane);
      callbacks_.push_back(exited);
    }
    return true;
  }
  bool wake() {
    const Values& values = values_[kWake];
    if (!values.has(kWakeAt)) return reject("\"at\" in the wake");
    Callback woken;
    woken.event.kind = EventKind::kScheduled;
    woken.event.at = values.integer(kWakeAt);
    woken.event.flags = static_cast<std::uint8_t>(actor_of(values.view(kWakeBy)));
    woken.event.lane = values.uint32(kWakeLane);
    woken.event.other_here = values.uint(kWaker) != 0;
    woken.event.other = woken.event.other_here ? values.uint(kWaker) : values.uint(kWakerRef);
    callbacks_.push_back(woken);
    return true;
  }

  struct HeldFrame {
    FrameKind kind = FrameKind::kScript;
    bool function_unknown = false;
    bool file_unknown = false;
    std::uint64_t pc = 0;
    std::uint64_t relative_pc = 0;
    std::uint32_t build_id_at = 0;
    std::uint32_t build_id_size = 0;
  };

  bool frame() {
    const Values& values = values_[kFrame];
    HeldFrame detail;
    detail.kind = word_of(values.view(kFrameKind), FrameKind::kSource, FrameKind::kScript);
    detail.function_unknown = values.yes(kFunctionUnknown);
    detail.file_unknown = values.yes(kFileUnknown);
    detail.pc = values.uint(kPc);
    detail.relative_pc = values.uint(kRelativePc);
    detail.build_id_at = static_cast<std::uint32_t>(detail_build_ids_.size());
    detail.build_id_size = static_cast<std::uint32_t>(values.view(kBuildId).size());
    detail_build_ids_ += values.view(kBuildId);
    details_.push_back(detail);
    return true;
  }

  bool stack() {
    const Values& values = values_[kStack];
    if (!values.has(kStackId)) return reject("\"id\" in the stack");
    infos_.clear();
    for (std::size_t at = 0; at < frames_at_.size(); ++at) {
      const std::size_t end = at + 1 < frames_at_.size() ? frames_at_[at + 1] : frames_.size();
      FrameInfo info = frame_of(std::string_view(frames_).substr(frames_at_[at], end - frames_at_[at]));
      if (at < details_.size()) {
        const HeldFrame& detail = details_[at];
        info.kind = detail.kind;
        if (detail.function_unknown) info.function = {};
        if (detail.file_unknown) info.file = {};
        info.pc = detail.pc;
        info.relative_pc = detail.relative_pc;
        info.build_id = std::string_view(detail_build_ids_).substr(detail.build_id_at, detail.build_id_size);
      }
      infos_.push_back(info);
    }
    if (streaming_) {
      out_.sink().define_stack({static_cast<StackId>(stack_number(values.uint32(kStackId), false)), infos_});
      return true;
    }
    if (!room()) return false;
    held_stacks_.push_back({values.uint32(kStackId), static_cast<std::uint32_t>(held_frames_.size()),
                            static_cast<std::uint32_t>(infos_.size())});
    for (const FrameInfo& info : infos_) {
      KeptFrame kept;
      kept.info = info;
      kept.function_at = keep_text(info.function, kept.function_size);
      kept.file_at = keep_text(info.file, kept.file_size);
      kept.build_id_at = keep_text(info.build_id, kept.build_id_size);
      held_frames_.push_back(kept);
    }
    return true;
  }
  /// "function @ file:line:column"; a text of another form is a function.
  static FrameInfo frame_of(std::string_view text) noexcept {
    FrameInfo info;
    info.kind = FrameKind::kScript;
    info.function = text;
    const std::size_t at = text.rfind(" @ ");
    if (at == std::string_view::npos) return info;
    std::string_view place = text.substr(at + 3);
    std::uint32_t numbers[2] = {};
    for (std::uint32_t& number : numbers) {
      const std::size_t colon = place.rfind(':');
      if (colon == std::string_view::npos || colon + 1 == place.size() || place.size() - colon > 10) return info;
      for (const char c : place.substr(colon + 1)) {
        if (c < '0' || c > '9') return info;
        number = number * 10 + static_cast<std::uint32_t>(c - '0');
      }
      place = place.substr(0, colon);
    }
    info.function = text.substr(0, at);
    info.file = place;
    info.column = numbers[0];
    info.line = numbers[1];
    return info;
  }

  struct HeldNote {
    std::uint64_t async_id = 0;
    std::uint64_t bits = 0;
    std::uint32_t key_at = 0;
    std::uint32_t key_size = 0;
    std::uint32_t text_at = 0;
    std::uint32_t text_size = 0;
    ValueKind kind = ValueKind::kString;
    bool cut = false;
  };

  bool note() {
    const Values& values = values_[kNote];
    if (!values.has(kNoteId)) return reject("\"asyncId\" in the annotation");
    if (!values.has(kNoteKey)) return reject("\"key\" in the annotation");
    if (values.uint(kNoteId) == 0) return true;  // of a resource that is not in the document
    Value value = Value::of(values.view(kNoteValue), values.yes(kNoteCut));
    if (values.has(kNoteType)) {
      const ValueKind kind = word_of(values.view(kNoteType), ValueKind::kBool, ValueKind::kString);
      if (kind != ValueKind::kString) value = typed(values, kNoteTyped, kind);
    } else if (values.has(kNoteValue) && values.kind[kNoteValue] != ValueKind::kString) {
      value = typed(values, kNoteValue, values.kind[kNoteValue]);
    }
    value.cut = values.yes(kNoteCut);
    if (streaming_) {
      TraceEvent event = event_at(values.uint(kNoteId), 0);
      event.kind = EventKind::kAnnotated;
      out_.add(event, Annotation{values.view(kNoteKey), value});
      return true;
    }
    if (!room()) return false;
    HeldNote held;
    held.async_id = values.uint(kNoteId);
    held.kind = value.kind;
    held.cut = value.cut;
    switch (value.kind) {
      case ValueKind::kString: break;
      case ValueKind::kInt: held.bits = static_cast<std::uint64_t>(value.integer); break;
      case ValueKind::kUint: held.bits = value.uinteger; break;
      case ValueKind::kDouble: held.bits = std::bit_cast<std::uint64_t>(value.real); break;
      case ValueKind::kBool: held.bits = value.boolean ? 1 : 0; break;
    }
    held.key_at = keep_text(values.view(kNoteKey), held.key_size);
    if (value.kind == ValueKind::kString) held.text_at = keep_text(value.text, held.text_size);
    held_notes_.push_back(held);
    return true;
  }
  std::uint32_t keep_text(std::string_view text, std::uint32_t& size) {
    const auto at = static_cast<std::uint32_t>(held_text_.size());
    size = static_cast<std::uint32_t>(text.size());
    held_text_ += text;
    return at;
  }

  /// A typed value, whichever way its number was spelt; NaN and the infinities stand only in the text.
  static Value typed(const Values& values, unsigned member, ValueKind kind) noexcept {
    const std::uint64_t bits = values.uint(member);
    const ValueKind spelt = values.has(member) ? values.kind[member] : ValueKind::kString;
    switch (kind) {
      case ValueKind::kBool: return Value::of(bits != 0);
      case ValueKind::kInt:
      case ValueKind::kUint: {
        std::uint64_t whole = bits;
        // 1e3, or what a program that has only doubles made of a whole number.
        if (spelt == ValueKind::kDouble) {
          const double real = std::bit_cast<double>(bits);
          if (!(real >= -9223372036854775808.0 && real < 18446744073709551616.0)) return Value::of(real);
          whole = real < 0 ? static_cast<std::uint64_t>(static_cast<std::int64_t>(real)) : static_cast<std::uint64_t>(real);
        }
        return kind == ValueKind::kInt ? Value::of(static_cast<std::int64_t>(whole)) : Value::of(whole);
      }
      case ValueKind::kDouble: {
        if (spelt == ValueKind::kDouble) return Value::of(std::bit_cast<double>(bits));
        if (spelt == ValueKind::kUint) return Value::of(static_cast<double>(bits));
        if (spelt == ValueKind::kInt) return Value::of(static_cast<double>(static_cast<std::int64_t>(bits)));
        const std::string_view text = values.view(kNoteValue);
        if (text == "inf") return Value::of(std::numeric_limits<double>::infinity());
        if (text == "-inf") return Value::of(-std::numeric_limits<double>::infinity());
        return Value::of(text.starts_with('-') ? -std::numeric_limits<double>::quiet_NaN()
                                               : std::numeric_limits<double>::quiet_NaN());
      }
      case ValueKind::kString: break;
    }
    return Value::of(values.view(kNoteValue), false);
  }

  bool lane() {
    const Values& values = values_[kLane];
    if (values.uint(kLaneId) == 0) return reject("\"id\", above 0, in the lane");
    HeldLane held;
    held.id = values.uint32(kLaneId);
    held.process_id = static_cast<std::int32_t>(values.integer(kLaneProcess));
    held.thread_id = static_cast<std::int32_t>(values.integer(kLaneThread));
    held.name = std::string(values.view(kLaneName));
    held_lanes_.push_back(std::move(held));
    return true;
  }
  bool loss() {
    const Values& values = values_[kLoss];
    if (!room()) return false;
    held_losses_.push_back({values.uint32(kLossLane), values.uint(kLossCount), values.integer(kLossFirst), values.integer(kLossLast)});
    return true;
  }
  bool link() {
    const Values& values = values_[kLink];
    Held event;
    event.kind = EventKind::kLinked;
    event.at = values.integer(kLinkAt);
    event.resource_here = values.uint(kEffect) != 0;
    event.resource = event.resource_here ? values.uint(kEffect) : values.uint(kEffectRef);
    event.other_here = values.uint(kLinkCause) != 0;
    event.other = event.other_here ? values.uint(kLinkCause) : values.uint(kLinkCauseRef);
    event.lane = values.uint32(kLinkLane);
    if (values.has(kLinkStack)) event.stack = stack_number(values.uint32(kLinkStack), true);
    event.flags = static_cast<std::uint8_t>(word_of(values.view(kLinkKind), LinkKind::kBridge, LinkKind::kAwaits));
    return add(event);
  }

  bool extension() {
    const Values& values = values_[kExtension];
    if (values.uint(kVersion) > 1) return reject("version 1 of thence's members");
    const std::string_view hex = values.view(kSalt);
    for (const char c : hex) {
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
      if (digit < 0 || hex.size() > 16) return reject("a salt of up to 16 hexadecimal digits");
      salt_ = salt_ << 4 | static_cast<unsigned>(digit);
    }
    if (values.uint(kRootId) >= number(RootId::kUntraced)) return reject("a root id below 1099511627775");
    known_ = true;
    root_ = values.yes(kRootless) ? RootId::kNone : static_cast<RootId>(values.uint(kRootId));
    process_id_ = static_cast<std::int32_t>(values.integer(kProcessId));
    process_name_ = values.view(kProcessName);
    clock_ = values.view(kClockName);
    sampling_ = values.view(kSamplingName);
    overflow_ = values.view(kOverflow);
    start_ = values.uint(kStart);
    if (values.has(kStartUnix)) unix_start_ = values.uint(kStartUnix);
    if (values.has(kSealReason)) {
      sealed_ = true;
      seal_reason_ = word_of(values.view(kSealReason), SealReason::kSessionEnded, SealReason::kFinished);
      sealed_at_ = values.integer(kSealedAt);
    }
    return true;
  }

  // -- handing over ---------------------------------------------------------------------------------------------------

  /// A plain document: what follows is handed over as it is read.
  void start_streaming() {
    streaming_ = true;
    root_ = options_.root;
    start_ = 0;
    out_.sink().begin(TraceInfo{});
    define_stacks();
    tell_types();
    hand_over_notes();
  }

  [[nodiscard]] bool room() {
    if (held_.size() + held_notes_.size() < options_.max_held) return true;
    return reject("fewer records in one request");
  }

  bool add(const Held& held) {
    if (!streaming_) {
      if (!room()) return false;
      held_.push_back(held);
      return true;
    }
    tell_types();
    out_.add(event_of(held));
    return true;
  }
  void tell_types() {
    if (!types_.untold()) [[likely]] return;
    Sink& sink = out_.sink();
    types_.tell([&](TypeId type, std::string_view name) { sink.define_type(type, name); });
  }
  [[nodiscard]] Timestamp time_at(std::int64_t at) const noexcept {
    const std::uint64_t time = start_ + static_cast<std::uint64_t>(at);
    return static_cast<Timestamp>(at < 0 && time > start_ ? 0 : time);  // nothing is before the clock's start
  }
  [[nodiscard]] TraceEvent event_at(std::uint64_t resource, std::int64_t at) const noexcept {
    TraceEvent event;
    event.time = time_at(at);
    event.resource = static_cast<ResourceId>(resource);
    event.root = root_;
    return event;
  }
  [[nodiscard]] std::uint64_t true_id(std::uint64_t id, bool here) const noexcept {
    if (!here || streaming_ || id == 0) return id;
    const std::uint32_t at = by_async_id_.find(id);
    return at == IdMap::kAbsent ? 0 : true_ids_[at];
  }
  [[nodiscard]] TraceEvent event_of(const Held& held) const noexcept {
    TraceEvent event = event_at(true_id(held.resource, held.resource_here), held.at);
    event.kind = held.kind;
    event.other = static_cast<ResourceId>(true_id(held.other, held.other_here));
    event.lane = static_cast<LaneId>(held.lane);
    event.stack = static_cast<StackId>(held.stack);
    event.type = held.type;
    event.flags = held.flags;
    return event;
  }

  /// Hands over what was held back.
  void release() {
    if (streaming_) return;
    if (!known_) root_ = options_.root;
    TraceInfo info;
    info.salt = salt_;
    info.process_id = process_id_;
    info.process_name = process_name_;
    info.clock = clock_;
    info.sampling = sampling_;
    info.overflow_policy = overflow_;
    out_.sink().begin(info);
    if (unix_start_ != 0) out_.sink().synchronise({start_, 0, unix_start_});
    for (const HeldLane& lane : held_lanes_) {
      out_.sink().define_lane({static_cast<LaneId>(lane.id), lane.process_id, lane.thread_id, lane.name});
    }
    define_stacks();
    tell_types();
    for (const Held& held : held_) {
      const TraceEvent event = event_of(held);
      if (event.resource != ResourceId::kNone) out_.add(event);
    }
    hand_over_notes();
    for (const HeldLoss& loss : held_losses_) {
      const LossRange range{loss.count, time_at(loss.first), time_at(loss.last)};
      TraceEvent event;
      event.kind = EventKind::kLost;
      event.time = range.first;
      event.lane = static_cast<LaneId>(loss.lane);
      out_.add(event, range);
    }
    if (sealed_ && root_ != RootId::kNone) {
      TraceEvent event = event_at(0, sealed_at_);
      event.kind = EventKind::kRootSealed;
      event.flags = static_cast<std::uint8_t>(seal_reason_);
      out_.add(event);
    }
    held_.clear();
  }

  void define_stacks() {
    for (const HeldStack& stack : held_stacks_) {
      infos_.clear();
      const std::string_view texts = held_text_;
      for (std::uint32_t at = stack.first; at < stack.first + stack.count; ++at) {
        FrameInfo info_of = held_frames_[at].info;
        info_of.function = texts.substr(held_frames_[at].function_at, held_frames_[at].function_size);
        info_of.file = texts.substr(held_frames_[at].file_at, held_frames_[at].file_size);
        info_of.build_id = texts.substr(held_frames_[at].build_id_at, held_frames_[at].build_id_size);
        infos_.push_back(info_of);
      }
      if (const std::uint32_t id = stack_number(stack.id, !streaming_); id != 0) {
        out_.sink().define_stack({static_cast<StackId>(id), infos_});
      }
    }
    held_stacks_.clear();
    held_frames_.clear();
  }
  void hand_over_notes() {
    for (const HeldNote& note : held_notes_) {
      TraceEvent event = event_at(true_id(note.async_id, true), 0);
      if (event.resource == ResourceId::kNone) continue;
      event.kind = EventKind::kAnnotated;
      const std::string_view texts = held_text_;
      Value value = Value::of(texts.substr(note.text_at, note.text_size));
      switch (note.kind) {
        case ValueKind::kString: break;
        case ValueKind::kInt: value = Value::of(static_cast<std::int64_t>(note.bits)); break;
        case ValueKind::kUint: value = Value::of(note.bits); break;
        case ValueKind::kDouble: value = Value::of(std::bit_cast<double>(note.bits)); break;
        case ValueKind::kBool: value = Value::of(note.bits != 0); break;
      }
      value.cut = note.cut;
      out_.add(event, Annotation{texts.substr(note.key_at, note.key_size), value});
    }
    held_notes_.clear();
  }

  /// A plain document says how long its request took, and of what resource: of its root.
  void finish_root() {
    const Values& values = values_[kDocument];
    if (!streaming_ || !values.has(kDuration)) return;
    if (values.uint(kDuration) > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return;
    TraceEvent event = event_at(root_resource_ == 0 ? 1 : root_resource_, values.integer(kDuration));
    event.kind = EventKind::kRootFinished;
    out_.add(event);
  }

  struct HeldLane {
    std::uint32_t id = 0;
    std::int32_t process_id = 0;
    std::int32_t thread_id = 0;
    std::string name;
  };
  struct HeldLoss {
    std::uint32_t lane = 0;
    std::uint64_t count = 0;
    std::int64_t first = 0;
    std::int64_t last = 0;
  };
  struct KeptFrame {
    FrameInfo info;
    std::uint32_t function_at = 0, function_size = 0, file_at = 0, file_size = 0, build_id_at = 0, build_id_size = 0;
  };
  struct HeldStack {
    std::uint32_t id = 0;
    std::uint32_t first = 0;
    std::uint32_t count = 0;
  };

  EventBatch<Sink> out_;
  Options options_;
  JsonReader json_;
  TypeNumbers types_;
  std::uint32_t next_stack_;
  std::array<Level, 8> stack_{};
  unsigned levels_ = 0;
  bool began_ = false;
  bool streaming_ = false;
  bool decided_ = false;
  bool ended_ = false;
  std::array<Values, kParts> values_;
  std::vector<Callback> callbacks_;
  std::string frames_;
  std::vector<std::uint32_t> frames_at_;
  std::vector<HeldFrame> details_;
  std::string detail_build_ids_;
  std::vector<FrameInfo> infos_;
  std::uint64_t root_resource_ = 0;
  // Of a document with our members.
  std::vector<Held> held_;
  std::vector<HeldNote> held_notes_;
  std::vector<HeldLane> held_lanes_;
  std::vector<HeldLoss> held_losses_;
  std::vector<HeldStack> held_stacks_;
  std::vector<KeptFrame> held_frames_;
  std::string held_text_;
  IdMap by_async_id_;
  std::vector<std::uint64_t> true_ids_;
  bool known_ = false;
  bool sealed_ = false;
  RootId root_ = RootId::kNone;
  SealReason seal_reason_ = SealReason::kFinished;
  std::int64_t sealed_at_ = 0;
  std::uint64_t salt_ = 0;
  std::uint64_t start_ = 0;
  std::uint64_t unix_start_ = 0;
  std::int32_t process_id_ = 0;
  std::string process_name_, clock_, sampling_, overflow_;
};

}  // namespace THENCE_ABI
}  // namespace thence
