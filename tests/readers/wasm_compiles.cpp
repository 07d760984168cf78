// SPDX-License-Identifier: MIT
// wasm_compiles.cpp: the model and every reader, as the viewer's engine takes them in. Compiled, not run.
#include "thence/formats/async_trace/json_reader.hpp"
#include "thence/formats/chrome/json_reader.hpp"
#include "thence/formats/perfetto/perfetto_reader.hpp"
#include "thence/formats/tokio/jsonl_reader.hpp"
#include "thence/model/model_builder.hpp"
#include "thence/model/normalised.hpp"
#include "thence/model/replay.hpp"

template <template <class> class Reader>
unsigned read(std::string_view text) {
  thence::ModelBuilder builder;
  Reader<thence::ModelBuilder> reader(builder);
  thence::read_all(reader, text);
  const thence::TraceModel model = builder.build();
  thence::ModelBuilder again;
  thence::replay(model, again);
  return static_cast<unsigned>(thence::normalise(again.build()).parent.size());
}
template <class Sink>
using Perfetto = thence::PerfettoReader<Sink>;

__attribute__((export_name("read_all_formats"))) unsigned read_all_formats(const char* bytes, unsigned count) {
  const std::string_view text(bytes, count);
  return read<thence::AsyncTraceReader>(text) + read<thence::TokioReader>(text) + read<thence::ChromeReader>(text) +
         read<Perfetto>(text);
}
