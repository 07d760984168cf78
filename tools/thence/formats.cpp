// SPDX-License-Identifier: MIT
#include "formats.hpp"

#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "terminal.hpp"
#include "thence/formats/async_trace/json_encoder.hpp"
#include "thence/formats/async_trace/json_reader.hpp"
#include "thence/formats/chrome/chrome_encoder.hpp"
#include "thence/formats/chrome/json_reader.hpp"
#include "thence/formats/csv/events_csv.hpp"
#include "thence/formats/csv/resources_csv.hpp"
#include "thence/formats/folded/folded_encoder.hpp"
#include "thence/formats/jsonl/jsonl_encoder.hpp"
#include "thence/formats/perfetto/perfetto_reader.hpp"
#include "thence/formats/perfetto/perfetto_encoder.hpp"
#include "thence/formats/svg/flame_graph.hpp"
#include "thence/formats/tokio/jsonl_reader.hpp"
#include "thence/wire/protobuf_reader.hpp"

namespace tool {

using namespace thence;

std::string_view name_of(InputFormat format) {
  switch (format) {
    case InputFormat::kPerfetto: return "pftrace";
    case InputFormat::kAsyncTrace: return "json";
    case InputFormat::kTokio: return "tokio";
    case InputFormat::kChrome: return "chrome";
  }
  return "?";
}

const std::vector<std::string>& input_format_names() {
  static const std::vector<std::string> names{"pftrace", "json", "tokio", "chrome"};
  return names;
}

namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::size_t skip_space(std::string_view text, std::size_t at) {
  while (at < text.size() && is_space(text[at])) ++at;
  return at;
}

/// The first bytes of a Perfetto trace: a packet, that begins with a field of TracePacket.
bool looks_like_perfetto(std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes[0] != std::byte{0x0a}) return false;
  const std::byte* at = bytes.data() + 1;
  const std::byte* const end = bytes.data() + bytes.size();
  const std::uint64_t length = take_varint(at, end);
  if (at == nullptr || length > std::uint64_t{256} << 20) return false;
  if (at == end || length == 0) return true;
  const std::uint64_t tag = take_varint(at, end);
  if (at == nullptr) return false;
  const std::uint64_t field = tag >> 3, type = tag & 7;
  return field != 0 && field < 1000 && (type == 0 || type == 1 || type == 2 || type == 5);
}

std::string shown_beginning(std::span<const std::byte> bytes) {
  std::string out;
  for (const std::byte byte : bytes.first(std::min<std::size_t>(bytes.size(), 8))) {
    const auto c = static_cast<unsigned char>(byte);
    if (c >= 0x20 && c < 0x7f) {
      out += static_cast<char>(c);
    } else {
      constexpr char kHex[] = "0123456789abcdef";
      out += "\\x";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    }
  }
  return out;
}

}  // namespace

std::optional<InputFormat> detect(std::span<const std::byte> beginning, std::string& why) {
  if (beginning.empty()) {
    why = "is empty";
    return std::nullopt;
  }
  std::string_view text(reinterpret_cast<const char*>(beginning.data()), beginning.size());
  std::size_t at = text.starts_with("\xef\xbb\xbf") ? 3 : 0;
  at = skip_space(text, at);
  const char first = at < text.size() ? text[at] : '\0';
  const std::size_t second = skip_space(text, at + 1);
  const char next = second < text.size() ? text[second] : '\0';
  // A line break is also the first byte of a Perfetto trace: JSON has to look like it in two places.
  if (first == '[' && (next == '{' || next == ']' || next == '\0')) return InputFormat::kChrome;
  if (first == '{' && (next == '"' || next == '}' || next == '\0')) {
    const auto has = [&](std::string_view word) { return text.find(word) != std::string_view::npos; };
    const std::string_view line = text.substr(at, std::min(text.find('\n', at), text.size()) - at);
    if (line.find("\"event\"") != std::string_view::npos && line.find("\"timestamp_ns\"") != std::string_view::npos) {
      return InputFormat::kTokio;
    }
    if (line.find("\"event\":\"trace\"") != std::string_view::npos && line.find("\"salt\"") != std::string_view::npos) {
      why = "is our JSONL, which is written and not read: keep the .pftrace or the JSON";
      return std::nullopt;
    }
    if (has("\"traceEvents\"")) return InputFormat::kChrome;
    if (has("\"asyncId\"") || has("\"requestDurationNs\"") || has("\"stackTraces\"")) return InputFormat::kAsyncTrace;
    why = "is JSON, but of no format that is read here (async-trace, Tokio telemetry, Chrome trace events); --from says which it is";
    return std::nullopt;
  }
  if (looks_like_perfetto(beginning)) return InputFormat::kPerfetto;
  why = "is not a trace that is read here: it begins with '" + shown_beginning(beginning) + "'";
  return std::nullopt;
}

