// Reads the fields of an options object from JavaScript, each with its check and an error that names it. It knows
// Node-API and nothing of cuBLAS.
#pragma once
#include <napi.h>

#include <cmath>
#include <string>
#include <vector>

namespace gradline::cublas {

class Fields {
 public:
  Fields(const Napi::Value &value, std::string function) : function_(std::move(function)), env_(value.Env()) {
    if (!value.IsObject()) fail("an object", "the options", value);
    object_ = value.As<Napi::Object>();
  }

  Napi::Value get(const char *name) const { return object_.Get(name); }
  bool has(const char *name) const { return !get(name).IsUndefined(); }

  int64_t integer(const char *name, int64_t least = 1) const {
    const Napi::Value value = get(name);
    const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
    if (!(number >= static_cast<double>(least) && number <= 9007199254740991.0) || number != std::floor(number)) {
      fail("an integer of at least " + std::to_string(least), name, value);
    }
    return static_cast<int64_t>(number);
  }
  int64_t integer(const char *name, int64_t least, int64_t otherwise) const {
    return has(name) ? integer(name, least) : otherwise;
  }

  double number(const char *name, double otherwise) const {
    const Napi::Value value = get(name);
    if (value.IsUndefined()) return otherwise;
    if (!value.IsNumber()) fail("a number", name, value);
    return value.As<Napi::Number>().DoubleValue();
  }

  bool flag(const char *name) const {
    const Napi::Value value = get(name);
    if (value.IsUndefined()) return false;
    if (!value.IsBoolean()) fail("true or false", name, value);
    return value.As<Napi::Boolean>().Value();
  }

  std::string text(const char *name) const {
    const Napi::Value value = get(name);
    if (value.IsUndefined()) return "";
    if (!value.IsString()) fail("a string", name, value);
    return value.As<Napi::String>().Utf8Value();
  }

  // The position of the string among the choices; the first where the field is missing.
  int choice(const char *name, const std::vector<const char *> &choices) const {
    const Napi::Value value = get(name);
    if (value.IsUndefined()) return 0;
    const std::string given = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
    std::string all;
    for (size_t i = 0; i < choices.size(); i++) {
      if (value.IsString() && given == choices[i]) return static_cast<int>(i);
      all += (i ? ", " : "") + std::string("'") + choices[i] + "'";
    }
    fail("one of " + all, name, value);
  }

  [[noreturn]] void fail(const std::string &what, const std::string &name, const Napi::Value &received) const {
    std::string shown = received.IsString() ? "'" + received.As<Napi::String>().Utf8Value() + "'"
                        : received.IsNumber() || received.IsBoolean() || received.IsUndefined() || received.IsNull()
                            ? received.ToString().Utf8Value()
                            : "something else";
    refuse("Expected " + what + " for " + name + " of " + function_ + " but received " + shown);
  }

  [[noreturn]] void refuse(const std::string &text) const {
    auto error = Napi::TypeError::New(env_, text);
    error.Value()["code"] = Napi::String::New(env_, "GL_ARGUMENT");
    throw error;
  }

 private:
  std::string function_;
  Napi::Env env_;
  Napi::Object object_;
};

}  // namespace gradline::cublas
