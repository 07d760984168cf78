// SPDX-License-Identifier: MIT
// cmd_analyze.cpp: `thence analyze FILE...`: what determined the duration of requests, and what to change.
#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "analyse.hpp"
#include "formats.hpp"
#include "json_out.hpp"
#include "options.hpp"
#include "report.hpp"
#include "report_analysis.hpp"
#include "terminal.hpp"
#include "thence/analysis/json_report.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;

namespace {

struct Options {
  std::vector<std::string> files;
  std::string request;
  bool markdown = false;
  bool html = false;
  ReadOptions read;
};

int run(const Options& options, const Common& common) {
  if ((common.json ? 1 : 0) + (options.markdown ? 1 : 0) + (options.html ? 1 : 0) > 1) {
    throw Failure(kUsage, "--json, --markdown and --html exclude each other");
  }
  const bool colour = colours(common) && !options.markdown && !options.html;
  bool damaged = false;
  Report report;
  std::unique_ptr<JsonOut> json;
  if (common.json) {
    json = std::make_unique<JsonOut>();
    if (options.files.size() > 1) (*json)->begin_array();
  }
  for (const std::string& file : options.files) {
    const LoadedTrace trace = load(file, options.read, common);
    damaged = damaged || !trace.result.good();
    const std::unique_ptr<Analysis> made = analyse(trace.model);
    Analysis& analysis = *made;
    const std::vector<std::uint32_t> chosen = chosen_requests(analysis, options.request);
    if (json != nullptr) {
      JsonReportOptions wanted;
      if (!options.request.empty()) wanted.requests = chosen;
      (*json)->begin_object();
      (*json)->member("file", std::string_view(trace.name));
      put_damage(**json, trace.result);
      write_json_members(**json, analysis, wanted);
      (*json)->end_object();
      continue;
    }
    put_analysis(report, analysis, {.name = printable(trace.name), .requests = chosen});
    if (!trace.result.good()) report.text("The file is damaged: this is what its good part tells. " + printable(trace.result.message), Ink::kBad);
  }
  if (json != nullptr) {
    if (options.files.size() > 1) (*json)->end_array();
    json->finish();
  } else {
    print(options.html ? to_html(report) : options.markdown ? to_markdown(report) : to_terminal(report, colour));
  }
  return damaged ? kDamaged : kDone;
}

}  // namespace

Command add_analyze(CLI::App& app, Common& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("analyze", "Why it was slow: critical path, findings, waits, scheduling, event loop, quality");
  command->add_option("FILE", options->files, "The traces; - is standard input")->required()->expected(1, -1);
  command->add_option("--request", options->request, "The request shown in detail: a number as in info, slowest, p99, all")->option_text("WHICH");
  command->add_flag("--markdown", options->markdown, "As Markdown, for a review or an issue");
  command->add_flag("--html", options->html, "As one HTML page");
  add_reading(*command, options->read);
  add_common(*command, common);
  return {command, [options, &common] { return run(*options, common); }};
}

}  // namespace tool
