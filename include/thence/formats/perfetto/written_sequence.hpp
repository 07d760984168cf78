// SPDX-License-Identifier: MIT
// written_sequence.hpp: what a writer of Perfetto packets keeps of one of its sequences.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "thence/config/version.hpp"
#include "thence/core/vector.hpp"
#include "thence/wire/byte_sink.hpp"

namespace thence {
inline namespace THENCE_ABI {

template <ByteSink Sink>
class PerfettoWriter;

namespace perfetto {

enum class Dictionary : unsigned {
  kNames, kCategories, kAnnotationKeys, kFunctions, kSources, kMappingPaths, kBuildIds, kMappings, kFrames, kCallstacks, kEnd
};

/// A sequence of packets, which a writer opens and keeps. For that writer's calls alone.
///   Threads   the writer's.
///   Lifetime  the writer's.
class WrittenSequence {
 public:
  WrittenSequence(const WrittenSequence&) = delete;
  WrittenSequence& operator=(const WrittenSequence&) = delete;

  [[nodiscard]] std::uint32_t id() const noexcept { return id_; }
  /// How many times it has started. Where that has changed, what was described on it is to be described again.
  [[nodiscard]] std::uint32_t generation() const noexcept { return generation_; }

 private:
  template <ByteSink Sink>
  friend class thence::PerfettoWriter;

  WrittenSequence() = default;

  std::uint32_t id_ = 0;
  std::uint32_t generation_ = 0;  // 0: nothing sent yet
  bool due_ = true;               // it starts (anew) with its next packet
  bool dropped_ = false;
  std::uint64_t last_time_ = 0;
  // What an event's packet begins with, up to the uuid of a track, for a time of two bytes; where that does not fit, up
  // to the time.
  std::array<std::byte, 16> head_{};
  std::uint64_t two_byte_times_ = 0;  // how many there are, from 0x80 on; 0: the head does not fit
  std::size_t head_size_ = 0;         // up to the time
  std::size_t event_at_ = 0;          // behind a time of two bytes, where the event's content begins
  // For numbers of one byte, what nearly every event asks: the field that says a name, 0 where the name was not sent in
  // this generation; and whether a key was sent.
  std::array<std::uint16_t, 0x80> short_names_{};
  std::array<bool, 0x80> short_keys_{};
  std::uint64_t default_track_ = 0;
  std::uint64_t cleared_at_ = 0;
  std::uint64_t good_until_ = 0;  // byte of the file at which it starts anew
  WrittenSequence* sooner_ = nullptr;  // in the writer's list of those that are good yet
  WrittenSequence* later_ = nullptr;
  detail::Vector<std::uint64_t> counters_;  // extra_counter_track_uuids
  // For each dictionary and index, the generation in which it was last sent.
  std::array<detail::Vector<std::uint32_t>, static_cast<unsigned>(Dictionary::kEnd)> sent_;
};

}  // namespace perfetto

}  // namespace THENCE_ABI
}  // namespace thence
