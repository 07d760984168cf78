// SPDX-License-Identifier: MIT
#include "thence/core/view.hpp"

#include <array>
#include <cstddef>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/core/vector.hpp"

using thence::View;

namespace {

struct Animal {
  int legs = 4;
};
struct Dog : Animal {
  int age = 0;
};

template <class Row, class T>
constexpr bool kMakes = std::is_convertible_v<Row, View<T>>;

int sum(View<const int> numbers) {
  int all = 0;
  for (const int number : numbers) all += number;
  return all;
}
int sum_of_span(std::span<const int> numbers) { return sum(numbers); }

/// As a host may write it.
struct SinkOfSpans : thence::IgnoringSink {
  void take(std::span<const thence::TraceEvent> events) { taken += events.size(); }
  std::size_t taken = 0;
};

}  // namespace

TEST_CASE("a view is made of whatever has its elements in a row, and of nothing else") {
  const int array[] = {1, 2, 3};
  int written[] = {1, 2, 4};
  thence::detail::Vector<int> own;
  own.push_back(5);
  CHECK(sum(array) == 6);
  CHECK(sum(written) == 7);
  CHECK(sum(std::vector{1, 2}) == 3);
  CHECK(sum(std::array{1, 3}) == 4);
  CHECK(sum(std::span<int>(written)) == 7);
  CHECK(sum(own) == 5);
  CHECK(sum({array + 1, 2}) == 5);
  CHECK(sum({}) == 0);

  static_assert(kMakes<std::string, const char>);
  static_assert(!kMakes<std::vector<Dog>, const Animal>);  // their elements are not as far apart
  static_assert(!kMakes<const std::vector<int>&, int>);    // read only
  static_assert(!kMakes<std::vector<long>, const int>);
  static_assert(!kMakes<int, const int>);
  static_assert(std::is_trivially_copyable_v<View<const int>>);
}

TEST_CASE("a view is cut as a std::span is") {
  const int numbers[] = {1, 2, 3, 4};
  const View<const int> all = numbers;
  CHECK(all.size() == 4);
  CHECK(all.size_bytes() == 4 * sizeof(int));
  CHECK(all.front() == 1);
  CHECK(all.back() == 4);
  CHECK(all[2] == 3);
  CHECK(sum(all.first(2)) == 3);
  CHECK(sum(all.last(1)) == 4);
  CHECK(sum(all.subspan(1)) == 9);
  CHECK(sum(all.subspan(1, 2)) == 5);
  CHECK(all.subspan(4).empty());
  CHECK(View<const int>().empty());
}

TEST_CASE("what is written through a view is seen in what it was made of") {
  int numbers[] = {1, 2};
  const View<int> all = numbers;
  all[0] = 7;
  for (int& number : all.last(1)) number = 8;
  CHECK(sum(numbers) == 15);
}

TEST_CASE("a std::span is made of a view, so that a host's sink may take either") {
  const int numbers[] = {1, 2, 3};
  CHECK(sum_of_span(View<const int>(numbers)) == 6);
  static_assert(std::ranges::contiguous_range<View<const int>> && std::ranges::sized_range<View<const int>>);

  static_assert(thence::EventSink<SinkOfSpans>);
  const thence::TraceEvent events[3] = {};
  SinkOfSpans sink;
  sink.take(View<const thence::TraceEvent>(events));
  CHECK(sink.taken == 3);
}
