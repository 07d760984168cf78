// SPDX-License-Identifier: MIT
// What each exporter writes, to the byte, for a few events of which the result was written down by hand.
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exporters/made_trace.hpp"
#include "support/catch.hpp"
#include "thence/formats/chrome/chrome_encoder.hpp"
#include "thence/formats/csv/csv_writer.hpp"
#include "thence/formats/csv/events_csv.hpp"
#include "thence/formats/csv/resources_csv.hpp"
#include "thence/formats/folded/folded_encoder.hpp"
#include "thence/formats/jsonl/jsonl_encoder.hpp"
#include "thence/formats/svg/flame_graph.hpp"

using namespace thence;
using thence_test::Teller;

static_assert(EventSink<JsonlEncoder<BufferSink>> && EventSink<EventsCsvEncoder<BufferSink>> &&
              EventSink<ResourcesCsvEncoder<BufferSink>> && EventSink<ChromeEncoder<BufferSink>> &&
              EventSink<FoldedEncoder<BufferSink>> && EventSink<FlameGraphEncoder<BufferSink>>);

namespace {

/// Takes `room` bytes and refuses from then on.
struct FullSink {
  std::size_t room;
  std::size_t taken = 0;
  int refused = 0;
  bool write(std::span<const std::byte> bytes) {
    if (taken + bytes.size() > room) {
      ++refused;
      return false;
    }
    taken += bytes.size();
    return true;
  }
};

template <template <class> class Encoder, class... Options>
std::string exported(auto&& tell, const Options&... options) {
  BufferSink out;
  Encoder<BufferSink> encoder{out, options...};
  Teller teller{encoder};
  tell(teller);
  return std::string(out.text());
}

/// The lines of a text that hold all of the words.
std::vector<std::string> lines_with(std::string_view text, std::initializer_list<std::string_view> words) {
  std::vector<std::string> found;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    bool all = true;
    for (const std::string_view word : words) all = all && line.find(word) != std::string_view::npos;
    if (all) found.emplace_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return found;
}

}  // namespace

TEST_CASE("CSV quotes what RFC 4180 asks for, tells the empty text from the absent value, and ends rows with CRLF") {
  BufferSink out;
  CsvWriter csv{out};
  csv.text("plain");
  csv.text("a,b");
  csv.text("say \"hi\"");
  csv.text("two\nlines");
  csv.text(" edge");
  csv.text("");
  csv.absent();
  csv.number(~std::uint64_t{0});
  csv.number(std::int64_t{-1});
  csv.number(0.1);
  csv.text("bad \xff utf-8");
  csv.end_row();
  csv.absent();
  csv.end_row();
  csv.flush();
  CHECK(out.text() == "plain,\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",\" edge\",\"\",,18446744073709551615,-1,0.1,bad \xef\xbf\xbd utf-8\r\n\r\n");
}

TEST_CASE("a line of JSONL says what is known and leaves out what is not") {
  const std::string text = exported<JsonlEncoder>([](auto& tell) {
    tell.begin(0xabcdef0123456789);
    tell.lane(1, "main");
    tell.root = 3;
    tell.created(0, 5, 0, ResourceType::kFetch);
    tell.settled(12, 5, Outcome::kUnknown, Actor::kUnknown);
    tell.entered(13, 5);
    tell.lost(20, 7, 14, 19);
    tell.end();
  });
  CHECK(text ==
        "{\"event\":\"trace\",\"version\":1,\"salt\":\"0xabcdef0123456789\",\"process_id\":42,\"process_name\":\"made\",\"clock\":\"manual\","
        "\"overflow_policy\":\"DropNewest\",\"sampling\":\"all\"}\n"
        "{\"event\":\"lane\",\"lane\":1,\"process_id\":42,\"thread_id\":101,\"name\":\"main\"}\n"
        "{\"event\":\"created\",\"time\":0,\"lane\":1,\"root\":3,\"resource\":5,\"type\":\"fetch\"}\n"
        "{\"event\":\"settled\",\"time\":12,\"lane\":1,\"root\":3,\"resource\":5,\"outcome\":\"unknown\",\"by\":\"unknown\"}\n"
        "{\"event\":\"entered\",\"time\":13,\"lane\":1,\"root\":3,\"resource\":5}\n"
        "{\"event\":\"lost\",\"time\":20,\"lane\":1,\"count\":7,\"first\":14,\"last\":19}\n"
        "{\"event\":\"summary\",\"events\":4,\"lost\":7,\"late_events\":0,\"after_seal\":0,\"roots_sealed\":0,\"roots_abandoned\":0,"
        "\"drain_ns\":0,\"bytes_written\":0,\"lanes\":[]}\n");
}

