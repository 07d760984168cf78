// SPDX-License-Identifier: MIT
// extension_descriptor.hpp: names thence's keys for Perfetto, which then shows them as arguments of an event.
// Layer: formats (includes wire/ and core/ only).
#pragma once

#include <cstddef>
#include <string_view>

#include "thence/config/version.hpp"
#include "thence/core/event.hpp"
#include "thence/core/view.hpp"
#include "thence/formats/perfetto/fields.hpp"
#include "thence/formats/perfetto/keys.hpp"
#include "thence/formats/words.hpp"

namespace thence {
inline namespace THENCE_ABI {
namespace perfetto {

/// Adds `extension_descriptor` to the packet that `writer`, a ProtobufWriter, is in: 4 KB, the descriptor of thence.proto. A template
/// so that only who writes traces compiles it.
template <class Writer>
void write_extension_descriptor(Writer& writer) {
  const auto extension = writer.message(trace_packet::kExtensionDescriptor);
  const auto set = writer.message(extension_descriptor::kExtensionSet);
  const auto file = writer.message(file_set::kFile);
  writer.string(file_descriptor::kName, "thence.proto");
  writer.string(file_descriptor::kPackage, "thence");
  const auto add_enum = [&](std::string_view name, unsigned count, std::string_view (*spell)(unsigned)) {
    const auto descriptor = writer.message(file_descriptor::kEnumType);
    writer.string(enum_descriptor::kName, name);
    for (unsigned at = 0; at < count; ++at) {
      const auto value = writer.message(enum_descriptor::kValue);
      writer.string(enum_value::kName, spell(at));
      writer.varint(enum_value::kNumber, at);
    }
  };
  add_enum("Outcome", 5, [](unsigned at) { return word(static_cast<Outcome>(at)); });
  add_enum("Actor", 3, [](unsigned at) { return word(static_cast<Actor>(at)); });
  add_enum("Cause", 5, [](unsigned at) { return word(static_cast<CauseKind>(at)); });
  add_enum("Link", 2, [](unsigned at) { return word(static_cast<LinkKind>(at)); });
  add_enum("Seal", 4, [](unsigned at) { return word(static_cast<SealReason>(at)); });
  add_enum("Pause", 5, [](unsigned at) { return word(static_cast<PauseKind>(at)); });
  add_enum("Sample", 2, [](unsigned at) { return word(static_cast<SampleKind>(at)); });
  for (std::size_t at = 0; at < kKeyCount; ++at) {
    const KeyInfo& key = kKeys[at];
    const auto field = writer.message(file_descriptor::kExtension);
    char name[64] = "thence_";
    key.name.copy(name + 7, sizeof name - 7);
    writer.string(field_descriptor::kName, text_at(name, 7 + key.name.size()));
    writer.string(field_descriptor::kExtendee, ".perfetto.protos.TrackEvent");
    writer.varint(field_descriptor::kNumber, field_of(static_cast<Key>(at)));
    writer.varint(field_descriptor::kLabel, field_descriptor::kOptional);
    const auto is_enum = [&](std::string_view type) {
      writer.varint(field_descriptor::kType, field_descriptor::kEnum);
      writer.string(field_descriptor::kTypeName, type);
    };
    switch (key.type) {
      case KeyType::kUint: writer.varint(field_descriptor::kType, field_descriptor::kUint64); break;
      case KeyType::kInt: writer.varint(field_descriptor::kType, field_descriptor::kInt64); break;
      case KeyType::kBool: writer.varint(field_descriptor::kType, field_descriptor::kBool); break;
      case KeyType::kText: writer.varint(field_descriptor::kType, field_descriptor::kString); break;
      case KeyType::kOutcome: is_enum(".thence.Outcome"); break;
      case KeyType::kActor: is_enum(".thence.Actor"); break;
      case KeyType::kCause: is_enum(".thence.Cause"); break;
      case KeyType::kLink: is_enum(".thence.Link"); break;
      case KeyType::kSeal: is_enum(".thence.Seal"); break;
      case KeyType::kPause: is_enum(".thence.Pause"); break;
      case KeyType::kSample: is_enum(".thence.Sample"); break;
    }
  }
}

}  // namespace perfetto
}  // namespace THENCE_ABI
}  // namespace thence
