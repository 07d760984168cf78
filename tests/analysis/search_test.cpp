// SPDX-License-Identifier: MIT
// The search language: what each term keeps, what is said of a text that is none, regular expressions against POSIX's own.
#include "thence/analysis/search.hpp"

#include <regex.h>

#include <chrono>
#include <random>
#include <set>
#include <string>

#include "corpus/made.hpp"
#include "corpus/pattern_cases.hpp"
#include "exporters/made_trace.hpp"
#include "support/catch.hpp"

namespace {

using namespace thence;
using namespace thence_test;

using Ids = std::set<std::uint64_t>;

struct Searched {
  Searched() {
    // 1 root, 2 handle, 3 and 4 fetches one after the other, 5 a promise that stays open, 6 a rejected one, 7 a timer.
    const Id task = m.task(0, m.root(), "handle app.js:1");
    m.run_created(task, 0, 0.1);
    const Id first = m.fetch(task, 0.05, 60, "https://a.example/cart", "loadCart shop.js:10");
    m.run_after(first, task, 60, 60.2);
    const Id second = m.fetch(task, 60.1, 80, "https://a.example/users/7", "loadCart shop.js:10");
    m.task(60.1, task, "open app.js:9");
    m.settle(m.task(60.1, task, "never https.js:7:3"), 61, task, Outcome::kRejected);
    m.timer(task, 60.15, 62, "2", "tick app.js:12");
    m.note(second, "rows", std::uint64_t{42});
    m.run_after(second, task, 80, 80.1);
    m.settle(task, 80.1, task);
    m.finish(80.1);
    model = m.model();
    in = std::make_unique<Analysed>(model);
    tree = std::make_unique<ResourceTree>(in->normal);
    findings = find_patterns(in->context);
  }
  Ids kept(const std::string& text) {
    Search search;
    Ids ids;
    if (!search.parse(text)) return {0};
    const std::vector<bool> hits = search.find({in->run, *tree, in->context.on_path, findings});
    for (std::uint32_t row = 0; row < hits.size(); ++row) {
      if (hits[row]) ids.insert(model.id[row]);
    }
    return ids;
  }
  static std::string complaint(const std::string& text) {
    Search search;
    return search.parse(text) ? "understood" : search.error();
  }

  Made m;
  TraceModel model;
  std::unique_ptr<Analysed> in;
  std::unique_ptr<ResourceTree> tree;
  std::vector<Finding> findings;
};

/// Ids of the request of made_trace.hpp that a search keeps: 1 root, 2 fetch, 3 and 4 js-promise, 5 a type of the host's.
Ids kept_of_told(const std::string& text) {
  ModelBuilder builder;
  tell_request(builder);
  const TraceModel model = builder.build();
  const AnalysisSettings settings;
  const Normalised normal = normalise(model);
  const Execution run(model, normal, settings);
  Search search;
  if (!search.parse(text)) return {0};
  Ids ids;
  const std::vector<bool> hits = search.find({run, ResourceTree(normal)});
  for (std::uint32_t row = 0; row < hits.size(); ++row) {
    if (hits[row]) ids.insert(model.id[row]);
  }
  return ids;
}

}  // namespace

