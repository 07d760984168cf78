// SPDX-License-Identifier: MIT
// cmd_symbolize.cpp: `thence symbolize IN OUT`: names for native frames, from build id and relative pc, on a machine that has
// the binaries.
//
// The names come from binutils' addr2line, run as a process for each module (`--addr2line` may name another program that
// takes its options, such as llvm-addr2line). A binary is used only if its build id is the frame's; without one in the
// trace, the path must do. What cannot be found is left as it is and listed.
#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats.hpp"
#include "json_out.hpp"
#include "options.hpp"
#include "terminal.hpp"
#include "thence/formats/frame_text.hpp"
#include "thence/model/replay.hpp"
#include "tool.hpp"

extern char** environ;

namespace tool {

using namespace thence;

namespace {

struct Options {
  std::string in, out, to, addr2line = "addr2line";
  std::vector<std::string> debug_dirs;
  bool lines = false;
  ReadOptions read;
};

/// The GNU build id of an ELF file, in hexadecimal; nullopt: no ELF file, or it has none.
std::optional<std::string> build_id_of(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return std::nullopt;
  struct stat what{};
  const bool regular = ::fstat(descriptor, &what) == 0 && S_ISREG(what.st_mode) && what.st_size > static_cast<off_t>(sizeof(Elf64_Ehdr));
  const auto size = regular ? static_cast<std::size_t>(what.st_size) : 0;
  void* mapped = regular ? ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0) : MAP_FAILED;
  ::close(descriptor);
  if (mapped == MAP_FAILED) return std::nullopt;
  const auto* bytes = static_cast<const unsigned char*>(mapped);
  std::optional<std::string> found;
  Elf64_Ehdr header;
  std::memcpy(&header, bytes, sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_ident[EI_CLASS] == ELFCLASS64) {
    for (unsigned at = 0; at < header.e_phnum && !found; ++at) {
      const std::uint64_t offset = header.e_phoff + std::uint64_t{at} * sizeof(Elf64_Phdr);
      if (offset > size || size - offset < sizeof(Elf64_Phdr)) break;
      Elf64_Phdr segment;
      std::memcpy(&segment, bytes + offset, sizeof segment);
      if (segment.p_type != PT_NOTE || segment.p_offset > size || segment.p_filesz > size - segment.p_offset) continue;
      const std::uint64_t align = segment.p_align == 8 ? 8 : 4;
      const auto padded = [align](std::uint64_t length) { return (length + align - 1) & ~(align - 1); };
      for (std::uint64_t note_at = 0; note_at + sizeof(Elf64_Nhdr) <= segment.p_filesz;) {
        Elf64_Nhdr note;
        std::memcpy(&note, bytes + segment.p_offset + note_at, sizeof note);
        const std::uint64_t name = note_at + sizeof note;
        const std::uint64_t content = name + padded(note.n_namesz);
        if (content > segment.p_filesz || note.n_descsz > segment.p_filesz - content) break;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(bytes + segment.p_offset + name, "GNU", 4) == 0) {
          std::string text;
          for (std::uint64_t byte = 0; byte < note.n_descsz; ++byte) {
            constexpr char kHex[] = "0123456789abcdef";
            const unsigned char value = bytes[segment.p_offset + content + byte];
            text += kHex[value >> 4];
            text += kHex[value & 15];
          }
          found = text;
          break;
        }
        note_at = content + padded(note.n_descsz);
      }
    }
  }
  ::munmap(mapped, size);
  return found;
}

struct Symbol {
  std::string function;
  std::string where;  // file:line; empty: unknown
};

/// addr2line for one binary, asked one address at a time.
class Addr2line {
 public:
  Addr2line(const std::string& program, const std::string& binary) {
    int to[2], from[2];
    if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) throw Failure(kInternal, std::string("pipe: ") + std::strerror(errno));
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    std::string arguments[] = {program, "-a", "-f", "-C", "-i", "-e", binary};
    char* argv[std::size(arguments) + 1] = {};
    for (std::size_t at = 0; at < std::size(arguments); ++at) argv[at] = arguments[at].data();
    const int error = ::posix_spawnp(&process_, program.c_str(), &actions, nullptr, argv, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(to[0]);
    ::close(from[1]);
    if (error != 0) {
      ::close(to[1]);
      ::close(from[0]);
      throw Failure(kUnavailable, program + ": cannot be run: " + std::strerror(error) + " (binutils has it; --addr2line names another)");
    }
    in_ = to[1];
    out_ = from[0];
  }
  Addr2line(const Addr2line&) = delete;
  Addr2line& operator=(const Addr2line&) = delete;
  ~Addr2line() {
    ::close(in_);
    ::close(out_);
    int status = 0;
    ::waitpid(process_, &status, 0);
  }

