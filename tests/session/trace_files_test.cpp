// SPDX-License-Identifier: MIT
#include "thence/session/trace_files.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/random_trace.hpp"
#include "model/dump.hpp"
#include "support/catch.hpp"
#include "thence/formats/perfetto/perfetto_reader.hpp"
#include "thence/model/model_builder.hpp"
#include "thence/session/session.hpp"

using namespace thence;

static_assert(EventSink<PerfettoFile> && EventSink<PerfettoFiles> && EventSink<PerfettoChunks> && EventSink<JsonFolder>);
static_assert(EventSink<PerfettoStream<FileBytes>> && EventSink<PerfettoStream<CallbackBytes>>);

namespace {
std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A session with two requests, into `sink`.
template <class Sink>
void record_two_requests(Sink sink, std::vector<std::string>& told) {
  SessionOptions options;
  options.drain_thread = false;
  options.on_error = [&](std::string_view message) { told.emplace_back(message); };
  BasicSession<> session(options);
  session.add_sink(std::move(sink));
  session.start();
  auto lane = session.attach("loop");
  for (int n = 0; n < 2; ++n) {
    const Resource root = lane.tracer().begin_root();
    lane.tracer().settle(root, Outcome::kFulfilled);
    lane.tracer().finish_root(root);
  }
  session.close();
}
}  // namespace

TEST_CASE("a folder gets one document a request, numbered in the order in which they began") {
  std::vector<std::string> told;
  record_two_requests(JsonFolder("two_requests"), told);
  CHECK(told.empty());
  for (const char* name : {"two_requests/request-1.json", "two_requests/request-2.json"}) {
    CHECK(contents(name).find("\"asyncId\"") != std::string::npos);
    ::unlink(name);
  }
  CHECK(::rmdir("two_requests") == 0);
}

TEST_CASE("a folder that cannot be written is reported once, with the document's name and the reason") {
  std::vector<std::string> told;
  record_two_requests(JsonFolder("/proc/nowhere"), told);
  REQUIRE(told.size() == 1);
  CHECK(told[0] == "/proc/nowhere/request-1.json: cannot be created: No such file or directory");
}

TEST_CASE("a disk that is full ends the trace with one message, and not the host") {
  std::vector<std::string> told;
  record_two_requests(PerfettoFile("/dev/full"), told);
  REQUIRE(told.size() == 1);
  CHECK(told[0] == "/dev/full: cannot be written beyond byte 0: No space left on device");
}

TEST_CASE("file, descriptor and callback get the same kind of bytes") {
  std::vector<std::string> told;
  record_two_requests(PerfettoFile("by_name.pftrace"), told);
  FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  record_two_requests(PerfettoStream(FileBytes(::fileno(file), "descriptor")), told);
  std::string pieces;
  record_two_requests(PerfettoStream(CallbackBytes([&](std::span<const std::byte> piece) {
                        pieces.append(reinterpret_cast<const char*>(piece.data()), piece.size());
                        return true;
                      })),
                      told);
  CHECK(told.empty());
  struct stat status {};
  REQUIRE(::fstat(::fileno(file), &status) == 0);
  const std::string by_name = contents("by_name.pftrace");
  REQUIRE(by_name.size() > 100);
  // Times and salts differ, and with them a few varints' lengths.
  CHECK(static_cast<double>(status.st_size) == Approx(static_cast<double>(by_name.size())).epsilon(0.05));
  CHECK(static_cast<double>(pieces.size()) == Approx(static_cast<double>(by_name.size())).epsilon(0.05));
  CHECK(by_name[0] == '\x0a');
  CHECK(pieces[0] == '\x0a');
  std::fclose(file);
  ::unlink("by_name.pftrace");
}

