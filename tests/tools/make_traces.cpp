// SPDX-License-Identifier: MIT
// make_traces.cpp: writes the traces that the command's tests read: make_traces <folder>
#include <fstream>
#include <string>
#include <string_view>

#include "exporters/made_trace.hpp"
#include "thence/formats/perfetto/perfetto_encoder.hpp"
#include "thence/session/native_symbols.hpp"
#include "thence/wire/byte_sink.hpp"

using namespace thence;

namespace {

template <class Tell>
void write(const std::string& path, Tell&& tell) {
  BufferSink out;
  PerfettoEncoder encoder{out};
  tell(encoder);
  std::ofstream file(path, std::ios::binary);
  file.write(out.text().data(), static_cast<std::streamsize>(out.text().size()));
}

}  // namespace

/// What the native frame of the trace points into; its name and line are what `symbolize` has to find.
[[gnu::noinline]] const void* a_function_to_be_found() {
  return __builtin_return_address(0);
}
[[gnu::noinline]] const void* the_caller_to_be_found() {
  const void* here = a_function_to_be_found();
  asm volatile("" : : "r"(here) : "memory");
  return here;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  write(folder + "/request.pftrace", [](auto& sink) { thence_test::tell_request(sink); });
  write(folder + "/chance.pftrace", [](auto& sink) { thence_test::tell_by_chance(sink, 7, 2000); });
  write(folder + "/requests.pftrace", [](auto& sink) {
    thence_test::Teller tell{sink};
    tell.begin(99);
    tell.lane(1, "main");
    tell.lane(2, "other");
    tell.clock(1'000, 900, 1'700'000'000'000'001'000);
    for (std::uint64_t n = 0; n < 3; ++n) {
      const std::uint64_t base = 1'000'000 * (n + 1);
      tell.on = 1 + static_cast<unsigned>(n % 2);
      tell.root = n + 1;
      tell.created(base, 10 * n + 1, 0, ResourceType::kRoot);
      tell.annotated(base, 10 * n + 1, "url", Value::of(std::string_view("https://a.example/")));
      tell.entered(base, 10 * n + 1);
      tell.created(base + 100, 10 * n + 2, 10 * n + 1, ResourceType::kFetch);
      tell.created(base + 200, 10 * n + 3, 10 * n + 1, ResourceType::kTimer);
      tell.exited(base + 1'000, 10 * n + 1);
      tell.settled(base + 50'000 * (n + 1), 10 * n + 2, Outcome::kFulfilled, Actor::kExternal);
      if (n != 2) tell.settled(base + 60'000, 10 * n + 3, n == 0 ? Outcome::kRejected : Outcome::kFulfilled, Actor::kExternal);
      tell.finished(base + 300'000, 10 * n + 1);
      tell.sealed(base + 300'000);
    }
    tell.root = 0;
    tell.created(5'000'000, 99, 0, ResourceType::kOther);
    tell.end();
  });
  write(folder + "/other.pftrace", [](auto& sink) {  // another process, whose ids are the same
    thence_test::Teller tell{sink};
    tell.begin(100);
    tell.lane(1, "other process");
    tell.clock(501'000, 900, 1'700'000'000'000'001'000);
    tell.root = 1;
    tell.created(1'500'000, 1, 0, ResourceType::kRoot);
    tell.created(1'500'100, 2, 1, ResourceType::kCrypto);
    tell.settled(1'600'000, 2, Outcome::kFulfilled, Actor::kExternal);
    tell.finished(1'700'000, 1);
    tell.sealed(1'700'000);
    tell.end();
  });
  write(folder + "/lost.pftrace", [](auto& sink) {
    thence_test::Teller tell{sink};
    tell.begin(101);
    tell.lane(1, "main");
    tell.clock(1'000, 900, 1'700'000'000'000'001'000);
    tell.created(2'000, 1, 0, ResourceType::kTimer);
    tell.entered(2'100, 1);
    tell.lost(2'300, 7, 2'200, 2'290);
    tell.exited(2'400, 5);
    tell.end();
  });
  write(folder + "/broken.pftrace", [](auto& sink) {  // a host that said things twice, and an exit without an enter
    thence_test::Teller tell{sink};
    tell.begin(102);
    tell.lane(1, "main");
    tell.clock(1'000, 900, 1'700'000'000'000'001'000);
    tell.created(2'000, 1, 0, ResourceType::kTimer);
    tell.exited(2'100, 1);
    tell.settled(2'200, 1, Outcome::kFulfilled, Actor::kExternal);
    tell.settled(2'300, 1, Outcome::kRejected, Actor::kExternal);
    tell.end();
  });
  NativeSymbols symbols;
  const auto pc = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(the_caller_to_be_found()));
  const NativeSymbol symbol = symbols.resolve(pc);
  write(folder + "/native.pftrace", [&](auto& sink) {
    thence_test::Teller tell{sink};
    tell.begin(103);
    tell.lane(1, "main");
    tell.clock(1'000, 900, 1'700'000'000'000'001'000);
    FrameInfo known, gone, script;
    known.kind = gone.kind = FrameKind::kNative;
    known.pc = pc;
    known.relative_pc = symbol.relative_pc;
    known.file = symbol.module;
    known.build_id = symbol.build_id;
    gone.pc = 0x1234;
    gone.relative_pc = 0x34;
    gone.file = "/nowhere/libgone.so";
    gone.build_id = "00112233445566778899aabbccddeeff00112233";
    script.kind = FrameKind::kScript;
    script.function = "load";
    script.file = "app.js";
    script.line = 7;
    tell.stack(1, {known, gone, script});
    tell.created(2'000, 1, 0, ResourceType::kTimer, 1);
    tell.destroyed(2'100, 1);
    tell.end();
  });
  return 0;
}
