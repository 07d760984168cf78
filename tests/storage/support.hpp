// SPDX-License-Identifier: MIT
// support.hpp: numbered events, what came out of a buffer, and files that go away, for the tests of storage/.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "thence/core/event.hpp"
#include "thence/storage/event_buffer.hpp"
#include "thence/storage/mapped_storage.hpp"
#include "thence/storage/ring_storage.hpp"

namespace thence_test {

/// Event number n: resource and root are n, its time is 1000 + n.
inline thence::Event numbered(std::uint64_t n) {
  return {thence::Event::head_of(static_cast<thence::ResourceId>(n), thence::EventKind::kEntered), 1000 + n, 0,
          thence::Event::context_of(static_cast<thence::RootId>(n))};
}
/// Annotation number n, of so many bytes.
inline thence::Event annotation(std::uint64_t n, std::size_t key, std::size_t value) {
  return {thence::Event::head_of(static_cast<thence::ResourceId>(n), thence::EventKind::kAnnotated), 1000 + n,
          thence::Event::other_of(static_cast<thence::ResourceId>(key + value), static_cast<thence::TypeId>(key)),
          thence::Event::context_of(static_cast<thence::RootId>(n))};
}
/// Letters that no other annotation has at these places.
inline std::string text_of_length(std::uint64_t n, std::size_t length) {
  std::string text(length, ' ');
  for (std::size_t at = 0; at != length; ++at) text[at] = static_cast<char>('!' + (n * 31 + at * 7) % 90);
  return text;
}

/// A record that came out.
struct Seen {
  thence::EventKind kind{};
  std::uint64_t number = 0;  // the resource; of a loss: how many
  std::uint64_t first = 0;   // ticks; of a loss: of the first
  std::uint64_t last = 0;    // of a loss
  std::string payload = {};
  friend bool operator==(const Seen&, const Seen&) = default;
};
inline Seen seen_of(const thence::RecordView& record) {
  const thence::Event& head = record.head();
  Seen seen{head.kind(), thence::number(head.resource()), head.ticks, 0, {}};
  if (head.kind() == thence::EventKind::kLost) seen.last = head.other;
  seen.payload.resize(record.payload_bytes());
  record.copy_payload(seen.payload.data());
  return seen;
}
template <class Buffer>
std::vector<Seen> drained(Buffer& buffer) {
  std::vector<Seen> all;
  buffer.drain([&](const thence::RecordView& record) { all.push_back(seen_of(record)); });
  return all;
}
/// The numbers of plain events; a loss of n events is -n.
inline std::vector<std::int64_t> numbers(const std::vector<Seen>& all) {
  std::vector<std::int64_t> result;
  for (const Seen& seen : all) {
    const auto n = static_cast<std::int64_t>(seen.number);
    result.push_back(seen.kind == thence::EventKind::kLost ? -n : n);
  }
  return result;
}
inline std::vector<std::int64_t> from_to(std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> result;
  for (; first <= last; ++first) result.push_back(first);
  return result;
}

/// A directory for one test's files.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern =
        std::string(std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR") : "/tmp") + "/thence-test-XXXXXX";
    path_ = ::mkdtemp(pattern.data()) != nullptr ? pattern : std::string(".");
  }
  ~TemporaryDirectory() {
    for (const std::string& file : files_) ::unlink(file.c_str());
    ::rmdir(path_.c_str());
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string file(std::string_view name) {
    files_.push_back(path_ + "/" + std::string(name));
    return files_.back();
  }

 private:
  std::string path_;
  std::vector<std::string> files_;
};

inline thence::MappedFileStorage mapped(TemporaryDirectory& directory, std::string_view name, std::size_t capacity,
                                        const thence::FlightFileInfo& info = {}) {
  thence::MappedFile file = thence::MappedFileStorage::create(directory.file(name).c_str(), capacity, info);
  INFO(file.error);
  REQUIRE(file);
  return std::move(*file.storage);
}

/// The three kinds of storage, each as a type with make(capacity): what a test is repeated for.
struct OnHeap {
  template <template <class> class Buffer, std::size_t Capacity>
  struct Make {
    Buffer<thence::HeapStorage> buffer{thence::HeapStorage{Capacity}};
  };
};
struct InObject {
  template <template <class> class Buffer, std::size_t Capacity>
  struct Make {
    Buffer<thence::StaticStorage<Capacity>> buffer;
  };
};
struct InFile {
  template <template <class> class Buffer, std::size_t Capacity>
  struct Make {
    TemporaryDirectory directory;
    Buffer<thence::MappedFileStorage> buffer{mapped(directory, "ring", Capacity)};
  };
};
#define THENCE_ALL_STORAGES thence_test::OnHeap, thence_test::InObject, thence_test::InFile

}  // namespace thence_test
