// SPDX-License-Identifier: MIT
#include "query_language.hpp"

#include <regex.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "select.hpp"
#include "thence/formats/frame_text.hpp"
#include "thence/formats/words.hpp"
#include "tool.hpp"

namespace tool {

using namespace thence;

std::string frame_text(const TraceModel& model, const TraceModel::Frame& frame) {
  std::string out;
  const std::string_view function = model.text(frame.function);
  std::string_view file = model.text(frame.file);
  if (frame.kind == FrameKind::kNative) {
    file.remove_prefix(file.rfind('/') + 1);
    if (!function.empty()) return std::string(function) + (file.empty() ? "" : " " + std::string(file));
    out = file.empty() ? "0x" : std::string(file) + "+0x";
    append_number(out, file.empty() ? frame.pc : frame.relative_pc, 16);
    return out;
  }
  out = function.empty() ? "(anonymous)" : std::string(function);
  if (file.empty()) return out;
  out += " " + std::string(file);
  if (frame.line != 0) out += ":" + std::to_string(frame.line);
  if (frame.line != 0 && frame.column != 0) out += ":" + std::to_string(frame.column);
  return out;
}

std::string_view status_of(const ResourceRow& row) {
  if (row.open()) return "open";
  if (row.life.settled) return row.outcome == Outcome::kUnknown ? "settled" : word(row.outcome);
  if (row.life.finished) return "finished";
  if (row.life.destroyed) return "destroyed";
  return "ran";
}

namespace {

using Term = Query::Term;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

/// `needle` is in lower case.
bool contains(std::string_view text, std::string_view needle) {
  if (needle.empty()) return true;
  const auto at = std::search(text.begin(), text.end(), needle.begin(), needle.end(), [](char a, char b) { return lower(a) == b; });
  return at != text.end();
}

std::string value_text(const TraceModel::Note& note) {
  const Value value = TraceModel::value_of(note);
  switch (value.kind) {
    case ValueKind::kString: return std::string(value.text);
    case ValueKind::kInt: return std::to_string(value.integer);
    case ValueKind::kUint: return std::to_string(value.uinteger);
    case ValueKind::kDouble: {
      char digits[32];
      return {digits, std::to_chars(digits, digits + sizeof digits, value.real).ptr};
    }
    case ValueKind::kBool: return value.boolean ? "true" : "false";
  }
  return {};
}

/// Calls with each text of a resource until one is accepted.
template <class Accept>
bool any_frame(const QuerySubject& subject, Accept&& accept) {
  const std::uint32_t stack = subject.model.stack[subject.resource];
  if (stack == TraceModel::kNone) return false;
  for (const std::uint32_t frame : subject.model.frames_of(stack)) {
    if (accept(frame_text(subject.model, subject.model.frames[frame]))) return true;
  }
  return false;
}
template <class Accept>
bool any_text(const QuerySubject& subject, Accept&& accept) {
  if (accept(std::string(subject.model.type_name(subject.resource)))) return true;
  for (const TraceModel::Note& note : subject.model.notes_of(subject.resource)) {
    if (accept(std::string(subject.model.text(note.key))) || accept(value_text(note))) return true;
  }
  return any_frame(subject, accept);
}

[[noreturn]] void reject(std::string_view term, const std::string& why) {
  throw Failure(kUsage, "query: '" + std::string(term) + "': " + why);
}

class Regex {
 public:
  Regex(std::string_view term, const std::string& pattern) {
    const int error = ::regcomp(&compiled_, pattern.c_str(), REG_EXTENDED | REG_ICASE | REG_NOSUB);
    if (error != 0) {
      char text[128];
      ::regerror(error, &compiled_, text, sizeof text);
      reject(term, std::string("is no regular expression: ") + text);
    }
  }
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;
  ~Regex() { ::regfree(&compiled_); }
  [[nodiscard]] bool matches(const std::string& text) const { return ::regexec(&compiled_, text.c_str(), 0, nullptr, 0) == 0; }

