// SPDX-License-Identifier: MIT
#include "report.hpp"

#include <algorithm>
#include <cstdint>

#include "thence/wire/utf8.hpp"

namespace tool {

std::size_t width_of_text(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    text.remove_prefix(thence::first_utf8_part(text).length);
    ++width;
  }
  return width;
}

namespace {

std::string_view first_characters(std::string_view text, std::size_t count) {
  std::size_t at = 0;
  while (count-- != 0 && at < text.size()) at += thence::first_utf8_part(text.substr(at)).length;
  return text.substr(0, at);
}

/// At most `width` characters; an ellipsis stands for the rest.
std::string fitted(const std::string& text, std::size_t width, bool keep_end) {
  const std::size_t is = width_of_text(text);
  if (is <= width || width == 0) return text;
  if (!keep_end) return std::string(first_characters(text, width - 1)) + "\u2026";
  return "\u2026" + text.substr(first_characters(text, is - (width - 1)).size());
}

void put_paragraph(std::string& out, const std::string& text, Ink ink, bool colour, std::size_t width, std::string_view before) {
  std::string_view rest = text;
  std::string indent(before);  // what a text begins with stands before each of its lines
  for (; rest.starts_with(' '); rest.remove_prefix(1)) indent += ' ';
  while (!rest.empty()) {
    std::string line(indent);
    std::size_t used = indent.size();
    bool first = true;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(' '), rest.size());
      const std::string_view word = rest.substr(0, end);
      const std::size_t more = width_of_text(word) + (first ? 0 : 1);
      if (!first && used + more > width) break;
      if (!first) line += ' ';
      line += word;
      used += more;
      first = false;
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    out += inked(line, ink, colour) + "\n";
  }
}

void put_table(std::string& out, const Report::Block& block, bool colour, std::size_t width) {
  constexpr std::string_view kIndent = "  ";
  const std::size_t columns = block.columns.size();
  std::vector<std::size_t> widths(columns, 0);
  bool heads = false;
  for (std::size_t at = 0; at < columns; ++at) {
    widths[at] = width_of_text(block.columns[at].head);
    heads = heads || !block.columns[at].head.empty();
  }
  for (const auto& row : block.rows) {
    for (std::size_t at = 0; at < row.size() && at < columns; ++at) widths[at] = std::max(widths[at], width_of_text(row[at].text));
  }
  std::size_t total = kIndent.size() + 2 * (columns == 0 ? 0 : columns - 1);
  for (const std::size_t one : widths) total += one;
  // The widest of those that may be cut is, until the line fits.
  while (total > width) {
    std::size_t widest = columns;
    for (std::size_t at = 0; at < columns; ++at) {
      if (block.columns[at].least == 0 || widths[at] <= block.columns[at].least) continue;
      if (widest == columns || widths[at] > widths[widest]) widest = at;
    }
    if (widest == columns) break;
    --widths[widest];
    --total;
  }
  const auto put = [&](std::size_t at, const std::string& text, Ink ink, std::string& line) {
    const Report::Column& column = block.columns[at];
    const std::string shown = fitted(text, widths[at], column.keep_end);
    const std::string pad(widths[at] - std::min(widths[at], width_of_text(shown)), ' ');
    if (at != 0) line += "  ";
    line += column.right ? pad + inked(shown, ink, colour) : inked(shown, ink, colour) + (at + 1 == columns ? "" : pad);
  };
  const auto finish = [&](std::string& line) {
    while (line.ends_with(' ')) line.pop_back();
    out += line + "\n";
  };
  if (heads) {
    std::string line(kIndent);
    for (std::size_t at = 0; at < columns; ++at) put(at, block.columns[at].head, Ink::kDim, line);
    finish(line);
  }
  for (const auto& row : block.rows) {
    std::string line(kIndent);
    for (std::size_t at = 0; at < columns; ++at) put(at, at < row.size() ? row[at].text : "", at < row.size() ? row[at].ink : Ink::kPlain, line);
    finish(line);
  }
}

std::string markdown_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '*' || c == '_' || c == '`' || c == '<' || c == '\\' || c == '[') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string_view class_of(Ink ink) {
  switch (ink) {
    case Ink::kPlain: return "";
    case Ink::kBold: return " class=\"b\"";
    case Ink::kDim: return " class=\"d\"";
    case Ink::kGood: return " class=\"g\"";
    case Ink::kBad: return " class=\"r\"";
  }
  return "";
}

}  // namespace