namespace {

/// For packets that are compressed inside of a Perfetto trace.
struct InflatePackets {
  template <class Out>
  bool operator()(Compression kind, std::span<const std::byte> bytes, Out&& out) const {
    std::vector<std::byte> plain(std::size_t{64} * 1024);
    if (kind == Compression::kDeflate) {
      z_stream stream{};
      if (::inflateInit(&stream) != Z_OK) return false;
      stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
      stream.avail_in = static_cast<uInt>(bytes.size());
      int result = Z_OK;
      bool wanted = true;
      while (result == Z_OK && wanted) {
        stream.next_out = reinterpret_cast<Bytef*>(plain.data());
        stream.avail_out = static_cast<uInt>(plain.size());
        result = ::inflate(&stream, Z_NO_FLUSH);
        if (result != Z_OK && result != Z_STREAM_END) break;
        wanted = out(std::span<const std::byte>(plain.data(), plain.size() - stream.avail_out));
      }
      ::inflateEnd(&stream);
      return result == Z_STREAM_END || !wanted;
    }
    const std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream(::ZSTD_createDStream(), &::ZSTD_freeDStream);
    if (stream == nullptr) return false;
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer piece{plain.data(), plain.size(), 0};
      const std::size_t result = ::ZSTD_decompressStream(stream.get(), &piece, &in);
      if (::ZSTD_isError(result) != 0) return false;
      if (!out(std::span<const std::byte>(plain.data(), piece.pos)) || result == 0) return true;
      if (in.pos == in.size && piece.pos < piece.size) return false;  // cut off
    }
  }
};

// What each reader passed over, and counted.
template <class Sink, class Inflate>
std::vector<Unread> unread_of(const PerfettoReader<Sink, Inflate>& reader) {
  return {{"packets_unreadable", "packets that need what a lost packet said", reader.packets_unreadable()},
          {"compressed_skipped", "runs of compressed packets that could not be inflated", reader.compressed_skipped()},
          {"events_skipped", "events without a sequence, a track, or a time that a clock relates", reader.events_skipped()},
          {"unmatched_ends", "ends of slices that did not begin", reader.unmatched_ends()},
          {"disordered", "events that came too late to be put in order", reader.disordered()}};
}
template <class Sink>
std::vector<Unread> unread_of(const ChromeReader<Sink>& reader) {
  return {{"unknown_phases", "events of a phase that is not read", reader.unknown_phases()},
          {"unmatched_ends", "ends of slices that did not begin", reader.unmatched_ends()},
          {"unbound_flows", "flows without a slice or another end", reader.unbound_flows()},
          {"arguments_dropped", "arguments beyond what is kept", reader.arguments_dropped()}};
}
template <class Sink>
std::vector<Unread> unread_of(const TokioReader<Sink>& reader) {
  return {{"unknown_lines", "lines of an event that is not read", reader.unknown_lines()},
          {"unmatched_ends", "ends of polls that did not begin", reader.unmatched_ends()}};
}
template <class Sink>
std::vector<Unread> unread_of(const AsyncTraceReader<Sink>&) {
  return {};
}

