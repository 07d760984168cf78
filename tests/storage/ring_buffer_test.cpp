// SPDX-License-Identifier: MIT
#include "thence/storage/ring_buffer.hpp"

#include <deque>
#include <random>
#include <thread>

#include "storage/support.hpp"

using namespace thence;
using namespace thence_test;

// Here, and not in the headers, so that who only includes those compiles no ring.
static_assert(EventBuffer<RingBuffer<DropNewest, HeapStorage>> && EventBuffer<RingBuffer<SpillOnce, HeapStorage>>);
static_assert(RingStorage<StaticStorage<2>>);

namespace {
template <class Storage>
using Dropping = RingBuffer<DropNewest, Storage>;

// A ring of 16 keeps one slot back for push_reserved, one of 8 none.
constexpr std::size_t kSmall = 8;

/// Keeps the tail where a test sees it.
struct WatchedStorage : HeapStorage {
  using HeapStorage::HeapStorage;
  static constexpr bool kOutlivesProcess = true;
};
}  // namespace

TEMPLATE_TEST_CASE("what is pushed comes out once, in order, over many laps", "", THENCE_ALL_STORAGES) {
  typename TestType::template Make<Dropping, kSmall> made;
  auto& ring = made.buffer;
  CHECK(ring.capacity() == 8);
  std::uint64_t next = 1;
  std::int64_t expected = 1;
  for (int lap = 0; lap != 50; ++lap) {
    const int count = lap % 9;
    for (int n = 0; n != count; ++n) REQUIRE(ring.try_push(numbered(next++)));
    CHECK(ring.fill() == static_cast<std::size_t>(count));
    CHECK(numbers(drained(ring)) == from_to(expected, expected + count - 1));
    expected += count;
  }
  CHECK(drained(ring).empty());
  CHECK(ring.lost() == 0);
  CHECK(ring.unmarked_loss(0).count == 0);
}

TEMPLATE_TEST_CASE("a full ring with DropNewest keeps the oldest events, and marks the rest as lost at its place", "",
                   THENCE_ALL_STORAGES) {
  typename TestType::template Make<Dropping, kSmall> made;
  auto& ring = made.buffer;
  for (std::uint64_t n = 1; n <= 8; ++n) CHECK(ring.try_push(numbered(n)));
  for (std::uint64_t n = 9; n <= 13; ++n) CHECK_FALSE(ring.try_push(numbered(n)));
  CHECK(ring.lost() == 5);
  const auto loss = ring.unmarked_loss(0);
  CHECK(loss.count == 5);
  CHECK(count_of(loss.first) == 1009);
  CHECK(count_of(loss.last) == 1013);

  CHECK(numbers(drained(ring)) == from_to(1, 8));
  CHECK(ring.try_push(numbered(14)));
  CHECK(ring.try_push(numbered(15)));
  const std::vector<Seen> after = drained(ring);
  REQUIRE(numbers(after) == std::vector<std::int64_t>{-5, 14, 15});
  CHECK(after[0].kind == EventKind::kLost);
  CHECK(after[0].first == 1009);
  CHECK(after[0].last == 1013);
  CHECK(ring.lost() == 5);
  CHECK(ring.unmarked_loss(5).count == 0);
}

TEST_CASE("each loss has its own count and time range") {
  RingBuffer<> ring{HeapStorage{4}};
  std::vector<Seen> all;
  const auto take_all = [&] {
    for (Seen& seen : drained(ring)) all.push_back(std::move(seen));
  };
  std::uint64_t n = 1;
  for (int burst = 0; burst != 3; ++burst) {
    for (int event = 0; event != 7 + burst; ++event) ring.try_push(numbered(n++));
    take_all();
  }
  ring.try_push(numbered(n));
  take_all();
  CHECK(numbers(all) == std::vector<std::int64_t>{1, 2, 3, 4, -3, 8, 9, 10, -5, 16, 17, 18, -6, 25});
  CHECK(all[4].first == 1005);
  CHECK(all[4].last == 1007);
  CHECK(all[8].first == 1011);
  CHECK(all[8].last == 1015);
  CHECK(all[12].first == 1019);
  CHECK(all[12].last == 1024);
  CHECK(ring.lost() == 14);
}

