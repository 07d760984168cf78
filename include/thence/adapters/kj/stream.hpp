// SPDX-License-Identifier: MIT
// stream.hpp: KJ's byte streams, whose reads, writes and pumps are resources.
//
//   kj::Own<kj::AsyncIoStream> stream = traced_stream(tracer, kj::mv(socket));
//
// Every virtual function is forwarded, so that what the inner stream can do better than the default (splicing pumps, file
// descriptors, ancillary data) it still does.
// Layer: adapters/kj (includes capture/ and KJ).
#pragma once

#include <kj/async-io.h>

#include <cstddef>
#include <cstdint>

#include "thence/adapters/kj/traced.hpp"
#include "thence/adapters/kj/version.hpp"
#include "thence/config/version.hpp"
#include "thence/core/resource_type.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace kj_adapter {

namespace detail {

/// Traces one operation of a stream: a promise that the outside world settles, if nobody in the loop does.
template <class TracerT, class Start>
auto traced_operation(TracerT& tracer, ResourceType type, const char* result_key, Start&& start) {
  Starting<TracerT> starting(tracer, create_resource(tracer, type, {}, SourceSite{}));
  auto promise = start(starting.resource());
  return watched(tracer, ::kj::mv(promise), starting.started(), {.source = Source::kOutside, .result_key = result_key});
}

}  // namespace detail

template <class TracerT>
class TracedInputStream;
template <class TracerT>
class TracedOutputStream;
template <class TracerT>
class TracedIoStream;

namespace detail {

/// What a traced stream wraps, else the stream: a pump between two traced streams is one between what they wrap, so that KJ
/// knows the ends for what they are.
template <class TracerT>
::kj::AsyncInputStream& inner_of(::kj::AsyncInputStream& stream) {
  KJ_IF_MAYBE (traced, ::kj::dynamicDowncastIfAvailable<TracedIoStream<TracerT>>(stream)) return traced->inner();
  KJ_IF_MAYBE (traced, ::kj::dynamicDowncastIfAvailable<TracedInputStream<TracerT>>(stream)) return traced->inner();
  return stream;
}
template <class TracerT>
::kj::AsyncOutputStream& inner_of(::kj::AsyncOutputStream& stream) {
  KJ_IF_MAYBE (traced, ::kj::dynamicDowncastIfAvailable<TracedIoStream<TracerT>>(stream)) return traced->inner();
  KJ_IF_MAYBE (traced, ::kj::dynamicDowncastIfAvailable<TracedOutputStream<TracerT>>(stream)) return traced->inner();
  return stream;
}

}  // namespace detail

/// Reads are `stream-read`, pumps `stream-pipe-to`; both bear `bytes` when they are done.
///   Lifetime  as the stream's; the tracer outlives it
template <class TracerT, class Base = ::kj::AsyncInputStream>
class InputStreamTracer : public Base {
 public:
  InputStreamTracer(TracerT& tracer, ::kj::AsyncInputStream& inner) : tracer_in_(tracer), in_(inner) {}

  using Base::read;
  ::kj::Promise<std::size_t> read(void* buffer, std::size_t min, std::size_t max) override {
    return detail::traced_operation(tracer_in_, ResourceType::kStreamRead, "bytes",
                                    [&](Resource) { return in_.read(buffer, min, max); });
  }
  ::kj::Promise<std::size_t> tryRead(void* buffer, std::size_t min, std::size_t max) override {
    return detail::traced_operation(tracer_in_, ResourceType::kStreamRead, "bytes",
                                    [&](Resource) { return in_.tryRead(buffer, min, max); });
  }
  ::kj::Maybe<std::uint64_t> tryGetLength() override { return in_.tryGetLength(); }
  ::kj::Promise<std::uint64_t> pumpTo(::kj::AsyncOutputStream& output, std::uint64_t amount = ::kj::maxValue) override {
    return detail::traced_operation(tracer_in_, ResourceType::kStreamPipeTo, "bytes",
                                    [&](Resource) { return in_.pumpTo(detail::inner_of<TracerT>(output), amount); });
  }
  void registerAncillaryMessageHandler(::kj::Function<void(::kj::ArrayPtr<::kj::AncillaryMessage>)> fn) override {
    in_.registerAncillaryMessageHandler(::kj::mv(fn));
  }
  THENCE_KJ_1X(::kj::Maybe<::kj::Own<::kj::AsyncInputStream>> tryTee(std::uint64_t limit = ::kj::maxValue) override;)

 private:
  TracerT& tracer_in_;
  ::kj::AsyncInputStream& in_;
};

/// Writes are `stream-write` with `bytes`; what is pumped in by the stream itself is `stream-pipe-to`.
///   Lifetime  as the stream's; the tracer outlives it
template <class TracerT, class Base = ::kj::AsyncOutputStream>
class OutputStreamTracer : public Base {
 public:
  template <class... Arguments>
  explicit OutputStreamTracer(TracerT& tracer, ::kj::AsyncOutputStream& inner, Arguments&&... base)
      : Base(::kj::fwd<Arguments>(base)...), tracer_out_(tracer), out_(inner) {}

