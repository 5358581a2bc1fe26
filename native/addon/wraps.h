// The three JavaScript classes of the addon and what one environment keeps. Each class checks arguments and calls the
// core. They cannot be constructed from JavaScript, and each object carries the tag of its class, so that a method or
// an argument of the wrong kind is an error.
#pragma once
#include <memory>
#include <utility>

#include "host.h"

namespace gradline::addon {

class NativeDevice;
class NativeStorage;
class NativeProgram;

struct Environment {
  Napi::FunctionReference device, storage, program;  // constructors
  void *content = nullptr;                           // what the constructor being called from wrap() takes over

  static Environment &of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }
};

// Base of the classes. `Content` is what an object stands for; T::kTag names the class.
template <class T, class Content>
class Wrap : public Napi::ObjectWrap<T> {
 public:
  static Napi::Object create(Napi::Env env, const Napi::FunctionReference &constructor, Content content) {
    Environment::of(env).content = &content;
    return constructor.New({});
  }

  // Throws when `value` is no object of this class.
  static T &from(const Napi::Value &value, const std::string &name) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&T::kTag)) {
      rejectArgument(name + " must be a " + T::kName);
    }
    return *T::Unwrap(value.As<Napi::Object>());
  }

 protected:
  explicit Wrap(const Napi::CallbackInfo &info) : Napi::ObjectWrap<T>(info) {
    auto *content = static_cast<Content *>(std::exchange(Environment::of(info.Env()).content, nullptr));
    if (!content) {
      throw Napi::TypeError::New(info.Env(), std::string(T::kName) + " cannot be constructed from JavaScript");
    }
    this->content = std::move(*content);
    info.This().template As<Napi::Object>().TypeTag(&T::kTag);
  }
  ~Wrap() { reportMemory(0); }

  // A method as Node may call it: the right `this`, and no foreign exception.
  template <Napi::Value (T::*method)(const Napi::CallbackInfo &)>
  Napi::Value checked(const Napi::CallbackInfo &info) {
    return guarded(info.Env(), [&] { return (from(info.This(), "this").*method)(info); });
  }
  static void constant(const Napi::CallbackInfo &info, const char *name, double value) {
    info.This().template As<Napi::Object>().DefineProperty(
        Napi::PropertyDescriptor::Value(name, Napi::Number::New(info.Env(), value), napi_enumerable));
  }
  // Tells the garbage collector how much native memory this object keeps.
  void reportMemory(uint64_t bytes) {
    const int64_t change = static_cast<int64_t>(bytes) - static_cast<int64_t>(reported_);
    if (change != 0) Napi::MemoryManagement::AdjustExternalMemory(this->Env(), change);
    reported_ = bytes;
  }

  Content content;

 private:
  uint64_t reported_ = 0;
};

class NativeDevice : public Wrap<NativeDevice, std::shared_ptr<Host>> {
 public:
  static constexpr napi_type_tag kTag = {0x6772'6164'6c69'6e65, 1};
  static constexpr const char *kName = "NativeDevice";
  static Napi::Function define(Napi::Env env);
  explicit NativeDevice(const Napi::CallbackInfo &info);

 private:
  Napi::Value describe(const Napi::CallbackInfo &info);
  Napi::Value peak(const Napi::CallbackInfo &info);
  Napi::Value storage(const Napi::CallbackInfo &info);
  Napi::Value measure(const Napi::CallbackInfo &info);
  Napi::Value load(const Napi::CallbackInfo &info);
  Napi::Value close(const Napi::CallbackInfo &info);
};

struct StorageContent {
  std::shared_ptr<Host> host;
  std::shared_ptr<Storage> storage;  // null after release
};

class NativeStorage : public Wrap<NativeStorage, StorageContent> {
 public:
  static constexpr napi_type_tag kTag = {0x6772'6164'6c69'6e65, 2};
  static constexpr const char *kName = "NativeStorage";
  static Napi::Function define(Napi::Env env);
  explicit NativeStorage(const Napi::CallbackInfo &info);
  const std::shared_ptr<Storage> &alive() const;  // throws after release

 private:
  Napi::Value busy(const Napi::CallbackInfo &info);
  Napi::Value read(const Napi::CallbackInfo &info);
  Napi::Value write(const Napi::CallbackInfo &info);
  Napi::Value release(const Napi::CallbackInfo &info);
};

struct ProgramContent {
  std::shared_ptr<Host> host;
  std::shared_ptr<Program> program;  // null after release
};

class NativeProgram : public Wrap<NativeProgram, ProgramContent> {
 public:
  static constexpr napi_type_tag kTag = {0x6772'6164'6c69'6e65, 3};
  static constexpr const char *kName = "NativeProgram";
  static Napi::Function define(Napi::Env env);
  explicit NativeProgram(const Napi::CallbackInfo &info);

 private:
  const std::shared_ptr<Program> &alive() const;
  template <class Take>
  void eachInput(const Napi::Value &value, Take take) const;
  std::vector<uint8_t> gatherInputs(const Napi::Value &value) const;
  Napi::Value run(const Napi::CallbackInfo &info);
  Napi::Value runSync(const Napi::CallbackInfo &info);
  Napi::Value slots(const Napi::CallbackInfo &info);
  Napi::Value feed(const Napi::CallbackInfo &info);
  Napi::Value stop(const Napi::CallbackInfo &info);
  Napi::Value release(const Napi::CallbackInfo &info);
};

}  // namespace gradline::addon
