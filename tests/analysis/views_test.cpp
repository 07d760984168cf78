// SPDX-License-Identifier: MIT
// Units, groups, temporal edges, Sankey, arcs, phase space, latencies, bottlenecks and anomalies: against second, naive
// implementations on random programs, and against what must hold of any.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "corpus/made.hpp"
#include "corpus/random_made.hpp"
#include "support/catch.hpp"
#include "thence/analysis/anomalies.hpp"
#include "thence/analysis/arcs.hpp"
#include "thence/analysis/bottlenecks.hpp"
#include "thence/analysis/latency.hpp"
#include "thence/analysis/phase_space.hpp"
#include "thence/analysis/sankey.hpp"
#include "thence/analysis/temporal_edges.hpp"

namespace {

using namespace thence;
using namespace thence_test;

constexpr std::uint32_t kNone = TraceModel::kNone;

template <class Each>
void on_random_programs(int count, Each&& each) {
  for (int seed = 1; seed <= count; ++seed) {
    Made made;
    RandomMadeOptions options;
    options.seed = static_cast<std::uint64_t>(seed);
    options.resources = 20 + seed * 480 / count;
    options.plain = seed % 4 == 0;
    make_random(made, options);
    const TraceModel model = made.model();
    Analysed in(model);
    INFO("seed " << seed);
    each(in);
  }
}

std::string frames_of(const TraceModel& model, std::uint32_t row) {
  std::string text;
  if (model.stack[row] == kNone) return text;
  for (const std::uint32_t frame : model.frames_of(model.stack[row])) {
    text += std::string(model.text(model.frames[frame].function)) + "@" + std::string(model.text(model.frames[frame].file)) + ":" +
            std::to_string(model.frames[frame].line) + ";";
  }
  return text;
}

}  // namespace

TEST_CASE("a unit waits until the first callback of its parts, else until it was settled; unknown is not zero") {
  on_random_programs(40, [](Analysed& in) {
    std::size_t units = 0;
    std::uint64_t exec = 0;
    for (std::uint32_t row = 0; row < in.model.resources(); ++row) {
      if (in.run.unit[row] != row || in.run.class_of(row) == TypeClass::kRoot) continue;
      ++units;
      REQUIRE(in.units.is_unit(row));
      std::uint64_t created = ~std::uint64_t{0}, first = ~std::uint64_t{0}, settled = ~std::uint64_t{0}, self = 0;
      for (std::uint32_t part = 0; part < in.model.resources(); ++part) {
        if (in.run.unit[part] != row) continue;
        created = std::min(created, in.model.created[part]);
        if (in.run.settle_known[part]) settled = std::min(settled, in.run.settled[part]);
        for (std::uint32_t at = 0; at < in.model.invocations.size(); ++at) {
          if (in.model.invocations[at].resource != part || in.run.is_span(at)) continue;
          first = std::min(first, in.run.start(at));
          self += in.run.self[at];
        }
      }
      exec += self;
      CHECK(in.units.exec[row] == self);
      const bool known = first != ~std::uint64_t{0} || settled != ~std::uint64_t{0};
      CHECK(in.units.wait_known[row] == known);
      if (known) CHECK(in.units.wait[row] == (first != ~std::uint64_t{0} ? first : settled) - created);
    }
    CHECK(units == in.units.rows.size());
    std::uint64_t all = 0;
    for (std::uint32_t at = 0; at < in.model.invocations.size(); ++at) {
      if (!in.run.is_span(at) && in.units.is_unit(in.run.unit[in.run.resource_of(at)])) all += in.run.self[at];
    }
    CHECK(exec == all);
  });
}

