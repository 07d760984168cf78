// SPDX-License-Identifier: MIT
#include "thence/session/session.hpp"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/recording_sink.hpp"
#include "thence/session/file_bytes.hpp"
#include "thence/storage/flight_file.hpp"
#include "thence/storage/flight_recorder.hpp"
#include "thence/storage/mapped_storage.hpp"

using namespace thence;
using thence_test::RecordedEvent;
using thence_test::Recording;
using thence_test::RecordingSink;

namespace {

struct ManualPolicies : DefaultPolicies {
  using Clock = ManualClock;
};

/// A session on a clock that the test moves, drained by hand.
struct ManualSession {
  std::uint64_t time = 1'000;
  Recording recorded;
  BasicSession<ManualPolicies> session;

  explicit ManualSession(SessionOptions options = {}) : session(with_hand_drain(std::move(options)), ManualClock(&time)) {
    session.add_sink(RecordingSink(recorded));
    session.start();
  }
  static SessionOptions with_hand_drain(SessionOptions options) {
    options.drain_thread = false;
    return options;
  }
};

std::vector<EventKind> kinds(const std::vector<RecordedEvent>& events) {
  std::vector<EventKind> found;
  for (const RecordedEvent& event : events) found.push_back(event.kind);
  return found;
}

}  // namespace

