// SPDX-License-Identifier: MIT
// options.hpp: what the command line says, checked.
//   worker serve app.js --port 8787 --trace out/ --kv data.sqlite --env GREETING=hello
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace worker {

enum class TraceWhen { kAll, kHeader };
/// kFull: every promise of the script. kLight: the worker's own operations only, with their request and trigger.
enum class TraceMode { kFull, kLight };

struct Options {
  std::string script;  // path of the main module
  std::string host = "127.0.0.1";
  std::uint16_t port = 8787;                             // 0: the system chooses, and the log says which
  std::string kv_file;                                   // empty: a temporary SQLite file
  std::vector<std::pair<std::string, std::string>> env;  // members of `env`, in the order given
  std::chrono::milliseconds script_limit{5000};          // one uninterrupted stretch of JavaScript; 0: no limit
  std::chrono::milliseconds grace{5000};                 // for requests in flight when asked to stop
  std::string v8_flags;                                  // as V8 writes them: "--no-opt --random-seed=1"
  std::optional<std::string> trace_folder;               // absent: no tracer and no hook exists
  TraceWhen trace_when = TraceWhen::kAll;
  TraceMode trace_mode = TraceMode::kFull;
  std::uint64_t trace_json = 1000;  // so many of the traced requests also get a JSON file
};

/// Reads the command line. On a wrong one (or --help) prints to the terminal and returns the process's exit
/// code instead of options.
struct ParsedOptions {
  std::optional<Options> options;
  int exit_code = 0;
};
ParsedOptions parse_options(int argc, char** argv);

}  // namespace worker
