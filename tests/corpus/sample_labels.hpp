// SPDX-License-Identifier: MIT
// sample_labels.hpp: what a careful reader of the async-trace samples finds in each, and why. Ids are those of the files.
//
// The samples are plain documents: no settlings, causes or links, an interval of its own for the root. So promises that
// nobody settled are seen in one of them only (in the others promises without a callback have children that ran), and what
// waited for what is known by creations and by the time between callbacks.
// Layer: tests.
#pragma once

#include <string_view>

namespace thence_test {

struct SampleLabel {
  std::string_view sample;
  std::string_view expected;  ///< "id: resources"; empty: nothing
  std::string_view reason;
};

inline constexpr SampleLabel kSampleLabels[] = {
    {"sample-antipattern-await-in-loop", "unbatched-storage: 3 9 15 21 27 33 39 45 51",
     "nine records are read one after the other by migrateRecord (28:12), with a write after each; kv has one get for many keys, no such put"},
    {"sample-antipattern-await-in-loop", "loop-block: 57", "sendResponse runs from 392.7 to 2148 ms"},
    {"sample-antipattern-n-plus-one", "sequential-fetch: 6 9 12 15 18 21 24 27 30 33 36 39 42 45 48 51 54 57 60 63",
     "one request for the page, then twenty for its users, each after the one before, from one place"},
    {"sample-antipattern-n-plus-one", "loop-block: 66", "sendResponse runs 64.8 ms"},
    {"sample-antipattern-promise-hell",
     "deep-chain: 2 3 4 5 7 8 9 10 11 12 14 15 16 17 18 19 20 22 23 24 25 26 27 28 29 31 32 33 34 35",
     "thirty anonymous callbacks, each nested in the one before"},
    {"sample-antipattern-promise-hell", "waterfall-fetch: 5 12 20", "three steps, each from a deeper callback: 279 of 425 ms"},
    {"sample-antipattern-promise-hell", "long-gap: 20", "nothing runs from 177.5 to 285 ms: 25.3 %"},
    {"sample-antipattern-promise-hell", "loop-block: 35", "the last callback runs 116 ms"},
    {"sample-antipattern-waterfall", "waterfall-fetch: 3 6 9 12 15", "profile, orders, notifications, recommendations, analytics: 779 of 892 ms"},
    {"sample-antipattern-waterfall", "loop-block: 18", "sendResponse runs 103.8 ms"},
    {"sample-antipattern-waterfall", "deep-chain: 2 3 5 6 8 9 11 12 14 15 17 18", "twelve functions, each begun by the one before"},
    {"sample-api-gateway", "", "a check, then four backends at once: 12 ms before 75 are no waterfall; sendResponse runs 46.8 ms, under 50"},
    {"sample-async-patterns", "", "a tour of patterns of awaiting, with timers only; three delays at once are three callers' own"},
    {"sample-auth-flow", "waterfall-fetch: 7 11 18 28", "password, second factor, session, audit: 166 of 245 ms, whatever is cached between"},
    {"sample-auth-flow", "deep-chain: 2 3 4 6 7 9 10 11 13 14 16 17 18 20 21 22 24 25 27 28 30", "21 functions, each begun by the one before"},
    {"sample-bad-duplicates", "duplicate-fetch: 2 4 6", "users/123 three times"},
    {"sample-bad-duplicates", "sequential-fetch: 2 4 6", "... and each after the one before, by getUser"},
    {"sample-bad-sequential", "sequential-fetch: 2 4 6", "users, products, orders by handleRequest, none of which needs another"},
    {"sample-cache-misses", "cache-miss: 4", "MISS under user/"},
    {"sample-cache-misses", "cache-miss: 8", "MISS under product/"},
    {"sample-cache-misses", "long-gap: 4", "nothing runs from 4 to 80 ms, 30 % of the request: the first of the two lookups ends it"},
    {"sample-chat-html", "", "6 ms of promises"},
    {"sample-chat-message", "deep-chain: 2 3 4 6 7 8 10 11 13 14 16 17 23", "13 functions, each begun by the one before; three deliveries at once"},
    {"sample-chat-room", "", "one request to itself"},
    {"sample-ecommerce-checkout", "waterfall-fetch: 16 19 22 25", "reserve, pay, order, mail: 663 of 892 ms"},
    {"sample-ecommerce-checkout", "long-gap: 19", "nothing runs for 454 ms while the payment is made"},
    {"sample-good-parallel", "", "three requests and a cache at once: as it should be"},
    {"sample-graphql-api", "waterfall-fetch: 5 14 31 50", "user, posts, comments, authors: 117 of 185 ms; each level needs the one above, and a loader batches each"},
    {"sample-graphql-api", "deep-chain: 2 3 4 5 7 8 11 14 20 21 26 31 33 34 42 50 52", "fifteen functions, each begun by the one before (two come again)"},
    {"sample-image-pipeline", "waterfall-fetch: 27 30 33", "record, purge, webhook: 192 of 425 ms"},
    {"sample-long-async-gaps", "long-gap: 2", "800 ms until the slow API answers"},
    {"sample-long-async-gaps", "long-gap: 6", "597 ms for the validation; between the two a timer breaks the silence"},
    {"sample-long-async-gaps", "waterfall-fetch: 2 4 6", "three services, each after the one before: 2.1 of 2.5 s"},
    {"sample-long-async-gaps", "loop-block: 8", "combineResults runs 387 ms"},
    {"sample-nextjs-ssr", "", "four requests at once, then two: 59 and 75 ms of 245; rendering in microtasks with pauses between, 39 ms at most"},
    {"sample-pathological-streams", "waterfall-fetch: 2 11 14 17 81",
     "the data, a lookup for each chunk after the one before, the webhook: 93 of 250 ms; between the lookups chunks are read, so they are no plain run"},
    {"sample-real-durable-objects", "", "9 ms of promises"},
    {"sample-real-tcp", "long-gap: 3", "308 ms before the first callback, while the socket connects"},
    {"sample-real-tcp", "long-gap: 34", "296 ms until the first bytes are read"},
    {"sample-real-web-streams-async", "", "twenty chunks, a timer of 10 ms for each stage: slow by design, nothing wasted"},
    {"sample-redundant-timers", "redundant-timer: 2 3 4", "three of 50 ms from 15:10 within a millisecond"},
    {"sample-redundant-timers", "redundant-timer: 5 6 7 8", "four of 100 ms from 25:10"},
    {"sample-redundant-timers", "loop-block: 10", "processData holds the loop from 32 to 118 ms, less what the timers took"},
    {"sample-streams-pipeline", "", "chunks of a stream, each after the one before, as streams are"},
    {"sample-trace", "", "two delays, one after the other"},
    {"sample-unresolved-promises", "unresolved: 3", "never resolved, says its annotation"},
    {"sample-unresolved-promises", "unresolved: 4", "abandoned"},
    {"sample-unresolved-promises", "unresolved: 5", "fire and forget"},
    {"sample-unresolved-promises", "unresolved: 7", "a timer that did not fire before the request ended"},
    {"sample-waterfall-fetches", "waterfall-fetch: 2 4 6 8", "user, details, orders, items, each by a function of its own: 129 of 180 ms"},
    {"sample-webhook-fanout", "", "ten deliveries at once, to ten origins"},
};

}  // namespace thence_test
