// SPDX-License-Identifier: MIT
// search.hpp: the language in which resources are asked for.
//
//   type:fetch wait>50ms            terms beside each other must all hold
//   type:fetch | type:timer         either side of |; binds less than the space
//   status:open|rejected            alternatives within a term: | without spaces
//   -type:timer                     not
//   checkout                        text anywhere: type, frames, annotations; case does not matter; quotes keep spaces
//   /get(user|cart)/                a regular expression, likewise
//   #123                            the resource with this id
//   on:cp                           has time on its request's critical path
//   finding:p01 finding:loop-block  a finding names it: by its number in docs/analyses.md, by its id, or finding:any
//   type: frame: url: ann.KEY: status: request: lane: trigger:       type takes * for anything
//   wait exec total delay created   > >= < <= =  a duration           depth invocations: a number
//
//   Search search;
//   if (!search.parse("type:fetch wait>50ms")) show(search.error(), search.error_at());
//   const std::vector<bool> hits = search.find({run, tree, on_path, findings});      // by row of resources
// What is not known is neither more nor less than anything.
// Layer: analysis (includes model/ and below).
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/analysis/characters.hpp"
#include "thence/analysis/execution.hpp"
#include "thence/analysis/finding.hpp"
#include "thence/analysis/patterns.hpp"
#include "thence/analysis/text_pattern.hpp"
#include "thence/analysis/tree.hpp"
#include "thence/config/version.hpp"
#include "thence/formats/duration_text.hpp"
#include "thence/formats/words.hpp"
#include "thence/model/frame_text.hpp"
#include "thence/model/request_order.hpp"
#include "thence/model/trace_model.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// "open", "fulfilled", "rejected", "cancelled", "settled", "destroyed", "finished" or "ran".
[[nodiscard]] inline std::string_view status_of(const Execution& run, std::uint32_t row) noexcept {
  const TraceModel& model = run.model;
  if (model.has(row, ResourceFlag::kSettled)) {
    return model.outcome(row) == Outcome::kUnknown ? std::string_view("settled") : word(model.outcome(row));
  }
  const std::uint32_t request = run.request[row];
  if (request != TraceModel::kNone && run.requests[request].resource == row && model.roots[run.requests[request].root].has_finished) return "finished";
  if (model.has(row, ResourceFlag::kDestroyed)) return "destroyed";
  if (run.settle_known[row]) return "settled";
  // A plain document says no more of a promise than that it ran.
  const auto callbacks = model.invocations_of(row);
  const bool ran = !callbacks.empty() && std::all_of(callbacks.begin(), callbacks.end(), [&](std::uint32_t at) { return model.invocations[at].ended; });
  return run.normal.inferred && ran ? std::string_view("ran") : std::string_view("open");
}

/// What is asked for.
///   Threads   one: regular expressions keep their state.
///   Cost      parse: O(text). find: O(resources x terms + texts), each stack and type looked at once a term.
///   Errors    parse returns false; error() says what is wrong with which term.
class Search {
 public:
  /// What it is asked of. `on_path`: time on the critical path by resource (of units), empty where there are no paths.
  struct In {
    const Execution& run;
    const ResourceTree& tree;
    std::span<const std::uint64_t> on_path = {};
    std::span<const Finding> findings = {};
  };

  [[nodiscard]] bool parse(std::string_view text) {
    either_.clear();
    error_.clear();
    std::vector<All> made(1);
    bool any = false;
    std::size_t at = 0;
    const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
    for (;;) {
      while (at < text.size() && is_space(text[at])) ++at;
      if (at == text.size()) break;
      const std::size_t begin = at;
      if (text[at] == '|') {
        if (made.back().empty()) return fail(begin, "|", "stands between two terms");
        made.push_back({});
        ++at;
        continue;
      }
      Term term;
      term.negated = text[at] == '-';
      if (term.negated) ++at;
      std::vector<Piece> pieces(1);
      if (at < text.size() && text[at] == '/') {
        pieces[0].regex = true;
        for (++at; at < text.size() && text[at] != '/'; ++at) {
          if (text[at] == '\\' && at + 1 < text.size() && text[at + 1] == '/') ++at;
          pieces[0].text += text[at];
        }
        if (at == text.size()) return fail(begin, text.substr(begin), "the regular expression has no / at its end");
        ++at;
      } else {
        std::size_t piece_begin = at;
        while (at < text.size() && !is_space(text[at])) {
          if (text[at] == '"') {
            if (at == piece_begin) pieces.back().quoted = true;
            const std::size_t close = text.find('"', at + 1);
            if (close == std::string_view::npos) return fail(begin, text.substr(begin), "the quote is not closed");
            pieces.back().text += text.substr(at + 1, close - at - 1);
            at = close + 1;
          } else if (text[at] == '|') {
            piece_begin = ++at;
            pieces.push_back({});
          } else {
            pieces.back().text += text[at++];
          }
        }
      }
      const std::string_view source = text.substr(begin, at - begin);
      std::string field;
      for (const Piece& piece : pieces) {
        if (piece.text.empty() && !piece.quoted) return fail(begin, source, "expected something to look for");
        Test test;
        if (const std::string why = understand(piece, field, test); !why.empty()) return fail(begin, source, why);
        term.tests.push_back(std::move(test));
      }
      made.back().push_back(std::move(term));
      any = true;
    }
    if (any && made.back().empty()) return fail(text.size(), "|", "stands between two terms");
    if (any) either_ = std::move(made);
    return true;
  }

