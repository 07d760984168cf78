// SPDX-License-Identifier: MIT
// Small programs whose picture is known, through both encoders; scenarios.py says what must be in the files.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "random_trace.hpp"
#include "script.hpp"
#include "thence/formats/async_trace/json_encoder.hpp"
#include "thence/formats/perfetto/perfetto_encoder.hpp"

namespace {

using namespace thence_test;

std::string base;

void write(const std::string& name, const Script& script, PerfettoOptions perfetto = {}, JsonOptions json = {}) {
  const std::string directory = base + "/" + name;
  std::filesystem::create_directories(directory);
  TestFile file(directory + "/trace.pftrace");
  PerfettoEncoder<TestFile> encoder(file, perfetto);
  script.play(encoder);
  TestDocuments documents{directory};
  json.write_rootless = true;
  JsonEncoder<TestDocuments> documents_encoder(documents, json);
  script.play(documents_encoder);
}

constexpr std::uint64_t kMs = 1'000'000;

void life() {
  Script s;
  s.at(0).created(1, kRootType, 0, 3).at(10).entered(1, CauseKind::kExternal);
  s.at(20).created(2, kFetchType, 1, 1);
  s.annotated(2, "url", Value::of("https://example.org/?q=\"\xc3\xa4\"", false));
  s.annotated(2, "rows", Value::of(std::uint64_t{18'446'744'073'709'551'615u}));
  s.annotated(2, "delta", Value::of(std::int64_t{-5}));
  s.annotated(2, "ratio", Value::of(0.25)).annotated(2, "hit", Value::of(true));
  s.annotated(2, "body", Value::of("abc", true));
  s.at(30).created(3, kPromiseType, 1, 2).at(35).linked(3, 2);
  s.at(40).exited(1);
  s.lane(2).at(1000).settled(2, Outcome::kFulfilled, Actor::kExternal);
  s.lane(1).at(1010).scheduled(3, Actor::kExternal);
  s.at(1100).entered(3, CauseKind::kSettled, 2);
  s.at(1150).settled(1, Outcome::kFulfilled, Actor::kInvocation, 3);
  s.at(1160).settled(3, Outcome::kFulfilled, Actor::kInvocation, 3).at(1200).exited(3);
  s.at(1300).destroyed(2).at(1400).finished(1).at(1500).sealed();
  write("life", s);
}

void crossing() {
  Script s;
  s.at(0).created(1, kRootType).created(2, kTimerType, 1).created(3, kTimerType, 1).created(4, kTimerType, 1);
  s.at(100).entered(2).at(200).entered(3).at(300).exited(2);            // 3 goes on
  s.at(350).entered(4).at(360).exited(4);                              // inside the second part of 3
  s.at(400).exited(3);
  s.at(500).entered(2).at(510).entered(3).at(520).entered(4);
  s.at(530).exited(2).at(540).exited(3).at(550).exited(4);             // three, all crossing
  s.at(600).lane_event(EventKind::kPauseBegan, 2).at(610).entered(2).at(620).lane_event(EventKind::kPauseEnded, 2);
  s.at(630).exited(2);                                                 // a pause crosses too
  s.at(700).entered(2).at(710).entered(3).at(720).exited(2);           // 3 never leaves
  write("crossing", s);
}

void open_and_reuse() {
  Script s;
  // Request 1 leaves a promise open; request 2 ends whole; 3 begins within the quarantine, 4 after it.
  s.root(1).at(0).created(1, kRootType).created(2, kFetchType, 1).at(10).finished(1).at(20).sealed();
  s.root(2).at(30 * kMs).created(3, kRootType).created(4, kFetchType, 3).at(31 * kMs).destroyed(4).finished(3).sealed();
  s.root(3).at(32 * kMs).created(5, kRootType).created(6, kFetchType, 5).at(33 * kMs).destroyed(6).finished(5).sealed();
  s.root(4).at(60 * kMs).created(7, kRootType).created(8, kFetchType, 7).at(61 * kMs).destroyed(8).finished(7).sealed();
  // Within one request: the second fetch overlaps the first, the third comes long after both.
  s.root(5).at(100 * kMs).created(9, kRootType).created(10, kFetchType, 9).at(101 * kMs).created(11, kFetchType, 9);
  s.at(102 * kMs).destroyed(10).destroyed(11).at(150 * kMs).created(12, kFetchType, 9).at(151 * kMs).destroyed(12);
  s.finished(9).sealed();
  // An interval runs again and again: it stays open. A promise thrown away by an await has run: it does not.
  s.root(6).at(200 * kMs).created(13, kRootType).created(14, kTimerType, 13).created(15, kPromiseType, 13);
  for (std::uint64_t n = 1; n <= 3; ++n) s.at((200 + 20 * n) * kMs).entered(14).at((200 + 20 * n) * kMs + 500).exited(14);
  s.at(270 * kMs).entered(15).at(271 * kMs).exited(15);
  // Locked in to another: still pending, though its callback has run.
  s.at(272 * kMs).created(16, kPromiseType, 13).entered(16).settled(16, Outcome::kResolved, Actor::kInvocation, 16);
  s.at(273 * kMs).exited(16);
  s.at(300 * kMs).finished(13).sealed(SealReason::kGrace);
  // A creation that comes later than any quarantine: the track that is free by now was not free then.
  s.root(7).at(400 * kMs).created(17, kRootType).created(18, kFetchType, 17).created(21, kFetchType, 17);
  s.at(401 * kMs).destroyed(18).destroyed(21);
  s.at(430 * kMs).created(19, kTimerType, 17).at(400 * kMs + 500).late().created(20, kFetchType, 17);
  s.at(431 * kMs).destroyed(19).destroyed(20).finished(17).sealed();
  write("open", s);
}

void loss() {
  Script s;
  s.at(0).created(1, kRootType).entered(1).created(2, kFetchType, 1);
  s.lane(2).at(50).created(5, kFetchType, 1);
  s.lane(1).at(100).lost(7, 100, 200);
  s.at(300).entered(3, CauseKind::kScheduled, 9).annotated(3, "k", Value::of(std::string_view("v"))).at(310).exited(3);  // its creation was lost
  s.at(400).exited(1);                                                                                 // after all
  s.at(500).lost(3, 500, 600).at(700).settled(3, Outcome::kRejected, Actor::kUnknown);
  s.lane(2).at(800).settled(5, Outcome::kFulfilled, Actor::kExternal);
  s.lane(1).at(900).finished(1).sealed();
  s.root(2).at(1000).lane(3).entered(20).at(1010).exited(20).sealed(SealReason::kAbandoned);  // nothing of it was created
  write("loss", s);
}

void misuse() {
  Script s;
  s.at(0).created(1, kRootType).created(2, kFetchType, 1);
  s.at(10).exited(2);                                             // never entered
  s.at(20).settled(99, Outcome::kFulfilled, Actor::kInvocation, 1);  // not known
  s.at(30).destroyed(2).at(40).destroyed(2);
  s.at(50).settled(2, Outcome::kFulfilled, Actor::kExternal).at(60).settled(2, Outcome::kRejected, Actor::kExternal);
  s.at(70).entered(1).lane(2).at(80).exited(1);                   // leaves on another lane
  s.lane(1).at(90).lane_event(EventKind::kUnparked).lane_event(EventKind::kPauseEnded, 1);
  s.at(100).lane_event(EventKind::kParked).lane_event(EventKind::kParked).at(110).lane_event(EventKind::kUnparked);
  s.at(120).counter(CounterId::kQueueDepth, Value::of(std::uint64_t{3}));
  s.counter(CounterId::kQueueDepth, Value::of(std::uint64_t{18'446'744'073'709'551'615u}));
  s.counter(static_cast<CounterId>(30), Value::of(2.5)).counter(static_cast<CounterId>(31), Value::of(std::int64_t{-4}));
  s.at(130).scheduled(2, Actor::kExternal).at(140).scheduled(2, Actor::kUnknown);
  s.at(150).linked(2, 12345).linked(12345, 2, LinkKind::kBridge);
  s.root(0).at(160).created(50, kTimerType).at(170).destroyed(50);  // belongs to no request
  write("misuse", s);
}

/// 60 requests one after the other, in a file that must be readable from any of its clearings on.
void cut() {
  Script s;
  std::uint64_t id = 0;
  for (std::uint64_t n = 1; n <= 60; ++n) {
    const std::uint64_t root = ++id, child = ++id;
    s.root(n).at(n * 50 * kMs).created(root, kRootType, 0, 1).entered(root).created(child, kFetchType, root, 2);
    s.annotated(child, "url", Value::of(std::string_view("https://example.org/"))).at(n * 50 * kMs + 100).exited(root);
    s.at(n * 50 * kMs + 200).settled(child, Outcome::kFulfilled, Actor::kExternal).finished(root).sealed();
    s.counter(CounterId::kQueueDepth, Value::of(n));
  }
  PerfettoOptions options;
  options.writer.clear_after_bytes = 4096;
  write("cut", s, options);
}

}  // namespace

int main(int argc, char** argv) {
  base = argc > 1 ? argv[1]
                  : std::filesystem::temp_directory_path().string() + "/thence-formats-scenarios-" + std::to_string(::getpid());
  life();
  crossing();
  open_and_reuse();
  loss();
  misuse();
  cut();
  const std::string command = std::string(THENCE_PYTHON) + " " + THENCE_SOURCE_DIR "/tests/formats/scenarios.py " + base;
  const int status = std::system(command.c_str());
  if (argc > 1 || status != 0) {
    std::printf("%s\n", base.c_str());
  } else {
    std::filesystem::remove_all(base);
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  return 1;
}
