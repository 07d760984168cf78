// SPDX-License-Identifier: MIT
// trace_reader.hpp: what all readers have in common: bytes in, events out, and the first damage.
//
//   AsyncTraceReader reader{sink};           // any EventSink
//   while (more) if (!reader.feed(bytes)) break;
//   if (!reader.finish()) std::cerr << thence::describe(reader.damage(), "app.json", reader.events());
// A reader hands events over in the order of its file, which for some formats is not the order of time; a sink that needs
// that order takes them from a model (model/replay.hpp). Whatever was whole before a damage has been handed over, and
// `finish` ends the trace in any case.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/resource_type.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/wire/damage.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Turns bytes into calls of an EventSink. `feed` is false once the input is damaged; `finish` is true if all of it was good.
template <class R>
concept TraceReader = requires(R& reader, const R& read, std::span<const std::byte> bytes) {
  { reader.feed(bytes) } -> std::same_as<bool>;
  { reader.finish() } -> std::same_as<bool>;
  { read.damage() } -> std::same_as<const Damage&>;
  { read.events() } -> std::same_as<std::uint64_t>;  ///< handed over so far
};

/// Readers copy what they are fed: this is how much of a large input they are given at a time.
inline constexpr std::size_t kFeedBytes = 64 * 1024;

/// Feeds all of `bytes` and finishes. Returns whether all was good.
template <TraceReader Reader>
bool read_all(Reader& reader, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t count = std::min(bytes.size(), kFeedBytes);
    if (!reader.feed(bytes.first(count))) break;
    bytes = bytes.subspan(count);
  }
  return reader.finish();
}
template <TraceReader Reader>
bool read_all(Reader& reader, std::string_view text) {
  return read_all(reader, std::as_bytes(std::span(text.data(), text.size())));
}

/// 64 bits of a text's content, never 0.
[[nodiscard]] inline std::uint64_t hash_text(std::string_view text) noexcept {
  std::uint64_t hash = 0xcbf2'9ce4'8422'2325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100'0000'01b3u;
  return mix64(hash) | 1u;
}

/// Texts numbered from 0 in the order in which they come.
///   Threads   one.
///   Cost      O(length) expected.
///   When full it grows.
///   Errors    std::bad_alloc.
class TextNumbers {
 public:
  [[nodiscard]] std::uint32_t number_of(std::string_view text) {
    const std::uint32_t known = find(text);
    if (known != IdMap::kAbsent) return known;
    const auto number = static_cast<std::uint32_t>(texts_.size());
    texts_.emplace_back(text);
    const std::uint64_t hash = hash_text(text);
    const std::uint32_t first = map_.find(hash);
    next_.push_back(IdMap::kAbsent);
    if (first == IdMap::kAbsent) {
      map_.insert(hash, number);
    } else {
      next_[number] = next_[first];
      next_[first] = number;
    }
    return number;
  }
  [[nodiscard]] std::uint32_t find(std::string_view text) const {
    for (std::uint32_t at = map_.find(hash_text(text)); at != IdMap::kAbsent; at = next_[at]) {
      if (texts_[at] == text) return at;
    }
    return IdMap::kAbsent;
  }
  [[nodiscard]] std::size_t size() const noexcept { return texts_.size(); }
  [[nodiscard]] std::string_view operator[](std::uint32_t number) const noexcept { return texts_[number]; }

 private:
  std::vector<std::string> texts_;
  std::vector<std::uint32_t> next_;
  IdMap map_;
};

/// The numbers of types by their names: the built-in ones have theirs, others get numbers from kFirstHostType up, in the
/// order in which they come, for as long as there are numbers; then they are "other".
class TypeNumbers {
 public:
  static constexpr std::size_t kMaxTypes = 60'000;

  TypeNumbers() {
    for (const std::string_view name : kResourceTypeNames) static_cast<void>(names_.number_of(name));
  }
  [[nodiscard]] TypeId number_of(std::string_view name) {
    std::uint32_t number = names_.find(name);
    if (number == IdMap::kAbsent) {
      if (names_.size() >= kMaxTypes) {
        ++refused_;
        return type_id(ResourceType::kOther);
      }
      number = names_.number_of(name);
    }
    return number < kBuiltin ? static_cast<TypeId>(number) : static_cast<TypeId>(kFirstHostType + (number - kBuiltin));
  }
  /// Calls define(TypeId, name) for each type beyond the built-in ones that was not yet told.
  template <class Define>
  void tell(Define&& define) {
    for (; told_ < names_.size(); ++told_) {
      define(static_cast<TypeId>(kFirstHostType + (told_ - kBuiltin)), names_[told_]);
    }
  }
  [[nodiscard]] bool untold() const noexcept { return told_ < names_.size(); }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

 private:
  static constexpr std::uint32_t kBuiltin = static_cast<std::uint32_t>(kResourceTypeNames.size());
  TextNumbers names_;
  std::uint32_t told_ = kBuiltin;
  std::uint64_t refused_ = 0;
};

/// Hands events to a sink in batches; annotations and losses are kept with them.
template <EventSink Sink>
class EventBatch {
 public:
  explicit EventBatch(Sink& sink) : sink_(&sink) {}

  void add(const TraceEvent& event) { add() = event; }
  /// An event to fill in, at once: it is handed over with the next one at the latest.
  [[nodiscard]] TraceEvent& add() {
    if (count_ == kBatch) [[unlikely]] hand_over();
    return events_[count_++] = TraceEvent{};
  }
  void add(const TraceEvent& event, const Annotation& annotation) {
    // The texts live as long as their token: hand over at once what they belong to.
    if (count_ == kBatch) hand_over();
    events_[count_] = event;
    if (annotation.key.empty() && annotation.value.kind != ValueKind::kString) {  // a counter's value: no text
      kept_[count_] = annotation;
      events_[count_].annotation = &kept_[count_];
      ++count_;
      return;
    }
    Annotation kept = annotation;
    events_[count_].annotation = &kept;
    ++count_;
    hand_over();
  }
  void add(const TraceEvent& event, const LossRange& loss) {
    if (count_ == kBatch) hand_over();
    events_[count_] = event;
    events_[count_].loss = &loss;
    ++count_;
    hand_over();
  }
  void hand_over() {
    if (count_ == 0) return;
    sink_->take(std::span<const TraceEvent>(events_, count_));
    events_taken_ += count_;
    count_ = 0;
  }
  /// Before a definition: what came before it goes first.
  [[nodiscard]] Sink& sink() {
    hand_over();
    return *sink_;
  }
  [[nodiscard]] std::uint64_t events() const noexcept { return events_taken_ + count_; }

 private:
  static constexpr std::size_t kBatch = 128;
  Sink* sink_;
  std::size_t count_ = 0;
  std::uint64_t events_taken_ = 0;
  TraceEvent events_[kBatch];
  Annotation kept_[kBatch];
};

}  // namespace THENCE_ABI
}  // namespace thence