  /// Of a text that was not understood: `'term': what is wrong with it`.
  [[nodiscard]] const std::string& error() const noexcept { return error_; }
  [[nodiscard]] std::size_t error_at() const noexcept { return error_at_; }

  /// Whether it asks for the critical path or for findings: else a caller can save itself the analysis that makes them.
  [[nodiscard]] bool needs_analysis() const noexcept { return asks(What::kOnPath) || asks(What::kFinding); }

  /// By row of resources. Nothing asked: all. Resources that were only mentioned are never there.
  [[nodiscard]] std::vector<bool> find(const In& in) {
    const std::uint32_t resources = in.run.model.resources();
    std::vector<bool> hits(resources, either_.empty());
    for (All& all : either_) {
      std::vector<bool> both(resources, true);
      for (Term& term : all) {
        std::vector<bool> one(resources, false);
        for (Test& test : term.tests) run_test(in, test, one);
        for (std::uint32_t row = 0; row < resources; ++row) both[row] = both[row] && one[row] != term.negated;
      }
      for (std::uint32_t row = 0; row < resources; ++row) hits[row] = hits[row] || both[row];
    }
    for (std::uint32_t row = 0; row < resources; ++row) {
      if (!was_there(in.run.model, row)) hits[row] = false;
    }
    return hits;
  }

 private:
  enum class What : std::uint8_t { kText, kRegex, kId, kType, kFrame, kAnnotation, kStatus, kRequest, kTrigger, kLane, kOnPath, kFinding, kNumber };
  enum class Number : std::uint8_t { kWait, kExec, kTotal, kDelay, kCreated, kDepth, kInvocations };
  enum class Compare : std::uint8_t { kMore, kAtLeast, kLess, kAtMost, kEqual };
  struct Test {
    What what = What::kText;
    Number number = Number::kWait;
    Compare compare = Compare::kEqual;
    std::uint64_t value = 0;
    std::string text;  // in lower case where case does not matter
    std::string key;
    TextPattern pattern;
  };
  struct Term {
    bool negated = false;
    std::vector<Test> tests;
  };
  using All = std::vector<Term>;
  struct Piece {
    std::string text;
    bool regex = false;
    bool quoted = false;  ///< it begins with a quote: no field, no #
  };

  [[nodiscard]] bool asks(What wanted) const noexcept {
    for (const All& all : either_) {
      for (const Term& term : all) {
        for (const Test& test : term.tests) {
          if (test.what == wanted) return true;
        }
      }
    }
    return false;
  }
  bool fail(std::size_t at, std::string_view term, std::string_view why) {
    error_at_ = at;
    error_ = "'" + std::string(term) + "': " + std::string(why);
    either_.clear();
    return false;
  }

  static std::string lowered(std::string_view text) {
    std::string out(text);
    for (char& c : out) c = detail::lower(c);
    return out;
  }
  static bool number_from(std::string_view text, std::uint64_t& value) noexcept {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size();
  }

