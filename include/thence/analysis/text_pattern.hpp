// SPDX-License-Identifier: MIT
// text_pattern.hpp: regular expressions that cannot run away.
//
// A search box takes whatever is typed into it, in a browser and over a million resources: no backtracking, no recursion, no
// locale, no exception. POSIX extended syntax without back references, and \d \w \s; case does not matter.
//   TextPattern pattern;
//   if (const char* why = pattern.compile("get(user|cart)s?$")) ...      // what is wrong with it
//   pattern.matches("GetCart")                                           // anywhere in the text
// Layer: analysis (includes model/ and below).
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "thence/analysis/characters.hpp"
#include "thence/config/version.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// A compiled expression.
///   Shape     at most kMost steps of 40 bytes.
///   Threads   one: a match writes into it.
///   Cost      compile: O(steps x nesting). matches: O(text x steps).
///   Errors    compile returns what is wrong; nothing matches then.
class TextPattern {
 public:
  static constexpr std::size_t kMost = 4096;

  /// Null: it is understood.
  [[nodiscard]] const char* compile(std::string_view text) {
    program_.clear();
    const char* const why = parse(text);
    if (why != nullptr) {
      program_.clear();
      return why;
    }
    program_.push_back({Op::kMatch, 0, 0, {}});
    marks_.assign(program_.size(), 0);
    stamp_ = 0;
    return nullptr;
  }

  /// Whether some part of `text` is one of those that the expression stands for.
  [[nodiscard]] bool matches(std::string_view text) {
    if (program_.empty()) return false;
    now_.clear();
    for (std::size_t at = 0; at <= text.size(); ++at) {
      next_stamp();
      next_.swap(now_);  // what the last character led to
      now_.clear();
      bool done = false;
      for (const std::uint32_t step : next_) done = add(step, at, text.size()) || done;
      done = add(0, at, text.size()) || done;  // it may begin anywhere
      if (done) return true;
      if (at == text.size()) return false;
      const auto c = static_cast<unsigned char>(text[at]);
      next_.clear();
      for (const std::uint32_t step : now_) {
        if (program_[step].op == Op::kClass && program_[step].set[c]) next_.push_back(step + 1);
      }
      now_.swap(next_);
    }
    return false;
  }

 private:
  enum class Op : std::uint8_t { kClass, kSplit, kJump, kBegin, kEnd, kMatch };
  struct Step {
    Op op = Op::kMatch;
    std::int32_t first = 0;   ///< where to go on, from here; a split goes on at both
    std::int32_t second = 0;
    std::bitset<256> set;
  };
  using Fragment = std::vector<Step>;
  struct Group {
    Fragment alternatives;
    Fragment sequence;
    std::size_t last = 0;  ///< where the last atom of `sequence` begins
    bool has_alternatives = false;
    bool has_last = false;
  };

  void next_stamp() {
    if (++stamp_ != 0) return;
    marks_.assign(marks_.size(), 0);
    stamp_ = 1;
  }
  /// Puts a step and all that it leads to without a character into `now_`. True: it has matched.
  bool add(std::uint32_t from, std::size_t at, std::size_t size) {
    bool done = false;
    way_.assign(1, from);
    while (!way_.empty()) {
      const std::uint32_t step = way_.back();
      way_.pop_back();
      if (marks_[step] == stamp_) continue;
      marks_[step] = stamp_;
      const Step& what = program_[step];
      const auto go = [&](std::int32_t by) { way_.push_back(static_cast<std::uint32_t>(static_cast<std::int64_t>(step) + by)); };
      switch (what.op) {
        case Op::kClass: now_.push_back(step); break;
        case Op::kSplit:
          go(what.second);
          go(what.first);
          break;
        case Op::kJump: go(what.first); break;
        case Op::kBegin:
          if (at == 0) go(1);
          break;
        case Op::kEnd:
          if (at == size) go(1);
          break;
        case Op::kMatch: done = true; break;
      }
    }
    return done;
  }

