// SPDX-License-Identifier: MIT
// native_symbols.hpp: from a program counter to module, build id, relative address and function.
//
// A hot path stores raw addresses; here, when the trace is written, they get what outlives the process: the module's path and
// build id with the address as the module's own file counts it (what addr2line and a symbol server ask for), and the
// function's name where the dynamic symbol table has it. Link with -rdynamic to have the names of an executable.
//
//   NativeSymbols symbols;
//   NativeSymbol symbol = symbols.resolve(pc);
//
// Layer: session (includes formats/).
#pragma once

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <link.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "thence/config/version.hpp"
#include "thence/core/vector.hpp"
#include "thence/core/view.hpp"
#include "thence/formats/id_map.hpp"
#include "thence/session/block_arena.hpp"

namespace thence {
inline namespace THENCE_ABI {

/// What is known of an address; what is empty is unknown. File and line are not looked up: build id and relative pc suffice
/// to do so later.
struct NativeSymbol {
  std::string_view module;        ///< path of the executable or shared object
  std::string_view build_id;      ///< hexadecimal, lower case
  std::uint64_t relative_pc = 0;  ///< as in the module's own file; the absolute one where the module is unknown
  std::string_view function;      ///< demangled where it is a C++ name
  std::uint64_t function_offset = 0;
};

/// Symbols of this process. Remembers what it looked up, also of modules that were unloaded since.
///   Threads   one; takes the dynamic linker's lock
///   Cost      a first look-up: some microseconds; later ones: a hash table's. Grows with the number of distinct addresses.
///   Errors    an unknown address is no error: its module is empty. May throw std::bad_alloc.
///   Lifetime  the texts of what resolve() returns live as long as this
class NativeSymbols {
 public:
  [[nodiscard]] NativeSymbol resolve(std::uint64_t pc) {
    if (pc == 0) return {};
    const std::uint32_t known = places_.find(pc);
    if (known != IdMap::kAbsent) return symbols_[known];
    NativeSymbol symbol;
    look_up(pc, symbol);
    symbols_.push_back(symbol);
    places_.insert(pc, static_cast<std::uint32_t>(symbols_.size() - 1));
    return symbol;
  }

 private:
  struct Segment {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };
  struct Module {
    std::uint64_t bias = 0;
    std::string_view path;
    std::string_view build_id;
    detail::Vector<Segment> segments;
  };

  void look_up(std::uint64_t pc, NativeSymbol& symbol) {
    symbol.relative_pc = pc;
    const Module* module = module_of(pc);
    if (module == nullptr) {
      list_modules();  // loaded since, perhaps
      module = module_of(pc);
    }
    if (module == nullptr) return;
    symbol.module = module->path;
    symbol.build_id = module->build_id;
    symbol.relative_pc = pc - module->bias;
    ::Dl_info info{};
    if (::dladdr(reinterpret_cast<const void*>(static_cast<std::uintptr_t>(pc)), &info) == 0 ||
        info.dli_sname == nullptr)
      return;
    symbol.function = keep_demangled(info.dli_sname);
    symbol.function_offset = pc - reinterpret_cast<std::uintptr_t>(info.dli_saddr);
  }

  [[nodiscard]] std::string_view keep_demangled(const char* name) {
    int status = 0;
    char* const text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
    const std::string_view kept = texts_.keep(text != nullptr && status == 0 ? text : name);
    std::free(text);
    return kept;
  }

  [[nodiscard]] const Module* module_of(std::uint64_t pc) const noexcept {
    // The newest first: where one was unloaded and another took its place, that is the one that runs.
    for (std::size_t at = modules_.size(); at-- != 0;) {
      for (const Segment& segment : modules_[at].segments) {
        if (segment.begin <= pc && pc < segment.end) return &modules_[at];
      }
    }
    return nullptr;
  }

  void list_modules() {
    ::dl_iterate_phdr(
        [](::dl_phdr_info* info, std::size_t, void* self) {
          static_cast<NativeSymbols*>(self)->add_module(*info);
          return 0;
        },
        this);
  }

  void add_module(const ::dl_phdr_info& info) {
    Module module;
    std::string build_id;
    module.bias = info.dlpi_addr;
    for (std::size_t at = 0; at != info.dlpi_phnum; ++at) {
      const ElfW(Phdr)& header = info.dlpi_phdr[at];
      const std::uint64_t begin = info.dlpi_addr + header.p_vaddr;
      if (header.p_type == PT_LOAD && (header.p_flags & PF_X) != 0)
        module.segments.push_back({begin, begin + header.p_memsz});
      if (header.p_type == PT_NOTE && build_id.empty()) {
        build_id = build_id_in(reinterpret_cast<const char*>(static_cast<std::uintptr_t>(begin)), header.p_memsz, header.p_align);
      }
    }
    if (module.segments.empty()) return;
    if (info.dlpi_name != nullptr) module.path = info.dlpi_name;
    char own[PATH_MAX];
    if (module.path.empty()) module.path = own_path(own);
    for (const Module& known : modules_) {
      if (known.bias == module.bias && known.path == module.path && known.build_id == build_id) return;
    }
    module.path = texts_.keep(module.path);
    module.build_id = texts_.keep(build_id);
    modules_.push_back(std::move(module));
  }

  /// The program itself has no name in the linker's list.
  [[nodiscard]] static std::string_view own_path(char (&path)[PATH_MAX]) {
    const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
    return text_at(path, length > 0 ? static_cast<std::size_t>(length) : 0);
  }

  /// The GNU build id among the notes of a segment, in hexadecimal.
  [[nodiscard]] static std::string build_id_in(const char* notes, std::size_t size, std::size_t align) {
    if (align != 8) align = 4;
    const auto padded = [align](std::size_t length) { return (length + align - 1) & ~(align - 1); };
    for (std::size_t at = 0; at + sizeof(ElfW(Nhdr)) <= size;) {
      ElfW(Nhdr) note;
      std::memcpy(&note, notes + at, sizeof note);
      const std::size_t name = at + sizeof note;
      const std::size_t bytes = name + padded(note.n_namesz);
      if (bytes > size || note.n_descsz > size - bytes) break;
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(notes + name, "GNU", 4) == 0) {
        static constexpr char kDigits[] = "0123456789abcdef";
        std::string text;
        for (std::size_t byte = 0; byte != note.n_descsz; ++byte) {
          const auto value = static_cast<unsigned char>(notes[bytes + byte]);
          text.push_back(kDigits[value >> 4]);
          text.push_back(kDigits[value & 0xf]);
        }
        return text;
      }
      at = bytes + padded(note.n_descsz);
    }
    return {};
  }

  BlockArena texts_;
  detail::Vector<Module> modules_;
  detail::Vector<NativeSymbol> symbols_;
  IdMap places_;  // address -> place in symbols_
};

}  // namespace THENCE_ABI
}  // namespace thence
