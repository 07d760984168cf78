// SPDX-License-Identifier: MIT
// v8_version.hpp: what differs between the versions of V8 that are tested (10.2, 11.3, 13.6), in one place.
//
// Nothing else in the adapter asks for a version. A later V8 that breaks the adapter is mended here.
// Layer: adapters/v8 (includes config/, V8).
#pragma once

#include <v8.h>

#include <cstdint>
#include <type_traits>

#include "thence/config/version.hpp"

// Fast API calls have a header of their own, which not every package installs beside v8.h (Debian's libnode-dev keeps it
// in nodejs/deps/v8/include). Without it the adapter is complete and slower.
#if __has_include(<v8-fast-api-calls.h>)
#include <v8-fast-api-calls.h>
#define THENCE_V8_FAST_CALLS 1
#else
#define THENCE_V8_FAST_CALLS 0
#endif

namespace thence {
inline namespace THENCE_ABI {
namespace v8_adapter {

/// Whether this build can offer V8 a function to call from optimised code without a frame. Whether V8 does so is its
/// flag --turbo-fast-api-calls, off by default in 10.2 and 11.3, on in 13.6.
inline constexpr bool kHasFastCalls = THENCE_V8_FAST_CALLS != 0;

/// kGCTypeMinorMarkCompact until 11, kGCTypeMinorMarkSweep since: the same bit.
inline constexpr auto kMinorMarkingGc = static_cast<::v8::GCType>(1 << 1);

/// Code, bytecode and what else a stack's words point at live in the old generation, which these may move or free.
/// The young generation's collections (scavenges, minor marking) leave them where they are.
[[nodiscard]] constexpr bool may_move_code(::v8::GCType type) noexcept {
  return (static_cast<unsigned>(type) & static_cast<unsigned>(::v8::kGCTypeMarkSweepCompact)) != 0;
}

/// A function that V8 runs as the FunctionCallback it is, and from optimised code as the `fast` one of the same arguments.
#if THENCE_V8_FAST_CALLS
using FastFunction = ::v8::CFunction;
template <class F>
[[nodiscard]] FastFunction fast_function(F* function) noexcept {
  return ::v8::CFunction::Make(function);
}
[[nodiscard]] inline ::v8::Local<::v8::FunctionTemplate> function_template(::v8::Isolate* isolate,
                                                                           ::v8::FunctionCallback slow,
                                                                           const FastFunction& fast) {
  return ::v8::FunctionTemplate::New(isolate, slow, {}, {}, 0, ::v8::ConstructorBehavior::kThrow,
                                     ::v8::SideEffectType::kHasSideEffect, &fast);
}
#else
struct FastFunction {};
template <class F>
[[nodiscard]] FastFunction fast_function(F*) noexcept {
  return {};
}
[[nodiscard]] inline ::v8::Local<::v8::FunctionTemplate> function_template(::v8::Isolate* isolate,
                                                                           ::v8::FunctionCallback slow,
                                                                           const FastFunction&) {
  return ::v8::FunctionTemplate::New(isolate, slow, {}, {}, 0, ::v8::ConstructorBehavior::kThrow);
}
#endif

/// Names, lines and columns, of all origins: the hooks are in a context of their own.
inline constexpr auto kStackDetail = static_cast<::v8::StackTrace::StackTraceOptions>(
    static_cast<int>(::v8::StackTrace::kDetailed) |
    static_cast<int>(::v8::StackTrace::kExposeFramesAcrossSecurityOrigins));

/// A script of ours, by its name.
[[nodiscard]] inline ::v8::ScriptOrigin script_origin([[maybe_unused]] ::v8::Isolate* isolate,
                                                      ::v8::Local<::v8::Value> name) {
#if V8_MAJOR_VERSION >= 12
  return ::v8::ScriptOrigin(name);
#else
  return ::v8::ScriptOrigin(isolate, name);
#endif
}

/// The one value that V8 carries along every await and then(): of the context until V8 12, of the isolate since.
[[nodiscard]] inline ::v8::Local<::v8::Value> continuation_data([[maybe_unused]] ::v8::Isolate* isolate,
                                                                [[maybe_unused]] ::v8::Local<::v8::Context> context) {
#if V8_MAJOR_VERSION >= 12
  return isolate->GetContinuationPreservedEmbedderData();
#else
  return context->GetContinuationPreservedEmbedderData();
#endif
}
inline void set_continuation_data([[maybe_unused]] ::v8::Isolate* isolate,
                                  [[maybe_unused]] ::v8::Local<::v8::Context> context, ::v8::Local<::v8::Value> data) {
#if V8_MAJOR_VERSION >= 12
  isolate->SetContinuationPreservedEmbedderData(data);
#else
  context->SetContinuationPreservedEmbedderData(data);
#endif
}

/// What v8.h's own inline functions read of an object, where they do so: a handle is a slot, and an internal field a word. Where the fields
/// begin is known of the versions that are tested; of another they are V8's business.
#if !defined(V8_ENABLE_DIRECT_HANDLE) && !defined(V8_ENABLE_DIRECT_LOCAL) && !defined(V8_ENABLE_CONSERVATIVE_STACK_SCANNING)
#define THENCE_V8_SLOTS 1
#else
#define THENCE_V8_SLOTS 0
#endif
#if THENCE_V8_SLOTS && (V8_MAJOR_VERSION <= 11 || V8_MAJOR_VERSION == 13) && !defined(V8_COMPRESS_POINTERS) && \
    !defined(V8_SANDBOXED_EXTERNAL_POINTERS) && !defined(V8_ENABLE_SANDBOX)
#define THENCE_V8_FIELDS 1
#else
#define THENCE_V8_FIELDS 0
#endif

#if THENCE_V8_SLOTS
/// The object itself, which the next collection may move; 0 where there is none.
template <class Handle>
[[nodiscard]] ::v8::internal::Address address_of(const Handle& handle) noexcept {
  const ::v8::internal::Address* slot;
  static_assert(sizeof slot == sizeof handle);
  __builtin_memcpy(&slot, &handle, sizeof slot);
  return slot == nullptr ? 0 : *slot;
}
#endif

/// Whether two are objects of one hidden class (V8's map); each a Local or a Global. False also where that cannot be read without a call.
template <class One, class Other>
[[nodiscard]] bool have_one_shape([[maybe_unused]] const One& one, [[maybe_unused]] const Other& other) noexcept {
#if THENCE_V8_SLOTS
  using In = ::v8::internal::Internals;
  using Map = std::conditional_t<::v8::internal::kApiTaggedSize == sizeof(std::uint32_t), std::uint32_t, ::v8::internal::Address>;
  const auto a = address_of(one), b = address_of(other);
  return In::HasHeapObjectTag(a) && In::HasHeapObjectTag(b) &&
         In::ReadRawField<Map>(a, In::kHeapObjectMapOffset) == In::ReadRawField<Map>(b, In::kHeapObjectMapOffset);
#else
  return false;
#endif
}

#if THENCE_V8_FIELDS
[[nodiscard]] inline void** internal_field(::v8::Local<::v8::Object> object, int index) noexcept {
  using In = ::v8::internal::Internals;
#if V8_MAJOR_VERSION >= 13
  constexpr int kFields = In::kJSAPIObjectWithEmbedderSlotsHeaderSize;
#else
  constexpr int kFields = In::kJSObjectHeaderSize;
#endif
  const auto offset = static_cast<unsigned>(kFields + In::kEmbedderDataSlotSize * index);
  return reinterpret_cast<void**>(address_of(object) + offset - static_cast<unsigned>(::v8::internal::kHeapObjectTag));
}
#endif

/// The first internal field of our objects stays undefined. Until V8 12 the collector takes two words in the first two, which look like
/// pointers as all small integers do, for a wrapper of the host's (EmbedderHeapTracer, CppHeap), and follows them.
inline constexpr int kFirstField = 1;

/// Aligned pointers in an object that is known to have the field: V8 itself takes 160 instructions to set one.
[[nodiscard]] inline void* aligned_pointer_in(::v8::Local<::v8::Object> object, int index) {
#if THENCE_V8_FIELDS
  return *internal_field(object, index);
#else
  return object->GetAlignedPointerFromInternalField(index);
#endif
}
inline void set_aligned_pointer_in(::v8::Local<::v8::Object> object, int index, void* pointer) {
#if THENCE_V8_FIELDS
  // V8's concurrent marker may read it meanwhile, as the small integer that an aligned pointer looks like.
  __atomic_store_n(internal_field(object, index), pointer, __ATOMIC_RELAXED);
#else
  object->SetAlignedPointerInInternalField(index, pointer);
#endif
}

/// Whether the field of such an object holds this value. False also where that cannot be read without a call.
[[nodiscard]] inline bool is_in_field([[maybe_unused]] ::v8::Local<::v8::Object> object, [[maybe_unused]] int index,
                                      [[maybe_unused]] ::v8::Local<::v8::Value> value) noexcept {
#if THENCE_V8_FIELDS
  return reinterpret_cast<::v8::internal::Address>(*internal_field(object, index)) == address_of(value);
#else
  return false;
#endif
}

/// Our own calls into JavaScript never run the host's microtasks.
class NoMicrotasks {
 public:
  explicit NoMicrotasks(::v8::Isolate* isolate, ::v8::Local<::v8::Context> context)
      : scope_(isolate, context->GetMicrotaskQueue(), ::v8::MicrotasksScope::kDoNotRunMicrotasks) {}

 private:
  ::v8::MicrotasksScope scope_;
};

}  // namespace v8_adapter
}  // namespace THENCE_ABI
}  // namespace thence