TEST_CASE("a resource's life reaches the sink whole, with its trigger, root, settler, times and place of creation") {
  ManualSession test;
  auto lane = test.session.attach("loop");
  auto& tracer = lane.tracer();

  const Resource root = tracer.begin_root();
  Resource fetch;
  {
    CallbackScope scope(tracer, root);
    test.time = 2'000;
    fetch = tracer.create(ResourceType::kFetch);
    const unsigned line = __LINE__ - 1;
    tracer.annotate(fetch, "url", "https://example.test/");
    tracer.annotate(fetch, "rows", 7);
    test.time = 3'000;
    tracer.settle(fetch, Outcome::kRejected);
    test.session.drain();
    const auto created = test.recorded.of(fetch.id).at(0);
    CHECK(ns_of(created.time) == 2'000);
    CHECK(created.other == root.id);
    CHECK(created.root == root.root);
    CHECK(test.recorded.type_name(created) == "fetch");
    REQUIRE(test.recorded.stacks.at(created.stack).size() == 1);
    CHECK(test.recorded.stacks.at(created.stack)[0].line == line);
    CHECK(test.recorded.stacks.at(created.stack)[0].file == __FILE__);
  }
  const auto events = test.recorded.of(fetch.id);
  REQUIRE(kinds(events) == std::vector{EventKind::kCreated, EventKind::kAnnotated, EventKind::kAnnotated, EventKind::kSettled});
  CHECK(events[1].key == "url");
  CHECK(events[1].text == "https://example.test/");
  CHECK(events[2].key == "rows");
  CHECK(events[2].value.kind == ValueKind::kInt);
  CHECK(events[2].value.integer == 7);
  CHECK(events[3].outcome() == Outcome::kRejected);
  CHECK(events[3].settled_by() == Actor::kInvocation);
  CHECK(events[3].other == root.id);
  CHECK(ns_of(events[3].time) == 3'000);
}

TEST_CASE("a settle where nothing runs is said to come from outside") {
  ManualSession test;
  auto lane = test.session.attach("loop");
  const Resource timer = lane.tracer().create(ResourceType::kTimer);
  lane.tracer().settle(timer, Outcome::kFulfilled);
  test.session.drain();
  const auto settled = test.recorded.of_kind(EventKind::kSettled).at(0);
  CHECK(settled.settled_by() == Actor::kExternal);
  CHECK(settled.other == ResourceId::kNone);
}

TEST_CASE("events of two lanes come out in order of time") {
  ManualSession test;
  auto one = test.session.attach("one");
  auto two = test.session.attach("two");
  const Resource a = one.tracer().create(ResourceType::kOther);
  const Resource b = two.tracer().create(ResourceType::kOther);
  for (int n = 0; n < 6; ++n) {
    test.time += 10;
    (n % 2 == 0 ? one : two).tracer().schedule(n % 2 == 0 ? a : b);
  }
  test.time += 100'000'000;
  test.session.drain();
  const auto scheduled = test.recorded.of_kind(EventKind::kScheduled);
  REQUIRE(scheduled.size() == 6);
  for (std::size_t n = 0; n < 6; ++n) {
    CHECK(ns_of(scheduled[n].time) == 1'000 + 10 * (n + 1));
    CHECK(scheduled[n].resource == (n % 2 == 0 ? a : b).id);
    CHECK_FALSE(scheduled[n].late);
  }
}

TEST_CASE("an event that is published after the reorder window is kept, marked late and counted") {
  SessionOptions options;
  options.reorder_window_ns = 1'000;
  ManualSession test(options);
  auto prompt = test.session.attach("prompt");
  auto slow = test.session.attach("slow");
  const Resource first = prompt.tracer().create(ResourceType::kOther);
  test.time = 50'000;
  prompt.tracer().schedule(first);
  test.time = 100'000;
  test.session.drain();
  test.time = 20'000;  // as if its thread had been stopped between reading the clock and writing the event
  const Resource second = slow.tracer().create(ResourceType::kOther);
  test.time = 200'000;
  test.session.drain();
  test.session.close();
  const auto late = test.recorded.of(second.id).at(0);
  CHECK(late.late);
  CHECK(test.recorded.summary.late_events == 1);
}

TEST_CASE("a root that finished is sealed once nothing of it runs, and what comes later is counted") {
  SessionOptions options;
  options.roots.settle_ns = 100;
  ManualSession test(options);
  auto lane = test.session.attach("loop");
  auto& tracer = lane.tracer();
  const Resource root = tracer.begin_root();
  tracer.enter(root);
  tracer.finish_root(root);
  test.time += 1'000'000;
  test.session.drain();
  CHECK(test.recorded.of_kind(EventKind::kRootSealed).empty());  // still running
  tracer.exit(root);
  test.session.drain();
  CHECK(test.recorded.of_kind(EventKind::kRootSealed).empty());  // not quiet yet
  test.time += 101;
  test.session.drain();
  const auto sealed = test.recorded.of_kind(EventKind::kRootSealed);
  REQUIRE(sealed.size() == 1);
  CHECK(sealed[0].root == root.root);
  CHECK(sealed[0].seal_reason() == SealReason::kFinished);
  CHECK(test.session.open_roots() == 0);

  const auto before = test.recorded.events.size();
  tracer.settle(root, Outcome::kFulfilled);
  test.session.close();
  CHECK(test.recorded.events.size() == before);
  CHECK(test.recorded.summary.after_seal == 1);
  CHECK(test.recorded.summary.roots_sealed == 1);
}

TEST_CASE("a root that was answered and never finished is sealed after its grace; one never heard of again, as abandoned") {
  SessionOptions options;
  options.roots.grace_ns = 1'000;
  options.roots.abandon_ns = 1'000'000;
  ManualSession test(options);
  auto lane = test.session.attach("loop");
  const Resource answered = lane.tracer().begin_root();
  const Resource forgotten = lane.tracer().begin_root();
  lane.tracer().settle(answered, Outcome::kFulfilled);
  test.time += 2'000;
  test.session.drain();
  auto sealed = test.recorded.of_kind(EventKind::kRootSealed);
  REQUIRE(sealed.size() == 1);
  CHECK(sealed[0].root == answered.root);
  CHECK(sealed[0].seal_reason() == SealReason::kGrace);
  test.time += 1'000'000;
  test.session.drain();
  sealed = test.recorded.of_kind(EventKind::kRootSealed);
  REQUIRE(sealed.size() == 2);
  CHECK(sealed[1].root == forgotten.root);
  CHECK(sealed[1].seal_reason() == SealReason::kAbandoned);
  test.session.close();
  CHECK(test.recorded.summary.roots_abandoned == 1);
}

TEST_CASE("closing a session seals every root that is still open, and says why") {
  ManualSession test;
  auto lane = test.session.attach("loop");
  const Resource root = lane.tracer().begin_root();
  test.session.close();
  const auto sealed = test.recorded.of_kind(EventKind::kRootSealed);
  REQUIRE(sealed.size() == 1);
  CHECK(sealed[0].root == root.root);
  CHECK(sealed[0].seal_reason() == SealReason::kSessionEnded);
  CHECK(test.recorded.ended);
}

TEST_CASE("what a full ring refuses is counted exactly, with its time range, at its place") {
  SessionOptions options;
  options.ring_events = 32;
  ManualSession test(options);
  auto lane = test.session.attach("loop");
  const Resource op = lane.tracer().create(ResourceType::kOther);
  for (int n = 0; n < 100; ++n) {
    ++test.time;
    lane.tracer().schedule(op);
  }
  test.session.drain();
  test.time = 5'000;
  lane.tracer().destroy(op);
  for (int n = 0; n < 50; ++n) lane.tracer().schedule(op);
  test.session.close();

  const auto losses = test.recorded.of_kind(EventKind::kLost);
  const auto scheduled = test.recorded.of_kind(EventKind::kScheduled);
  std::uint64_t lost = 0;
  for (const auto& loss : losses) lost += loss.lost.count;
  CHECK(scheduled.size() + lost == 150);
  REQUIRE(losses.size() == 2);
  // Of 32 slots two are kept back for the ends of roots: one for create, 29 for schedule.
  CHECK(losses[0].lost.count == 71);
  CHECK(ns_of(losses[0].lost.first) == 1'030);
  CHECK(ns_of(losses[0].lost.last) == 1'100);
  CHECK(ns_of(losses[1].lost.first) == 5'000);
  CHECK(test.recorded.summary.lost == lost);
  REQUIRE(test.recorded.lane_summaries.size() == 1);
  CHECK(test.recorded.lane_summaries[0].lost.count == lost);
  // In the order of the lane: the loss stands before what was kept after it.
  const auto at = [&](EventKind kind) {
    return std::find_if(test.recorded.events.begin(), test.recorded.events.end(),
                        [&](const RecordedEvent& event) { return event.kind == kind; });
  };
  CHECK(at(EventKind::kLost) < at(EventKind::kDestroyed));
}

TEST_CASE("the end of a root fits into a ring that is full for everything else") {
  SessionOptions options;
  options.ring_events = 64;
  ManualSession test(options);
  auto lane = test.session.attach("loop");
  const Resource root = lane.tracer().begin_root();
  for (int n = 0; n < 1'000; ++n) lane.tracer().schedule(root);
  lane.tracer().finish_root(root);
  test.session.close();
  const auto sealed = test.recorded.of_kind(EventKind::kRootSealed);
  REQUIRE(sealed.size() == 1);
  CHECK(sealed[0].seal_reason() == SealReason::kFinished);
  CHECK(test.recorded.summary.lost > 900);
}

TEST_CASE("a session can be stopped and started again, and records nothing in between") {
  ManualSession test;
  auto lane = test.session.attach("loop");
  auto& tracer = lane.tracer();
  const Resource kept = tracer.create(ResourceType::kOther);
  tracer.enter(kept);
  test.session.stop();
  CHECK_FALSE(tracer.active());
  CHECK_FALSE(tracer.create(ResourceType::kOther));
  test.session.start();
  CHECK(tracer.depth() == 0);
  const Resource later = tracer.create(ResourceType::kOther);
  CHECK(later);
  tracer.exit(kept);  // entered before the stop: counted, and nothing invented
  test.session.close();
  CHECK(test.recorded.of(later.id).at(0).other == ResourceId::kNone);
  CHECK(test.recorded.of_kind(EventKind::kExited).empty());
  CHECK(test.recorded.lane_summaries.at(0).misuse.exit_without_enter == 1);
}

TEST_CASE("sampling may change while a session runs, and holds for the roots that begin then") {
  ManualSession test;
  auto lane = test.session.attach("loop");
  auto& tracer = lane.tracer();
  CHECK(tracer.begin_root());
  test.session.set_sampling(Sampling::none());
  const Resource untraced = tracer.begin_root();
  CHECK_FALSE(untraced);
  {
    CallbackScope scope(tracer, untraced);
    CHECK_FALSE(tracer.create(ResourceType::kFetch));
  }
  test.session.set_sampling(Sampling::when_asked());
  CHECK_FALSE(tracer.begin_root());
  CHECK(tracer.begin_root(ResourceType::kRoot, {.asked = true}));
  test.session.set_sampling(Sampling::one_in(3));
  int traced = 0;
  for (int n = 0; n < 9; ++n) traced += tracer.begin_root() ? 1 : 0;
  CHECK(traced == 3);
}

TEST_CASE("annotation values pass through the session's redaction before any sink sees them") {
  SessionOptions options;
  options.redact = redact_urls;
  ManualSession test(options);
  auto lane = test.session.attach("loop");
  const Resource fetch = lane.tracer().create(ResourceType::kFetch);
  lane.tracer().annotate(fetch, "url", "https://me:secret@example.test/a?key=private&b");
  test.session.close();
  CHECK(test.recorded.of_kind(EventKind::kAnnotated).at(0).text == "https://***@example.test/a?key=***&b");
}

TEST_CASE("a sink that throws loses what it was given, and nothing of what comes when it takes again") {
  struct Unsteady : RecordingSink {
    Unsteady(Recording& to, const bool& down) : RecordingSink(to), is_down(&down) {}
    void take(std::span<const TraceEvent> events) {
      if (*is_down) throw std::runtime_error("down");
      RecordingSink::take(events);
    }
    const bool* is_down;
  };
  bool is_down = true;
  Recording recorded;
  BasicSession<> session{SessionOptions{.drain_thread = false}};
  session.add_sink(Unsteady(recorded, is_down));
  session.start();
  auto lane = session.attach("loop");
  for (int n = 0; n < 400; ++n) {  // more than a batch holds
    lane.tracer().create(ResourceType::kFetch);
    CHECK_THROWS_AS(session.drain(), std::runtime_error);
  }
  is_down = false;
  const Resource last = lane.tracer().create(ResourceType::kTimer);
  session.drain();
  const auto created = recorded.of_kind(EventKind::kCreated);
  REQUIRE(created.size() == 1);
  CHECK(created[0].resource == last.id);
}

TEST_CASE("an annotation whose redaction throws waits for one that does not, and no event comes twice") {
  bool is_down = true;
  SessionOptions options;
  options.redact = [&is_down](std::string_view, std::string_view value, std::string&) {
    if (is_down) throw std::runtime_error("down");
    return value;
  };
  ManualSession test(options);
  auto lane = test.session.attach("loop");
  const Resource fetch = lane.tracer().create(ResourceType::kFetch);
  lane.tracer().annotate(fetch, "url", "/a");
  for (int n = 0; n < 400; ++n) CHECK_THROWS_AS(test.session.drain(), std::runtime_error);
  is_down = false;
  test.session.close();
  CHECK(test.recorded.of_kind(EventKind::kCreated).size() == 1);
  REQUIRE(test.recorded.of_kind(EventKind::kAnnotated).size() == 1);
  CHECK(test.recorded.of_kind(EventKind::kAnnotated)[0].text == "/a");
}

TEST_CASE("lanes, sessions and their sinks may go in any order") {
  Recording recorded;
  BasicLane<DefaultPolicies> lane;
  {
    BasicSession<> session{SessionOptions{.drain_thread = false}};
    session.add_sink(RecordingSink(recorded));
    session.start();
    lane = session.attach("outlives the session");
    lane.tracer().create(ResourceType::kOther);
  }
  CHECK(recorded.of_kind(EventKind::kCreated).size() == 1);
  CHECK_FALSE(lane.tracer().create(ResourceType::kOther));  // closed: records nothing, breaks nothing
  lane.detach();

  ManualSession test;
  {
    auto gone = test.session.attach("gone before the drain");
    gone.tracer().create(ResourceType::kOther);
  }
  test.session.drain();
  CHECK(test.recorded.of_kind(EventKind::kCreated).size() == 1);
}

TEST_CASE("a thread may be attached to two sessions at once, each with its own trace") {
  ManualSession one, two;
  auto first = one.session.attach("loop");
  auto second = two.session.attach("loop");
  const Resource a = first.tracer().create(ResourceType::kFetch);
  second.tracer().create(ResourceType::kTimer);
  first.tracer().destroy(a);
  one.session.close();
  two.session.close();
  CHECK(one.recorded.events.size() == 2);
  CHECK(two.recorded.events.size() == 1);
  CHECK(one.recorded.trace.salt != two.recorded.trace.salt);
}

TEST_CASE("memory does not grow with requests: of closed roots only ranges of numbers remain") {
  SessionOptions options;
  options.roots.settle_ns = 10;
  ManualSession test(options);
  auto lane = test.session.attach("loop");
  for (int n = 0; n < 5'000; ++n) {
    const Resource root = lane.tracer().begin_root();
    lane.tracer().finish_root(root);
    test.time += 20;
    test.session.drain();
    test.recorded.events.clear();
    REQUIRE(test.session.open_roots() <= 2);
  }
}

TEST_CASE("a range set holds what was put in, in as few ranges as there are gaps") {
  RangeSet set;
  std::vector<bool> oracle(300);
  std::uint64_t seed = 7;
  for (int n = 0; n < 2'000; ++n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    const std::uint64_t value = (seed >> 33) % 290 + 1;
    set.insert(value);
    oracle[value] = true;
    std::size_t ranges = 0;
    for (std::size_t at = 1; at < oracle.size(); ++at) {
      ranges += oracle[at] && !oracle[at - 1] ? 1 : 0;
      if (n % 97 == 0) REQUIRE(set.contains(at) == oracle[at]);
    }
    REQUIRE(set.ranges() == ranges);
  }
}

TEST_CASE("roots that are open stay so, each with what was heard of it, while others among them are closed") {
  RootBook book(RootLimits{.settle_ns = 10});
  const auto event = [](EventKind kind, std::uint64_t root, std::uint64_t time) {
    TraceEvent made;
    made.kind = kind;
    made.root = static_cast<RootId>(root);
    made.time = static_cast<Timestamp>(time);
    return made;
  };
  for (std::uint64_t root = 1; root <= 60; ++root) REQUIRE(book.admit(event(EventKind::kEntered, root, root)));
  for (std::uint64_t root = 1; root <= 60; ++root) REQUIRE(book.admit(event(EventKind::kExited, root, 60 + root)));
  std::vector<std::uint64_t> closed, expected;
  const auto close = [&](std::uint64_t time) {
    book.close_due(static_cast<Timestamp>(time), [&](RootId root, SealReason reason) {
      CHECK(reason == SealReason::kFinished);
      closed.push_back(number(root));
    });
  };
  for (const std::uint64_t step : {3u, 2u, 1u}) {  // every third one, then those left with an even number, then the rest
    for (std::uint64_t root = step; root <= 60; root += step) {
      if (std::find(closed.begin(), closed.end(), root) == closed.end()) {
        REQUIRE(book.admit(event(EventKind::kRootFinished, root, 1'000)));
        expected.push_back(root);
      }
    }
    close(1'009);
    REQUIRE(closed.size() < expected.size());
    close(1'010);
    REQUIRE(closed == expected);
    for (const std::uint64_t root : closed) REQUIRE(!book.admit(event(EventKind::kExited, root, 1'005)));
    REQUIRE(book.open() == 60 - closed.size());
  }
}

TEST_CASE("a file's bytes leave in order, in pieces that end at multiples of the buffer") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends) == 0);  // each write stays a piece of its own
  FileBytes bytes(ends[0], "socket", 64);
  std::string written, read;
  std::size_t flushed = 0, at_multiples = 0;
  const auto receive = [&] {
    char piece[4096];
    for (ssize_t count; (count = ::recv(ends[1], piece, sizeof piece, 0)) > 0;) {
      read.append(piece, static_cast<std::size_t>(count));
      at_multiples += read.size() % 64 == 0 ? 1 : 0;
    }
  };
  std::uint64_t seed = 3;
  for (int n = 0; n < 500; ++n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    const std::string piece(static_cast<std::size_t>(seed >> 33) % (n % 10 == 0 ? 300 : 40), static_cast<char>('a' + n % 26));
    REQUIRE(bytes.write(std::as_bytes(std::span(piece))));
    written += piece;
    REQUIRE(bytes.bytes_written() == written.size());
    receive();
    REQUIRE(read.size() == std::max(flushed, written.size() / 64 * 64));
    if (n % 50 != 49) continue;
    REQUIRE(bytes.flush());  // what is left goes out as it is
    receive();
    REQUIRE(read == written);
    flushed = read.size();
  }
  CHECK(at_multiples > 100);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("a sink that cannot be written tells the host once, and does not stop it") {
  struct FullDisk : IgnoringSink {
    FileBytes bytes{"/dev/full", 64};
    void take(std::span<const TraceEvent> events) {
      for (std::size_t n = 0; n < events.size(); ++n) static_cast<void>(!bytes.write(std::as_bytes(std::span("0123456789abcdef"))));
    }
    void flush() { static_cast<void>(!bytes.flush()); }
    std::string_view failure() const { return bytes.failure(); }
  };
  std::vector<std::string> told;
  SessionOptions options;
  options.on_error = [&](std::string_view message) { told.emplace_back(message); };
  ManualSession test(options);
  BasicSession<ManualPolicies> session(ManualSession::with_hand_drain(options), ManualClock(&test.time));
  Recording recorded;
  session.add_sink(FullDisk{});
  session.add_sink(RecordingSink(recorded));
  session.start();
  auto lane = session.attach("loop");
  for (int n = 0; n < 20; ++n) lane.tracer().create(ResourceType::kOther);
  session.drain();
  lane.tracer().create(ResourceType::kOther);
  session.close();
  REQUIRE(told.size() == 1);
  CHECK(told[0] == "/dev/full: cannot be written beyond byte 0: No space left on device");
  CHECK(recorded.of_kind(EventKind::kCreated).size() == 21);
}

TEST_CASE("a file that cannot be created says so in words") {
  const FileBytes bytes("/nowhere/at/all/trace.pftrace");
  CHECK(bytes.failure() == "/nowhere/at/all/trace.pftrace: cannot be created: No such file or directory");
}

TEST_CASE("after fork the child records nothing and writes nothing, and may have a session of its own") {
  const std::string path = "fork_test.bytes";
  struct Counting : IgnoringSink {
    explicit Counting(std::shared_ptr<FileBytes> to) : bytes(std::move(to)) {}
    std::shared_ptr<FileBytes> bytes;
    void begin(const TraceInfo&) { put(); }
    void take(std::span<const TraceEvent> events) {
      for (std::size_t n = 0; n < events.size(); ++n) put();
    }
    void flush() { static_cast<void>(!bytes->flush()); }
    void end(const TraceSummary&) { put(); }
    void put() const { static_cast<void>(!bytes->write(std::as_bytes(std::span("x", 1)))); }
  };
  auto session = std::make_unique<BasicSession<>>(SessionOptions{.drain_every_us = 100});
  session->add_sink(Counting(std::make_shared<FileBytes>(path)));
  session->start();
  auto lane = session->attach("loop");
  lane.tracer().create(ResourceType::kOther);

  const pid_t child = ::fork();
  if (child == 0) {
    int wrong = 0;
    wrong |= lane.tracer().active() ? 1 : 0;
    wrong |= lane.tracer().create(ResourceType::kOther) ? 2 : 0;
    wrong |= session->start() ? 4 : 0;
    session->drain();
    session.reset();  // neither joins a thread that is not there nor writes to the parent's file
    lane.detach();
    Recording recorded;
    BasicSession<> own{SessionOptions{.drain_thread = false}};  // ThreadSanitizer allows no thread here
    own.add_sink(RecordingSink(recorded));
    wrong |= own.start() ? 0 : 8;
    auto own_lane = own.attach("child");
    own_lane.tracer().create(ResourceType::kOther);
    own.close();
    wrong |= recorded.of_kind(EventKind::kCreated).size() == 1 ? 0 : 16;
    ::_exit(wrong);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  lane.tracer().create(ResourceType::kOther);
  session->close();
  FILE* file = std::fopen(path.c_str(), "rb");
  REQUIRE(file != nullptr);
  int bytes = 0;
  while (std::fgetc(file) != EOF) ++bytes;
  std::fclose(file);
  ::unlink(path.c_str());
  CHECK(bytes == 4);  // begin, two creations, end
}

TEST_CASE("a child ends a session whose drain thread slept at the fork") {
  auto session = std::make_unique<BasicSession<>>(SessionOptions{.drain_every_us = 3'600'000'000});
  session->start();
  const auto sleeps = [] {  // every thread but this one
    const std::string own = std::to_string(::getpid());
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::string stat;
      std::getline(std::ifstream(task.path() / "stat"), stat);
      if (task.path().filename() != own && stat.find(") S ") == std::string::npos) return false;
    }
    return true;
  };
  while (!sleeps()) std::this_thread::yield();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    session.reset();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
}

TEST_CASE("threads that come, trace and go while the session drains lose nothing uncounted") {
  Recording recorded;
  SessionOptions options;
  options.ring_events = 1024;
  options.drain_every_us = 50;
  options.on_error = [](std::string_view) {};
  BasicSession<> session(options);
  session.add_sink(RecordingSink(recorded));
  session.start();
  constexpr int kThreads = 8, kTimes = 5, kEvents = 2'000;
  std::vector<std::thread> threads;
  for (int n = 0; n < kThreads; ++n) {
    threads.emplace_back([&session] {
      for (int time = 0; time < kTimes; ++time) {
        auto lane = session.attach("worker");
        const Resource root = lane.tracer().begin_root();
        for (int event = 0; event < kEvents; ++event) lane.tracer().schedule(root);
        lane.tracer().finish_root(root);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  session.close();
  const std::uint64_t made = std::uint64_t{kThreads} * kTimes * (kEvents + 2);
  const std::uint64_t seen = recorded.events.size() - recorded.of_kind(EventKind::kLost).size() -
                             recorded.of_kind(EventKind::kRootSealed).size();
  CHECK(seen + recorded.summary.lost + recorded.summary.after_seal == made);
  CHECK(recorded.summary.roots_sealed == std::uint64_t{kThreads} * kTimes);
}

TEST_CASE("a script's stack has one number in a session, whichever lane saw it") {
  ManualSession test;
  auto one = test.session.attach("one");
  auto two = test.session.attach("two");
  static_cast<void>(one.tracer().intern_script_stack(std::vector<ScriptFrame>{{"only", "one.js", 1, 1}}));
  const std::vector<ScriptFrame> frames = {{"inner", "app.js", 3, 9}, {"outer", "app.js", 12, 1}};
  const Resource a = one.tracer().create(ResourceType::kJsPromise, CreateOptions{.stack = one.tracer().intern_script_stack(frames)});
  const Resource b = two.tracer().create(ResourceType::kJsPromise, CreateOptions{.stack = two.tracer().intern_script_stack(frames)});
  test.session.close();
  const StackId stack = test.recorded.of(a.id).at(0).stack;
  CHECK(test.recorded.of(b.id).at(0).stack == stack);
  const auto& seen = test.recorded.stacks.at(stack);
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].function == "inner");
  CHECK(seen[0].file == "app.js");
  CHECK(seen[0].line == 3);
  CHECK(seen[0].column == 9);
  CHECK(seen[1].function == "outer");
}

TEST_CASE("a moment that is recorded a little after it stands at its place in time") {
  ManualSession test;
  auto lane = test.session.attach("loop");
  auto& tracer = lane.tracer();
  const Resource promise = tracer.create(ResourceType::kJsPromise);
  const Ticks then = tracer.now();
  test.time += 10;
  const Resource next = tracer.create(ResourceType::kJsPromise);
  tracer.annotate(next, "key", "a value that lives outside of the event");
  test.time += 10;
  tracer.at(then).settle(promise, Outcome::kFulfilled, Actor::kExternal);
  tracer.annotate(promise, "key", "another");
  test.session.drain();
  const auto& events = test.recorded.events;
  REQUIRE(events.size() == 5);
  CHECK(events[1].kind == EventKind::kSettled);
  CHECK_FALSE(events[1].late);
  CHECK(events[3].text == "a value that lives outside of the event");
  CHECK(events[4].text == "another");
}

TEST_CASE("a session whose rings are files leaves them when it is killed, and removes them when it ends well") {
  struct InFiles : DefaultPolicies {
    using Storage = MappedFileStorage;
  };
  SessionOptions options;
  options.process_name = "flight";
  options.drain_thread = false;
  const std::string directory = "flight_files";
  ::mkdir(directory.c_str(), 0777);
  options.flight_directory = directory;
  const auto files = [&] {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) found.push_back(entry.path());
    return found;
  };
  const pid_t child = ::fork();
  if (child == 0) {
    BasicSession<InFiles> session(options);
    session.start();
    auto lane = session.attach("loop");
    for (int n = 0; n < 10; ++n) lane.tracer().create(ResourceType::kFetch);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(files().size() == 1);
  OpenedFlightFile opened = open_flight_file(files()[0].c_str());
  REQUIRE(opened);
  int created = 0;
  opened.file->for_each([&](const RecordView& record) { created += record.head().kind() == EventKind::kCreated ? 1 : 0; });
  CHECK(created == 10);
  std::filesystem::remove(files()[0]);

  {
    BasicSession<InFiles> session(options);
    session.start();
    auto lane = session.attach("loop");
    lane.tracer().create(ResourceType::kFetch);
    CHECK(files().size() == 1);
  }
  CHECK(files().empty());
  std::filesystem::remove(directory);

  std::vector<std::string> told;
  options.on_error = [&](std::string_view message) { told.emplace_back(message); };
  BasicSession<InFiles> session(options);
  session.start();
  const auto lane = session.attach("loop");
  CHECK_FALSE(lane);
  REQUIRE(told.size() == 1);
  CHECK(told[0].find("flight_files/flight-") == 0);
  CHECK(told[0].find("No such file or directory") != std::string::npos);
}

TEST_CASE("a session of flight recorders keeps the newest events, and says how many it has overwritten") {
  struct Newest : DefaultPolicies {
    using Clock = ManualClock;
    using Buffer = FlightRecorder<HeapStorage>;
  };
  std::uint64_t time = 1;
  Recording recorded;
  SessionOptions options;
  options.ring_events = 64;
  options.drain_thread = false;
  BasicSession<Newest> session(options, ManualClock(&time));
  session.add_sink(RecordingSink(recorded));
  session.start();
  auto lane = session.attach("loop");
  const Resource op = lane.tracer().create(ResourceType::kOther);
  for (time = 2; time <= 1'000; ++time) lane.tracer().schedule(op);
  session.close();
  CHECK(recorded.overflow_policy == "overwrite-oldest");
  const auto kept = recorded.of_kind(EventKind::kScheduled);
  REQUIRE_FALSE(kept.empty());
  CHECK(ns_of(kept.back().time) == 1'000);
  CHECK(kept.size() + recorded.summary.lost == 1'000);
}
