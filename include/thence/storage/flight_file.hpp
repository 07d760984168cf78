// SPDX-License-Identifier: MIT
// flight_file.hpp: reads what a killed process left: a ring in a file (mapped_storage.hpp).
//
//   OpenedFlightFile opened = open_flight_file("/var/tmp/thence/loop.flight");
//   if (!opened) return complain(opened.error);
//   opened.file->for_each([](const RecordView& record) { ... });      // the same views that a live drain hands over
//
// Layer: storage (includes core/ only).
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/time.hpp"
#include "thence/storage/event_buffer.hpp"
#include "thence/storage/mapped_storage.hpp"
#include "thence/storage/ring_storage.hpp"

namespace thence {
inline namespace THENCE_ABI {

namespace detail {

template <std::size_t Size>
[[nodiscard]] std::string_view text_in(const std::array<char, Size>& field) noexcept {
  return {field.data(), static_cast<std::size_t>(std::find(field.begin(), field.end(), '\0') - field.begin())};
}

}  // namespace detail

struct OpenedFlightFile;

/// A flight file read into memory: of a killed process, or a copy of one still running (then a moment's view, whose oldest
/// records may already have been overwritten).
///   Errors    Whatever the bytes are, nothing is read outside them: what makes no sense is skipped and counted.
class FlightFile {
 public:
  /// The texts live as long as this does.
  [[nodiscard]] FlightFileInfo info() const noexcept {
    return {header_.salt,
            static_cast<LaneId>(header_.lane),
            header_.process_id,
            header_.thread_id,
            detail::text_in(header_.process_name),
            detail::text_in(header_.lane_name),
            detail::text_in(header_.clock),
            header_.nanoseconds_per_tick,
            detail::text_in(header_.overflow_policy)};
  }
  /// The first and the last whole clock points; none where the session gave none.
  [[nodiscard]] std::optional<FlightClockPoint> first_clock_point() const noexcept { return first_point_; }
  [[nodiscard]] std::optional<FlightClockPoint> last_clock_point() const noexcept { return last_point_; }

  [[nodiscard]] std::size_t capacity() const noexcept { return static_cast<std::size_t>(capacity_); }
  /// Events that the buffer refused or overwrote.
  [[nodiscard]] BufferLoss lost() const noexcept { return lost_; }
  /// What is wrong with the file, as a sentence; empty = nothing. What it does not concern is good.
  [[nodiscard]] const std::string& damage() const noexcept { return damage_; }
  /// Slots among those for_each() looks at that hold no part of a whole record.
  [[nodiscard]] std::uint64_t damaged_slots() const noexcept { return damaged_; }

  /// Hands every record that nobody had drained, oldest first, to `take(const RecordView&)`; returns how many.
  template <class Take>
  std::size_t for_each(Take&& take) const {
    return for_each_in(unread_from_, tail_, take);
  }
  /// The records before those, which a reader had drained already and which still stand in a ring. A session may not have
  /// written them out when it was killed.
  template <class Take>
  std::size_t for_each_drained(Take&& take) const {
    return for_each_in(drained_from_, unread_from_, take);
  }

 private:
  friend OpenedFlightFile read_flight_file(std::span<const std::byte> bytes, std::string_view name);

  /// The header's plain fields.
  struct Header {
    std::uint64_t salt = 0;
    std::uint32_t lane = 0;
    std::int32_t process_id = 0;
    std::int32_t thread_id = 0;
    std::uint64_t nanoseconds_per_tick = 0;
    std::array<char, 64> process_name{};
    std::array<char, 64> lane_name{};
    std::array<char, 32> clock{};
    std::array<char, 32> overflow_policy{};
  };

  /// Slots of the record at `at`, all of them below `end`; 0 if there is no whole record.
  [[nodiscard]] std::uint64_t whole_record(std::uint64_t at, std::uint64_t end) const noexcept {
    const Event* const head = slot(at);
    if (head == nullptr || head->kind() == EventKind::kPayload || head->kind() > EventKind::kRootSealed) return 0;
    if (head->kind() != EventKind::kAnnotated) return 1;
    const std::uint64_t bytes = number(head->other_id());
    const auto key_and_kind = static_cast<std::uint64_t>(head->type());
    const std::uint64_t key = key_and_kind & 0xfff;
    const std::uint64_t kind = key_and_kind >> 12;
    if (key > bytes || kind > static_cast<std::uint64_t>(ValueKind::kBool)) return 0;
    if (kind != static_cast<std::uint64_t>(ValueKind::kString) && bytes - key != sizeof(std::uint64_t)) return 0;
    if (bytes > (end - at) * kPayloadPerSlot) return 0;
    const std::uint64_t slots = detail::record_slots(static_cast<std::size_t>(bytes));
    if (slots > end - at) return 0;
    for (std::uint64_t part = at + 1; part != at + slots; ++part) {
      const Event* const payload = slot(part);
      if (payload == nullptr || payload->kind() != EventKind::kPayload) return 0;
    }
    return slots;
  }
  [[nodiscard]] const Event* slot(std::uint64_t position) const noexcept {
    const std::uint64_t index = position & (capacity_ - 1);
    return index < slots_present_ ? &slots_[static_cast<std::size_t>(index)] : nullptr;
  }

  template <class Take>
  std::size_t for_each_in(std::uint64_t at, std::uint64_t end, Take&& take) const {
    std::size_t records = 0;
    while (at != end) {
      const std::uint64_t slots = whole_record(at, end);
      if (slots != 0) {
        take(RecordView{slots_.get(), capacity_ - 1, at});
        ++records;
      }
      at += slots != 0 ? slots : 1;
    }
    return records;
  }

  Header header_;
  std::uint64_t capacity_ = 0;
  std::uint64_t slots_present_ = 0;  // fewer than capacity_ where the file was cut
  std::unique_ptr<Event[]> slots_;   // those present
  std::uint64_t drained_from_ = 0;
  std::uint64_t unread_from_ = 0;
  std::uint64_t tail_ = 0;
  std::uint64_t damaged_ = 0;
  BufferLoss lost_;
  std::optional<FlightClockPoint> first_point_;
  std::optional<FlightClockPoint> last_point_;
  std::string damage_;
};

/// The file, or why there is none: "path: what was expected".
struct OpenedFlightFile {
  std::optional<FlightFile> file;
  std::string error;
  [[nodiscard]] explicit operator bool() const noexcept { return file.has_value(); }
};

/// Reads the bytes of a flight file; `name` is what errors call it. Any bytes are safe.
[[nodiscard]] inline OpenedFlightFile read_flight_file(std::span<const std::byte> bytes, std::string_view name) {
  using Header = detail::FlightHeader;
  const auto fail = [name](std::string_view what) {
    std::string text{name};
    text.append(": ").append(what);
    return OpenedFlightFile{{}, std::move(text)};
  };
  const auto load = [bytes](std::size_t offset, auto& to) { std::memcpy(&to, bytes.data() + offset, sizeof to); };
  const auto word = [bytes](std::size_t offset) {
    std::uint64_t value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
  };

  if (bytes.size() < sizeof(Header::kMagic)) return fail("not a flight file: it is shorter than the first word");
  std::array<char, 8> magic;
  load(offsetof(Header, magic), magic);
  if (magic != Header::kMagic) return fail("not a flight file: expected \"thenceF\" at byte 0");
  if (bytes.size() < detail::kFlightSlotsOffset) return fail("truncated: it ends within the header");
  std::uint32_t byte_order, version, control_bytes, slot_bytes;
  load(offsetof(Header, byte_order), byte_order);
  load(offsetof(Header, version), version);
  load(offsetof(Header, control_bytes), control_bytes);
  load(offsetof(Header, slot_bytes), slot_bytes);
  if (byte_order != Header::kByteOrder) return fail("written on a machine with another byte order");
  if (version != Header::kVersion) return fail("format version " + std::to_string(version) + ", expected 1");
  const std::uint64_t capacity = word(offsetof(Header, capacity));
  if (!std::has_single_bit(capacity) || capacity < 2 || capacity > detail::kMaxFlightCapacity) {
    return fail("damaged header: expected a capacity that is a power of two, at most 2^27");
  }
  if (slot_bytes != sizeof(Event) || control_bytes != sizeof(RingControl) ||
      word(offsetof(Header, control_offset)) != detail::kFlightHeaderBytes ||
      word(offsetof(Header, slots_offset)) != detail::kFlightSlotsOffset ||
      word(offsetof(Header, file_bytes)) != detail::kFlightSlotsOffset + capacity * sizeof(Event)) {
    return fail("damaged header: its sizes contradict each other");
  }

  OpenedFlightFile opened{FlightFile{}, {}};
  FlightFile& file = *opened.file;
  FlightFile::Header& header = file.header_;
  header.salt = word(offsetof(Header, salt));
  load(offsetof(Header, lane), header.lane);
  load(offsetof(Header, process_id), header.process_id);
  load(offsetof(Header, thread_id), header.thread_id);
  header.nanoseconds_per_tick = word(offsetof(Header, nanoseconds_per_tick));
  load(offsetof(Header, process_name), header.process_name);
  load(offsetof(Header, lane_name), header.lane_name);
  load(offsetof(Header, clock), header.clock);
  load(offsetof(Header, overflow_policy), header.overflow_policy);
  header.process_name.back() = header.lane_name.back() = '\0';
  header.clock.back() = header.overflow_policy.back() = '\0';

  std::uint64_t newest = 0;
  for (std::size_t at = 0; at != std::size(Header{}.points); ++at) {
    const std::size_t offset = offsetof(Header, points) + at * sizeof(Header::ClockPoint);
    const std::uint64_t begun = word(offset + offsetof(Header::ClockPoint, begun));
    if (begun == 0 || begun != word(offset + offsetof(Header::ClockPoint, done))) continue;
    const FlightClockPoint point{
        static_cast<Ticks>(word(offset + offsetof(Header::ClockPoint, ticks))),
        {word(offset + offsetof(Header::ClockPoint, boottime)), word(offset + offsetof(Header::ClockPoint, monotonic)),
         word(offset + offsetof(Header::ClockPoint, realtime))}};
    if (at == 0) file.first_point_ = point;
    if (begun > newest) {
      newest = begun;
      file.last_point_ = point;
    }
  }

  const std::uint64_t control = detail::kFlightHeaderBytes;
  file.lost_ = {word(control + offsetof(RingControl, lost)),
                static_cast<Ticks>(word(control + offsetof(RingControl, first_lost))),
                static_cast<Ticks>(word(control + offsetof(RingControl, last_lost)))};

  const std::uint64_t present =
      std::min<std::uint64_t>(capacity, (bytes.size() - detail::kFlightSlotsOffset) / sizeof(Event));
  file.slots_.reset(new (std::nothrow) Event[static_cast<std::size_t>(present)]);
  if (file.slots_ == nullptr) return fail("not enough memory for " + std::to_string(present) + " events");
  file.capacity_ = capacity;
  file.slots_present_ = present;
  if (present != 0) {
    std::memcpy(file.slots_.get(), bytes.data() + detail::kFlightSlotsOffset,
                static_cast<std::size_t>(present) * sizeof(Event));
  }
  if (present != capacity) {
    file.damage_ = std::string(name) + ": truncated: " + std::to_string(present) + " of " + std::to_string(capacity) +
                   " slots are there";
  }

  file.tail_ = word(control + offsetof(RingControl, tail));
  file.unread_from_ = word(control + offsetof(RingControl, head));
  const bool recorder = detail::text_in(header.overflow_policy) == "overwrite-oldest";
  const std::uint64_t in_buffer = file.tail_ > capacity ? file.tail_ - capacity : 0;
  if (file.unread_from_ > file.tail_ || file.unread_from_ < in_buffer) {
    if (file.damage_.empty())
      file.damage_ = std::string(name) + ": damaged positions: expected head and tail at most a capacity apart";
    file.unread_from_ = in_buffer;
  }
  // Below a recorder's head all is overwritten, or about to be. A ring's producer may have been stopped while it wrote a
  // record over the oldest drained slots; a tracer's longest takes 47.
  constexpr std::uint64_t kLongestRecord = 64;
  const std::uint64_t kept = capacity > kLongestRecord ? capacity - kLongestRecord : 0;
  const std::uint64_t oldest = file.tail_ > kept ? file.tail_ - kept : 0;
  file.drained_from_ = recorder ? file.unread_from_ : std::min(oldest, file.unread_from_);

  // The first record's head may be overwritten: what is left of it is no damage.
  while (file.unread_from_ != file.tail_ && recorder) {
    const Event* const slot = file.slot(file.unread_from_);
    if (slot == nullptr || slot->kind() != EventKind::kPayload) break;
    ++file.unread_from_;
  }
  if (recorder) file.drained_from_ = file.unread_from_;
  for (std::uint64_t at = file.unread_from_; at != file.tail_;) {
    const std::uint64_t slots = file.whole_record(at, file.tail_);
    if (slots == 0) ++file.damaged_;
    at += slots != 0 ? slots : 1;
  }
  if (file.damaged_ != 0 && file.damage_.empty()) {
    file.damage_ = std::string(name) + ": damaged: " + std::to_string(file.damaged_) + " slots hold no whole record";
  }
  return opened;
}

/// Reads a flight file. It is copied first, so that a file that is cut while we look cannot hurt.
[[nodiscard]] inline OpenedFlightFile open_flight_file(const char* path) {
  const detail::FileDescriptor file{::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.get() < 0) return {{}, detail::file_error(path, "open", errno)};
  struct ::stat status {};
  if (::fstat(file.get(), &status) != 0) return {{}, detail::file_error(path, "stat", errno)};
  if (!S_ISREG(status.st_mode)) return {{}, std::string(path) + ": not a regular file"};
  const std::uint64_t limit = detail::kFlightSlotsOffset + detail::kMaxFlightCapacity * sizeof(Event);
  const auto size =
      static_cast<std::size_t>(std::min<std::uint64_t>(static_cast<std::uint64_t>(status.st_size), limit));
  // The header first: a large file that is none of ours need not be read.
  std::array<std::byte, detail::FlightHeader::kMagic.size()> magic{};
  const ssize_t begun = ::pread(file.get(), magic.data(), magic.size(), 0);
  if (begun < 0) return {{}, detail::file_error(path, "read", errno)};
  if (std::memcmp(magic.data(), detail::FlightHeader::kMagic.data(), magic.size()) != 0) {
    return read_flight_file(std::span(magic).first(static_cast<std::size_t>(begun)), path);
  }
  const std::unique_ptr<std::byte[]> bytes{new (std::nothrow) std::byte[size]};
  if (bytes == nullptr) return {{}, detail::file_error(path, "read", ENOMEM)};
  std::size_t read = 0;
  while (read != size) {
    const ssize_t here = ::pread(file.get(), bytes.get() + read, size - read, static_cast<off_t>(read));
    if (here < 0 && errno == EINTR) continue;
    if (here < 0) return {{}, detail::file_error(path, "read", errno)};
    if (here == 0) break;
    read += static_cast<std::size_t>(here);
  }
  return read_flight_file({bytes.get(), read}, path);
}

}  // namespace THENCE_ABI
}  // namespace thence
