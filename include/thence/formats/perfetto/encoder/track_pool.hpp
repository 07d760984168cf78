// SPDX-License-Identifier: MIT
// track_pool.hpp: the tracks of a Perfetto trace that resources lie on, used again when their resources have ended.
//
// Perfetto pays for each track, so that a request that has gone leaves its tracks to the next one. A **slot** is the track of
// a request and those below it: one for each of its resources that are open at once, by type.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstdint>

#include "thence/config/version.hpp"
#include "thence/core/vector.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/formats/perfetto/encoder/prefetch.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// A track that resources lie on.
struct PooledTrack {
  std::uint64_t uuid = 0;
  std::uint64_t free_since = 0;
  std::uint32_t generation = 0;  // of the resources' sequence, in which it was described
  std::uint32_t slot = 0;
  std::uint32_t name = 0;
  std::uint32_t next_free = IdMap::kAbsent;
  std::uint32_t next_in_slot = IdMap::kAbsent;
};

/// A track for a request and what lies below it; the next request takes it when this one has gone.
struct Slot {
  /// Its tracks of one name that are free, the one free for longest first.
  struct Free {
    std::uint32_t name = 0;
    std::uint32_t first = IdMap::kAbsent;
    std::uint32_t last = IdMap::kAbsent;
  };

  PooledTrack main;
  bool rootless = false;
  bool main_taken = false;
  bool leaves_open = false;  // a slice on one of its tracks has no end
  std::uint32_t first_track = IdMap::kAbsent;
  std::uint32_t next_free = IdMap::kAbsent;
  detail::Vector<Free> free;

  [[nodiscard]] Free& free_of(std::uint32_t name) {
    for (Free& known : free) {
      if (known.name == name) return known;
    }
    return free.emplace_back(Free{name});
  }
};

/// Slots and tracks, by their places.
///   Threads   one.
///   Cost      O(1), but for the names of a slot's tracks, which are looked through.
///   When full it grows.
///   Errors    std::bad_alloc.
class TrackPool {
 public:
  static constexpr std::uint32_t kNone = IdMap::kAbsent;

  /// `quarantine_ns`: for how long a track that was given back is not taken again. `once`: resources have a track of their
  /// own each, which none takes again.
  TrackPool(std::uint64_t quarantine_ns, bool once) noexcept : quarantine_ns_(quarantine_ns), once_(once) {}

  /// Before the first track: what makes uuids different from those of other traces.
  void begin(std::uint64_t salt) noexcept { uuid_base_ = mix64(salt ^ 0x7472'61636b73u); }

  /// The uuid of a new track: spread over 64 bits, and not 0.
  [[nodiscard]] std::uint64_t next_uuid() noexcept {
    const std::uint64_t uuid = mix64(uuid_base_ + ++made_);
    return uuid == 0 ? 1 : uuid;
  }
  /// uuids that were made.
  [[nodiscard]] std::uint64_t made() const noexcept { return made_; }

  [[nodiscard]] Slot& slot(std::uint32_t place) noexcept { return slots_[place]; }
  [[nodiscard]] PooledTrack& track(std::uint32_t place) noexcept { return tracks_[place]; }
  void prefetch_track(std::uint32_t place) const noexcept { prefetch(&tracks_[place]); }

  /// A slot for a request that begins at `time`, or for what belongs to none.
  [[nodiscard]] std::uint32_t take_slot(bool rootless, std::uint64_t time) {
    std::uint32_t place = first_free_slot_;
    if (!rootless && place != kNone && slots_[place].main.free_since + quarantine_ns_ <= time) {
      first_free_slot_ = slots_[place].next_free;
      if (first_free_slot_ == kNone) last_free_slot_ = kNone;
      if (once_) renew(slots_[place].main);
    } else if (unused_slot_ != kNone) {
      place = unused_slot_;
      unused_slot_ = slots_[place].next_free;
      renew(slots_[place].main);
    } else {
      place = static_cast<std::uint32_t>(slots_.size());
      renew(slots_.emplace_back().main);
    }
    Slot& slot = slots_[place];
    slot.rootless = rootless;
    slot.main_taken = false;
    slot.leaves_open = false;
    slot.next_free = kNone;
    return place;
  }

  /// Gives a slot back. One with an open slice never carries another request: its uuids are not used again.
  void give_slot(std::uint32_t place, std::uint64_t time) {
    Slot& slot = slots_[place];
    if (!slot.leaves_open) {
      slot.main.free_since = time;
      if (last_free_slot_ == kNone) {
        first_free_slot_ = place;
      } else {
        slots_[last_free_slot_].next_free = place;
      }
      last_free_slot_ = place;
      return;
    }
    for (std::uint32_t at = slot.first_track; at != kNone;) {
      const std::uint32_t next = tracks_[at].next_in_slot;
      tracks_[at].next_free = unused_track_;
      unused_track_ = at;
      at = next;
    }
    slot.first_track = kNone;
    slot.free.clear();
    slot.next_free = unused_slot_;
    unused_slot_ = place;
  }

  /// A track below a slot for a resource of the type `name`, which is created at `time`.
  [[nodiscard]] std::uint32_t take_track(std::uint32_t slot_place, std::uint32_t name, std::uint64_t time) {
    Slot& slot = slots_[slot_place];
    Slot::Free& free = slot.free_of(name);
    if (!once_ && free.first != kNone && tracks_[free.first].free_since + quarantine_ns_ <= time) {
      const std::uint32_t place = free.first;
      free.first = tracks_[place].next_free;
      if (free.first == kNone) {
        free.last = kNone;
      } else {
        prefetch(&tracks_[free.first]);
      }
      tracks_[place].next_free = kNone;
      return place;
    }
    std::uint32_t place = unused_track_;
    if (place != kNone) {
      unused_track_ = tracks_[place].next_free;
    } else {
      place = static_cast<std::uint32_t>(tracks_.size());
      tracks_.emplace_back();
    }
    PooledTrack& track = tracks_[place];
    renew(track);
    track.slot = slot_place;
    track.name = name;
    if (once_) return place;  // its place in the table is used again, it is not
    track.next_in_slot = slot.first_track;
    slot.first_track = place;
    return place;
  }

  void give_track(std::uint32_t place, std::uint64_t time) {
    PooledTrack& track = tracks_[place];
    if (once_) {
      track.next_free = unused_track_;
      unused_track_ = place;
      return;
    }
    track.free_since = time;
    track.next_free = kNone;
    Slot::Free& free = slots_[track.slot].free_of(track.name);
    if (free.last == kNone) {
      free.first = place;
    } else {
      tracks_[free.last].next_free = place;
    }
    free.last = place;
  }

 private:
  void renew(PooledTrack& track) noexcept {
    track = {};
    track.uuid = next_uuid();
  }

  std::uint64_t quarantine_ns_;
  bool once_;
  std::uint64_t uuid_base_ = 0;
  std::uint64_t made_ = 0;
  detail::Vector<PooledTrack> tracks_;
  detail::Vector<Slot> slots_;
  std::uint32_t unused_track_ = kNone;
  std::uint32_t first_free_slot_ = kNone;
  std::uint32_t last_free_slot_ = kNone;
  std::uint32_t unused_slot_ = kNone;
};

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
