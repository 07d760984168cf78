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
// After a crash any process can read it (flight_file.hpp). A power failure may lose what the kernel had not written back; a
// killed process loses nothing.
// Layer: storage (includes core/ only).
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "thence/config/platform.hpp"
#include "thence/core/event.hpp"
#include "thence/core/time.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/view.hpp"
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
  field = {};
  if (!text.empty()) std::memcpy(field.data(), text.data(), text.size() < Size ? text.size() : Size - 1);
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
    path_.swap(other.path_);
    return *this;
  }
  ~MappedFileStorage() {
    if (base_ != nullptr) ::munmap(base_, bytes_);
  }

  [[nodiscard]] View<Event> slots() noexcept {
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
  auto* const slots = reinterpret_cast<Event*>(static_cast<std::byte*>(base) + detail::kFlightSlotsOffset);
  for (std::size_t at = 0; at != capacity; ++at) ::new (static_cast<void*>(slots + at)) Event();
  std::atomic_signal_fence(std::memory_order_release);
  header->magic = detail::FlightHeader::kMagic;  // last: a file without it was never finished
  return {MappedFileStorage{static_cast<std::byte*>(base), bytes, path}, {}};
}

}  // namespace THENCE_ABI
}  // namespace thence