  static std::int32_t length(const Fragment& fragment) noexcept { return static_cast<std::int32_t>(fragment.size()); }
  static void append(Fragment& to, const Fragment& from) { to.insert(to.end(), from.begin(), from.end()); }
  static void either(Group& group) {
    if (!group.has_alternatives) {
      group.alternatives = std::move(group.sequence);
    } else {
      Fragment made;
      made.push_back({Op::kSplit, 1, length(group.alternatives) + 2, {}});
      append(made, group.alternatives);
      made.push_back({Op::kJump, length(group.sequence) + 1, 0, {}});
      append(made, group.sequence);
      group.alternatives = std::move(made);
    }
    group.has_alternatives = true;
    group.sequence.clear();
    group.has_last = false;
  }
  /// From `least` to `most` times; most -1: without end.
  [[nodiscard]] static bool repeat(Group& group, int least, int most) {
    const Fragment atom(group.sequence.begin() + static_cast<std::ptrdiff_t>(group.last), group.sequence.end());
    group.sequence.resize(group.last);
    const std::size_t copies = static_cast<std::size_t>(most < 0 ? least + 1 : most);
    if ((atom.size() + 2) * (copies + 1) + group.sequence.size() > kMost) return false;
    for (int n = 0; n < least; ++n) append(group.sequence, atom);
    if (most < 0) {
      group.sequence.push_back({Op::kSplit, 1, length(atom) + 2, {}});
      append(group.sequence, atom);
      group.sequence.push_back({Op::kJump, -length(atom) - 1, 0, {}});
    }
    for (int n = least; n < most; ++n) {
      group.sequence.push_back({Op::kSplit, 1, length(atom) + 1, {}});
      append(group.sequence, atom);
    }
    return true;
  }

  static void put(std::bitset<256>& set, unsigned char c) noexcept {
    set.set(c);
    if (c >= 'a' && c <= 'z') set.set(static_cast<unsigned char>(c - 'a' + 'A'));
    if (c >= 'A' && c <= 'Z') set.set(static_cast<unsigned char>(c - 'A' + 'a'));
  }
  static void put_range(std::bitset<256>& set, unsigned from, unsigned to) noexcept {
    for (unsigned c = from; c <= to; ++c) put(set, static_cast<unsigned char>(c));
  }
  /// What stands for several after a backslash, or in [: :]; false: none of that name.
  static bool put_named(std::bitset<256>& set, std::string_view name) noexcept {
    if (name == "d" || name == "digit") put_range(set, '0', '9');
    else if (name == "w" || name == "alnum") { put_range(set, '0', '9'); put_range(set, 'a', 'z'); if (name == "w") set.set('_'); }
    else if (name == "s" || name == "space") { for (const char c : {' ', '\t', '\n', '\r', '\f', '\v'}) set.set(static_cast<unsigned char>(c)); }
    else if (name == "alpha" || name == "lower" || name == "upper") put_range(set, 'a', 'z');
    else if (name == "punct") { put_range(set, '!', '/'); put_range(set, ':', '@'); put_range(set, '[', '`'); put_range(set, '{', '~'); }
    else if (name == "xdigit") { put_range(set, '0', '9'); put_range(set, 'a', 'f'); }
    else return false;
    return true;
  }

  /// From behind the [ ; leaves `at` behind the ].
  [[nodiscard]] static const char* bracket(std::string_view text, std::size_t& at, std::bitset<256>& set) noexcept {
    const bool inverted = at < text.size() && text[at] == '^';
    if (inverted) ++at;
    for (bool first = true;; first = false) {
      if (at >= text.size()) return "the [ is not closed";
      if (text[at] == ']' && !first) break;
      if (text.substr(at).starts_with("[:")) {
        const std::size_t end = text.find(":]", at + 2);
        if (end == std::string_view::npos || !put_named(set, text.substr(at + 2, end - at - 2))) return "no such class of characters";
        at = end + 2;
        continue;
      }
      const auto from = static_cast<unsigned char>(text[at++]);
      if (at + 1 < text.size() && text[at] == '-' && text[at + 1] != ']') {
        const auto to = static_cast<unsigned char>(text[at + 1]);
        if (to < from) return "the range ends before it begins";
        put_range(set, from, to);
        at += 2;
      } else {
        put(set, from);
      }
    }
    ++at;
    if (inverted) set.flip();
    return nullptr;
  }