  /// The function at an address and, where it was inlined, those around it; innermost first. Empty: not known.
  std::vector<Symbol> at(std::uint64_t address) {
    // The answer has no end of its own: a second address that is known to have no symbol closes it.
    std::string question = "0x";
    append_number(question, address, 16);
    question += "\n0xffffffffffffffff\n";
    if (!send(question)) return {};
    std::vector<std::string> lines;
    std::string line;
    bool second = false;
    unsigned after = 0;
    while (read_line(line)) {
      const bool echo = line.starts_with("0x");
      if (echo && !lines.empty()) {
        second = true;
        continue;
      }
      if (second) {
        if (++after == 2) break;
        continue;
      }
      lines.push_back(line);
    }
    std::vector<Symbol> symbols;
    for (std::size_t at = 1; at + 1 < lines.size(); at += 2) {
      if (lines[at] == "??") continue;
      Symbol symbol;
      symbol.function = lines[at];
      std::string_view where = lines[at + 1];
      if (const std::size_t note = where.find(" (discriminator"); note != std::string_view::npos) where = where.substr(0, note);
      if (!where.starts_with("??") && !where.ends_with(":?") && !where.ends_with(":0")) symbol.where = where.substr(where.rfind('/') + 1);
      symbols.push_back(std::move(symbol));
    }
    return symbols;
  }

