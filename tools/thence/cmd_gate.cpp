// SPDX-License-Identifier: MIT
// cmd_gate.cpp: `thence gate rules.toml FILE...`: fails a build whose traces break a budget or show what they must not.
//
//   max_duration.p99 = "250 ms"          # of requests; also p50, p90, p999, mean, max; "250 ms" alone is max
//   max_delay.p99 = "10 ms"              # ready to run, of the worst file; likewise max_run
//   max_lag.max = "50 ms"                # of the event loop
//   no = ["finding.loop-block", "finding.high"]
//   max_findings.sequential-fetch = 2    # also max_findings.medium, or max_findings = 10
//   max_unresolved = 0                   # resources in findings `unresolved`; also max_pending, max_rejected, max_lost,
//                                        # max_blocking, max_slow
//   min_explained = 80                   # per cent of each request's duration
//   mute = ["promise-flood|*"]           # keys of findings that are known and accepted; * is anything
//   [[route]]
//   match = "*/checkout*"                # against the label of a request (url, name, key, path)
//   max_duration.p99 = "1 s"
// What cannot be decided (no requests, no wakes in the trace) fails too, unless allow_unknown = true: unknown is not good.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <toml++/toml.h>
#include <vector>

#include "analyse.hpp"
#include "formats.hpp"
#include "json_out.hpp"
#include "options.hpp"
#include "report.hpp"
#include "select.hpp"
#include "terminal.hpp"
#include "thence/analysis/text_pattern.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/duration_text.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;
using thence::report::duration_text;
using thence::report::percent_text;

namespace {

struct Options {
  std::string rules;
  std::vector<std::string> files;
  std::string junit, sarif;
  ReadOptions read;
};

// -- what the traces show ------------------------------------------------------------------------------------------------

struct Seen {
  std::string id, summary, advice, file, mute_key, location, trace;
  std::uint32_t line = 0;
  Severity severity = Severity::kNote;
  std::size_t resources = 0;
  bool muted = false;
  bool broken = false;  ///< a rule forbids it
};

struct Facts {
  std::vector<std::uint64_t> durations;
  std::vector<std::string> labels;  ///< beside `durations`
  std::uint64_t unended = 0;
  std::vector<Durations> delays, runs;
  std::vector<EventLoop::LaneLag> lags;
  std::vector<Seen> findings;
  std::uint64_t pending = 0, rejected = 0, lost = 0, blocking = 0, slow = 0;
  std::uint32_t least_explained = 1000;
  std::string least_explained_what;
  std::uint64_t requests = 0;
};

void collect(Facts& facts, const Analysis& all, const std::string& trace) {
  for (const std::uint32_t which : all.requests) {
    const Execution::Request& of = all.run.requests[which];
    ++facts.requests;
    const std::string label(all.label_of(of.resource));
    if (of.is_ended) {
      facts.durations.push_back(of.duration());
      facts.labels.push_back(label);
    } else {
      ++facts.unended;
    }
    const std::uint32_t explained = all.paths.explained_permille(which);
    if (explained < facts.least_explained) {
      facts.least_explained = explained;
      facts.least_explained_what = "request " + std::to_string(all.number_of(which)) + " of " + trace;
    }
  }
  if (all.scheduling.delays.n != 0) facts.delays.push_back(all.scheduling.delays);
  if (all.scheduling.durations.n != 0) facts.runs.push_back(all.scheduling.durations);
  for (const EventLoop::LaneLag& lag : all.loop.lanes) {
    if (lag.turns != 0) facts.lags.push_back(lag);
  }
  facts.pending += all.loop.all.pending;
  facts.rejected += all.loop.all.rejected;
  facts.lost += all.coverage.lost;
  facts.blocking += all.loop.blocking;
  facts.slow += all.loop.slow;
  for (const Finding& found : all.findings) {
    Seen seen;
    seen.id = found.id;
    seen.summary = found.summary;
    seen.advice = found.advice;
    seen.severity = found.severity;
    seen.mute_key = found.mute_key;
    seen.trace = trace;
    seen.resources = found.resources.size();
    if (found.location != TraceModel::kNone) {
      const TraceModel::Frame& frame = all.model.frames[found.location];
      seen.file = all.model.text(frame.file);
      seen.line = frame.line;
      seen.location = location_text(all.model, found.location);
    }
    facts.findings.push_back(std::move(seen));
  }
}

// -- rules ---------------------------------------------------------------------------------------------------------------

struct Judgement {
  std::string name;
  enum class State { kKept, kBroken, kUnknown } state = State::kKept;
  std::string message;
};

constexpr std::string_view kStatistics[] = {"p50", "p90", "p99", "p999", "mean", "max"};

/// Nearest rank: also of fewer values than a percentile needs, where it is the greatest; the message says of how many.
std::uint64_t statistic(std::vector<std::uint64_t> values, std::string_view which) {
  std::sort(values.begin(), values.end());
  if (which == "mean") {
    std::uint64_t sum = 0;
    for (const std::uint64_t value : values) sum += value;
    return sum / values.size();
  }
  const std::size_t thousandths = which == "p50" ? 500 : which == "p90" ? 900 : which == "p99" ? 990 : which == "p999" ? 999 : 1000;
  return values[std::max<std::size_t>((values.size() * thousandths + 999) / 1000, 1) - 1];
}
std::uint64_t statistic(const Durations& of, std::string_view which) {
  if (which == "p50") return of.p50;
  if (which == "p90") return of.p90.value_or(of.max);
  if (which == "p99") return of.p99.value_or(of.max);
  if (which == "p999") return of.p999.value_or(of.max);
  if (which == "mean") return of.mean();
  return of.max;
}

class Gate {
 public:
  Gate(std::string path, Facts& facts) : path_(std::move(path)), facts_(facts) {}

