// SPDX-License-Identifier: MIT
// mapped_storage.hpp: a ring in a file, so that what a killed process leaves can be read.
//
// A process that is killed has no time to write its trace down. Where its rings lie in shared, file-backed memory, every
// event that was published is in the page cache at that moment and stays there. The file is the ring itself: a header page,
// the control block, the slots.
//
//   MappedFile mapped = MappedFileStorage::create("/var/tmp/thence/loop.flight", 1 << 15, {.lane_name = "loop"});
//   if (!mapped) return complain(mapped.error);                       // "/var/tmp/thence/loop.flight: open: Permission denied"
//   FlightRecorder<MappedFileStorage> recorder{std::move(*mapped.storage)};
//
// After a crash, in any process:
//
//   OpenedFlightFile opened = open_flight_file("/var/tmp/thence/loop.flight");
//   if (!opened) return complain(opened.error);
//   opened.file->for_each([](const RecordView& record) { ... });      // the same views that a live drain hands over
//
// A power failure may lose what the kernel had not written back; a killed process loses nothing.
// Layer: storage (includes core/ only).
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "thence/config/platform.hpp"
#include "thence/core/event.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/storage/event_buffer.hpp"
#include "thence/storage/ring_storage.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// What a flight file says of the lane that wrote it. Texts are cut at the header's room (63 bytes; clock and policy 31).
struct FlightFileInfo {
  std::uint64_t salt = 0;  ///< of the session: files with the same salt are one trace
  LaneId lane = LaneId::kNone;
  std::int32_t process_id = 0;  ///< 0: the creating process
  std::int32_t thread_id = 0;   ///< 0: the creating thread
  std::string_view process_name = {};
  std::string_view lane_name = {};
  std::string_view clock = {};             ///< Clock::name() of the ticks
  std::uint64_t nanoseconds_per_tick = 0;  ///< 0: to be measured from the clock points
  std::string_view overflow_policy = {};   ///< set by the buffer that takes the storage
};

/// One moment on a tracer's clock and on the system's.
struct FlightClockPoint {
  Ticks ticks{};
  ClockSnapshot system;
};

namespace detail {

/// The first page of a flight file, as it lies there, in the machine's byte order.
struct FlightHeader {
  static constexpr std::array<char, 8> kMagic = {'t', 'h', 'e', 'n', 'c', 'e', 'F', '\n'};
  static constexpr std::uint32_t kByteOrder = 0x01020304;
  static constexpr std::uint32_t kVersion = 1;

  /// Whole when both numbers are equal and not 0; the one with the higher number is the newer.
  struct ClockPoint {
    std::atomic<std::uint64_t> begun;
    std::atomic<std::uint64_t> ticks;
    std::atomic<std::uint64_t> boottime;
    std::atomic<std::uint64_t> monotonic;
    std::atomic<std::uint64_t> realtime;
    std::atomic<std::uint64_t> done;
  };

