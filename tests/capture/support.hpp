// SPDX-License-Identifier: MIT
// support.hpp: a tracer without a session, on a clock moved by hand, and what it recorded.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "thence/capture/tracer.hpp"

namespace thence_test {

struct ManualPolicies : thence::DefaultPolicies {
  using Clock = thence::ManualClock;
};

/// A raw event as it stands in the ring, its annotation taken apart.
struct Raw {
  thence::EventKind kind{};
  std::uint64_t resource = 0, ticks = 0, other = 0, root = 0, word = 0;
  std::uint8_t flags = 0;
  unsigned type = 0;
  thence::StackId stack{};
  std::string key, value;
};

template <class Policies = ManualPolicies>
struct Traced {
  explicit Traced(std::size_t capacity = 4096, thence::TracerLink* shared = nullptr)
      : link(shared != nullptr ? *shared : own),
        tracer(link, clock(), {.max_stacks = 100, .max_frames = 1000},
               {.max_stacks = 100, .max_frames = 1000}, thence::HeapStorage(capacity)) {
    tracer.set_epoch(1);
  }

  [[nodiscard]] auto clock() const {
    using Clock = typename Policies::Clock;
    if constexpr (std::same_as<Clock, thence::ManualClock>) return Clock(&time);
    else return Clock();
  }

  std::vector<Raw> drained() {
    std::vector<Raw> all;
    tracer.ring().drain([&](const thence::RecordView& record) {
      const thence::Event& head = record.head();
      Raw raw;
      raw.kind = head.kind();
      raw.resource = number(head.resource());
      raw.ticks = head.ticks;
      raw.other = number(head.other_id());
      raw.word = head.other;
      raw.root = number(head.root());
      raw.flags = head.flags();
      raw.type = static_cast<unsigned>(head.type());
      raw.stack = head.stack();
      if (head.kind() == thence::EventKind::kAnnotated) {
        std::string payload(record.payload_bytes(), ' ');
        record.copy_payload(payload.data());
        raw.key = payload.substr(0, raw.type & 0xfff);
        raw.value = payload.substr(raw.key.size());
      }
      all.push_back(std::move(raw));
    });
    return all;
  }
  /// What the one event recorded since says.
  Raw one() {
    const std::vector<Raw> all = drained();
    REQUIRE(all.size() == 1);
    return all[0];
  }

  std::uint64_t time = 0;
  thence::TracerLink own;
  thence::TracerLink& link;
  thence::BasicTracer<Policies> tracer;
};

inline std::vector<thence::EventKind> kinds(const std::vector<Raw>& all) {
  std::vector<thence::EventKind> result;
  for (const Raw& raw : all) result.push_back(raw.kind);
  return result;
}
template <class T>
T bits_as(const std::string& bytes) {
  T value{};
  REQUIRE(bytes.size() == sizeof value);
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace thence_test
