// SPDX-License-Identifier: MIT
// json_reader.hpp: reads Chrome's trace event format: an array of events, or an object with "traceEvents".
//
//   thence::ChromeReader reader{model};
// | ph      | becomes                                                                                                   |
// |---------|-----------------------------------------------------------------------------------------------------------|
// | X, B E  | a resource with one invocation on the thread's lane; created by the slice that encloses it                 |
// | b e, S F| a resource without invocations, from created to settled; created by the open one of its id, else by the    |
// |         | slice that encloses it on its thread                                                                       |
// | n, T p  | an annotation of the open one of its id: name = time in ns                                                  |
// | i I R   | a resource that is settled when it is created                                                              |
// | s t f   | a link between the slices that they are in                                                                 |
// | C       | counters, one a series                                                                                     |
// | M       | names of threads and of the process                                                                        |
// The name is the type, the category and the arguments are annotations (nested ones flattened: a.b, a[0]). Other phases are
// counted and passed over. Times become nanoseconds, exactly. The format lets writers leave the array open: no damage.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
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
#include "thence/wire/damage.hpp"
#include "thence/wire/json_reader.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct ChromeReaderOptions {
  /// Arguments kept of one event; further ones are counted.
  std::size_t max_arguments = 256;
  /// Slices that may be open on one thread. One beyond is read without a parent.
  std::size_t max_open = 4096;
  JsonReaderOptions json = {};
};

/// Reads events.
///   Shape     one event; what is open on each thread and of each id; the names.
///   Threads   one.
///   Cost      O(bytes).
///   When full see the options.
///   Errors    damage(); std::bad_alloc.
///   Lifetime  the sink outlives it.
template <EventSink Sink>
class ChromeReader {
 public:
  using Options = ChromeReaderOptions;

  explicit ChromeReader(Sink& sink, const Options& options = {}) : out_(sink), options_(options), json_(options.json) {}
  ChromeReader(const ChromeReader&) = delete;
  ChromeReader& operator=(const ChromeReader&) = delete;

  bool feed(std::span<const std::byte> bytes) {
    if (json_.damage()) return false;
    json_.feed(bytes);
    return pump();
  }
  bool finish() {
    if (ended_) return !json_.damage();
    ended_ = true;
    json_.finish();
    if (!json_.damage()) pump();
    if (json_.damage() && json_.damage().cut_off && where_ == Where::kEvents && json_.depth() == list_depth_) {
      unclosed_ = true;
      json_.forgive();
    }
    begin_once();
    out_.sink().end(TraceSummary{});
    return !json_.damage();
  }
  [[nodiscard]] const Damage& damage() const noexcept { return json_.damage(); }
  [[nodiscard]] std::uint64_t events() const noexcept { return out_.events(); }
  /// The array was not closed, as the format allows.
  [[nodiscard]] bool unclosed() const noexcept { return unclosed_; }
  /// Events whose phase is not in the table above.
  [[nodiscard]] std::uint64_t unknown_phases() const noexcept { return unknown_phases_; }
  /// E, e, n without a beginning.
  [[nodiscard]] std::uint64_t unmatched_ends() const noexcept { return unmatched_ends_; }
  /// s, t, f that are in no slice, or whose other end is not there.
  [[nodiscard]] std::uint64_t unbound_flows() const noexcept { return unbound_flows_; }
  [[nodiscard]] std::uint64_t arguments_dropped() const noexcept { return arguments_dropped_; }

 private:
  enum class Where : std::uint8_t { kStart, kObject, kEvents, kEvent, kArguments, kId2, kDone };
  enum Member { kName, kCategory, kPhase, kTs, kDur, kPid, kTid, kId, kId2Member, kScope, kBindingPoint, kArgs, kMembers };
  static constexpr std::string_view kNames[kMembers] = {"name", "cat", "ph", "ts", "dur", "pid", "tid",
                                                        "id",   "id2", "scope", "bp", "args"};

  struct Argument {
    std::uint32_t key_at = 0;
    std::uint32_t key_size = 0;
    std::uint32_t text_at = 0;
    std::uint32_t text_size = 0;
    std::uint64_t bits = 0;
    ValueKind kind = ValueKind::kString;
  };