 private:
  bool send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t count = ::write(in_, text.data(), text.size());
      if (count < 0) {
        if (errno == EINTR) continue;
        return false;
      }
      text.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  bool read_line(std::string& line) {
    line.clear();
    for (;;) {
      if (at_ == buffered_.size()) {
        pollfd wait{out_, POLLIN, 0};
        if (::poll(&wait, 1, 30'000) <= 0) return false;
        char piece[4096];
        const ssize_t count = ::read(out_, piece, sizeof piece);
        if (count <= 0) return false;
        buffered_.assign(piece, static_cast<std::size_t>(count));
        at_ = 0;
      }
      const char c = buffered_[at_++];
      if (c == '\n') return true;
      line += c;
    }
  }

  pid_t process_ = -1;
  int in_ = -1;
  int out_ = -1;
  std::string buffered_;
  std::size_t at_ = 0;
};

/// Puts names into the native frames of the stacks that go by.
class Symbolizer {
 public:
  Symbolizer(AnySink& sink, const Options& options) : sink_(&sink), options_(&options) {}

  void begin(const TraceInfo& info) { sink_->begin(info); }
  void define_lane(const LaneInfo& lane) { sink_->define_lane(lane); }
  void define_type(TypeId type, std::string_view name) { sink_->define_type(type, name); }
  void define_counter(CounterId counter, std::string_view name, std::string_view unit) { sink_->define_counter(counter, name, unit); }
  void synchronise(const ClockSnapshot& clock) { sink_->synchronise(clock); }
  void take(std::span<const TraceEvent> events) { sink_->take(events); }
  void flush() { sink_->flush(); }
  void end(const TraceSummary& summary) { sink_->end(summary); }

  void define_stack(const StackInfo& stack) {
    std::vector<FrameInfo> frames;
    for (const FrameInfo& frame : stack.frames) {
      if (frame.kind != FrameKind::kNative) {
        frames.push_back(frame);
        continue;
      }
      ++native;
      if (!frame.function.empty()) {
        ++named_before;
        if (!options_->lines) {
          frames.push_back(frame);
          continue;
        }
      }
      const std::vector<Symbol>& symbols = symbols_of(frame);
      if (symbols.empty()) {
        frames.push_back(frame);
        continue;
      }
      if (frame.function.empty()) ++named;
      for (const Symbol& symbol : symbols) {
        FrameInfo known = frame;
        texts_.push_back(std::make_unique<std::string>(symbol.function));
        if (options_->lines && !symbol.where.empty()) *texts_.back() += " (" + symbol.where + ")";
        known.function = *texts_.back();
        frames.push_back(known);
      }
    }
    sink_->define_stack({stack.id, frames});
  }

  struct Module {
    std::string path;
    std::string build_id;
    std::string binary;       // that is used; empty: none
    std::string why_not;
    std::uint64_t asked = 0, found = 0;
    std::unique_ptr<Addr2line> tool;
    std::map<std::uint64_t, std::vector<Symbol>> symbols;
  };
  std::map<std::pair<std::string, std::string>, Module> modules;
  std::uint64_t native = 0, named_before = 0, named = 0;

 private:
  const std::vector<Symbol>& symbols_of(const FrameInfo& frame) {
    static const std::vector<Symbol> none;
    if (frame.file.empty() && frame.build_id.empty()) return none;
    const std::pair key{std::string(frame.file), std::string(frame.build_id)};
    const auto [place, is_new] = modules.try_emplace(key);
    Module& module = place->second;
    if (is_new) {
      module.path = key.first;
      module.build_id = key.second;
      find_binary(module);
    }
    ++module.asked;
    if (module.binary.empty()) return none;
    const auto [known, fresh] = module.symbols.try_emplace(frame.relative_pc);
    if (fresh) {
      if (module.tool == nullptr) module.tool = std::make_unique<Addr2line>(options_->addr2line, module.binary);
      // A frame's pc is where its call returns to: the call itself is before it.
      known->second = module.tool->at(frame.relative_pc == 0 ? 0 : frame.relative_pc - 1);
    }
    if (!known->second.empty()) ++module.found;
    return known->second;
  }

  void find_binary(Module& module) const {
    const auto fits = [&](const std::string& path) {
      const auto id = build_id_of(path);
      if (module.build_id.empty()) return ::access(path.c_str(), R_OK) == 0;
      return id && *id == module.build_id;
    };
    std::vector<std::string> candidates;
    const std::string name = module.path.substr(module.path.rfind('/') + 1);
    std::vector<std::string> dirs = options_->debug_dirs;
    dirs.push_back("/usr/lib/debug");
    if (module.build_id.size() > 2) {
      for (const std::string& dir : dirs) {
        const std::string below = "/" + module.build_id.substr(0, 2) + "/" + module.build_id.substr(2);
        candidates.push_back(dir + "/.build-id" + below + ".debug");
        candidates.push_back(dir + "/.build-id" + below);
      }
    }
    for (const std::string& dir : options_->debug_dirs) {
      if (!name.empty()) candidates.push_back(dir + "/" + name);
      if (module.path.starts_with('/')) candidates.push_back(dir + module.path);
    }
    if (!module.path.empty()) candidates.push_back(module.path);
    bool other_build = false;
    for (const std::string& path : candidates) {
      if (fits(path)) {
        module.binary = path;
        return;
      }
      other_build = other_build || ::access(path.c_str(), R_OK) == 0;
    }
    module.why_not = other_build ? "what is there has another build id" : "not found";
  }

  AnySink* sink_;
  const Options* options_;
  std::vector<std::unique_ptr<std::string>> texts_;  // of the frames that went by: the sink may look at them until it returns
};

int run(const Options& options, const Common& common) {
  if (common.json && options.out == "-") throw Failure(kUsage, "--json would mix with the trace on standard output");
  const OutputFormat format = output_format(options.to, options.out);
  ::signal(SIGPIPE, SIG_IGN);  // an addr2line that ends early is no reason to end
  const LoadedTrace trace = load(options.in, options.read, common);
  complain_of_unread(trace.result, trace.name, common);
  std::unique_ptr<Symbolizer> symbolizer;
  const Feed feed = [&](AnySink& sink) {
    symbolizer = std::make_unique<Symbolizer>(sink, options);
    replay(trace.model, *symbolizer);
  };
  WriteOptions write;
  write.title = trace.name;
  const WriteResult written = write_trace(trace.model, feed, options.out, format, write);
  if (!common.quiet) {
    for (const std::string& note : written.notes) complain(trace.name + ": " + note);
  }
  if (common.json) {
    JsonOut json;
    json->begin_object();
    json->member("input", trace.name);
    json->member("native_frames", symbolizer->native);
    json->member("named_before", symbolizer->named_before);
    json->member("named_now", symbolizer->named);
    json->key("modules");
    json->begin_array();
    for (const auto& [key, module] : symbolizer->modules) {
      json->begin_object();
      json->member("path", module.path);
      json->member("build_id", module.build_id);
      if (!module.binary.empty()) json->member("binary", module.binary);
      if (!module.why_not.empty()) json->member("why_not", module.why_not);
      json->member("asked", module.asked);
      json->member("found", module.found);
      json->end_object();
    }
    json->end_array();
    put_damage(*json, trace.result);
    json->end_object();
    json.finish();
  } else if (!common.quiet) {
    complain(grouped(symbolizer->named) + " of " + grouped(symbolizer->native - symbolizer->named_before) + " native frames without a name got one");
    for (const auto& [key, module] : symbolizer->modules) {
      if (module.binary.empty()) {
        complain(printable(module.path) + (module.build_id.empty() ? "" : " (build id " + printable(module.build_id) + ")") + ": " + module.why_not);
      }
    }
  }
  return trace.result.good() ? kDone : kDamaged;
}

}  // namespace

Command add_symbolize(CLI::App& app, Common& common) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("symbolize", "Names native frames, on a machine that has the binaries");
  command->add_option("IN", options->in, "The trace; - is standard input")->required();
  command->add_option("OUT", options->out, "The file; - is standard output")->required();
  command->add_option("--to", options->to, "The format of the output; without it, by the end of OUT")
      ->option_text("FORMAT")
      ->check(CLI::IsMember(choices_of("--to")));
  command->add_option("--debug-dir", options->debug_dirs, "Where binaries or debug files are looked for first; may be repeated")
      ->option_text("DIR")
      ->allow_extra_args(false);
  command->add_option("--addr2line", options->addr2line, "The program that knows the symbols")->option_text("PROGRAM");
  command->add_flag("--lines", options->lines, "Names with file and line");
  add_reading(*command, options->read);
  add_common(*command, common);
  return {command, [options, &common] { return run(*options, common); }};
}

}  // namespace tool
