// SPDX-License-Identifier: MIT
// folded_encoder.hpp: folded stacks, as flamegraph.pl, inferno and speedscope read them: `outer;inner;leaf 1250`, one line a
// path, the number being nanoseconds of the path itself.
//
//   FoldedEncoder encoder{sink, {.by = FoldBy::kCausalChain, .time = FoldTime::kWaiting}};      // an EventSink
// In labels ';' becomes ':', and control characters become spaces: the format has no escape. Lines are in the order of their
// labels' bytes, whatever the order of the events.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/folded/stack_profile.hpp"
#include "thence/formats/folded/time_folder.hpp"
#include "thence/wire/byte_buffer.hpp"
#include "thence/wire/byte_sink.hpp"
#include "thence/wire/utf8.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Appends a label as folded text may have it.
inline void append_folded_label(ByteBuffer& out, std::string_view label) {
  while (!label.empty()) {
    const Utf8Part part = first_utf8_part(label);
    const auto c = static_cast<unsigned char>(label.front());
    if (!part.valid) {
      out.append(std::string_view("\xef\xbf\xbd"));
    } else if (c < 0x20 || c == 0x7f) {
      out.push(std::byte{' '});
    } else if (c == ';') {
      out.push(std::byte{':'});
    } else {
      out.append(label.substr(0, part.length));
    }
    label.remove_prefix(part.length);
  }
}

/// One line for each path with time of its own. Returns what the sink says.
template <ByteSink Sink>
bool write_folded(const StackProfile& profile, Sink& sink) {
  SinkGate<Sink> gate(sink);
  ByteBuffer path;
  ByteBuffer out;
  std::vector<std::size_t> ends;  // of the path's first n labels
  profile.walk([&](const StackProfile::Step& step) {
    ends.resize(step.depth);
    const std::size_t begin = step.depth == 1 ? 0 : ends[step.depth - 2];
    path.advance(path.data() + begin);  // back to what this path begins with
    if (begin != 0) path.push(std::byte{';'});
    append_folded_label(path, profile.text(step.label));
    ends[step.depth - 1] = path.size();
    if (step.self == 0) return;
    out.append(path.bytes());
    char digits[24] = {' '};
    const auto end = std::to_chars(digits + 1, digits + sizeof digits, step.self).ptr;
    out.append(digits, static_cast<std::size_t>(end - digits));
    out.push(std::byte{'\n'});
    if (out.size() >= 64 * 1024) {
      gate.write(out.bytes());
      out.clear();
    }
  });
  gate.write(out.bytes());
  return !gate.failed();
}

/// Writes folded stacks when the trace ends.
///   Shape     as TimeFolder.
///   Threads   one at a time.
///   When full see FoldOptions; a sink that refuses: failed().
///   Errors    std::bad_alloc.
///   Lifetime  the sink outlives it.
template <ByteSink Sink>
class FoldedEncoder : public TimeFolder {
 public:
  explicit FoldedEncoder(Sink& sink, const FoldOptions& options = {}) : TimeFolder(options), sink_(&sink) {}

  void end(const TraceSummary& summary) {
    TimeFolder::end(summary);
    failed_ = !write_folded(profile(), *sink_);
  }
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  Sink* sink_;
  bool failed_ = false;
};

}  // namespace THENCE_ABI
}  // namespace thence
