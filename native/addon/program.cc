// NativeProgram: runs of a loaded program, as a promise or waiting for it.
#include <cstring>

#include "wraps.h"

namespace gradline::addon {

Napi::Function NativeProgram::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {InstanceMethod("run", &NativeProgram::checked<&NativeProgram::run>),
                      InstanceMethod("runSync", &NativeProgram::checked<&NativeProgram::runSync>),
                      InstanceMethod("slots", &NativeProgram::checked<&NativeProgram::slots>),
                      InstanceMethod("feed", &NativeProgram::checked<&NativeProgram::feed>),
                      InstanceMethod("stop", &NativeProgram::checked<&NativeProgram::stop>),
                      InstanceMethod("release", &NativeProgram::checked<&NativeProgram::release>)});
}

NativeProgram::NativeProgram(const Napi::CallbackInfo &info) : Wrap(info) {
  constant(info, "bytes", static_cast<double>(content.program->bytes()));
  constant(info, "resultBytes", static_cast<double>(content.program->resultBytes()));
  reportMemory(content.program->bytes());
}

const std::shared_ptr<Program> &NativeProgram::alive() const {
  if (!content.program) throw Error(ErrorCode::closed, "the program was released");
  return content.program;
}

// The bytes of all inputs, checked, one after the other.
template <class Take>
void NativeProgram::eachInput(const Napi::Value &value, Take take) const {
  const Image &image = alive()->image();
  const Napi::Array list = toArray(value, "inputs");
  if (list.Length() != image.inputs.size()) {
    rejectArgument("received " + std::to_string(list.Length()) + " inputs, expected " +
                   std::to_string(image.inputs.size()));
  }
  for (uint32_t i = 0; i < image.inputs.size(); i++) {
    const Tensor &t = image.values[image.inputs[i]];
    const std::string name = "inputs[" + std::to_string(i) + "]";
    const ByteSpan bytes = toBytes(list[i], name);
    if (bytes.size != bytesOf(t)) {
      rejectArgument(name + " has " + std::to_string(bytes.size) + " bytes, expected " + std::to_string(bytesOf(t)) +
                     " for " + describe(t));
    }
    take(t, bytes);
  }
}

// Copied at the call, so that the caller may reuse its arrays at once.
std::vector<uint8_t> NativeProgram::gatherInputs(const Napi::Value &value) const {
  std::vector<uint8_t> inputs;
  inputs.reserve(alive()->inputBytes());
  eachInput(value, [&](const Tensor &, const ByteSpan &bytes) {
    inputs.insert(inputs.end(), bytes.data, bytes.data + bytes.size);
  });
  return inputs;
}

Napi::Value NativeProgram::run(const Napi::CallbackInfo &info) {
  const uint64_t steps = toInteger(info[0], "steps", 0, 0x1p31);
  std::vector<uint8_t> inputs = gatherInputs(info[1]);
  const RunOptions options = {.continues = info[2].ToBoolean(), .timed = info[3].ToBoolean()};
  return content.host->run(info.Env(), alive(), steps, std::move(inputs), options);
}

Napi::Value NativeProgram::runSync(const Napi::CallbackInfo &info) {
  const uint64_t steps = toInteger(info[0], "steps", 0, 0x1p31);
  std::vector<uint8_t> inputs = gatherInputs(info[1]);
  const std::unique_ptr<Run> run = content.host->device().runAndWait(alive(), steps, std::move(inputs));
  if (run->error) throw *run->error;
  return Host::toOutcome(info.Env(), *run);
}

Napi::Value NativeProgram::slots(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(), content.host->device().openSlots(*alive()));
}

// One step, its inputs copied into a slot while other steps run.
Napi::Value NativeProgram::feed(const Napi::CallbackInfo &info) {
  const auto slot = static_cast<uint32_t>(toInteger(info[0], "slot", 0, Slots::kCount - 1));
  uint8_t *memory = content.host->device().slot(*alive(), slot);
  eachInput(info[1], [&](const Tensor &t, const ByteSpan &bytes) {
    if (bytes.size) std::memcpy(memory + t.offset, bytes.data, bytes.size);
  });
  const RunOptions options = {.continues = info[2].ToBoolean(), .slot = static_cast<int32_t>(slot)};
  return content.host->run(info.Env(), alive(), 1, {}, options);
}

Napi::Value NativeProgram::stop(const Napi::CallbackInfo &info) {
  alive()->stop();
  return info.Env().Undefined();
}

Napi::Value NativeProgram::release(const Napi::CallbackInfo &info) {
  content.program.reset();
  reportMemory(0);
  return info.Env().Undefined();
}

}  // namespace gradline::addon
