// SPDX-License-Identifier: MIT
// drain.cpp: how fast events become a .pftrace, on one core.
//   benchmark_perfetto_drain [millions of events] [file]      default 4, drain.pftrace
// The events are those of a server: requests of 20 operations, each created, woken, entered, exited, settled, destroyed.
// Processor time of the draining thread, also what the kernel takes for writing. Three figures each: the encoder alone, from events in memory to nowhere; the same to a file; and a session's drain, from a ring to
// a file, without the time that recording takes. The peak of the process' memory stands at the end.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "support/processor_time.hpp"
#include "thence/session/session.hpp"
#include "thence/session/trace_files.hpp"

namespace {

using namespace thence;
using thence_bench::processor_seconds;
double seconds_since(double start) { return processor_seconds() - start; }

/// One request at a time, in the same memory.
class Requests {
 public:
  static constexpr unsigned kOperations = 20;

  std::span<const TraceEvent> next() {
    events_.clear();
    root_ = static_cast<RootId>(++roots_);
    const std::uint64_t first = ++id_;
    add(EventKind::kCreated, first);
    add(EventKind::kEntered, first);
    for (unsigned n = 1; n < kOperations; ++n) {
      add(EventKind::kCreated, ++id_, first).type = type_id(n % 4 == 0 ? ResourceType::kFetch : ResourceType::kJsPromise);
    }
    add(EventKind::kExited, first);
    for (unsigned n = 1; n < kOperations; ++n) {
      add(EventKind::kScheduled, first + n, 0, static_cast<std::uint8_t>(Actor::kExternal));
      add(EventKind::kEntered, first + n);
      add(EventKind::kSettled, first + n, first + n,
          static_cast<std::uint8_t>(static_cast<unsigned>(Outcome::kFulfilled) | static_cast<unsigned>(Actor::kInvocation) << 4));
      add(EventKind::kExited, first + n);
      add(EventKind::kDestroyed, first + n);
    }
    add(EventKind::kSettled, first, 0, static_cast<std::uint8_t>(Outcome::kFulfilled));
    add(EventKind::kDestroyed, first);
    add(EventKind::kRootFinished, first);
    add(EventKind::kRootSealed, 0);
    return events_;
  }

