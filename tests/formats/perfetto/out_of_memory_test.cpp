// SPDX-License-Identifier: MIT
// The encoder of Perfetto traces where memory runs out, at each of its allocations in turn: what is in the file was sent, what is
// not is counted, and what comes later is as if nothing had happened. The oracle is the list of the events that were sent.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "formats/random_trace.hpp"
#include "support/catch.hpp"
#include "support/recording_sink.hpp"
#include "thence/formats/perfetto/perfetto_encoder.hpp"
#include "thence/formats/perfetto/perfetto_reader.hpp"

namespace {

/// Allocations until there is no memory, and how many then fail; one thread only.
std::uint64_t allocations_left = ~std::uint64_t{0};
std::uint64_t failures_left = 0;

void* allocate(std::size_t size, std::size_t align) {
  if (allocations_left != 0) {
    --allocations_left;
  } else if (failures_left != 0) {
    --failures_left;
    throw std::bad_alloc();
  }
  void* const made = std::aligned_alloc(align, (size + align) / align * align);
  if (made == nullptr) throw std::bad_alloc();
  return made;
}

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new[](std::size_t size) { return ::operator new(size); }
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t align) { return allocate(size, static_cast<std::size_t>(align)); }
// A sanitizer's own would not match the deletes below.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return std::malloc(size + 1); }
[[gnu::noinline]] void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return std::malloc(size + 1); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

using namespace thence;
namespace fields = thence::perfetto;

namespace {

/// A file, which needs no memory of the program.
struct File : BufferSink {
  bool write(View<const std::byte> bytes) {
    const std::uint64_t left = std::exchange(allocations_left, ~std::uint64_t{0});
    const bool written = BufferSink::write(bytes);
    allocations_left = left;
    return written;
  }
};

/// What an event says, of that which a reader gives back.
using Said = std::tuple<EventKind, std::uint64_t, ResourceId, ResourceId, LaneId, std::string>;
Said said(const TraceEvent& event, std::string_view key) {
  if (event.kind == EventKind::kAnnotated) return {event.kind, 0, event.resource, {}, {}, std::string(key)};  // it comes at the end
  return {event.kind, ns_of(event.time), event.resource, event.other, event.lane, {}};
}

/// Passes on what a session would, to an encoder whose memory may run out at any moment.
class ShortOfMemory {
 public:
  ShortOfMemory(PerfettoEncoder<File>& encoder, std::uint64_t allocations, std::uint64_t failures)
      : encoder_(encoder), allocations_(allocations), failures_(failures) {}

