// SPDX-License-Identifier: MIT
#include "report_analysis.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "thence/analysis/report_text.hpp"

namespace tool {

using namespace thence;
using thence::report::duration_text;
using thence::report::percent_text;
using thence::report::permille;
using Cell = Report::Cell;
using Column = Report::Column;

namespace {

constexpr std::uint32_t kNone = TraceModel::kNone;
constexpr std::size_t kPathRows = 14;  // the longest segments of a path; what lies between is summed up

Ink ink_of(Severity severity) {
  switch (severity) {
    case Severity::kHigh: return Ink::kBad;
    case Severity::kMedium: return Ink::kBold;
    case Severity::kLow: return Ink::kPlain;
    case Severity::kNote: return Ink::kDim;
  }
  return Ink::kPlain;
}

std::string share_text(std::uint64_t part, std::uint64_t whole) { return whole == 0 ? "-" : percent_text(permille(part, whole)); }

std::string maybe(const std::optional<std::uint64_t>& ns) { return ns ? duration_text(*ns) : "-"; }

class AnalysisReport {
 public:
  AnalysisReport(Report& report, const Analysis& all, const AnalysisReportOptions& options)
      : report_(report), all_(all), model_(all.model), options_(options) {}

  void put() {
    overview();
    for (const std::uint32_t which : options_.requests) request(which);
    findings();
    waits();
    scheduling();
    event_loop();
    quality();
  }

 private:
  [[nodiscard]] std::string location(std::uint32_t frame) const {
    return frame == kNone ? std::string() : printable(location_text(model_, frame));
  }
  [[nodiscard]] std::string place(std::uint32_t entry) const { return printable(all_.where.entries[entry].text); }
  /// `fetch https://a.example/ @ load @ app.js:7`: type, label, and the code that made it.
  [[nodiscard]] std::string describe(std::uint32_t row) const {
    if (row == kNone) return {};
    std::string text = printable(model_.type_name(row));
    const std::uint32_t unit = all_.run.unit[row];
    std::string_view label = all_.label_of(row);
    if (label.empty()) label = all_.label_of(unit);
    if (!label.empty()) text += " " + printable(label);
    std::uint32_t frame = all_.run.visible.user_frame(model_, row);
    if (frame == kNone) frame = all_.run.visible.user_frame(model_, unit);
    if (frame != kNone) text += "  " + location(frame);
    return text;
  }
  [[nodiscard]] std::string lane(std::uint32_t of) const { return printable(thence::report::lane_text(model_, of)); }

  // -- overview -------------------------------------------------------------------------------------------------------

  void overview() {
    report_.title(options_.name);
    const auto span = model_.last_time - model_.first_time;
    std::string line = duration_text(span) + ", " + grouped(model_.resources()) + " resources, " + grouped(model_.invocations.size()) +
                       " invocations on " + grouped(model_.lanes.size()) + (model_.lanes.size() == 1 ? " lane" : " lanes");
    report_.text(line);
    const Durations durations = all_.request_durations();
    if (!all_.requests.empty()) {
      line = grouped(all_.requests.size()) + (all_.requests.size() == 1 ? " request" : " requests");
      if (durations.n == 1) line += ", " + duration_text(durations.max);
      if (durations.n > 1) {
        line += ": median " + duration_text(durations.p50);
        if (durations.p99) line += ", p99 " + duration_text(*durations.p99);
        line += ", slowest " + duration_text(durations.max);
      }
      if (durations.n < all_.requests.size()) line += "; " + grouped(all_.requests.size() - durations.n) + " had not ended";
      report_.text(line);
    }
    if (all_.requests.size() > 1) {
      auto& rows = report_.table({{"request", true}, {"took", true}, {"explained", true}, {"mostly", false, 12}, {"what", false, 12, true}});
      for (std::size_t at = 0; at < all_.by_duration.size() && at < 5; ++at) {
        const std::uint32_t which = all_.by_duration[at];
        const Execution::Request& of = all_.run.requests[which];
        const auto shares = path_shares(all_.run, all_.paths.of(which), PathGrouping::kType);
        std::string mostly;
        if (!shares.empty()) {
          mostly = share_text(shares[0].total, of.duration()) + " " + std::string(word(shares[0].kind));
          if (shares[0].type != kNone) mostly += " " + printable(model_.name_of(static_cast<TypeId>(shares[0].type)));
        }
        rows.push_back({std::to_string(all_.number_of(which)), duration_text(of.duration()) + (of.is_ended ? "" : "+"),
                        percent_text(all_.paths.explained_permille(which)), mostly,
                        printable(all_.label_of(of.resource).empty() ? model_.type_name(of.resource) : all_.label_of(of.resource))});
      }
    }
    std::size_t high = 0;
    for (const Finding& found : all_.findings) high += found.severity == Severity::kHigh ? 1 : 0;
    if (!all_.findings.empty()) {
      const Finding& worst = all_.findings.front();
      report_.text(grouped(all_.findings.size()) + (all_.findings.size() == 1 ? " finding" : " findings") +
                       (high == 0 ? "" : ", " + grouped(high) + " of them high") + "; the worst: " + printable(worst.summary),
                   high == 0 ? Ink::kPlain : Ink::kBad);
    }
    if (all_.coverage.lost != 0) report_.text("LOST " + grouped(all_.coverage.lost) + " events: see quality at the end", Ink::kBad);
  }