std::string markup_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string bar_between(std::uint64_t from, std::uint64_t to, std::uint64_t whole, std::size_t width) {
  if (whole == 0) return std::string(width, ' ');
  const auto place = [&](std::uint64_t value) {
    while (value > ~std::uint64_t{0} / (width * 8 + 1)) {
      value /= 2;
      whole /= 2;
    }
    return static_cast<std::size_t>(value * width * 8 / std::max<std::uint64_t>(whole, 1));
  };
  const std::uint64_t kept = whole;
  const std::size_t begin = place(from) / 8;
  whole = kept;
  const std::size_t end = std::max(place(to), begin * 8 + 1);
  static constexpr const char* kEighths[] = {"", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a", "\u2589"};
  std::string out(std::min(begin, width - 1), ' ');
  std::size_t used = out.size();
  for (std::size_t at = used; at < end / 8 && used < width; ++at, ++used) out += "\u2588";
  if (used < width && end % 8 != 0) {
    out += kEighths[end % 8];
    ++used;
  }
  out.append(width - used, ' ');
  return out;
}

std::string sparkline(const std::vector<std::uint16_t>& values, std::uint32_t top) {
  static constexpr const char* kHeights[] = {" ", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"};
  std::string out;
  for (const std::uint16_t value : values) {
    const std::uint32_t height = top == 0 ? 0 : (std::min<std::uint32_t>(value, top) * 8 + top - 1) / top;
    out += kHeights[height];
  }
  return out;
}

std::string to_terminal(const Report& report, bool colour, std::size_t width) {
  std::string out;
  for (const Report::Block& block : report.blocks) {
    switch (block.kind) {
      case Report::Block::Kind::kTitle: put_paragraph(out, block.text, block.ink, colour, width, ""); break;
      case Report::Block::Kind::kHeading:
        if (!out.empty()) out += "\n";
        put_paragraph(out, block.text, block.ink, colour, width, "");
        break;
      case Report::Block::Kind::kText: put_paragraph(out, block.text, block.ink, colour, width, "  "); break;
      case Report::Block::Kind::kTable: put_table(out, block, colour, width); break;
    }
  }
  return out;
}

std::string to_markdown(const Report& report) {
  std::string out;
  for (const Report::Block& block : report.blocks) {
    if (!out.empty()) out += "\n";
    switch (block.kind) {
      case Report::Block::Kind::kTitle: out += "# " + markdown_text(block.text) + "\n"; break;
      case Report::Block::Kind::kHeading: out += "## " + markdown_text(block.text) + "\n"; break;
      case Report::Block::Kind::kText: out += markdown_text(block.text) + "\n"; break;
      case Report::Block::Kind::kTable: {
        for (const Report::Column& column : block.columns) out += "| " + markdown_text(column.head) + " ";
        out += "|\n";
        for (const Report::Column& column : block.columns) out += column.right ? "|---:" : "|---";
        out += "|\n";
        for (const auto& row : block.rows) {
          for (std::size_t at = 0; at < block.columns.size(); ++at) out += "| " + (at < row.size() ? markdown_text(row[at].text) : "") + " ";
          out += "|\n";
        }
        break;
      }
    }
  }
  return out;
}

std::string to_html(const Report& report) {
  std::string title = "thence";
  for (const Report::Block& block : report.blocks) {
    if (block.kind == Report::Block::Kind::kTitle) {
      title = block.text;
      break;
    }
  }
  std::string out =
      "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>" + markup_text(title) +
      "</title>\n<style>\n"
      ":root{color-scheme:light dark}body{font:14px/1.45 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}\n"
      "table{border-collapse:collapse;font:12px/1.5 ui-monospace,Menlo,Consolas,monospace;display:block;overflow-x:auto}\n"
      "td,th{padding:1px 12px 1px 0;text-align:left;white-space:pre;vertical-align:top}td.n,th.n{text-align:right}\n"
      "th{opacity:.65;font-weight:normal}.b{font-weight:bold}.d{opacity:.65}.g{color:#197b30}.r{color:#c0262d}\n"
      "@media(prefers-color-scheme:dark){.g{color:#6cc981}.r{color:#ff7b72}}\n</style>\n";
  for (const Report::Block& block : report.blocks) {
    switch (block.kind) {
      case Report::Block::Kind::kTitle: out += "<h1>" + markup_text(block.text) + "</h1>\n"; break;
      case Report::Block::Kind::kHeading: out += "<h2>" + markup_text(block.text) + "</h2>\n"; break;
      case Report::Block::Kind::kText: out += "<p" + std::string(class_of(block.ink)) + ">" + markup_text(block.text) + "</p>\n"; break;
      case Report::Block::Kind::kTable: {
        out += "<table>\n";
        const bool heads = std::any_of(block.columns.begin(), block.columns.end(), [](const auto& column) { return !column.head.empty(); });
        if (heads) {
          out += "<tr>";
          for (const Report::Column& column : block.columns) out += (column.right ? "<th class=\"n\">" : "<th>") + markup_text(column.head) + "</th>";
          out += "</tr>\n";
        }
        for (const auto& row : block.rows) {
          out += "<tr>";
          for (std::size_t at = 0; at < block.columns.size(); ++at) {
            out += block.columns[at].right ? "<td class=\"n\">" : "<td>";
            if (at < row.size()) {
              const std::string_view shade = class_of(row[at].ink);
              out += shade.empty() ? markup_text(row[at].text) : "<span" + std::string(shade) + ">" + markup_text(row[at].text) + "</span>";
            }
            out += "</td>";
          }
          out += "</tr>\n";
        }
        out += "</table>\n";
        break;
      }
    }
  }
  return out + "</html>\n";
}

}  // namespace tool
