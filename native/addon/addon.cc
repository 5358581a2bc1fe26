// The module: what this machine and this library can do, and the door to devices. One Environment per JavaScript
// environment, so that the main thread and any number of workers use the addon at once.
#include "../core/library.h"
#include "../core/machine.h"
#include "../cpu/backend.h"
#include "../cuda/blas.h"
#include "../ref/table.h"
#include "wraps.h"

namespace gradline::addon {
namespace {

// [{ name, family, inputs: [fewest, most], outputs: [fewest, most], flags, attrs }] from ops.def
Napi::Value listOps(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    Napi::Array list = Napi::Array::New(env, kOpCount);
    for (uint32_t i = 0; i < kOpCount; i++) {
      const OpInfo &op = kOpTable[i];
      const auto range = [&](int fewest, int most) {
        Napi::Array pair = Napi::Array::New(env, 2);
        pair.Set(0u, fewest);
        pair.Set(1u, most);
        return pair;
      };
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("name", op.name);
      entry.Set("family", op.family);
      entry.Set("inputs", range(op.fewestInputs, op.mostInputs));
      entry.Set("outputs", range(op.fewestOutputs(), op.outputs));
      entry.Set("flags", op.flags);
      entry.Set("attrs", toStrings(env, attributeNames(op)));
      list.Set(i, entry);
    }
    return list;
  });
}

// Bytes of the records, for the encoder to compare with its own.
Napi::Value layout(const Napi::CallbackInfo &info) {
  Napi::Object sizes = Napi::Object::New(info.Env());
  const auto set = [&](const char *name, size_t bytes) { sizes.Set(name, static_cast<double>(bytes)); };
  set("ProgramHeader", sizeof(ProgramHeader));
  set("RegionRecord", sizeof(RegionRecord));
  set("ValueRecord", sizeof(ValueRecord));
  set("OpRecord", sizeof(OpRecord));
  set("SegmentRecord", sizeof(SegmentRecord));
  set("StepState", sizeof(StepState));
  return sizes;
}

// machine(root = ''): as far as it can be read from files, those below another root, for tests.
Napi::Value machine(const Napi::CallbackInfo &info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Machine machine = readMachine(info[0].IsUndefined() ? "" : toString(info[0], "root"));
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("cpu", machine.cpu);
    result.Set("cores", machine.cores);
    result.Set("memory", static_cast<double>(machine.memory));
    result.Set("isas", toStrings(info.Env(), machine.isas));
    return result;
  });
}

const Backend &backendOf(const std::string &name) {
  if (name == "cpu") return cpu::backend;
  if (name == "ref") return ref::backend;
  if (name.find('/') == std::string::npos)
    rejectArgument("unknown backend \"" + name + "\", expected \"cpu\", \"ref\" or the path of a library");
  return loadBackend(name);
}

// What the addon of the cuBLAS binding calls its provider: an External with a table, told apart by its tag.
const GlBlas *toBlas(const Napi::Value &value) {
  static constexpr napi_type_tag kTag = GL_BLAS_TAG;
  if (!value.IsExternal() || !value.As<Napi::External<GlBlas>>().CheckTypeTag(&kTag))
    rejectArgument("blas must be the provider of the cuBLAS binding");
  return value.As<Napi::External<GlBlas>>().Data();
}

GraphMode toGraphMode(const std::string &mode) {
  constexpr std::string_view kModes[] = {"on", "off", "check", "unmerged"};  // in the order of GraphMode
  const auto known = std::find(std::begin(kModes), std::end(kModes), mode);
  if (known == std::end(kModes)) rejectArgument("unknown graph mode \"" + mode + "\"");
  return static_cast<GraphMode>(known - std::begin(kModes));
}

// open(backend, threads, isa, cores = 0, card = {}): backend 'cpu', 'ref' or the path of a library; threads 0 for all
// cores, isa '' for the best, cores 0 for those this process may use. card: { index, graph: 'on' | 'off' | 'check' |
// 'unmerged', blas?, blasNeeded, tune }.
Napi::Value open(const Napi::CallbackInfo &info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string name = toString(info[0], "backend");
    DeviceOptions options{};
    options.threads = static_cast<int32_t>(toInteger(info[1], "threads", 0, 1024));
    const std::string isa = toString(info[2], "isa");
    if (!info[3].IsUndefined()) options.cores = static_cast<int32_t>(toInteger(info[3], "cores", 0, 1024));
    if (!info[4].IsUndefined()) {
      if (!info[4].IsObject()) rejectArgument("card must be an object");
      const auto card = info[4].As<Napi::Object>();
      options.index = static_cast<int32_t>(toInteger(card.Get("index"), "index", 0, 1024));
      options.graph = toGraphMode(toString(card.Get("graph"), "graph"));
      if (const Napi::Value blas = card.Get("blas"); !blas.IsUndefined()) options.blas = toBlas(blas);
      options.blasNeeded = card.Get("blasNeeded").ToBoolean();
      options.tune = card.Get("tune").ToBoolean();
    }
    auto host = Host::create(info.Env(), Device::open(backendOf(name), options, isa));
    return NativeDevice::create(info.Env(), Environment::of(info.Env()).device, std::move(host));
  });
}

// count(path): devices of this machine that the library at this path can open.
Napi::Value count(const Napi::CallbackInfo &info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Backend &backend = backendOf(toString(info[0], "path"));
    return Napi::Number::New(info.Env(), backend.count ? backend.count() : 1);
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto *environment = new Environment;
  env.SetInstanceData(environment);
  environment->device = Napi::Persistent(NativeDevice::define(env));
  environment->storage = Napi::Persistent(NativeStorage::define(env));
  environment->program = Napi::Persistent(NativeProgram::define(env));
  exports.Set("abi", kAbiVersion);
  exports.Set("version", GRADLINE_VERSION);
  exports.Set("compiler", GRADLINE_COMPILER);
  exports.Set("ops", Napi::Function::New(env, listOps, "ops"));
  exports.Set("layout", Napi::Function::New(env, layout, "layout"));
  exports.Set("count", Napi::Function::New(env, count, "count"));
  exports.Set("machine", Napi::Function::New(env, machine, "machine"));
  exports.Set("open", Napi::Function::New(env, open, "open"));
  return exports;
}

}  // namespace

NODE_API_MODULE(gradline, init)

}  // namespace gradline::addon