  // -- one request ----------------------------------------------------------------------------------------------------

  void request(std::uint32_t which) {
    const Execution::Request& of = all_.run.requests[which];
    const std::string_view label = all_.label_of(of.resource);
    report_.heading("Request " + std::to_string(all_.number_of(which)) + (label.empty() ? "" : ": " + printable(label)) + " took " +
                    duration_text(of.duration()) + (of.is_ended ? "" : " and had not ended") + ", " +
                    percent_text(all_.paths.explained_permille(which)) + " explained" +
                    (all_.paths.recorded_permille(which) != all_.paths.explained_permille(which)
                         ? " (" + percent_text(all_.paths.recorded_permille(which)) + " by records alone)"
                         : ""));
    time_split(which);
    critical_path(which);
    savings(which);
    gaps(which);
  }

  void time_split(std::uint32_t which) {
    const TimeSplit& split = all_.splits.of_request(which);
    const std::uint64_t all = split.elapsed_ns();
    std::string line;
    const auto add = [&](std::string_view name, std::uint64_t ns) {
      if (!line.empty()) line += " + ";
      line += std::string(name) + " " + duration_text(ns);
      if (all != 0 && ns != 0) line += " (" + std::to_string((permille(ns, all) + 5) / 10) + "%)";
    };
    add("running", split.running_ns);
    add("waiting", split.waiting_ns);
    add("blocked", split.blocked_ns);
    add("scheduling", split.scheduling_ns);
    add("unknown", split.unknown_ns);
    report_.text(line + " = " + duration_text(all));
  }

  void critical_path(std::uint32_t which) {
    const auto path = all_.paths.of(which);
    const Execution::Request& of = all_.run.requests[which];
    if (path.empty()) return;
    report_.heading("Critical path of request " + std::to_string(all_.number_of(which)) + ": the chain that decided when it ended");
    std::vector<std::uint64_t> lengths;
    for (const PathSegment& part : path) lengths.push_back(part.length());
    std::uint64_t least = 0;
    if (lengths.size() > 2 * kPathRows) {
      std::nth_element(lengths.begin(), lengths.begin() + kPathRows, lengths.end(), std::greater<>());
      least = lengths[kPathRows] + 1;
    }
    auto& rows = report_.table({{"at", true}, {"took", true}, {"", true}, {"timeline"}, {"kind"}, {"what", false, 20, true}});
    const std::size_t kBar = 24;
    std::uint64_t sum = 0;
    bool any_inferred = false;
    for (std::size_t at = 0; at < path.size();) {
      std::size_t end = at + 1;
      if (path[at].length() < least) {
        while (end < path.size() && path[end].length() < least) ++end;
      }
      const std::uint64_t from = path[at].start - of.start, to = path[end - 1].end - of.start;
      sum += to - from;
      const PathSegment& part = path[at];
      std::string what;
      std::string kind(word(part.kind));
      Ink ink = part.kind == PathKind::kExec ? Ink::kGood : Ink::kPlain;
      if (end - at > 1) {
        kind = "...";
        what = grouped(end - at) + " short steps";
        ink = Ink::kDim;
      } else {
        what = describe(part.resource);
        if (part.unnamed) what = "something outside that the trace does not name" + (what.empty() ? "" : ", for " + what);
        if (part.kind == PathKind::kUnknown) what = "not told by the trace" + (what.empty() ? "" : ": " + what);
        if (part.kind == PathKind::kTail) what = "after the last callback that is known";
        if (part.kind == PathKind::kBlocked) what = "the lane ran " + what;
        if (part.contention) what = "held the lane: " + what;
        if (part.inferred) {
          kind += " ~";
          any_inferred = true;
        }
        if (part.kind == PathKind::kUnknown || part.kind == PathKind::kTail || part.kind == PathKind::kBlocked) ink = Ink::kBad;
      }
      rows.push_back({duration_text(from), duration_text(to - from), share_text(to - from, of.duration()),
                      Cell(bar_between(from, to, of.duration(), kBar), ink), Cell(kind, ink), what});
      at = end;
    }
    rows.push_back({"", Cell(duration_text(sum), Ink::kBold), "", "", Cell("sum", Ink::kBold),
                    sum == of.duration() ? "= the request's duration" : "differs from the request's duration: a defect of this tool"});
    if (any_inferred) report_.text("~ by inference: the trace tells no causes here", Ink::kDim);
  }

