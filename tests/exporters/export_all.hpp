// SPDX-License-Identifier: MIT
// export_all.hpp: one event stream, through every exporter, into a folder.
// Layer: tests.
#pragma once

#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>

#include "thence/formats/chrome/chrome_encoder.hpp"
#include "thence/formats/csv/events_csv.hpp"
#include "thence/formats/csv/resources_csv.hpp"
#include "thence/formats/folded/folded_encoder.hpp"
#include "thence/formats/jsonl/jsonl_encoder.hpp"
#include "thence/formats/svg/flame_graph.hpp"
#include "thence/wire/byte_sink.hpp"

namespace thence_test {

inline void write_file(const std::string& path, std::string_view text) {
  std::ofstream out(path, std::ios::binary);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
}

/// `tell(sink)` feeds an EventSink.
template <class Tell>
void export_all(const std::string& folder, Tell&& tell) {
  using namespace thence;
  {
    BufferSink out;
    JsonlEncoder encoder{out};
    tell(encoder);
    write_file(folder + "/events.jsonl", out.text());
  }
  {
    BufferSink out;
    EventsCsvEncoder encoder{out};
    tell(encoder);
    write_file(folder + "/events.csv", out.text());
  }
  {
    BufferSink out;
    ResourcesCsvEncoder encoder{out};
    tell(encoder);
    write_file(folder + "/resources.csv", out.text());
  }
  {
    BufferSink out;
    ChromeEncoder encoder{out};
    tell(encoder);
    write_file(folder + "/chrome.json", out.text());
  }
  for (const FoldBy by : {FoldBy::kCreationStack, FoldBy::kCausalChain}) {
    for (const FoldTime time : {FoldTime::kRunning, FoldTime::kWaiting, FoldTime::kBoth}) {
      const std::string name = folder + (by == FoldBy::kCreationStack ? "/stack." : "/chain.") +
                               (time == FoldTime::kRunning ? "running" : time == FoldTime::kWaiting ? "waiting" : "both");
      FoldOptions options;
      options.by = by;
      options.time = time;
      BufferSink text;
      FoldedEncoder folded{text, options};
      tell(folded);
      write_file(name + ".folded", text.text());
      BufferSink picture;
      FlameGraphEncoder svg{picture, {}, options};
      tell(svg);
      write_file(name + ".svg", picture.text());
    }
  }
}

}  // namespace thence_test