template <class Reader>
ReadResult pump(Reader& reader, Input& input, const Common& common, const std::function<void()>& after_each) {
  ReadResult result;
  Progress progress("reading " + input.name(), input.bytes_in_all(), common);
  bool good = true;
  for (;;) {
    std::span<const std::byte> bytes = input.read();
    if (bytes.empty()) break;
    while (good && !bytes.empty()) {
      const std::size_t count = std::min(bytes.size(), kFeedBytes);
      good = reader.feed(bytes.first(count));
      bytes = bytes.subspan(count);
    }
    if (after_each) after_each();
    progress.update(input.bytes_read(), reader.events());
    if (!good) break;
  }
  const bool whole = reader.finish();
  result.events = reader.events();
  for (const Unread& one : unread_of(reader)) {
    if (one.count != 0) result.unread.push_back(one);
  }
  if (input.damage()) {
    // What the reader says of its end follows from this.
    result.damage = input.damage();
    result.message = describe(input.damage(), input.name(), result.events);
  } else if (!good || !whole) {
    result.damage = reader.damage();
    result.message = describe(reader.damage(), input.name(), result.events);
  }
  return result;
}

}  // namespace

ReadResult read_trace(Input& input, AnySink& sink, const ReadOptions& options, const Common& common,
                      const std::function<void()>& after_each) {
  std::optional<InputFormat> format;
  const auto beginning = input.peek();
  if (!options.from.empty()) {
    const auto& names = input_format_names();
    const auto found = std::find(names.begin(), names.end(), options.from);
    format = static_cast<InputFormat>(found - names.begin());
  } else {
    std::string why;
    if (beginning.empty() && input.damage()) {
      throw Failure(kDamaged, describe(input.damage(), input.name(), 0));
    }
    format = detect(beginning, why);
    if (!format) throw Failure(kNoInput, input.name() + ": " + why);
  }
  ReadResult result;
  switch (*format) {
    case InputFormat::kPerfetto: {
      PerfettoReader<AnySink, InflatePackets> reader{sink};
      result = pump(reader, input, common, after_each);
      break;
    }
    case InputFormat::kAsyncTrace: {
      AsyncTraceReader<AnySink> reader{sink};
      result = pump(reader, input, common, after_each);
      break;
    }
    case InputFormat::kTokio: {
      TokioReader<AnySink> reader{sink};
      result = pump(reader, input, common, after_each);
      break;
    }
    case InputFormat::kChrome: {
      ChromeReader<AnySink> reader{sink};
      result = pump(reader, input, common, after_each);
      break;
    }
  }
  result.format = *format;
  return result;
}

void complain_of_unread(const ReadResult& result, const std::string& name, const Common& common) {
  if (common.quiet) return;
  for (const Unread& one : result.unread) complain(name + ": not read: " + std::string(one.what) + ": " + grouped(one.count));
}

LoadedTrace load(const std::string& path, const ReadOptions& options, const Common& common) {
  LoadedTrace loaded;
  Input input(path);
  ModelBuilder builder;
  AnySink sink{SinkRef(builder)};
  loaded.path = path;
  loaded.name = input.name();
  loaded.result = read_trace(input, sink, options, common);
  loaded.compression = input.compression_name();
  loaded.bytes = input.bytes_read();
  loaded.model = builder.build();
  if (!loaded.result.good()) complain(loaded.result.message);
  return loaded;
}

// -- writing ------------------------------------------------------------------------------------------------------------

namespace {

struct Named {
  OutputFormat format;
  std::string_view name;
};
constexpr Named kOutputs[] = {
    {OutputFormat::kPerfetto, "pftrace"},        {OutputFormat::kAsyncTrace, "json"},   {OutputFormat::kJsonl, "jsonl"},
    {OutputFormat::kResourcesCsv, "resources.csv"}, {OutputFormat::kEventsCsv, "events.csv"}, {OutputFormat::kCsv, "csv"},
    {OutputFormat::kChrome, "chrome"},           {OutputFormat::kFolded, "folded"},     {OutputFormat::kSvg, "svg"},
};

bool is_folder(const std::string& path) {
  if (path.ends_with('/')) return true;
  struct stat what{};
  return ::stat(path.c_str(), &what) == 0 && S_ISDIR(what.st_mode);
}

std::string in_folder(const std::string& folder, const std::string& name) {
  std::string path = folder;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    throw Failure(kCannotWrite, path + ": cannot be created: " + std::strerror(errno));
  }
  return path + (path.back() == '/' ? "" : "/") + name;
}