  /// What is wrong; empty: nothing. `field` is that of the alternatives before, and is set.
  static std::string understand(const Piece& piece, std::string& field, Test& test) {
    if (piece.regex) {
      test.what = What::kRegex;
      const char* const why = test.pattern.compile(piece.text);
      return why == nullptr ? std::string() : std::string("is no regular expression: ") + why;
    }
    const std::string_view text = piece.text;
    if (!piece.quoted) {
      if (text.size() > 1 && text.front() == '#') {
        test.what = What::kId;
        return number_from(text.substr(1), test.value) ? std::string() : "expected a number after the #";
      }
      const std::size_t end = text.find_first_of(":<>=");
      if (end != std::string_view::npos && end != 0) {
        const std::string_view name = text.substr(0, end);
        constexpr std::string_view numbers[] = {"wait", "exec", "total", "delay", "created", "depth", "invocations"};
        for (std::size_t at = 0; at < std::size(numbers); ++at) {
          if (numbers[at] == name && text[end] != ':') return comparison(static_cast<Number>(at), text.substr(end), test);
        }
        bool plain = true;
        for (const char c : name) plain = plain && (detail::is_letter(c) || detail::is_digit(c) || c == '.' || c == '-' || c == '_');
        // A colon after a word is a field; in `https://` and `app.js:7` it is text.
        if (text[end] == ':' && (is_field(name) || (plain && name.find('.') == std::string_view::npos && text.substr(end, 3) != "://"))) {
          field = name;
          return of_field(name, text.substr(end + 1), test);
        }
        if (plain && (text[end] == '<' || text[end] == '>')) {
          return "no such number: there are wait, exec, total, delay, created, depth, invocations";
        }
      }
    }
    if (!field.empty()) return of_field(field, text, test);
    test.what = What::kText;
    test.text = lowered(text);
    return {};
  }
  static bool is_field(std::string_view name) noexcept {
    for (const std::string_view known : {"type", "frame", "url", "status", "request", "trigger", "lane", "on", "finding"}) {
      if (name == known) return true;
    }
    return name.starts_with("ann.") && name.size() > 4;
  }
  static std::string comparison(Number number, std::string_view rest, Test& test) {
    test.what = What::kNumber;
    test.number = number;
    const bool with_equal = rest.size() > 1 && rest[1] == '=';
    test.compare = rest[0] == '>' ? (with_equal ? Compare::kAtLeast : Compare::kMore)
                   : rest[0] == '<' ? (with_equal ? Compare::kAtMost : Compare::kLess) : Compare::kEqual;
    rest.remove_prefix(with_equal ? 2 : 1);
    if (number == Number::kDepth || number == Number::kInvocations) {
      return number_from(rest, test.value) ? std::string() : "expected a number, not '" + std::string(rest) + "'";
    }
    if (const auto ns = parse_duration(rest)) {
      test.value = *ns;
      return {};
    }
    return "expected a number and a unit, like 50ms (ns, us, ms, s, m), not '" + std::string(rest) + "'";
  }
  static std::string of_field(std::string_view field, std::string_view value, Test& test) {
    test.text = lowered(value);
    if (field == "type") {
      test.what = What::kType;
    } else if (field == "frame") {
      test.what = What::kFrame;
    } else if (field == "url" || field.starts_with("ann.")) {
      test.what = What::kAnnotation;
      test.key = field == "url" ? std::string("url") : lowered(field.substr(4));
    } else if (field == "status") {
      test.what = What::kStatus;
      for (const std::string_view known : {"open", "settled", "fulfilled", "rejected", "cancelled", "destroyed", "finished", "ran"}) {
        if (test.text == known) return {};
      }
      return "the statuses are open, settled, fulfilled, rejected, cancelled, destroyed, finished, ran";
    } else if (field == "request") {
      test.what = What::kRequest;
      if (test.text != "none" && !number_from(test.text, test.value)) return "expected a request's number, or none";
    } else if (field == "trigger") {
      test.what = What::kTrigger;
      if (!number_from(value.starts_with('#') ? value.substr(1) : value, test.value)) return "expected a resource's id";
    } else if (field == "lane") {
      test.what = What::kLane;
    } else if (field == "on") {
      test.what = What::kOnPath;
      if (test.text != "cp") return "there is on:cp";
    } else if (field == "finding") {
      test.what = What::kFinding;
      if (test.text == "any") return {};
      std::uint64_t number = 0;
      if (test.text.size() > 1 && test.text[0] == 'p' && number_from(std::string_view(test.text).substr(1), number)) {
        if (number == 0 || number > std::size(kPatternIds)) return "the patterns are p01 to p14";
        test.text = kPatternIds[number - 1];
      }
    } else {
      return "no such field: there are type, frame, url, ann.KEY, status, request, trigger, lane, on, finding, and "
             "wait, exec, total, delay, created, depth, invocations with > >= < <= =";
    }
    return {};
  }

  // -- looking --------------------------------------------------------------------------------------------------------

