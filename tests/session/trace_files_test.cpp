// SPDX-License-Identifier: MIT
#include "thence/session/trace_files.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "thence/session/session.hpp"

using namespace thence;

namespace {
std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A session with two requests, into `sink`.
template <class Sink>
void record_two_requests(Sink sink, std::vector<std::string>& told) {
  SessionOptions options;
  options.drain_thread = false;
  options.on_error = [&](std::string_view message) { told.emplace_back(message); };
  BasicSession<> session(options);
  session.add_sink(std::move(sink));
  session.start();
  auto lane = session.attach("loop");
  for (int n = 0; n < 2; ++n) {
    const Resource root = lane.tracer().begin_root();
    lane.tracer().settle(root, Outcome::kFulfilled);
    lane.tracer().finish_root(root);
  }
  session.close();
}
}  // namespace

TEST_CASE("a folder gets one document a request, numbered in the order in which they began") {
  std::vector<std::string> told;
  record_two_requests(JsonFolder("two_requests"), told);
  CHECK(told.empty());
  for (const char* name : {"two_requests/request-1.json", "two_requests/request-2.json"}) {
    CHECK(contents(name).find("\"asyncId\"") != std::string::npos);
    ::unlink(name);
  }
  CHECK(::rmdir("two_requests") == 0);
}

TEST_CASE("a folder that cannot be written is reported once, with the document's name and the reason") {
  std::vector<std::string> told;
  record_two_requests(JsonFolder("/proc/nowhere"), told);
  REQUIRE(told.size() == 1);
  CHECK(told[0] == "/proc/nowhere/request-1.json: cannot be created: No such file or directory");
}

TEST_CASE("a disk that is full ends the trace with one message, and not the host") {
  std::vector<std::string> told;
  record_two_requests(PerfettoFile("/dev/full"), told);
  REQUIRE(told.size() == 1);
  CHECK(told[0] == "/dev/full: cannot be written beyond byte 0: No space left on device");
}

TEST_CASE("file, descriptor and callback get the same kind of bytes") {
  std::vector<std::string> told;
  record_two_requests(PerfettoFile("by_name.pftrace"), told);
  FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  record_two_requests(PerfettoStream(FileBytes(::fileno(file), "descriptor")), told);
  std::string pieces;
  record_two_requests(PerfettoStream(CallbackBytes([&](std::span<const std::byte> piece) {
                        pieces.append(reinterpret_cast<const char*>(piece.data()), piece.size());
                        return true;
                      })),
                      told);
  CHECK(told.empty());
  struct stat status {};
  REQUIRE(::fstat(::fileno(file), &status) == 0);
  const std::string by_name = contents("by_name.pftrace");
  REQUIRE(by_name.size() > 100);
  // Times and salts differ, and with them a few varints' lengths.
  CHECK(static_cast<double>(status.st_size) == Approx(static_cast<double>(by_name.size())).epsilon(0.05));
  CHECK(static_cast<double>(pieces.size()) == Approx(static_cast<double>(by_name.size())).epsilon(0.05));
  CHECK(by_name[0] == '\x0a');
  CHECK(pieces[0] == '\x0a');
  std::fclose(file);
  ::unlink("by_name.pftrace");
}

TEST_CASE("a callback that takes no more is not called again, and the host is told") {
  std::vector<std::string> told;
  int calls = 0;
  record_two_requests(PerfettoStream(CallbackBytes([&](std::span<const std::byte>) { return ++calls < 1; }, "upload")), told);
  CHECK(calls == 1);
  REQUIRE(told.size() == 1);
  CHECK(told[0] == "upload: refused the bytes from 0 on");
}