/// One document each in a folder, or the one document that there is.
class Documents {
 public:
  Documents(std::string path, bool folder, WriteResult& result) : path_(std::move(path)), folder_(folder), result_(&result) {}

  class Document {
   public:
    Document(std::unique_ptr<Output> output, std::string path, WriteResult* result)
        : output_(std::move(output)), path_(std::move(path)), result_(result) {}
    [[nodiscard]] bool write(std::span<const std::byte> bytes) { return output_->write(bytes); }
    [[nodiscard]] bool finish() {
      output_->finish();
      result_->bytes += output_->bytes_written();
      if (path_ != "-") result_->files.push_back(path_);
      return true;
    }

   private:
    std::unique_ptr<Output> output_;
    std::string path_;
    WriteResult* result_;
  };

  [[nodiscard]] Document open(RootId root, std::uint64_t ordinal) {
    std::string path = path_;
    if (folder_) {
      path = in_folder(path_, root == RootId::kNone ? "no-request.json" : "request-" + std::to_string(ordinal) + ".json");
    }
    return {std::make_unique<Output>(path), path, result_};
  }

 private:
  std::string path_;
  bool folder_;
  WriteResult* result_;
};
static_assert(DocumentFactory<Documents>);

/// What a feed is about to hand over, as far as the JSON format must know it first.
struct Census : IgnoringSink {
  std::uint64_t with_request = 0;
  std::uint64_t without_request = 0;
  std::vector<RootId> roots;
  void take(std::span<const TraceEvent> events) {
    for (const TraceEvent& event : events) {
      if (event.kind != EventKind::kCreated) continue;
      if (event.root == RootId::kNone) {
        ++without_request;
        continue;
      }
      ++with_request;
      if (std::find(roots.begin(), roots.end(), event.root) == roots.end()) roots.push_back(event.root);
    }
  }
};

void write_documents(const Feed& feed, const std::string& path, WriteResult& result) {
  Census census;
  AnySink counting{SinkRef(census)};
  feed(counting);
  const bool folder = path != "-" && is_folder(path);
  if (!folder && census.roots.size() > 1) {
    throw Failure(kUsage, "the async-trace JSON is one document a request, and there are " + grouped(census.roots.size()) +
                              " requests: choose one with --request N, or give a folder (" + (path == "-" ? "out" : path) + "/)");
  }
  if (!folder && census.roots.empty() && census.without_request == 0) {
    throw Failure(kUsage, "there is no resource to make a JSON document of");
  }
  Documents documents{path, folder, result};
  JsonOptions options;
  // Without a request there is no document but this one; with one, a single file has no place for the rest.
  options.write_rootless = folder ? census.without_request != 0 : census.roots.empty();
  options.max_records = ~std::size_t{0};
  options.max_text_bytes = ~std::size_t{0};
  options.max_stack_bytes = ~std::size_t{0} / 2;
  JsonEncoder encoder{documents, options};
  AnySink sink{SinkRef(encoder)};
  feed(sink);
  if (!folder && !census.roots.empty() && census.without_request != 0) {
    result.notes.push_back(grouped(census.without_request) + " resources belong to no request and are not in the document");
  }
  if (encoder.failures() != 0) throw Failure(kCannotWrite, path + ": " + grouped(encoder.failures()) + " documents could not be written");
}

/// A PerfettoCompress.
bool deflate(View<const std::byte> packets, ByteBuffer& to) {
  uLongf size = ::compressBound(static_cast<uLong>(packets.size()));
  std::byte* const at = to.reserve(size);
  const int result = ::compress2(reinterpret_cast<Bytef*>(at), &size, reinterpret_cast<const Bytef*>(packets.data()),
                                 static_cast<uLong>(packets.size()), 6);
  if (result != Z_OK) return false;
  to.advance(at + size);
  return true;
}

