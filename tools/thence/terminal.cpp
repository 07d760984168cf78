// SPDX-License-Identifier: MIT
#include "terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "thence/formats/frame_text.hpp"
#include "thence/formats/svg/flame_graph.hpp"
#include "thence/wire/damage.hpp"
#include "thence/wire/utf8.hpp"

namespace tool {

bool colours(const Common& common) {
  if (common.json || common.color == "never") return false;
  if (common.color == "always") return true;
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  if (no_color != nullptr && *no_color != '\0') return false;
  if (term != nullptr && std::string_view(term) == "dumb") return false;
  return ::isatty(STDOUT_FILENO) != 0;
}

std::string inked(std::string_view text, Ink ink, bool on) {
  if (!on || ink == Ink::kPlain) return std::string(text);
  const char* code = ink == Ink::kBold ? "\033[1m" : ink == Ink::kDim ? "\033[2m" : ink == Ink::kGood ? "\033[32m" : "\033[31m";
  return code + std::string(text) + "\033[0m";
}

std::string grouped(std::uint64_t number) {
  std::string out;
  thence::append_grouped(out, number);
  return out;
}

std::string duration(std::uint64_t ns) {
  std::string out;
  thence::detail::append_duration(out, ns);
  return out;
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return "-";
  const std::uint64_t tenths = thence::detail::share(part, whole, 1000);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " %";
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const thence::Utf8Part part = thence::first_utf8_part(text);
    const auto c = static_cast<unsigned char>(text.front());
    // U+0080..U+009F are control characters too.
    const bool control = c < 0x20 || c == 0x7f || (part.length == 2 && c == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0);
    if (!part.valid || control) {
      out += '?';
    } else {
      out.append(text.substr(0, part.length));
    }
    text.remove_prefix(part.length);
  }
  return out;
}

Progress::Progress(std::string label, std::uint64_t total, const Common& common)
    : label_(std::move(label)),
      total_(total),
      on_(!common.quiet && ::isatty(STDERR_FILENO) != 0),
      next_(std::chrono::steady_clock::now() + std::chrono::milliseconds(500)) {}

void Progress::update(std::uint64_t done, std::uint64_t events) {
  if (!on_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  std::string line = label_;
  if (total_ != 0) {
    constexpr std::uint64_t kWidth = 24;
    const std::uint64_t share = std::min(thence::detail::share(done, total_, 1000), std::uint64_t{1000});
    const std::size_t filled = static_cast<std::size_t>(share * kWidth / 1000);
    line += " [" + std::string(filled, '#') + std::string(kWidth - filled, ' ') + "] " + std::to_string(share / 10) + " %";
  } else {
    line += " " + grouped(done / (1024 * 1024)) + " MB";
  }
  if (events != 0) line += ", " + grouped(events) + " events";
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::clear() {
  if (!drawn_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

namespace {

/// Characters, as far as width goes: combining and wide ones are counted as one.
std::size_t width_of(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    text.remove_prefix(thence::first_utf8_part(text).length);
    ++width;
  }
  return width;
}

}  // namespace

std::string Table::text(bool colour, std::string_view indent) const {
  std::vector<std::size_t> widths;
  for (const Head& head : heads_) widths.push_back(width_of(head.text));
  for (const auto& row : rows_) {
    for (std::size_t at = 0; at < row.size() && at < widths.size(); ++at) widths[at] = std::max(widths[at], width_of(row[at]));
  }
  std::string out;
  const auto line = [&](const auto& cell_of, bool head) {
    std::string text(indent);
    for (std::size_t at = 0; at < heads_.size(); ++at) {
      const std::string& cell = cell_of(at);
      const std::string pad(widths[at] - width_of(cell), ' ');
      if (at != 0) text += "  ";
      const std::string shown = head ? inked(cell, Ink::kBold, colour) : cell;
      text += heads_[at].align == Align::kRight ? pad + shown : at + 1 == heads_.size() ? shown : shown + pad;
    }
    while (text.ends_with(' ')) text.pop_back();
    out += text + "\n";
  };
  line([&](std::size_t at) -> const std::string& { return heads_[at].text; }, true);
  for (const auto& row : rows_) {
    static const std::string kEmpty;
    line([&](std::size_t at) -> const std::string& { return at < row.size() ? row[at] : kEmpty; }, false);
  }
  return out;
}

void complain(std::string_view message) {
  std::fprintf(stderr, "thence: %.*s\n", static_cast<int>(message.size()), message.data());
}

}  // namespace tool