  void judge(const toml::table& rules) {
    if (const toml::node* node = rules.get("allow_unknown")) allow_unknown_ = boolean(*node, "allow_unknown");
    if (const toml::node* node = rules.get("mute")) mute(*node);
    for (const auto& [key, node] : rules) {
      const std::string name(key.str());
      if (name == "allow_unknown" || name == "mute") continue;
      if (name == "max_duration") {
        durations(name, node, facts_.durations);
      } else if (name == "max_delay") {
        worst(name, node, facts_.delays, "the traces do not tell when callbacks became ready");
      } else if (name == "max_run") {
        worst(name, node, facts_.runs, "no callback ran");
      } else if (name == "max_lag") {
        lags(name, node);
      } else if (name == "no") {
        forbidden(node);
      } else if (name == "max_findings") {
        findings(node);
      } else if (name == "max_unresolved") {
        std::uint64_t unresolved = 0;
        for (const Seen& seen : facts_.findings) {
          if (!seen.muted && (seen.id == "unresolved" || seen.id == "collected-unresolved")) unresolved += seen.resources;
        }
        at_most(name, node, unresolved, "never settled");
      } else if (name == "max_pending") {
        at_most(name, node, facts_.pending, "pending at the end");
      } else if (name == "max_rejected") {
        at_most(name, node, facts_.rejected, "rejected");
      } else if (name == "max_lost") {
        at_most(name, node, facts_.lost, "events lost");
      } else if (name == "max_blocking") {
        at_most(name, node, facts_.blocking, "blocking callbacks");
      } else if (name == "max_slow") {
        at_most(name, node, facts_.slow, "slow callbacks");
      } else if (name == "min_explained") {
        explained(name, node);
      } else if (name == "route") {
        routes(node);
      } else {
        reject(node, "'" + name + "' is no rule: there are max_duration, max_delay, max_run, max_lag, no, max_findings, max_unresolved, "
                     "max_pending, max_rejected, max_lost, max_blocking, max_slow, min_explained, mute, allow_unknown, [[route]]");
      }
    }
  }

  std::vector<Judgement> judgements;

