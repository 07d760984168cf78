// SPDX-License-Identifier: MIT
// pattern_cases.hpp: the labelled corpus: small programs, and every finding that a careful reader expects of each.
//
// For each pattern: programs that have it, programs that look like it and do not, and one at the boundary. The label names
// all findings of all patterns, so that a false alarm anywhere counts. Ids: the root is 1; others in order of creation.
// Layer: tests.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/made.hpp"

namespace thence_test {

struct PatternCase {
  std::string_view pattern;
  std::string_view is;        ///< "has", "looks" (and does not), "boundary"
  std::string_view name;      ///< why it is what it is
  std::string_view expected;  ///< "id: resources; id: resources"
  std::function<void(Made&)> make;
};

/// A task (2) that runs at the beginning, and the request's end at `end` by the operation that is waited for last.
inline Id begin_task(Made& m, std::string_view stack = "handle app.js:1") {
  const Id task = m.task(0, m.root(), stack);
  m.run_created(task, 0, 0.1);
  return task;
}
inline void end_task(Made& m, Id task, Id after, double at) {
  m.run_after(after, task, at, at + 0.1);
  m.settle(task, at + 0.1, task);
  m.finish(at + 0.1);
}
inline std::string url(int n) { return "https://api.example.com/item/" + std::string(1, static_cast<char>('a' + n % 26)) + (n >= 26 ? std::string(1, static_cast<char>('a' + n / 26)) : ""); }

/// Fetches one after the other: the n-th from stacks[n], `took` ms each; between them a callback of `between` ms.
inline Id chain(Made& m, Id task, const std::vector<std::string>& stacks, double took, double& at, double between = 0.1, Id after = 0) {
  for (std::size_t n = 0; n < stacks.size(); ++n) {
    if (after != 0) m.run_after(after, task, at, at + between);
    const double created = after == 0 ? at + 0.05 : at + between;
    after = m.fetch(task, created, created + took, url(static_cast<int>(n) + (after == 0 ? 0 : 9)), stacks[n]);
    at = created + took;
  }
  return after;
}

inline std::vector<PatternCase> pattern_cases() {
  std::vector<PatternCase> all;
  const auto add = [&](std::string_view pattern, std::string_view is, std::string_view name, std::string_view expected,
                       std::function<void(Made&)> make) { all.push_back({pattern, is, name, expected, std::move(make)}); };

  // -- 1 sequential-fetch ---------------------------------------------------------------------------------------------
  add("sequential-fetch", "has", "a loop that awaits each of five requests", "sequential-fetch: 3 4 5 6 7", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0;
    const Id last = chain(m, task, std::vector<std::string>(5, "load app.js:10"), 30, at);
    end_task(m, task, last, at);
  });
  add("sequential-fetch", "has", "two requests by one function on two lines, the second not after the first's answer was used",
      "sequential-fetch: 3 4", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0;
    const Id last = chain(m, task, {"load app.js:10", "load app.js:11"}, 30, at);
    end_task(m, task, last, at);
  });
  add("sequential-fetch", "has", "the continuations are promises of their own, made by the one before", "sequential-fetch: 3 5 7", [](Made& m) {
    Id task = begin_task(m);
    double at = 0.05;
    Id last = 0;
    for (int n = 0; n < 3; ++n) {
      last = m.fetch(task, at, at + 20, url(n), "load app.js:10, handle app.js:1");
      const Id next = m.task(at, task, "then app.js:12");
      m.settle(task, at, task);
      task = next;
      at += 20;
      m.run_after(last, task, at, at + 0.1);
      at += 0.05;
    }
    m.settle(task, at, task);
    m.finish(at);
  });
  add("sequential-fetch", "has", "each goes on when the body of the answer before is there, which the outside made", "sequential-fetch: 3 5 7", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0;
    Id body = 0;
    for (int n = 0; n < 3; ++n) {
      if (body != 0) m.run_after(body, task, at, at + 0.1);
      const Id fetch = m.fetch(task, at + 0.05, at + 20, url(n), "load app.js:10");
      body = m.operation(fetch, at + 20.1, at + 26, "stream-read", "");
      at += 26;
    }
    end_task(m, task, body, at);
  });
  add("sequential-fetch", "looks", "five requests at once: Promise.all", "", [](Made& m) {
    const Id task = begin_task(m);
    Id last = 0;
    for (int n = 0; n < 5; ++n) last = m.fetch(task, 0.01 * n, 30 + n, url(n), "load app.js:10");
    end_task(m, task, last, 34);
  });
  add("sequential-fetch", "looks", "the second is made of 6 ms of work on the first's answer", "", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0;
    const Id last = chain(m, task, {"load app.js:10", "load app.js:10"}, 30, at, 6);
    end_task(m, task, last, at);
  });
  add("sequential-fetch", "looks", "a pause between the two: a retry with back-off", "", [](Made& m) {
    const Id task = begin_task(m);
    const Id first = m.fetch(task, 0.05, 20, url(0), "load app.js:10");
    m.run_after(first, task, 20, 20.1);
    const Id pause = m.timer(task, 20.05, 40, "20", "back_off app.js:20");
    m.run_after(pause, task, 40, 40.1);
    const Id second = m.fetch(task, 40.05, 60, url(1), "load app.js:10");
    end_task(m, task, second, 60);
  });
  add("sequential-fetch", "looks", "batches of three: as many at once as are allowed", "", [](Made& m) {
    const Id task = begin_task(m);
    Id last = 0;
    for (int n = 0; n < 3; ++n) last = m.fetch(task, 0.01 * n, 20 + n, url(n), "load app.js:10");
    m.run_after(last, task, 22, 22.1);
    for (int n = 3; n < 6; ++n) last = m.fetch(task, 22 + 0.01 * n, 40 + n, url(n), "load app.js:10");
    end_task(m, task, last, 45);
  });
  add("sequential-fetch", "looks", "two requests of two different functions, called by a third", "", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0;
    const Id last = chain(m, task, {"user app.js:10", "orders app.js:20"}, 20, at);
    m.busy(at + 1, 160);
    end_task(m, task, last, 160);
  });
  add("sequential-fetch", "boundary", "exactly 5 ms of work between: still short", "sequential-fetch: 3 4", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0;
    const Id last = chain(m, task, {"load app.js:10", "load app.js:10"}, 30, at, 5);
    end_task(m, task, last, at);
  });

  // -- 2 loop-block ---------------------------------------------------------------------------------------------------
  const auto one_run = [](double length) {
    return [length](Made& m) {
      const Id task = m.task(0, m.root(), "parse app.js:5");
      m.run_created(task, 0.1, 0.1 + length);
      m.settle(task, 0.1 + length, task);
      m.finish(0.1 + length);
    };
  };
  add("loop-block", "has", "a callback of 60 ms", "loop-block: 2", one_run(60));
  add("loop-block", "has", "thirty promise callbacks of 2 ms without a break", "loop-block: 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31",
      [](Made& m) {
    m.root();
    for (int n = 0; n < 30; ++n) m.run_created(m.task(2 * n, 1, "step app.js:" + std::to_string(5 + n)), 0.1 + 2 * n, 2.1 + 2 * n);
    for (Id id = 2; id <= 31; ++id) m.settle(id, 60.1, id);
    m.finish(60.1);
  });
  add("loop-block", "looks", "60 ms of native code of which a nested callback has 20: neither has 50", "", [](Made& m) {
    const Id task = m.create(0, m.root(), "kj-promise", "outer app.js:5");
    const Id inner = m.create(0, 1, "kj-promise", "inner app.js:6");
    m.run_created(inner, 20, 40);
    m.run_created(task, 0.1, 60.1);
    m.settle(inner, 40, inner);
    m.settle(task, 60.1, task);
    m.finish(60.1);
  });
  add("loop-block", "looks", "forty callbacks of 2 ms with 0.2 ms between", "", [](Made& m) {
    m.root();
    for (int n = 0; n < 40; ++n) {
      const Id task = m.task(2.2 * n, 1, "step app.js:" + std::to_string(5 + n % 10));
      m.run_created(task, 0.1 + 2.2 * n, 2.1 + 2.2 * n);
      m.settle(task, 2.1 + 2.2 * n, task);
    }
    m.finish(89);
  });
  add("loop-block", "looks", "thirty answers of 2 ms that came in one right after the other: the loop looked outside between them", "", [](Made& m) {
    m.root();
    for (int n = 0; n < 30; ++n) {
      const Id task = m.task(2 * n, 1, "step app.js:" + std::to_string(5 + n));
      m.run(task, 0.1 + 2 * n, 2.1 + 2 * n, CauseKind::kExternal);
      m.settle(task, 2.1 + 2 * n, task);
    }
    m.finish(60.1);
  });
  add("loop-block", "looks", "the request's own root is the request", "", [](Made& m) {
    const Id root = m.root();
    m.run(root, 0, 80);
    m.finish(80);
  });
  add("loop-block", "has", "60 ms of which the processor gave 20: descheduled", "descheduled: 2", [](Made& m) {
    const Id task = m.task(0, m.root(), "parse app.js:5");
    m.note(task, "cpu_ns", 20'000'000);
    m.run_created(task, 0.1, 60.1);
    m.settle(task, 60.1, task);
    m.finish(60.1);
  });
  add("loop-block", "boundary", "exactly 50 ms: not over", "", one_run(50));
  add("loop-block", "boundary", "one nanosecond over 50 ms", "loop-block: 2", one_run(50.000001));

  // -- 3 unbatched-storage --------------------------------------------------------------------------------------------
  const auto at_once = [](int count, std::string_view type, double apart, bool namespaces) {
    return [=](Made& m) {
      const Id task = begin_task(m);
      Id last = 0;
      for (int n = 0; n < count; ++n) {
        if (n != 0 && apart > 0) m.run(task, n * apart - 0.05, n * apart + 0.05, CauseKind::kExternal);
        last = m.operation(task, n * apart, 30 + n, type, "read store.js:7");
        m.note(last, "key", "k" + std::to_string(n));
        if (namespaces) m.note(last, "binding", std::string(1, static_cast<char>('A' + n)));
      }
      end_task(m, task, last, 30 + count);
    };
  };
  add("unbatched-storage", "has", "four keys at once, a call each", "unbatched-storage: 3 4 5 6", at_once(4, "kv-get", 0, false));
  add("unbatched-storage", "has", "three queries one after the other, by one function", "unbatched-storage: 3 4 5", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0.05;
    Id last = 0;
    for (int n = 0; n < 3; ++n) {
      if (last != 0) m.run_after(last, task, at, at + 0.1);
      last = m.operation(task, at, at + 15, "d1-query", "query store.js:7");
      at += 15;
    }
    end_task(m, task, last, at);
  });
  add("unbatched-storage", "has", "reads with a write between each: the reads are one after the other all the same", "unbatched-storage: 3 5 7", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0.05;
    Id last = 0;
    for (int n = 0; n < 6; ++n) {
      if (last != 0) m.run_after(last, task, at, at + 0.1);
      last = m.operation(task, at, at + 10, n % 2 == 0 ? "kv-get" : "kv-put", n % 2 == 0 ? "read store.js:7" : "write store.js:9");
      at += 10;
    }
    end_task(m, task, last, at);
  });
  add("unbatched-storage", "looks", "three keys of three stores", "", at_once(3, "kv-get", 0, true));
  add("unbatched-storage", "looks", "writes, for which there is no call for many", "", at_once(4, "kv-put", 0, false));
  add("unbatched-storage", "looks", "three keys, 6 ms apart", "", at_once(3, "kv-get", 6, false));
  add("unbatched-storage", "boundary", "two keys only", "", at_once(2, "kv-get", 0, false));
  add("unbatched-storage", "boundary", "three keys within exactly 5 ms", "unbatched-storage: 3 4 5", at_once(3, "kv-get", 2.5, false));

  // -- 4 duplicate-fetch ----------------------------------------------------------------------------------------------
  const auto pair = [](std::string a, std::string b, std::string method_a = "", std::string method_b = "", std::string range_b = "") {
    return [=](Made& m) {
      const Id task = begin_task(m);
      const Id first = m.fetch(task, 0.02, 20, a, "one app.js:10");
      const Id second = m.fetch(task, 0.03, 21, b, "two app.js:20");
      if (!method_a.empty()) m.note(first, "method", method_a);
      if (!method_b.empty()) m.note(second, "method", method_b);
      if (!range_b.empty()) m.note(second, "range", range_b);
      end_task(m, task, second, 21);
    };
  };
  add("duplicate-fetch", "has", "the same URL twice", "duplicate-fetch: 3 4", pair("https://a.example/x?k=1", "https://a.example/x?k=1"));
  add("duplicate-fetch", "has", "the same but for what does not count", "duplicate-fetch: 3 4", pair("HTTPS://A.example:443/x#top", "https://a.example/x", "get"));
  add("duplicate-fetch", "looks", "posted twice", "", pair("https://a.example/x", "https://a.example/x", "POST", "POST"));
  add("duplicate-fetch", "looks", "the query in another order", "", pair("https://a.example/x?a=1&b=2", "https://a.example/x?b=2&a=1"));
  add("duplicate-fetch", "looks", "another part of it", "", pair("https://a.example/x", "https://a.example/x", "", "", "bytes=100-"));
  add("duplicate-fetch", "looks", "what the query was is not known", "", pair("https://a.example/x?key=***", "https://a.example/x?key=***"));
  add("duplicate-fetch", "boundary", "a HEAD and a GET answer different things", "", pair("https://a.example/x", "https://a.example/x", "HEAD", "GET"));

  // -- 5 deep-chain ---------------------------------------------------------------------------------------------------
  const auto nested = [](int depth, bool plain) {
    return [=](Made& m) {
      m.plain = plain;
      Id at = m.root();
      std::vector<Id> nest;
      for (int n = 0; n < depth; ++n) {
        at = m.task(0.01 * n, at, "f" + std::to_string(n) + " app.js:" + std::to_string(n + 1));
        m.run_created(at, 0.01 * n, 0.01 * n + 0.005);
        nest.push_back(at);
      }
      for (std::size_t n = nest.size() - 1; n > 0; --n) {
        m.awaits(nest[n - 1], nest[n], 1);
        m.settle(nest[n], 10 - 0.01 * static_cast<double>(n), nest[n]);
      }
      m.run(nest[0], 9.9, 10, CauseKind::kSettled, nest.size() > 1 ? nest[1] : 0);
      m.settle(nest[0], 10, nest[0]);
      m.finish(10);
    };
  };
  add("deep-chain", "has", "eleven functions that await each other", "deep-chain: 2 3 4 5 6 7 8 9 10 11 12", nested(11, false));
  add("deep-chain", "has", "fifteen nested callbacks in a document that tells creations only",
      "deep-chain: 16 15 14 13 12 11 10 9 8 7 6 5 4 3 2", nested(15, true));
  add("deep-chain", "looks", "fifteen awaits, one after the other, of one function", "", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0.05;
    Id last = 0;
    for (int n = 0; n < 15; ++n) {
      if (last != 0) m.run_after(last, task, at, at + 0.1);
      last = m.operation(task, at, at + 2, "crypto", "sign app.js:" + std::to_string(n + 1));
      m.awaits(task, last, at);
      at += 2;
    }
    end_task(m, task, last, at);
  });
  add("deep-chain", "looks", "a loop that settles a promise and awaits it, twenty times: each wait begins when the last is over", "", [](Made& m) {
    Id task = begin_task(m, "loop app.js:1");
    Id first = task;
    double at = 0.05;
    for (int n = 0; n < 20; ++n) {
      const Id value = m.task(at, task, "value app.js:7");
      m.settle(value, at + 0.01, task);
      const Id next = m.task(at + 0.02, task, "loop app.js:2");
      m.awaits(next, value, at + 0.02);
      if (task != first) m.settle(task, at + 0.03, task);
      at += 1;
      m.run(next, at, at + 0.1, CauseKind::kSettled, value);
      task = next;
      at += 0.02;
    }
    m.settle(task, at, task);
    m.settle(first, at + 0.08, task);
    m.finish(at + 0.08);
  });
  add("deep-chain", "looks", "a loop: thirty creations, of three functions", "", [](Made& m) {
    m.plain = true;
    Id at = m.root();
    for (int n = 0; n < 30; ++n) {
      at = m.task(0.5 * n, at, "step" + std::to_string(n % 3) + " app.js:" + std::to_string(n % 3 + 1));
      m.run(at, 0.5 * n, 0.5 * n + 0.2);
    }
    m.finish(16);
  });
  add("deep-chain", "boundary", "exactly ten", "", nested(10, false));

  // -- 6 waterfall-fetch ----------------------------------------------------------------------------------------------
  add("waterfall-fetch", "has", "three functions, each waiting for the one before", "waterfall-fetch: 3 4 5", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0;
    const Id last = chain(m, task, {"user app.js:10", "orders app.js:20", "items app.js:30"}, 30, at);
    end_task(m, task, last, at);
  });
  add("waterfall-fetch", "has", "two that are most of the request", "waterfall-fetch: 3 4", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0;
    const Id last = chain(m, task, {"user app.js:10", "orders app.js:20"}, 40, at);
    end_task(m, task, last, at);
  });
  add("waterfall-fetch", "has", "with a read of a cache between two of them", "waterfall-fetch: 3 5 6", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0;
    Id last = chain(m, task, {"user app.js:10"}, 30, at);
    m.run_after(last, task, at, at + 0.1);
    last = m.operation(task, at + 0.05, at + 10, "cache-get", "cached app.js:15");
    at += 10;
    last = chain(m, task, {"orders app.js:20", "items app.js:30"}, 30, at, 0.1, last);
    end_task(m, task, last, at);
  });
  add("waterfall-fetch", "looks", "three functions at once", "", [](Made& m) {
    const Id task = begin_task(m);
    Id last = 0;
    for (int n = 0; n < 3; ++n) last = m.fetch(task, 0.01 * n, 40 + n, url(n), "f" + std::to_string(n) + " app.js:" + std::to_string(n + 1));
    end_task(m, task, last, 42);
  });
  add("waterfall-fetch", "looks", "12 ms to see who it is, then 75 ms of one answer: one is slow, nothing is a waterfall", "long-gap: 4", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0;
    Id last = chain(m, task, {"who app.js:10"}, 12, at);
    m.run_after(last, task, at, at + 0.1);
    last = m.fetch(task, at + 0.1, at + 75, url(5), "answer app.js:20");
    m.busy(at + 76, 150);
    end_task(m, task, last, 150);
  });
  add("waterfall-fetch", "looks", "a run that is reported as sequential already", "sequential-fetch: 3 4 5", [](Made& m) {
    const Id task = begin_task(m);
    double at = 0;
    const Id last = chain(m, task, {"load app.js:10", "load app.js:11", "load app.js:12"}, 30, at);
    end_task(m, task, last, at);
  });
  const auto share = [](double of) {
    return [of](Made& m) {
      const Id task = begin_task(m);
      double at = 0;
      const Id last = chain(m, task, {"user app.js:10", "orders app.js:20", "items app.js:30"}, 20, at);
      m.busy(at + 1, of - 1);
      m.run_after(last, task, of - 0.1, of);
      m.settle(task, of, task);
      m.finish(of);
    };
  };
  add("waterfall-fetch", "boundary", "three of 20 ms in 240 ms: exactly a quarter", "", share(240));
  add("waterfall-fetch", "boundary", "three of 20 ms in 239 ms: over a quarter", "waterfall-fetch: 3 4 5", share(239));

  // -- 7 long-gap -----------------------------------------------------------------------------------------------------
  const auto gap = [](double length, double whole) {
    return [=](Made& m) {
      const Id task = begin_task(m);
      const Id answer = m.fetch(task, 0.05, 0.1 + length, url(0), "answer app.js:20");
      m.run_after(answer, task, 0.1 + length, 1 + length);
      m.busy(1 + length, whole - 1);
      const Id end = m.task(whole - 1, task, "end app.js:30");
      m.run(end, whole - 1, whole, CauseKind::kExternal);
      m.settle(end, whole, end);
      m.settle(task, whole, end);
      m.finish(whole);
    };
  };
  add("long-gap", "has", "600 ms in which nothing ran, of 3 s", "long-gap: 3", gap(600, 3000));
  add("long-gap", "has", "60 ms, of 200", "long-gap: 3", gap(60, 200));
  add("long-gap", "looks", "60 ms, of 400: neither long nor a great part", "", gap(60, 400));
  add("long-gap", "looks", "an answer after 600 ms, while other things ran", "", [](Made& m) {
    const Id task = begin_task(m);
    const Id answer = m.fetch(task, 0.05, 600, url(0), "answer app.js:20");
    m.busy(1, 600);
    end_task(m, task, answer, 600);
  });
  add("long-gap", "boundary", "exactly 500 ms, of 3 s", "", gap(500, 3000));
  add("long-gap", "boundary", "exactly a quarter: 60 ms of 240", "", gap(60, 240));

  // -- 8a promise-flood -----------------------------------------------------------------------------------------------
  const auto crowd = [](int count, double apart, std::string_view type = "js-promise") {
    return [=](Made& m) {
      const Id task = begin_task(m);
      for (int n = 0; n < count; ++n) {
        if (n % 50 == 0) m.run(task, 10 + n * apart, 10 + std::min(count, n + 50) * apart, CauseKind::kExternal);
        m.settle(m.create(10 + n * apart, task, type, "each app.js:9"), 20, task);
      }
      m.busy(21, 98);
      m.run(task, 99, 100, CauseKind::kExternal);
      m.settle(task, 100, task);
      m.finish(100);
    };
  };
  const auto ids_from_3 = [](int count) {
    std::string made;
    for (int n = 0; n < count; ++n) made += " " + std::to_string(3 + n);
    return made;
  };
  static const std::string flood_20 = "promise-flood:" + ids_from_3(20);
  static const std::string flood_60 = "promise-flood:" + ids_from_3(60);
  add("promise-flood", "has", "sixty promises in 1.8 ms", flood_60, crowd(60, 0.03));
  add("promise-flood", "has", "twenty at one moment", flood_20, crowd(20, 0));
  add("promise-flood", "looks", "nineteen in a millisecond", "", crowd(19, 0.05));
  add("promise-flood", "looks", "twenty in 1.5 ms", "", crowd(20, 0.0789));
  add("promise-flood", "looks", "five hundred of a native host, which cost it nothing", "", crowd(500, 0.002, "kj-promise"));
  add("promise-flood", "looks", "twenty a millisecond all the time: that is how this program is", "", [](Made& m) {
    const Id task = begin_task(m);
    for (int n = 0; n < 600; ++n) {
      if (n % 50 == 0) m.run(task, n * 0.05, (n + 50) * 0.05 - 0.2, CauseKind::kExternal);
      m.settle(m.create(n * 0.05, task, "js-promise", "each app.js:9"), 30, task);
    }
    m.run(task, 30, 30.1, CauseKind::kExternal);
    m.settle(task, 30.1, task);
    m.finish(30.1);
  });
  add("promise-flood", "boundary", "twenty within exactly one millisecond", flood_20, [](Made& m) {
    const Id task = begin_task(m);
    m.run(task, 10, 12, CauseKind::kExternal);
    for (int n = 0; n < 20; ++n) m.settle(m.create(n < 10 ? 10 : 11, task, "js-promise", "each app.js:9"), 20, task);
    m.busy(21, 98);
    m.run(task, 99, 100, CauseKind::kExternal);
    m.settle(task, 100, task);
    m.finish(100);
  });

  // -- 8b callback-flood ----------------------------------------------------------------------------------------------
  // One after the other; a callback of the root makes them all, and with that ready. Not told: they are the root's, and no more.
  const auto burst = [](int count, double apart, double last, std::string_view frame = "app.js", bool told = true) {
    return [=](Made& m) {
      m.root();
      if (told) m.run(1, 0, 0.02, CauseKind::kUnspecified);
      for (int n = 0; n < count; ++n) {
        const Id task = m.create(0.01, 1, "kj-promise", "on" + std::to_string(n % 6) + (frame.empty() ? "" : " " + std::string(frame) + ":" + std::to_string(n % 6 + 1)));
        m.run_created(task, 1 + n * apart, 1 + n * apart + (n + 1 == count ? last : apart * 0.9));
        m.settle(task, 1 + n * apart + (n + 1 == count ? last : apart * 0.9), task);
      }
      m.finish(1 + count * apart + last);
    };
  };
  static const std::string burst_10 = "callback-flood: 2 3 4 5 6 7 8 9 10 11";
  static const std::string burst_100 = [] {
    std::string made = "callback-flood:";
    for (int n = 2; n < 102; ++n) made += " " + std::to_string(n);
    return made;
  }();
  // Ten, nine made at 1 ms and one later, that run one after the other for 0.6 ms each.
  const auto ready_within = [](double apart) {
    return [=](Made& m) {
      m.root();
      m.run(1, 0, 2.05, CauseKind::kUnspecified);
      for (int n = 0; n < 10; ++n) {
        const Id task = m.create(n < 9 ? 1 : 1 + apart, 1, "kj-promise", "on" + std::to_string(n % 6) + " app.js:" + std::to_string(n % 6 + 1));
        m.run_created(task, 2.1 + n * 0.6, 2.7 + n * 0.6);
        m.settle(task, 2.7 + n * 0.6, task);
      }
      m.finish(9);
    };
  };
  add("callback-flood", "has", "ten that begin in a millisecond, the last of 5 ms", burst_10, burst(10, 0.1, 5));
  add("callback-flood", "has", "a hundred of 60 us, one after the other", burst_100, burst(100, 0.06, 0.06));
  add("callback-flood", "looks", "ten that begin in a millisecond and are done", "", burst(10, 0.1, 0.1));
  add("callback-flood", "looks", "nine", "", burst(9, 0.1, 6));
  add("callback-flood", "looks", "a hundred of 60 us, of which nothing tells when they were ready", "", burst(100, 0.06, 0.06, "app.js", false));
  add("callback-flood", "looks", "three hundred, each made ready as the one before ends: a lane at work", "", [](Made& m) {
    m.root();
    for (int n = 0; n < 300; ++n) {
      const Id task = m.create(1 + n * 0.04, 1, "kj-promise", "on" + std::to_string(n % 6) + " app.js:" + std::to_string(n % 6 + 1));
      m.run_created(task, 1 + n * 0.04, 1.04 + n * 0.04);
      m.settle(task, 1.04 + n * 0.04, task);
    }
    m.finish(13);
  });
  add("callback-flood", "boundary", "made ready within exactly a millisecond", burst_10, ready_within(1));
  add("callback-flood", "boundary", "made ready within a little more", "", ready_within(1.000001));
  add("callback-flood", "looks", "ten of the runtime's own", "", burst(10, 0.1, 5, "node:internal"));
  add("callback-flood", "boundary", "busy for exactly 5 ms", burst_10, [](Made& m) {
    m.root();
    for (int n = 0; n < 10; ++n) {
      const Id task = m.create(0.01, 1, "kj-promise", "on" + std::to_string(n) + " app.js:" + std::to_string(n + 1));
      m.run_created(task, 1 + n * 0.1, n == 9 ? 6 : 1.1 + n * 0.1);
      m.settle(task, 6, task);
    }
    m.finish(6);
  });

  // -- 9 fetch-concurrency --------------------------------------------------------------------------------------------
  const auto together = [](int count, bool origins, bool urls = true) {
    return [=](Made& m) {
      const Id task = begin_task(m);
      Id last = 0;
      for (int n = 0; n < count; ++n) {
        const std::string where = "https://" + std::string(origins ? std::string(1, static_cast<char>('a' + n)) : "api") + ".example/" + std::to_string(n) + "x";
        last = m.fetch(task, 0.01 * n, 30 + n, urls ? where : "", "all app.js:10");
      }
      end_task(m, task, last, 30 + count);
    };
  };
  add("fetch-concurrency", "has", "seven at once to one origin", "fetch-concurrency: 3 4 5 6 7 8 9", together(7, false));
  add("fetch-concurrency", "has", "eight at once, to where is not known", "fetch-concurrency: 3 4 5 6 7 8 9 10", together(8, false, false));
  add("fetch-concurrency", "looks", "seven at once, to seven origins", "", together(7, true));
  add("fetch-concurrency", "looks", "the seventh begins when the first ends", "", [](Made& m) {
    const Id task = begin_task(m);
    for (int n = 0; n < 6; ++n) m.fetch(task, 0.01 * n, n == 0 ? 20 : 30 + n, "https://api.example/" + std::to_string(n) + "x", "all app.js:10");
    m.run(task, 20, 20.1, CauseKind::kExternal);
    const Id last = m.fetch(task, 20, 40, "https://api.example/last", "last app.js:20");
    end_task(m, task, last, 40);
  });
  add("fetch-concurrency", "boundary", "six", "", together(6, false));

  // -- 10 unresolved --------------------------------------------------------------------------------------------------
  const auto with_open = [](std::function<void(Made&, Id)> more) {
    return [=](Made& m) {
      const Id task = begin_task(m);
      more(m, task);
      m.run(task, 19, 20, CauseKind::kExternal);
      m.settle(task, 20, task);
      m.finish(20);
    };
  };
  add("unresolved", "has", "two promises of one place that nobody settled", "unresolved: 3 4", with_open([](Made& m, Id task) {
    m.task(0.01, task, "wait app.js:7");
    m.task(0.02, task, "wait app.js:7");
  }));
  add("unresolved", "has", "one without a place, which another awaits", "unresolved: 3", with_open([](Made& m, Id task) {
    const Id open = m.task(0.01, task, "");
    m.awaits(task, open, 0.02);
  }));
  add("unresolved", "looks", "the runtime's own throwaway promises", "", with_open([](Made& m, Id task) {
    for (int n = 0; n < 5; ++n) m.task(0.01, task, "");
  }));
  add("unresolved", "looks", "an open stream, a web socket, an interval", "", with_open([](Made& m, Id task) {
    m.create(0.01, task, "stream-read", "pump app.js:7");
    m.create(0.02, task, "websocket", "open app.js:8");
    m.note(m.create(0.03, task, "timer", "tick app.js:9"), "type", "setInterval");
  }));
  add("unresolved", "looks", "events were lost: the settling may be among them", "", with_open([](Made& m, Id task) {
    m.task(0.01, task, "wait app.js:7");
    m.lose(5, 6, 12);
  }));
  add("unresolved", "looks", "destroyed without having been settled: said apart", "collected-unresolved: 3", with_open([](Made& m, Id task) {
    m.destroy(m.task(0.01, task, "wait app.js:7"), 10);
  }));
  add("unresolved", "boundary", "settled at the very moment of the request's end", "", with_open([](Made& m, Id task) {
    m.settle(m.task(0.01, task, "wait app.js:7"), 20, task);
  }));

  // -- 11 redundant-timer ---------------------------------------------------------------------------------------------
  struct T {
    double at, until;
    std::string delay, stack;
  };
  const auto timers = [](std::vector<T> set, std::string type = "") {
    return [=](Made& m) {
      const Id task = begin_task(m);
      for (const T& one : set) {
        const Id timer = m.timer(task, one.at, one.until, one.delay, one.stack);
        if (!type.empty()) m.note(timer, "type", type);
      }
      m.run(task, 40, 40.1, CauseKind::kExternal);
      m.settle(task, 40.1, task);
      m.finish(40.1);
    };
  };
  add("redundant-timer", "has", "three of 30 ms from one place", "redundant-timer: 3 4 5",
      timers({{0.01, 30, "30", "poll app.js:3"}, {0.5, 30.5, "30ms", "poll app.js:3"}, {1, 31, "30", "poll app.js:3"}}));
  add("redundant-timer", "has", "their delays are not told, and differ by under a millisecond", "redundant-timer: 3 4",
      timers({{0.01, 8.01, "", "poll app.js:3"}, {0.5, 9.4, "", "poll app.js:3"}}));
  add("redundant-timer", "has", "a debounce: cancelled and made again", "redundant-timer: 3 4 5 6", [](Made& m) {
    const Id task = begin_task(m);
    for (int n = 0; n < 4; ++n) {
      const Id timer = m.timer(task, 0.01 + n, -1, "30", "debounce app.js:3");
      m.settle(timer, 1 + n, task, n == 3 ? Outcome::kFulfilled : Outcome::kCancelled);
    }
    m.run(task, 35, 35.1, CauseKind::kExternal);
    m.settle(task, 35.1, task);
    m.finish(35.1);
  });
  add("redundant-timer", "looks", "one helper, two callers: each waits for itself", "",
      timers({{0.01, 30, "30", "sleep util.js:3, a app.js:1"}, {0.5, 30.5, "30", "sleep util.js:3, b app.js:2"}}));
  add("redundant-timer", "looks", "two delays", "", timers({{0.01, 30, "30", "poll app.js:3"}, {0.5, 20.5, "20", "poll app.js:3"}}));
  add("redundant-timer", "looks", "one begins when the other is nearly done", "", timers({{0.01, 3, "3", "poll app.js:3"}, {2, 5, "3", "poll app.js:3"}}));
  add("redundant-timer", "looks", "intervals", "", timers({{0.01, 30, "30", "poll app.js:3"}, {0.5, 30.5, "30", "poll app.js:3"}}, "setInterval"));
  add("redundant-timer", "boundary", "half of the time both run, and the second begins 5 ms later", "redundant-timer: 3 4",
      timers({{1, 11, "10", "poll app.js:3"}, {6, 16, "10", "poll app.js:3"}}));

  // -- 12 cache-miss --------------------------------------------------------------------------------------------------
  const auto lookups = [](int hits, int misses) {
    return [=](Made& m) {
      const Id task = begin_task(m);
      Id last = 0;
      for (int n = 0; n < hits + misses; ++n) {
        last = m.operation(task, 0.01, 5 + n, "cache-get", "look app.js:4");
        m.note(last, "key", "user:" + std::to_string(n));
        m.note(last, "result", n < misses ? "MISS" : "HIT");
      }
      end_task(m, task, last, 5 + hits + misses);
    };
  };
  const auto then_fetch = [](std::string cached, std::string fetched, double wait) {
    return [=](Made& m) {
      const Id task = begin_task(m);
      const Id look = m.operation(task, 0.05, 0.05 + wait, "cache-get", "look app.js:4");
      m.note(look, "url", cached);
      m.run_after(look, task, 0.05 + wait, 0.2 + wait);
      const Id got = m.fetch(task, 0.1 + wait, 20 + wait, fetched, "get app.js:9");
      m.busy(21 + wait, 300);
      end_task(m, task, got, 300);
    };
  };
  add("cache-miss", "has", "two of two miss, and say so", "cache-miss: 3 4", lookups(0, 2));
  add("cache-miss", "has", "what was looked up is fetched right after", "cache-miss: 3", then_fetch("https://a.example/x", "https://A.example/x", 5));
  add("cache-miss", "looks", "nine of ten hit", "", lookups(9, 1));
  add("cache-miss", "looks", "something else is fetched after it", "", then_fetch("https://a.example/x", "https://a.example/y", 5));
  add("cache-miss", "boundary", "a wait of exactly 50 ms, and nothing is said", "", then_fetch("https://a.example/x", "https://a.example/y", 50));
  add("cache-miss", "boundary", "a wait of over 50 ms: perhaps", "cache-miss: 3", then_fetch("https://a.example/x", "https://a.example/y", 50.1));

  // -- 13 hot-callback ------------------------------------------------------------------------------------------------
  const auto runs = [](int hot, int others, double hot_ms, double other_ms) {
    return [=](Made& m) {
      m.root();
      const Id task = m.create(0, 1, "kj-promise", "tick app.js:3");
      double at = 0.1;
      for (int n = 0; n < hot; ++n, at += hot_ms + 0.2) m.run(task, at, at + hot_ms, CauseKind::kExternal);
      m.settle(task, at, task);
      for (int n = 0; n < others; ++n, at += other_ms + 0.2) {
        const Id other = m.create(at, 1, "kj-promise", "other" + std::to_string(n % 40) + " app.js:" + std::to_string(100 + n % 40));
        m.run_created(other, at, at + other_ms);
        m.settle(other, at + other_ms, other);
      }
      m.finish(at);
    };
  };
  const auto fan_out = [](int count) {
    return [=](Made& m) {
      const Id task = m.task(0, m.root(), "each app.js:3");
      m.run_created(task, 0, 6.1);
      for (int n = 0; n < count; ++n) m.settle(m.task(n * 0.06, task, "one app.js:4"), 15, task);
      m.run(task, 15, 15.1, CauseKind::kExternal);
      m.settle(task, 15.1, task);
      m.finish(15.1);
    };
  };
  add("hot-callback", "has", "a thousand callbacks of one place", "hot-callback: 2", runs(1000, 200, 0.3, 0.1));
  add("hot-callback", "has", "fifty of 200: a quarter of all", "hot-callback: 2", runs(50, 150, 0.3, 0.1));
  add("hot-callback", "has", "one that creates 101 operations", "hot-callback: 2", fan_out(101));
  add("hot-callback", "looks", "49 of 60", "", runs(49, 11, 0.3, 0.3));
  add("hot-callback", "looks", "sixty of 200, which take next to nothing", "", runs(60, 140, 0.01, 0.3));
  add("hot-callback", "boundary", "fifty of 250: exactly a fifth", "hot-callback: 2", runs(50, 200, 0.3, 0.1));
  add("hot-callback", "boundary", "one that creates exactly 100", "", fan_out(100));
  return all;
}

}  // namespace thence_test