TEST_CASE("a file has the bytes that were written, and once it is closed no space beyond them") {
  const std::string path = "set_aside.bytes";
  const std::string text(50'000, 't');
  for (const std::size_t size : {1'000u, 262'144u, 300'001u, 1'300'000u}) {
    struct stat status {};
    {
      FileBytes file(path);
      for (std::size_t at = 0; at < size; at += text.size()) {
        REQUIRE(file.write(std::as_bytes(std::span(text).first(std::min(text.size(), size - at)))));
      }
      REQUIRE(file.flush());
      REQUIRE(::stat(path.c_str(), &status) == 0);
      CHECK(status.st_size == static_cast<off_t>(size));
    }
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK(status.st_size == static_cast<off_t>(size));
    CHECK(static_cast<std::size_t>(status.st_blocks) * 512 <= size + 64 * 1024);
    CHECK((contents(path) == std::string(size, 't')));
  }
  ::unlink(path.c_str());
}

TEST_CASE("a copy of a process that ends does not cut off what the other one goes on to write") {
  const std::string path = "forked.bytes";
  const std::string text(300'000, 't');
  {
    FileBytes file(path);
    REQUIRE(file.write(std::as_bytes(std::span(text))));
    REQUIRE(file.flush());
    std::optional<FileBytes> other(std::move(file));
    int turns[2];
    REQUIRE(::pipe(turns) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
      char turn = 0;
      static_cast<void>(::read(turns[0], &turn, 1) == 1);
      other.reset();
      ::_exit(0);
    }
    REQUIRE(other->write(std::as_bytes(std::span(text))));
    REQUIRE(other->flush());
    REQUIRE(::write(turns[1], "x", 1) == 1);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    ::close(turns[0]);
    ::close(turns[1]);
  }
  CHECK((contents(path) == text + text));
  ::unlink(path.c_str());
}

TEST_CASE("a callback that takes no more is not called again, and the host is told") {
  std::vector<std::string> told;
  int calls = 0;
  record_two_requests(PerfettoStream(CallbackBytes([&](std::span<const std::byte>) { return ++calls < 1; }, "upload")), told);
  CHECK(calls == 1);
  REQUIRE(told.size() == 1);
  CHECK(told[0] == "upload: refused the bytes from 0 on");
}

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

struct Read {
  TraceModel model;
  bool good = false;
  bool cut_off = false;
  std::uint64_t unreadable = 0;
};
Read read_trace(const std::string& text) {
  ModelBuilder builder;
  PerfettoReader<ModelBuilder> reader(builder);
  Read read;
  read.good = read_all(reader, bytes_of(text));
  read.cut_off = reader.damage().cut_off;
  read.unreadable = reader.packets_unreadable();
  read.model = builder.build();
  return read;
}

/// A folder of its own, empty at first and gone at last.
class Folder {
 public:
  explicit Folder(std::string name) : name_(std::move(name)) {
    remove();
    ::mkdir(name_.c_str(), 0777);
  }
  ~Folder() { remove(); }
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> out;
    if (DIR* const directory = ::opendir(name_.c_str())) {
      while (const dirent* entry = ::readdir(directory)) {
        if (entry->d_name[0] != '.') out.push_back(name_ + "/" + entry->d_name);
      }
      ::closedir(directory);
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  [[nodiscard]] std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const std::string& file : files()) sum += contents(file).size();
    return sum;
  }

 private:
  void remove() const {
    for (const std::string& file : files()) ::unlink(file.c_str());
    ::rmdir(name_.c_str());
  }
  std::string name_;
};

thence_test::RandomTrace random_trace(std::uint64_t seed, int steps = 2000) {
  thence_test::RandomTraceOptions options;
  options.seed = seed;
  options.steps = steps;
  return thence_test::RandomTrace(options);
}

/// What a whole file of the same trace holds.
std::vector<std::string> whole(thence_test::RandomTrace& trace) {
  BufferSink bytes;
  PerfettoEncoder<BufferSink> encoder(bytes);
  trace.play(encoder);
  return thence_test::dump(read_trace(std::string(bytes.text())).model);
}

std::span<const std::byte> piece_of(std::size_t size) {
  static const std::vector<std::byte> zeros(1 << 20);
  return std::span<const std::byte>(zeros).first(size);
}

}  // namespace

TEST_CASE("rotated files are readable each by itself, and together they are the whole trace") {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const Folder folder("rotated");
    auto trace = random_trace(seed);
    const std::vector<std::string> expected = whole(trace);
    PerfettoFiles files("rotated/trace", {.max_file_bytes = 24 * 1024});
    trace.play(files);
    CHECK(files.failure() == "");
    const std::vector<std::string> names = folder.files();
    REQUIRE(names.size() > 3);
    CHECK(names[0] == "rotated/trace-000001.pftrace");
    std::string all;
    for (const std::string& name : names) {
      const std::string text = contents(name);
      const Read alone = read_trace(text);
      INFO("seed " << seed << " " << name);
      CHECK(alone.good);
      CHECK(alone.unreadable == 0);
      CHECK(alone.model.sources.size() == 1);
      CHECK(alone.model.text(alone.model.sources[0].process_name) == "random");
      CHECK(alone.model.resources() > 0);
      all += text;
    }
    CHECK(thence_test::difference(expected, thence_test::dump(read_trace(all).model)) == "");
  }
}