template <class Encoder, class... Options>
void write_one(const Feed& feed, const std::string& path, WriteResult& result, const Options&... options) {
  Output output(path);
  {
    Encoder encoder{output, options...};
    AnySink sink{SinkRef(encoder)};
    feed(sink);
    if constexpr (requires { encoder.below_min(); }) {
      if (encoder.unknown() != 0) {
        result.notes.push_back(grouped(encoder.unknown()) + " resources are left out: a begin or an end that their time depends on is not known");
      }
      if (encoder.below_min() != 0) result.notes.push_back(grouped(encoder.below_min()) + " resources are left out: their time is below --min");
    }
  }
  output.finish();
  result.bytes += output.bytes_written();
  if (path != "-") result.files.push_back(path);
}

}  // namespace

std::string_view name_of(OutputFormat format) {
  for (const Named& known : kOutputs) {
    if (known.format == format) return known.name;
  }
  return "?";
}

const std::vector<std::string>& output_format_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Named& known : kOutputs) all.emplace_back(known.name);
    return all;
  }();
  return names;
}

OutputFormat output_format(std::string_view name, const std::string& path) {
  for (const Named& known : kOutputs) {
    if (known.name == name) return known.format;
  }
  std::string_view bare = path;
  for (const std::string_view packed : {".gz", ".zst"}) {
    if (bare.ends_with(packed)) bare.remove_suffix(packed.size());
  }
  struct End {
    std::string_view end;
    OutputFormat format;
  };
  static constexpr End kEnds[] = {
      {".pftrace", OutputFormat::kPerfetto},      {".perfetto-trace", OutputFormat::kPerfetto}, {".chrome.json", OutputFormat::kChrome},
      {".trace.json", OutputFormat::kChrome},     {".json", OutputFormat::kAsyncTrace},         {".jsonl", OutputFormat::kJsonl},
      {"events.csv", OutputFormat::kEventsCsv},   {".csv", OutputFormat::kResourcesCsv},        {".folded", OutputFormat::kFolded},
      {".collapsed", OutputFormat::kFolded},      {".svg", OutputFormat::kSvg},
  };
  for (const End& known : kEnds) {
    if (bare.ends_with(known.end)) return known.format;
  }
  throw Failure(kUsage, (path == "-" ? "standard output" : path) + ": its name does not say a format: use --to");
}

WriteResult write_trace(const TraceModel&, const Feed& feed, const std::string& path, OutputFormat format, const WriteOptions& options) {
  WriteResult result;
  switch (format) {
    case OutputFormat::kPerfetto: {
      PerfettoOptions perfetto;
      perfetto.flows = options.flows;
      perfetto.spans = options.spans;
      perfetto.track_per_resource = options.track_per_resource;
      if (options.compress_packets) perfetto.writer.compress = deflate;
      write_one<PerfettoEncoder<Output>>(feed, path, result, perfetto);
      break;
    }
    case OutputFormat::kAsyncTrace: write_documents(feed, path, result); break;
    case OutputFormat::kJsonl: write_one<JsonlEncoder<Output>>(feed, path, result); break;
    case OutputFormat::kResourcesCsv: write_one<ResourcesCsvEncoder<Output>>(feed, path, result); break;
    case OutputFormat::kEventsCsv: write_one<EventsCsvEncoder<Output>>(feed, path, result); break;
    case OutputFormat::kCsv:
      if (path == "-" || !is_folder(path)) {
        throw Failure(kUsage, "csv is two files: give a folder (out/), or --to resources.csv or events.csv");
      }
      write_one<ResourcesCsvEncoder<Output>>(feed, in_folder(path, "resources.csv"), result);
      write_one<EventsCsvEncoder<Output>>(feed, in_folder(path, "events.csv"), result);
      break;
    case OutputFormat::kChrome: {
      ChromeOptions chrome;
      chrome.flows = options.flows;
      write_one<ChromeEncoder<Output>>(feed, path, result, chrome);
      break;
    }
    case OutputFormat::kFolded: write_one<FoldedEncoder<Output>>(feed, path, result, options.fold); break;
    case OutputFormat::kSvg: {
      FlameGraphOptions svg;
      svg.title = options.title;
      write_one<FlameGraphEncoder<Output>>(feed, path, result, svg, options.fold);
      break;
    }
  }
  return result;
}

}  // namespace tool