  void savings(std::uint32_t which) {
    const auto members = all_.ideal.members_of(which);
    const IdealSchedule::Bound& bound = all_.ideal.bounds[which];
    if (members.empty()) return;
    std::vector<PathMember> best;
    for (const PathMember& member : members) {
      if (member.saving_known && member.saving_ns != 0) best.push_back(member);
    }
    std::stable_sort(best.begin(), best.end(), [](const PathMember& a, const PathMember& b) { return a.saving_ns > b.saving_ns; });
    report_.heading("What a change could save");
    report_.text("Without any queueing it would take " + duration_text(bound.ideal_ns) + " (efficiency " +
                 share_text(bound.ideal_ns, bound.observed_ns) + "); it did " + duration_text(bound.exec_ns) + " of work and " +
                 duration_text(bound.operations_ns) + " of operations.");
    if (best.empty()) return;
    auto& rows = report_.table({{"saves", true}, {"on the path", true}, {"if this took no time", false, 20, true}});
    for (std::size_t at = 0; at < best.size() && at < 5; ++at) {
      rows.push_back({duration_text(best[at].saving_ns), duration_text(best[at].on_path_ns), describe(best[at].unit)});
    }
  }

  void gaps(std::uint32_t which) {
    const auto all = all_.gaps.of(which);
    if (all.empty()) return;
    std::vector<const Gap*> longest;
    for (const Gap& gap : all) longest.push_back(&gap);
    std::stable_sort(longest.begin(), longest.end(), [](const Gap* a, const Gap* b) { return a->length() > b->length(); });
    report_.heading("Gaps: nothing of it ran for " + duration_text(all_.gaps.idle_ns(which)));
    auto& rows = report_.table({{"at", true}, {"for", true}, {"ended by"}, {"", true}, {"what", false, 16, true}});
    for (std::size_t at = 0; at < longest.size() && at < 5; ++at) {
      const Gap& gap = *longest[at];
      rows.push_back({duration_text(gap.start - all_.run.requests[which].start), duration_text(gap.length()),
                      std::string(word(gap.cause)) + (gap.guessed ? "?" : ""),
                      gap.in_flight > 1 ? Cell(std::to_string(gap.in_flight) + " in flight", Ink::kDim) : Cell(""), describe(gap.operation)});
    }
  }

  // -- findings -------------------------------------------------------------------------------------------------------

  void findings() {
    report_.heading("Findings, the worst first");
    if (all_.findings.empty()) {
      report_.text("None.");
      return;
    }
    // Of the same code the worst one is told, and how many there are.
    std::map<std::string_view, std::size_t> alike;
    for (const Finding& found : all_.findings) ++alike[found.mute_key];
    std::size_t shown = 0, left = alike.size();
    for (const Finding& found : all_.findings) {
      if (shown == options_.findings) break;
      std::size_t& count = alike[found.mute_key];
      if (count == 0) continue;
      ++shown;
      --left;
      put_finding(found, count);
      count = 0;
    }
    if (left != 0) report_.text("... and " + grouped(left) + " more (--json has all)", Ink::kDim);
  }