TEST_CASE("while a loss waits to be marked, nothing overtakes it") {
  RingBuffer<> ring{HeapStorage{4}};
  for (std::uint64_t n = 1; n <= 5; ++n) ring.try_push(numbered(n));
  // One slot becomes free: not enough for the mark and an event.
  int taken = 0;
  const auto take_one = [&] {
    taken = 0;
    ring.drain([&](const RecordView&) { ++taken; });
  };
  take_one();
  CHECK(taken == 4);
  for (std::uint64_t n = 6; n <= 9; ++n) ring.try_push(numbered(n));
  CHECK(numbers(drained(ring)) == std::vector<std::int64_t>{-1, 6, 7, 8});
  ring.try_push(numbered(10));
  CHECK(numbers(drained(ring)) == std::vector<std::int64_t>{-1, 10});
}

TEMPLATE_TEST_CASE("an annotation is kept whole or not at all, wherever the ring wraps", "", THENCE_ALL_STORAGES) {
  for (std::size_t offset = 0; offset != 8; ++offset) {
    for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{23}, std::size_t{24}, std::size_t{25},
                                     std::size_t{100}, std::size_t{150}}) {
      typename TestType::template Make<Dropping, kSmall> made;
      auto& ring = made.buffer;
      for (std::size_t n = 0; n != offset; ++n) ring.try_push(numbered(1));
      drained(ring);
      const std::string key = text_of_length(7, std::min<std::size_t>(length, 5));
      const std::string value = text_of_length(9, length - key.size());
      REQUIRE(ring.try_push(annotation(42, key.size(), value.size()), key, value));
      const std::vector<Seen> all = drained(ring);
      REQUIRE(all.size() == 1);
      CHECK(all[0].number == 42);
      CHECK(all[0].payload == key + value);
    }
  }
}

TEST_CASE("an annotation that finds too few slots is lost whole, and a plain event may still fit") {
  RingBuffer<> ring{HeapStorage{8}};
  for (std::uint64_t n = 1; n <= 4; ++n) ring.try_push(numbered(n));
  CHECK_FALSE(ring.try_push(annotation(5, 0, 100), "", text_of_length(5, 100)));  // 1 + 5 slots, 4 free
  CHECK(ring.try_push(annotation(6, 0, 40), "", text_of_length(6, 40)));          // the mark, then 1 + 2 slots
  CHECK_FALSE(ring.try_push(numbered(7)));
  const std::vector<Seen> all = drained(ring);
  REQUIRE(numbers(all) == std::vector<std::int64_t>{1, 2, 3, 4, -1, 6});
  CHECK(all[5].payload == text_of_length(6, 40));
  CHECK(ring.lost() == 2);
}

TEST_CASE("an annotation longer than the ring is refused every time and blocks nothing") {
  RingBuffer<> ring{HeapStorage{4}};
  for (int turn = 0; turn != 3; ++turn) {
    CHECK_FALSE(ring.try_push(annotation(1, 0, 1000), "", text_of_length(1, 1000)));
    CHECK(ring.try_push(numbered(2)));
    CHECK(numbers(drained(ring)) == std::vector<std::int64_t>{-1, 2});
  }
  CHECK(ring.lost() == 3);
}

TEST_CASE("the reserve slots are there for a root's end when the ring is full for all others") {
  RingBuffer<> ring{HeapStorage{32}};  // keeps two slots back
  std::uint64_t n = 1;
  while (ring.try_push(numbered(n))) ++n;
  CHECK(n == 31);  // the 31st is lost
  // The mark of the loss takes one of the two, the root's end the other.
  CHECK(ring.push_reserved(numbered(100)));
  CHECK_FALSE(ring.push_reserved(numbered(101)));
  CHECK_FALSE(ring.try_push(numbered(102)));
  std::vector<std::int64_t> expected = from_to(1, 30);
  expected.insert(expected.end(), {-1, 100});
  CHECK(numbers(drained(ring)) == expected);
  ring.try_push(numbered(103));
  CHECK(numbers(drained(ring)) == std::vector<std::int64_t>{-2, 103});
}

