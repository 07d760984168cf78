// SPDX-License-Identifier: MIT
#include "thence/storage/flight_file.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <random>
#include <vector>

#include "storage/support.hpp"
#include "thence/storage/flight_recorder.hpp"
#include "thence/storage/ring_buffer.hpp"

using namespace thence;
using namespace thence_test;

namespace {

std::vector<Seen> unread(const FlightFile& file) {
  std::vector<Seen> all;
  file.for_each([&](const RecordView& record) { all.push_back(seen_of(record)); });
  return all;
}
std::vector<Seen> already_drained(const FlightFile& file) {
  std::vector<Seen> all;
  file.for_each_drained([&](const RecordView& record) { all.push_back(seen_of(record)); });
  return all;
}
std::vector<std::byte> bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}
FlightFile opened(const std::string& path) {
  OpenedFlightFile file = open_flight_file(path.c_str());
  INFO(file.error);
  REQUIRE(file);
  return std::move(*file.file);
}
/// Offsets of the format, written down here by hand.
constexpr std::size_t kVersionAt = 12, kCapacityAt = 40, kTailAt = 4096, kHeadAt = 4096 + 64, kSlotsAt = 8192;
void put_word(std::vector<std::byte>& bytes, std::size_t at, std::uint64_t value) {
  std::memcpy(&bytes[at], &value, sizeof value);
}

/// Runs `child` in a forked process, which says over a pipe how far it is; kills it with SIGKILL once it said `until`.
/// Returns the last number that the child had said it published when it died.
template <class Child>
std::uint64_t kill_a_child(Child&& child, std::uint64_t until) {
  int fds[2];
  REQUIRE(pipe(fds) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    close(fds[0]);
    child(
        [&](std::uint64_t published) { [[maybe_unused]] const auto n = write(fds[1], &published, sizeof published); });
    _exit(0);
  }
  close(fds[1]);
  std::uint64_t published = 0, word = 0;
  bool killed = false;
  while (read(fds[0], &word, sizeof word) == sizeof word) {
    published = word;
    if (published >= until && !killed) {
      kill(pid, SIGKILL);
      killed = true;
    }
  }
  close(fds[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGKILL);
  return published;
}

}  // namespace

