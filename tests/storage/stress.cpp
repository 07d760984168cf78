// SPDX-License-Identifier: MIT
// stress: eight producers at full speed, buffers that overflow, one consumer. Every event comes out in order or is counted as
// lost, by ranges that fill the gaps exactly; no payload is torn.
//
//   stress [events in all, for each kind of buffer]
//
// The oracle is arithmetic: each producer numbers its events from 1, and the number is in every word of a record.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "thence/storage/flight_recorder.hpp"
#include "thence/storage/mapped_storage.hpp"
#include "thence/storage/ring_buffer.hpp"

using namespace thence;

namespace {

constexpr int kProducers = 8;
constexpr std::size_t kCapacity = 4096;
constexpr std::size_t kReserve = 16'384;

int failures = 0;

char letter(std::uint64_t n, std::size_t at) { return static_cast<char>('!' + (n * 31 + at * 7) % 90); }
bool is_annotation(std::uint64_t n) { return n % 16 == 0; }
std::size_t length_of(std::uint64_t n) { return static_cast<std::size_t>(n / 16 % 150); }

/// Pushes events 1 .. last. With a pace, gives the consumer a chance after so many.
template <class Buffer>
void produce(Buffer& buffer, std::uint64_t last, std::uint64_t pace) {
  std::array<char, 150> text;
  for (std::uint64_t n = 1; n <= last; ++n) {
    if (pace != 0 && n % pace == 0) std::this_thread::yield();
    if (is_annotation(n)) {
      const std::size_t length = length_of(n);
      for (std::size_t at = 0; at != length; ++at) text[at] = letter(n, at);
      const std::size_t key = length / 3;
      buffer.try_push({Event::head_of(static_cast<ResourceId>(n), EventKind::kAnnotated), n,
                       Event::other_of(static_cast<ResourceId>(length), static_cast<TypeId>(key)), n},
                      std::string_view(text.data(), key), std::string_view(text.data() + key, length - key));
    } else if (n % 997 == 0) {
      buffer.push_reserved({Event::head_of(static_cast<ResourceId>(n), EventKind::kRootFinished), n, n, n});
    } else {
      buffer.try_push({Event::head_of(static_cast<ResourceId>(n), EventKind::kEntered), n, n, n});
    }
  }
}

/// Looks at what one producer's buffer gives.
class Checker {
 public:
  explicit Checker(bool exact_range) : exact_range_(exact_range) {}

  void operator()(const RecordView& record) {
    const Event& head = record.head();
    const std::uint64_t n = number(head.resource());
    if (head.kind() == EventKind::kLost) {
      // n events, from the next that is due; its ticks are its numbers.
      wrong_ += n == 0 || head.other != next_ + n - 1 || head.ticks > next_ || (exact_range_ && head.ticks != next_);
      next_ += n;
      lost_ += n;
      return;
    }
    wrong_ += n != next_ || head.ticks != n || head.context != n;
    if (is_annotation(n)) {
      const std::size_t length = length_of(n);
      wrong_ += head.kind() != EventKind::kAnnotated || record.payload_bytes() != length;
      std::array<char, 150> text;
      if (record.payload_bytes() <= text.size()) {
        record.copy_payload(text.data());
        for (std::size_t at = 0; at != length; ++at) wrong_ += text[at] != letter(n, at);
      }
    } else {
      wrong_ += head.other != n;
    }
    next_ = n + 1;
    ++delivered_;
  }
  void end(const BufferLoss& unmarked, std::uint64_t lost, std::uint64_t last) {
    if (unmarked.count != 0)
      wrong_ += count_of(unmarked.last) != last || (exact_range_ && count_of(unmarked.first) != next_);
    next_ += unmarked.count;
    lost_ += unmarked.count;
    wrong_ += next_ != last + 1 || lost != lost_ || delivered_ + lost_ != last;
  }

  [[nodiscard]] std::uint64_t wrong() const { return wrong_; }
  [[nodiscard]] std::uint64_t lost() const { return lost_; }
  [[nodiscard]] std::uint64_t delivered() const { return delivered_; }

