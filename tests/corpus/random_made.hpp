// SPDX-License-Identifier: MIT
// random_made.hpp: a random asynchronous program, of the kind in which patterns are found: functions that fetch, read
// stores, wait for timers and for each other, on one loop.
// Layer: tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "corpus/made.hpp"

namespace thence_test {

struct RandomMadeOptions {
  std::uint64_t seed = 1;
  int resources = 300;
  bool plain = false;
};

inline void make_random(Made& m, const RandomMadeOptions& options) {
  std::mt19937_64 random(options.seed);
  m.plain = options.plain;
  const auto below = [&](std::uint64_t n) { return static_cast<int>(random() % n); };
  const auto pick = [&](const auto& all) { return all[random() % all.size()]; };
  const std::vector<std::string> stacks{"load app.js:10, handle app.js:1", "load app.js:11, handle app.js:1", "fetch app.js:20, user app.js:19",
                                        "fetch app.js:30, orders app.js:29", "read store.js:7", "write store.js:9", "tick app.js:40",
                                        "<anonymous> app.js:50", "<anonymous> app.js:51", "run node:internal:3", "", "step app.js:60, run node:x:1"};
  const std::vector<std::string> urls{"https://a.example/x", "https://A.example:443/x#y", "https://a.example/y?n=1", "https://b.example/x", "", "https://a.example/k?z=***"};
  const std::vector<std::string> types{"fetch", "fetch", "fetch", "kv-get", "kv-get", "kv-put", "d1-query", "cache-get", "timer", "stream-read", "crypto"};
  // Whole steps of 10 us, so that many things happen at one moment.
  const auto steps = [](int count) { return count * 0.01; };
  struct Op {
    Id id;
    double done;
    Id task;
  };
  std::vector<Op> waiting;
  std::vector<Id> tasks;
  std::vector<Id> fresh;
  std::vector<Id> open;
  double at = 0;
  int made = 1;
  const Id root = m.root();
  fresh.push_back(m.task(0, root, stacks[0]));
  while (made < options.resources) {
    Id task = 0;
    Op after{0, 0, 0};
    if (!waiting.empty() && (fresh.empty() || below(3) != 0)) {
      const auto first = std::min_element(waiting.begin(), waiting.end(), [](const Op& a, const Op& b) { return a.done < b.done; });
      after = *first;
      waiting.erase(first);
      task = after.task;
      at = std::max(at, after.done);
    } else if (!fresh.empty()) {
      task = fresh.back();
      fresh.pop_back();
    } else {
      task = m.task(at, root, pick(stacks));
      ++made;
    }
    const int long_run = below(60);
    const double end = at + steps(long_run == 0 ? 5500 : long_run < 4 ? 200 + below(600) : 1 + below(20));
    // What it does, at moments within.
    const int deeds = below(5) == 0 ? 8 : below(3);
    for (int n = 0; n < deeds && made < options.resources; ++n) {
      const double moment = std::min(end, at + steps(below(4)));
      switch (below(6)) {
        case 0:
        case 1: {
          const Id child = m.task(moment, task, pick(stacks));
          ++made;
          fresh.push_back(child);
          open.push_back(child);
          if (below(2) == 0) m.awaits(task, child, moment);
          break;
        }
        case 2:
          if (!open.empty()) {
            const std::size_t which = random() % open.size();
            m.settle(open[which], moment, task, below(9) == 0 ? Outcome::kRejected : Outcome::kFulfilled);
            open.erase(open.begin() + static_cast<std::ptrdiff_t>(which));
          }
          break;
        default: {
          const int copies = below(6) == 0 ? 3 + below(6) : 1;
          const std::string type = pick(types);
          const std::string stack = type == "fetch" ? stacks[static_cast<std::size_t>(below(4))] : pick(stacks);
          for (int copy = 0; copy < copies && made < options.resources; ++copy) {
            const double done = below(40) == 0 ? -1 : moment + steps(below(3) == 0 ? 2000 + below(4000) : 1 + below(1500));
            const Id id = m.operation(task, moment, done, type, stack);
            ++made;
            if (type == "fetch") {
              if (const std::string where = pick(urls); !where.empty()) m.note(id, "url", where);
              if (below(6) == 0) m.note(id, "method", "POST");
            } else if (type == "timer") {
              m.note(id, "delay", std::string(below(2) == 0 ? "30" : "20ms"));
            } else if (type == "cache-get") {
              m.note(id, below(2) == 0 ? "url" : "key", pick(urls));
              if (below(3) == 0) m.note(id, "result", std::string(below(2) == 0 ? "MISS" : "hit"));
            } else if (below(4) == 0) {
              m.note(id, "binding", std::string(1, static_cast<char>('A' + below(2))));
            }
            if (done >= 0) waiting.push_back({id, done, below(3) == 0 ? m.task(moment, task, pick(stacks)) : task});
          }
          break;
        }
      }
    }
    if (after.id != 0) {
      m.run_after(after.id, task, at, end);
    } else {
      m.run_created(task, at, end);
    }
    tasks.push_back(task);
    constexpr int pauses[] = {0, 0, 1, 5, 20, 300};
    at = end + steps(pauses[below(6)]);
  }
  m.finish(at);
}

}  // namespace thence_test