TEST_CASE("groups partition the units: cousins by the keys of all their ancestors, siblings by the callback that made them") {
  on_random_programs(40, [](Analysed& in) {
    // Naive: the key of a unit is the text of the keys above it.
    std::map<std::uint32_t, std::string> key;
    for (const std::uint32_t unit : in.units.rows) {
      const std::uint32_t parent = in.units.parent[unit];
      std::string text = parent == kNone ? "request " + std::to_string(in.run.request[unit]) : key[parent];
      const std::string frames = in.run.visible.user_frame(in.model, unit) == kNone ? "" : frames_of(in.model, unit);
      key[unit] = text + "/" + std::to_string(in.model.type[unit]) + " " + frames;
    }
    for (const std::uint32_t a : in.units.rows) {
      for (const std::uint32_t b : in.units.rows) {
        if ((in.groups.of[a] == in.groups.of[b]) != (key[a] == key[b])) FAIL(key[a] << " and " << key[b]);
      }
    }
    GroupSettings alone;
    alone.cousins = false;
    const Groups siblings = groups_of(in.run, in.units, alone);
    const Groups* const both[] = {&in.groups, &siblings};
    for (const Groups* groups : both) {
      std::size_t members = 0;
      for (std::uint32_t at = 0; at < groups->all.size(); ++at) {
        const Groups::Group& group = groups->all[at];
        CHECK(group.members == groups->members[at].size());
        members += group.members;
        // The most at once, by asking at every beginning.
        std::uint32_t most = 0;
        std::uint64_t sum = 0;
        for (const std::uint32_t unit : groups->members[at]) {
          std::uint32_t open = 0;
          for (const std::uint32_t other : groups->members[at]) {
            if (in.units.created[other] <= in.units.created[unit] && in.units.finish[other] > in.units.created[unit]) ++open;
          }
          most = std::max(most, open);
          if (in.units.wait_known[unit]) sum += in.units.wait[unit];
        }
        const statistics::Summary wait = groups->wait_of(group);
        CHECK(wait.sum == sum);
        CHECK(group.wait_ns == sum);
        CHECK(groups->exec_of(group).n == group.members);
        CHECK(group.most_at_once == std::max(most, 1u));
        if (wait.n != 0) {
          const auto of = groups->members[at];
          CHECK(std::any_of(of.begin(), of.end(), [&](std::uint32_t unit) { return in.units.wait_known[unit] && in.units.wait[unit] == wait.p50; }));
        }
      }
      CHECK(members == in.units.rows.size());
    }
    for (const std::uint32_t a : in.units.rows) {
      for (const std::uint32_t b : in.units.rows) {
        if (siblings.of[a] != siblings.of[b]) continue;
        CHECK(in.units.parent[a] == in.units.parent[b]);
        CHECK(in.model.type[a] == in.model.type[b]);
        const bool named = in.run.visible.user_frame(in.model, a) != kNone;
        CHECK(named == (in.run.visible.user_frame(in.model, b) != kNone));
        if (named) CHECK(frames_of(in.model, a) == frames_of(in.model, b));
        // Whose parent's callback is known came of the same one; the others close to each other.
        const std::uint32_t x = in.run.creator[in.units.first[a]], y = in.run.creator[in.units.first[b]];
        const std::uint32_t parent = in.normal.parent[in.units.first[a]];
        const auto of_parent = [&](std::uint32_t by) { return by != kNone && in.run.unit[in.run.resource_of(by)] == in.run.unit[parent]; };
        CHECK(of_parent(x) == of_parent(y));
        if (of_parent(x)) CHECK(x == y);
      }
    }
  });
}

TEST_CASE("cousins of cousins meet: of 26 come 38 to 41, of those two each, and the groups are of four and of eight") {
  // The example of the async trace viewer. It loses the eight, and those who are alone below their parents.
  Made made;
  const Id root = made.root();
  const Id top = made.task(0, root, "list app.js:26");
  made.run_created(top, 0, 1);
  std::vector<Id> rows;
  for (int n = 0; n < 4; ++n) rows.push_back(made.task(0.1, top, "row app.js:38"));
  double at = 1;
  for (const Id row : rows) {
    made.run_created(row, at, at + 0.5);
    for (int n = 0; n < 2; ++n) made.settle(made.task(at + 0.1, row, "cell app.js:44"), at + 0.2, row);
    made.settle(row, at + 0.5, row);
    at += 1;
  }
  made.settle(top, 9, top);
  made.finish(9);
  const TraceModel model = made.model();
  Analysed in(model);
  std::vector<std::uint32_t> sizes;
  for (const Groups::Group& group : in.groups.all) sizes.push_back(group.members);
  CHECK(sizes == std::vector<std::uint32_t>{1, 4, 8});
  CHECK(in.groups.all[1].confidence == Confidence::kHigh);    // siblings of one stack
  CHECK(in.groups.all[2].confidence == Confidence::kMedium);  // cousins
  GroupSettings alone;
  alone.cousins = false;
  sizes.clear();
  for (const Groups::Group& group : groups_of(in.run, in.units, alone).all) sizes.push_back(group.members);
  CHECK(sizes == std::vector<std::uint32_t>{1, 4, 2, 2, 2, 2});
}