 private:
  bool exact_range_;
  std::uint64_t next_ = 1, wrong_ = 0, lost_ = 0, delivered_ = 0;
};

template <class Buffer, class Make>
void run_at(const char* name, std::uint64_t events, std::uint64_t pace, Make&& make) {
  const auto began = std::chrono::steady_clock::now();
  const std::uint64_t each = events / kProducers;
  constexpr bool kExactRange = !std::same_as<typename Buffer::OverflowPolicyType, OverwriteOldest>;
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<Checker> checkers;
  for (int producer = 0; producer != kProducers; ++producer) {
    buffers.push_back(make());
    checkers.emplace_back(kExactRange);
  }
  std::atomic<int> running{kProducers};
  std::vector<std::thread> threads;
  for (auto& buffer : buffers) {
    threads.emplace_back([&running, &buffer = *buffer, each, pace] {
      produce(buffer, each, pace);
      running.fetch_sub(1, std::memory_order_release);
    });
  }
  const auto drain_all = [&] {
    for (int at = 0; at != kProducers; ++at) {
      buffers[static_cast<std::size_t>(at)]->drain(
          [&](const RecordView& record) { checkers[static_cast<std::size_t>(at)](record); });
    }
  };
  while (running.load(std::memory_order_acquire) != 0) drain_all();
  for (std::thread& thread : threads) thread.join();
  drain_all();
  std::uint64_t lost = 0, delivered = 0, wrong = 0;
  for (std::size_t at = 0; at != kProducers; ++at) {
    checkers[at].end(buffers[at]->unmarked_loss(checkers[at].lost()), buffers[at]->lost(), each);
    lost += checkers[at].lost();
    delivered += checkers[at].delivered();
    wrong += checkers[at].wrong();
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  const bool right = wrong == 0 && delivered + lost == each * kProducers && delivered != 0;
  std::printf("%-38s %11llu events: %11llu in order, %11llu counted as lost, %llu wrong; %.1f s%s\n", name,
              static_cast<unsigned long long>(each * kProducers), static_cast<unsigned long long>(delivered),
              static_cast<unsigned long long>(lost), static_cast<unsigned long long>(wrong), took.count(),
              right ? "" : "  FAILED");
  std::fflush(stdout);
  failures += !right;
}

/// At full speed, where nearly all is lost; then a tenth of the events at a pace that fills and empties the buffer in turns.
template <class Buffer, class Make>
void run(const char* name, std::uint64_t events, Make&& make) {
  run_at<Buffer>(name, events, 0, make);
  run_at<Buffer>((std::string(name) + ", paced").c_str(), events / 10, kCapacity / 2, make);
}

/// Rings in files of their own, which go away at once: the mapping stays.
MappedFileStorage in_file(std::size_t capacity) {
  static int number = 0;
  const char* const directory = std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR") : "/tmp";
  const std::string path = std::string(directory) + "/thence-stress-" + std::to_string(::getpid()) + "-" +
                           std::to_string(number++) + ".flight";
  MappedFile file = MappedFileStorage::create(path.c_str(), capacity);
  if (!file) {
    std::printf("%s\n", file.error.c_str());
    std::exit(2);
  }
  file.storage->remove();
  return std::move(*file.storage);
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t events = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  {
    using Heap = RingBuffer<DropNewest, HeapStorage>;
    using Static = RingBuffer<DropNewest, StaticStorage<kCapacity>>;
    using File = RingBuffer<DropNewest, MappedFileStorage>;
    run<Heap>("ring, drop-newest, heap", events, [] { return std::make_unique<Heap>(HeapStorage{kCapacity}); });
    run<Static>("ring, drop-newest, static", events, [] { return std::make_unique<Static>(); });
    run<File>("ring, drop-newest, mapped file", events, [] { return std::make_unique<File>(in_file(kCapacity)); });
  }
  {
    using Heap = RingBuffer<SpillOnce, HeapStorage>;
    using Static = RingBuffer<SpillOnce, StaticStorage<kCapacity>>;
    using File = RingBuffer<SpillOnce, MappedFileStorage>;
    run<Heap>("ring, spill-once, heap", events,
              [] { return std::make_unique<Heap>(HeapStorage{kCapacity}, HeapStorage{kReserve}); });
    run<Static>("ring, spill-once, static", events, [] { return std::make_unique<Static>(); });
    run<File>("ring, spill-once, mapped file", events,
              [] { return std::make_unique<File>(in_file(kCapacity), in_file(kReserve)); });
  }
  {
    using Heap = FlightRecorder<HeapStorage>;
    using Static = FlightRecorder<StaticStorage<kCapacity>>;
    using File = FlightRecorder<MappedFileStorage>;
    run<Heap>("flight recorder, heap", events, [] { return std::make_unique<Heap>(HeapStorage{kCapacity}); });
    run<Static>("flight recorder, static", events, [] { return std::make_unique<Static>(); });
    run<File>("flight recorder, mapped file", events, [] { return std::make_unique<File>(in_file(kCapacity)); });
  }
  return failures == 0 ? 0 : 1;
}
