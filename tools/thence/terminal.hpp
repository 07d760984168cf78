// SPDX-License-Identifier: MIT
// terminal.hpp: what is only for people: colours, a progress bar, aligned tables, numbers with units.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tool.hpp"

namespace tool {

/// Whether stdout gets colours: a terminal, no NO_COLOR, and not --color never.
[[nodiscard]] bool colours(const Common& common);

enum class Ink { kPlain, kBold, kDim, kGood, kBad };
[[nodiscard]] std::string inked(std::string_view text, Ink ink, bool on);

[[nodiscard]] std::string grouped(std::uint64_t number);           ///< 1,204
[[nodiscard]] std::string duration(std::uint64_t ns);              ///< 1.234 ms
[[nodiscard]] std::string percent(std::uint64_t part, std::uint64_t whole);  ///< 12.5 %; "-" of nothing
/// Text of a trace for a terminal: control characters become '?', so that a trace cannot write on the screen.
[[nodiscard]] std::string printable(std::string_view text);

/// A bar on stderr: only where that is a terminal, and only for work that takes longer than half a second.
class Progress {
 public:
  Progress(std::string label, std::uint64_t total, const Common& common);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }
  void update(std::uint64_t done, std::uint64_t events = 0);
  void clear();

 private:
  std::string label_;
  std::uint64_t total_;
  bool on_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point next_;
};

/// Columns as wide as their widest cell.
class Table {
 public:
  enum class Align { kLeft, kRight };
  void column(std::string head, Align align = Align::kLeft) { heads_.push_back({std::move(head), align}); }
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] std::string text(bool colour, std::string_view indent = "") const;
  [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }

 private:
  struct Head {
    std::string text;
    Align align;
  };
  std::vector<Head> heads_;
  std::vector<std::vector<std::string>> rows_;
};

/// One line on stderr, with the program's name before it.
void complain(std::string_view message);

}  // namespace tool
