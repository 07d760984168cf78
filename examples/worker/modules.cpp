// SPDX-License-Identifier: MIT
#include "modules.hpp"

#include <fstream>
#include <iterator>

#include "versions.hpp"

namespace worker {

namespace fs = std::filesystem;

namespace {
Modules* the_modules = nullptr;  // V8's module callbacks carry no data of the host's
}  // namespace

Modules::Modules(Engine& engine, const std::string& main_script)
    : engine_(engine), main_(fs::weakly_canonical(main_script)), folder_(main_.parent_path()) {
  the_modules = this;
  engine.isolate()->SetHostImportModuleDynamicallyCallback(&import_dynamically);
  engine.isolate()->SetHostInitializeImportMetaObjectCallback(&set_meta);
}

Modules::~Modules() { the_modules = nullptr; }

v8::MaybeLocal<v8::Module> Modules::load_main() {
  const v8::Local<v8::Context> context = engine_.isolate()->GetCurrentContext();
  v8::Local<v8::Module> module;
  if (!load(main_, "the command line").ToLocal(&module)) return {};
  if (!module->InstantiateModule(context, &resolve).FromMaybe(false)) return {};
  return module;
}

std::string Modules::name_of(const Path& file) const {
  const Path relative = file.lexically_relative(folder_);
  return relative.empty() ? file.string() : relative.string();
}

v8::MaybeLocal<v8::Module> Modules::load(const Path& file, const std::string& importer) {
  v8::Isolate* isolate = engine_.isolate();
  const auto known = modules_.find(file);
  if (known != modules_.end()) return known->second.Get(isolate);

  std::ifstream input(file, std::ios::binary);
  const std::string source{std::istreambuf_iterator<char>(input), std::istreambuf_iterator<char>()};
  if (!input || !fs::is_regular_file(file)) {
    isolate->ThrowException(v8::Exception::Error(
        engine_.string(kj::str("cannot read the module ", name_of(file).c_str(), ", imported by ", importer.c_str()))));
    return {};
  }
  const v8::Local<v8::String> name = engine_.string(name_of(file).c_str());
  v8::ScriptCompiler::Source code(engine_.string(kj::StringPtr(source.data(), source.size())),
                                  origin_of(isolate, name, true));
  v8::Local<v8::Module> module;
  if (!v8::ScriptCompiler::CompileModule(isolate, &code).ToLocal(&module)) return {};
  modules_[file].Reset(isolate, module);
  by_hash_.emplace(module->GetIdentityHash(), file);
  return module;
}

v8::MaybeLocal<v8::Module> Modules::imported(const std::string& specifier, const Path& importer) {
  if (!specifier.starts_with("./") && !specifier.starts_with("../") && !specifier.starts_with("/")) {
    engine_.isolate()->ThrowException(
        v8::Exception::TypeError(engine_.string(kj::str(name_of(importer).c_str(), " imports \"", specifier.c_str(),
                                                        "\": only relative paths (./ or ../) can be imported"))));
    return {};
  }
  return load(fs::weakly_canonical(importer.parent_path() / specifier), name_of(importer));
}

v8::MaybeLocal<v8::Module> Modules::resolve(v8::Local<v8::Context>, v8::Local<v8::String> specifier,
                                            v8::Local<v8::FixedArray>, v8::Local<v8::Module> referrer) {
  Modules& self = *the_modules;
  const auto [begin, end] = self.by_hash_.equal_range(referrer->GetIdentityHash());
  for (auto candidate = begin; candidate != end; ++candidate) {
    if (self.modules_.at(candidate->second) == referrer) {
      return self.imported(self.engine_.text(specifier).cStr(), candidate->second);
    }
  }
  return {};
}

v8::MaybeLocal<v8::Promise> Modules::import_dynamically(v8::Local<v8::Context> context, v8::Local<v8::Data>,
                                                        v8::Local<v8::Value> resource, v8::Local<v8::String> specifier,
                                                        v8::Local<v8::FixedArray>) {
  Modules& self = *the_modules;
  v8::Isolate* isolate = self.engine_.isolate();
  const auto resolver = v8::Promise::Resolver::New(context).ToLocalChecked();
  v8::TryCatch caught(isolate);
  const Path importer = self.folder_ / self.engine_.text(resource).cStr();
  v8::Local<v8::Module> module;
  v8::Local<v8::Value> evaluated;
  const bool good = self.imported(self.engine_.text(specifier).cStr(), importer).ToLocal(&module) &&
                    module->InstantiateModule(context, &resolve).FromMaybe(false) &&
                    module->Evaluate(context).ToLocal(&evaluated);
  if (!good) {
    if (caught.HasTerminated()) return {};
    resolver->Reject(context, caught.Exception()).Check();
    return resolver->GetPromise();
  }
  // import() gives the namespace once the module's own (asynchronous) evaluation is done.
  const auto give_namespace = v8::Function::New(
      context, [](const v8::FunctionCallbackInfo<v8::Value>& args) { args.GetReturnValue().Set(args.Data()); },
      module->GetModuleNamespace());
  v8::Local<v8::Function> then;
  if (!give_namespace.ToLocal(&then)) return {};
  return evaluated.As<v8::Promise>()->Then(context, then);
}

void Modules::set_meta(v8::Local<v8::Context> context, v8::Local<v8::Module> module, v8::Local<v8::Object> meta) {
  Modules& self = *the_modules;
  const auto [begin, end] = self.by_hash_.equal_range(module->GetIdentityHash());
  for (auto candidate = begin; candidate != end; ++candidate) {
    if (!(self.modules_.at(candidate->second) == module)) continue;
    const kj::String url = kj::str("file://", candidate->second.c_str());
    meta->CreateDataProperty(context, self.engine_.string("url"), self.engine_.string(url)).Check();
  }
}

}  // namespace worker
