// SPDX-License-Identifier: MIT
#include "thence/session/native_symbols.hpp"

#include <dlfcn.h>

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "support/catch.hpp"

using namespace thence;

/// In the dynamic symbol table: the test is linked with -rdynamic.
[[gnu::noinline, gnu::visibility("default")]] int some_function_of_the_test(int n) {
  asm volatile("" : "+r"(n));
  return n + 1;
}
namespace {
[[gnu::noinline]] int hidden_function(int n) {
  asm volatile("" : "+r"(n));
  return n + 2;
}

template <class Function>
std::uint64_t address_of(Function* function) {
  return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(function));
}
std::string output_of(const std::string& command) {
  std::string text;
  FILE* const pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return {};
  std::array<char, 256> line;
  while (std::fgets(line.data(), line.size(), pipe) != nullptr) text += line.data();
  pclose(pipe);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}
}  // namespace

TEST_CASE("a function of the program has its module, its demangled name and its offset") {
  NativeSymbols symbols;
  const std::uint64_t pc = address_of(&some_function_of_the_test);
  const NativeSymbol symbol = symbols.resolve(pc + 3);
  CHECK(symbol.function == "some_function_of_the_test(int)");
  CHECK(symbol.function_offset == 3);
  CHECK(std::string(symbol.module) == output_of("readlink /proc/" + std::to_string(getpid()) + "/exe"));
  CHECK(symbols.resolve(pc + 3).function.data() == symbol.function.data());  // remembered
}

TEST_CASE("the build id and the relative address are those of the module's own file") {
  NativeSymbols symbols;
  const NativeSymbol symbol = symbols.resolve(address_of(&some_function_of_the_test));
  const std::string module(symbol.module);
  const std::string id = output_of("readelf -n '" + module + "' | sed -n 's/.*Build ID: //p'");
  if (id.empty()) WARN("no readelf, or a program without a build id: not compared");
  if (!id.empty()) CHECK(std::string(symbol.build_id) == id);
  const std::string value =
      output_of("nm -C '" + module + "' | sed -n 's/^\\([0-9a-f]*\\) T some_function_of_the_test(int)$/\\1/p'");
  if (!value.empty()) CHECK(symbol.relative_pc == std::strtoull(value.c_str(), nullptr, 16));
  if (value.empty()) WARN("no nm: not compared");
}

TEST_CASE("a function that the dynamic symbol table does not have is unknown by name, not by place") {
  NativeSymbols symbols;
  const NativeSymbol symbol = symbols.resolve(address_of(&hidden_function));
  CHECK_FALSE(symbol.module.empty());
  CHECK(symbol.relative_pc != 0);
  CHECK(symbol.function.find("hidden_function") == std::string::npos);
}

TEST_CASE("a function of a shared library is found there") {
  NativeSymbols symbols;
  void* const function = dlsym(RTLD_DEFAULT, "gnu_get_libc_version");
  REQUIRE(function != nullptr);
  const NativeSymbol symbol = symbols.resolve(static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(function)));
  CHECK(symbol.module.find("libc") != std::string::npos);
  CHECK(symbol.relative_pc < 0x1000'0000);
}

TEST_CASE("an address in no module is unknown, and is its own relative one") {
  NativeSymbols symbols;
  int on_the_stack = some_function_of_the_test(1) + hidden_function(1);
  for (const std::uint64_t pc : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0},
                                 static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&on_the_stack))}) {
    const NativeSymbol symbol = symbols.resolve(pc);
    CHECK(symbol.module.empty());
    CHECK(symbol.build_id.empty());
    CHECK(symbol.function.empty());
    CHECK(symbol.relative_pc == pc);
  }
}
