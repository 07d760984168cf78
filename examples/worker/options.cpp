// SPDX-License-Identifier: MIT
#include "options.hpp"

#include <CLI/CLI.hpp>

namespace worker {

ParsedOptions parse_options(int argc, char** argv) {
  CLI::App app{"A small runtime for Workers-style scripts, on KJ and V8, traced by thence."};
  app.name("worker");
  app.require_subcommand(1);

  Options options;
  std::vector<std::string> env;
  std::string trace_folder;
  std::string trace_when = "all";
  std::string trace_mode = "full";
  std::int64_t script_limit = options.script_limit.count();
  std::int64_t grace = options.grace.count();

  CLI::App* serve = app.add_subcommand("serve", "Serve a script over HTTP until SIGINT or SIGTERM.");
  serve
      ->add_option("script", options.script, "The main module: export default { async fetch(request, env, ctx) {...} }")
      ->required()
      ->check(CLI::ExistingFile);
  serve->add_option("--host", options.host, "The address to listen on (127.0.0.1)");
  serve->add_option("--port", options.port, "The port to listen on (8787); 0 lets the system choose");
  serve->add_option("--kv", options.kv_file, "The SQLite file behind env.KV; without it a temporary one");
  serve->add_option("--env", env, "KEY=VALUE, a member of env; may be repeated")->allow_extra_args(false);
  const CLI::Option* trace = serve->add_option("--trace", trace_folder, "Trace requests; write trace.pftrace and request-<n>.json to this folder");
  serve->add_option("--trace-when", trace_when, "Which requests: all, or those that carry the header x-thence-trace")
      ->check(CLI::IsMember({"all", "header"}));
  serve->add_option("--trace-mode", trace_mode, "What of them: full, with every promise; or light, the worker's operations only")
      ->check(CLI::IsMember({"full", "light"}));
  serve->add_option("--trace-json", options.trace_json,
                    "How many traced requests, from the first, get a JSON file (1000)");
  serve
      ->add_option("--script-limit", script_limit,
                   "Milliseconds that a script may run without a pause (5000); 0: no limit")
      ->check(CLI::NonNegativeNumber);
  serve->add_option("--v8-flags", options.v8_flags, "Flags for V8, in one argument; it ignores those that it does not know");
  serve
      ->add_option("--grace", grace, "Milliseconds that requests in flight get when the server is asked to stop (5000)")
      ->check(CLI::NonNegativeNumber);

  try {
    app.parse(argc, argv);
    for (const std::string& item : env) {
      const auto equals = item.find('=');
      if (equals == std::string::npos || equals == 0) {
        throw CLI::ValidationError("--env", "expected KEY=VALUE, not \"" + item + "\"");
      }
      options.env.emplace_back(item.substr(0, equals), item.substr(equals + 1));
    }
  } catch (const CLI::ParseError& error) {
    return {.options = std::nullopt, .exit_code = app.exit(error)};
  }
  if (trace->count() != 0) options.trace_folder = trace_folder;
  options.trace_when = trace_when == "header" ? TraceWhen::kHeader : TraceWhen::kAll;
  options.trace_mode = trace_mode == "light" ? TraceMode::kLight : TraceMode::kFull;
  options.script_limit = std::chrono::milliseconds(script_limit);
  options.grace = std::chrono::milliseconds(grace);
  return {.options = std::move(options), .exit_code = 0};
}

}  // namespace worker