  void put_finding(const Finding& found, std::size_t count) {
    std::string head(word(found.severity));
    for (char& c : head) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    head += "  " + std::string(found.id);
    if (found.saving_known && found.saving_ns != 0) head += "  saves " + duration_text(found.saving_ns);
    if (found.location != kNone) head += "  " + location(found.location);
    const std::uint32_t n = all_.number_of(found.request);
    if (n != 0) head += "  (request " + std::to_string(n) + (count > 1 ? ", and " + grouped(count - 1) + " more like it)" : ")");
    if (n == 0 && count > 1) head += "  (and " + grouped(count - 1) + " more like it)";
    report_.text(head, ink_of(found.severity));
    std::string body = "  " + printable(found.summary);
    if (!body.ends_with('.')) body += ".";
    body += " " + std::string(found.advice);
    if (found.confidence != Confidence::kHigh) body += " [" + std::string(word(found.confidence)) + " confidence]";
    report_.text(body);
  }

  // -- waits ----------------------------------------------------------------------------------------------------------

  void waits() {
    if (all_.requests.empty()) return;
    using Key = std::tuple<PathKind, std::uint32_t, std::string>;
    std::map<Key, std::pair<std::uint64_t, std::uint64_t>> sums;
    std::uint64_t all = 0;
    for (const std::uint32_t which : all_.requests) {
      for (const PathShare& share : path_shares(all_.run, all_.paths.of(which))) {
        all += share.total;
        if (share.kind == PathKind::kExec) continue;
        auto& [ns, count] = sums[{share.kind, share.type, location(share.location)}];
        ns += share.total;
        count += share.count;
      }
    }
    if (sums.empty()) return;
    std::vector<std::pair<Key, std::pair<std::uint64_t, std::uint64_t>>> sorted(sums.begin(), sums.end());
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second.first > b.second.first; });
    report_.heading(all_.requests.size() == 1 ? "What it waited for, on its critical path"
                                              : "What requests waited for, on their critical paths");
    auto& rows = report_.table({{"in all", true}, {"", true}, {"times", true}, {"kind"}, {"type", false, 10}, {"location", false, 16, true}});
    for (std::size_t at = 0; at < sorted.size() && at < options_.rows; ++at) {
      const auto& [kind, type, where] = sorted[at].first;
      rows.push_back({duration_text(sorted[at].second.first), share_text(sorted[at].second.first, all), grouped(sorted[at].second.second),
                      std::string(word(kind)), type == kNone ? "-" : printable(model_.name_of(static_cast<TypeId>(type))),
                      where.empty() ? "unknown" : where});
    }
    if (sorted.size() > options_.rows) report_.text("... and " + grouped(sorted.size() - options_.rows) + " more", Ink::kDim);
  }

  // -- scheduling -----------------------------------------------------------------------------------------------------

  void histogram(const Log2Histogram& delays, const Log2Histogram& durations) {
    std::uint64_t most_delay = 0, most_duration = 0;
    unsigned first = Log2Histogram::kBuckets, last = 0;
    for (unsigned at = 0; at < Log2Histogram::kBuckets; ++at) {
      most_delay = std::max(most_delay, delays.counts[at]);
      most_duration = std::max(most_duration, durations.counts[at]);
      if (delays.counts[at] == 0 && durations.counts[at] == 0) continue;
      first = std::min(first, at);
      last = at;
    }
    if (first > last) return;
    // Two powers of two a line: some ten lines for the usual spread of nine orders.
    auto& rows = report_.table({{"", true}, {"delays", true}, {""}, {"runs", true}, {""}});
    const auto of_two = [](const Log2Histogram& of, unsigned at) {
      return of.counts[at] + (at + 1 < Log2Histogram::kBuckets ? of.counts[at + 1] : 0);
    };
    most_delay = most_duration = 0;
    for (unsigned at = first & ~1u; at <= last; at += 2) {
      most_delay = std::max(most_delay, of_two(delays, at));
      most_duration = std::max(most_duration, of_two(durations, at));
    }
    for (unsigned at = first & ~1u; at <= last; at += 2) {
      const std::uint64_t delayed = of_two(delays, at), ran = of_two(durations, at);
      rows.push_back({"from " + duration_text(at == 0 ? 0 : std::uint64_t{1} << at), delayed == 0 ? "" : grouped(delayed),
                      delayed == 0 ? std::string(18, ' ') : bar_between(0, delayed, most_delay, 18), ran == 0 ? "" : grouped(ran),
                      ran == 0 ? std::string() : bar_between(0, ran, most_duration, 18)});
    }
  }