TEST_CASE("a search keeps what its terms say") {
  Searched s;
  const Ids all{1, 2, 3, 4, 5, 6, 7};
  CHECK(s.kept("") == all);
  CHECK(s.kept("  ") == all);
  CHECK(s.kept("#3") == Ids{3});
  CHECK(s.kept("#99").empty());
  CHECK(s.kept("type:fetch") == Ids{3, 4});
  CHECK(s.kept("type:JS-*") == Ids{2, 5, 6});
  CHECK(s.kept("-type:js-promise") == Ids{1, 3, 4, 7});
  CHECK(s.kept("cart") == Ids{3, 4});            // a frame, and an annotation
  CHECK(s.kept("\"example/cart\"") == Ids{3});
  CHECK(s.kept("frame:loadcart") == Ids{3, 4});
  CHECK(s.kept("frame:shop.js:10") == Ids{3, 4});
  CHECK(s.kept("url:users") == Ids{4});
  CHECK(s.kept("ann.rows:42") == Ids{4});
  CHECK(s.kept("42") == Ids{4});
  CHECK(s.kept("https://a.example") == Ids{3, 4});  // a colon in an address is text
  CHECK(s.kept("https.js:7") == Ids{6});
  CHECK(s.kept("/load(Cart|User)/") == Ids{3, 4});
  CHECK(s.kept("/^tick app/") == Ids{7});
  CHECK(s.kept("type:fetch wait>50ms") == Ids{3});
  CHECK(s.kept("wait>=59.95ms type:fetch") == Ids{3});
  CHECK(s.kept("wait>59.95ms type:fetch").empty());
  CHECK(s.kept("exec>=100us") == Ids{2});
  CHECK(s.kept("depth=0") == Ids{1});
  CHECK(s.kept("depth>1") == Ids{3, 4, 5, 6, 7});
  CHECK(s.kept("invocations=3") == Ids{2});
  CHECK(s.kept("created>60ms") == Ids{4, 5, 6, 7});
  CHECK(s.kept("wait<1s type:js-promise") == Ids{2, 6});  // what is not known is not less
  CHECK(s.kept("status:open") == Ids{5});
  CHECK(s.kept("status:open|rejected") == Ids{5, 6});
  CHECK(s.kept("status:settled") == Ids{1, 2, 3, 4, 6, 7});
  CHECK(s.kept("type:timer | #5") == Ids{5, 7});
  CHECK(s.kept("type:fetch -url:cart | #5") == Ids{4, 5});
  CHECK(s.kept("request:1") == all);
  CHECK(s.kept("request:2").empty());
  CHECK(s.kept("trigger:#1") == Ids{2});
  CHECK(s.kept("lane:1") == all);
  CHECK(s.kept("on:cp") == Ids{2, 3, 4});
  CHECK(s.kept("on:cp type:fetch wait<50ms") == Ids{4});
  CHECK(s.kept("finding:p01") == Ids{3, 4});
  CHECK(s.kept("finding:sequential-fetch") == Ids{3, 4});
  CHECK(s.kept("finding:p02").empty());
  CHECK(s.kept("finding:any -type:fetch") == Ids{5});  // unresolved; the gap is a fetch's
}

TEST_CASE("what is not understood is named, with where it is") {
  CHECK(Searched::complaint("depth>1ms").find("expected a number") != std::string::npos);
  CHECK(Searched::complaint("status:maybe").find("the statuses are") != std::string::npos);
  CHECK(Searched::complaint("on:fire").find("on:cp") != std::string::npos);
  CHECK(Searched::complaint("finding:p15").find("p01 to p14") != std::string::npos);
  CHECK(Searched::complaint("#x").find("expected a number") != std::string::npos);
  CHECK(Searched::complaint("type:").find("expected something") == std::string::npos);
  Search search;
  CHECK_FALSE(search.parse("type:fetch depth>x"));
  CHECK(search.error_at() == 11);
}

TEST_CASE("a search keeps of a request told event by event what its terms say") {
  CHECK(kept_of_told("") == Ids{1, 2, 3, 4, 5});
  CHECK(kept_of_told("  ") == Ids{1, 2, 3, 4, 5});
  CHECK(kept_of_told("#3") == Ids{3});
  CHECK(kept_of_told("type:fetch") == Ids{2});
  CHECK(kept_of_told("type:JS-*") == Ids{3, 4});
  CHECK(kept_of_told("-type:js-promise") == Ids{1, 2, 5});
  CHECK(kept_of_told("type:\"my, \\\"type\\\"\"").empty());
  CHECK(kept_of_told("type:my*") == Ids{5});
  CHECK(kept_of_told("promise") == Ids{3, 4});
  CHECK(kept_of_told("A.EXAMPLE") == Ids{2});
  CHECK(kept_of_told("https://a.example") == Ids{2});
  CHECK(kept_of_told("app.js:7") == Ids{2, 3});
  CHECK(kept_of_told("url:example") == Ids{2});
  CHECK(kept_of_told("ann.bytes:18446744073709551615") == Ids{2});
  CHECK(kept_of_told("ann.again:") == Ids{2});
  CHECK(kept_of_told("ann.nothing:").empty());
  CHECK(kept_of_told("frame:load") == Ids{2, 3});
  CHECK(kept_of_told("/^js-(promise|nothing)$/") == Ids{3, 4});
  CHECK(kept_of_told("/a\\.EXAMPLE\\/\\?q/") == Ids{2});
  CHECK(kept_of_told("trigger:#3") == Ids{4, 5});
  CHECK(kept_of_told("lane:main") == Ids{1, 2, 3, 4, 5});
  CHECK(kept_of_told("lane:1 request:1 type:root") == Ids{1});
  CHECK(kept_of_told("request:none").empty());
}

