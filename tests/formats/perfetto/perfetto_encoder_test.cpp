// SPDX-License-Identifier: MIT
// What the encoder promises of itself: memory, allocations, a sink that refuses. What the files say is checked by
// scenarios.cpp and random_trace_test.cpp.
#include "thence/formats/perfetto/perfetto_encoder.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "../script.hpp"
#include "support/catch.hpp"

/// Counted by allocations.cpp, which replaces operator new in this program.
extern std::atomic<std::uint64_t> allocations;

namespace {

using namespace thence_test;

static_assert(EventSink<PerfettoEncoder<NullByteSink>>);

/// One request: a root, `children` operations with annotations, invocations and settles.
class Requests {
 public:
  template <class Encoder>
  void one(Encoder& encoder, unsigned children, bool leave_open = false) {
    events_.clear();
    const RootId root = static_cast<RootId>(++roots_);
    const auto add = [&](EventKind kind, std::uint64_t id, std::uint64_t other = 0, std::uint8_t flags = 0) {
      TraceEvent e;
      e.kind = kind;
      e.time = static_cast<Timestamp>(now_ += 100);
      e.resource = static_cast<ResourceId>(id);
      e.other = static_cast<ResourceId>(other);
      e.root = root;
      e.lane = static_cast<LaneId>(1 + roots_ % 3);
      e.flags = flags;
      events_.push_back(e);
    };
    const std::uint64_t first = ++ids_;
    add(EventKind::kCreated, first);
    add(EventKind::kEntered, first);
    for (unsigned child = 0; child < children; ++child) {
      add(EventKind::kCreated, ++ids_, first);
      events_.back().type = kFetchType;
      events_.back().stack = static_cast<StackId>(1 + child % 3);
      add(EventKind::kAnnotated, ids_);
      events_.back().annotation = &url_;
      add(EventKind::kScheduled, ids_, first, 1);
    }
    add(EventKind::kExited, first);
    for (unsigned child = 0; child < children; ++child) {
      add(EventKind::kEntered, first + 1 + child, first, static_cast<std::uint8_t>(CauseKind::kScheduled));
      add(EventKind::kExited, first + 1 + child);
      if (!leave_open) add(EventKind::kSettled, first + 1 + child, 0, 1 | 2 << 4);
    }
    add(EventKind::kRootFinished, first);
    add(EventKind::kRootSealed, 0);
    encoder.take(events_);
  }
  void pass(std::uint64_t ns) { now_ += ns; }

 private:
  Annotation url_{"url", Value::of(std::string_view("https://example.org/some/path?with=query"))};
  std::uint64_t now_ = Script::kOrigin;
  std::uint64_t ids_ = 0;
  std::uint64_t roots_ = 0;
  std::vector<TraceEvent> events_;
};

}  // namespace

TEST_CASE("memory and tracks are bounded by what is open, not by how many requests there were") {
  NullByteSink sink;
  PerfettoEncoder<NullByteSink> encoder(sink);
  Script::begin(encoder);
  Requests requests;
  for (int n = 0; n < 2000; ++n) requests.one(encoder, 10);
  const std::uint64_t tracks = encoder.tracks_made();
  CHECK(encoder.open_resources() == 0);
  for (int n = 0; n < 50'000; ++n) requests.one(encoder, 10);
  CHECK(encoder.open_resources() == 0);
  CHECK(encoder.tracks_made() == tracks);
}

TEST_CASE("in the steady state nothing is allocated") {
  NullByteSink sink;
  PerfettoOptions options;
  options.writer.clear_after_bytes = 256 * 1024;
  PerfettoEncoder<NullByteSink> encoder(sink, options);
  Script::begin(encoder);
  Requests requests;
  for (int n = 0; n < 3000; ++n) requests.one(encoder, 20);
  const std::uint64_t before = allocations.load();
  for (int n = 0; n < 3000; ++n) requests.one(encoder, 20);
  CHECK(allocations.load() == before);
}

TEST_CASE("requests that leave something open cost new tracks, and no memory") {
  NullByteSink sink;
  PerfettoEncoder<NullByteSink> encoder(sink);
  Script::begin(encoder);
  Requests requests;
  for (int n = 0; n < 1000; ++n) requests.one(encoder, 3, true);
  CHECK(encoder.open_resources() == 0);
  const std::uint64_t before = allocations.load();
  for (int n = 0; n < 1000; ++n) requests.one(encoder, 3, true);
  // A retired slot's own list of pools is given up with it.
  CHECK(allocations.load() - before < 3000);
}

TEST_CASE("work without a request, never settled but having run, is forgotten after the quarantine") {
  NullByteSink sink;
  PerfettoEncoder<NullByteSink> encoder(sink);
  Script::begin(encoder);
  Script s;
  s.root(0);
  for (std::uint64_t n = 1; n <= 1000; ++n) s.at(n * 1'000'000).created(n, kPromiseType).entered(n).at(n * 1'000'000 + 10).exited(n);
  encoder.take(s.events());
  CHECK(encoder.open_resources() <= 12);  // those of the last 10 ms
}

TEST_CASE("a sink that refuses ends the file and is reported; the encoder goes on without harm") {
  struct Full {
    std::size_t room = 100'000;
    std::size_t taken = 0;
    int refusals = 0;
    bool write(std::span<const std::byte> bytes) {
      if (taken + bytes.size() > room) {
        ++refusals;
        return false;
      }
      taken += bytes.size();
      return true;
    }
  } full;
  PerfettoEncoder<Full> encoder(full);
  Script::begin(encoder);
  Requests requests;
  for (int n = 0; n < 500; ++n) requests.one(encoder, 10);
  encoder.end({});
  CHECK(encoder.failed());
  CHECK(full.refusals == 1);
  CHECK(encoder.bytes_written() == full.taken);
  CHECK(encoder.bytes_refused() > 0);
  CHECK(encoder.open_resources() == 0);
}

TEST_CASE("a trace without a single event is a trace") {
  BufferSink sink;
  PerfettoEncoder<BufferSink> encoder(sink);
  encoder.end({});
  CHECK_FALSE(sink.bytes().empty());
  CHECK_FALSE(encoder.failed());
}

TEST_CASE("events that lack what their kind needs are counted, never read") {
  BufferSink sink;
  PerfettoEncoder<BufferSink> encoder(sink);
  TraceEvent events[5];
  events[0].kind = EventKind::kAnnotated;
  events[1].kind = EventKind::kCounter;
  events[2].kind = EventKind::kCreated;  // of no resource
  events[3].kind = EventKind::kRootSealed;
  events[4].kind = static_cast<EventKind>(200);
  encoder.take(events);
  encoder.end({});
  CHECK(encoder.malformed() == 5);
}
