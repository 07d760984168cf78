// SPDX-License-Identifier: MIT
// report.hpp: a report for people, made once and shown in three ways: on a terminal, as Markdown, as one HTML page.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "terminal.hpp"

namespace tool {

/// Headings, lines and tables, in order. Texts are plain: each way of showing them escapes what it must.
class Report {
 public:
  struct Column {
    std::string head;
    bool right = false;
    std::size_t least = 0;  ///< > 0: it may be cut to so many characters where a line would become too long
    bool keep_end = false;  ///< of what is cut the end stays: a file's name rather than its folder
  };
  struct Cell {
    std::string text;
    Ink ink = Ink::kPlain;
    Cell(std::string of, Ink in = Ink::kPlain) : text(std::move(of)), ink(in) {}  // NOLINT: a text is a cell
    Cell(const char* of) : text(of) {}                                             // NOLINT
  };
  struct Block {
    enum class Kind { kTitle, kHeading, kText, kTable } kind = Kind::kText;
    std::string text;
    Ink ink = Ink::kPlain;
    std::vector<Column> columns;
    std::vector<std::vector<Cell>> rows;
  };

  void title(std::string text) { blocks.push_back({Block::Kind::kTitle, std::move(text), Ink::kBold, {}, {}}); }
  void heading(std::string text) { blocks.push_back({Block::Kind::kHeading, std::move(text), Ink::kBold, {}, {}}); }
  /// A paragraph: broken into lines where it is shown.
  void text(std::string text, Ink ink = Ink::kPlain) { blocks.push_back({Block::Kind::kText, std::move(text), ink, {}, {}}); }
  /// Without heads: leave them empty.
  std::vector<std::vector<Cell>>& table(std::vector<Column> columns) {
    blocks.push_back({Block::Kind::kTable, {}, Ink::kPlain, std::move(columns), {}});
    return blocks.back().rows;
  }

  std::vector<Block> blocks;
};

[[nodiscard]] std::string to_terminal(const Report& report, bool colour, std::size_t width = 100);
[[nodiscard]] std::string to_markdown(const Report& report);
[[nodiscard]] std::string to_html(const Report& report);

/// `text` with the characters escaped that HTML and XML give a meaning.
[[nodiscard]] std::string markup_text(std::string_view text);
/// Eighths of a block, as many as `width` characters: where from `from` to `to` of `whole` lies.
[[nodiscard]] std::string bar_between(std::uint64_t from, std::uint64_t to, std::uint64_t whole, std::size_t width);
/// One character of eight heights for each value of 0 .. `top`.
[[nodiscard]] std::string sparkline(const std::vector<std::uint16_t>& values, std::uint32_t top);
/// Characters: each code point counts as one.
[[nodiscard]] std::size_t width_of_text(std::string_view text);

}  // namespace tool
