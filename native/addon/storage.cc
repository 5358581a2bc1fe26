// NativeStorage: memory that programs share; read and written while no run uses it.
#include "wraps.h"

namespace gradline::addon {

Napi::Function NativeStorage::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {InstanceAccessor("busy", &NativeStorage::checked<&NativeStorage::busy>, nullptr),
                      InstanceMethod("read", &NativeStorage::checked<&NativeStorage::read>),
                      InstanceMethod("write", &NativeStorage::checked<&NativeStorage::write>),
                      InstanceMethod("release", &NativeStorage::checked<&NativeStorage::release>)});
}

NativeStorage::NativeStorage(const Napi::CallbackInfo &info) : Wrap(info) {
  constant(info, "bytes", static_cast<double>(content.storage->bytes()));
  reportMemory(content.storage->bytes());
}

const std::shared_ptr<Storage> &NativeStorage::alive() const {
  if (!content.storage) throw Error(ErrorCode::closed, "the storage was released");
  return content.storage;
}

Napi::Value NativeStorage::busy(const Napi::CallbackInfo &info) {
  return Napi::Boolean::New(info.Env(), content.storage && content.storage->busy());
}

namespace {

// The range [offset, offset + bytes) that a read or write names, checked against the storage.
uint64_t toOffset(const Napi::Value &value, const ByteSpan &bytes, const Storage &storage) {
  const uint64_t offset = toInteger(value, "offset", 0, static_cast<double>(storage.bytes()));
  if (bytes.size > storage.bytes() - offset) {
    rejectArgument(std::to_string(bytes.size) + " bytes at offset " + std::to_string(offset) +
                   " leave the storage of " + std::to_string(storage.bytes()) + " bytes");
  }
  return offset;
}

}  // namespace

Napi::Value NativeStorage::read(const Napi::CallbackInfo &info) {
  const Storage &storage = *alive();
  const ByteSpan bytes = toBytes(info[1], "into");
  content.host->device().read(storage, toOffset(info[0], bytes, storage), bytes.data, bytes.size);
  return info.Env().Undefined();
}

Napi::Value NativeStorage::write(const Napi::CallbackInfo &info) {
  Storage &storage = *alive();
  const ByteSpan bytes = toBytes(info[1], "from");
  content.host->device().write(storage, toOffset(info[0], bytes, storage), bytes.data, bytes.size);
  return info.Env().Undefined();
}

Napi::Value NativeStorage::release(const Napi::CallbackInfo &info) {
  content.storage.reset();
  reportMemory(0);
  return info.Env().Undefined();
}

}  // namespace gradline::addon