TEST_CASE("every event that a killed process had published in its ring can be read") {
  TemporaryDirectory directory;
  const std::string path = directory.file("loop.flight");
  const std::uint64_t published = kill_a_child(
      [&](auto&& say) {
        MappedFile mapped_file = MappedFileStorage::create(
            path.c_str(), 1 << 16, {.salt = 77, .lane = static_cast<LaneId>(3), .lane_name = "loop", .clock = "tsc"});
        if (!mapped_file) _exit(1);
        RingBuffer<DropNewest, MappedFileStorage> ring{std::move(*mapped_file.storage)};
        for (std::uint64_t n = 1;; ++n) {
          if (n % 10 == 0) {
            ring.try_push(annotation(n, 0, n % 100), "", text_of_length(n, n % 100));
          } else {
            ring.try_push(numbered(n));
          }
          if (n < 20'000) say(n);
        }
      },
      5000);
  REQUIRE(published >= 5000);
  const FlightFile file = opened(path);
  CHECK(file.damage().empty());
  CHECK(file.info().salt == 77);
  CHECK(file.info().lane == static_cast<LaneId>(3));
  CHECK(file.info().lane_name == "loop");
  CHECK(file.info().clock == "tsc");
  CHECK(file.info().overflow_policy == "drop-newest");
  CHECK(file.info().process_id > 0);
  CHECK(file.info().process_id != getpid());
  const std::vector<Seen> all = unread(file);
  REQUIRE(all.size() >= published);
  for (std::uint64_t n = 1; n <= all.size(); ++n) {
    const Seen& seen = all[n - 1];
    REQUIRE(seen.number == n);
    REQUIRE(seen.first == 1000 + n);
    if (n % 10 == 0) REQUIRE(seen.payload == text_of_length(n, n % 100));
  }
}

TEST_CASE("what a killed process leaves in a flight recorder is its newest events, none torn") {
  for (int turn = 0; turn != 5; ++turn) {
    TemporaryDirectory directory;
    const std::string path = directory.file("loop.flight");
    const std::uint64_t published = kill_a_child(
        [&](auto&& say) {
          MappedFile mapped_file = MappedFileStorage::create(path.c_str(), 1024);
          if (!mapped_file) _exit(1);
          FlightRecorder<MappedFileStorage> recorder{std::move(*mapped_file.storage)};
          char text[150];
          for (std::uint64_t n = 1;; ++n) {
            if (n % 7 == 0) {
              const std::size_t length = n % 149;
              for (std::size_t at = 0; at != length; ++at) text[at] = static_cast<char>('!' + (n * 31 + at * 7) % 90);
              recorder.try_push(annotation(n, 0, length), "", {text, length});
            } else {
              recorder.try_push({Event::head_of(static_cast<ResourceId>(n), EventKind::kEntered), 1000 + n, n, n});
            }
            if (n % 10'000 == 0) say(n);
          }
        },
        static_cast<std::uint64_t>(50'000 + turn * 30'000));
    const FlightFile file = opened(path);
    INFO(file.damage());
    CHECK(file.damage().empty());
    CHECK(file.damaged_slots() == 0);
    CHECK(file.info().overflow_policy == "overwrite-oldest");
    const std::vector<Seen> all = unread(file);
    REQUIRE(all.size() > 200);
    CHECK(all.back().number >= published);
    std::uint64_t n = all.front().number;
    for (const Seen& seen : all) {
      REQUIRE(seen.number == n);
      REQUIRE(seen.first == 1000 + n);
      if (n % 7 == 0) REQUIRE(seen.payload == text_of_length(n, n % 149));
      ++n;
    }
    // Killed between the announcement and its count, it may have counted a batch less.
    CHECK(file.lost().count <= all.front().number - 1);
    CHECK(file.lost().count + 64 >= all.front().number - 1);
    CHECK(count_of(file.lost().first) == 1001);
    CHECK(already_drained(file).empty());
  }
}

TEST_CASE("a live file tells what is unread, and what was drained and still stands") {
  TemporaryDirectory directory;
  const std::string path = directory.file("loop.flight");
  MappedFile made =
      MappedFileStorage::create(path.c_str(), 1024, {.process_name = "server", .nanoseconds_per_tick = 1});
  REQUIRE(made);
  RingBuffer<DropNewest, MappedFileStorage> ring{std::move(*made.storage)};
  for (std::uint64_t n = 1; n <= 300; ++n) ring.try_push(numbered(n));
  CHECK(numbers(drained(ring)) == from_to(1, 300));
  for (std::uint64_t n = 301; n <= 320; ++n) ring.try_push(numbered(n));
  {
    const FlightFile file = opened(path);
    CHECK(numbers(unread(file)) == from_to(301, 320));
    CHECK(numbers(already_drained(file)) == from_to(1, 300));
    CHECK(file.info().process_name == "server");
    CHECK(file.info().process_id == getpid());
    CHECK(file.info().thread_id == getpid());
    CHECK(file.info().nanoseconds_per_tick == 1);
    CHECK_FALSE(file.first_clock_point());
  }
  drained(ring);
  for (std::uint64_t n = 321; n <= 3000; ++n) {
    ring.try_push(numbered(n));
    if (n % 100 == 0) drained(ring);
  }
  const FlightFile file = opened(path);
  CHECK(unread(file).empty());
  const std::vector<std::int64_t> old = numbers(already_drained(file));
  CHECK(old == from_to(old.front(), 3000));
  CHECK(old.size() >= 1024 - 64);
}

TEST_CASE("the loss that no record marks stands in the file") {
  TemporaryDirectory directory;
  const std::string path = directory.file("loop.flight");
  MappedFile made = MappedFileStorage::create(path.c_str(), 8);
  REQUIRE(made);
  RingBuffer<DropNewest, MappedFileStorage> ring{std::move(*made.storage)};
  for (std::uint64_t n = 1; n <= 30; ++n) ring.try_push(numbered(n));
  const FlightFile file = opened(path);
  CHECK(file.lost().count == 22);
  CHECK(count_of(file.lost().first) == 1009);
  CHECK(count_of(file.lost().last) == 1030);
  CHECK(numbers(unread(file)) == from_to(1, 8));
}

TEST_CASE("of the clock points the first and the newest are kept, and one that is half written is none") {
  TemporaryDirectory directory;
  const std::string path = directory.file("loop.flight");
  MappedFile made = MappedFileStorage::create(path.c_str(), 8);
  REQUIRE(made);
  const auto point = [](std::uint64_t n) { return FlightClockPoint{static_cast<Ticks>(n), {n + 1, n + 2, n + 3}}; };
  made.storage->set_clock("tsc", 0);
  made.storage->add_clock_point(point(100));
  CHECK(count_of(opened(path).first_clock_point()->ticks) == 100);
  CHECK(count_of(opened(path).last_clock_point()->ticks) == 100);
  for (std::uint64_t n = 200; n <= 900; n += 100) {
    made.storage->add_clock_point(point(n));
    const FlightFile file = opened(path);
    CHECK(count_of(file.first_clock_point()->ticks) == 100);
    CHECK(file.first_clock_point()->system.boottime == 101);
    CHECK(count_of(file.last_clock_point()->ticks) == n);
    CHECK(file.last_clock_point()->system.boottime == n + 1);
    CHECK(file.last_clock_point()->system.monotonic == n + 2);
    CHECK(file.last_clock_point()->system.realtime == n + 3);
    CHECK(file.info().clock == "tsc");
  }
  // The newest is point 9. Begun but not done, the one before it is the newest whole one.
  std::vector<std::byte> bytes = bytes_of(path);
  std::size_t found = 0;
  for (std::size_t at = 0; at + 48 <= 4096; at += 8) {
    std::uint64_t begun, ticks, done;
    std::memcpy(&begun, &bytes[at], 8);
    std::memcpy(&ticks, &bytes[at + 8], 8);
    std::memcpy(&done, &bytes[at + 40], 8);
    if (begun == 9 && ticks == 900 && done == 9) found = at;
  }
  REQUIRE(found != 0);
  put_word(bytes, found + 40, 7);
  const OpenedFlightFile torn = read_flight_file(bytes, "x");
  REQUIRE(torn);
  CHECK(count_of(torn.file->last_clock_point()->ticks) == 800);
}

TEST_CASE("making a file says what failed, on which path, in the system's words") {
  TemporaryDirectory directory;
  const std::string path = directory.file("loop.flight");
  const MappedFile missing = MappedFileStorage::create("/nonexistent/directory/x.flight", 64);
  REQUIRE_FALSE(missing);
  CHECK(missing.error == "/nonexistent/directory/x.flight: create: No such file or directory");

  REQUIRE(MappedFileStorage::create(path.c_str(), 64));
  const MappedFile again = MappedFileStorage::create(path.c_str(), 64);
  REQUIRE_FALSE(again);  // it may be what a crash left
  CHECK(again.error == path + ": create: File exists");

  const std::string huge = directory.file("huge.flight");
  const MappedFile too_big = MappedFileStorage::create(huge.c_str(), std::size_t{1} << 40);
  REQUIRE_FALSE(too_big);
  CHECK(too_big.error == huge + ": capacity above 2^27 events: Invalid argument");
  CHECK(access(huge.c_str(), F_OK) != 0);
}

TEST_CASE("a disk without room is an error when the file is made, not a signal later") {
  // A limit on the file size stands for the disk's.
  TemporaryDirectory directory;
  const std::string path = directory.file("loop.flight");
  const pid_t pid = fork();
  if (pid == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const MappedFile made = MappedFileStorage::create(path.c_str(), 1 << 14);
    const bool right =
        !made && made.error == path + ": allocate 532480 bytes: File too large" && access(path.c_str(), F_OK) != 0;
    _exit(right ? 0 : 1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("the file is its owner's alone, and stays when the storage goes unless it is removed") {
  TemporaryDirectory directory;
  const std::string path = directory.file("loop.flight");
  {
    MappedFile made = MappedFileStorage::create(path.c_str(), 64);
    REQUIRE(made);
    CHECK(made.storage->path() == path);
  }
  struct stat status {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK(status.st_size == 8192 + 64 * 32);
  REQUIRE(unlink(path.c_str()) == 0);
  MappedFile made = MappedFileStorage::create(path.c_str(), 64);
  REQUIRE(made);
  CHECK(made.storage->remove() == 0);
  CHECK(made.storage->remove() == ENOENT);
  CHECK(access(path.c_str(), F_OK) != 0);
}

TEST_CASE("what is no flight file is refused with what was expected") {
  TemporaryDirectory directory;
  CHECK(open_flight_file("/nonexistent").error == "/nonexistent: open: No such file or directory");
  CHECK(open_flight_file("/").error == "/: not a regular file");
  CHECK(open_flight_file("/dev/null").error == "/dev/null: not a regular file");
  const std::string path = directory.file("text");
  std::ofstream(path) << "This is a text, and long enough to be asked.";
  CHECK(open_flight_file(path.c_str()).error == path + ": not a flight file: expected \"thenceF\" at byte 0");
  const std::string empty = directory.file("empty");
  std::ofstream{empty};
  CHECK(open_flight_file(empty.c_str()).error == empty + ": not a flight file: it is shorter than the first word");
}

TEST_CASE("a damaged header is refused, field by field") {
  TemporaryDirectory directory;
  const std::string path = directory.file("loop.flight");
  REQUIRE(MappedFileStorage::create(path.c_str(), 64));
  const std::vector<std::byte> good = bytes_of(path);
  REQUIRE(read_flight_file(good, "x"));
  const auto error_with = [&](std::size_t at, std::uint64_t value, std::size_t size) {
    std::vector<std::byte> bytes = good;
    std::memcpy(&bytes[at], &value, size);
    return read_flight_file(bytes, "x").error;
  };
  CHECK(error_with(8, 0x04030201, 4) == "x: written on a machine with another byte order");
  CHECK(error_with(kVersionAt, 2, 4) == "x: format version 2, expected 1");
  const std::string capacity = "x: damaged header: expected a capacity that is a power of two, at most 2^27";
  for (const std::uint64_t wrong : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{63}, std::uint64_t{1} << 28,
                                    std::uint64_t{1} << 60, ~std::uint64_t{0}}) {
    CHECK(error_with(kCapacityAt, wrong, 8) == capacity);
  }
  const std::string sizes = "x: damaged header: its sizes contradict each other";
  CHECK(error_with(kCapacityAt, 128, 8) == sizes);
  for (const std::size_t at : {16u, 24u, 32u}) CHECK(error_with(at, 12'345, 8) == sizes);  // file, control and slots
  for (const std::size_t at : {48u, 52u}) CHECK(error_with(at, 64, 4) == sizes);           // control and slot bytes
}

TEST_CASE("a file that was cut gives the records that are there, and says how much is") {
  TemporaryDirectory directory;
  const std::string path = directory.file("loop.flight");
  MappedFile made = MappedFileStorage::create(path.c_str(), 64);
  REQUIRE(made);
  RingBuffer<DropNewest, MappedFileStorage> ring{std::move(*made.storage)};
  for (std::uint64_t n = 1; n <= 50; ++n) ring.try_push(numbered(n));
  const std::vector<std::byte> good = bytes_of(path);
  for (std::size_t size = 0; size <= good.size(); size += size < 8192 ? 97 : 13) {
    const OpenedFlightFile cut = read_flight_file(std::span(good).first(size), "x");
    if (size < kSlotsAt) {
      REQUIRE_FALSE(cut);
      CHECK(cut.error == (size < 8 ? "x: not a flight file: it is shorter than the first word"
                                   : "x: truncated: it ends within the header"));
      continue;
    }
    REQUIRE(cut);
    const std::size_t slots = (size - kSlotsAt) / 32;
    CHECK(numbers(unread(*cut.file)) == from_to(1, static_cast<std::int64_t>(std::min<std::size_t>(slots, 50))));
    if (slots < 64) CHECK(cut.file->damage() == "x: truncated: " + std::to_string(slots) + " of 64 slots are there");
  }
}

TEST_CASE("positions that make no sense are bounded by the capacity") {
  TemporaryDirectory directory;
  const std::string path = directory.file("loop.flight");
  MappedFile made = MappedFileStorage::create(path.c_str(), 64);
  REQUIRE(made);
  RingBuffer<DropNewest, MappedFileStorage> ring{std::move(*made.storage)};
  for (std::uint64_t n = 1; n <= 20; ++n) ring.try_push(numbered(n));
  std::vector<std::byte> bytes = bytes_of(path);
  const std::uint64_t words[] = {
      0, 1, 20, 63, 64, 65, 1'000'000, ~std::uint64_t{0}, ~std::uint64_t{0} - 63, std::uint64_t{1} << 63};
  for (const std::uint64_t tail : words) {
    for (const std::uint64_t head : words) {
      put_word(bytes, kTailAt, tail);
      put_word(bytes, kHeadAt, head);
      const OpenedFlightFile file = read_flight_file(bytes, "x");
      REQUIRE(file);
      CHECK(unread(*file.file).size() <= 20);
      CHECK(already_drained(*file.file).size() <= 20);
      const bool sensible = head <= tail && tail - head <= 64;
      if (!sensible)
        CHECK(file.file->damage() == "x: damaged positions: expected head and tail at most a capacity apart");
    }
  }
}

TEST_CASE("whatever bytes stand in the slots, only whole records come out and every one can be read") {
  TemporaryDirectory directory;
  const std::string path = directory.file("loop.flight");
  MappedFile made = MappedFileStorage::create(path.c_str(), 64);
  REQUIRE(made);
  RingBuffer<DropNewest, MappedFileStorage> ring{std::move(*made.storage)};
  for (std::uint64_t n = 1; n <= 12; ++n) {
    ring.try_push(numbered(n));
    ring.try_push(annotation(n, 3, 50), "key", text_of_length(n, 50));
  }
  const std::vector<std::byte> good = bytes_of(path);
  std::mt19937_64 random(7);
  for (int turn = 0; turn != 20'000; ++turn) {
    std::vector<std::byte> bytes = good;
    const int changes = 1 + static_cast<int>(random() % 8);
    for (int change = 0; change != changes; ++change) {
      const std::size_t at = turn % 3 == 0 ? random() % bytes.size() : kSlotsAt + random() % (bytes.size() - kSlotsAt);
      bytes[at] = static_cast<std::byte>(random());
    }
    if (turn % 5 == 0) put_word(bytes, kSlotsAt + 32 * (random() % 64) + 16, random());
    if (turn % 7 == 0) bytes.resize(random() % (bytes.size() + 1));
    const OpenedFlightFile file = read_flight_file(bytes, "x");
    if (!file) {
      REQUIRE(!file.error.empty());
      continue;
    }
    for (const auto& records : {unread(*file.file), already_drained(*file.file)}) {
      for (const Seen& seen : records) {
        REQUIRE(seen.kind != EventKind::kPayload);
        REQUIRE(seen.payload.size() <= 64 * 24);
      }
    }
  }
}

TEST_CASE("a slot in the middle that was destroyed costs its record and no other") {
  TemporaryDirectory directory;
  const std::string path = directory.file("loop.flight");
  MappedFile made = MappedFileStorage::create(path.c_str(), 64);
  REQUIRE(made);
  RingBuffer<DropNewest, MappedFileStorage> ring{std::move(*made.storage)};
  for (std::uint64_t n = 1; n <= 10; ++n)
    ring.try_push(annotation(n, 3, 40), "key", text_of_length(n, 40));  // three slots
  std::vector<std::byte> bytes = bytes_of(path);
  put_word(bytes, kSlotsAt + 32 * (3 * 4 + 1), ~std::uint64_t{0});  // the fifth record's first payload slot
  const OpenedFlightFile file = read_flight_file(bytes, "x");
  REQUIRE(file);
  CHECK(numbers(unread(*file.file)) == std::vector<std::int64_t>{1, 2, 3, 4, 6, 7, 8, 9, 10});
  CHECK(file.file->damaged_slots() == 3);
  CHECK(file.file->damage() == "x: damaged: 3 slots hold no whole record");
}
