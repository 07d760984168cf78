// SPDX-License-Identifier: MIT
// tool.hpp: what every subcommand of `thence` shares: exit codes, failures, and the options that all of them take.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace CLI {
class App;
}

namespace tool {

/// Exit codes; docs/thence.md explains them. Those from 64 on are sysexits.h's.
enum Exit : int {
  kDone = 0,
  kBroken = 1,        ///< check: a promise of the format is not kept. gate: a rule is not kept
  kRegressed = 2,     ///< compare: the new traces are worse
  kUsage = 64,        ///< wrong use of the command line
  kDamaged = 65,      ///< an input is damaged or cut off; what was good before that has been used
  kNoInput = 66,      ///< an input cannot be opened, or is no trace that we know
  kUnavailable = 69,  ///< something that is needed is not on this machine
  kInternal = 70,     ///< out of memory; a bug
  kCannotWrite = 74,  ///< an output cannot be written
};

/// Ends the command with one line on stderr.
class Failure : public std::runtime_error {
 public:
  Failure(Exit code, const std::string& message) : std::runtime_error(message), code_(code) {}
  [[nodiscard]] Exit code() const noexcept { return code_; }

 private:
  Exit code_;
};

struct Common {
  bool json = false;
  bool quiet = false;
  std::string color = "auto";
};

/// A subcommand: its options are bound when it is added; `run` gives the exit code.
struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};

Command add_analyze(CLI::App& app, Common& common);
Command add_compare(CLI::App& app, Common& common);
Command add_gate(CLI::App& app, Common& common);
Command add_flame(CLI::App& app, Common& common);
Command add_aggregate(CLI::App& app, Common& common);
Command add_info(CLI::App& app, Common& common);
Command add_convert(CLI::App& app, Common& common);
Command add_query(CLI::App& app, Common& common);
Command add_cat(CLI::App& app, Common& common);
Command add_merge(CLI::App& app, Common& common);
Command add_symbolize(CLI::App& app, Common& common);
Command add_check(CLI::App& app, Common& common);
Command add_completion(CLI::App& app, Common& common);
Command add_man(CLI::App& app, Common& common);

/// --json, --quiet, --color.
void add_common(CLI::App& command, Common& common, bool with_json = true);

/// The words that an option takes; empty: anything.
[[nodiscard]] const std::vector<std::string>& choices_of(std::string_view option);

}  // namespace tool