  ::kj::Promise<void> write(const void* buffer, std::size_t size) override {
    return detail::traced_operation(tracer_out_, ResourceType::kStreamWrite, nullptr, [&](Resource resource) {
      tracer_out_.annotate(resource, "bytes", size);
      return out_.write(buffer, size);
    });
  }
  ::kj::Promise<void> write(::kj::ArrayPtr<const ::kj::ArrayPtr<const ::kj::byte>> pieces) override {
    return detail::traced_operation(tracer_out_, ResourceType::kStreamWrite, nullptr, [&](Resource resource) {
      std::size_t size = 0;
      for (const auto& piece : pieces) size += piece.size();
      tracer_out_.annotate(resource, "bytes", size);
      return out_.write(pieces);
    });
  }
  ::kj::Maybe<::kj::Promise<std::uint64_t>> tryPumpFrom(::kj::AsyncInputStream& input,
                                                        std::uint64_t amount = ::kj::maxValue) override {
    auto pump = out_.tryPumpFrom(detail::inner_of<TracerT>(input), amount);
    KJ_IF_MAYBE (promise, pump) {
      return detail::traced_operation(tracer_out_, ResourceType::kStreamPipeTo, "bytes",
                                      [&](Resource) { return ::kj::mv(*promise); });
    }
    return nullptr;
  }
  ::kj::Promise<void> whenWriteDisconnected() override { return out_.whenWriteDisconnected(); }

 private:
  TracerT& tracer_out_;
  ::kj::AsyncOutputStream& out_;
};

template <class TracerT>
class TracedInputStream final : public InputStreamTracer<TracerT> {
 public:
  TracedInputStream(TracerT& tracer, ::kj::Own<::kj::AsyncInputStream> inner)
      : InputStreamTracer<TracerT>(tracer, *inner), inner_(::kj::mv(inner)) {}
  [[nodiscard]] ::kj::AsyncInputStream& inner() noexcept { return *inner_; }

 private:
  ::kj::Own<::kj::AsyncInputStream> inner_;
};

template <class TracerT>
class TracedOutputStream final : public OutputStreamTracer<TracerT> {
 public:
  TracedOutputStream(TracerT& tracer, ::kj::Own<::kj::AsyncOutputStream> inner)
      : OutputStreamTracer<TracerT>(tracer, *inner), inner_(::kj::mv(inner)) {}
  [[nodiscard]] ::kj::AsyncOutputStream& inner() noexcept { return *inner_; }

 private:
  ::kj::Own<::kj::AsyncOutputStream> inner_;
};

/// Both directions, and what belongs to the socket.
template <class TracerT>
class TracedIoStream final : public OutputStreamTracer<TracerT, InputStreamTracer<TracerT, ::kj::AsyncIoStream>> {
  using Directions = OutputStreamTracer<TracerT, InputStreamTracer<TracerT, ::kj::AsyncIoStream>>;

 public:
  TracedIoStream(TracerT& tracer, ::kj::Own<::kj::AsyncIoStream> inner)
      : Directions(tracer, *inner, tracer, *inner), inner_(::kj::mv(inner)) {}

  void shutdownWrite() override { inner_->shutdownWrite(); }
  void abortRead() override { inner_->abortRead(); }
  void getsockopt(int level, int option, void* value, ::kj::uint* length) override {
    inner_->getsockopt(level, option, value, length);
  }
  void setsockopt(int level, int option, const void* value, ::kj::uint length) override {
    inner_->setsockopt(level, option, value, length);
  }
  void getsockname(struct sockaddr* address, ::kj::uint* length) override { inner_->getsockname(address, length); }
  void getpeername(struct sockaddr* address, ::kj::uint* length) override { inner_->getpeername(address, length); }
  ::kj::Maybe<int> getFd() const override { return inner_->getFd(); }
  THENCE_KJ_1X(::kj::Maybe<void*> getWin32Handle() const override { return inner_->getWin32Handle(); })
  [[nodiscard]] ::kj::AsyncIoStream& inner() noexcept { return *inner_; }

 private:
  ::kj::Own<::kj::AsyncIoStream> inner_;
};

/// The stream, traced; with THENCE_ENABLED=0 the stream.
template <class TracerT>
[[nodiscard]] ::kj::Own<::kj::AsyncIoStream> traced_stream(TracerT& tracer, ::kj::Own<::kj::AsyncIoStream> inner) {
  if constexpr (TracerT::kRecords) return ::kj::heap<TracedIoStream<TracerT>>(tracer, ::kj::mv(inner));
  return inner;
}
template <class TracerT>
[[nodiscard]] ::kj::Own<::kj::AsyncInputStream> traced_stream(TracerT& tracer,
                                                              ::kj::Own<::kj::AsyncInputStream> inner) {
  if constexpr (TracerT::kRecords) return ::kj::heap<TracedInputStream<TracerT>>(tracer, ::kj::mv(inner));
  return inner;
}
template <class TracerT>
[[nodiscard]] ::kj::Own<::kj::AsyncOutputStream> traced_stream(TracerT& tracer,
                                                               ::kj::Own<::kj::AsyncOutputStream> inner) {
  if constexpr (TracerT::kRecords) return ::kj::heap<TracedOutputStream<TracerT>>(tracer, ::kj::mv(inner));
  return inner;
}

THENCE_KJ_1X(template <class TracerT, class Base>::kj::Maybe<::kj::Own<::kj::AsyncInputStream>>
                 InputStreamTracer<TracerT, Base>::tryTee(std::uint64_t limit) {
                   KJ_IF_MAYBE (tee, in_.tryTee(limit)) return traced_stream(tracer_in_, ::kj::mv(*tee));
                   return nullptr;
                 })

}  // namespace kj_adapter
}  // namespace THENCE_ABI
}  // namespace thence