 private:
  [[noreturn]] void reject(const toml::node& node, const std::string& what) const {
    throw Failure(kUsage, path_ + ":" + std::to_string(node.source().begin.line) + ": " + what);
  }
  [[nodiscard]] bool boolean(const toml::node& node, const std::string& name) const {
    if (!node.is_boolean()) reject(node, name + " is true or false");
    return *node.value<bool>();
  }
  [[nodiscard]] std::uint64_t whole(const toml::node& node, const std::string& name) const {
    const auto value = node.is_integer() ? node.value<std::int64_t>() : std::nullopt;
    if (!value || *value < 0) reject(node, name + " is a whole number, 0 or more");
    return static_cast<std::uint64_t>(*value);
  }
  [[nodiscard]] std::uint64_t duration_of(const toml::node& node, const std::string& name) const {
    const auto text = node.is_string() ? node.value<std::string>() : std::nullopt;
    std::string squeezed;
    if (text) {
      for (const char c : *text) {
        if (c != ' ') squeezed += c;
      }
    }
    const auto ns = parse_duration(squeezed);
    const bool unit = !squeezed.empty() && squeezed.back() == 's';
    if (!ns || !unit) reject(node, name + " is a duration with its unit, like \"250 ms\"");
    return *ns;
  }

  void say(std::string name, Judgement::State state, std::string message) {
    if (state == Judgement::State::kUnknown && allow_unknown_) {
      state = Judgement::State::kKept;
      message += " (allowed)";
    }
    judgements.push_back({std::move(name), state, std::move(message)});
  }
  void compare(const std::string& name, std::uint64_t is, std::uint64_t limit, const std::string& of) {
    say(name, is <= limit ? Judgement::State::kKept : Judgement::State::kBroken,
        duration_text(is) + (is <= limit ? " is within " : " is over ") + duration_text(limit) + of);
  }

  /// "250 ms", or a table of statistics.
  void each_limit(const std::string& name, const toml::node& node, const std::function<void(const std::string&, std::string_view, std::uint64_t)>& with) {
    const toml::table* table = node.as_table();
    if (table == nullptr) return with(name + ".max", "max", duration_of(node, name));
    for (const auto& [key, limit] : *table) {
      const std::string_view which = key.str();
      if (std::find(std::begin(kStatistics), std::end(kStatistics), which) == std::end(kStatistics)) {
        reject(limit, "'" + std::string(which) + "' is no statistic: there are p50, p90, p99, p999, mean, max");
      }
      const std::string whole_name = name + "." + std::string(which);
      with(whole_name, which, duration_of(limit, whole_name));
    }
  }
  void durations(const std::string& name, const toml::node& node, const std::vector<std::uint64_t>& values) {
    each_limit(name, node, [&](const std::string& full, std::string_view which, std::uint64_t limit) {
      if (values.empty()) return say(full, Judgement::State::kUnknown, "no request has ended in these traces");
      compare(full, statistic(values, which), limit, ", of " + grouped(values.size()) + (values.size() == 1 ? " request" : " requests"));
    });
  }
  void worst(const std::string& name, const toml::node& node, const std::vector<Durations>& of, const std::string& unknown) {
    each_limit(name, node, [&](const std::string& full, std::string_view which, std::uint64_t limit) {
      if (of.empty()) return say(full, Judgement::State::kUnknown, unknown);
      std::uint64_t most = 0;
      for (const Durations& one : of) most = std::max(most, statistic(one, which));
      compare(full, most, limit, of.size() == 1 ? "" : ", in the worst trace");
    });
  }
  void lags(const std::string& name, const toml::node& node) {
    each_limit(name, node, [&](const std::string& full, std::string_view which, std::uint64_t limit) {
      if (which == "mean" || which == "p90") reject(node, full + ": of the lag there are p50, p99, p999 and max");
      if (facts_.lags.empty()) return say(full, Judgement::State::kUnknown, "no callback ran");
      std::uint64_t most = 0;
      for (const EventLoop::LaneLag& lag : facts_.lags) {
        most = std::max(most, which == "p50" ? lag.p50_ns : which == "p99" ? lag.p99_ns : which == "p999" ? lag.p999_ns : lag.max_ns);
      }
      compare(full, most, limit, ", on the worst lane");
    });
  }
  void at_most(const std::string& name, const toml::node& node, std::uint64_t is, const std::string& what) {
    const std::uint64_t limit = whole(node, name);
    say(name, is <= limit ? Judgement::State::kKept : Judgement::State::kBroken,
        grouped(is) + " " + what + (is <= limit ? ", at most " : ", more than ") + grouped(limit));
  }
  void explained(const std::string& name, const toml::node& node) {
    const auto value = node.value<double>();
    if (!value || *value < 0 || *value > 100) reject(node, name + " is a number of per cent");
    if (facts_.requests == 0) return say(name, Judgement::State::kUnknown, "there is no request in these traces");
    const bool kept = static_cast<double>(facts_.least_explained) >= *value * 10;
    say(name, kept ? Judgement::State::kKept : Judgement::State::kBroken,
        percent_text(facts_.least_explained) + " is explained at least" + (kept ? "" : ": " + facts_.least_explained_what));
  }

