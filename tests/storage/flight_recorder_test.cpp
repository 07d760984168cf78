// SPDX-License-Identifier: MIT
#include "thence/storage/flight_recorder.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <random>
#include <thread>

#include "storage/support.hpp"

using namespace thence;
using namespace thence_test;

static_assert(EventBuffer<FlightRecorder<HeapStorage>>);

namespace {
template <class Storage>
using Recorder = FlightRecorder<Storage>;

template <class Buffer>
std::vector<Seen> seen_in(const Buffer& recorder, FlightSnapshot& snapshot) {
  recorder.snapshot(snapshot);
  std::vector<Seen> all;
  snapshot.for_each([&](const RecordView& record) { all.push_back(seen_of(record)); });
  return all;
}
}  // namespace

TEMPLATE_TEST_CASE("a flight recorder holds the newest events and counts those it gave up", "", THENCE_ALL_STORAGES) {
  typename TestType::template Make<Recorder, 64> made;
  auto& recorder = made.buffer;
  FlightSnapshot snapshot;
  CHECK(seen_in(recorder, snapshot).empty());
  for (std::uint64_t n = 1; n <= 64; ++n) REQUIRE(recorder.try_push(numbered(n)));
  CHECK(numbers(seen_in(recorder, snapshot)) == from_to(1, 64));
  CHECK(snapshot.overwritten() == 0);
  CHECK(recorder.overwritten() == 0);

  for (std::uint64_t n = 65; n <= 1000; ++n) {
    REQUIRE(recorder.try_push(numbered(n)));
    const std::vector<std::int64_t> held = numbers(seen_in(recorder, snapshot));
    REQUIRE(held.size() >= 56);  // all but the batch of 8 that is announced
    REQUIRE(held.size() <= 64);
    REQUIRE(held == from_to(held.front(), static_cast<std::int64_t>(n)));
    REQUIRE(snapshot.overwritten() == static_cast<std::uint64_t>(held.front() - 1));
    REQUIRE(count_of(snapshot.last_overwritten()) == 1000 + static_cast<std::uint64_t>(held.front()) - 1);
    REQUIRE(recorder.overwritten() == snapshot.overwritten());
    REQUIRE(recorder.fill() == held.size());
  }
  CHECK(recorder.capacity() == 64);
}

TEST_CASE("a snapshot begins with a whole record, whatever was cut in two by the newest ones") {
  for (std::uint32_t seed = 1; seed <= 30; ++seed) {
    std::mt19937 random(seed);
    FlightRecorder<> recorder{HeapStorage{64}};
    std::deque<Seen> pushed;
    FlightSnapshot snapshot;
    for (std::uint64_t n = 1; n <= 400; ++n) {
      if (random() % 3 == 0) {
        const std::string key = text_of_length(n, random() % 10);
        const std::string value = text_of_length(n + 1, random() % 300);
        REQUIRE(recorder.try_push(annotation(n, key.size(), value.size()), key, value));
        pushed.push_back({EventKind::kAnnotated, n, 1000 + n, 0, key + value});
      } else {
        REQUIRE(recorder.push_reserved(numbered(n)));
        pushed.push_back({EventKind::kEntered, n, 1000 + n, 0, {}});
      }
      const std::vector<Seen> held = seen_in(recorder, snapshot);
      REQUIRE(!held.empty());
      REQUIRE(held.size() <= pushed.size());
      REQUIRE(std::equal(held.rbegin(), held.rend(), pushed.rbegin()));
      REQUIRE(held.size() + snapshot.overwritten() == n);
    }
  }
}

TEST_CASE("what a flight recorder can hold depends on the capacity, not on luck") {
  // 64 slots, batches of 8: a record of one slot is there until at most 64 - 8 slots were written after it.
  FlightRecorder<> recorder{HeapStorage{64}};
  FlightSnapshot snapshot;
  for (std::uint64_t n = 1; n <= 500; ++n) {
    recorder.try_push(annotation(n, 0, 72), "", text_of_length(n, 72));  // four slots
    const std::size_t held = seen_in(recorder, snapshot).size();
    if (n >= 16) CHECK(held >= (64 - 8) / 4);
  }
}

TEST_CASE("a record longer than the whole recorder is refused, counted, and hurts nothing") {
  FlightRecorder<> recorder{HeapStorage{8}};
  recorder.try_push(numbered(1));
  CHECK_FALSE(recorder.try_push(annotation(2, 0, 500), "", text_of_length(2, 500)));
  recorder.try_push(numbered(3));
  CHECK(recorder.lost() == 1);
  CHECK(count_of(recorder.unmarked_loss(0).first) == 1002);
  CHECK(count_of(recorder.unmarked_loss(0).last) == 1002);
  CHECK(numbers(drained(recorder)) == std::vector<std::int64_t>{1, 3});
  // One that fills it exactly takes the place of all others.
  CHECK(recorder.try_push(annotation(4, 0, 7 * 24), "", text_of_length(4, 7 * 24)));
  const std::vector<Seen> all = drained(recorder);
  REQUIRE(numbers(all) == std::vector<std::int64_t>{4});
  CHECK(all[0].payload == text_of_length(4, 7 * 24));
}

