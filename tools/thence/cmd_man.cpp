// SPDX-License-Identifier: MIT
// cmd_man.cpp: `thence man`: the manual page, in roff, made of the very options that are parsed; the build installs it.
#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "output.hpp"
#include "thence/config/version.hpp"
#include "tool.hpp"

namespace tool {
namespace {

std::string roff(const std::string& text) {
  std::string out;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    line_begins = c == '\n';
  }
  return out;
}

std::string positionals(const CLI::App& command) {
  std::string out;
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_positional()) continue;
    const std::string name = "\\fI" + roff(option->get_name(true)) + "\\fR" + (option->get_expected_max() > 1 ? "..." : "");
    out += option->get_required() ? " " + name : " [" + name + "]";
  }
  return out;
}

std::string page(const CLI::App& app) {
  std::string out = std::string(".TH THENCE 1 \"\" \"thence ") + THENCE_VERSION_STRING + "\" \"User Commands\"\n";
  out += ".SH NAME\nthence \\- " + roff("reads, converts, searches, joins and checks traces of asynchronous operations") + "\n.SH SYNOPSIS\n";
  for (const CLI::App* command : app.get_subcommands({})) {
    out += ".B thence " + command->get_name() + "\n[\\fIoptions\\fR]" + positionals(*command) + "\n.br\n";
  }
  out += ".SH DESCRIPTION\n" +
         roff("thence reads Perfetto traces (.pftrace), async-trace JSON, Tokio telemetry (JSONL) and Chrome trace events, plain or compressed by "
              "gzip or zstd, and recognises them by their content. It writes the first two and JSONL, CSV, Chrome trace events, folded stacks and "
              "SVG flame graphs. '-' is standard input or output. The same input gives the same output, byte for byte.\n");
  out += ".SH COMMANDS\n";
  for (const CLI::App* command : app.get_subcommands({})) {
    out += ".SS thence " + command->get_name() + positionals(*command) + "\n" + roff(command->get_description()) + ".\n";
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_name() == "--help" || option->get_name() == "-h,--help") continue;
      out += ".TP\n";
      if (option->get_positional()) {
        out += "\\fI" + roff(option->get_name(true)) + "\\fR";
      } else {
        std::string names;
        for (const std::string& name : option->get_snames()) names += (names.empty() ? "" : ", ") + ("\\fB" + roff("-" + name) + "\\fR");
        for (const std::string& name : option->get_lnames()) names += (names.empty() ? "" : ", ") + ("\\fB" + roff("--" + name) + "\\fR");
        out += names;
        if (option->get_expected_max() != 0) out += " \\fI" + roff(option->get_option_text().empty() ? "VALUE" : option->get_option_text()) + "\\fR";
      }
      out += "\n" + roff(option->get_description());
      const auto& choices = choices_of(option->get_positional() || option->get_lnames().empty() ? option->get_name(true)
                                                                                                : "--" + option->get_lnames().front());
      if (!choices.empty() && !option->get_positional()) {
        out += ":";
        for (std::size_t at = 0; at < choices.size(); ++at) out += (at == 0 ? " " : ", ") + roff(choices[at]);
      }
      out += ".\n";
    }
  }
  out += ".SH EXIT STATUS\n";
  const std::pair<int, const char*> codes[] = {
      {kDone, "done"},
      {kBroken, "check: a promise of the format is not kept"},
      {kUsage, "wrong use of the command line"},
      {kDamaged, "an input is damaged or cut off; what was good before that has been used"},
      {kNoInput, "an input cannot be opened, or is no trace that is read here"},
      {kUnavailable, "something that is needed is not on this machine"},
      {kInternal, "out of memory, or an error of the program itself"},
      {kCannotWrite, "an output cannot be written"},
  };
  for (const auto& [code, text] : codes) out += ".TP\n.B " + std::to_string(code) + "\n" + roff(text) + ".\n";
  out += ".SH ENVIRONMENT\n.TP\n.B NO_COLOR\n" + roff("set and not empty: no colours, unless --color always.") + "\n";
  out += ".SH EXAMPLES\n";
  const std::pair<const char*, const char*> examples[] = {
      {"thence info trace.pftrace", "what is in it"},
      {"thence convert trace.pftrace out/ --to csv", "resources.csv and events.csv"},
      {"thence convert trace.pftrace --request 3 request.json", "one request as async-trace JSON"},
      {"thence convert trace.pftrace waits.svg --by chain --time waiting", "where the time of waiting comes from"},
      {"thence query trace.pftrace 'type:fetch wait>50ms' --sort wait", "the slow fetches"},
      {"thence cat --follow trace.pftrace --json | jq .event", "events while they are made"},
      {"thence merge a.pftrace b.pftrace -o both.pftrace", "two processes in one picture"},
      {"thence check trace.pftrace && echo sound", "in a test"},
  };
  for (const auto& [line, what] : examples) out += ".TP\n.B " + roff(line) + "\n" + roff(what) + ".\n";
  return out;
}

}  // namespace

Command add_man(CLI::App& app, Common&) {
  CLI::App* command = app.add_subcommand("man", "This program's manual page, in roff: thence man | man -l -");
  return {command, [&app] {
            print(page(app));
            return static_cast<int>(kDone);
          }};
}

}  // namespace tool
