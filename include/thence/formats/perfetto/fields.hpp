// SPDX-License-Identifier: MIT
// fields.hpp: the field numbers of Perfetto's trace protocol that are written and read here, by message.
//
// Names follow Perfetto's own .proto files (protos/perfetto/trace/). Repeated scalars are written unpacked: packed ones
// are misread by Perfetto's trace processor. Numbers under `thence` are ours, outside of what Perfetto uses, and skipped by
// every other reader.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <cstdint>

#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

using Field = std::uint32_t;

namespace trace { inline constexpr Field kPacket = 1; }

namespace trace_packet {
inline constexpr Field kClockSnapshot = 6, kTimestamp = 8, kTrustedPacketSequenceId = 10, kTrackEvent = 11,
                       kInternedData = 12, kSequenceFlags = 13, kTraceStats = 35, kPreviousPacketDropped = 42,
                       kTimestampClockId = 58, kTracePacketDefaults = 59, kTrackDescriptor = 60,
                       kCompressedPackets = 50, kExtensionDescriptor = 72, kFirstPacketOnSequence = 87, kTraceUuid = 89,
                       kZstdCompressedPackets = 133;
/// Only read: what says the same as the flag of that name.
inline constexpr Field kIncrementalStateClearedField = 41;
/// sequence_flags.
inline constexpr std::uint64_t kIncrementalStateCleared = 1, kNeedsIncrementalState = 2;
/// previous_packet_dropped: something was lost; because the shared buffer (here: the lane's ring) was full.
inline constexpr std::uint64_t kDropPresent = 1, kDropBufferFull = 256;
}  // namespace trace_packet

namespace packet_defaults { inline constexpr Field kTimestampClockId = 58, kTrackEventDefaults = 11; }
namespace event_defaults { inline constexpr Field kTrackUuid = 11, kExtraCounterTrackUuids = 31; }
/// Counters that may ride on the packets of a sequence: Perfetto's own bound.
inline constexpr std::size_t kMaxExtraCounters = 8;
namespace trace_uuid { inline constexpr Field kMsb = 1, kLsb = 2; }

namespace track_descriptor {
inline constexpr Field kUuid = 1, kName = 2, kProcess = 3, kThread = 4, kParentUuid = 5, kCounter = 8, kChildOrdering = 11,
                       kSiblingOrderRank = 12, kDescription = 14, kSiblingMergeBehavior = 15, kStaticName = 10,
                       kAtraceName = 13;
inline constexpr std::uint64_t kOrderLexicographic = 1, kOrderChronological = 2, kOrderExplicit = 3;
inline constexpr std::uint64_t kMergeNone = 2;
}  // namespace track_descriptor
namespace process_descriptor { inline constexpr Field kPid = 1, kProcessName = 6; }
namespace thread_descriptor { inline constexpr Field kPid = 1, kTid = 2, kThreadName = 5; }
namespace counter_descriptor {
inline constexpr Field kUnit = 3, kUnitName = 6;
inline constexpr std::uint64_t kUnitTimeNs = 1, kUnitCount = 2, kUnitSizeBytes = 3;
}  // namespace counter_descriptor

namespace track_event {
inline constexpr Field kCategoryIids = 3, kDebugAnnotations = 4, kType = 9, kNameIid = 10, kTrackUuid = 11, kName = 23,
                       kExtraCounterValues = 12, kCounterValue = 30, kDoubleCounterValue = 44, kFlowIds = 47,
                       kCorrelationId = 52, kCallstackIid = 56;
/// Only read: categories by name; and flows as they were numbered first, in varints.
inline constexpr Field kCategories = 22, kFlowIdsOld = 36, kTerminatingFlowIds = 48, kTerminatingFlowIdsOld = 42,
                       kExtraCounterTrackUuids = 31;
inline constexpr std::uint64_t kSliceBegin = 1, kSliceEnd = 2, kInstant = 3, kCounter = 4;
}  // namespace track_event

namespace debug_annotation {
inline constexpr Field kNameIid = 1, kBool = 2, kUint = 3, kInt = 4, kDouble = 5, kString = 6, kPointer = 7, kJson = 9,
                       kName = 10, kDictEntries = 11, kArrayValues = 12, kStringIid = 17;
}

namespace interned_data {
inline constexpr Field kEventCategories = 1, kEventNames = 2, kDebugAnnotationNames = 3, kFunctionNames = 5, kFrames = 6,
                       kCallstacks = 7, kBuildIds = 16, kMappingPaths = 17, kSourcePaths = 18, kMappings = 19,
                       kDebugAnnotationStringValues = 29;
}
/// EventName, EventCategory, DebugAnnotationName {iid, name} and InternedString {iid, str} have the same numbers.
namespace interned_string { inline constexpr Field kIid = 1, kText = 2; }
namespace mapping {
inline constexpr Field kIid = 1, kBuildId = 2, kPathStringIds = 7;
}
namespace frame {
inline constexpr Field kIid = 1, kFunctionNameId = 2, kMappingId = 3, kRelPc = 4, kSourcePathIid = 5, kLineNumber = 6, kKind = 7;
inline constexpr std::uint64_t kNative = 1, kInterpreted = 3;
}  // namespace frame
namespace callstack { inline constexpr Field kIid = 1, kFrameIds = 2; }

namespace clock_snapshot { inline constexpr Field kClocks = 1, kPrimaryTraceClock = 2; }
namespace clock { inline constexpr Field kClockId = 1, kTimestamp = 2, kIsIncremental = 3, kUnitMultiplier = 4; }
/// kClockDelta is a sequence's own: each timestamp is the nanoseconds since the one before it.
inline constexpr std::uint64_t kClockRealtime = 1, kClockMonotonic = 3, kClockBoottime = 6, kClockDelta = 64;

// google.protobuf's descriptors, for extension_descriptor.
namespace extension_descriptor { inline constexpr Field kExtensionSet = 1; }
namespace file_set { inline constexpr Field kFile = 1; }
namespace file_descriptor { inline constexpr Field kName = 1, kPackage = 2, kEnumType = 5, kExtension = 7; }
namespace enum_descriptor { inline constexpr Field kName = 1, kValue = 2; }
namespace enum_value { inline constexpr Field kName = 1, kNumber = 2; }
namespace field_descriptor {
inline constexpr Field kName = 1, kExtendee = 2, kNumber = 3, kLabel = 4, kType = 5, kTypeName = 6;
inline constexpr std::uint64_t kOptional = 1, kInt64 = 3, kUint64 = 4, kBool = 8, kString = 9, kEnum = 14;
}  // namespace field_descriptor

namespace trace_stats { inline constexpr Field kBufferStats = 1, kWriterStats = 18; }
namespace buffer_stats { inline constexpr Field kBytesWritten = 1, kBufferSize = 12, kTraceWriterPacketLoss = 19; }
namespace writer_stats { inline constexpr Field kSequenceId = 1, kBuffer = 4; }

namespace thence_fields {
inline constexpr Field kFrameColumn = 7301;   ///< Frame: Perfetto's has no column
inline constexpr Field kFramePc = 7302;       ///< Frame: the absolute pc of a native frame
inline constexpr Field kMappingPath = 7303;   ///< Mapping: iid of the path as it was given, where that does not begin with '/'
inline constexpr Field kCounterId = 7304;     ///< CounterDescriptor: the CounterId
}  // namespace thence_fields

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