  static bool contains(std::string_view text, std::string_view needle) noexcept {
    const auto found = std::search(text.begin(), text.end(), needle.begin(), needle.end(),
                                   [](char a, char b) { return detail::lower(a) == b; });
    return needle.empty() || found != text.end();
  }
  static std::string value_text(const TraceModel::Note& note) {
    const Value value = TraceModel::value_of(note);
    switch (value.kind) {
      case ValueKind::kString: return std::string(value.text);
      case ValueKind::kInt: return std::to_string(value.integer);
      case ValueKind::kUint: return std::to_string(value.uinteger);
      case ValueKind::kDouble: {
        char digits[32];
        const auto end = std::to_chars(digits, digits + sizeof digits, value.real).ptr;
        return std::string(digits, static_cast<std::size_t>(end - digits));
      }
      case ValueKind::kBool: return value.boolean ? "true" : "false";
    }
    return {};
  }

  void run_test(const In& in, Test& test, std::vector<bool>& hits) const {
    const TraceModel& model = in.run.model;
    const std::uint32_t resources = model.resources();
    switch (test.what) {
      case What::kText:
      case What::kRegex: {
        const auto accepts = [&](std::string_view text) {
          return test.what == What::kRegex ? test.pattern.matches(text) : contains(text, test.text);
        };
        const std::vector<bool> types = by_type(model, accepts);
        const std::vector<bool> stacks = by_stack(model, accepts);
        std::vector<std::uint8_t> keys(model.texts.texts(), 0);  // 1: no, 2: yes
        for (std::uint32_t row = 0; row < resources; ++row) {
          if (hits[row]) continue;
          const std::uint32_t stack = model.stack[row];
          bool found = types[type_of(model, row)] || (stack != TraceModel::kNone && stacks[stack]);
          for (const TraceModel::Note& note : model.notes_of(row)) {
            if (found) break;
            if (keys[note.key] == 0) keys[note.key] = accepts(model.text(note.key)) ? 2 : 1;
            found = keys[note.key] == 2 || (note.kind == ValueKind::kString ? accepts(note.text) : accepts(value_text(note)));
          }
          hits[row] = found;
        }
        break;
      }
      case What::kId:
        if (const std::uint32_t row = model.find(static_cast<ResourceId>(test.value)); row != TraceModel::kNone) hits[row] = true;
        break;
      case What::kType: {
        const std::vector<bool> types = by_type(model, [&](std::string_view name) { return matches_glob(test.text, name); });
        for (std::uint32_t row = 0; row < resources; ++row) hits[row] = hits[row] || types[type_of(model, row)];
        break;
      }
      case What::kFrame: {
        const std::vector<bool> stacks = by_stack(model, [&](std::string_view text) { return contains(text, test.text); });
        for (std::uint32_t row = 0; row < resources; ++row) {
          hits[row] = hits[row] || (model.stack[row] != TraceModel::kNone && stacks[model.stack[row]]);
        }
        break;
      }
      case What::kAnnotation: {
        std::vector<std::uint8_t> keys(model.texts.texts(), 0);
        for (const TraceModel::Note& note : model.notes) {
          if (keys[note.key] == 0) keys[note.key] = lowered(model.text(note.key)) == test.key ? 2 : 1;
          if (keys[note.key] != 2 || hits[note.resource]) continue;
          hits[note.resource] = note.kind == ValueKind::kString ? contains(note.text, test.text) : contains(value_text(note), test.text);
        }
        break;
      }
      case What::kStatus:
        for (std::uint32_t row = 0; row < resources; ++row) {
          const std::string_view status = status_of(in.run, row);
          hits[row] = hits[row] || status == test.text || (test.text == "settled" && model.has(row, ResourceFlag::kSettled));
        }
        break;
      case What::kRequest: {
        const std::vector<std::uint32_t> requests = requests_of(model);
        const std::uint32_t wanted = test.value == 0 || test.value > requests.size() ? TraceModel::kNone : requests[test.value - 1];
        if (wanted == TraceModel::kNone && test.text != "none") break;
        for (std::uint32_t row = 0; row < resources; ++row) hits[row] = hits[row] || in.run.request[row] == wanted;
        break;
      }
      case What::kTrigger: {
        const std::uint32_t by = model.find(static_cast<ResourceId>(test.value));
        for (std::uint32_t row = 0; row < resources && by != TraceModel::kNone; ++row) hits[row] = hits[row] || model.trigger[row] == by;
        break;
      }
      case What::kLane:
        for (std::uint32_t row = 0; row < resources; ++row) {
          const std::uint32_t lane = model.created_lane[row];
          if (lane == TraceModel::kNone || hits[row]) continue;
          hits[row] = std::to_string(thence::number(model.lanes[lane].id)) == test.text || lowered(model.text(model.lanes[lane].name)) == test.text;
        }
        break;
      case What::kOnPath:
        for (std::uint32_t row = 0; row < resources && !in.on_path.empty(); ++row) hits[row] = hits[row] || in.on_path[in.run.unit[row]] != 0;
        break;
      case What::kFinding:
        for (const Finding& one : in.findings) {
          if (test.text != "any" && one.id != test.text) continue;
          for (const std::uint32_t row : one.resources) hits[row] = true;
        }
        break;
      case What::kNumber:
        for (std::uint32_t row = 0; row < resources; ++row) {
          std::uint64_t value = 0;
          if (!hits[row] && number_of(in, row, test.number, value)) hits[row] = holds(value, test);
        }
        break;
    }
  }
  static bool holds(std::uint64_t value, const Test& test) noexcept {
    switch (test.compare) {
      case Compare::kMore: return value > test.value;
      case Compare::kAtLeast: return value >= test.value;
      case Compare::kLess: return value < test.value;
      case Compare::kAtMost: return value <= test.value;
      case Compare::kEqual: return value == test.value;
    }
    return false;
  }
  /// False: it is not known.
  static bool number_of(const In& in, std::uint32_t row, Number which, std::uint64_t& value) noexcept {
    const Execution& run = in.run;
    if (!run.model.has(row, ResourceFlag::kCreated)) return false;
    const auto callbacks = run.model.invocations_of(row);
    const std::uint64_t created = run.created(row);
    const auto since = [&](std::uint64_t time) { return time > created ? time - created : 0; };
    switch (which) {
      case Number::kWait:
        if (callbacks.empty() && !run.settle_known[row]) return false;
        value = callbacks.empty() ? since(run.settled[row]) : since(run.start(callbacks.front()));
        return true;
      case Number::kExec:
        value = 0;
        for (const std::uint32_t at : callbacks) value += run.self[at];
        return !callbacks.empty();
      case Number::kTotal: {
        if (callbacks.empty() && !run.settle_known[row]) return false;
        std::uint64_t last = created;
        for (const std::uint32_t at : callbacks) last = std::max(last, run.end(at));
        value = callbacks.empty() ? since(run.settled[row]) : since(last);
        return true;
      }
      case Number::kDelay: {
        bool known = false;
        value = 0;
        for (const std::uint32_t at : callbacks) {
          if (run.model.invocations[at].wake == TraceModel::kNone) continue;
          known = true;
          value += run.start(at) - run.ready[at];
        }
        return known;
      }
      case Number::kCreated: value = created - std::min(created, run.model.first_time); return true;
      case Number::kDepth:
        value = in.tree.depth[row];
        return run.model.has(run.top[row], ResourceFlag::kCreated);  // else something above it was lost
      case Number::kInvocations: value = callbacks.size(); return true;
    }
    return false;
  }

