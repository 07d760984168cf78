// SPDX-License-Identifier: MIT
// drain.cpp: how fast events become a .pftrace, on one core.
//   benchmark_perfetto_drain [millions of events] [file]      default 4, drain.pftrace
// The events are those of a server: requests of 20 operations, each created, woken, entered, exited, settled, destroyed.
// Processor time of the draining thread, also what the kernel takes for writing and without what recording takes: of the
// encoder alone, of a session's drain up to no sink, to nowhere and to a file, and of a floor. The rows are measured in
// turns, and the median of five rounds is printed. The peak of the process' memory stands at the end.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/figures.hpp"
#include "support/processor_time.hpp"
#include "thence/session/file_bytes.hpp"
#include "thence/session/session.hpp"
#include "thence/session/trace_files.hpp"
#include "thence/storage/ring_buffer.hpp"

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

/// What one run of something took.
struct Cost {
  double events = 0, seconds = 0, bytes = 0;
};

/// The least that a drain could do: each slot of a ring is looked at, and as many bytes as a drain makes go to a file.
Cost floor(const std::string& path, double wanted, double bytes_an_event) {
  RingBuffer<> ring{HeapStorage(std::size_t{1} << 16)};
  FileBytes file(path);
  std::vector<std::byte> out(64 * 1024);
  std::byte made[64] = {};
  const auto each = std::min(sizeof made, static_cast<std::size_t>(bytes_an_event));
  Cost cost;
  while (cost.events < wanted) {
    for (std::uint64_t n = 0; n != 1 << 14; ++n) ring.try_push({n, n, n, n});
    const auto start = processor_seconds();
    std::size_t at = 0;
    ring.drain([&](const RecordView& record) {
      if (at + sizeof made > out.size()) {
        static_cast<void>(file.write({out.data(), at}));
        at = 0;
      }
      std::memcpy(made, &record.head(), sizeof(Event));
      std::memcpy(out.data() + at, made, sizeof made);
      at += each;
    });
    static_cast<void>(file.write({out.data(), at}) && file.flush());
    cost.seconds += seconds_since(start);
    cost.events += 1 << 14;
  }
  cost.bytes = static_cast<double>(file.bytes_written());
  return cost;
}

template <class Sink>
Cost encode(Sink& sink, double wanted) {
  begin(sink);
  Requests requests;
  Cost cost;
  std::vector<TraceEvent> batch;
  while (cost.events < wanted) {
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
    cost.seconds += seconds_since(start);
    cost.events += static_cast<double>(batch.size());
  }
  const auto start = processor_seconds();
  sink.end(TraceSummary{});
  cost.seconds += seconds_since(start);
  cost.bytes = static_cast<double>(sink.bytes_written());
  return cost;
}

/// 300 ns between two events: a lane with three million events a second.
struct PacedPolicies : DefaultPolicies {
  using Clock = ManualClock;
};
std::uint64_t paced_time = 1'000'000'000;

/// An encoder whose bytes go nowhere, as a session can own it.
class EncoderToNowhere : public PerfettoEncoder<NullByteSink> {
 public:
  explicit EncoderToNowhere(const PerfettoOptions& options) : PerfettoEncoder<NullByteSink>(nowhere_, options) {}

 private:
  NullByteSink nowhere_;
};

template <class Policies, class Sink>
Cost drain(Sink sink, double wanted, typename Policies::Clock clock) {
  SessionOptions options;
  options.drain_thread = false;
  options.ring_events = std::size_t{1} << 16;
  BasicSession<Policies> session(options, clock);
  session.add_sink(std::move(sink));
  session.start();
  auto lane = session.attach("loop");
  auto& recorder = lane.tracer();
  const auto next = [&]() -> auto& {
    paced_time += 300;
    return recorder;
  };
  Cost cost;
  while (cost.events < wanted) {
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
      cost.events += 6 + (Requests::kOperations - 1) * 6;
    }
    const auto start = processor_seconds();
    session.drain();
    cost.seconds += seconds_since(start);
  }
  cost.bytes = static_cast<double>(session.statistics().bytes_written);
  const auto start = processor_seconds();
  session.close();
  cost.seconds += seconds_since(start);
  const TraceSummary summary = session.statistics();
  if (summary.lost != 0) std::printf("%llu events were lost\n", static_cast<unsigned long long>(summary.lost));
  return cost;
}

}  // namespace

int main(int count, char** arguments) {
  thence_bench::Figures figures(count, arguments);
  constexpr int kRounds = 5;
  const double wanted = (count > 1 ? std::atof(arguments[1]) : 4) * 1e6 / kRounds;
  const std::string path = count > 2 ? arguments[2] : "drain.pftrace";
  for (const bool flows : {false, true}) {
    PerfettoOptions options;
    options.flows = flows;
    struct Row {
      const char* name;
      std::function<Cost()> run;
      std::vector<Cost> costs = {};
    };
    double bytes_an_event = 0;
    Row rows[] = {
        {"encoder, events in memory to nowhere",
         [&] {
           EncoderToNowhere encoder(options);
           return encode(encoder, wanted);
         }},
        {"encoder, events in memory to a file",
         [&] {
           PerfettoFile file(path, options);
           const Cost cost = encode(file, wanted);
           bytes_an_event = cost.bytes / cost.events;
           return cost;
         }},
        {"slots read, bytes to a file", [&] { return floor(path, wanted, bytes_an_event); }},
        {"a session's drain, ring to no sink",
         [&] { return drain<PacedPolicies>(IgnoringSink{}, wanted, ManualClock(&paced_time)); }},
        {"a session's drain, ring to nowhere",
         [&] {
           return drain<PacedPolicies>(std::make_unique<EncoderToNowhere>(options), wanted, ManualClock(&paced_time));
         }},
        {"a session's drain, ring to a file",
         [&] { return drain<PacedPolicies>(PerfettoFile(path, options), wanted, ManualClock(&paced_time)); }},
        // What is in quarantine then outgrows the caches: 10 ms of it are a million events.
        {"a session's drain, recorded without a pause",
         [&] { return drain<DefaultPolicies>(PerfettoFile(path, options), wanted, DefaultPolicies::Clock{}); }},
    };
    for (int round = 0; round < kRounds; ++round) {
      for (Row& row : rows) row.costs.push_back(row.run());
    }
    const auto each = [](const Row& row) {
      std::vector<double> times;
      for (const Cost& cost : row.costs) times.push_back(cost.seconds / cost.events * 1e9);
      return times;
    };
    for (const Row& row : rows) {
      if (&row == rows + 2) continue;
      figures.add(std::string("drain, flows ") + (flows ? "on/" : "off/") + row.name, each(row), rows[2].name, each(rows[2]),
                  row.costs.back().bytes / row.costs.back().events);
    }
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf("peak memory %ld KB\n", usage.ru_maxrss);
  std::remove(path.c_str());
  return 0;
}