TEST_CASE("rotation by time seals a file when it has lasted as long as it may") {
  const Folder folder("by_time");
  auto trace = random_trace(3);
  PerfettoFiles files("by_time/trace", {.max_file_ns = 500'000'000});
  trace.play(files);
  const auto names = folder.files();
  CHECK(names.size() > 2);
  for (const std::string& name : names) {
    const TraceModel model = read_trace(contents(name)).model;
    std::uint64_t first = ~std::uint64_t{0}, last = 0;
    for (std::uint32_t row = 0; row < model.resources(); ++row) {
      if (!model.has(row, ResourceFlag::kCreated)) continue;
      first = std::min(first, model.created[row]);
      last = std::max(last, model.created[row]);
    }
    // A batch of 64 events more, and what late lanes add before.
    if (last != 0) CHECK(last - first < 1'000'000'000);
  }
}

TEST_CASE("all files together never exceed the budget, the active one included; the oldest go first") {
  const Folder folder("budget");
  constexpr std::uint64_t kBudget = 100'000;
  {
    RotatingFiles files("budget/trace", {.max_file_bytes = 20'000, .max_total_bytes = kBudget});
    std::uint64_t size = 1;
    for (int n = 0; n < 400; ++n) {
      size = size * 7919 % 4001;
      REQUIRE(files.write(piece_of(size)));
      REQUIRE(files.flush());
      REQUIRE(folder.bytes() <= kBudget);
      REQUIRE(files.total() == folder.bytes());
      if (n % 7 == 6) REQUIRE(files.seal());
    }
    CHECK(files.deleted() > 20);
    REQUIRE(files.seal());
  }
  // Another run under the same name goes on with the numbers, and within the budget.
  const std::string newest = folder.files().back();
  RotatingFiles next("budget/trace", {.max_file_bytes = 20'000, .max_total_bytes = kBudget});
  REQUIRE(next.write(piece_of(60'000)));
  REQUIRE(next.seal());
  CHECK(folder.bytes() <= kBudget);
  CHECK(folder.files().back() > newest);
}

TEST_CASE("a piece that the budget cannot hold is refused with a message, and nothing is written after it") {
  const Folder folder("small");
  RotatingFiles files("small/trace", {.max_total_bytes = 1000});
  REQUIRE(files.write(piece_of(900)));
  CHECK_FALSE(files.write(piece_of(200)));
  CHECK(files.failure() == "small/trace.active.pftrace: the budget of 1000 bytes is too small for one more piece of 200");
  CHECK_FALSE(files.write(piece_of(1)));
  CHECK_FALSE(files.seal());
  CHECK(folder.bytes() <= 1000);
}

TEST_CASE("a folder for rotated files that is not there ends the trace with one message, and not the host") {
  std::vector<std::string> told;
  record_two_requests(PerfettoFiles("/proc/nowhere/trace"), told);
  REQUIRE(told.size() == 1);
  CHECK(told[0] == "/proc/nowhere/trace.active.pftrace: cannot be created: No such file or directory");
}

TEST_CASE("chunks come with their numbers, and one that was refused as busy comes again, in order") {
  auto trace = random_trace(5);
  const std::vector<std::string> expected = whole(trace);
  std::string taken;
  std::uint64_t next = 1, calls = 0, refused = 0;
  PerfettoChunks chunks(ChunkBytes([&](std::uint64_t number, std::span<const std::byte> chunk) {
    if (number != next) return ChunkAnswer::kStop;
    if (++calls % 3 != 0 && calls < 100) {
      ++refused;
      return ChunkAnswer::kBusy;
    }
    ++next;
    taken.append(reinterpret_cast<const char*>(chunk.data()), chunk.size());
    return ChunkAnswer::kTaken;
  }));
  trace.play(chunks);
  CHECK(chunks.failure() == "");
  CHECK(refused > 20);
  CHECK(next > 10);
  CHECK(chunks.bytes_written() == taken.size());
  CHECK(thence_test::difference(expected, thence_test::dump(read_trace(taken).model)) == "");
}

TEST_CASE("a host that stays busy loses events, and the trace says of each lane how many") {
  auto trace = random_trace(8, 6000);
  std::string taken;
  std::uint64_t calls = 0;
  PerfettoChunks chunks(ChunkBytes(
      [&](std::uint64_t, std::span<const std::byte> chunk) {
        ++calls;
        if (calls > 20 && calls < 80) return ChunkAnswer::kBusy;
        taken.append(reinterpret_cast<const char*>(chunk.data()), chunk.size());
        return ChunkAnswer::kTaken;
      },
      "upload", 10'000));
  trace.play(chunks);
  CHECK(chunks.failure() == "");
  const Read read = read_trace(taken);
  CHECK(read.good);
  CHECK(read.unreadable == 0);
  // What the whole trace has lost by its lanes, and what this has lost beyond.
  BufferSink bytes;
  PerfettoEncoder<BufferSink> encoder(bytes);
  trace.play(encoder);
  const TraceModel expected = read_trace(std::string(bytes.text())).model;
  const auto lost = [](const TraceModel& model) {
    std::uint64_t sum = 0;
    for (const auto& loss : model.losses) sum += loss.count;
    return sum;
  };
  CHECK(lost(read.model) > lost(expected) + 100);
  CHECK(read.model.summary.lost == lost(read.model));
  CHECK(expected.summary.lost == lost(expected));
}

TEST_CASE("what a host that is too far behind did not get is counted, the ends of requests too") {
  // Busy from the second chunk to the end, but for the last word: nothing of the second request is kept, its end neither.
  std::string taken;
  bool busy = false;
  PerfettoChunks chunks(ChunkBytes(
      [&](std::uint64_t, std::span<const std::byte> chunk) {
        if (busy) return ChunkAnswer::kBusy;
        taken.append(reinterpret_cast<const char*>(chunk.data()), chunk.size());
        return ChunkAnswer::kTaken;
      },
      "upload", 1));
  const auto request = [&](std::uint64_t id) {
    TraceEvent event;
    event.lane = LaneId{1};
    event.resource = ResourceId{id};
    event.root = RootId{id};
    event.type = type_id(ResourceType::kRoot);
    for (const EventKind kind : {EventKind::kCreated, EventKind::kSettled, EventKind::kRootFinished, EventKind::kRootSealed}) {
      event.time = static_cast<Timestamp>(ns_of(event.time) + id * 100);
      event.kind = kind;
      chunks.take({&event, 1});
    }
  };
  chunks.begin({});
  chunks.define_lane({LaneId{1}, 1, 2, "main"});
  request(1);
  busy = true;
  for (std::uint64_t id = 2; id <= 50; ++id) request(id);
  busy = false;
  const LaneSummary lane{LaneId{1}, 200, {}, {}, 0};
  TraceSummary summary;
  summary.lanes = {&lane, 1};
  chunks.end(summary);
  CHECK(chunks.failure() == "");
  const Read read = read_trace(taken);
  std::uint64_t lost = 0;
  for (const auto& loss : read.model.losses) lost += loss.count;
  // The first events after the host fell behind were still kept, as one chunk waits; each event is either there or counted.
  std::uint64_t there = 0;
  for (std::uint32_t row = 0; row < read.model.resources(); ++row) {
    there += read.model.has(row, ResourceFlag::kCreated);
    there += read.model.has(row, ResourceFlag::kSettled);
  }
  for (const auto& root : read.model.roots) there += (root.has_finished ? 1u : 0u) + (root.has_sealed ? 1u : 0u);
  CHECK(there >= 4);
  CHECK(there + lost == 200);
}

TEST_CASE("a chunk that is answered with stop ends the trace, and the host is told") {
  std::vector<std::string> told;
  record_two_requests(PerfettoChunks(ChunkBytes([](std::uint64_t, std::span<const std::byte>) { return ChunkAnswer::kStop; }, "upload")),
                      told);
  REQUIRE(told.size() == 1);
  CHECK(told[0] == "upload: stopped at chunk 1, byte 0");
}

TEST_CASE("a process that is killed leaves a file that is readable up to its last whole packet") {
  for (int round = 0; round < 3; ++round) {
    const std::string path = "killed.pftrace";
    ::unlink(path.c_str());
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      PerfettoFile file(path);
      thence_test::RandomTrace trace = random_trace(static_cast<std::uint64_t>(round) + 1, 200'000);
      trace.play(file);
      for (;;) ::pause();
    }
    const off_t enough = 300'000 + round * 211'111;
    struct stat status {};
    while (::stat(path.c_str(), &status) != 0 || status.st_size < enough) ::usleep(1000);
    ::kill(child, SIGKILL);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    const Read read = read_trace(contents(path));
    CHECK((read.good || read.cut_off));
    CHECK(read.unreadable == 0);
    CHECK(read.model.resources() > 500);
    CHECK(read.model.quality.malformed == 0);
    ::unlink(path.c_str());
  }
}