TEST_CASE("a resource that never ran, or whose exit was lost, has no time in resources.csv, not the time 0") {
  const std::string text = exported<ResourcesCsvEncoder>([](auto& tell) {
    tell.begin();
    tell.created(100, 1, 0, ResourceType::kTimer);
    tell.created(110, 2, 1, ResourceType::kJsPromise);
    tell.entered(120, 2);
    tell.lost(200, 1, 150, 160);
    tell.end();
  });
  const auto rows = lines_with(text, {});
  REQUIRE(rows.size() == 3);
  CHECK(rows[1] == "1,,,timer,0,1,100,,,,,,,,,,0,0,,,,,,,open,,,\r");
  CHECK(rows[2] == "2,,1,js-promise,1,1,110,,120,,,,,,,,1,1,10,,,,10,,open,,,\r");
}

TEST_CASE("a resource that was made before the trace began has a row that says only what was seen") {
  const std::string text = exported<ResourcesCsvEncoder>([](auto& tell) {
    tell.begin();
    tell.entered(120, 2);
    tell.exited(150, 2);
    tell.end();
  });
  CHECK(lines_with(text, {"2,"})[0] == "2,,,,,,,,120,150,,,,,,,1,0,,30,30,,,,open,,,\r");
}

TEST_CASE("at each instant the latest-started open invocation owns a lane's time, also where invocations cross") {
  // 1: 0..100, 2: 40..160 (crosses 1), 3: 60..80 inside 2.
  const std::string text = exported<FoldedEncoder>(
      [](auto& tell) {
        tell.begin();
        tell.created(0, 1, 0, ResourceType::kTimer);
        tell.created(0, 2, 0, ResourceType::kFetch);
        tell.created(0, 3, 0, ResourceType::kCrypto);
        tell.entered(0, 1);
        tell.entered(40, 2);
        tell.entered(60, 3);
        tell.exited(80, 3);
        tell.exited(100, 1);
        tell.exited(160, 2);
        tell.end();
      },
      FoldOptions{});
  CHECK(text == "[no stack];crypto 20\n[no stack];fetch 100\n[no stack];timer 40\n");
}

TEST_CASE("folded stacks leave out what is shorter than asked for and count it") {
  BufferSink out;
  FoldOptions options;
  options.time = FoldTime::kWaiting;
  options.min_ns = 100;
  FoldedEncoder encoder{out, options};
  Teller tell{encoder};
  tell.begin();
  tell.created(0, 1, 0, ResourceType::kTimer);
  tell.created(0, 2, 0, ResourceType::kFetch);
  tell.created(0, 3, 0, ResourceType::kOther);
  tell.settled(99, 1, Outcome::kFulfilled, Actor::kExternal);
  tell.settled(100, 2, Outcome::kFulfilled, Actor::kExternal);
  tell.end();
  CHECK(out.text() == "[no stack];fetch 100\n");
  CHECK(encoder.below_min() == 1);
  CHECK(encoder.unknown() == 1);
}

