// SPDX-License-Identifier: MIT
// flame_graph.hpp: a flame graph as one SVG file: no script, no font, no link; a browser shows the full label of a box and
// its time when the pointer rests on it.
//
//   FlameGraphEncoder encoder{sink, {.title = "checkout.pftrace"}, {.by = FoldBy::kCausalChain}};      // an EventSink
// The width of a box is its time, callers above what they call (an icicle: the outermost label is the top row). The same
// content gives the same bytes. Text is escaped as XML asks; what XML cannot carry becomes U+FFFD.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/folded/stack_profile.hpp"
#include "thence/formats/folded/time_folder.hpp"
#include "thence/formats/frame_text.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"
#include "thence/wire/utf8.hpp"

namespace thence {
inline namespace THENCE_ABI {

struct FlameGraphOptions {
  std::string_view title = "thence";
  /// Pixels. Rows deeper than `max_rows` are left out, and so are boxes narrower than `min_width_milli` thousandths of a
  /// pixel; the last line of the picture says how many.
  std::uint32_t width = 1200;
  std::uint32_t row_height = 17;
  std::uint32_t max_rows = 400;
  std::uint32_t min_width_milli = 100;
};

/// Appends text for XML: content and attribute values alike.
inline void append_xml_text(ByteBuffer& out, std::string_view text) {
  while (!text.empty()) {
    const Utf8Part part = first_utf8_part(text);
    const auto c = static_cast<unsigned char>(text.front());
    const std::string_view whole = text.substr(0, part.length);
    if (!part.valid || (c < 0x20 && c != '\t' && c != '\n') || whole == "\xef\xbf\xbe" || whole == "\xef\xbf\xbf") {
      out.append(std::string_view("\xef\xbf\xbd"));
    } else if (c == '&') {
      out.append(std::string_view("&amp;"));
    } else if (c == '<') {
      out.append(std::string_view("&lt;"));
    } else if (c == '>') {
      out.append(std::string_view("&gt;"));
    } else if (c == '"') {
      out.append(std::string_view("&quot;"));
    } else {
      out.append(whole);
    }
    text.remove_prefix(part.length);
  }
}

namespace detail {

/// `1.234 ms`: three digits after the point, in the unit in which the number is at least 1.
inline void append_duration(std::string& out, std::uint64_t ns) {
  static constexpr std::pair<std::uint64_t, std::string_view> kUnits[] = {
      {1'000'000'000, " s"}, {1'000'000, " ms"}, {1'000, " us"}};
  for (const auto& [unit, name] : kUnits) {
    if (ns < unit) continue;
    append_number(out, ns / unit);
    const std::uint64_t rest = ns % unit / (unit / 1000);
    out.push_back('.');
    out.push_back(static_cast<char>('0' + rest / 100));
    out.push_back(static_cast<char>('0' + rest / 10 % 10));
    out.push_back(static_cast<char>('0' + rest % 10));
    out.append(name);
    return;
  }
  append_number(out, ns);
  out.append(" ns");
}

/// Thousandths as a decimal.
inline void append_milli(std::string& out, std::uint64_t milli) {
  append_number(out, milli / 1000);
  const std::uint64_t rest = milli % 1000;
  if (rest == 0) return;
  out.push_back('.');
  out.push_back(static_cast<char>('0' + rest / 100));
  if (rest % 100 == 0) return;
  out.push_back(static_cast<char>('0' + rest / 10 % 10));
  if (rest % 10 != 0) out.push_back(static_cast<char>('0' + rest % 10));
}

/// part / whole x scale without overflow.
[[nodiscard]] constexpr std::uint64_t share(std::uint64_t part, std::uint64_t whole, std::uint64_t scale) noexcept {
  if (whole == 0) return 0;
  while (part > ~std::uint64_t{0} / scale) {
    part >>= 1;
    whole >>= 1;
  }
  return part * scale / std::max<std::uint64_t>(whole, 1);
}

}  // namespace detail

/// Draws a profile. Returns what the sink says.
template <ByteSink Sink>
bool write_flame_graph(const StackProfile& profile, Sink& sink, const FlameGraphOptions& options = {}) {
  constexpr std::uint64_t kCharWidthMilli = 6200;  // of the 10-pixel monospace text
  constexpr std::uint32_t kHead = 40, kFoot = 24, kSide = 10;
  const std::uint64_t total = profile.total();
  const std::uint64_t width_milli = std::uint64_t{std::max(options.width, 100u) - 2 * kSide} * 1000;

  std::uint32_t rows = 0;
  profile.walk([&](const StackProfile::Step& step) { rows = std::max(rows, std::min(step.depth, options.max_rows)); });
  const std::uint32_t height = kHead + rows * options.row_height + kFoot;

  SinkGate<Sink> gate(sink);
  ByteBuffer out;
  std::string text;
  const auto put = [&](std::string_view piece) { out.append(piece); };
  const auto put_number = [&](std::uint64_t value) {
    text.clear();
    append_number(text, value);
    out.append(text);
  };
  const auto put_milli = [&](std::uint64_t milli) {
    text.clear();
    detail::append_milli(text, milli);
    out.append(text);
  };
  const auto put_time = [&](std::uint64_t ns) {
    text.clear();
    detail::append_duration(text, ns);
    out.append(text);
  };

  put("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"");
  put_number(options.width);
  put("\" height=\"");
  put_number(height);
  put("\" viewBox=\"0 0 ");
  put_number(options.width);
  put(" ");
  put_number(height);
  put("\" font-family=\"ui-monospace,Menlo,Consolas,monospace\" font-size=\"10\">\n<title>");
  append_xml_text(out, options.title);
  put("</title>\n<style>rect{stroke:#fff;stroke-width:.5}g:hover>rect{stroke:#000}text{pointer-events:none}</style>\n");
  put("<rect x=\"0\" y=\"0\" width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"10\" y=\"18\" font-size=\"13\">");
  append_xml_text(out, options.title);
  put("</text>\n<text x=\"10\" y=\"32\">");
  put_time(total);
  put(" in all</text>\n");

  std::uint64_t narrow = 0;
  std::uint64_t deep = 0;
  profile.walk([&](const StackProfile::Step& step) {
    if (step.depth > options.max_rows) {
      ++deep;
      return;
    }
    const std::uint64_t x = detail::share(step.before, total, width_milli);
    const std::uint64_t end = detail::share(step.before + step.total, total, width_milli);
    if (end - x < options.min_width_milli) {
      ++narrow;
      return;
    }
    const std::string_view label = profile.text(step.label);
    const std::uint32_t y = kHead + (step.depth - 1) * options.row_height;
    put("<g><title>");
    append_xml_text(out, label);
    put("\n");
    put_time(step.total);
    put(" (");
    put_milli(detail::share(step.total, total, 100'000));
    put(" %)");
    if (step.self != step.total) {
      put(", of its own ");
      put_time(step.self);
    }
    if (step.count > 1) {
      put(", ");
      put_number(step.count);
      put(" times");
    }
    put("</title><rect x=\"");
    put_milli(x + kSide * 1000);
    put("\" y=\"");
    put_number(y);
    put("\" width=\"");
    put_milli(end - x);
    put("\" height=\"");
    put_number(options.row_height - 1);
    put("\" fill=\"hsl(");
    // The same label has the same colour in every picture: warm, but for what waits.
    std::uint64_t hash = 0;
    for (const char c : label) hash = mix64(hash ^ static_cast<unsigned char>(c));
    put_number(label == "[waiting]" ? 205 + hash % 20 : hash % 55);
    put(",");
    put_number(65 + hash / 64 % 25);
    put("%,");
    put_number(62 + hash / 4096 % 14);
    put("%)\"/>");
    const std::uint64_t fits = end - x > 8000 ? (end - x - 6000) / kCharWidthMilli : 0;
    if (fits >= 3) {
      put("<text x=\"");
      put_milli(x + kSide * 1000 + 3000);
      put("\" y=\"");
      put_number(y + options.row_height - 5);
      put("\">");
      std::size_t length = 0;
      std::uint64_t characters = 0;
      while (length < label.size() && characters < fits) {
        length += first_utf8_part(label.substr(length)).length;
        ++characters;
      }
      if (length == label.size()) {
        append_xml_text(out, label);
      } else {
        // The last two places are for the mark.
        std::size_t cut = 0;
        for (std::uint64_t n = 0; n + 2 < fits; ++n) cut += first_utf8_part(label.substr(cut)).length;
        append_xml_text(out, label.substr(0, cut));
        put("..");
      }
      put("</text>");
    }
    put("</g>\n");
    if (out.size() >= 64 * 1024) {
      gate.write(out.bytes());
      out.clear();
    }
  });
  put("<text x=\"10\" y=\"");
  put_number(height - 8);
  put("\">");
  if (total == 0) {
    put("no time to show");
  } else if (narrow != 0 || deep != 0) {
    put("not drawn: ");
    put_number(narrow);
    put(" boxes too narrow, ");
    put_number(deep);
    put(" too deep");
  }
  put("</text>\n</svg>\n");
  gate.write(out.bytes());
  return !gate.failed();
}

/// Draws the flame graph when the trace ends.
///   Shape     as TimeFolder.
///   Threads   one at a time.
///   When full see FoldOptions and FlameGraphOptions; a sink that refuses: failed().
///   Errors    std::bad_alloc.
///   Lifetime  the sink outlives it; the title is copied.
template <ByteSink Sink>
class FlameGraphEncoder : public TimeFolder {
 public:
  explicit FlameGraphEncoder(Sink& sink, const FlameGraphOptions& options = {}, const FoldOptions& fold = {})
      : TimeFolder(fold), sink_(&sink), options_(options), title_(options.title) {}

  void end(const TraceSummary& summary) {
    TimeFolder::end(summary);
    options_.title = title_;
    failed_ = !write_flame_graph(profile(), *sink_, options_);
  }
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  Sink* sink_;
  FlameGraphOptions options_;
  std::string title_;
  bool failed_ = false;
};

}  // namespace THENCE_ABI
}  // namespace thence
