// SPDX-License-Identifier: MIT
#include "thence/core/vector.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using thence::detail::Vector;

namespace {

/// Long enough to lie on the heap, so that what is moved wrongly is seen by AddressSanitizer.
std::string text(int n) { return "a text of some length, number " + std::to_string(n); }

template <class T>
std::vector<T> copy_of(const Vector<T>& all) {
  return {all.begin(), all.end()};
}

template <class T>
Vector<T> with(std::initializer_list<T> values) {
  Vector<T> all;
  for (const T& value : values) all.push_back(value);
  return all;
}

}  // namespace

TEST_CASE("what was added stays in order while the memory grows, of plain values and of those that own something") {
  Vector<std::uint64_t> numbers;
  Vector<std::string> texts;
  for (int n = 0; n != 1000; ++n) {
    numbers.push_back(static_cast<std::uint64_t>(n));
    CHECK(texts.emplace_back(text(n)) == text(n));
  }
  REQUIRE(numbers.size() == 1000);
  REQUIRE(texts.size() == 1000);
  bool same = true;
  for (int n = 0; n != 1000; ++n) {
    same = same && numbers[static_cast<std::size_t>(n)] == static_cast<std::uint64_t>(n) && texts[static_cast<std::size_t>(n)] == text(n);
  }
  CHECK(same);
  CHECK(texts.front() == text(0));
  CHECK(texts.back() == text(999));
}

TEST_CASE("resize adds values that are zero, or as told, and keeps those there are") {
  Vector<int> numbers = with({1, 2, 3});
  numbers.resize(5);
  CHECK(copy_of(numbers) == std::vector{1, 2, 3, 0, 0});
  numbers.resize(2);
  numbers.resize(4, 7);
  CHECK(copy_of(numbers) == std::vector{1, 2, 7, 7});
  Vector<std::string> texts = with({text(1), text(2)});
  texts.resize(1);
  texts.resize(3);
  CHECK(copy_of(texts) == std::vector<std::string>{text(1), "", ""});
}

TEST_CASE("values are put in and taken out anywhere, the others stay in order") {
  Vector<std::string> texts = with({text(1), text(3)});
  texts.insert(texts.begin() + 1, text(2));
  texts.insert(texts.end(), text(4));
  texts.insert(texts.begin(), text(0));
  CHECK(copy_of(texts) == std::vector{text(0), text(1), text(2), text(3), text(4)});
  texts.erase(texts.begin() + 1, texts.begin() + 3);
  CHECK(copy_of(texts) == std::vector{text(0), text(3), text(4)});
  texts.erase(texts.begin(), texts.begin());
  texts.erase(texts.end() - 1);
  CHECK(copy_of(texts) == std::vector{text(0), text(3)});
  Vector<int> numbers = with({1, 2, 3, 4, 5, 6});
  numbers.erase_if([](int n) { return n % 2 == 0; });
  CHECK(copy_of(numbers) == std::vector{1, 3, 5});
  numbers.erase_if([](int) { return true; });
  CHECK(numbers.empty());
}

TEST_CASE("a vector that is moved takes all along and leaves nothing behind") {
  Vector<std::string> from = with({text(1), text(2)});
  Vector<std::string> to = with({text(3)});
  to = std::move(from);
  CHECK(copy_of(to) == std::vector{text(1), text(2)});
  CHECK(from.empty());
  const Vector<std::string> third(std::move(to));
  CHECK(copy_of(third) == std::vector{text(1), text(2)});
  CHECK(to.empty());
}

TEST_CASE("values that ask for an alignment have it") {
  struct alignas(64) Line {
    char bytes[64];
  };
  Vector<Line> lines;
  bool aligned = true;
  for (int n = 0; n != 20; ++n) {
    lines.emplace_back();
    aligned = aligned && reinterpret_cast<std::uintptr_t>(lines.data()) % 64 == 0;
  }
  CHECK(aligned);
}

TEST_CASE("memory of any alignment is given back once") {
  struct alignas(64) Line {
    std::uint64_t words[8] = {};
  };
  Vector<Line> lines(3);
  CHECK(reinterpret_cast<std::uintptr_t>(lines.data()) % 64 == 0);
  lines.resize(100);
  CHECK(reinterpret_cast<std::uintptr_t>(lines.data()) % 64 == 0);
}