  const char* parse(std::string_view text) {
    std::vector<Group> groups(1);
    const auto atom = [&](Step step) {
      Group& group = groups.back();
      group.last = group.sequence.size();
      group.has_last = true;
      group.sequence.push_back(std::move(step));
    };
    for (std::size_t at = 0; at < text.size();) {
      std::size_t size = 0;
      for (const Group& group : groups) size += group.sequence.size() + group.alternatives.size();
      if (size > kMost) return "it is too long";
      const char c = text[at++];
      Step step;
      step.op = Op::kClass;
      switch (c) {
        case '(':
          if (groups.size() > 200) return "it is nested too deep";
          groups.push_back({});
          break;
        case ')': {
          if (groups.size() == 1) return "a ) without a (";
          either(groups.back());
          const Fragment made = std::move(groups.back().alternatives);
          groups.pop_back();
          Group& group = groups.back();
          group.last = group.sequence.size();
          group.has_last = true;
          append(group.sequence, made);
          break;
        }
        case '|': either(groups.back()); break;
        case '*':
        case '+':
        case '?':
          if (!groups.back().has_last) return "nothing to repeat";
          if (!repeat(groups.back(), c == '+' ? 1 : 0, c == '?' ? 1 : -1)) return "it is too long";
          break;
        case '{': {
          int bounds[2] = {0, -1};
          int bound = 0;
          bool digit = false;
          for (; at < text.size() && text[at] != '}'; ++at) {
            if (text[at] == ',' && bound == 0 && digit) {
              bound = 1;
            } else if (text[at] >= '0' && text[at] <= '9') {
              digit = true;
              if (bounds[bound] < 0) bounds[bound] = 0;
              bounds[bound] = bounds[bound] * 10 + (text[at] - '0');
              if (bounds[bound] > 255) return "more than 255 times";
            } else {
              return "expected {n}, {n,} or {n,m}";
            }
          }
          if (at == text.size() || !digit) return "expected {n}, {n,} or {n,m}";
          ++at;
          if (bound == 0) bounds[1] = bounds[0];
          if (bounds[1] >= 0 && bounds[1] < bounds[0]) return "the upper bound is below the lower one";
          if (!groups.back().has_last) return "nothing to repeat";
          if (!repeat(groups.back(), bounds[0], bounds[1])) return "it is too long";
          break;
        }
        case '^':
          step.op = Op::kBegin;
          atom(std::move(step));
          break;
        case '$':
          step.op = Op::kEnd;
          atom(std::move(step));
          break;
        case '.':
          step.set.set();
          atom(std::move(step));
          break;
        case '[':
          if (const char* why = bracket(text, at, step.set)) return why;
          atom(std::move(step));
          break;
        case '\\': {
          if (at == text.size()) return "a \\ at its end";
          const char what = text[at++];
          if (what == 'd' || what == 'w' || what == 's') {
            put_named(step.set, std::string_view(&what, 1));
          } else if (what >= '1' && what <= '9') {
            return "a back reference, which this does not know";
          } else {
            put(step.set, static_cast<unsigned char>(what));
          }
          atom(std::move(step));
          break;
        }
        default:
          put(step.set, static_cast<unsigned char>(c));
          atom(std::move(step));
          break;
      }
    }
    if (groups.size() != 1) return "a ( without a )";
    either(groups.back());
    program_ = std::move(groups.back().alternatives);
    return program_.size() > kMost ? "it is too long" : nullptr;
  }

  std::vector<Step> program_;
  std::vector<std::uint32_t> marks_;
  std::vector<std::uint32_t> now_;
  std::vector<std::uint32_t> next_;
  std::vector<std::uint32_t> way_;
  std::uint32_t stamp_ = 0;
};

/// Whether `text` is `pattern`, in which `*` stands for anything; case does not matter. O(text x pattern).
[[nodiscard]] inline bool matches_glob(std::string_view pattern, std::string_view text) noexcept {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t from = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = t;
    } else if (p < pattern.size() && detail::lower(pattern[p]) == detail::lower(text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++from;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace THENCE_ABI
}  // namespace thence