  std::array<char, 8> magic;
  std::uint32_t byte_order;
  std::uint32_t version;
  std::uint64_t file_bytes;
  std::uint64_t control_offset;
  std::uint64_t slots_offset;
  std::uint64_t capacity;
  std::uint32_t control_bytes;
  std::uint32_t slot_bytes;
  std::uint64_t salt;
  std::uint32_t lane;
  std::int32_t process_id;
  std::int32_t thread_id;
  std::uint32_t unused;
  std::uint64_t nanoseconds_per_tick;
  std::array<char, 64> process_name;
  std::array<char, 64> lane_name;
  std::array<char, 32> clock;
  std::array<char, 32> overflow_policy;
  ClockPoint points[3];  // the first one; the later ones in turns
};
static_assert(std::is_standard_layout_v<FlightHeader> && std::atomic<std::uint64_t>::is_always_lock_free);

inline constexpr std::uint64_t kFlightHeaderBytes = 4096;
inline constexpr std::uint64_t kFlightSlotsOffset = 2 * kFlightHeaderBytes;
/// More would be a mistake, in a program or in a damaged file: 4 GiB of slots.
inline constexpr std::uint64_t kMaxFlightCapacity = std::uint64_t{1} << 27;
static_assert(sizeof(FlightHeader) <= kFlightHeaderBytes && sizeof(RingControl) <= kFlightHeaderBytes);

template <std::size_t Size>
void put_text(std::array<char, Size>& field, std::string_view text) noexcept {
  field.fill('\0');
  std::copy_n(text.data(), std::min(text.size(), Size - 1), field.data());
}
template <std::size_t Size>
[[nodiscard]] std::string_view text_in(const std::array<char, Size>& field) noexcept {
  return {field.data(), static_cast<std::size_t>(std::find(field.begin(), field.end(), '\0') - field.begin())};
}

[[nodiscard]] inline std::string file_error(std::string_view path, std::string_view what, int error) {
  std::string text{path};
  text.append(": ").append(what).append(": ").append(std::generic_category().message(error));
  return text;
}

/// Closes its descriptor.
class FileDescriptor {
 public:
  explicit FileDescriptor(int descriptor) noexcept : descriptor_(descriptor) {}
  ~FileDescriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace detail

struct MappedFile;

/// Slots and control block in a shared mapping of a file.
///   Shape     `capacity` is rounded up to a power of two, at least 2. The file takes 8 KiB and 32 bytes a slot; all of it is
///             allocated when it is made, so that a full disk is an error then and not a signal later.
///   Threads   one makes it and gives it to a buffer; add_clock_point from one thread at a time; the rest as RingControl.
///   Cost      that of memory; where the kernel writes pages back (not on tmpfs), now and then a page fault in a store.
///   Errors    create() tells them; nothing throws but for std::bad_alloc.
///   Lifetime  movable; the file stays when the storage goes, unless remove() was called: it is what a crash leaves.
///             After fork the mapping is shared with the child, which must not write to it.
class MappedFileStorage {
 public:
  static constexpr bool kOutlivesProcess = true;  ///< the position of what is published is kept in the file

  /// Makes the file, readable by its owner only. One that exists is not touched: it may be what a crash left.
  [[nodiscard]] static MappedFile create(const char* path, std::size_t capacity, const FlightFileInfo& info = {});

