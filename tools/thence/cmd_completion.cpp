// SPDX-License-Identifier: MIT
// cmd_completion.cpp: `thence completion bash|zsh|fish`: a completion script, made of the very options that are parsed.
#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "output.hpp"
#include "tool.hpp"

namespace tool {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

std::string main_name(const CLI::Option& option) {
  return option.get_lnames().empty() ? "" : "--" + option.get_lnames().front();
}

/// Within single quotes of a shell.
std::string quoted(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out;
}

std::string bash(const CLI::App& app) {
  std::string out =
      "# bash completion for thence; source it, or put it into /etc/bash_completion.d/\n"
      "_thence() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} words=\n"
      "  COMPREPLY=()\n";
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands({})) commands.push_back(command->get_name());
  out += "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -W \"" + joined(commands) + " --help --version\" -- \"$cur\"))\n    return\n  fi\n";
  out += "  case $command in\n";
  for (const CLI::App* command : app.get_subcommands({})) {
    std::vector<std::string> words;
    std::string values;
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_positional()) {
        const auto& choices = choices_of(option->get_name(true));
        words.insert(words.end(), choices.begin(), choices.end());
        continue;
      }
      for (const std::string& name : names_of(*option)) words.push_back(name);
      const auto& choices = choices_of(main_name(*option));
      if (!choices.empty()) {
        values += "        " + main_name(*option) + ") COMPREPLY=($(compgen -W \"" + joined(choices) + "\" -- \"$cur\")); return ;;\n";
      }
    }
    out += "    " + command->get_name() + ")\n";
    if (!values.empty()) out += "      case $prev in\n" + values + "      esac\n";
    out += "      words=\"" + joined(words) + "\" ;;\n";
  }
  out +=
      "  esac\n"
      "  case $cur in\n"
      "    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
      "    *) COMPREPLY=($(compgen -f -- \"$cur\")); [ \"$command\" = completion ] && COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
      "  esac\n"
      "}\n"
      "complete -o filenames -F _thence thence\n";
  return out;
}

std::string zsh(const CLI::App& app) {
  const auto plain = [](const std::string& text) {
    std::string out;
    for (const char c : quoted(text)) out += c == '[' || c == ']' || c == ':' ? std::string("\\") + c : std::string(1, c);
    return out;
  };
  std::string out = "#compdef thence\n_thence() {\n  local -a commands\n  commands=(\n";
  for (const CLI::App* command : app.get_subcommands({})) {
    out += "    '" + command->get_name() + ":" + plain(command->get_description()) + "'\n";
  }
  out +=
      "  )\n"
      "  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n"
      "  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n"
      "  case $command in\n";
  for (const CLI::App* command : app.get_subcommands({})) {
    out += "    " + command->get_name() + ")\n      _arguments";
    for (const CLI::Option* option : command->get_options()) {
      const auto& choices = choices_of(option->get_positional() ? option->get_name(true) : main_name(*option));
      const std::string value = choices.empty() ? "_files" : "(" + joined(choices) + ")";
      if (option->get_positional()) {
        out += " \\\n        '*:" + plain(option->get_name(true)) + ":" + value + "'";
        continue;
      }
      for (const std::string& name : names_of(*option)) {
        out += " \\\n        '" + name + "[" + plain(option->get_description()) + "]";
        if (option->get_expected_max() != 0) out += ":value:" + value;
        out += "'";
      }
    }
    out += "\n      ;;\n";
  }
  out += "  esac\n}\n_thence \"$@\"\n";
  return out;
}

std::string fish(const CLI::App& app) {
  std::string out = "# fish completion for thence; put it into ~/.config/fish/completions/thence.fish\n";
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands({})) commands.push_back(command->get_name());
  const std::string none = "not __fish_seen_subcommand_from " + joined(commands);
  for (const CLI::App* command : app.get_subcommands({})) {
    out += "complete -c thence -f -n '" + none + "' -a " + command->get_name() + " -d '" + quoted(command->get_description()) + "'\n";
  }
  for (const CLI::App* command : app.get_subcommands({})) {
    const std::string here = "__fish_seen_subcommand_from " + command->get_name();
    for (const CLI::Option* option : command->get_options()) {
      const auto& choices = choices_of(option->get_positional() ? option->get_name(true) : main_name(*option));
      if (option->get_positional()) {
        if (!choices.empty()) out += "complete -c thence -f -n '" + here + "' -a '" + joined(choices) + "'\n";
        continue;
      }
      out += "complete -c thence -n '" + here + "'";
      for (const std::string& name : option->get_snames()) out += " -s " + name;
      for (const std::string& name : option->get_lnames()) out += " -l " + name;
      if (!choices.empty()) {
        out += " -x -a '" + joined(choices) + "'";
      } else if (option->get_expected_max() != 0) {
        out += " -r";
      }
      out += " -d '" + quoted(option->get_description()) + "'\n";
    }
  }
  return out;
}

}  // namespace

Command add_completion(CLI::App& app, Common&) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completion", "A completion script for a shell");
  command->add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember(choices_of("SHELL")));
  return {command, [shell, &app] {
            print(*shell == "bash" ? bash(app) : *shell == "zsh" ? zsh(app) : fish(app));
            return static_cast<int>(kDone);
          }};
}

}  // namespace tool