  void begin(const TraceInfo& info) {
    salt_ = info.salt;
    attempt([&] { encoder_.begin(info); });
  }
  void define_lane(const LaneInfo& lane) { attempt([&] { encoder_.define_lane(lane); }); }
  void define_type(TypeId type, std::string_view name) { encoder_.define_type(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view unit) { encoder_.define_counter(counter, name, unit); }
  void define_stack(const StackInfo& stack) { attempt([&] { encoder_.define_stack(stack); }); }
  void synchronise(const ClockSnapshot& clocks) { attempt([&] { encoder_.synchronise(clocks); }); }
  void take(std::span<const TraceEvent> events) {
    std::vector<TraceEvent> all(events.begin(), events.end());
    text_ = text_.size() > 10'000 ? "text" : text_ + text_;
    const Annotation annotation{"log", Value::of(std::string_view(text_))};
    if (!events.empty() && events.back().resource != ResourceId::kNone && sent_.size() % 5 == 0) {
      TraceEvent note = events.back();
      note.kind = EventKind::kAnnotated;
      note.other = ResourceId::kNone;
      note.stack = StackId::kNone;
      note.flags = 0;
      note.loss = nullptr;
      note.annotation = &annotation;
      all.push_back(note);
    }
    for (const TraceEvent& event : all) {
      if (event.kind == EventKind::kLost) {
        lost_before_ += event.loss->count;
        continue;
      }
      sent_.push_back(said(event, event.annotation == nullptr ? std::string_view() : event.annotation->key));
    }
    attempt([&] { encoder_.take(all); });
  }
  void flush() { encoder_.flush(); }
  void end(const TraceSummary& summary) {
    const int before = thrown_;
    attempt([&] { encoder_.end(summary); });
    if (thrown_ != before) encoder_.end(summary);
  }

  [[nodiscard]] const std::vector<Said>& sent() const { return sent_; }
  /// By the rings.
  [[nodiscard]] std::uint64_t lost_before() const { return lost_before_; }
  [[nodiscard]] int thrown() const { return thrown_; }
  [[nodiscard]] std::uint64_t salt() const { return salt_; }

 private:
  template <class Function>
  void attempt(Function&& function) {
    allocations_left = allocations_;
    failures_left = failures_;
    try {
      function();
    } catch (const std::bad_alloc&) {
      ++thrown_;
    }
    allocations_ = allocations_left;
    failures_ = failures_left;
    allocations_left = ~std::uint64_t{0};
  }

  PerfettoEncoder<File>& encoder_;
  std::uint64_t allocations_, failures_;
  std::string text_ = "text of an annotation";
  std::vector<Said> sent_;
  std::uint64_t lost_before_ = 0, salt_ = 0;
  int thrown_ = 0;
};

/// What Perfetto itself counts as lost: by the last TraceStats.
std::uint64_t lost_by_stats(std::span<const std::byte> file) {
  const auto each = [](std::span<const std::byte> message, std::uint32_t field, auto&& use) {
    for (ProtobufReader reader{message}; reader.next();)
      if (reader.field() == field) use(reader);
  };
  std::uint64_t lost = 0;
  each(file, fields::trace::kPacket, [&](const ProtobufReader& packet) {
    each(packet.bytes(), fields::trace_packet::kTraceStats, [&](const ProtobufReader& stats) {
      lost = 0;
      each(stats.bytes(), fields::trace_stats::kBufferStats, [&](const ProtobufReader& buffer) {
        each(buffer.bytes(), fields::buffer_stats::kTraceWriterPacketLoss, [&](const ProtobufReader& count) { lost += count.varint(); });
      });
    });
  });
  return lost;
}

/// Whether protobuf's own parser knows every field of a file; true where it is not installed.
bool parses(const std::string& path) {
  const std::string decode = "protoc --decode=thence.test.Trace -I '" THENCE_SOURCE_DIR "/tests/formats/perfetto' trace_subset.proto < " + path +
                             " > " + path + ".txt 2> /dev/null";
  const std::string unknown = "grep -qE '^ *[0-9]+(:| \\{)' " + path + ".txt";
  return std::system(("! command -v protoc > /dev/null || { " + decode + " && ! " + unknown + "; }").c_str()) == 0;
}

}  // namespace

TEST_CASE("where memory runs out, what is in the file was sent, and what is not is counted") {
  std::ofstream all("out_of_memory.pftrace", std::ios::binary);
  for (std::uint64_t run = 0; run != 16; ++run) {
    const std::uint64_t seed = 1 + run / 2;
    const bool flows = run % 2 == 0;
    thence_test::RandomTraceOptions made;
    made.seed = seed;
    made.steps = 200;
    made.lanes = static_cast<unsigned>(1 + seed % 3);
    made.losses = made.late = seed % 3 == 0;
    thence_test::RandomTrace trace(made);
    int thrown = 1;
    for (std::uint64_t at = 0; thrown != 0; ++at) {
      INFO("seed " << seed << ", flows " << flows << ", allocation " << at);
      File file;
      PerfettoOptions options;
      options.flows = flows;
      options.writer.chunk_bytes = 512;
      PerfettoEncoder<File> encoder(file, options);
      ShortOfMemory told(encoder, at, 1 + at % 3);
      trace.play(told);
      thrown = told.thrown();
      all << file.text();

      thence_test::Recording recording;
      thence_test::RecordingSink sink(recording);
      PerfettoReader<thence_test::RecordingSink> reader(sink);
      reader.feed(file.bytes());
      REQUIRE(reader.finish());
      CHECK(reader.packets_unreadable() == 0);
      CHECK(reader.events_skipped() == 0);
      std::vector<Said> sent = told.sent(), read, never_sent, not_read;
      std::uint64_t lost = 0;
      for (const thence_test::RecordedEvent& event : recording.events) {
        if (event.kind == EventKind::kLost) {
          lost += event.lost.count;
        } else {
          read.push_back(said(event, event.key));
        }
      }
      std::sort(sent.begin(), sent.end());
      std::sort(read.begin(), read.end());
      std::set_difference(read.begin(), read.end(), sent.begin(), sent.end(), std::back_inserter(never_sent));
      std::set_difference(sent.begin(), sent.end(), read.begin(), read.end(), std::back_inserter(not_read));
      CHECK(never_sent.empty());
      CHECK(lost >= told.lost_before() + not_read.size());
      if (thrown == 0) CHECK(lost == told.lost_before());
      CHECK(recording.trace.salt == told.salt());
      CHECK(recording.summary.lost == lost);
      CHECK(lost_by_stats(file.bytes()) == lost);
    }
  }
  all.close();
  CHECK(parses("out_of_memory.pftrace"));
  std::remove("out_of_memory.pftrace");
  std::remove("out_of_memory.pftrace.txt");
}

/// A trace without flows, of one lane that is known.
struct OneLane {
  OneLane() {
    encoder.begin({});
    encoder.define_lane({LaneId{1}, 0, 0, "known"});
  }
  void take(EventKind kind, std::uint64_t time, std::uint64_t resource, RootId root = RootId::kNone, LaneId lane = LaneId{1}) {
    TraceEvent event;
    event.kind = kind;
    event.time = static_cast<Timestamp>(time);
    event.resource = static_cast<ResourceId>(resource);
    event.root = root;
    event.lane = lane;
    if (kind == EventKind::kSettled) event.flags = static_cast<std::uint8_t>(Outcome::kFulfilled);
    encoder.take({&event, 1});
  }