TEST_CASE("a chain of causes that is deeper than the bound keeps its time, at the bound") {
  FoldOptions options;
  options.by = FoldBy::kCausalChain;
  options.max_depth = 4;
  const std::string text = exported<FoldedEncoder>(
      [](auto& tell) {
        tell.begin();
        for (std::uint64_t id = 1; id <= 10; ++id) tell.created(id, id, id - 1, ResourceType::kTimer);
        for (std::uint64_t id = 1; id <= 10; ++id) {
          tell.entered(100 * id, id);
          tell.exited(100 * id + id, id);
        }
        tell.end();
      },
      options);
  CHECK(text == "timer 1\ntimer;timer 2\ntimer;timer;timer 3\ntimer;timer;timer;[deeper] 49\n");
}

TEST_CASE("a chain of a million creations is folded without recursion") {
  FoldOptions options;
  options.by = FoldBy::kCausalChain;
  const std::string text = exported<FoldedEncoder>(
      [](auto& tell) {
        tell.begin();
        for (std::uint64_t id = 1; id <= 1'000'000; ++id) tell.created(id, id, id - 1, ResourceType::kTimer);
        tell.entered(2'000'000, 1'000'000);
        tell.exited(2'000'005, 1'000'000);
        tell.end();
      },
      options);
  CHECK(text.ends_with(";[deeper] 5\n"));
}

TEST_CASE("labels of folded stacks hold no separator and no line break") {
  const std::string text = exported<FoldedEncoder>(
      [](auto& tell) {
        tell.begin();
        FrameInfo frame;
        frame.function = "a;b\nc\x01 \xff";
        tell.stack(1, {frame});
        tell.created(0, 1, 0, ResourceType::kTimer, 1);
        tell.entered(0, 1);
        tell.exited(9, 1);
        tell.end();
      },
      FoldOptions{});
  CHECK(text == "a:b c  \xef\xbf\xbd;timer 9\n");
}

TEST_CASE("a flame graph escapes what XML would read as markup, and cuts long labels between characters") {
  const std::string text = exported<FlameGraphEncoder>(
      [](auto& tell) {
        tell.begin();
        FrameInfo frame;
        frame.function = "<script>alert('&\"')</script>\x01\xff";
        tell.stack(1, {frame});
        tell.created(0, 1, 0, ResourceType::kTimer, 1);
        tell.entered(0, 1);
        tell.exited(1500, 1);
        tell.end();
      },
      FlameGraphOptions{"a <title> & more", 200});
  CHECK(text.find("<script") == std::string::npos);
  CHECK(lines_with(text, {"<title>a &lt;title&gt; &amp; more</title>"}).size() == 1);
  const std::string label = "&lt;script&gt;alert('&amp;&quot;')&lt;/script&gt;\xef\xbf\xbd\xef\xbf\xbd";
  CHECK(lines_with(text, {"<g><title>" + label}).size() == 1);
  CHECK(lines_with(text, {"1.500 us (100 %), of its own 0 ns</title><rect x=\"10\" y=\"40\" width=\"180\" height=\"16\""}).size() == 1);
  CHECK(lines_with(text, {"&lt;script&gt;alert('&amp;&quot;')&lt;/scrip..</text>"}).size() == 1);
}

TEST_CASE("a flame graph of nothing says so") {
  const std::string text = exported<FlameGraphEncoder>([](auto& tell) {
    tell.begin();
    tell.end();
  });
  CHECK(lines_with(text, {"no time to show"}).size() == 1);
}

