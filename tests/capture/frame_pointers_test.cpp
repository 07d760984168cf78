// SPDX-License-Identifier: MIT
#include "thence/capture/frame_pointers.hpp"

#include <pthread.h>
#include <ucontext.h>

#include <array>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace thence;

namespace {

/// Captures at the bottom of `depth` calls of itself; `returns` gets what the compiler says each call returns to, innermost first.
[[gnu::noinline]] StackId deep(int depth, FramePointerStacks& stacks, StackWords& table,
                               std::vector<std::uintptr_t>& returns) {
  const StackId id =
      depth == 0 ? stacks.capture(table, SourceSite::current()) : deep(depth - 1, stacks, table, returns);
  returns.push_back(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
  asm volatile("" : : : "memory");
  return id;
}
std::vector<std::uint64_t> frames_of(const StackWords& table, StackId id) {
  const auto words = table.frames(id);
  if (words.empty()) return {};
  CHECK(words[0] == static_cast<std::uint64_t>(StackFormat::kNative));
  return {words.begin() + 1, words.end()};
}

}  // namespace

#if THENCE_TEST_FRAME_POINTERS

TEST_CASE("a program that keeps frame pointers is seen to do so") {
  const FramePointerStacks stacks;
  CHECK(stacks.mode() == FramePointerStacks::Mode::kFramePointers);
  CHECK(stacks.mode_name() == "frame pointers");
}

TEST_CASE("each frame is the call that the compiler says the callee returns to") {
  FramePointerStacks stacks;
  StackWords table;
  std::vector<std::uintptr_t> returns;
  const std::vector<std::uint64_t> frames = frames_of(table, deep(5, stacks, table, returns));
  REQUIRE(returns.size() == 6);
  REQUIRE(frames.size() >= 7);
  // The innermost is the call of capture() itself; then each caller, an address inside the call.
  for (std::size_t n = 0; n != returns.size(); ++n) CHECK(frames[n + 1] + 1 == returns[n]);
}

TEST_CASE("equal stacks have one id, others another") {
  FramePointerStacks stacks;
  StackWords table;
  std::vector<std::uintptr_t> returns;
  StackId ids[3];
  for (int n = 0; n != 3; ++n) ids[n] = deep(n == 2 ? 4 : 3, stacks, table, returns);
  CHECK(ids[0] != StackId::kNone);
  CHECK(ids[0] == ids[1]);
  CHECK(ids[0] != ids[2]);
}

TEST_CASE("no more than 32 frames are taken, the innermost ones") {
  FramePointerStacks stacks;
  StackWords table;
  std::vector<std::uintptr_t> returns;
  const std::vector<std::uint64_t> frames = frames_of(table, deep(100, stacks, table, returns));
  REQUIRE(frames.size() == 32);
  for (std::size_t n = 0; n != 31; ++n) CHECK(frames[n + 1] + 1 == returns[n]);
}

TEST_CASE("a capture made on one thread finds another thread's stack at its first use there") {
  FramePointerStacks stacks;
  StackWords table;
  std::vector<std::uintptr_t> returns;
  StackId id{};
  std::thread([&] { id = deep(2, stacks, table, returns); }).join();
  const std::vector<std::uint64_t> frames = frames_of(table, id);
  REQUIRE(frames.size() >= 4);
  for (std::size_t n = 0; n != returns.size(); ++n) CHECK(frames[n + 1] + 1 == returns[n]);
  CHECK(stacks.foreign_stacks() == 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !THENCE_TEST_SANITIZED
namespace {
struct Fiber {
  ucontext_t own, other;
  FramePointerStacks* stacks;
  StackWords* table;
  StackId id = static_cast<StackId>(99);
};
Fiber fiber;
void run_fiber() {
  fiber.id = fiber.stacks->capture(*fiber.table, SourceSite::current());
  swapcontext(&fiber.other, &fiber.own);
}
}  // namespace

TEST_CASE("on a stack that is not the thread's nothing is read, and it is counted") {
  FramePointerStacks stacks;
  StackWords table;
  fiber.stacks = &stacks;
  fiber.table = &table;
  for (int turn = 1; turn <= 2; ++turn) {
    const auto memory = std::make_unique<std::array<char, 65'536>>();
    getcontext(&fiber.other);
    fiber.other.uc_stack.ss_sp = memory->data();
    fiber.other.uc_stack.ss_size = memory->size();
    makecontext(&fiber.other, run_fiber, 0);
    swapcontext(&fiber.own, &fiber.other);
    CHECK(fiber.id == StackId::kNone);
    CHECK(stacks.foreign_stacks() == static_cast<std::uint64_t>(turn));
  }
  // Back on its own stack it goes on.
  std::vector<std::uintptr_t> returns;
  CHECK(deep(1, stacks, table, returns) != StackId::kNone);
}
#endif

#if defined(__x86_64__)
namespace {
struct Argument {
  FramePointerStacks* stacks;
  StackWords* table;
  StackId id;
};
}  // namespace

extern "C" [[gnu::noinline]] void capture_for(Argument* argument) {
  argument->id = argument->stacks->capture(*argument->table, SourceSite::current());
  asm volatile("" : : : "memory");
}

namespace {
/// Calls capture_for with this in the frame pointer's register, as code without frame pointers may.
[[gnu::noinline]] void capture_with(std::uintptr_t frame_pointer, Argument* argument) {
  asm volatile(
      "mov %%rsp, %%rbx\n\t"
      "sub $128, %%rsp\n\t"  // past the red zone
      "and $-16, %%rsp\n\t"
      "push %%rbp\n\t"
      "push %%rbp\n\t"
      "mov %%rdx, %%rbp\n\t"
      "call capture_for\n\t"
      "pop %%rbp\n\t"
      "pop %%rbp\n\t"
      "mov %%rbx, %%rsp\n\t"
      : "+D"(argument), "+d"(frame_pointer)
      :
      : "rax", "rbx", "rcx", "rsi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
        "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory", "cc");
}
}  // namespace

TEST_CASE("whatever the frame pointer's register holds, nothing outside the stack is read") {
  pthread_attr_t attributes;
  REQUIRE(pthread_getattr_np(pthread_self(), &attributes) == 0);
  void* lowest = nullptr;
  std::size_t size = 0;
  pthread_attr_getstack(&attributes, &lowest, &size);
  pthread_attr_destroy(&attributes);
  const auto begin = reinterpret_cast<std::uintptr_t>(lowest);
  const std::uintptr_t end = begin + size;
  std::uintptr_t here = 0;
  FramePointerStacks stacks;
  StackWords table;
  const auto near = reinterpret_cast<std::uintptr_t>(&here);
  for (const std::uintptr_t garbage :
       {std::uintptr_t{0}, std::uintptr_t{1}, std::uintptr_t{8}, begin, begin + 8, near - 65'536, near + 1, near + 4,
        end, end - 1, end - 8, end - 15, end + 4096, ~std::uintptr_t{0}, ~std::uintptr_t{0} - 15,
        std::uintptr_t{0x7fff'ffff'ffff'0000}, std::uintptr_t{0xdead'beef'0000'0000}}) {
    Argument argument{&stacks, &table, StackId::kNone};
    capture_with(garbage, &argument);
    // The call of capture() in capture_for, the call of capture_for; then the chain is broken.
    const std::vector<std::uint64_t> frames = frames_of(table, argument.id);
    CHECK(frames.size() >= 1);
    CHECK(frames.size() <= 3);
  }
}
#endif

#else

TEST_CASE("a program without frame pointers is told that there are no stacks, and gets none") {
  FramePointerStacks stacks;
  StackWords table;
  std::vector<std::uintptr_t> returns;
  CHECK(stacks.mode() == FramePointerStacks::Mode::kUnavailable);
  CHECK(stacks.mode_name() == "unavailable: the program was built without frame pointers");
  CHECK(deep(3, stacks, table, returns) == StackId::kNone);
  CHECK(frames_of(table, StackId::kNone).empty());
  CHECK(table.size() == 0);
  CHECK(stacks.foreign_stacks() == 0);
}

#endif