  void scheduling() {
    const Scheduling& of = all_.scheduling;
    if (of.runs == 0) return;
    report_.heading("Scheduling");
    if (of.delays.n == 0) {
      report_.text("The trace does not tell when callbacks became ready: there are no delays to show.", Ink::kDim);
    } else {
      std::string line = "ready to run: median " + duration_text(of.delays.p50);
      if (of.delays.p99) line += ", p99 " + duration_text(*of.delays.p99);
      if (of.delays.p999) line += ", p99.9 " + duration_text(*of.delays.p999);
      line += ", longest " + duration_text(of.delays.max) + "; not known of " + grouped(of.delays_unknown) + " of " + grouped(of.runs) + " runs";
      report_.text(line);
    }
    if (of.runs >= 20) histogram(of.delay_histogram, of.duration_histogram);
    auto& lanes = report_.table({{"lane", false, 8}, {"busy", true}, {"parked", true}, {"neither", true}, {"runs", true}, {"delay p99", true},
                                 {"longest", true}, {"queue", true}, {"busy over time"}});
    for (std::size_t at = 0; at < of.lanes.size() && at < options_.rows; ++at) {
      const Scheduling::Lane& one = of.lanes[at];
      std::vector<std::uint16_t> narrow;
      for (std::size_t bucket = 0; bucket + 1 < one.busy_permille.size(); bucket += 3) {
        std::uint32_t sum = 0, count = 0;
        for (std::size_t n = bucket; n < bucket + 3 && n < one.busy_permille.size(); ++n, ++count) sum += one.busy_permille[n];
        narrow.push_back(static_cast<std::uint16_t>(sum / count));
      }
      lanes.push_back({lane(one.lane), share_text(one.busy_ns, one.window()), one.parks_known ? share_text(one.parked_ns, one.window()) : "-",
                       share_text(one.neither_ns + one.paused_ns, one.window()), grouped(one.runs), maybe(one.delays.p99),
                       one.delays.n == 0 ? "-" : duration_text(one.delays.max), one.depths.n == 0 ? "-" : grouped(one.depths.max),
                       sparkline(narrow, 1000)});
    }
    if (of.lanes.size() > options_.rows) report_.text("... and " + grouped(of.lanes.size() - options_.rows) + " more lanes", Ink::kDim);
    if (!of.locations.empty()) {
      auto& rows = report_.table({{"ran", true}, {"runs", true}, {"mean", true}, {"longest", true}, {"delay p50", true}, {"p99", true},
                                  {"longest", true}, {"made at", false, 16, true}});
      for (std::size_t at = 0; at < of.locations.size() && at < options_.rows; ++at) {
        const Scheduling::Location& one = of.locations[at];
        rows.push_back({duration_text(one.busy_ns), grouped(one.runs), duration_text(one.durations.mean()), duration_text(one.durations.max),
                        one.delays.n == 0 ? "-" : duration_text(one.delays.p50), maybe(one.delays.p99),
                        one.delays.n == 0 ? "-" : duration_text(one.delays.max), place(one.location)});
      }
      if (of.locations.size() > options_.rows) {
        report_.text("... and " + grouped(of.locations.size() - options_.rows) + " more locations", Ink::kDim);
      }
    }
    if (!of.blocked.empty()) {
      report_.text(grouped(of.over_limit) + (of.over_limit == 1 ? " run was" : " runs were") + " delayed for over " +
                   duration_text(all_.settings.scheduling.explain_over_ns) + ", " + duration_text(of.over_limit_ns) + " in all:");
      auto& rows = report_.table({{"delay", true}, {"of", false, 14, true}, {"held up by", false, 14, true}, {"for", true}, {"idle", true}});
      for (std::size_t at = 0; at < of.blocked.size() && at < 5; ++at) {
        const Scheduling::Blocked& one = of.blocked[at];
        const bool any = !one.blockers.empty();
        rows.push_back({duration_text(one.delay_ns), place(all_.where.of[all_.run.resource_of(one.invocation)]),
                        any ? place(one.blockers[0].location) : "nobody", any ? duration_text(one.blockers[0].ns) : "-",
                        duration_text(one.idle_ns + one.parked_ns)});
      }
    }
    std::uint64_t samples = 0;
    for (const Scheduling::SampleGroup& group : of.samples) samples += group.count;
    if (samples != 0) {
      report_.text(grouped(samples) + " processor samples; those of running code most often in:");
      auto& rows = report_.table({{"samples", true}, {"kind"}, {"innermost frames", false, 20}, {"in", false, 16, true}});
      std::map<std::tuple<SampleKind, std::string, std::uint32_t>, std::uint64_t> frames;
      for (const Scheduling::SampleGroup& group : of.samples) {
        if (group.state != Scheduling::SampleState::kRunning) continue;
        std::string text;
        if (group.stack != kNone) {
          for (const std::uint32_t frame : model_.frames_of(group.stack).first(std::min<std::size_t>(3, model_.stacks[group.stack].count))) {
            text += (text.empty() ? "" : " < ") + location(frame);
          }
        }
        frames[{group.kind, text, group.location}] += group.count;
      }
      std::vector<std::pair<std::tuple<SampleKind, std::string, std::uint32_t>, std::uint64_t>> most(frames.begin(), frames.end());
      std::stable_sort(most.begin(), most.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
      for (std::size_t at = 0; at < most.size() && at < 5; ++at) {
        const auto& [kind, text, entry] = most[at].first;
        rows.push_back({grouped(most[at].second), kind == SampleKind::kCpu ? "cpu" : "off-cpu", text.empty() ? "unknown" : text,
                        entry == kNone ? "-" : place(entry)});
      }
    }
  }

  // -- event loop -----------------------------------------------------------------------------------------------------

  void event_loop() {
    const EventLoop& of = all_.loop;
    report_.heading("Event loop");
    report_.text(of.blocking + of.slow == 0
                     ? "No callback held its lane for over " + duration_text(all_.settings.event_loop.slow_ns) + "."
                     : grouped(of.blocking) + " blocking " + (of.blocking == 1 ? "callback" : "callbacks") + " (over " +
                           duration_text(all_.settings.event_loop.blocking_ns) + "), " + grouped(of.slow) + " slow (over " +
                           duration_text(all_.settings.event_loop.slow_ns) + ")");
    if (!of.calls.empty()) {
      auto& rows = report_.table({{"held", true}, {"lane", false, 8}, {"type", false, 8}, {"stack"}, {"location", false, 20, true}});
      for (std::size_t at = 0; at < of.calls.size() && at < 5; ++at) {
        const EventLoop::Call& call = of.calls[at];
        const std::uint32_t row = all_.run.resource_of(call.invocation);
        rows.push_back({Cell(duration_text(call.held_ns), call.blocking ? Ink::kBad : Ink::kPlain), lane(all_.run.lane[call.invocation]),
                        printable(model_.type_name(row)),
                        call.stack_of == EventLoop::StackOf::kSampled    ? "seen while it ran"
                        : call.stack_of == EventLoop::StackOf::kCall     ? "of the call"
                        : call.stack_of == EventLoop::StackOf::kCreation ? "of its creation"
                                                                         : "none",
                        call.location == kNone ? place(all_.where.of[row]) : location(call.location)});
      }
    }
    if (!of.lanes.empty()) {
      auto& rows = report_.table({{"lag", false, 8}, {"p50", true}, {"p99", true}, {"p99.9", true}, {"longest", true},
                                  {"over " + duration_text(all_.settings.event_loop.lag_warn_ns), true}, {"measured by the host", true}});
      for (std::size_t at = 0; at < of.lanes.size() && at < options_.rows; ++at) {
        const EventLoop::LaneLag& one = of.lanes[at];
        rows.push_back({lane(one.lane), duration_text(one.p50_ns), duration_text(one.p99_ns), duration_text(one.p999_ns),
                        Cell(duration_text(one.max_ns), one.over == 0 ? Ink::kPlain : Ink::kBad), grouped(one.over) + " turns",
                        one.reported.n == 0 ? "-" : "up to " + duration_text(one.reported.max)});
      }
    }
    const EventLoop::Tasks& tasks = of.all;
    report_.text("tasks: " + grouped(tasks.created) + " created = " + grouped(tasks.fulfilled) + " fulfilled + " + grouped(tasks.rejected) +
                 " rejected + " + grouped(tasks.cancelled) + " cancelled + " + grouped(tasks.settled_unknown) + " settled somehow + " +
                 grouped(tasks.ended_unsaid) + " ended unsaid + " + grouped(tasks.pending) + " pending" +
                 (tasks.not_told == 0 ? "" : " + " + grouped(tasks.not_told) + " of which the trace does not tell"));
    std::size_t shown = 0;
    std::vector<std::vector<Cell>>* rows = nullptr;
    for (const EventLoop::Tasks& one : of.tasks) {
      if (one.location == kNone || (one.pending == 0 && one.rejected == 0) || shown == options_.rows) continue;
      if (rows == nullptr) {
        rows = &report_.table({{"pending", true}, {"since", true}, {"rejected", true}, {"created", true}, {"type", false, 8}, {"made at", false, 16, true}});
      }
      ++shown;
      rows->push_back({grouped(one.pending), one.oldest == kNone ? "-" : duration_text(one.pending_since_ns - std::min(one.pending_since_ns, model_.first_time)),
                       grouped(one.rejected), grouped(one.created), printable(model_.name_of(static_cast<TypeId>(one.type))), place(one.location)});
    }
  }

  // -- quality --------------------------------------------------------------------------------------------------------

  void quality() {
    const Coverage& of = all_.coverage;
    report_.heading("Quality of the trace");
    std::string recorded, missing;
    for (unsigned at = 0; at < kNeeds; ++at) {
      const auto need = static_cast<Need>(at);
      if (need == Need::kComplete) continue;
      if (!of[need].any()) {
        missing += (missing.empty() ? "" : ", ") + std::string(word(need));
      } else {
        recorded += (recorded.empty() ? "" : ", ") + std::string(word(need));
        if (of[need].of != 0 && !of[need].all()) recorded += " " + share_text(of[need].have, of[need].of);
      }
    }
    if (!recorded.empty()) report_.text("recorded: " + recorded);
    if (!missing.empty()) report_.text("not recorded: " + missing + (of.inferred_wakes ? "; wakes are inferred" : ""));
    if (of.light_requests != 0) report_.text("traced lightly, without their promises: " + grouped(of.light_requests) + " requests");
    report_.text(of.lost == 0 ? "lost: nothing" : "lost: " + grouped(of.lost) + " events in " + grouped(of.losses.size()) + " places",
                 of.lost == 0 ? Ink::kPlain : Ink::kBad);
    std::string amiss;
    const auto count = [&](std::uint64_t n, std::string_view what) {
      if (n != 0) amiss += (amiss.empty() ? "" : ", ") + grouped(n) + " " + std::string(what);
    };
    count(of.orphans, "resources with a trigger that is not there");
    count(of.edges_dropped, "triggers later than what they made");
    count(of.skew, "times that ran backwards");
    count(of.open_invocations, "callbacks without an end");
    count(of.quality.unknown_creations, "resources not seen created");
    count(of.quality.repeated, "events said twice");
    count(of.quality.exits_unmatched, "exits without an enter");
    count(of.quality.malformed, "malformed events");
    count(of.late, "events out of order");
    count(of.after_seal, "events after their request was closed");
    count(all_.run.causes_unknown, "callbacks without a known cause");
    count(all_.run.causes_inferred, "causes inferred");
    report_.text(amiss.empty() ? "nothing amiss" : "amiss: " + amiss);
  }

  Report& report_;
  const Analysis& all_;
  const TraceModel& model_;
  const AnalysisReportOptions& options_;
};

}  // namespace