TEST_CASE("a Chrome trace keeps every nanosecond, and the parts of a crossed invocation bear the true interval") {
  const std::string text = exported<ChromeEncoder>([](auto& tell) {
    tell.begin();
    tell.lane(1, "main");
    tell.created(503'226'129'752'601, 1, 0, ResourceType::kTimer);
    tell.entered(503'226'129'752'700, 1);
    tell.entered(503'226'129'752'800, 2);
    tell.exited(503'226'129'752'900, 1);
    tell.exited(503'226'129'753'000, 2);
    tell.end();
  });
  const auto parts = lines_with(text, {"\"ph\":\"X\"", "\"id\":2"});
  REQUIRE(parts.size() == 2);
  CHECK(parts[0] == "{\"ph\":\"X\",\"name\":\"unknown\",\"pid\":42,\"tid\":101,\"cat\":\"invocation\",\"ts\":503226129752.800,\"dur\":0.099,"
                    "\"args\":{\"id\":2,\"part\":1,\"true_begin_ns\":503226129752800}},");
  CHECK(parts[1] == "{\"ph\":\"X\",\"name\":\"unknown\",\"pid\":42,\"tid\":101,\"cat\":\"invocation\",\"ts\":503226129752.901,\"dur\":0.099,"
                    "\"args\":{\"id\":2,\"part\":2,\"true_begin_ns\":503226129752800,\"true_end_ns\":503226129753000}}");
  CHECK(lines_with(text, {"\"ph\":\"b\"", "\"ts\":503226129752.601", "\"id\":\"0x1\""}).size() == 1);
  CHECK(lines_with(text, {"\"ph\":\"e\""}).empty());  // still open
}

TEST_CASE("an exporter whose sink refuses says so and asks no more of it") {
  const auto try_one = [](auto& encoder, FullSink& sink) {
    Teller tell{encoder};
    tell.begin();
    for (std::uint64_t id = 1; id < 20'000; ++id) {
      tell.created(id, id, 0, ResourceType::kTimer);
      tell.destroyed(id, id);
    }
    tell.end();
    CHECK(encoder.failed());
    CHECK(sink.refused == 1);
  };
  FullSink a{100'000}, b{100'000}, c{100'000}, d{100'000};
  JsonlEncoder jsonl{a};
  try_one(jsonl, a);
  EventsCsvEncoder events{b};
  try_one(events, b);
  ResourcesCsvEncoder resources{c};
  try_one(resources, c);
  ChromeEncoder chrome{d};
  try_one(chrome, d);
}

TEST_CASE("what a streaming exporter keeps of resources without a request does not grow with the trace") {
  BufferSink out;
  struct Rows {
    std::size_t rows = 0;
    void born(ResourceRow&, const ResourceRow*) {}
    void row(const ResourceRow&) { ++rows; }
  } rows;
  ResourceTracker<Rows> tracker{rows};
  Teller tell{tracker};
  for (std::uint64_t id = 1; id <= 300'000; ++id) {
    tell.created(id, id, 0, ResourceType::kTimer);
    tell.settled(id, id, Outcome::kFulfilled, Actor::kExternal);
  }
  CHECK(rows.rows == 300'000 - 65'536);
  tracker.close();
  CHECK(rows.rows == 300'000);
}

TEST_CASE("an invocation that ends on another lane is one invocation, and its time is known") {
  struct Rows {
    ResourceRow last;
    void born(ResourceRow&, const ResourceRow*) {}
    void row(const ResourceRow& row) { last = row; }
  } rows;
  ResourceTracker<Rows> tracker{rows};
  const auto take = [&](EventKind kind, std::uint64_t time, std::uint32_t lane) {
    TraceEvent event;
    event.kind = kind;
    event.time = static_cast<Timestamp>(time);
    event.resource = ResourceId{5};
    event.lane = static_cast<LaneId>(lane);
    tracker.take(event);
  };
  take(EventKind::kCreated, 10, 1);
  take(EventKind::kEntered, 20, 1);
  take(EventKind::kExited, 50, 2);  // a coroutine that went on there
  take(EventKind::kExited, 60, 3);  // whose enter was lost
  tracker.close();
  CHECK(tracker.counts().exits_unmatched == 1);
  CHECK(rows.last.ran_ns == 30);
  CHECK(rows.last.self_ns == 30);
  CHECK(rows.last.invocations == 2);
  CHECK(rows.last.cut == 1);
  CHECK(rows.last.life.running == 0);
}