 private:
  regex_t compiled_{};
};

struct NumberField {
  std::string_view name;
  bool duration;
};
constexpr NumberField kNumbers[] = {{"wait", true},    {"exec", true},  {"total", true},       {"delay", true},
                                    {"created", true}, {"depth", false}, {"invocations", false}};

std::optional<std::uint64_t> number_of(const QuerySubject& subject, std::string_view field) {
  const auto known = [](MaybeNs ns) { return ns ? std::optional(ns.ns) : std::nullopt; };
  const ResourceRow& row = subject.row;
  if (field == "wait") return known(row.invocations != 0 ? row.async_delay() : elapsed(row.created, row.settled));
  if (field == "exec") return known(row.self_time());
  if (field == "total") return known(row.invocations != 0 ? row.total() : elapsed(row.created, row.settled));
  if (field == "delay") return known(row.scheduling_delay());
  if (field == "created") return row.created ? known(elapsed({subject.model.first_time}, row.created)) : std::nullopt;
  if (field == "depth") return row.depth_known ? std::optional<std::uint64_t>(row.depth) : std::nullopt;
  return row.invocations;
}

std::uint64_t parse_number(std::string_view term, std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) reject(term, "expected a number, not '" + std::string(text) + "'");
  return value;
}

Term comparison(std::string_view term, const NumberField& field, std::string_view rest) {
  std::string_view op = rest.substr(0, rest.size() > 1 && rest[1] == '=' ? 2 : 1);
  rest.remove_prefix(op.size());
  std::uint64_t value = 0;
  if (field.duration) {
    const auto ns = parse_duration(rest);
    if (!ns) reject(term, "expected a number and a unit, like 50ms (ns, us, ms, s, m), not '" + std::string(rest) + "'");
    value = *ns;
  } else {
    value = parse_number(term, rest);
  }
  const std::string name(field.name);
  const std::string how(op);
  // What is not known is neither more nor less.
  return [name, how, value](const QuerySubject& subject) {
    const auto there = number_of(subject, name);
    if (!there) return false;
    if (how == ">") return *there > value;
    if (how == ">=") return *there >= value;
    if (how == "<") return *there < value;
    if (how == "<=") return *there <= value;
    return *there == value;
  };
}

Term annotation(std::string key, std::string_view value) {
  return [key = lowered(key), value = lowered(value)](const QuerySubject& subject) {
    for (const TraceModel::Note& note : subject.model.notes_of(subject.resource)) {
      if (lowered(subject.model.text(note.key)) == key && contains(value_text(note), value)) return true;
    }
    return false;
  };
}

constexpr std::string_view kStatuses[] = {"open", "settled", "fulfilled", "rejected", "cancelled", "destroyed", "finished", "ran"};

/// `field:value`. `value` is without quotes.
Term of_field(std::string_view term, std::string_view field, std::string_view value) {
  if (field == "type") {
    return [pattern = std::string(value)](const QuerySubject& subject) {
      return matches_glob(pattern, subject.model.type_name(subject.resource));
    };
  }
  if (field == "frame") {
    return [needle = lowered(value)](const QuerySubject& subject) {
      return any_frame(subject, [&](const std::string& text) { return contains(text, needle); });
    };
  }
  if (field == "url") return annotation("url", value);
  if (field.starts_with("ann.")) return annotation(std::string(field.substr(4)), value);
  if (field == "status") {
    if (std::find(std::begin(kStatuses), std::end(kStatuses), value) == std::end(kStatuses)) {
      reject(term, "the statuses are open, settled, fulfilled, rejected, cancelled, destroyed, finished, ran");
    }
    return [wanted = std::string(value)](const QuerySubject& subject) {
      return status_of(subject.row) == wanted || (wanted == "settled" && subject.row.life.settled && !subject.row.open());
    };
  }
  if (field == "request") {
    const std::uint64_t n = value == "none" ? 0 : parse_number(term, value);
    return [n](const QuerySubject& subject) { return subject.request == n; };
  }
  if (field == "trigger") {
    const std::uint64_t id = parse_number(term, value.starts_with('#') ? value.substr(1) : value);
    return [id](const QuerySubject& subject) { return number(subject.row.trigger) == id; };
  }
  if (field == "lane") {
    return [needle = lowered(value)](const QuerySubject& subject) {
      const std::uint32_t lane = subject.model.created_lane[subject.resource];
      if (lane == TraceModel::kNone) return false;
      return std::to_string(number(subject.model.lanes[lane].id)) == needle || lowered(subject.model.text(subject.model.lanes[lane].name)) == needle;
    };
  }
  if (field == "on" || field == "finding") {
    reject(term, "needs the analysis of the trace, which this program does not have");
  }
  reject(term, "no such field: there are type, frame, url, ann.KEY, status, request, trigger, lane, and "
               "wait, exec, total, delay, created, depth, invocations with > >= < <= =");
}

/// A piece of a term between | signs.
struct Piece {
  std::string text;    // without quotes
  std::string source;  // as it was written
  bool regex = false;
  bool quoted_begin = false;  // it began with a quote: no field, no #
};

Term one_piece(std::string_view term, const Piece& piece, std::string& field) {
  if (piece.regex) {
    auto regex = std::make_shared<Regex>(term, piece.text);
    return [regex](const QuerySubject& subject) {
      return any_text(subject, [&](const std::string& text) { return regex->matches(text); });
    };
  }
  const std::string_view text = piece.text;
  if (!piece.quoted_begin) {
    if (text.starts_with('#') && text.size() > 1) {
      const std::uint64_t id = parse_number(term, text.substr(1));
      return [id](const QuerySubject& subject) { return number(subject.row.id) == id; };
    }
    const std::size_t end = text.find_first_of(":<>=");
    if (end != std::string_view::npos && end != 0) {
      const std::string_view name = text.substr(0, end);
      for (const NumberField& number : kNumbers) {
        if (number.name == name && text[end] != ':') return comparison(term, number, text.substr(end));
      }
      // A colon after a word is a field; in `https://` and `app.js:7` it is text.
      const bool word_like = std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == '_' || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      });
      const bool known = name == "type" || name == "frame" || name == "url" || name.starts_with("ann.") || name == "status" ||
                         name == "request" || name == "trigger" || name == "lane" || name == "on" || name == "finding";
      if (text[end] == ':' && (known || (word_like && name.find('.') == std::string_view::npos && !text.substr(end).starts_with("://")))) {
        field = name;
        return of_field(term, name, text.substr(end + 1));
      }
      if (text[end] != ':' && word_like && text[end] != '=') {
        reject(term, "no such number: there are wait, exec, total, delay, created, depth, invocations");
      }
    }
  }
  if (!field.empty()) return of_field(term, field, text);
  return [needle = lowered(text)](const QuerySubject& subject) {
    return any_text(subject, [&](const std::string& there) { return contains(there, needle); });
  };
}

}  // namespace

