// SPDX-License-Identifier: MIT
// The filter language of `thence query`: what each term keeps, and what is said of a term that is none.
#include "query_language.hpp"

#include <set>
#include <string>
#include <vector>

#include "exporters/made_trace.hpp"
#include "select.hpp"
#include "support/catch.hpp"
#include "thence/formats/resource_rows.hpp"
#include "thence/model/model_builder.hpp"
#include "thence/model/replay.hpp"
#include "tool.hpp"

using namespace thence;

namespace {

struct Rows {
  std::vector<ResourceRow> rows;
  void born(ResourceRow&, const ResourceRow*) {}
  void row(const ResourceRow& row) { rows.push_back(row); }
};
struct ToTracker {
  ResourceTracker<Rows>* tracker;
  void begin(const TraceInfo&) {}
  void define_lane(const LaneInfo&) {}
  void define_type(TypeId, std::string_view) {}
  void define_counter(CounterId, std::string_view, std::string_view) {}
  void define_stack(const StackInfo&) {}
  void synchronise(const ClockSnapshot&) {}
  void take(std::span<const TraceEvent> events) {
    for (const TraceEvent& event : events) tracker->take(event);
  }
  void flush() {}
  void end(const TraceSummary&) { tracker->close(); }
};

/// Ids of the request made by hand that a query keeps: 1 root, 2 fetch, 3 and 4 js-promise, 5 a type of the host's.
std::set<std::uint64_t> kept(const std::string& text) {
  ModelBuilder builder;
  thence_test::tell_request(builder);
  const TraceModel model = builder.build();
  Rows rows;
  ResourceTracker<Rows> tracker{rows};
  ToTracker sink{&tracker};
  replay(model, sink);
  const tool::Query query = tool::Query::parse(text);
  std::set<std::uint64_t> ids;
  for (const ResourceRow& row : rows.rows) {
    if (query.matches({model, row, model.find(row.id), 1})) ids.insert(number(row.id));
  }
  return ids;
}

std::string complaint(const std::string& text) {
  try {
    static_cast<void>(tool::Query::parse(text));
  } catch (const tool::Failure& failure) {
    CHECK(failure.code() == tool::kUsage);
    return failure.what();
  }
  return "understood";
}

using Ids = std::set<std::uint64_t>;

}  // namespace

TEST_CASE("a query keeps what its terms say") {
  CHECK(kept("") == Ids{1, 2, 3, 4, 5});
  CHECK(kept("  ") == Ids{1, 2, 3, 4, 5});
  CHECK(kept("#3") == Ids{3});
  CHECK(kept("type:fetch") == Ids{2});
  CHECK(kept("type:JS-*") == Ids{3, 4});
  CHECK(kept("-type:js-promise") == Ids{1, 2, 5});
  CHECK(kept("type:\"my, \\\"type\\\"\"").empty());
  CHECK(kept("type:my*") == Ids{5});
  CHECK(kept("promise") == Ids{3, 4});
  CHECK(kept("A.EXAMPLE") == Ids{2});
  CHECK(kept("https://a.example") == Ids{2});
  CHECK(kept("app.js:7") == Ids{2, 3});
  CHECK(kept("url:example") == Ids{2});
  CHECK(kept("ann.bytes:18446744073709551615") == Ids{2});
  CHECK(kept("ann.again:") == Ids{2});
  CHECK(kept("ann.nothing:").empty());
  CHECK(kept("frame:load") == Ids{2, 3});
  CHECK(kept("/^js-(promise|nothing)$/") == Ids{3, 4});
  CHECK(kept("/a\\.EXAMPLE\\/\\?q/") == Ids{2});
  CHECK(kept("trigger:#3") == Ids{4, 5});
  CHECK(kept("lane:main") == Ids{1, 2, 3, 4, 5});
  CHECK(kept("lane:1 request:1 type:root") == Ids{1});
  CHECK(kept("request:none").empty());
}

TEST_CASE("times and numbers are compared in the unit that is said, and what is not known is neither more nor less") {
  // wait: 1: 0, 2: 2900 (never ran: until settled), 3: 50, 4: 2700, 5: 3090. exec: 1: 700, 3: 300, 4: 400, 5: 400, 2: not known
  CHECK(kept("wait>2.7us") == Ids{2, 5});
  CHECK(kept("wait>=2700ns") == Ids{2, 4, 5});
  CHECK(kept("wait<=50") == Ids{1, 3});
  CHECK(kept("wait=50ns") == Ids{3});
  CHECK(kept("exec>0") == Ids{1, 3, 4, 5});
  CHECK(kept("-exec>0") == Ids{2});
  CHECK(kept("exec<0.4us") == Ids{3});
  CHECK(kept("total>3us") == Ids{4, 5});
  CHECK(kept("delay>=0") == Ids{3});
  CHECK(kept("created>=0.0004ms") == Ids{4, 5});
  CHECK(kept("depth>1") == Ids{4, 5});
  CHECK(kept("invocations=0") == Ids{2});
}