TEST_CASE("a root's end takes no reserve slot while there is room") {
  RingBuffer<> ring{HeapStorage{16}};  // keeps one slot back
  for (std::uint64_t n = 1; n <= 15; ++n) CHECK(ring.push_reserved(numbered(n)));
  CHECK_FALSE(ring.try_push(numbered(16)));
  CHECK_FALSE(ring.push_reserved(numbered(17)));  // would need the mark's slot too
  CHECK(numbers(drained(ring)) == from_to(1, 15));
}

TEST_CASE("SpillOnce keeps a burst in its reserve, in order, and counts what is beyond") {
  RingBuffer<SpillOnce> ring{HeapStorage{8}, HeapStorage{32}};  // the reserve keeps two back
  CHECK(ring.capacity() == 40);
  std::uint64_t kept = 0;
  for (std::uint64_t n = 1; n <= 60; ++n) kept += ring.try_push(numbered(n));
  CHECK(kept == 38);
  CHECK(ring.fill() == 38);
  CHECK(ring.lost() == 22);
  CHECK(numbers(drained(ring)) == from_to(1, 38));
  CHECK(ring.unmarked_loss(0).count == 22);
  CHECK(count_of(ring.unmarked_loss(0).first) == 1039);
  CHECK(count_of(ring.unmarked_loss(0).last) == 1060);
  CHECK(ring.try_push(numbered(61)));
  CHECK(numbers(drained(ring)) == std::vector<std::int64_t>{-22, 61});
}

TEST_CASE("SpillOnce goes back to the small ring when both are empty") {
  WatchedStorage main{8};
  WatchedStorage reserve{4096};
  RingControl& main_control = main.control();
  RingControl& reserve_control = reserve.control();
  RingBuffer<SpillOnce, WatchedStorage> ring{std::move(main), std::move(reserve)};
  std::uint64_t n = 1;
  for (; n <= 20; ++n) ring.try_push(numbered(n));
  CHECK(main_control.tail.load() == 8);
  CHECK(reserve_control.tail.load() == 12);
  CHECK(numbers(drained(ring)) == from_to(1, 20));
  std::int64_t expected = 21;
  for (int turn = 0; turn != 80; ++turn) {
    REQUIRE(ring.try_push(numbered(n++)));
    CHECK(numbers(drained(ring)) == std::vector<std::int64_t>{expected++});
  }
  CHECK(reserve_control.tail.load() == 12);
  CHECK(main_control.tail.load() == 8 + 80);
  CHECK(ring.lost() == 0);
}

TEST_CASE("SpillOnce keeps the order while the reader empties only one of the two") {
  RingBuffer<SpillOnce> ring{HeapStorage{4}, HeapStorage{16}};
  std::uint64_t pushed = 1;
  for (; pushed <= 8; ++pushed) ring.try_push(numbered(pushed));
  // What is pushed while the reader is at work goes to the reserve too: it ends with the main ring empty, the reserve not.
  std::vector<std::int64_t> all;
  ring.drain([&](const RecordView& record) {
    all.push_back(static_cast<std::int64_t>(number(record.head().resource())));
    if (all.size() == 5) {
      for (; pushed <= 12; ++pushed) ring.try_push(numbered(pushed));
    }
  });
  CHECK(all == from_to(1, 8));
  // Now the producer looks for room again: the empty main ring is not for events younger than those in the reserve.
  for (; pushed <= 23; ++pushed) CHECK(ring.try_push(numbered(pushed)));
  for (const std::int64_t n : numbers(drained(ring))) all.push_back(n);
  CHECK(all == from_to(1, 23));
}

