// NativeDevice: makes storages and programs.
#include "wraps.h"

namespace gradline::addon {

Napi::Function NativeDevice::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {InstanceMethod("describe", &NativeDevice::checked<&NativeDevice::describe>),
                      InstanceMethod("peak", &NativeDevice::checked<&NativeDevice::peak>),
                      InstanceMethod("storage", &NativeDevice::checked<&NativeDevice::storage>),
                      InstanceMethod("measure", &NativeDevice::checked<&NativeDevice::measure>),
                      InstanceMethod("load", &NativeDevice::checked<&NativeDevice::load>),
                      InstanceMethod("close", &NativeDevice::checked<&NativeDevice::close>)});
}

NativeDevice::NativeDevice(const Napi::CallbackInfo &info) : Wrap(info) {
  constant(info, "threads", content->device().threads());
}

// peak(milliseconds): multiply-adds of one thread, operations per second, measured on the calling thread.
Napi::Value NativeDevice::peak(const Napi::CallbackInfo &info) {
  const auto milliseconds = static_cast<double>(toInteger(info[0], "milliseconds", 1, 10000));
  return Napi::Number::New(info.Env(), content->device().peak(milliseconds / 1000));
}

Napi::Value NativeDevice::describe(const Napi::CallbackInfo &info) {
  return Napi::String::New(info.Env(), content->device().describe());
}

Napi::Value NativeDevice::storage(const Napi::CallbackInfo &info) {
  const uint64_t bytes = toInteger(info[0], "bytes", 0, 0x1p46);
  return NativeStorage::create(info.Env(), Environment::of(info.Env()).storage,
                               {content, content->device().allocate(bytes)});
}

Napi::Value NativeDevice::measure(const Napi::CallbackInfo &info) {
  const ByteSpan bytes = toBytes(info[0], "program");
  const Measure measure = content->device().measure(bytes.data, bytes.size);
  Napi::Array regions = Napi::Array::New(info.Env(), measure.regions.size());
  for (uint32_t i = 0; i < measure.regions.size(); i++) regions.Set(i, static_cast<double>(measure.regions[i]));
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("regions", regions);
  result.Set("workspace", static_cast<double>(measure.workspace));
  result.Set("plans", toStrings(info.Env(), measure.plans));
  Napi::Array threads = Napi::Array::New(info.Env(), measure.threads.size());
  for (uint32_t i = 0; i < measure.threads.size(); i++) threads.Set(i, measure.threads[i]);
  result.Set("threads", threads);
  return result;
}

Napi::Value NativeDevice::load(const Napi::CallbackInfo &info) {
  const Napi::Array list = toArray(info[1], "storages");
  std::vector<std::shared_ptr<Storage>> storages(list.Length());
  for (uint32_t i = 0; i < storages.size(); i++) {
    const Napi::Value item = list[i];
    if (item.IsNull() || item.IsUndefined()) continue;
    storages[i] = NativeStorage::from(item, "storages[" + std::to_string(i) + "]").alive();
  }
  // Taken after the loop, which may have run a getter of the array: the bytes cannot move any more.
  const ByteSpan bytes = toBytes(info[0], "program");
  return NativeProgram::create(info.Env(), Environment::of(info.Env()).program,
                               {content, content->device().load(bytes.data, bytes.size, std::move(storages))});
}

Napi::Value NativeDevice::close(const Napi::CallbackInfo &info) {
  content->device().close();
  return info.Env().Undefined();
}

}  // namespace gradline::addon