TEST_CASE("spaces are and, a lone | is or and binds less, | within a term has alternatives, - is not") {
  CHECK(kept("type:js-promise depth=1") == Ids{3});
  CHECK(kept("type:fetch | type:js-promise depth=1") == Ids{2, 3});
  CHECK(kept("type:fetch|root") == Ids{1, 2});
  CHECK(kept("-type:fetch|root") == Ids{3, 4, 5});
  CHECK(kept("status:open|rejected") == Ids{4, 5});
  CHECK(kept("status:fulfilled") == Ids{2, 3});
  CHECK(kept("status:settled") == Ids{2, 3, 4});
  CHECK(kept("status:finished") == Ids{1});
  CHECK(kept("\"load;all\"|root") == Ids{1, 2, 3});
  CHECK(kept("type:fetch|type:js-promise wait>1us") == Ids{2, 4});
}

TEST_CASE("a term that is none is named, with what was expected") {
  CHECK(complaint("wait>fast") == "query: 'wait>fast': expected a number and a unit, like 50ms (ns, us, ms, s, m), not 'fast'");
  CHECK(complaint("wait>5parsecs") == "query: 'wait>5parsecs': expected a number and a unit, like 50ms (ns, us, ms, s, m), not '5parsecs'");
  CHECK(complaint("depth>x") == "query: 'depth>x': expected a number, not 'x'");
  CHECK(complaint("#12x") == "query: '#12x': expected a number, not '12x'");
  CHECK(complaint("colour:red") ==
        "query: 'colour:red': no such field: there are type, frame, url, ann.KEY, status, request, trigger, lane, and wait, exec, total, delay, "
        "created, depth, invocations with > >= < <= =");
  CHECK(complaint("weight>5") == "query: 'weight>5': no such number: there are wait, exec, total, delay, created, depth, invocations");
  CHECK(complaint("status:lost") ==
        "query: 'status:lost': the statuses are open, settled, fulfilled, rejected, cancelled, destroyed, finished, ran");
  CHECK(complaint("on:cp") == "query: 'on:cp': needs the analysis of the trace, which this program does not have");
  CHECK(complaint("a \"b c") == "query: '\"b c': the quote is not closed");
  CHECK(complaint("/a(/") == "query: '/a(/': is no regular expression: Unmatched ( or \\(");
  CHECK(complaint("/abc") == "query: '/abc': the regular expression has no / at its end");
  CHECK(complaint("a |") == "query: '|': stands between two terms");
  CHECK(complaint("| a") == "query: '|': stands between two terms");
  CHECK(complaint("a||b") == "query: 'a||b': expected something to look for");
  CHECK(complaint("-") == "query: '-': expected something to look for");
}

TEST_CASE("durations are read to the nanosecond, and what is too long is none") {
  CHECK(tool::parse_duration("10ms") == 10'000'000u);
  CHECK(tool::parse_duration("1.5s") == 1'500'000'000u);
  CHECK(tool::parse_duration("0.0000000019s") == 1u);
  CHECK(tool::parse_duration("250") == 250u);
  CHECK(tool::parse_duration("2m") == 120'000'000'000u);
  CHECK(tool::parse_duration("18446744073709551615") == 18'446'744'073'709'551'615u);
  CHECK_FALSE(tool::parse_duration("18446744073709551616"));
  CHECK_FALSE(tool::parse_duration("18446744074s"));
  CHECK_FALSE(tool::parse_duration("18446744073.9s"));
  CHECK_FALSE(tool::parse_duration("1.s"));
  CHECK_FALSE(tool::parse_duration("-1s"));
  CHECK_FALSE(tool::parse_duration(""));
  CHECK_FALSE(tool::parse_duration("s"));
}

TEST_CASE("a pattern with stars does not take long, whatever it is asked") {
  CHECK(tool::matches_glob("a*b*c", "AxxBxxC"));
  CHECK_FALSE(tool::matches_glob("a*b*c", "axxbxx"));
  CHECK(tool::matches_glob("*", ""));
  std::string stars;
  for (int n = 0; n < 200; ++n) stars += "a*";
  CHECK_FALSE(tool::matches_glob(stars + "b", std::string(5000, 'a')));
}
