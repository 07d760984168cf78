// SPDX-License-Identifier: MIT
// The JSON report of a trace told by hand, against figures counted by hand: each under its own name, in its own unit.
#include "thence/analysis/json_report.hpp"

#include <cstdint>
#include <string>
#include <string_view>

#include "analysis/event_script.hpp"
#include "support/catch.hpp"
#include "thence/analysis/analysis.hpp"
#include "thence/wire/byte_sink.hpp"
#include "thence/wire/json_writer.hpp"

using namespace thence;
using thence_test::EventScript;

namespace {

constexpr std::uint64_t us(std::uint64_t count) { return count * 1000; }
constexpr std::uint64_t ms(std::uint64_t count) { return count * 1'000'000; }

/// Two requests on worker 0; the first one's answer, of 41 ms, is there at 52 ms, and waits until 100 for the second one's
/// callback, which spins for 60 with another of 5 in it. A task ticks on worker 1, and is made ready twice more than needed.
std::string report() {
  EventScript told;
  told.lane(1, "worker 0").lane(2, "worker 1");
  told.stack(1, "load", "app.js", 7).stack(2, "save", "app.js", 9).stack(3, "spin", "app.js", 30).stack(4, "step", "app.js", 50).stack(5, "tick", "app.js", 70);
  const auto settled = [&](std::uint64_t id, std::uint64_t time) { told.settled(id, time, Outcome::kFulfilled, Actor::kInvocation, id, 1); };
  // The later request has the lower root, so that what people call 1 is not row 0.
  told.created(1, ms(10), {.type = "root", .root = 5, .lane = 1}).entered(1, ms(10), 1);
  told.created(2, ms(11), {.type = "fetch", .trigger = 1, .root = 5, .stack = 1, .lane = 1});
  told.created(3, us(11'500), {.type = "kv-get", .trigger = 1, .root = 5, .stack = 2, .lane = 1});
  told.exited(1, ms(12), 1).awaits(2, 3, ms(12)).settled(3, ms(20), Outcome::kRejected).settled(2, ms(52));
  told.parked(ms(10), ms(30), 2).paused(ms(31), ms(33), 2);

  told.created(90, ms(38), {.type = "root", .root = 3, .lane = 1}).entered(90, ms(38), 1);
  told.created(91, us(38'500), {.type = "js-promise", .trigger = 90, .root = 3, .stack = 3, .lane = 1});
  for (const std::uint64_t timer : {std::uint64_t{93}, std::uint64_t{94}}) {
    told.created(timer, us(38'600), {.type = "timer", .trigger = 90, .root = 3, .stack = 2, .lane = 1});
    told.settled(timer, us(38'900), Outcome::kCancelled);
  }
  told.created(95, us(38'700), {.type = "js-promise", .trigger = 90, .root = 3, .stack = 2, .lane = 1}).exited(90, ms(39), 1);
  told.entered(91, ms(40), 1, CauseKind::kCreated);
  told.created(92, ms(50), {.type = "js-promise", .trigger = 91, .root = 3, .stack = 4, .lane = 1});
  told.entered(92, ms(60), 1, CauseKind::kCreated).exited(92, ms(65), 1);
  settled(92, ms(65));
  told.exited(91, ms(100), 1);
  settled(91, ms(100));
  told.settled(90, ms(100), Outcome::kFulfilled, Actor::kInvocation, 91, 1).finished(90, 3, ms(100), 1);

  told.entered(2, ms(100), 1, CauseKind::kExternal, 2).exited(2, ms(105), 1);
  told.settled(1, ms(105), Outcome::kFulfilled, Actor::kInvocation, 2, 1).finished(1, 5, ms(105), 1);

  told.created(96, ms(34), {.type = "js-promise", .stack = 5, .lane = 2}).wake(96, ms(36), 0, 2).wake(96, ms(38), 0, 2).wake(96, ms(39), 0, 2).ran(96, ms(40), ms(43), 2);
  told.wake(96, ms(100), 96, 2).ran(96, ms(120), ms(121), 1);
  settled(96, ms(121));
  told.created(97, ms(110), {.type = "js-promise", .trigger = 999, .stack = 5}).ran(97, ms(115), ms(116), 2);
  settled(97, ms(116));

  told.sample(ms(45), 1, 3).sample(ms(55), 1, 3).sample(ms(20), 2, 5).sample(ms(34), 2, 5).sample(us(34'500), 2, 5);
  told.lost(7, ms(111), ms(113), 2);

  const TraceModel model = told.model();
  Analysis all(model);
  BufferSink sink;
  JsonWriter json{sink};
  write_json(json, all);
  json.flush();
  std::string text;
  for (const auto byte : sink.bytes()) {
    if (static_cast<char>(byte) != '\n') text += static_cast<char>(byte);
  }
  return text;
}

const std::string& text() {
  static const std::string made = report();
  return made;
}
void has(std::string_view part) {
  INFO(part);
  INFO(text());
  CHECK(text().find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("a request bears its times, its path, its bounds and its silence") {
  has(R"("n":1,"resource":1,"type":"root","start_ns":10000000,"duration_ns":95000000,"ended":true)");
  has(R"("by_kind":{"exec":6000000,"wait":41000000,"blocked":48000000})");
  has(R"({"kind":"wait","type":"fetch","ns":41000000,"count":1})");
  has(R"({"kind":"blocked","type":"js-promise","ns":48000000,"count":3})");
  // Without the fetch its callback would still follow what it awaits, at 20 ms: 37 less than the 57 at which it could end.
  has(R"({"resource":2,"type":"fetch","location":"load @ app.js:7","on_path_ns":46000000,"saving_ns":37000000})");
  has(R"({"start_ns":65000000,"end_ns":100000000,"kind":"blocked","resource":91,"type":"js-promise","location":"spin @ app.js:30","delayed":2})");
  has(R"({"start_ns":38000000,"end_ns":39000000,"kind":"exec","resource":90,"type":"root","contention":true})");
  has(R"({"start_ns":40000000,"end_ns":60000000,"kind":"exec","resource":91,"type":"js-promise","location":"spin @ app.js:30"})");
  has(R"("elapsed_ns":95000000,"running_ns":6000000,"blocked_ns":48000000,"waiting_ns":41000000,"scheduling_ns":0,"unknown_ns":0,"waits":[{"resource":2,)");
  has(R"("observed_ns":95000000,"dependency_ns":47000000,"lane_ns":6500000,"ideal_ns":47000000,"exec_ns":7000000,"operations_ns":49500000,"efficiency_permille":495,"concurrency_milli":595)");
  has(R"("idle_ns":88000000,"busy_ns":7000000,"shown":[{"start_ns":12000000,"end_ns":100000000,"cause":"scheduling","in_flight":2,"others_ran_ns":61000000,)");
}

TEST_CASE("bottlenecks bear what was on the path, what was not, and how near it came") {
  has(R"({"type":"fetch","location":"load @ app.js:7","first":2,"count":1,"ns":46000000,"share_permille":484,"saving_ns":37000000})");
  has(R"("off_path":[{"resource":3,"type":"kv-get","location":"save @ app.js:9","wait_ns":8500000}],"runner_up":3,"runner_up_slack_ns":32000000)");
}

TEST_CASE("a finding bears its place, its request as people count, and each fact in its unit") {
  has(R"("location":"spin @ app.js:30","file":"app.js","line":30,"request":2,"lane":"worker 0","start_ns":40000000,"end_ns":100000000,"resources":[91],"evidence":[{"name":"longest","ns":55000000},{"name":"in all","ns":55000000},{"name":"times","count":1})");
  has(R"({"name":"idle","ns":88000000},{"name":"share","permille":926},{"name":"ended by","text":"scheduling"})");
}

TEST_CASE("scheduling bears delays, lanes, places, who was blocked by whom, and what samplers saw") {
  has(R"("runs":8,"delays_unknown":1,"delays":{"n":7,"sum_ns":83500000,"mean_ns":11928571,"min_ns":0,"p50_ns":4000000,"max_ns":48000000})");
  has(R"("durations":{"n":8,"sum_ns":78000000,"mean_ns":9750000,"min_ns":1000000,"p50_ns":2000000,"max_ns":60000000})");
  has(R"("duration_histogram":[{"from_ns":524288,"count":3},{"from_ns":1048576,"count":1},{"from_ns":2097152,"count":1},{"from_ns":4194304,"count":2},{"from_ns":33554432,"count":1}])");
  has(R"("wakes":4,"wakes_again":2,"self_wakes":1,"over_limit":2,"over_limit_ns":68000000)");
  has(R"({"lane":"worker 1","first_ns":10000000,"last_ns":116000000,"runs":2,"busy_ns":4000000,"parked_ns":20000000,"paused_ns":2000000,"neither_ns":80000000,"parks_known":true)");
  has(R"({"location":"tick @ app.js:70","tasks":2,"runs":3,"busy_ns":5000000,"self_wakes":1,"blamed_ns":0)");
  has(R"({"name":"worker","lanes":2,"least_busy_permille":36,"most_busy_permille":622})");
  has(R"("ready_ns":52000000,"delay_ns":48000000,"blocked_by":[{"location":"spin @ app.js:30","ns":43000000,"runs":2},{"location":"step @ app.js:50","ns":5000000,"runs":1}],"others_ns":0,"parked_ns":0,"paused_ns":0,"idle_ns":0,"samples":1,"most_sampled":["spin @ app.js:30"],"moved":false})");
  has(R"("ready_ns":100000000,"delay_ns":20000000,"blocked_by":[{"location":"load @ app.js:7","ns":5000000,"runs":1}],"others_ns":0,"parked_ns":0,"paused_ns":0,"idle_ns":15000000,"samples":0,"moved":true})");
  has(R"({"kind":"cpu","state":"running","location":"spin @ app.js:30","count":2,"while_delayed":1,)");
  has(R"({"kind":"cpu","state":"parked","count":1,"while_delayed":0,)");
  has(R"({"kind":"cpu","state":"neither","count":2,"while_delayed":0,)");
}

TEST_CASE("the event loop bears calls, turns, lags and how tasks ended") {
  has(R"("blocking":0,"slow":1,"calls":[{"resource":91,"type":"js-promise","lane":"worker 0","start_ns":40000000,"held_ns":60000000,"self_ns":55000000,"blocking":false,"location":"spin @ app.js:30","samples":2,"stack_of":"sampled","stack":["spin @ app.js:30"]}])");
  // Turns of 1, 1, 2, 5 and 60 ms in 111: at half of all moments a turn has 4.75 ms or more to go, 55.25 + 0.25 of 111.
  has(R"({"lane":"worker 0","window_ns":111000000,"turns":5,"over":1,"late_ns":50000000,"p50_ns":4750000,"p99_ns":58890000,"p999_ns":59889000,"max_ns":60000000)");
  has(R"("lags_over":1,"lags":[{"lane":"worker 0","start_ns":40000000,"lag_ns":60000000,"reported":false,"runs":2,"resource":91,"location":"spin @ app.js:30","culprit_ns":55000000}])");
  has(R"("tasks":{"created":11,"fulfilled":7,"rejected":1,"cancelled":2,"settled_unknown":0,"ended_unsaid":0,"not_told":0,"pending":1,"pending_since_ns":38700000,"oldest":95)");
}

TEST_CASE("coverage bears what was recorded of how much, what was lost and what had to be repaired") {
  has(R"("settles":{"have":10,"of":11})");
  has(R"("cpu-samples":{"have":5})");
  has(R"("lost":7,"losses":[{"lane":"worker 1","count":7,"first_ns":111000000,"last_ns":113000000}])");
  has(R"("orphans":1,"edges_dropped":0,"skew":0,"open_invocations":0)");
  has(R"("unknown_creations":1,"repeated":0,"exits_unmatched":0,"malformed":0,"causes_unknown":1,"causes_inferred":0)");
}
