// SPDX-License-Identifier: MIT
#include "thence/core/copy_short.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

using thence::detail::copy_short;

namespace {

/// A row of 200 bytes into whose middle the text was copied.
template <std::size_t kMost, class Byte>
std::string copied(std::string_view text) {
  std::vector<Byte> row(200, static_cast<Byte>('.'));
  const Byte* const end = copy_short<kMost>(row.data() + 50, text);
  CHECK(end == row.data() + 50 + text.size());
  return {reinterpret_cast<const char*>(row.data()), row.size()};
}

}  // namespace

TEST_CASE("a text of each length is copied whole, and nothing beside it is written") {
  std::string text;
  for (std::size_t size = 0; size <= 120; ++size) {
    INFO("size " << size);
    // The text stands alone in memory, so that a sanitizer sees what is read beyond it.
    const std::vector<char> alone(text.begin(), text.end());
    std::string expected(200, '.');
    std::copy(text.begin(), text.end(), expected.begin() + 50);
    const std::string_view view(alone.data(), alone.size());
    if (size <= 24) CHECK(copied<24, char>(view) == expected);
    CHECK(copied<120, std::byte>(view) == expected);
    text += static_cast<char>('a' + size % 26);
  }
}