  MappedFileStorage(MappedFileStorage&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        path_(std::move(other.path_)) {}
  MappedFileStorage& operator=(MappedFileStorage&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    std::swap(path_, other.path_);
    return *this;
  }
  ~MappedFileStorage() {
    if (base_ != nullptr) ::munmap(base_, bytes_);
  }

  [[nodiscard]] std::span<Event> slots() noexcept {
    return {reinterpret_cast<Event*>(base_ + detail::kFlightSlotsOffset), static_cast<std::size_t>(header().capacity)};
  }
  [[nodiscard]] RingControl& control() noexcept {
    return *reinterpret_cast<RingControl*>(base_ + detail::kFlightHeaderBytes);
  }

  /// The session's: lets a reader turn ticks into time. The first point is kept, of the others the newest.
  void add_clock_point(const FlightClockPoint& point) noexcept {
    detail::FlightHeader& head = header();
    const std::uint64_t number = ++points_;
    detail::FlightHeader::ClockPoint& slot = head.points[number == 1 ? 0 : 1 + number % 2];
    slot.begun.store(number, std::memory_order_relaxed);
    slot.ticks.store(count_of(point.ticks), std::memory_order_release);
    slot.boottime.store(point.system.boottime, std::memory_order_release);
    slot.monotonic.store(point.system.monotonic, std::memory_order_release);
    slot.realtime.store(point.system.realtime, std::memory_order_release);
    slot.done.store(number, std::memory_order_release);
  }
  void set_clock(std::string_view name, std::uint64_t nanoseconds_per_tick) noexcept {
    detail::put_text(header().clock, name);
    header().nanoseconds_per_tick = nanoseconds_per_tick;
  }
  /// Called by the buffer that takes this storage.
  void set_overflow_policy(std::string_view name) noexcept { detail::put_text(header().overflow_policy, name); }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Deletes the file's name: all was drained, nothing is left to recover. The mapping stays. 0, or errno.
  int remove() noexcept { return ::unlink(path_.c_str()) == 0 ? 0 : errno; }

 private:
  MappedFileStorage(std::byte* base, std::size_t bytes, std::string path) noexcept
      : base_(base), bytes_(bytes), path_(std::move(path)) {}
  [[nodiscard]] detail::FlightHeader& header() noexcept { return *reinterpret_cast<detail::FlightHeader*>(base_); }

  std::byte* base_;
  std::size_t bytes_;
  std::string path_;
  std::uint64_t points_ = 0;
};
static_assert(RingStorage<MappedFileStorage>);

/// The storage, or why there is none: "path: what was tried: the system's words".
struct MappedFile {
  std::optional<MappedFileStorage> storage;
  std::string error;
  [[nodiscard]] explicit operator bool() const noexcept { return storage.has_value(); }
};

inline MappedFile MappedFileStorage::create(const char* path, std::size_t capacity, const FlightFileInfo& info) {
  if (capacity > detail::kMaxFlightCapacity)
    return {{}, detail::file_error(path, "capacity above 2^27 events", EINVAL)};
  capacity = std::bit_ceil(capacity < 2 ? std::size_t{2} : capacity);
  const std::size_t bytes = detail::kFlightSlotsOffset + capacity * sizeof(Event);
  const detail::FileDescriptor file{::open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (file.get() < 0) return {{}, detail::file_error(path, "create", errno)};
  const int allocated = ::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes));
  if (allocated != 0) {
    ::unlink(path);
    return {{}, detail::file_error(path, "allocate " + std::to_string(bytes) + " bytes", allocated)};
  }
  void* const base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file.get(), 0);
  if (base == MAP_FAILED) {
    const int error = errno;
    ::unlink(path);
    return {{}, detail::file_error(path, "map", error)};
  }
  std::memset(base, 0, bytes);  // no page fault is left for the hot path
  auto* const header = ::new (base) detail::FlightHeader{};
  header->byte_order = detail::FlightHeader::kByteOrder;
  header->version = detail::FlightHeader::kVersion;
  header->file_bytes = bytes;
  header->control_offset = detail::kFlightHeaderBytes;
  header->slots_offset = detail::kFlightSlotsOffset;
  header->capacity = capacity;
  header->control_bytes = sizeof(RingControl);
  header->slot_bytes = sizeof(Event);
  header->salt = info.salt;
  header->lane = static_cast<std::uint32_t>(info.lane);
  header->process_id = info.process_id != 0 ? info.process_id : ::getpid();
  header->thread_id = info.thread_id != 0 ? info.thread_id : static_cast<std::int32_t>(::syscall(SYS_gettid));
  header->nanoseconds_per_tick = info.nanoseconds_per_tick;
  detail::put_text(header->process_name, info.process_name);
  detail::put_text(header->lane_name, info.lane_name);
  detail::put_text(header->clock, info.clock);
  detail::put_text(header->overflow_policy, info.overflow_policy);
  ::new (static_cast<std::byte*>(base) + detail::kFlightHeaderBytes) RingControl{};
  std::uninitialized_value_construct_n(
      reinterpret_cast<Event*>(static_cast<std::byte*>(base) + detail::kFlightSlotsOffset), capacity);
  std::atomic_signal_fence(std::memory_order_release);
  header->magic = detail::FlightHeader::kMagic;  // last: a file without it was never finished
  return {MappedFileStorage{static_cast<std::byte*>(base), bytes, path}, {}};
}

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
