// SPDX-License-Identifier: MIT
// main.cpp: the `thence` command: reads, converts, searches, joins and checks traces.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <new>
#include <string>
#include <vector>

#include "formats.hpp"
#include "terminal.hpp"
#include "thence/config/version.hpp"
#include "tool.hpp"

namespace tool {

void add_common(CLI::App& command, Common& common, bool with_json) {
  if (with_json) command.add_flag("--json", common.json, "The answer as JSON on stdout");
  command.add_flag("-q,--quiet", common.quiet, "No progress and no notes on stderr; errors still");
  command.add_option("--color", common.color, "Colours on stdout")
      ->option_text("WHEN")
      ->check(CLI::IsMember(choices_of("--color")));
}

const std::vector<std::string>& choices_of(std::string_view option) {
  static const std::vector<std::string> none;
  static const std::vector<std::string> color{"auto", "always", "never"};
  static const std::vector<std::string> by{"stack", "chain"};
  static const std::vector<std::string> time{"running", "waiting", "both"};
  static const std::vector<std::string> format{"table", "csv", "json"};
  static const std::vector<std::string> spans{"both", "requests", "lanes"};
  static const std::vector<std::string> align{"boottime", "realtime"};
  static const std::vector<std::string> sort{"created", "wait", "exec", "total", "delay", "depth", "id", "type"};
  static const std::vector<std::string> shell{"bash", "zsh", "fish"};
  if (option == "--color") return color;
  if (option == "--to") return output_format_names();
  if (option == "--from") return input_format_names();
  if (option == "--by") return by;
  if (option == "--time") return time;
  if (option == "--format") return format;
  if (option == "--spans") return spans;
  if (option == "--align") return align;
  if (option == "--sort") return sort;
  if (option == "SHELL") return shell;
  return none;
}

namespace {

int run(int argc, char** argv) {
  CLI::App app{"Reads, converts, searches, joins and checks traces of asynchronous operations", "thence"};
  app.set_version_flag("--version", std::string("thence ") + THENCE_VERSION_STRING, "The version");
  app.require_subcommand(1);
  app.get_formatter()->column_width(36);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return "thence: " + std::string(error.what()) + "\nRun with --help for what is understood.\n";
  });
  Common common;
  const std::vector<Command> commands = {
      add_analyze(app, common),   add_compare(app, common), add_gate(app, common),       add_aggregate(app, common),
      add_flame(app, common),
      add_info(app, common),      add_convert(app, common), add_query(app, common),      add_cat(app, common), add_merge(app, common),
      add_symbolize(app, common), add_check(app, common),   add_completion(app, common), add_man(app, common),
  };
  if (argc > 1 && argv[1][0] != '-' && argv[1][0] != '\0') {
    std::string known;
    bool found = false;
    for (const Command& command : commands) {
      known += (known.empty() ? "" : ", ") + command.app->get_name();
      found = found || command.app->get_name() == argv[1];
    }
    if (!found) throw Failure(kUsage, "'" + std::string(argv[1]) + "' is no subcommand: there are " + known);
  }
  // CLI11 drops a `--`; of compare it says where the new traces begin.
  std::vector<const char*> arguments(argv, argv + argc);
  if (argc > 1 && std::string_view(argv[1]) == "compare") {
    for (const char*& argument : arguments) {
      if (std::string_view(argument) == "--") argument = "--new";
    }
  }
  try {
    app.parse(argc, arguments.data());
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kDone : kUsage;
  }
  for (const Command& command : commands) {
    if (command.app->parsed()) return command.run();
  }
  return kUsage;
}

}  // namespace
}  // namespace tool

int main(int argc, char** argv) {
  try {
    return tool::run(argc, argv);
  } catch (const tool::Failure& failure) {
    tool::complain(failure.what());
    return failure.code();
  } catch (const std::bad_alloc&) {
    tool::complain("out of memory");
    return tool::kInternal;
  } catch (const std::exception& error) {
    tool::complain(error.what());
    return tool::kInternal;
  }
}