  struct Slice {
    std::uint64_t id = 0;
    std::uint64_t end = 0;
    bool open = false;  // B: its end is not known
  };
  struct Thread {
    std::int32_t process_id = 0;
    std::int32_t thread_id = 0;
    std::string name;
    std::vector<Slice> slices;  // that enclose each other
    std::vector<std::uint64_t> awaited;  // causes of flows that end at the next slice
    std::uint64_t last = 0;
  };
  struct Series {
    std::vector<std::uint64_t> open;
  };

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
    switch (where_) {
      case Where::kStart:
        if (token == JsonToken::kBeginArray) {
          begin_list();
          return true;
        }
        if (token != JsonToken::kBeginObject) return reject("an array of events, or an object with \"traceEvents\"");
        where_ = Where::kObject;
        return true;
      case Where::kObject:
        if (token == JsonToken::kKey) {
          in_events_ = json_.text() == "traceEvents";
          return true;
        }
        if (token == JsonToken::kEndObject) {
          if (!seen_events_) return reject("\"traceEvents\" in the object");
          where_ = Where::kDone;
          return true;
        }
        if (!in_events_) return skip(token);
        if (token != JsonToken::kBeginArray) return reject("an array of events");
        begin_list();
        return true;
      case Where::kEvents:
        if (token == JsonToken::kEndArray) {
          where_ = list_depth_ == 1 ? Where::kDone : Where::kObject;
          return true;
        }
        if (token == JsonToken::kNull) return true;
        if (token != JsonToken::kBeginObject) return reject("an event");
        where_ = Where::kEvent;
        present_ = 0;
        arguments_.clear();
        argument_text_.clear();
        id2_local_ = false;
        return true;
      case Where::kEvent:
        if (token == JsonToken::kEndObject) {
          where_ = Where::kEvents;
          return event();
        }
        if (token == JsonToken::kKey) {
          member_ = kMembers;
          for (unsigned at = 0; at < kMembers; ++at) {
            if (kNames[at] == json_.text()) member_ = at;
          }
          return true;
        }
        return value(token);
      case Where::kArguments: return argument(token);
      case Where::kId2:
        if (token == JsonToken::kKey) {
          id2_local_ = json_.text() == "local";
          return true;
        }
        if (token == JsonToken::kEndObject) {
          where_ = Where::kEvent;
          return true;
        }
        member_ = kId;
        return id_value(token);
      case Where::kDone: return reject("the end of the text");
    }
    return true;
  }
  void begin_list() {
    where_ = Where::kEvents;
    seen_events_ = true;
    list_depth_ = json_.depth();
  }

  bool value(JsonToken token) {
    switch (member_) {
      case kName:
      case kCategory:
      case kPhase:
      case kScope:
      case kBindingPoint:
        if (token != JsonToken::kString) return reject("a string");
        texts_[member_] = json_.text();
        break;
      case kTs:
      case kDur: {
        if (token != JsonToken::kNumber) return reject("a number of microseconds");
        if (!nanoseconds(numbers_[member_])) return reject("a number of microseconds, 0 or more");
        break;
      }
      case kPid:
      case kTid:
        if (token == JsonToken::kString) {
          texts_[member_] = json_.text();
          numbers_[member_] = 0;
        } else if (token == JsonToken::kNumber && json_.number().kind != DecimalNumber::Kind::kDouble) {
          texts_[member_] = json_.text();
          numbers_[member_] = json_.number().kind == DecimalNumber::Kind::kUint && json_.number().magnitude <= 0x7fff'ffffu
                                  ? json_.number().magnitude
                                  : 0;
        } else {
          return reject("a whole number or a string");
        }
        break;
      case kId: return id_value(token);
      case kId2Member:
        if (token != JsonToken::kBeginObject) return reject("an object");
        where_ = Where::kId2;
        return true;
      case kArgs:
        if (token == JsonToken::kBeginObject) {
          where_ = Where::kArguments;
          argument_depth_ = json_.depth();
          path_.clear();
          path_at_.clear();
          path_at_.push_back(0);
          elements_.assign(1, kNoElement);
          return true;
        }
        if (token == JsonToken::kString || token == JsonToken::kNumber || token == JsonToken::kBeginArray) return skip(token);
        return true;
      default: return skip(token);
    }
    present_ |= 1u << member_;
    return true;
  }
  bool id_value(JsonToken token) {
    if (token != JsonToken::kString && token != JsonToken::kNumber) return reject("an id: a string or a number");
    texts_[kId] = json_.text();
    present_ |= 1u << kId;
    return true;
  }

  /// Microseconds, as they are spelt, as nanoseconds, rounded to the nearest.
  bool nanoseconds(std::uint64_t& to) const noexcept {
    const DecimalNumber& number = json_.number();
    if (number.real < 0 || number.real > 9e15) return false;
    const std::string_view text = json_.text();
    std::uint64_t whole = 0, part = 0;
    unsigned digits = 0;
    bool point = false, up = false;
    for (const char c : text) {
      if (c == '.') {
        point = true;
        continue;
      }
      if (c < '0' || c > '9') {  // an exponent, or -0
        to = static_cast<std::uint64_t>(number.real * 1000 + 0.5);
        return true;
      }
      const auto digit = static_cast<unsigned>(c - '0');
      if (!point) {
        whole = whole * 10 + digit;
      } else if (digits < 3) {
        part = part * 10 + digit;
        ++digits;
      } else {
        if (digits == 3) up = digit >= 5;
        ++digits;
      }
    }
    for (; digits < 3; ++digits) part *= 10;
    to = whole * 1000 + part + (up ? 1 : 0);
    return true;
  }

  // -- arguments ------------------------------------------------------------------------------------------------------

  static constexpr std::uint32_t kNoElement = ~std::uint32_t{0};
  static constexpr std::size_t kMaxPath = 512;

  bool argument(JsonToken token) {
    switch (token) {
      case JsonToken::kKey:
        path_.resize(path_at_.back());
        if (path_.size() + json_.text().size() < kMaxPath) {
          if (!path_.empty()) path_ += '.';
          path_ += json_.text();
        }
        return true;
      case JsonToken::kBeginObject:
      case JsonToken::kBeginArray:
        step();
        path_at_.push_back(path_.size());
        elements_.push_back(token == JsonToken::kBeginArray ? 0 : kNoElement);
        return true;
      case JsonToken::kEndObject:
      case JsonToken::kEndArray:
        path_at_.pop_back();
        elements_.pop_back();
        if (json_.depth() < argument_depth_) {
          where_ = Where::kEvent;
        } else {
          path_.resize(path_at_.back() < path_.size() && elements_.back() != kNoElement ? path_at_.back() : path_.size());
        }
        return true;
      default: break;
    }
    step();
    if (arguments_.size() >= options_.max_arguments) {
      ++arguments_dropped_;
      return true;
    }
    Argument made;
    made.key_at = keep(path_, made.key_size);
    switch (token) {
      case JsonToken::kString: made.text_at = keep(json_.text(), made.text_size); break;
      case JsonToken::kTrue:
      case JsonToken::kFalse:
        made.kind = ValueKind::kBool;
        made.bits = token == JsonToken::kTrue ? 1 : 0;
        break;
      case JsonToken::kNumber: {
        const DecimalNumber& number = json_.number();
        if (number.kind == DecimalNumber::Kind::kUint) {
          made.kind = ValueKind::kUint;
          made.bits = number.magnitude;
        } else if (number.kind == DecimalNumber::Kind::kInt) {
          made.kind = ValueKind::kInt;
          made.bits = static_cast<std::uint64_t>(number.integer);
        } else {
          made.kind = ValueKind::kDouble;
          made.bits = std::bit_cast<std::uint64_t>(number.real);
        }
        break;
      }
      default: break;  // null: an empty string
    }
    arguments_.push_back(made);
    return true;
  }
  /// In an array: the path ends with the element's number.
  void step() {
    if (elements_.back() == kNoElement) return;
    path_.resize(path_at_.back());
    if (path_.size() < kMaxPath) path_ += "[" + std::to_string(elements_.back()) + "]";
    ++elements_.back();
  }
  std::uint32_t keep(std::string_view text, std::uint32_t& size) {
    const auto at = static_cast<std::uint32_t>(argument_text_.size());
    size = static_cast<std::uint32_t>(text.size());
    argument_text_ += text;
    return at;
  }
  [[nodiscard]] std::string_view key_of(const Argument& argument) const noexcept {
    return std::string_view(argument_text_).substr(argument.key_at, argument.key_size);
  }
  [[nodiscard]] Value value_of(const Argument& argument) const noexcept {
    switch (argument.kind) {
      case ValueKind::kString: break;
      case ValueKind::kInt: return Value::of(static_cast<std::int64_t>(argument.bits));
      case ValueKind::kUint: return Value::of(argument.bits);
      case ValueKind::kDouble: return Value::of(std::bit_cast<double>(argument.bits));
      case ValueKind::kBool: return Value::of(argument.bits != 0);
    }
    return Value::of(std::string_view(argument_text_).substr(argument.text_at, argument.text_size));
  }

  // -- one event ------------------------------------------------------------------------------------------------------

  [[nodiscard]] bool has(unsigned member) const noexcept { return (present_ >> member & 1) != 0; }
  [[nodiscard]] std::string_view text(unsigned member) const noexcept {
    return has(member) ? std::string_view(texts_[member]) : std::string_view{};
  }

  bool event() {
    if (!has(kPhase) || texts_[kPhase].empty()) return reject("\"ph\" in the event");
    const char phase = texts_[kPhase][0];
    begin_once();
    if (phase == 'M') return metadata();
    if (!has(kTs)) return reject("\"ts\" in the event");
    time_ = numbers_[kTs];
    switch (phase) {
      case 'X': return complete();
      case 'B': return begin_slice();
      case 'E': return end_slice();
      case 'b':
      case 'S': return begin_async();
      case 'e':
      case 'F': return end_async();
      case 'n':
      case 'T':
      case 'p': return mark_async();
      case 'i':
      case 'I':
      case 'R': return instant();
      case 's':
      case 't':
      case 'f': return flow(phase);
      case 'C': return counter();
      default: ++unknown_phases_; return true;
    }
  }

  void begin_once() {
    if (began_) return;
    began_ = true;
    out_.sink().begin(TraceInfo{});
  }

  std::uint32_t thread() {
    key_.assign(text(kPid)).append(1, '\0').append(text(kTid));
    const std::uint32_t at = thread_numbers_.number_of(key_);
    if (at == threads_.size()) {
      threads_.emplace_back();
      threads_[at].process_id = has(kPid) ? static_cast<std::int32_t>(numbers_[kPid]) : 0;
      threads_[at].thread_id = has(kTid) ? static_cast<std::int32_t>(numbers_[kTid]) : 0;
      define(at);
    }
    return at;
  }
  void define(std::uint32_t at) {
    const Thread& known = threads_[at];
    out_.sink().define_lane({lane(at), known.process_id, known.thread_id, known.name});
  }
  [[nodiscard]] static LaneId lane(std::uint32_t thread) noexcept { return static_cast<LaneId>(thread + 1); }

  [[nodiscard]] TraceEvent made(EventKind kind, std::uint64_t id, std::uint32_t thread, std::uint64_t time) const noexcept {
    TraceEvent event;
    event.kind = kind;
    event.time = static_cast<Timestamp>(time);
    event.resource = static_cast<ResourceId>(id);
    event.lane = lane(thread);
    return event;
  }

  /// The resource that an event stands for, with all that it says.
  std::uint64_t create(std::uint32_t thread, std::uint64_t parent) {
    const std::uint64_t id = ++ids_;
    TraceEvent event = made(EventKind::kCreated, id, thread, time_);
    event.other = static_cast<ResourceId>(parent);
    const std::string_view name = text(kName);
    event.type = types_.number_of(name.empty() ? std::string_view("slice") : name);
    if (types_.untold()) {
      Sink& sink = out_.sink();
      types_.tell([&](TypeId type, std::string_view what) { sink.define_type(type, what); });
    }
    out_.add(event);
    if (!text(kCategory).empty()) {
      out_.add(made(EventKind::kAnnotated, id, thread, time_), Annotation{"category", Value::of(text(kCategory))});
    }
    annotate(id, thread);
    return id;
  }
  void annotate(std::uint64_t id, std::uint32_t thread) {
    for (const Argument& argument : arguments_) {
      out_.add(made(EventKind::kAnnotated, id, thread, time_), Annotation{key_of(argument), value_of(argument)});
    }
  }

  /// The innermost slice of a thread that holds [time, end]; those that are over are forgotten. 0: none.
  std::uint64_t enclosing(Thread& thread, std::uint64_t end) {
    if (time_ < thread.last) {  // out of order: it can only be looked up among those that are still there
      for (std::size_t at = thread.slices.size(); at-- != 0;) {
        if (thread.slices[at].open || thread.slices[at].end >= end) return thread.slices[at].id;
      }
      return 0;
    }
    thread.last = time_;
    while (!thread.slices.empty() && !thread.slices.back().open && thread.slices.back().end < end) thread.slices.pop_back();
    return thread.slices.empty() ? 0 : thread.slices.back().id;
  }
  void open(std::uint32_t at, std::uint64_t id, std::uint64_t end, bool open) {
    Thread& thread = threads_[at];
    if (time_ >= thread.last && thread.slices.size() < options_.max_open) thread.slices.push_back({id, end, open});
    for (const std::uint64_t cause : thread.awaited) link(id, cause, at);
    thread.awaited.clear();
  }

  bool complete() {
    const std::uint32_t at = thread();
    const std::uint64_t end = time_ + (has(kDur) ? numbers_[kDur] : 0);
    const std::uint64_t id = create(at, enclosing(threads_[at], end));
    out_.add(made(EventKind::kEntered, id, at, time_));
    if (has(kDur)) out_.add(made(EventKind::kExited, id, at, end));
    open(at, id, end, false);
    return true;
  }
  bool begin_slice() {
    const std::uint32_t at = thread();
    const std::uint64_t id = create(at, enclosing(threads_[at], time_));
    out_.add(made(EventKind::kEntered, id, at, time_));
    open(at, id, 0, true);
    return true;
  }
  bool end_slice() {
    const std::uint32_t at = thread();
    Thread& known = threads_[at];
    known.last = std::max(known.last, time_);
    while (!known.slices.empty() && !known.slices.back().open) known.slices.pop_back();
    if (known.slices.empty()) {
      ++unmatched_ends_;
      return true;
    }
    const std::uint64_t id = known.slices.back().id;
    known.slices.pop_back();
    out_.add(made(EventKind::kExited, id, at, time_));
    annotate(id, at);
    return true;
  }

  /// The number of an asynchronous operation by category, scope and id; ids that are local to a process by that too.
  std::uint32_t async_key(char family) {
    key_.assign(1, family).append(text(kCategory)).append(1, '\0').append(text(kScope)).append(1, '\0').append(text(kId));
    if (id2_local_) key_.append(1, '\0').append(text(kPid));
    const std::uint32_t at = key_numbers_.number_of(key_);
    if (at == series_.size()) series_.emplace_back();
    return at;
  }
  bool begin_async() {
    if (!has(kId)) return reject("\"id\" in the event");
    const std::uint32_t at = thread();
    const std::uint32_t key = async_key('a');
    const std::uint64_t parent = series_[key].open.empty() ? enclosing(threads_[at], time_) : series_[key].open.back();
    const std::uint64_t id = create(at, parent);
    if (series_[key].open.size() < options_.max_open) series_[key].open.push_back(id);
    return true;
  }
  bool end_async() {
    if (!has(kId)) return reject("\"id\" in the event");
    const std::uint32_t at = thread();
    Series& series = series_[async_key('a')];
    if (series.open.empty()) {
      ++unmatched_ends_;
      return true;
    }
    const std::uint64_t id = series.open.back();
    series.open.pop_back();
    out_.add(made(EventKind::kSettled, id, at, time_));
    annotate(id, at);
    return true;
  }
  bool mark_async() {
    if (!has(kId)) return reject("\"id\" in the event");
    const std::uint32_t at = thread();
    Series& series = series_[async_key('a')];
    if (series.open.empty()) {
      ++unmatched_ends_;
      return true;
    }
    const std::uint64_t id = series.open.back();
    out_.add(made(EventKind::kAnnotated, id, at, time_), Annotation{text(kName), Value::of(time_)});
    annotate(id, at);
    return true;
  }
  bool instant() {
    const std::uint32_t at = thread();
    const std::uint64_t id = create(at, enclosing(threads_[at], time_));
    out_.add(made(EventKind::kSettled, id, at, time_));
    return true;
  }

  void link(std::uint64_t effect, std::uint64_t cause, std::uint32_t thread) {
    if (effect == cause) return;
    TraceEvent event = made(EventKind::kLinked, effect, thread, time_);
    event.other = static_cast<ResourceId>(cause);
    event.flags = static_cast<std::uint8_t>(LinkKind::kAwaits);
    out_.add(event);
  }
  bool flow(char phase) {
    if (!has(kId)) return reject("\"id\" in the event");
    const std::uint32_t at = thread();
    const std::uint64_t slice = enclosing(threads_[at], time_);
    Series& series = series_[async_key('f')];
    if (phase == 's') {
      series.open.clear();
      if (slice == 0) {
        ++unbound_flows_;
      } else {
        series.open.push_back(slice);
      }
      return true;
    }
    if (series.open.empty()) {
      ++unbound_flows_;
      return true;
    }
    const std::uint64_t cause = series.open.back();
    // An end binds to the next slice unless it says that it binds to the one around it.
    if (phase == 'f' && text(kBindingPoint) != "e") {
      if (threads_[at].awaited.size() < options_.max_open) threads_[at].awaited.push_back(cause);
      series.open.clear();
      return true;
    }
    if (slice == 0) {
      ++unbound_flows_;
      return true;
    }
    link(slice, cause, at);
    series.open.clear();
    if (phase == 't') series.open.push_back(slice);
    return true;
  }

  bool counter() {
    const std::uint32_t at = thread();
    for (const Argument& argument : arguments_) {
      if (argument.kind == ValueKind::kString) continue;
      key_.assign(text(kName));
      if (has(kId)) key_.append("[").append(text(kId)).append("]");
      const std::string_view series = key_of(argument);
      if (arguments_.size() > 1 || (series != "value" && series != text(kName))) key_.append(".").append(series);
      std::uint32_t number = counters_.find(key_);
      if (number == IdMap::kAbsent) {
        if (counters_.size() >= 60'000) continue;
        number = counters_.number_of(key_);
        out_.sink().define_counter(counter_id(number), key_, "");
      }
      TraceEvent event = made(EventKind::kCounter, 0, at, time_);
      event.counter = counter_id(number);
      out_.add(event, Annotation{{}, value_of(argument)});
    }
    return true;
  }
  [[nodiscard]] static CounterId counter_id(std::uint32_t number) noexcept {
    return static_cast<CounterId>(static_cast<std::uint32_t>(CounterId::kFirstOfHost) + number);
  }

  bool metadata() {
    const std::string_view name = text(kName);
    for (const Argument& argument : arguments_) {
      if (key_of(argument) != "name" || argument.kind != ValueKind::kString) continue;
      if (name == "thread_name") {
        const std::uint32_t at = thread();
        threads_[at].name = std::string(value_of(argument).text);
        define(at);
      } else if (name == "process_name" && !named_) {
        named_ = true;
        TraceInfo info;
        info.process_id = has(kPid) ? static_cast<std::int32_t>(numbers_[kPid]) : 0;
        info.process_name = value_of(argument).text;
        out_.sink().begin(info);
      }
    }
    return true;
  }

  EventBatch<Sink> out_;
  Options options_;
  JsonReader json_;
  TypeNumbers types_;
  TextNumbers thread_numbers_;
  TextNumbers key_numbers_;
  TextNumbers counters_;
  std::vector<Thread> threads_;
  std::vector<Series> series_;
  std::array<std::string, kMembers> texts_;
  std::array<std::uint64_t, kMembers> numbers_{};
  std::vector<Argument> arguments_;
  std::string argument_text_;
  std::string path_;
  std::vector<std::size_t> path_at_;
  std::vector<std::uint32_t> elements_;
  std::string key_;
  std::uint64_t time_ = 0;
  std::uint64_t ids_ = 0;
  std::uint64_t unknown_phases_ = 0;
  std::uint64_t unmatched_ends_ = 0;
  std::uint64_t unbound_flows_ = 0;
  std::uint64_t arguments_dropped_ = 0;
  unsigned present_ = 0;
  unsigned member_ = kMembers;
  unsigned list_depth_ = 0;
  unsigned argument_depth_ = 0;
  Where where_ = Where::kStart;
  bool in_events_ = false;
  bool seen_events_ = false;
  bool id2_local_ = false;
  bool named_ = false;
  bool unclosed_ = false;
  bool began_ = false;
  bool ended_ = false;
};

}  // namespace THENCE_ABI
}  // namespace thence