TEST_CASE("times and numbers are compared in the unit that is said, and what is not known is neither more nor less") {
  // wait: 1: 0, 2: 2900 (never ran: until settled), 3: 50, 4: 2700, 5: 3090. exec: 1: 700, 3: 300, 4: 400, 5: 400, 2: not known
  CHECK(kept_of_told("wait>2.7us") == Ids{2, 5});
  CHECK(kept_of_told("wait>=2700ns") == Ids{2, 4, 5});
  CHECK(kept_of_told("wait<=50") == Ids{1, 3});
  CHECK(kept_of_told("wait=50ns") == Ids{3});
  CHECK(kept_of_told("exec>0") == Ids{1, 3, 4, 5});
  CHECK(kept_of_told("-exec>0") == Ids{2});
  CHECK(kept_of_told("exec<0.4us") == Ids{3});
  CHECK(kept_of_told("total>3us") == Ids{4, 5});
  CHECK(kept_of_told("delay>=0") == Ids{3});
  CHECK(kept_of_told("created>=0.0004ms") == Ids{4, 5});
  CHECK(kept_of_told("depth>1") == Ids{4, 5});
  CHECK(kept_of_told("invocations=0") == Ids{2});
}

TEST_CASE("spaces are and, a lone | is or and binds less, | within a term has alternatives, - is not") {
  CHECK(kept_of_told("type:js-promise depth=1") == Ids{3});
  CHECK(kept_of_told("type:fetch | type:js-promise depth=1") == Ids{2, 3});
  CHECK(kept_of_told("type:fetch|root") == Ids{1, 2});
  CHECK(kept_of_told("-type:fetch|root") == Ids{3, 4, 5});
  CHECK(kept_of_told("status:open|rejected") == Ids{4, 5});
  CHECK(kept_of_told("status:fulfilled") == Ids{2, 3});
  CHECK(kept_of_told("status:settled") == Ids{2, 3, 4});
  CHECK(kept_of_told("status:finished") == Ids{1});
  CHECK(kept_of_told("\"load;all\"|root") == Ids{1, 2, 3});
  CHECK(kept_of_told("type:fetch|type:js-promise wait>1us") == Ids{2, 4});
}

TEST_CASE("a term that is none is named, with what was expected") {
  CHECK(Searched::complaint("wait>fast") == "'wait>fast': expected a number and a unit, like 50ms (ns, us, ms, s, m), not 'fast'");
  CHECK(Searched::complaint("wait>5parsecs") == "'wait>5parsecs': expected a number and a unit, like 50ms (ns, us, ms, s, m), not '5parsecs'");
  CHECK(Searched::complaint("depth>x") == "'depth>x': expected a number, not 'x'");
  CHECK(Searched::complaint("#12x") == "'#12x': expected a number after the #");
  CHECK(Searched::complaint("colour:red") ==
        "'colour:red': no such field: there are type, frame, url, ann.KEY, status, request, trigger, lane, on, finding, and wait, exec, total, "
        "delay, created, depth, invocations with > >= < <= =");
  CHECK(Searched::complaint("weight>5") == "'weight>5': no such number: there are wait, exec, total, delay, created, depth, invocations");
  CHECK(Searched::complaint("status:lost") ==
        "'status:lost': the statuses are open, settled, fulfilled, rejected, cancelled, destroyed, finished, ran");
  CHECK(Searched::complaint("a \"b c") == "'\"b c': the quote is not closed");
  CHECK(Searched::complaint("/a(/") == "'/a(/': is no regular expression: a ( without a )");
  CHECK(Searched::complaint("/abc") == "'/abc': the regular expression has no / at its end");
  CHECK(Searched::complaint("a |") == "'|': stands between two terms");
  CHECK(Searched::complaint("| a") == "'|': stands between two terms");
  CHECK(Searched::complaint("a||b") == "'a||b': expected something to look for");
  CHECK(Searched::complaint("-") == "'-': expected something to look for");
}