  void mute(const toml::node& node) {
    const toml::array* keys = node.as_array();
    if (keys == nullptr) reject(node, "mute is an array of keys");
    for (const toml::node& key : *keys) {
      const auto text = key.value<std::string>();
      if (!text) reject(key, "a key is a string");
      for (Seen& seen : facts_.findings) seen.muted = seen.muted || matches_glob(*text, seen.mute_key);
    }
  }
  static bool is_severity(std::string_view name) { return name == "note" || name == "low" || name == "medium" || name == "high"; }
  /// Findings of that id, or of that severity and worse; which of them are over the limit is marked.
  void limit_findings(const std::string& name, std::string_view which, std::uint64_t limit) {
    std::vector<Seen*> found;
    for (Seen& seen : facts_.findings) {
      if (seen.muted) continue;
      const bool meant = which.empty() || (is_severity(which) ? seen.severity >= severity_of(which) : seen.id == which);
      if (meant) found.push_back(&seen);
    }
    if (found.size() <= limit) return say(name, Judgement::State::kKept, grouped(found.size()) + (found.size() == 1 ? " finding" : " findings"));
    std::string message = grouped(found.size()) + (found.size() == 1 ? " finding" : " findings") + ", at most " + grouped(limit);
    for (std::size_t at = 0; at < found.size(); ++at) {
      found[at]->broken = true;
      if (at < 3) message += "; " + found[at]->summary + (found[at]->location.empty() ? "" : " (" + found[at]->location + ")");
    }
    say(name, Judgement::State::kBroken, message);
  }
  static Severity severity_of(std::string_view name) {
    return name == "high" ? Severity::kHigh : name == "medium" ? Severity::kMedium : name == "low" ? Severity::kLow : Severity::kNote;
  }
  void forbidden(const toml::node& node) {
    const toml::array* all = node.as_array();
    if (all == nullptr) reject(node, "no is an array, like [\"finding.loop-block\"]");
    for (const toml::node& one : *all) {
      const auto text = one.value<std::string>();
      constexpr std::string_view kPrefix = "finding.";
      if (!text || !text->starts_with(kPrefix) || text->size() == kPrefix.size()) reject(one, "what must not be is \"finding.\" and an id or a severity");
      limit_findings("no " + *text, std::string_view(*text).substr(kPrefix.size()), 0);
    }
  }
  void findings(const toml::node& node) {
    const toml::table* table = node.as_table();
    if (table == nullptr) return limit_findings("max_findings", "", whole(node, "max_findings"));
    for (const auto& [key, limit] : *table) {
      const std::string name = "max_findings." + std::string(key.str());
      limit_findings(name, key.str(), whole(limit, name));
    }
  }
  void routes(const toml::node& node) {
    const toml::array* all = node.as_array();
    if (all == nullptr) reject(node, "[[route]] is a list of tables");
    for (const toml::node& one : *all) {
      const toml::table* table = one.as_table();
      const auto match = table == nullptr ? std::nullopt : (*table)["match"].value<std::string>();
      if (!match) reject(one, "a route has match = \"...\"");
      std::vector<std::uint64_t> values;
      for (std::size_t at = 0; at < facts_.labels.size(); ++at) {
        if (matches_glob(*match, facts_.labels[at])) values.push_back(facts_.durations[at]);
      }
      for (const auto& [key, rule] : *table) {
        if (key.str() == "match") continue;
        if (key.str() != "max_duration") reject(rule, "a route has match and max_duration");
        durations("route " + *match + " max_duration", rule, values);
      }
    }
  }

