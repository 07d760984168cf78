// SPDX-License-Identifier: MIT
// keys.hpp: what thence says of an event beyond what Perfetto has a field for, as extension fields of TrackEvent.
//
// Perfetto keeps the numbers 1000 to 9999 of TrackEvent for extensions. Ours take a two-byte tag and a varint, a third of
// what the same value takes as a debug annotation, and the host's annotations stay the host's alone. Every part of a file
// that can be read by itself holds an `extension_descriptor`, so that Perfetto shows each of them as an argument
// (`thence_trigger` ...). A resource's id is no key: it is the event's `correlation_id`.
// Layer: formats (includes core/ only).
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/formats/perfetto/fields.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// Field number of the first key. The numbers are the format: keys are only ever added at the end.
inline constexpr Field kFirstKey = 1001;

enum class Key : unsigned {
  kRoot, kTrigger, kLane, kLate, kCause, kCauseBy, kWokenBefore, kWaker, kScheduledBy, kWakeLane, kOutcome, kSettledBy,
  kSettler, kSettledBefore, kSettledOn, kDestroyedAfter, kDestroyedOn, kLink, kLinkCause, kOpen, kEndUnknown, kSplit, kPart,
  kInvocation, kTrueBegin, kTrueEnd, kExitLane, kSealReason, kOpenResources, kCount, kFirst, kLast, kProcessId, kThreadId,
  kName, kVersion, kSalt, kClock, kOverflow, kSampling, kEvents, kLost, kLateEvents, kAfterSeal, kRootsSealed,
  kRootsAbandoned, kDrainNs, kBytes, kExitWithoutEnter, kExitsCrossed, kTooDeep, kAnnotationsCut, kStacksRefused,
  kRootEndsLost, kRingBytes, kStack, kPause, kStacksMissing, kValue, kType, kTypeId, kSample, kCounters,
};

enum class KeyType : std::uint8_t { kUint, kInt, kBool, kText, kOutcome, kActor, kCause, kLink, kSeal, kPause, kSample };

struct KeyInfo {
  std::string_view name;  ///< in the extension descriptor, behind "thence_"
  KeyType type;
};
inline constexpr KeyInfo kKeys[] = {
    {"root", KeyType::kUint},             {"trigger", KeyType::kUint},
    {"lane", KeyType::kUint},             {"late", KeyType::kBool},
    {"cause", KeyType::kCause},           {"cause_by", KeyType::kUint},
    {"woken_before", KeyType::kUint},     {"waker", KeyType::kUint},
    {"scheduled_by", KeyType::kActor},    {"wake_lane", KeyType::kUint},
    {"outcome", KeyType::kOutcome},       {"settled_by", KeyType::kActor},
    {"settler", KeyType::kUint},          {"settled_before", KeyType::kUint},
    {"settled_on", KeyType::kUint},       {"destroyed_after", KeyType::kInt},
    {"destroyed_on", KeyType::kUint},     {"link", KeyType::kLink},
    {"link_cause", KeyType::kUint},       {"open", KeyType::kBool},
    {"end_unknown", KeyType::kBool},      {"split", KeyType::kBool},
    {"part", KeyType::kUint},             {"invocation", KeyType::kUint},
    {"true_begin", KeyType::kUint},       {"true_end", KeyType::kUint},
    {"exit_lane", KeyType::kUint},        {"seal_reason", KeyType::kSeal},
    {"open_resources", KeyType::kUint},   {"count", KeyType::kUint},
    {"first", KeyType::kUint},            {"last", KeyType::kUint},
    {"process_id", KeyType::kInt},        {"thread_id", KeyType::kInt},
    {"name", KeyType::kText},             {"version", KeyType::kUint},
    {"salt", KeyType::kUint},             {"clock", KeyType::kText},
    {"overflow_policy", KeyType::kText},  {"sampling", KeyType::kText},
    {"events", KeyType::kUint},           {"lost", KeyType::kUint},
    {"late_events", KeyType::kUint},      {"after_seal", KeyType::kUint},
    {"roots_sealed", KeyType::kUint},     {"roots_abandoned", KeyType::kUint},
    {"drain_ns", KeyType::kUint},         {"bytes_written", KeyType::kUint},
    {"exit_without_enter", KeyType::kUint}, {"exits_crossed", KeyType::kUint},
    {"too_deep", KeyType::kUint},         {"annotations_cut", KeyType::kUint},
    {"stacks_refused", KeyType::kUint},   {"root_ends_lost", KeyType::kUint},
    {"ring_bytes", KeyType::kUint},       {"stack", KeyType::kUint},
    {"pause", KeyType::kPause},           {"stacks_missing", KeyType::kUint},
    {"value", KeyType::kUint},            {"type", KeyType::kText},
    {"type_id", KeyType::kUint},          {"sample", KeyType::kSample},
    {"counters", KeyType::kUint}};
inline constexpr std::size_t kKeyCount = static_cast<std::size_t>(Key::kCounters) + 1;
static_assert(std::size(kKeys) == kKeyCount);

[[nodiscard]] constexpr Field field_of(Key key) noexcept { return kFirstKey + static_cast<Field>(key); }
static_assert(field_of(Key::kCounters) < 2048, "a tag of two bytes");

/// The host's annotation that follows one whose value was cut, with its key as the value.
inline constexpr std::string_view kCutKey = "thence.cut";

/// The version of what the keys mean; a reader refuses a later one.
inline constexpr std::uint64_t kFormatVersion = 1;

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
