// SPDX-License-Identifier: MIT
#include "thence/storage/stack_deduplicator.hpp"

#include <map>
#include <random>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace thence;

namespace {
using Frames = std::vector<std::uint64_t>;
/// Sends everything to the same place.
struct OneHash {
  static std::uint64_t hash(const void*, std::size_t) noexcept { return 7; }
};
}  // namespace

TEST_CASE("equal frames have one id, others another, numbered from 1 by first sight") {
  StackDeduplicator<std::uint64_t> stacks;
  const Frames a = {1, 2, 3}, b = {1, 2}, c = {3, 2, 1};
  CHECK(number(stacks.intern(a)) == 1);
  CHECK(number(stacks.intern(b)) == 2);
  CHECK(number(stacks.intern(c)) == 3);
  CHECK(number(stacks.intern(Frames{1, 2, 3})) == 1);
  CHECK(number(stacks.intern(b)) == 2);
  CHECK(stacks.size() == 3);
  const auto frames = stacks.frames(static_cast<StackId>(3));
  CHECK(Frames(frames.begin(), frames.end()) == c);
}

TEST_CASE("a hash that grows word by word is that of the whole, and spreads stacks that differ in one address") {
  std::vector<bool> taken(1 << 16);
  std::size_t places = 0;
  for (std::uint64_t n = 0; n != taken.size(); ++n) {
    const Frames frames = {1, 0x5555'0000'1000 + n * 4, 0x5555'0000'2000, 0x7fff'0000'3000};
    WordHash growing;
    for (const std::uint64_t frame : frames) growing.add(frame);
    const std::uint64_t whole = WordHash::hash(frames.data(), frames.size() * sizeof frames[0]);
    REQUIRE(growing.value() == whole);
    if (!taken[whole & 0xffff]) ++places;
    taken[whole & 0xffff] = true;
  }
  CHECK(places > 39'000);  // chance alone: 1 - 1/e of 65 536
  WordHash one_way, other_way;
  for (const std::uint64_t word : {1u, 2u, 3u}) one_way.add(word);
  for (const std::uint64_t word : {3u, 2u, 1u}) other_way.add(word);
  CHECK(one_way.value() != other_way.value());
}

TEST_CASE("no frames are no stack, and an id that no one gave has no frames") {
  StackDeduplicator<std::uint64_t> stacks{{.max_stacks = 4, .max_frames = 16}};
  CHECK(stacks.intern({}) == StackId::kNone);
  CHECK(stacks.frames(StackId::kNone).empty());
  CHECK(stacks.frames(static_cast<StackId>(3)).empty());
  CHECK(stacks.frames(static_cast<StackId>(4'000'000)).empty());
  CHECK(stacks.size() == 0);
  CHECK(stacks.refused() == 0);
}

TEST_CASE("equal hashes are no proof: stacks whose hashes collide stay apart") {
  StackDeduplicator<std::uint64_t, StackId, OneHash> stacks{{.max_stacks = 100, .max_frames = 1000}};
  std::vector<StackId> ids;
  for (std::uint64_t n = 0; n != 100; ++n) ids.push_back(stacks.intern(Frames{n, n + 1}));
  for (std::uint64_t n = 0; n != 100; ++n) {
    CHECK(number(ids[n]) == n + 1);
    CHECK(stacks.intern(Frames{n, n + 1}) == ids[n]);
    const auto frames = stacks.frames(ids[n]);
    CHECK(Frames(frames.begin(), frames.end()) == Frames{n, n + 1});
  }
  CHECK(stacks.intern(Frames{5}) == StackId::kNone);  // a prefix of another, and the table is full
  CHECK(stacks.refused() == 1);
}

TEST_CASE("a full table refuses what is new, counts it, and still finds the others") {
  StackDeduplicator<std::uint64_t> stacks{{.max_stacks = 2, .max_frames = 100}};
  const StackId one = stacks.intern(Frames{1});
  const StackId two = stacks.intern(Frames{2});
  CHECK(stacks.intern(Frames{3}) == StackId::kNone);
  CHECK(stacks.intern(Frames{3}) == StackId::kNone);
  CHECK(stacks.refused() == 2);
  CHECK(stacks.intern(Frames{1}) == one);
  CHECK(stacks.intern(Frames{2}) == two);
  CHECK(stacks.refused() == 2);
}

TEST_CASE("a stack that does not fit the frames left is refused; a shorter one is taken") {
  StackDeduplicator<std::uint64_t> stacks{{.max_stacks = 10, .max_frames = 5}};
  CHECK(stacks.intern(Frames{1, 2, 3}) != StackId::kNone);
  CHECK(stacks.intern(Frames{4, 5, 6}) == StackId::kNone);
  CHECK(stacks.intern(Frames{4, 5}) != StackId::kNone);
  CHECK(stacks.intern(Frames{7}) == StackId::kNone);
  CHECK(stacks.refused() == 2);
}

TEST_CASE("random stacks get the ids that a map gives them") {
  std::mt19937 random(1);
  StackDeduplicator<std::uint64_t> stacks;
  std::map<Frames, std::uint64_t> expected;
  for (int step = 0; step != 20'000; ++step) {
    Frames frames(1 + random() % 6);
    for (std::uint64_t& frame : frames) frame = random() % 5;
    const auto [found, is_new] = expected.try_emplace(frames, expected.size() + 1);
    REQUIRE(number(stacks.intern(frames)) == found->second);
  }
  CHECK(stacks.size() == expected.size());
}

TEST_CASE("frames may be any trivially copyable type without padding") {
  struct Frame {
    std::uint32_t function;
    std::uint32_t line;
  };
  StackDeduplicator<Frame> stacks{{.max_stacks = 4, .max_frames = 8}};
  const Frame a[] = {{1, 10}, {2, 20}};
  const Frame b[] = {{1, 10}, {2, 21}};
  CHECK(stacks.intern(a) != stacks.intern(b));
  CHECK(stacks.frames(stacks.intern(b))[1].line == 21);
}

TEST_CASE("a string stands once in its table, and bytes of any value are text") {
  StringDeduplicator strings{{.max_stacks = 3, .max_frames = 64}};
  const StringId hello = intern(strings, "hello");
  CHECK(intern(strings, std::string("hel") + "lo") == hello);
  CHECK(text_of(strings, hello) == "hello");
  const std::string zeroes("a\0b", 3);
  CHECK(text_of(strings, intern(strings, zeroes)) == zeroes);
  CHECK(intern(strings, "") == StringId::kNone);
  CHECK(text_of(strings, StringId::kNone).empty());
  CHECK(intern(strings, "third") != StringId::kNone);
  CHECK(intern(strings, "fourth") == StringId::kNone);
  CHECK(strings.refused() == 1);
}