  File file;
  PerfettoOptions options{.flows = false};
  PerfettoEncoder<File> encoder{file, options};
};

TEST_CASE("a wake that cannot be taken leaves none with what an earlier one said") {
  OneLane trace;
  trace.take(EventKind::kScheduled, 100, 7);
  trace.take(EventKind::kEntered, 200, 7);
  trace.take(EventKind::kExited, 300, 7);
  allocations_left = 0;
  failures_left = 1;
  CHECK_THROWS_AS(trace.take(EventKind::kScheduled, 400, 7, RootId::kNone, LaneId{2}), std::bad_alloc);  // a lane that is not known
  allocations_left = ~std::uint64_t{0};
  trace.take(EventKind::kEntered, 500, 7);
  trace.take(EventKind::kExited, 600, 7);
  trace.encoder.end(TraceSummary{});

  thence_test::Recording recording;
  thence_test::RecordingSink sink(recording);
  PerfettoReader<thence_test::RecordingSink> reader(sink);
  reader.feed(trace.file.bytes());
  REQUIRE(reader.finish());
  const auto wakes = recording.of_kind(EventKind::kScheduled);
  REQUIRE(wakes.size() == 1);
  CHECK(ns_of(wakes[0].time) == 100);
  CHECK(recording.summary.lost == 1);
}

TEST_CASE("a resource whose end could not be queued is closed in its time, not only with its root") {
  OneLane trace;
  for (std::uint64_t id = 1; id <= 200; ++id) trace.take(EventKind::kCreated, id, id, RootId{1});
  failures_left = 1;
  for (std::uint64_t id = 1; id <= 200; ++id) {
    allocations_left = failures_left != 0 ? 0 : ~std::uint64_t{0};
    try {
      trace.take(EventKind::kSettled, 200 + id, id, RootId{1});
    } catch (const std::bad_alloc&) {
    }
  }
  REQUIRE(failures_left == 0);
  allocations_left = ~std::uint64_t{0};
  trace.take(EventKind::kCreated, 400 + 3 * trace.options.quarantine_ns, 201, RootId{1});
  CHECK(trace.encoder.open_resources() == 1);
}
