// SPDX-License-Identifier: MIT
// encoding.cpp: the same track events as bytes of a Perfetto trace, in memory: by thence, by libprotobuf and by protozero.
//
// A packet: sequence id and flags, the nanoseconds since the packet before, and a track event of type, track (a 64-bit uuid)
// and name (by number); or the same with two debug annotations, a number and a text. The floor is a loop by hand: a template
// of the packet is copied and the numbers are put into it, each as a varint that is padded to a fixed size, without a branch.
// Before anything is timed, what each has written is parsed (by libprotobuf, where it is there) and compared with what was
// asked for.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "support/paired.hpp"
#include "thence/formats/perfetto/perfetto_writer.hpp"

#ifdef HAS_LIBPROTOBUF
#include <google/protobuf/io/coded_stream.h>
#include <packet.pb.h>
#endif
#if __has_include(<protozero/pbf_writer.hpp>)
#include <protozero/buffer_fixed.hpp>
#include <protozero/pbf_writer.hpp>
#define HAS_PROTOZERO 1
#endif

namespace {

using namespace thence;
namespace fields = thence::perfetto;

constexpr std::size_t kBatch = 1024;
constexpr int kPasses = 8;  // between two looks at the clock, which take as long as a tenth of a batch
constexpr std::uint64_t kSequence = 2, kStatusKey = 1, kUrlKey = 2;
constexpr std::size_t kUrlSize = 13;

struct Sample {
  std::uint64_t time;
  std::uint64_t since;  // the packet before
  std::uint64_t track;
  std::uint32_t name;
  std::uint32_t type;
  std::uint64_t status;
  std::string_view url;  // kUrlSize characters, which the loop by hand alone knows beforehand
};

/// What is encoded: a busy lane's events, 0.1 to 2 us apart.
const std::vector<Sample>& samples() {
  static const std::vector<Sample> made = [] {
    static const std::string urls = "https://a.b/chttps://a.b/dhttps://a.b/ehttps://a.b/f";
    std::vector<Sample> all;
    std::uint64_t time = 0, chance = 1;
    for (std::size_t n = 0; n != kBatch; ++n) {
      chance = chance * 6364136223846793005u + 1442695040888963407u;
      const std::uint64_t since = 100 + (chance >> 33) % 1900;
      all.push_back({time += since, since, chance | std::uint64_t{1} << 63, 1 + static_cast<std::uint32_t>(n % 40),
                     1 + static_cast<std::uint32_t>(n % 2), 200 + (chance >> 40) % 300, std::string_view(urls).substr(n % 4 * kUrlSize, kUrlSize)});
    }
    return all;
  }();
  return made;
}

/// A varint that always takes kBytes: 2, 4 or 10. Seven bits a byte: halves, quarters and eighths move apart.
template <std::size_t kBytes>
void put_padded(unsigned char* to, std::uint64_t value) {
  if constexpr (kBytes == 2) {
    const auto word = static_cast<std::uint16_t>((value + (value & 0x3f80)) | 0x80);
    std::memcpy(to, &word, sizeof word);
  } else if constexpr (kBytes == 4) {
    auto word = static_cast<std::uint32_t>(value);
    word += (word & 0x0fff'c000) * 3;
    word = (word + (word & 0x3f80'3f80)) | 0x0080'8080;
    std::memcpy(to, &word, sizeof word);
  } else {
    const std::uint64_t word = spread_long_varint(value);
    const auto high = static_cast<std::uint16_t>((value >> 56 & 0x7f) | 0x80 | (value >> 63) << 8);
    std::memcpy(to, &word, sizeof word);
    std::memcpy(to + sizeof word, &high, sizeof high);
  }
}

/// By hand. The places of the numbers follow from the fields before them.
template <bool kAnnotated>
class ByHand {
 public:
  static constexpr std::size_t kEvent = 16 + (kAnnotated ? 26 : 0), kPacket = 2 + 2 + 5 + 2 + kEvent, kSize = 2 + kPacket;
  ByHand() : out_(kBatch * kSize + 64) {
    const unsigned char plain[] = {0x0a, kPacket, 0x50, kSequence, 0x68, 2, 0x40, 0, 0, 0, 0, 0x5a, kEvent, 0x48, 0,
                                   0x58, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0, 0};
    const unsigned char annotated[] = {0x22, 5, 0x08, kStatusKey, 0x18, 0, 0, 0x22, 17, 0x08, kUrlKey, 0x32, kUrlSize};
    std::memcpy(template_.data(), plain, sizeof plain);
    if (kAnnotated) std::memcpy(template_.data() + sizeof plain, annotated, sizeof annotated);
  }
  void operator()() noexcept {
    unsigned char* to = out_.data();
    for (const Sample& sample : samples()) {
      std::memcpy(to, template_.data(), kAnnotated ? 64 : 32);
      put_padded<4>(to + 7, sample.since);
      to[14] = static_cast<unsigned char>(sample.type);
      put_padded<10>(to + 16, sample.track);
      put_padded<2>(to + 27, sample.name);
      if constexpr (kAnnotated) {
        put_padded<2>(to + 34, sample.status);
        std::memcpy(to + 42, sample.url.data(), kUrlSize);
      }
      to += kSize;
    }
    benchmark::ClobberMemory();
  }
  std::string_view bytes() const { return {reinterpret_cast<const char*>(out_.data()), kBatch * kSize}; }

 private:
  std::array<unsigned char, 64> template_{};
  std::vector<unsigned char> out_;
};

/// thence, as its encoder of traces writes.
template <bool kAnnotated, class Sink>
class ByPerfettoWriter {
 public:
  ByPerfettoWriter() : writer_(sink_), sequence_(writer_.open_sequence(0)) {
    for (std::uint32_t n = 1; n <= 40; ++n) static_cast<void>(writer_.intern_name("name " + std::to_string(n)));
    static_cast<void>(writer_.intern_key("status") + writer_.intern_key("url"));
  }
  void operator()() {
    auto& sequence = sequence_;
    const std::uint64_t base = base_;  // times go on where the last pass ended
    for (const Sample& sample : samples()) {
      writer_.prepare(sequence);
      auto event = writer_.event(sequence, base + sample.time, sample.type, sample.track);
      if constexpr (kAnnotated) {
        event.annotate(kStatusKey, {}, Value::of(sample.status));
        event.annotate(kUrlKey, {}, Value::of(sample.url));
      }
      event.name(sample.name);
      event.end();
    }
    base_ += samples().back().time;
    writer_.flush();
  }
  std::string_view bytes() const { return sink_.text(); }

 private:
  Sink sink_;
  PerfettoWriter<Sink> writer_;
  typename PerfettoWriter<Sink>::Sequence& sequence_;
  std::uint64_t base_ = 0;
};

/// thence's writer of any protobuf message.
template <bool kAnnotated>
class ByProtobufWriter {
 public:
  void operator()() {
    out_.clear();
    ProtobufWriter writer{out_};
    for (const Sample& sample : samples()) {
      const auto packet = writer.message(fields::trace::kPacket);
      writer.varint(fields::trace_packet::kTrustedPacketSequenceId, kSequence);
      writer.varint(fields::trace_packet::kSequenceFlags, fields::trace_packet::kNeedsIncrementalState);
      writer.varint(fields::trace_packet::kTimestamp, sample.since);
      const auto event = writer.message(fields::trace_packet::kTrackEvent);
      writer.varint(fields::track_event::kType, sample.type);
      writer.varint(fields::track_event::kTrackUuid, sample.track);
      writer.varint(fields::track_event::kNameIid, sample.name);
      if constexpr (kAnnotated) {
        {
          const auto status = writer.message(fields::track_event::kDebugAnnotations);
          writer.varint(fields::debug_annotation::kNameIid, kStatusKey);
          writer.varint(fields::debug_annotation::kUint, sample.status);
        }
        const auto url = writer.message(fields::track_event::kDebugAnnotations);
        writer.varint(fields::debug_annotation::kNameIid, kUrlKey);
        writer.string(fields::debug_annotation::kString, sample.url);
      }
    }
    benchmark::ClobberMemory();
  }
  std::string_view bytes() const {
    return {reinterpret_cast<const char*>(out_.bytes().data()), out_.size()};
  }

 private:
  ByteBuffer out_{kBatch * 96};
};

#ifdef HAS_PROTOZERO
/// protozero, into a string that has grown, or (faster) into memory that is known to be large enough.
template <bool kAnnotated, class Buffer>
class ByProtozero {
  using Writer = protozero::basic_pbf_writer<Buffer>;

 public:
  void operator()() {
    if constexpr (std::is_same_v<Buffer, std::string>) {
      memory_.clear();
      write(memory_);
      size_ = memory_.size();
    } else {
      Buffer out(memory_);
      write(out);
      size_ = out.size();
    }
    benchmark::ClobberMemory();
  }
  std::string_view bytes() const { return {memory_.data(), size_}; }

 private:
  static void write(Buffer& out) {
    Writer trace(out);
    for (const Sample& sample : samples()) {
      Writer packet(trace, fields::trace::kPacket);
      packet.add_uint64(fields::trace_packet::kTimestamp, sample.since);
      packet.add_uint32(fields::trace_packet::kTrustedPacketSequenceId, kSequence);
      {
        Writer event(packet, fields::trace_packet::kTrackEvent);
        if constexpr (kAnnotated) {
          {
            Writer status(event, fields::track_event::kDebugAnnotations);
            status.add_uint64(fields::debug_annotation::kNameIid, kStatusKey);
            status.add_uint64(fields::debug_annotation::kUint, sample.status);
          }
          Writer url(event, fields::track_event::kDebugAnnotations);
          url.add_uint64(fields::debug_annotation::kNameIid, kUrlKey);
          url.add_string(fields::debug_annotation::kString, sample.url.data(), sample.url.size());
        }
        event.add_uint32(fields::track_event::kType, sample.type);
        event.add_uint64(fields::track_event::kNameIid, sample.name);
        event.add_uint64(fields::track_event::kTrackUuid, sample.track);
      }
      packet.add_uint32(fields::trace_packet::kSequenceFlags, fields::trace_packet::kNeedsIncrementalState);
    }
  }
  std::string memory_ = std::string(kBatch * 96, '\0');
  std::size_t size_ = 0;
};
#endif

#ifdef HAS_LIBPROTOBUF
template <bool kAnnotated>
void fill(thence_bench::TracePacket& packet, const Sample& sample) {
  packet.set_timestamp(sample.since);
  packet.set_trusted_packet_sequence_id(kSequence);
  packet.set_sequence_flags(2);
  thence_bench::TrackEvent& event = *packet.mutable_track_event();
  event.set_type(static_cast<std::int32_t>(sample.type));
  event.set_name_iid(sample.name);
  event.set_track_uuid(sample.track);
  if constexpr (kAnnotated) {
    while (event.debug_annotations_size() < 2) event.add_debug_annotations();
    event.mutable_debug_annotations(0)->set_name_iid(kStatusKey);
    event.mutable_debug_annotations(0)->set_uint_value(sample.status);
    event.mutable_debug_annotations(1)->set_name_iid(kUrlKey);
    event.mutable_debug_annotations(1)->set_string_value(sample.url.data(), sample.url.size());
  }
}

/// libprotobuf, as it is used: a message is put together (of parts that are kept) and serialised.
template <bool kAnnotated>
class ByLibprotobuf {
 public:
  void operator()() {
    trace_.Clear();
    for (const Sample& sample : samples()) fill<kAnnotated>(*trace_.add_packet(), sample);
    size_ = trace_.ByteSizeLong();
    trace_.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(memory_.data()));
    benchmark::ClobberMemory();
  }
  std::string_view bytes() const { return {memory_.data(), size_}; }

 private:
  std::string memory_ = std::string(kBatch * 96, '\0');
  std::size_t size_ = 0;
  thence_bench::Trace trace_;
};

/// libprotobuf, as it is fastest: one packet that stays in the cache, its fields set anew, each written by itself.
template <bool kAnnotated>
class ByOneMessage {
 public:
  void operator()() {
    using google::protobuf::io::CodedOutputStream;
    auto* to = reinterpret_cast<std::uint8_t*>(memory_.data());
    for (const Sample& sample : samples()) {
      fill<kAnnotated>(packet_, sample);
      to = CodedOutputStream::WriteTagToArray(0x0a, to);
      to = CodedOutputStream::WriteVarint32ToArray(static_cast<std::uint32_t>(packet_.ByteSizeLong()), to);
      to = packet_.SerializeWithCachedSizesToArray(to);
    }
    size_ = static_cast<std::size_t>(reinterpret_cast<char*>(to) - memory_.data());
    benchmark::ClobberMemory();
  }
  std::string_view bytes() const { return {memory_.data(), size_}; }

 private:
  std::string memory_ = std::string(kBatch * 96, '\0');
  std::size_t size_ = 0;
  thence_bench::TracePacket packet_;
};

/// Whether these bytes are the trace that was asked for.
bool is_right(std::string_view bytes, bool annotated) {
  thence_bench::Trace trace;
  if (!trace.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
  std::size_t at = 0;
  for (const thence_bench::TracePacket& packet : trace.packet()) {
    if (!packet.has_track_event()) continue;  // thence's writer describes its sequence first
    if (at == kBatch) return false;
    const Sample& sample = samples()[at++];
    const thence_bench::TrackEvent& event = packet.track_event();
    bool right = packet.timestamp() == sample.since && packet.trusted_packet_sequence_id() == kSequence &&
                 packet.sequence_flags() == 2 && event.type() == static_cast<std::int32_t>(sample.type) &&
                 event.name_iid() == sample.name && event.track_uuid() == sample.track &&
                 event.debug_annotations_size() == (annotated ? 2 : 0);
    if (right && annotated) {
      const auto& status = event.debug_annotations(0);
      const auto& url = event.debug_annotations(1);
      right = status.name_iid() == kStatusKey && status.uint_value() == sample.status && !status.has_string_value() &&
              url.name_iid() == kUrlKey && url.string_value() == sample.url;
    }
    if (!right) return false;
  }
  return at == kBatch;
}
#endif

/// thence's bytes, thrown away when they are whole.
struct Nowhere : NullByteSink {
  [[nodiscard]] std::string_view text() const { return {}; }
};

template <bool kAnnotated>
void compare() {
  using thence_bench::Base;
  const std::string group = kAnnotated ? "encoding, a packet with two annotations/" : "encoding, a packet/";
  const auto check = [&]([[maybe_unused]] const char* name, [[maybe_unused]] auto& encoder) {
#ifdef HAS_LIBPROTOBUF
    encoder();
    if (is_right(encoder.bytes(), kAnnotated)) return;
    std::fprintf(stderr, "%s: what it wrote is not what was asked for\n", name);
    std::exit(1);
#endif
  };
  const auto passes = [](auto encoder) {
    return [encoder] {
      for (int pass = 0; pass != kPasses; ++pass) (*encoder)();
    };
  };
  const auto add = [&](const char* name, auto base, auto encoder) {
    thence_bench::measured(group + name, base, kPasses * kBatch, passes(encoder), [] {}, 500);
  };
  ByPerfettoWriter<kAnnotated, BufferSink> to_be_checked;
  check("thence's PerfettoWriter", to_be_checked);
  const auto by_hand = std::make_shared<ByHand<kAnnotated>>();
  check("the loop by hand", *by_hand);
  const auto ours = std::make_shared<ByPerfettoWriter<kAnnotated, Nowhere>>();
  const Base floor{std::string("a loop by hand"), passes(by_hand), kPasses * kBatch};
  [[maybe_unused]] const Base our_own{std::string("PerfettoWriter"), passes(ours), kPasses * kBatch};
  const auto add_checked = [&](const char* name, auto base, auto encoder) {
    check(name, *encoder);
    add(name, base, encoder);
  };
  add("thence's PerfettoWriter", floor, ours);
  add_checked("thence's ProtobufWriter", floor, std::make_shared<ByProtobufWriter<kAnnotated>>());
#ifdef HAS_PROTOZERO
  add_checked("protozero, into a string (rival)", our_own, std::make_shared<ByProtozero<kAnnotated, std::string>>());
  add_checked("protozero, into fixed memory (rival)", our_own,
              std::make_shared<ByProtozero<kAnnotated, protozero::fixed_size_buffer_adaptor>>());
#endif
#ifdef HAS_LIBPROTOBUF
  add_checked("libprotobuf, a Trace (rival)", our_own, std::make_shared<ByLibprotobuf<kAnnotated>>());
  add_checked("libprotobuf, one packet reused (rival)", our_own, std::make_shared<ByOneMessage<kAnnotated>>());
#endif
}

}  // namespace

int main(int count, char** arguments) {
  thence_bench::pin_to(0);
  compare<false>();
  compare<true>();
  benchmark::Initialize(&count, arguments);
  benchmark::RunSpecifiedBenchmarks();
}
