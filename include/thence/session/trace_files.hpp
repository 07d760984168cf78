// SPDX-License-Identifier: MIT
// trace_files.hpp: the sinks that a host adds to a session: a trace into a file, a descriptor, a callback; a folder of JSON.
//
//   session.add_sink(PerfettoFile{"trace.pftrace"});
//   session.add_sink(PerfettoStream{FileBytes{socket, "upload"}});
//   session.add_sink(PerfettoStream{CallbackBytes{[](std::span<const std::byte> piece) { return send(piece); }}});
//   session.add_sink(JsonFolder{"out"});                    // out/request-1.json, out/request-2.json, ...
//
// Layer: session (includes formats/, core/).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "thence/config/version.hpp"
#include "thence/core/trace_event.hpp"
#include "thence/formats/async_trace/json_encoder.hpp"
#include "thence/formats/perfetto/perfetto_sink.hpp"
#include "thence/session/callback_bytes.hpp"
#include "thence/session/file_bytes.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// Writes one Perfetto trace into bytes that it owns. An EventSink; movable.
///   Threads   the session's draining one
///   Cost      as PerfettoEncoder; a system call a buffer, and one a drain
///   Errors    failure() says which bytes could not be written and why; what was written before stays readable
template <class Bytes>
class PerfettoStream {
 public:
  explicit PerfettoStream(Bytes bytes, const PerfettoOptions& options = {})
      : state_(std::make_unique<State>(std::move(bytes), options)) {}

  void begin(const TraceInfo& trace) { state_->encoder.begin(trace); }
  void define_lane(const LaneInfo& lane) { state_->encoder.define_lane(lane); }
  void define_type(TypeId type, std::string_view name) { state_->encoder.define_type(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view unit) {
    state_->encoder.define_counter(counter, name, unit);
  }
  void define_stack(const StackInfo& stack) { state_->encoder.define_stack(stack); }
  void synchronise(const ClockSnapshot& clock) { state_->encoder.synchronise(clock); }
  void take(std::span<const TraceEvent> events) { state_->encoder.take(events); }
  void flush() {
    state_->encoder.flush();
    static_cast<void>(state_->bytes.flush());
  }
  void end(const TraceSummary& summary) {
    state_->encoder.end(summary);
    static_cast<void>(state_->bytes.flush());
  }
  [[nodiscard]] std::string_view failure() const { return state_->bytes.failure(); }
  [[nodiscard]] std::uint64_t bytes_written() const { return state_->bytes.bytes_written(); }

 private:
  struct State {
    State(Bytes all, const PerfettoOptions& options) : bytes(std::move(all)), encoder(bytes, options) {}
    Bytes bytes;
    PerfettoEncoder<Bytes> encoder;
  };
  std::unique_ptr<State> state_;
};

/// One `.pftrace`, created or replaced.
class PerfettoFile : public PerfettoStream<FileBytes> {
 public:
  explicit PerfettoFile(std::string path, const PerfettoOptions& options = {})
      : PerfettoStream(FileBytes(std::move(path)), options) {}
};
static_assert(EventSink<PerfettoFile>);

/// One JSON document a request in a folder: `request-<n>.json`, numbered in the order in which the requests began; with
/// JsonOptions::write_rootless what belonged to none as `request-0.json`. An EventSink; movable.
///   Threads   the session's draining one
///   Cost      as JsonEncoder; a file a request
///   Errors    failure() names the first document that could not be written. Those before it are whole.
class JsonFolder {
 public:
  /// The folder is made if it is not there (not its parents).
  explicit JsonFolder(std::string folder, const JsonOptions& options = {})
      : state_(std::make_unique<State>(std::move(folder), options)) {}

  void begin(const TraceInfo& trace) { state_->encoder.begin(trace); }
  void define_lane(const LaneInfo& lane) { state_->encoder.define_lane(lane); }
  void define_type(TypeId type, std::string_view name) { state_->encoder.define_type(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view unit) {
    state_->encoder.define_counter(counter, name, unit);
  }
  void define_stack(const StackInfo& stack) { state_->encoder.define_stack(stack); }
  void synchronise(const ClockSnapshot& clock) { state_->encoder.synchronise(clock); }
  void take(std::span<const TraceEvent> events) { state_->encoder.take(events); }
  void flush() { state_->encoder.flush(); }
  void end(const TraceSummary& summary) { state_->encoder.end(summary); }
  [[nodiscard]] std::string_view failure() const { return state_->files.failure; }
  [[nodiscard]] std::uint64_t bytes_written() const { return state_->encoder.bytes_written(); }

 private:
  struct Files {
    /// A document: a file whose failure outlives it.
    struct Document {
      FileBytes bytes;
      std::string* failure;
      [[nodiscard]] bool write(std::span<const std::byte> piece) { return noted(bytes.write(piece)); }
      [[nodiscard]] bool finish() { return noted(bytes.flush()); }
      bool noted(bool good) {
        if (!good && failure->empty()) *failure = bytes.failure();
        return good;
      }
    };
    Document open(RootId, std::uint64_t ordinal) {
      return {FileBytes(folder + "/request-" + std::to_string(ordinal) + ".json"), &failure};
    }
    std::string folder;
    std::string failure;
  };
  struct State {
    State(std::string folder, const JsonOptions& options) : files{std::move(folder), {}}, encoder(files, options) {
      static_cast<void>(::mkdir(files.folder.c_str(), 0777));
    }
    Files files;
    JsonEncoder<Files> encoder;
  };
  std::unique_ptr<State> state_;
};
static_assert(EventSink<JsonFolder>);

}  // namespace THENCE_ABI
}  // namespace thence
