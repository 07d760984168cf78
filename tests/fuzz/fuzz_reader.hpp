// SPDX-License-Identifier: MIT
// fuzz_reader.hpp: what must hold of every reader, whatever the bytes: no crash, an error with its words, the same events in
// one piece and in many, and a model that can be built, normalised, and replayed into the same model.
// Layer: tests.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

#include "model/dump.hpp"
#include "thence/formats/trace_reader.hpp"
#include "thence/model/model_builder.hpp"
#include "thence/model/normalised.hpp"
#include "thence/model/replay.hpp"

namespace thence_test {

[[noreturn]] inline void wrong(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

template <class Reader>
thence::TraceModel fuzz_read(std::span<const std::byte> bytes, std::size_t piece, std::string& said) {
  thence::ModelBuilder builder;
  Reader reader(builder);
  while (!bytes.empty()) {
    const std::size_t count = bytes.size() < piece ? bytes.size() : piece;
    if (!reader.feed(bytes.first(count))) break;
    bytes = bytes.subspan(count);
  }
  if (!reader.finish()) {
    if (reader.damage().expected.empty()) wrong("damage without a word");
    said = thence::describe(reader.damage(), "fuzz", reader.events());
  } else if (reader.damage()) {
    wrong("good and damaged");
  }
  return builder.build();
}

template <class Reader>
void fuzz_reader(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  std::string said, said_in_pieces;
  const thence::TraceModel model = fuzz_read<Reader>(bytes, size + 1, said);
  const auto lines = dump(model);
  if (size < 4096) {
    const thence::TraceModel pieces = fuzz_read<Reader>(bytes, 3, said_in_pieces);
    if (said != said_in_pieces) wrong(said + "\n" + said_in_pieces);
    const std::string lost = difference(lines, dump(pieces));
    if (!lost.empty()) wrong("in pieces:\n" + lost);
  }
  const thence::Normalised normal = thence::normalise(model);
  for (std::uint32_t row = 0; row < model.resources(); ++row) {
    if (normal.parent[row] != thence::TraceModel::kNone && normal.parent[row] >= row) wrong("a parent behind its child");
  }
  for (std::size_t at = 0; at < normal.end.size(); ++at) {
    if (normal.end[at] < normal.start[at]) wrong("an invocation that ends before it starts");
  }
  if (model.sources.size() != 1) return;
  thence::ModelBuilder again;
  thence::replay(model, again);
  const thence::TraceModel replayed = again.build();
  if (replayed.resources() != model.resources() || replayed.invocations.size() != model.invocations.size() ||
      replayed.notes.size() != model.notes.size() || replayed.wakes.size() != model.wakes.size()) {
    wrong("a replay that differs");
  }
}

}  // namespace thence_test
