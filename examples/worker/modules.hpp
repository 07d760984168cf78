// SPDX-License-Identifier: MIT
// modules.hpp: ES modules from files: the script, and what it imports by a relative path.
#pragma once

#include <kj/string.h>
#include <v8.h>

#include <filesystem>
#include <map>
#include <string>
#include <unordered_map>

#include "engine.hpp"

namespace worker {

/// Loads a module graph from disk; a module is known by its path relative to the folder of the main one.
///   Errors    a JavaScript exception is thrown: SyntaxError with its place, or an Error that names the importer
///   Lifetime  outlives the scripts (imports may be dynamic); release() before the engine goes
class Modules {
 public:
  Modules(Engine& engine, const std::string& main_script);
  ~Modules();

  /// The main module, compiled and linked, not yet evaluated. Needs the isolate entered; empty: an exception is thrown.
  v8::MaybeLocal<v8::Module> load_main();

 private:
  using Path = std::filesystem::path;

  v8::MaybeLocal<v8::Module> load(const Path& file, const std::string& importer);
  std::string name_of(const Path& file) const;
  v8::MaybeLocal<v8::Module> imported(const std::string& specifier, const Path& importer);

  static v8::MaybeLocal<v8::Module> resolve(v8::Local<v8::Context> context, v8::Local<v8::String> specifier,
                                            v8::Local<v8::FixedArray> attributes, v8::Local<v8::Module> referrer);
  static v8::MaybeLocal<v8::Promise> import_dynamically(v8::Local<v8::Context> context, v8::Local<v8::Data> options,
                                                        v8::Local<v8::Value> resource, v8::Local<v8::String> specifier,
                                                        v8::Local<v8::FixedArray> attributes);
  static void set_meta(v8::Local<v8::Context> context, v8::Local<v8::Module> module, v8::Local<v8::Object> meta);

  Engine& engine_;
  Path main_;
  Path folder_;
  std::map<Path, v8::Global<v8::Module>> modules_;
  std::unordered_multimap<int, Path> by_hash_;  // V8's identity hash -> the file
};

}  // namespace worker