TEST_CASE("durations are read to the nanosecond, and what is too long is none") {
  CHECK(parse_duration("10ms") == 10'000'000u);
  CHECK(parse_duration("1.5s") == 1'500'000'000u);
  CHECK(parse_duration("0.0000000019s") == 1u);
  CHECK(parse_duration("250") == 250u);
  CHECK(parse_duration("2m") == 120'000'000'000u);
  CHECK(parse_duration("18446744073709551615") == 18'446'744'073'709'551'615u);
  CHECK_FALSE(parse_duration("18446744073709551616"));
  CHECK_FALSE(parse_duration("18446744074s"));
  CHECK_FALSE(parse_duration("18446744073.9s"));
  CHECK_FALSE(parse_duration("1.s"));
  CHECK_FALSE(parse_duration("-1s"));
  CHECK_FALSE(parse_duration(""));
  CHECK_FALSE(parse_duration("s"));
}

TEST_CASE("a pattern with stars does not take long, whatever it is asked") {
  CHECK(matches_glob("a*b*c", "AxxBxxC"));
  CHECK_FALSE(matches_glob("a*b*c", "axxbxx"));
  CHECK(matches_glob("*", ""));
  std::string stars;
  for (int n = 0; n < 200; ++n) stars += "a*";
  CHECK_FALSE(matches_glob(stars + "b", std::string(5000, 'a')));
}

TEST_CASE("regular expressions agree with POSIX's") {
  std::mt19937_64 random(3);
  const std::string pieces[] = {"a", "b", "c", "x", ".", "[ab]", "[^a]", "[a-c]", "(ab)", "(a|b)", "(a|bc|)", "a*", "b+", "c?", "^", "$", "a{2}", "(ab){1,2}", "[[:digit:]]", "1"};
  std::uint64_t compared = 0;
  for (int n = 0; n < 4000; ++n) {
    std::string expression;
    for (int k = 1 + static_cast<int>(random() % 5); k > 0; --k) {
      expression += pieces[random() % std::size(pieces)];
      if (random() % 6 == 0) expression += "|";
    }
    ::regex_t posix;
    if (::regcomp(&posix, expression.c_str(), REG_EXTENDED | REG_ICASE | REG_NOSUB) != 0) continue;
    TextPattern ours;
    const char* const why = ours.compile(expression);
    if (why != nullptr) {
      ::regfree(&posix);
      INFO(expression << ": " << why);
      continue;
    }
    for (int t = 0; t < 30; ++t) {
      std::string text;
      for (std::uint64_t k = random() % 8; k > 0; --k) text += "abcABx1"[random() % 7];
      const bool wanted = ::regexec(&posix, text.c_str(), 0, nullptr, 0) == 0;
      INFO(expression << " on '" << text << "'");
      REQUIRE(ours.matches(text) == wanted);
      ++compared;
    }
    ::regfree(&posix);
  }
  CHECK(compared > 50'000);
}

TEST_CASE("no expression runs away") {
  TextPattern pattern;
  REQUIRE(pattern.compile("(a*)*(a|a)*b$") == nullptr);
  const std::string text(20'000, 'a');
  CHECK_FALSE(pattern.matches(text));  // a backtracking matcher would not live to see it
  CHECK(pattern.compile("((((a{255}){255}){255}){255})") != nullptr);
  CHECK(pattern.compile(std::string(100'000, '(')) != nullptr);
  CHECK(pattern.compile("a**") == nullptr);
  CHECK(pattern.compile("*a") != nullptr);
  CHECK(pattern.compile("a)") != nullptr);
  CHECK(pattern.compile("[a") != nullptr);
  CHECK(pattern.compile("a\\") != nullptr);
  CHECK(pattern.compile("(a)\\1") != nullptr);
  CHECK(pattern.compile("[b-a]") != nullptr);
  CHECK(pattern.compile("a{3,2}") != nullptr);
}

TEST_CASE("URLs: what is the same, where it comes from, and what it is one of") {
  CHECK(normalised_url("HTTP://API.Example.com:80/A?b=C#d") == "http://api.example.com/A?b=C");
  CHECK(normalised_url("https://a.example") == "https://a.example/");
  CHECK(normalised_url("https://a.example?x") == "https://a.example/?x");
  CHECK(normalised_url("https://a.example:8443/") == "https://a.example:8443/");
  CHECK(normalised_url("https://[::1]/x") == "https://[::1]/x");
  CHECK(normalised_url("/path?a#b") == "/path?a");
  CHECK(origin_of("https://User.example:443/x") == "https://user.example");
  CHECK(origin_of("/x").empty());
  CHECK(origin_of("https://a.example") == origin_of("https://a.example/"));
  CHECK(url_template("https://a1.example/users/42/orders/7?full=1") == "https://a1.example/users/{}/orders/{}?full={}");
  CHECK(url_template("/o/123e4567-e89b-12d3-a456-426614174000/x") == "/o/{}/x");
  CHECK(url_template("/commit/deadbeef01/x") == "/commit/{}/x");
  CHECK(url_template("/facade/x") == "/facade/x");       // six letters
  CHECK(url_template("/deadbeef/x") == "/deadbeef/x");   // a word, for all that we know
  CHECK(url_template("v2:items") == "v2:items");
  CHECK(key_prefix("perms:user:12345") == "perms:user:");
  CHECK(key_prefix("https://a.example/user/123?x=/") == "https://a.example/user/");
  CHECK(key_prefix("https://a.example") == "https://a.example");
  CHECK(key_prefix("plain") == "plain");
  CHECK(key_prefix("").empty());
  CHECK(key_prefix("dir/") == "dir/");
}