TEST_CASE("any mix of pushes and drains gives what a queue of that size would give") {
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    std::mt19937 random(seed);
    RingBuffer<> ring{HeapStorage{16}};
    const std::uint64_t usable = 15;
    std::deque<Seen> expected;  // what is in the ring, by the contract
    std::uint64_t used = 0, number = 1, pending = 0, first = 0, last = 0, lost = 0;
    std::deque<std::uint64_t> sizes;
    for (int step = 0; step != 2000; ++step) {
      if (random() % 12 == 0) {
        const std::vector<Seen> got = drained(ring);
        CHECK(std::vector<Seen>(expected.begin(), expected.end()) == got);
        expected.clear();
        used = 0;
        continue;
      }
      const bool annotated = random() % 4 == 0;
      const std::size_t length = annotated ? random() % 120 : 0;
      const std::string value = text_of_length(number, length);
      const std::uint64_t slots = annotated ? 1 + (length + 23) / 24 : 1;
      const bool kept =
          annotated ? ring.try_push(annotation(number, 0, length), "", value) : ring.try_push(numbered(number));
      const std::uint64_t needed = slots + (pending != 0 ? 1 : 0);
      const bool fits = used + needed <= usable;
      REQUIRE(kept == fits);
      if (fits) {
        if (pending != 0) expected.push_back({EventKind::kLost, pending, first, last, {}});
        pending = 0;
        expected.push_back({annotated ? EventKind::kAnnotated : EventKind::kEntered, number, 1000 + number, 0, value});
        used += needed;
      } else {
        if (pending++ == 0) first = 1000 + number;
        last = 1000 + number;
        ++lost;
      }
      REQUIRE(ring.lost() == lost);
      ++number;
    }
  }
}

TEST_CASE("a ring of static storage is usable before main, without an allocator") {
  static RingBuffer<DropNewest, StaticStorage<64>> ring;
  static const bool pushed = ring.try_push(numbered(1));
  CHECK(pushed);
  CHECK(numbers(drained(ring)) == from_to(1, 1));
}

TEST_CASE("a capacity that is no power of two is rounded up, and the smallest ring holds two") {
  CHECK(RingBuffer<>(HeapStorage{5}).capacity() == 8);
  CHECK(RingBuffer<>(HeapStorage{0}).capacity() == 2);
  RingBuffer<> ring{HeapStorage{1}};
  CHECK(ring.try_push(numbered(1)));
  CHECK(ring.try_push(numbered(2)));
  CHECK_FALSE(ring.try_push(numbered(3)));
  CHECK(numbers(drained(ring)) == from_to(1, 2));
  ring.try_push(numbered(4));
  CHECK(numbers(drained(ring)) == std::vector<std::int64_t>{-1, 4});
}

TEST_CASE("a reader that takes long gives slots back as it goes") {
  RingBuffer<> ring{HeapStorage{8192}};
  std::uint64_t n = 1;
  while (ring.try_push(numbered(n))) ++n;
  const std::uint64_t lost_before = ring.lost();
  std::uint64_t taken = 0, kept_meanwhile = 0;
  ring.drain([&](const RecordView&) {
    if (++taken == 4000) {
      for (int event = 0; event != 1000; ++event) kept_meanwhile += ring.try_push(numbered(1));
    }
  });
  CHECK(lost_before == 1);
  CHECK(kept_meanwhile == 1000);
}

TEST_CASE("a producer in the middle of a drain is never waited for: both sides end") {
  RingBuffer<> ring{HeapStorage{64}};
  std::thread producer([&] {
    for (std::uint64_t n = 1; n <= 20'000; ++n) ring.try_push(numbered(n));
  });
  std::uint64_t next = 1, out_of_order = 0, marked = 0;
  const auto take = [&](const RecordView& record) {
    const Event& head = record.head();
    if (head.kind() == EventKind::kLost) {
      out_of_order += head.ticks != 1000 + next;
      next += number(head.resource());
      marked += number(head.resource());
      out_of_order += head.other != 1000 + next - 1;
    } else {
      out_of_order += number(head.resource()) != next++;
    }
  };
  while (ring.fill() == 0) {
  }
  for (int turn = 0; turn != 1000; ++turn) ring.drain(take);
  producer.join();
  ring.drain(take);
  CHECK(out_of_order == 0);
  CHECK(next - 1 + ring.unmarked_loss(marked).count == 20'000);
}
