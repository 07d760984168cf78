// SPDX-License-Identifier: MIT
// cmd_compare.cpp: `thence compare BASE... -- NEW...`: is it slower than before, where, and was there enough to tell?
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "analyse.hpp"
#include "formats.hpp"
#include "json_out.hpp"
#include "options.hpp"
#include "report.hpp"
#include "terminal.hpp"
#include "thence/analysis/comparison.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;
using thence::report::duration_text;
using thence::report::percent_text;

namespace {

struct Options {
  std::vector<std::string> base, now;
  bool markdown = false;
  ReadOptions read;
};

std::string time_text(double ns) { return (ns < 0 ? "-" : "") + duration_text(static_cast<std::uint64_t>(ns < 0 ? -ns : ns)); }
std::string signed_text(double ns) { return (ns > 0 ? "+" : "") + time_text(ns); }
/// Three decimals, the last one rounded up: no p is 0.
std::string p_text(double p) {
  const auto thousandths = static_cast<std::uint64_t>(std::min(p, 1.0) * 1000 + 0.999999);
  std::string digits = std::to_string(thousandths % 1000);
  digits.insert(0, 3 - digits.size(), '0');
  return (thousandths <= 1 ? "<" : "") + std::to_string(std::max<std::uint64_t>(thousandths, 1) / 1000) + "." + (thousandths <= 1 ? "001" : digits);
}
std::string name_text(const std::string& name) {
  std::string out;
  for (const char c : name) {
    if (c == '\n') {
      out += "  ";
    } else {
      out += c;
    }
  }
  return printable(out);
}

Ink ink_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kRegressed: return Ink::kBad;
    case Verdict::kImproved: return Ink::kGood;
    case Verdict::kUnderpowered: return Ink::kBold;
    case Verdict::kNoEvidence:
    case Verdict::kDescriptive:
    case Verdict::kAdded:
    case Verdict::kRemoved: return Ink::kDim;
  }
  return Ink::kPlain;
}

using Rows = std::vector<std::vector<Report::Cell>>;

Rows& table(Report& report, const char* what) {
  return report.table({{what, false, 20}, {"base", true}, {"new", true}, {"shift", true}, {"95 %", true}, {"p", true}, {"verdict"}});
}
void put_times(Rows& rows, const Compared& one) {
  const bool both = one.verdict != Verdict::kAdded && one.verdict != Verdict::kRemoved;
  rows.push_back({name_text(one.name), one.base_n == 0 ? "-" : time_text(one.base_median), one.now_n == 0 ? "-" : time_text(one.now_median),
                  both ? signed_text(one.shift) : "-", one.interval_known ? signed_text(one.low) + " .. " + signed_text(one.high) : "-",
                  one.tested ? p_text(one.p_adjusted) : "-", {std::string(word(one.verdict)), ink_of(one.verdict)}});
}

std::string headline(const Comparison& result) {
  const Compared& duration = result.duration;
  if (result.regressed()) {
    return duration.verdict == Verdict::kRegressed ? "REGRESSED: requests take " + signed_text(duration.shift) : "REGRESSED: see below";
  }
  switch (duration.verdict) {
    case Verdict::kImproved: return "Improved: requests take " + signed_text(duration.shift);
    case Verdict::kUnderpowered:
      return "Underpowered: " + std::to_string(result.base_traces) + " against " + std::to_string(result.now_traces) +
             " traces cannot tell a change from noise; 4 against 4 are the fewest that can";
    case Verdict::kDescriptive: return "Nothing to test: one of the sides has no requests";
    default: return "No evidence of a change";
  }
}