  static bool was_there(const TraceModel& model, std::uint32_t row) noexcept {
    return model.has(row, ResourceFlag::kCreated) || model.has(row, ResourceFlag::kSettled) ||
           model.has(row, ResourceFlag::kDestroyed) || !model.invocations_of(row).empty();
  }
  static std::size_t type_of(const TraceModel& model, std::uint32_t row) noexcept {
    return model.has(row, ResourceFlag::kCreated) && model.type[row] < model.type_names.size() ? model.type[row] : model.type_names.size();
  }
  template <class Accepts>
  static std::vector<bool> by_type(const TraceModel& model, Accepts&& accepts) {
    std::vector<bool> made(model.type_names.size() + 1, false);
    std::vector<bool> used(made.size(), false);
    for (std::uint32_t row = 0; row < model.resources(); ++row) {
      const std::size_t type = type_of(model, row);
      if (used[type]) continue;
      used[type] = true;
      made[type] = accepts(model.type_name(row));
    }
    return made;
  }
  /// A stack is accepted if one of its frames is.
  template <class Accepts>
  static std::vector<bool> by_stack(const TraceModel& model, Accepts&& accepts) {
    std::vector<bool> frames(model.frames.size(), false);
    for (std::size_t frame = 0; frame < frames.size(); ++frame) frames[frame] = accepts(frame_text(model, model.frames[frame]));
    std::vector<bool> made(model.stacks.size(), false);
    for (std::uint32_t stack = 0; stack < made.size(); ++stack) {
      for (const std::uint32_t frame : model.frames_of(stack)) made[stack] = made[stack] || frames[frame];
    }
    return made;
  }

  std::vector<All> either_;  // or of ands; empty: everything
  std::string error_;
  std::size_t error_at_ = 0;
};

}  // namespace THENCE_ABI
}  // namespace thence