  std::string path_;
  Facts& facts_;
  bool allow_unknown_ = false;
};

// -- answers -------------------------------------------------------------------------------------------------------------

void write_text(const std::string& path, const std::string& text) {
  Output out(path);
  static_cast<void>(out.write(std::as_bytes(std::span(std::string_view(text)))));
  out.finish();
}

void write_junit(const std::string& path, const std::vector<Judgement>& judgements) {
  std::size_t failures = 0;
  for (const Judgement& judgement : judgements) failures += judgement.state == Judgement::State::kKept ? 0 : 1;
  const std::string counts = "tests=\"" + std::to_string(judgements.size()) + "\" failures=\"" + std::to_string(failures) + "\" errors=\"0\"";
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites " + counts + ">\n  <testsuite name=\"thence gate\" " + counts + ">\n";
  for (const Judgement& judgement : judgements) {
    out += "    <testcase classname=\"thence.gate\" name=\"" + markup_text(printable(judgement.name)) + "\"";
    if (judgement.state == Judgement::State::kKept) {
      out += "/>\n";
      continue;
    }
    out += ">\n      <failure type=\"" + std::string(judgement.state == Judgement::State::kBroken ? "broken" : "unknown") + "\" message=\"" +
           markup_text(printable(judgement.message)) + "\"/>\n    </testcase>\n";
  }
  write_text(path, out + "  </testsuite>\n</testsuites>\n");
}

void write_sarif(const std::string& path, const Facts& facts, const std::vector<Judgement>& judgements) {
  Output out(path);
  JsonText json(out);
  std::map<std::string, std::string> rules;
  for (const Seen& seen : facts.findings) rules.emplace(seen.id, seen.advice);
  for (const Judgement& judgement : judgements) {
    if (judgement.state != Judgement::State::kKept && !judgement.name.starts_with("no ") && !judgement.name.starts_with("max_findings")) {
      rules.emplace("gate/" + judgement.name, "A budget of the rules.");
    }
  }
  json.begin_object();
  json.member("$schema", "https://json.schemastore.org/sarif-2.1.0.json");
  json.member("version", "2.1.0");
  json.key("runs");
  json.begin_array();
  json.begin_object();
  json.key("tool");
  json.begin_object();
  json.key("driver");
  json.begin_object();
  json.member("name", "thence");
  json.member("version", THENCE_VERSION_STRING);
  json.key("rules");
  json.begin_array();
  for (const auto& [id, advice] : rules) {
    json.begin_object();
    json.member("id", std::string_view(id));
    json.key("shortDescription");
    json.begin_object();
    json.member("text", std::string_view(advice.empty() ? id : advice));
    json.end_object();
    json.end_object();
  }
  json.end_array();
  json.end_object();
  json.end_object();
  json.key("results");
  json.begin_array();
  const auto result = [&](const std::string& rule, const char* level, const std::string& message, const Seen* seen) {
    json.new_line();
    json.begin_object();
    json.member("ruleId", std::string_view(rule));
    json.member("level", level);
    json.key("message");
    json.begin_object();
    json.member("text", std::string_view(message));
    json.end_object();
    if (seen != nullptr && !seen->file.empty()) {
      json.key("locations");
      json.begin_array();
      json.begin_object();
      json.key("physicalLocation");
      json.begin_object();
      json.key("artifactLocation");
      json.begin_object();
      json.member("uri", std::string_view(seen->file));
      json.end_object();
      if (seen->line != 0) {
        json.key("region");
        json.begin_object();
        json.member("startLine", seen->line);
        json.end_object();
      }
      json.end_object();
      json.end_object();
      json.end_array();
    }
    if (seen != nullptr) {
      json.key("partialFingerprints");
      json.begin_object();
      json.member("thenceMuteKey/v1", std::string_view(seen->mute_key));
      json.end_object();
    }
    json.end_object();
  };
  for (const Seen& seen : facts.findings) {
    if (seen.muted) continue;
    const char* level = seen.broken ? "error" : seen.severity >= Severity::kMedium ? "warning" : "note";
    result(seen.id, level, seen.summary + " " + seen.advice, &seen);
  }
  for (const Judgement& judgement : judgements) {
    if (rules.contains("gate/" + judgement.name)) result("gate/" + judgement.name, "error", judgement.message, nullptr);
  }
  json.end_array();
  json.end_object();
  json.end_array();
  json.end_object();
  json.flush();
  out.finish();
}

int run(const Options& options, const Common& common) {
  Input input(options.rules);
  std::string text;
  for (auto bytes = input.read(); !bytes.empty(); bytes = input.read()) text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const toml::parse_result parsed = toml::parse(std::string_view(text));
  if (!parsed) {
    throw Failure(kUsage, options.rules + ":" + std::to_string(parsed.error().source().begin.line) + ": " + std::string(parsed.error().description()));
  }
  Facts facts;
  bool damaged = false;
  for (const std::string& file : options.files) {
    const LoadedTrace trace = load(file, options.read, common);
    damaged = damaged || !trace.result.good();
    collect(facts, *analyse(trace.model), trace.name);
  }
  Gate gate(options.rules, facts);
  gate.judge(parsed.table());
  if (gate.judgements.empty()) throw Failure(kUsage, options.rules + ": has no rule");
  std::size_t failed = 0;
  for (const Judgement& judgement : gate.judgements) failed += judgement.state == Judgement::State::kKept ? 0 : 1;
  if (!options.junit.empty()) write_junit(options.junit, gate.judgements);
  if (!options.sarif.empty()) write_sarif(options.sarif, facts, gate.judgements);
  if (common.json) {
    JsonOut json;
    json->begin_object();
    json->member("passed", failed == 0);
    json->key("rules");
    json->begin_array();
    for (const Judgement& judgement : gate.judgements) {
      json->begin_object();
      json->member("name", std::string_view(judgement.name));
      json->member("state", judgement.state == Judgement::State::kKept ? "kept" : judgement.state == Judgement::State::kBroken ? "broken" : "unknown");
      json->member("message", std::string_view(judgement.message));
      json->end_object();
    }
    json->end_array();
    json->end_object();
    json.finish();
  } else {
    Report report;
    auto& rows = report.table({{""}, {"rule"}, {"", false, 20}});
    for (const Judgement& judgement : gate.judgements) {
      const bool kept = judgement.state == Judgement::State::kKept;
      rows.push_back({kept ? Report::Cell("kept", Ink::kGood) : Report::Cell(judgement.state == Judgement::State::kBroken ? "BROKEN" : "UNKNOWN", Ink::kBad),
                      printable(judgement.name), printable(judgement.message)});
    }
    report.text(failed == 0 ? "All " + grouped(gate.judgements.size()) + " rules are kept."
                            : grouped(failed) + " of " + grouped(gate.judgements.size()) + " rules are not kept.",
                failed == 0 ? Ink::kGood : Ink::kBad);
    print(to_terminal(report, colours(common)));
  }
  return failed != 0 ? kBroken : damaged ? kDamaged : kDone;
}

}  // namespace

Command add_gate(CLI::App& app, Common& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("gate", "Fails a build: budgets and findings in a TOML file, with JUnit and SARIF for CI");
  command->add_option("RULES", options->rules, "The rules, a TOML file")->required();
  command->add_option("FILE", options->files, "The traces; - is standard input")->required()->expected(1, -1);
  command->add_option("--junit", options->junit, "Writes the rules as JUnit XML")->option_text("FILE");
  command->add_option("--sarif", options->sarif, "Writes the findings as SARIF 2.1.0")->option_text("FILE");
  add_reading(*command, options->read);
  add_common(*command, common);
  return {command, [options, &common] { return run(*options, common); }};
}

}  // namespace tool