void put_json(JsonText& json, const Comparison& result) {
  const auto one = [&](const Compared& of) {
    json.begin_object();
    json.member("name", std::string_view(of.name));
    json.member("verdict", word(of.verdict));
    json.member("base_n", of.base_n);
    json.member("new_n", of.now_n);
    if (of.base_n != 0) json.member("base_median", of.base_median);
    if (of.now_n != 0) json.member("new_median", of.now_median);
    if (of.base_n != 0 && of.now_n != 0) {
      json.member("shift", of.shift);
      json.member("cliffs_delta", of.cliffs_delta);
    }
    if (of.interval_known) {
      json.member("shift_low", of.low);
      json.member("shift_high", of.high);
    }
    if (of.tested) {
      json.member("p", of.p);
      json.member("p_adjusted", of.p_adjusted);
    }
    json.member("base_count", of.base_count);
    json.member("new_count", of.now_count);
    json.end_object();
  };
  const auto all = [&](std::string_view key, const std::vector<Compared>& of) {
    json.new_line();
    json.key(key);
    json.begin_array();
    for (const Compared& compared : of) {
      json.new_line();
      one(compared);
    }
    json.end_array();
  };
  json.begin_object();
  json.member("regressed", result.regressed());
  json.member("headline", std::string_view(headline(result)));
  json.member("within_trace", result.within_trace);
  json.member("base_traces", result.base_traces);
  json.member("new_traces", result.now_traces);
  json.member("matched_by", word(result.level));
  json.member("matched_base_permille", result.covered_base_permille);
  json.member("matched_new_permille", result.covered_now_permille);
  json.key("duration");
  one(result.duration);
  all("path", result.path);
  all("groups", result.groups);
  all("totals", result.totals);
  all("findings", result.findings);
  json.end_object();
}

int run(const Options& options, const Common& common) {
  if (options.now.empty()) throw Failure(kUsage, "compare BASE... -- NEW...: the new traces come after --");
  bool damaged = false;
  const auto profiles = [&](const std::vector<std::string>& files) {
    std::vector<TraceProfile> all;
    for (const std::string& file : files) {
      const LoadedTrace trace = load(file, options.read, common);
      damaged = damaged || !trace.result.good();
      const std::unique_ptr<Analysis> analysis = analyse(trace.model);
      all.push_back(profile_of(analysis->context, analysis->findings));
    }
    return all;
  };
  const std::vector<TraceProfile> base = profiles(options.base), now = profiles(options.now);
  const Comparison result = compare(base, now);
  if (common.json) {
    JsonOut json;
    put_json(*json, result);
    json.finish();
  } else {
    Report report;
    report.title(headline(result));
    report.text(std::to_string(result.base_traces) + (result.base_traces == 1 ? " trace" : " traces") + " before, " + std::to_string(result.now_traces) +
                " now; operations matched by " + std::string(word(result.level)) + ", " + percent_text(result.covered_base_permille) + " and " +
                percent_text(result.covered_now_permille) + " of their time" +
                (result.within_trace ? ". One trace a side: what follows is evidence from within the traces only, whose values depend on each other" : ""));
    Rows& first = table(report, "request");
    put_times(first, result.duration);
    for (const Compared& one : result.path) {
      if (one.base_median != 0 || one.now_median != 0) put_times(first, one);
    }
    const auto groups = [&](const char* what, const std::vector<Compared>& all) {
      if (all.empty()) return;
      report.heading(what);
      Rows& rows = table(report, "");
      for (std::size_t at = 0; at < all.size() && at < 15; ++at) put_times(rows, all[at]);
      if (all.size() > 15) report.text("... and " + grouped(all.size() - 15) + " more (--json has all)", Ink::kDim);
    };
    groups("Operations: wait of each, the largest change in all first", result.groups);
    bool any = false;
    for (const Compared& one : result.findings) any = any || one.base_median != 0 || one.now_median != 0;
    if (any) {
      report.heading("Findings a trace");
      auto& rows = report.table({{"finding"}, {"base", true}, {"new", true}, {"verdict"}});
      for (const Compared& one : result.findings) {
        const auto count = [](double value) { return std::to_string(static_cast<std::uint64_t>(value)) + (value != static_cast<double>(static_cast<std::uint64_t>(value)) ? ".5" : ""); };
        rows.push_back({printable(one.name), count(one.base_median), count(one.now_median), {std::string(word(one.verdict)), ink_of(one.verdict)}});
      }
    }
    print(options.markdown ? to_markdown(report) : to_terminal(report, colours(common)));
  }
  return result.regressed() ? kRegressed : damaged ? kDamaged : kDone;
}

}  // namespace

Command add_compare(CLI::App& app, Common& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("compare", "Is it slower than before: BASE... -- NEW...; ends with 2 if it is");
  command->add_option("BASE", options->base, "Traces from before")->required()->expected(1, -1);
  command->add_option("--new", options->now, "The new traces; -- says the same")->option_text("NEW...")->expected(1, -1);
  command->add_flag("--markdown", options->markdown, "As Markdown");
  add_reading(*command, options->read);
  add_common(*command, common);
  return {command, [options, &common] { return run(*options, common); }};
}

}  // namespace tool