void put_analysis(Report& report, const Analysis& analysis, const AnalysisReportOptions& options) {
  AnalysisReport(report, analysis, options).put();
}

std::vector<std::uint32_t> chosen_requests(const Analysis& analysis, const std::string& which) {
  if (which == "all") return analysis.requests;
  if (analysis.requests.empty()) return {};
  if (which.empty() || which == "slowest") return {analysis.by_duration.front()};
  const bool percentile = which.size() > 1 && which[0] == 'p';
  const std::string digits = percentile ? which.substr(1) : which;
  std::uint64_t number = 0;
  bool good = !digits.empty() && digits.size() < 10;
  for (const char c : digits) {
    good = good && c >= '0' && c <= '9';
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (good && percentile && number <= 100) return {analysis.request_at(static_cast<std::uint32_t>(number * 10))};
  if (good && percentile && number <= 999) return {analysis.request_at(static_cast<std::uint32_t>(number))};
  if (!good || percentile) throw Failure(kUsage, "--request " + which + ": a number, slowest, p99, or all is understood");
  for (const std::uint32_t request : analysis.requests) {
    if (analysis.number_of(request) == number) return {request};
  }
  throw Failure(kUsage, "--request " + which + ": the trace has requests 1 to " +
                            std::to_string(analysis.run.requests.size()) + ", and the beginning of " +
                            std::to_string(analysis.requests.size()) + " of them");
}

}  // namespace tool
