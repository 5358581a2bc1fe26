// From JavaScript values to C++ with checks, and from core errors to JavaScript errors. No classes of the addon here.
#pragma once
#include <napi.h>

#include <cmath>
#include <string>
#include <vector>

#include "../core/error.h"
#include "../core/optable.h"

namespace gradline::addon {

// A TypeError for wrong arguments, else an Error; always with `code`, and with op, opName, site and completed where the
// core knows them.
inline Napi::Error toJavaScript(Napi::Env env, const Error &error) {
  Napi::Error result = error.code == ErrorCode::argument
                           ? static_cast<Napi::Error>(Napi::TypeError::New(env, error.text))
                           : Napi::Error::New(env, error.text);
  Napi::Object object = result.Value();
  object.Set("code", error.codeName());
  if (error.op >= 0) {
    object.Set("op", static_cast<double>(error.op));
    object.Set("opName", error.opName);
    object.Set("site", error.site);
  }
  if (error.completed >= 0) object.Set("completed", static_cast<double>(error.completed));
  return result;
}

// Calls f; whatever it throws leaves as a Napi::Error, the only thing that may cross into Node.
template <class F>
auto guarded(Napi::Env env, F f) -> decltype(f()) {
  try {
    return f();
  } catch (const Napi::Error &) {
    throw;
  } catch (const Error &error) {
    throw toJavaScript(env, error);
  } catch (const std::bad_alloc &) {
    throw toJavaScript(env, Error(ErrorCode::memory, "out of memory"));
  } catch (const std::exception &error) {
    throw toJavaScript(env, Error(ErrorCode::backend, error.what()));
  }
}

[[noreturn]] inline void rejectArgument(const std::string &what) { throw Error(ErrorCode::argument, what); }

inline uint64_t toInteger(const Napi::Value &value, const char *name, double lowest, double highest) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= lowest && number <= highest) || number != std::floor(number)) {
    rejectArgument(std::string(name) + " must be an integer from " + std::to_string(static_cast<int64_t>(lowest)) +
                   " to " + std::to_string(static_cast<int64_t>(highest)) + ", received " +
                   (value.IsNumber() ? gradline::toText(number) : "no number"));
  }
  return static_cast<uint64_t>(number);
}

inline std::string toString(const Napi::Value &value, const char *name) {
  if (!value.IsString()) rejectArgument(std::string(name) + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}

struct ByteSpan {
  uint8_t *data;
  size_t size;
};

// The bytes of a Uint8Array (so of a Buffer too); a detached one has size 0.
inline ByteSpan toBytes(const Napi::Value &value, const std::string &name) {
  napi_typedarray_type type{};
  size_t size = 0;
  void *data = nullptr;
  if (!value.IsTypedArray() || napi_get_typedarray_info(value.Env(), value, &type, &size, &data, nullptr, nullptr) ||
      type != napi_uint8_array) {
    rejectArgument(name + " must be a Uint8Array");
  }
  return {static_cast<uint8_t *>(data), size};
}

inline Napi::Array toArray(const Napi::Value &value, const char *name) {
  if (!value.IsArray()) rejectArgument(std::string(name) + " must be an array");
  return value.As<Napi::Array>();
}

inline Napi::Array toStrings(Napi::Env env, const std::vector<std::string> &list) {
  Napi::Array array = Napi::Array::New(env, list.size());
  for (uint32_t i = 0; i < list.size(); i++) array.Set(i, list[i]);
  return array;
}

}  // namespace gradline::addon