TEST_CASE("a temporal edge goes from what contains a callback's beginning, else from what ended at most 100 us before") {
  on_random_programs(40, [](Analysed& in) {
    const ResourceTree tree(in.normal);
    std::map<std::uint32_t, std::pair<std::uint32_t, std::uint64_t>> got;
    for (const TemporalEdge& edge : temporal_edges(in.run, tree)) {
      CHECK(got.find(edge.to) == got.end());
      got[edge.to] = {edge.from, edge.delay_ns};
    }
    const auto is_ancestor = [&](std::uint32_t above, std::uint32_t row) {
      for (std::uint32_t at = row; at != kNone; at = in.normal.parent[at]) {
        if (at == above) return true;
      }
      return false;
    };
    for (std::uint32_t b = 0; b < in.model.invocations.size(); ++b) {
      if (in.run.is_span(b)) continue;
      std::uint32_t from = kNone;
      std::uint64_t delay = 0;
      if (in.run.container[b] != kNone) {
        from = in.run.container[b];
      } else {
        // Of those on the lane that began before it and are over: which ended last.
        for (std::uint32_t a = 0; a < in.model.invocations.size(); ++a) {
          if (a == b || in.run.is_span(a) || in.run.lane[a] != in.run.lane[b] || in.run.end(a) > in.run.start(b)) continue;
          if (in.run.start(a) == in.run.end(a) || (in.run.start(a) == in.run.start(b) && a > b)) continue;
          if (from == kNone || in.run.end(a) > in.run.end(from) || (in.run.end(a) == in.run.end(from) && in.run.start(a) >= in.run.start(from))) from = a;
        }
        if (from != kNone) delay = in.run.start(b) - in.run.end(from);
        if (delay > 100'000) from = kNone;
      }
      const bool told = !in.run.cause[b].inferred && in.run.cause[b].kind != CauseOf::kCalled && in.run.cause[b].invocation == from;
      if (from != kNone && (told || is_ancestor(in.run.resource_of(from), in.run.resource_of(b)))) from = kNone;
      CHECK((got.find(b) != got.end()) == (from != kNone));
      if (from != kNone && got.find(b) != got.end()) CHECK(got[b] == std::make_pair(from, delay));
    }
  });
}

TEST_CASE("what flows into a stage of the Sankey flows out of it, and every unit is in it once") {
  on_random_programs(40, [](Analysed& in) {
    const Sankey flow = sankey_of(in.units);
    for (std::size_t stage = 0; stage < kLifeStages; ++stage) {
      std::uint64_t in_count = 0, out_count = 0, in_time = 0, out_time = 0;
      for (std::size_t other = 0; other < kLifeStages; ++other) {
        in_count += flow.links[other][stage].count;
        in_time += flow.links[other][stage].time_ns;
        out_count += flow.links[stage][other].count;
        out_time += flow.links[stage][other].time_ns;
      }
      const auto which = static_cast<LifeStage>(stage);
      if (which == LifeStage::kCreated) CHECK(out_count == in.units.rows.size());
      if (which == LifeStage::kCreated || which == LifeStage::kDestroyed || which == LifeStage::kAlive || which == LifeStage::kLeaked) continue;
      CHECK(in_count == out_count);
      CHECK(in_time == out_time);
    }
    std::uint64_t leaked = 0;
    std::uint64_t unrun = 0;
    for (const std::uint32_t unit : in.units.rows) {
      bool awaited = false;
      for (const TraceModel::Link& link : in.model.links) {
        if (link.kind == LinkKind::kAwaits && in.run.unit[link.cause] == unit && in.run.unit[link.effect] != unit) awaited = true;
      }
      if (in.run.open(unit) && awaited) ++leaked;
      if (in.model.invocations_of(unit).empty() && in.run.settle_known[unit]) ++unrun;
    }
    CHECK(flow.between(LifeStage::kRan, LifeStage::kLeaked).count + flow.between(LifeStage::kNeverSettled, LifeStage::kLeaked).count == leaked);
    CHECK(flow.between(LifeStage::kWaited, LifeStage::kSettledUnrun).count + flow.between(LifeStage::kReadyAtOnce, LifeStage::kSettledUnrun).count == unrun);
  });
}

TEST_CASE("arcs count every edge once, drawn or not, and the heaviest are drawn") {
  on_random_programs(20, [](Analysed& in) {
    std::map<std::tuple<std::uint32_t, std::uint32_t, bool>, std::uint64_t> cells;
    std::uint64_t edges = 0;
    const auto pixel = [&](std::uint64_t time) {
      const double share = static_cast<double>(time - in.model.first_time) / static_cast<double>(in.model.last_time - in.model.first_time);
      return std::min(static_cast<std::uint32_t>(share * 100), 99u);
    };
    for (std::uint32_t row = 0; row < in.model.resources(); ++row) {
      const std::uint32_t above[] = {in.normal.parent[row], in.run.settler[row] == kNone ? kNone : in.run.resource_of(in.run.settler[row])};
      for (int side = 0; side < 2; ++side) {
        if (above[side] == kNone || above[side] == row) continue;
        ++edges;
        ++cells[{pixel(in.model.created[above[side]]), pixel(in.model.created[row]), side == 1}];
      }
    }
    ArcSettings settings;
    settings.pixels = 100;
    settings.most = 50;
    const ArcDiagram arcs = arcs_of(in.run, settings);
    std::uint64_t drawn = 0;
    for (const ArcDiagram::Arc& arc : arcs.drawn) {
      drawn += arc.count;
      CHECK(cells[{arc.from_pixel, arc.to_pixel, arc.settles}] == arc.count);
    }
    CHECK(drawn + arcs.not_drawn == edges);
    CHECK(arcs.drawn.size() == std::min<std::size_t>(50, cells.size()));
    for (std::size_t at = 1; at < arcs.drawn.size(); ++at) CHECK(arcs.drawn[at - 1].count >= arcs.drawn[at].count);
  });
}

TEST_CASE("the plane of waits and runs has every unit whose wait is known once, as a point or in a hexagon") {
  on_random_programs(20, [](Analysed& in) {
    const PhaseSpace plane = phase_space_of(in.run, in.units);
    CHECK(plane.points.size() + plane.wait_unknown == in.units.rows.size());
    CHECK(plane.bins.empty());
    std::uint64_t slow = 0;
    for (const PhaseSpace::Point& point : plane.points) {
      std::uint64_t below = 0;
      for (const PhaseSpace::Point& other : plane.points) below += other.wait <= point.wait ? 1 : 0;
      if (point.wait > plane.wait_line) ++slow;
      // The line is the p90: at least nine tenths do not exceed it.
      if (point.wait == plane.wait_line) CHECK(below * 10 >= plane.points.size() * 9);
    }
    CHECK(slow * 10 <= plane.points.size());
    CHECK(plane.counts[1] + plane.counts[3] == slow);
    PhaseSpaceSettings few;
    few.most_points = 10;
    few.extremes = 3;
    const PhaseSpace binned = phase_space_of(in.run, in.units, {}, few);
    if (plane.points.size() <= 10) return;
    std::uint64_t counted = 0;
    for (const PhaseSpace::Bin& bin : binned.bins) counted += bin.count;
    CHECK(counted == plane.points.size());
    CHECK(binned.points.size() <= 6);
    CHECK(binned.points.size() >= 3);
    std::uint64_t longest = 0;
    for (const PhaseSpace::Point& point : plane.points) longest = std::max(longest, point.wait);
    CHECK(std::any_of(binned.points.begin(), binned.points.end(), [&](const PhaseSpace::Point& point) { return point.wait == longest; }));
  });
}

TEST_CASE("latencies by place add up, their percentiles are units, and a queue shows as a trend among siblings") {
  on_random_programs(20, [](Analysed& in) {
    const LatencyReport latency = latency_of(in.run, in.units, in.where);
    std::uint64_t rows = 0;
    for (const LatencyGroup& group : latency.by_location) {
      std::vector<std::uint64_t> waits;
      for (const std::uint32_t unit : in.units.rows) {
        if (in.units.wait_known[unit] && in.where.of[unit] == group.location) waits.push_back(in.units.wait[unit]);
      }
      std::sort(waits.begin(), waits.end());
      const auto got = latency.waits_of(group);
      CHECK(std::vector<std::uint64_t>(got.begin(), got.end()) == waits);
      CHECK(in.units.wait[latency.row_at(group, 0.5)] == group.wait.p50);
      rows += waits.size();
    }
    CHECK(rows + latency.location_unknown + latency.wait_unknown == in.units.rows.size());
    for (std::size_t at = 1; at < latency.by_location.size(); ++at) CHECK(latency.by_location[at - 1].wait.sum >= latency.by_location[at].wait.sum);
  });
  Made made;
  const Id task = made.task(0, made.root(), "all app.js:1");
  made.run_created(task, 0, 1);
  for (int n = 0; n < 20; ++n) made.fetch(task, 0.01 * n, 5 + 3 * n, "", "one app.js:2");
  made.run(task, 70, 71, CauseKind::kExternal);
  made.settle(task, 71, task);
  made.finish(71);
  const TraceModel model = made.model();
  Analysed in(model);
  const LatencyReport latency = latency_of(in.run, in.units, in.where);
  REQUIRE(latency.birth_orders.size() == 1);
  CHECK(model.id[latency.birth_orders[0].parent] == task);
  CHECK(latency.birth_orders[0].trend.correlation.rho == 1);
  CHECK(std::fabs(*latency.birth_orders[0].trend.slope - 2'990'000) < 1);  // 3 ms each, less the 10 us by which it began later
}

TEST_CASE("the bottlenecks are the groups with most time on the path, and what is off it is no bottleneck") {
  on_random_programs(30, [](Analysed& in) {
    if (in.run.requests.empty()) return;
    const RowIndex by_request = units_by_request(in.run, in.units);
    const Bottlenecks top = bottlenecks_of(in.context, by_request, wrappers_of(in.run, in.units), 0);
    std::map<std::pair<std::uint16_t, std::uint32_t>, std::uint64_t> totals;
    for (const PathSegment& part : in.paths.of(0)) {
      if (part.resource == kNone || part.unnamed) continue;
      if (part.kind != PathKind::kExec && part.kind != PathKind::kWait && part.kind != PathKind::kQueue) continue;
      const std::uint32_t unit = in.run.unit[part.resource];
      if (in.units.is_unit(unit) && in.run.request[unit] == 0) totals[{in.model.type[unit], in.where.of[unit]}] += part.length();
    }
    std::vector<std::uint64_t> sorted;
    for (const auto& [key, total] : totals) sorted.push_back(total);
    std::sort(sorted.rbegin(), sorted.rend());
    CHECK(top.groups == totals.size());
    REQUIRE(top.on_path.size() == std::min<std::size_t>(5, sorted.size()));
    for (std::size_t at = 0; at < top.on_path.size(); ++at) {
      CHECK(top.on_path[at].total_ns == sorted[at]);
      CHECK(totals[{top.on_path[at].type, top.on_path[at].location}] == sorted[at]);
      CHECK(top.on_path[at].saving_ns <= in.run.requests[0].duration());
    }
    std::vector<std::uint64_t> waits;
    for (const std::uint32_t unit : in.units.rows) {
      if (in.run.request[unit] != 0 || in.context.on_path[unit] != 0 || !in.units.wait_known[unit] || in.units.wait[unit] == 0) continue;
      bool has_child = false, sticks_out = false;
      for (const std::uint32_t other : in.units.rows) {
        if (in.units.parent[other] != unit) continue;
        has_child = true;
        if (in.units.created[other] < in.units.created[unit] || in.units.finish[other] > in.units.finish[unit]) sticks_out = true;
      }
      if (in.run.class_of(unit) == TypeClass::kPromise && has_child && !sticks_out) continue;
      waits.push_back(in.units.wait[unit]);
    }
    std::sort(waits.rbegin(), waits.rend());
    waits.resize(std::min<std::size_t>(5, waits.size()));
    std::vector<std::uint64_t> got;
    for (const Bottlenecks::Wait& wait : top.off_path) got.push_back(wait.wait_ns);
    CHECK(got == waits);
  });
}

TEST_CASE("an operation is odd among at least eight of its kind, by its logarithm, and one that never settles among settled ones") {
  on_random_programs(30, [](Analysed& in) {
    const std::vector<Anomaly> found = anomalies_of(in.run, in.units, in.where, in.gaps);
    for (const AnomalyKind kind : {AnomalyKind::kLongWait, AnomalyKind::kLongExec}) {
      std::set<std::uint32_t> wanted;
      for (const std::uint32_t unit : in.units.rows) {
        const auto has = [&](std::uint32_t other) {
          return kind == AnomalyKind::kLongWait ? in.units.wait_known[other] != 0 : in.units.callbacks[other] != 0;
        };
        const auto value = [&](std::uint32_t other) {
          const std::uint64_t ns = kind == AnomalyKind::kLongWait ? in.units.wait[other] : in.units.exec[other];
          return std::log(static_cast<double>(std::max<std::uint64_t>(ns, 1)));
        };
        if (!has(unit)) continue;
        std::vector<double> kin;
        for (const std::uint32_t other : in.units.rows) {
          if (in.model.type[other] == in.model.type[unit] && in.where.of[other] == in.where.of[unit] && has(other)) kin.push_back(value(other));
        }
        if (kin.size() < 8) continue;
        const auto middle = [](std::vector<double> all) {
          std::sort(all.begin(), all.end());
          return all.size() % 2 != 0 ? all[all.size() / 2] : (all[all.size() / 2 - 1] + all[all.size() / 2]) / 2;
        };
        const double center = middle(kin);
        std::vector<double> apart;
        double sum = 0;
        for (const double one : kin) {
          apart.push_back(std::fabs(one - center));
          sum += apart.back();
        }
        const double mad = middle(apart);
        const double scale = mad > 1e-15 ? mad / 0.6745 : 1.2533 * sum / static_cast<double>(kin.size());
        if (scale > 0 && (value(unit) - center) / scale > 3.5) wanted.insert(unit);
      }
      std::set<std::uint32_t> got;
      for (const Anomaly& one : found) {
        if (one.kind == kind) got.insert(one.unit);
      }
      CHECK(got == wanted);
    }
  });
  Made made;
  const Id task = made.task(0, made.root(), "all app.js:1");
  made.run_created(task, 0, 1);
  for (int n = 0; n < 12; ++n) made.operation(task, 0.01 * n, n == 5 ? -1 : 5, "crypto", "one app.js:2");
  made.run(task, 9, 10, CauseKind::kExternal);
  made.settle(task, 10, task);
  made.finish(10);
  const TraceModel model = made.model();
  Analysed in(model);
  const std::vector<Anomaly> found = anomalies_of(in.run, in.units, in.where, in.gaps);
  REQUIRE(found.size() == 1);
  CHECK(found[0].kind == AnomalyKind::kNeverSettled);
  CHECK(model.id[found[0].unit] == 8);
}

TEST_CASE("among many traces the odd one is named with its reasons, and among few nothing is said") {
  std::vector<TraceFeatures> traces(30);
  std::mt19937_64 random(4);
  for (TraceFeatures& trace : traces) {
    for (double& value : trace.values) value = static_cast<double>(random() % 1000) / 1000;
  }
  CHECK(odd_traces(std::span<const TraceFeatures>(traces).first(19)).empty());
  traces[17].values[0] = 30;                               // ln S: far longer
  traces[17].values[1 + kPathKinds + 1] = 20;              // loop-block
  const std::vector<OddTrace> odd = odd_traces(traces);
  REQUIRE_FALSE(odd.empty());
  CHECK(odd[0].trace == 17);
  CHECK(TraceFeatures::name(odd[0].reasons[0].feature) == "duration");
  CHECK(TraceFeatures::name(odd[0].reasons[1].feature) == "loop-block");
  CHECK(odd[0].score > odd[0].limit);
}