Query Query::parse(std::string_view text) {
  Query query;
  std::vector<Term> all;
  bool any = false;
  std::size_t at = 0;
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  for (;;) {
    while (at < text.size() && is_space(text[at])) ++at;
    if (at == text.size()) break;
    if (text[at] == '|') {
      if (all.empty()) reject("|", "stands between two terms");
      query.either_.push_back(std::move(all));
      all.clear();
      ++at;
      continue;
    }
    const std::size_t begin = at;
    const bool negated = text[at] == '-';
    if (negated) ++at;
    std::vector<Piece> pieces(1);
    std::size_t piece_begin = at;
    if (at < text.size() && text[at] == '/') {
      // Up to the next slash that is not escaped.
      pieces[0].regex = true;
      for (++at; at < text.size() && text[at] != '/'; ++at) {
        if (text[at] == '\\' && at + 1 < text.size() && text[at + 1] == '/') ++at;
        pieces[0].text += text[at];
      }
      if (at == text.size()) reject(text.substr(begin), "the regular expression has no / at its end");
      ++at;
    } else {
      while (at < text.size() && !is_space(text[at])) {
        if (text[at] == '"') {
          if (at == piece_begin) pieces.back().quoted_begin = true;
          const std::size_t close = text.find('"', at + 1);
          if (close == std::string_view::npos) reject(text.substr(begin), "the quote is not closed");
          pieces.back().text += text.substr(at + 1, close - at - 1);
          at = close + 1;
        } else if (text[at] == '|') {
          ++at;
          piece_begin = at;
          pieces.push_back({});
        } else {
          pieces.back().text += text[at++];
        }
      }
    }
    const std::string_view source = text.substr(begin, at - begin);
    std::vector<Term> alternatives;
    std::string field;
    for (const Piece& piece : pieces) {
      if (piece.text.empty() && !piece.quoted_begin) reject(source, "expected something to look for");
      alternatives.push_back(one_piece(source, piece, field));
    }
    any = true;
    all.push_back([negated, alternatives = std::move(alternatives)](const QuerySubject& subject) {
      const bool found = std::any_of(alternatives.begin(), alternatives.end(), [&](const Term& term) { return term(subject); });
      return found != negated;
    });
  }
  if (any && all.empty()) reject("|", "stands between two terms");
  if (!all.empty()) query.either_.push_back(std::move(all));
  return query;
}

bool Query::matches(const QuerySubject& subject) const {
  if (either_.empty()) return true;
  return std::any_of(either_.begin(), either_.end(), [&](const std::vector<Term>& all) {
    return std::all_of(all.begin(), all.end(), [&](const Term& term) { return term(subject); });
  });
}

}  // namespace tool