 private:
  TraceEvent& add(EventKind kind, std::uint64_t resource, std::uint64_t other = 0, std::uint8_t flags = 0) {
    TraceEvent& event = events_.emplace_back();
    event.kind = kind;
    event.time = static_cast<Timestamp>(now_ += 300);
    event.resource = static_cast<ResourceId>(resource);
    event.other = static_cast<ResourceId>(other);
    event.root = root_;
    event.lane = LaneId{1};
    event.flags = flags;
    return event;
  }
  std::vector<TraceEvent> events_;
  std::uint64_t now_ = 1'000'000'000, id_ = 0, roots_ = 0;
  RootId root_ = {};
};

template <class Sink>
void begin(Sink& sink) {
  TraceInfo info;
  info.salt = 7;
  info.process_id = 100;
  info.process_name = "server";
  sink.begin(info);
  sink.define_lane({LaneId{1}, 100, 101, "loop"});
}

void report(const char* what, double events, double seconds, double bytes) {
  std::printf("%-44s %7.2f M events/s  %6.1f ns  %5.1f bytes an event\n", what, events / seconds / 1e6, seconds / events * 1e9,
              bytes / events);
}

template <class Sink>
void encode(const char* what, Sink& sink, double wanted) {
  begin(sink);
  Requests requests;
  double events = 0, seconds = 0;
  std::vector<TraceEvent> batch;
  while (events < wanted) {
    // Batches as a session hands them over; making them is not counted, and reading the clock is not noticed.
    batch.clear();
    while (batch.size() < 20'000) {
      const auto more = requests.next();
      batch.insert(batch.end(), more.begin(), more.end());
    }
    const auto start = processor_seconds();
    for (std::size_t at = 0; at < batch.size(); at += 512) {
      sink.take(std::span<const TraceEvent>(batch).subspan(at, std::min<std::size_t>(512, batch.size() - at)));
    }
    seconds += seconds_since(start);
    events += static_cast<double>(batch.size());
  }
  const auto start = processor_seconds();
  sink.end(TraceSummary{});
  report(what, events, seconds + seconds_since(start), static_cast<double>(sink.bytes_written()));
}

/// 300 ns between two events: a lane with three million events a second.
struct PacedPolicies : DefaultPolicies {
  using Clock = ManualClock;
};
std::uint64_t paced_time = 1'000'000'000;

template <class Policies>
void drain(const char* what, const std::string& path, const PerfettoOptions& perfetto, double wanted,
           typename Policies::Clock clock) {
  SessionOptions options;
  options.drain_thread = false;
  options.ring_events = std::size_t{1} << 16;
  BasicSession<Policies> session(options, clock);
  session.add_sink(PerfettoFile(path, perfetto));
  session.start();
  auto lane = session.attach("loop");
  auto& recorder = lane.tracer();
  const auto next = [&]() -> auto& {
    paced_time += 300;
    return recorder;
  };
  double seconds = 0;
  std::uint64_t recorded = 0;
  while (static_cast<double>(recorded) < wanted) {
    for (unsigned request = 0; request < 130; ++request) {  // a quarter of the ring, as the session's own thread does
      const Resource root = next().begin_root();
      next().enter(root);
      Resource operations[Requests::kOperations];
      for (unsigned n = 1; n < Requests::kOperations; ++n) {
        operations[n] = next().create(n % 4 == 0 ? ResourceType::kFetch : ResourceType::kJsPromise);
      }
      next().exit(root);
      for (unsigned n = 1; n < Requests::kOperations; ++n) {
        next().schedule(operations[n]);
        next().enter(operations[n]);
        next().settle(operations[n], Outcome::kFulfilled);
        next().exit(operations[n]);
        next().destroy(operations[n]);
      }
      next().settle(root, Outcome::kFulfilled);
      next().destroy(root);
      next().finish_root(root);
      recorded += 6 + (Requests::kOperations - 1) * 6;
    }
    const auto start = processor_seconds();
    session.drain();
    seconds += seconds_since(start);
  }
  const auto start = processor_seconds();
  session.close();
  seconds += seconds_since(start);
  const TraceSummary summary = session.statistics();
  if (summary.lost != 0) std::printf("%llu events were lost\n", static_cast<unsigned long long>(summary.lost));
  std::FILE* file = std::fopen(path.c_str(), "rb");
  double bytes = 0;
  if (file != nullptr) {
    std::fseek(file, 0, SEEK_END);
    bytes = static_cast<double>(std::ftell(file));
    std::fclose(file);
  }
  report(what, static_cast<double>(recorded), seconds, bytes);
}

}  // namespace

int main(int count, char** arguments) {
  const double wanted = (count > 1 ? std::atof(arguments[1]) : 4) * 1e6;
  const std::string path = count > 2 ? arguments[2] : "drain.pftrace";
  for (const bool flows : {false, true}) {
    PerfettoOptions options;
    options.flows = flows;
    std::printf("flows %s\n", flows ? "on" : "off");
    NullByteSink nowhere;
    PerfettoEncoder<NullByteSink> encoder(nowhere, options);
    encode("  encoder, events in memory to nowhere", encoder, wanted);
    PerfettoFile file(path, options);
    encode("  encoder, events in memory to a file", file, wanted);
    drain<PacedPolicies>("  a session's drain, ring to file", path, options, wanted, ManualClock(&paced_time));
    // What is in quarantine then outgrows the caches: 10 ms of it are 150 000 events.
    drain<DefaultPolicies>("  the same, recorded without a pause", path, options, wanted, {});
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf("peak memory %ld KB\n", usage.ru_maxrss);
  std::remove(path.c_str());
  return 0;
}