TEST_CASE("drain hands over each record once and tells what was overwritten in between") {
  FlightRecorder<> recorder{HeapStorage{64}};
  std::uint64_t n = 1;
  for (; n <= 10; ++n) recorder.try_push(numbered(n));
  CHECK(numbers(drained(recorder)) == from_to(1, 10));
  CHECK(drained(recorder).empty());
  for (; n <= 40; ++n) recorder.try_push(numbered(n));
  CHECK(numbers(drained(recorder)) == from_to(11, 40));
  CHECK(recorder.lost() == 0);
  for (; n <= 140; ++n) recorder.try_push(numbered(n));
  CHECK(recorder.lost() >= 36);  // 41 to at least 76: 100 events in 64 slots
  const std::uint64_t before = recorder.lost();
  const std::vector<Seen> all = drained(recorder);
  REQUIRE(!all.empty());
  REQUIRE(all[0].kind == EventKind::kLost);
  const std::uint64_t lost = all[0].number;
  CHECK(lost == before);
  CHECK(all[0].first == 1040);  // the last one that was taken
  CHECK(all[0].last == 1040 + lost);
  CHECK(numbers(std::vector<Seen>(all.begin() + 1, all.end())) == from_to(static_cast<std::int64_t>(41 + lost), 140));
  CHECK(recorder.lost() == lost);
  CHECK(recorder.unmarked_loss(lost).count == 0);
}

TEST_CASE("the first loss of a recorder that was never drained begins with its first event") {
  FlightRecorder<> recorder{HeapStorage{16}};
  for (std::uint64_t n = 1; n <= 100; ++n) recorder.try_push(numbered(n));
  const std::vector<Seen> all = drained(recorder);
  REQUIRE(all[0].kind == EventKind::kLost);
  CHECK(all[0].first == 1001);
  CHECK(all[0].last == 1000 + all[0].number);
  CHECK(all[1].number == all[0].number + 1);
  CHECK(all.back().number == 100);
}

TEST_CASE("snapshots taken while the producer runs hold no torn record and no gap") {
  // Every word of record n depends on n; payload too. More readers than processors: they are preempted in the middle of a
  // copy, and lapped.
  FlightRecorder<> recorder{HeapStorage{1024}};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> pushed{0};
  std::thread producer([&] {
    char text[200];
    for (std::uint64_t n = 1; !stop.load(std::memory_order_relaxed); ++n) {
      if (n % 5 == 0) {
        const std::size_t length = n % 197;
        for (std::size_t at = 0; at != length; ++at) text[at] = static_cast<char>('!' + (n * 31 + at * 7) % 90);
        recorder.try_push(annotation(n, 0, length), "", {text, length});
      } else {
        recorder.try_push({Event::head_of(static_cast<ResourceId>(n), EventKind::kEntered), 1000 + n, n, n});
      }
      pushed.store(n, std::memory_order_relaxed);
    }
  });
  std::atomic<std::uint64_t> torn{0}, gaps{0}, records{0}, miscounted{0}, stale{0};
  const auto look = [&] {
    FlightSnapshot snapshot;
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
    while (std::chrono::steady_clock::now() < end) {
      const std::uint64_t before = pushed.load(std::memory_order_relaxed);
      recorder.snapshot(snapshot);
      std::uint64_t last = 0;
      snapshot.for_each([&](const RecordView& record) {
        const Event& head = record.head();
        const std::uint64_t n = number(head.resource());
        if (last == 0) {
          miscounted += snapshot.overwritten() != n - 1;
          miscounted += n != 1 && count_of(snapshot.last_overwritten()) != 1000 + n - 1;
        } else {
          gaps += n != last + 1;
        }
        last = n;
        torn += head.ticks != 1000 + n;
        if (n % 5 == 0) {
          torn += seen_of(record).payload != text_of_length(n, n % 197);
        } else {
          torn += head.other != n || head.context != n;
        }
        ++records;
      });
      stale += last < before;
    }
  };
  std::vector<std::thread> readers;
  for (int reader = 0; reader != 4; ++reader) readers.emplace_back(look);
  for (std::thread& reader : readers) reader.join();
  stop = true;
  producer.join();
  CHECK(torn == 0);
  CHECK(gaps == 0);
  CHECK(miscounted == 0);
  CHECK(stale == 0);
  CHECK(records > 0);
}

TEST_CASE("several threads may look at one flight recorder at once") {
  FlightRecorder<> recorder{HeapStorage{1024}};
  for (std::uint64_t n = 1; n <= 5000; ++n) recorder.try_push(numbered(n));
  std::atomic<int> wrong{0};
  const auto look = [&] {
    FlightSnapshot snapshot;
    for (int turn = 0; turn != 50; ++turn) {
      recorder.snapshot(snapshot);
      std::uint64_t next = snapshot.overwritten() + 1;
      snapshot.for_each([&](const RecordView& record) { wrong += number(record.head().resource()) != next++; });
    }
  };
  std::thread one(look), two(look);
  for (std::uint64_t n = 5001; n <= 50'000; ++n) recorder.try_push(numbered(n));
  one.join();
  two.join();
  CHECK(wrong == 0);
}
