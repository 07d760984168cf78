// SPDX-License-Identifier: MIT
// cmd_flame.cpp: `thence flame FILE`: two flame graphs, of what ran and of what was waited for.
#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "formats.hpp"
#include "json_out.hpp"
#include "options.hpp"
#include "select.hpp"
#include "terminal.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;

namespace {

struct Options {
  std::string file, out, by = "chain", time = "both";
  bool folded = false;
  ReadOptions read;
  Selection selection;
};

/// `out/trace` of `out/trace.pftrace.gz`: where the graphs go if nobody says.
std::string base_of(const std::string& path) {
  if (path == "-") return "trace";
  std::string base = path;
  for (const std::string_view end : {".gz", ".zst", ".pftrace", ".json", ".jsonl"}) {
    if (base.size() > end.size() && base.ends_with(end)) base.resize(base.size() - end.size());
  }
  return base;
}

int run(const Options& options, const Common& common) {
  const LoadedTrace trace = load(options.file, options.read, common);
  const std::string end = options.folded ? ".folded" : ".svg";
  std::vector<std::pair<FoldTime, std::string>> wanted;
  if (options.time == "both" && options.out == "-") {
    throw Failure(kUsage, "two graphs do not fit one standard output: say --time running or --time waiting");
  }
  if (options.time != "waiting") wanted.push_back({FoldTime::kRunning, "running"});
  if (options.time != "running") wanted.push_back({FoldTime::kWaiting, "waiting"});
  std::vector<std::string> files;
  for (const auto& [time, name] : wanted) {
    WriteOptions write;
    write.fold.by = options.by == "stack" ? FoldBy::kCreationStack : FoldBy::kCausalChain;
    write.fold.time = time;
    write.title = printable(trace.name) + ": " + name;
    std::string path = options.out;
    if (path.empty()) {
      path = base_of(options.file) + "." + name + end;
    } else if (path != "-" && wanted.size() == 2) {
      path = base_of(path.ends_with(end) ? path.substr(0, path.size() - end.size()) : path) + "." + name + end;
    }
    const WriteResult written = write_trace(trace.model, feed_of(trace.model, options.selection), path,
                                            options.folded ? OutputFormat::kFolded : OutputFormat::kSvg, write);
    for (const std::string& file : written.files) files.push_back(file);
    if (!common.quiet) {
      for (const std::string& note : written.notes) complain(note);
    }
  }
  if (common.json) {
    JsonOut json;
    json->begin_object();
    json->member("file", std::string_view(trace.name));
    json->key("files");
    json->begin_array();
    for (const std::string& file : files) json->value(std::string_view(file));
    json->end_array();
    put_damage(*json, trace.result);
    json->end_object();
    json.finish();
  } else {
    std::string text;
    for (const std::string& file : files) text += file + "\n";
    if (!common.quiet) print(text);
  }
  return trace.result.good() ? kDone : kDamaged;
}

}  // namespace

Command add_flame(CLI::App& app, Common& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("flame", "Flame graphs of what ran and of what was waited for, as SVG");
  command->add_option("FILE", options->file, "The trace; - is standard input")->required();
  command->add_option("-o,--output", options->out, "The file; without it, two beside FILE; - is standard output")->option_text("FILE");
  command->add_option("--by", options->by, "By stack of creation, or by causal chain")->option_text("WHAT")->check(CLI::IsMember(choices_of("--by")));
  command->add_option("--time", options->time, "running, waiting, or both")->option_text("WHAT")->check(CLI::IsMember(choices_of("--time")));
  command->add_flag("--folded", options->folded, "Folded stacks instead of pictures");
  add_reading(*command, options->read);
  add_selection(*command, options->selection);
  add_common(*command, common);
  return {command, [options, &common] { return run(*options, common); }};
}

}  // namespace tool
