// The stand-in as an addon, so that a test can look into it: the same file under its name *.node shares its state with
// the libraries, because the loader maps one file once. Weak symbols: a program without Node loads it all the same.
#include <dlfcn.h>
#include <node_api.h>

#include "standin.h"

#pragma weak napi_create_function
#pragma weak napi_create_string_utf8
#pragma weak napi_get_boolean
#pragma weak napi_get_cb_info
#pragma weak napi_get_named_property
#pragma weak napi_get_value_bool
#pragma weak napi_get_value_int64
#pragma weak napi_get_value_string_utf8
#pragma weak napi_set_named_property

namespace standin {

namespace {

// Objects and lists as JSON text.
struct Json {
  std::string text, comma;
  Json &quoted(const std::string &value) {
    text += comma, text += '"', text += value, text += '"';
    return *this;
  }
  void pair(const std::string &name, long value) {
    quoted(name).text += ':';
    text += std::to_string(value);
    comma = ",";
  }
  void begin(const char *opening) { text += opening, comma.clear(); }
};

// report(): what is alive and what was wrong since the last reset, as JSON
napi_value report(napi_env env, napi_callback_info) {
  const State &s = state();
  Json json;
  json.begin("{");
  json.pair("calls", s.calls);
  json.quoted("failed").text += ':';
  json.comma.clear();
  json.quoted(s.failed).begin(",\"alive\":{");
  const std::pair<const char *, size_t> alive[] = {
      {"memory", s.memory.size()},   {"streams", s.streams.size()},
      {"handles", s.handles.size()}, {"descs", s.descs.size()},
      {"layouts", s.layouts.size()}, {"preferences", s.preferences.size()},
      {"events", s.events.size()},   {"contexts", static_cast<size_t>(s.contexts)}};
  for (const auto &[name, count] : alive) {
    if (count) json.pair(name, static_cast<long>(count));
  }
  json.begin("},\"counts\":{");
  for (const auto &[name, count] : s.counts) json.pair(name, count);
  json.begin("},\"violations\":[");
  for (const auto &text : s.violations) json.quoted(text), json.comma = ",";
  json.text += "]}";
  napi_value value;
  napi_create_string_utf8(env, json.text.c_str(), json.text.size(), &value);
  return value;
}

// reset({ failAt, rude, onlyRight, unsupported }): counts from 0 and forgets what was wrong; nothing alive is touched
napi_value reset(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value given, value;
  napi_get_cb_info(env, info, &count, &given, nullptr, nullptr);
  State &s = state();
  s.calls = 0;
  s.counts.clear();
  s.violations.clear();
  s.failed.clear();
  const auto number = [&](const char *name) {
    int64_t result = 0;
    napi_get_named_property(env, given, name, &value);
    napi_get_value_int64(env, value, &result);  // leaves it 0 where it is no number
    return result;
  };
  const auto flag = [&](const char *name) {
    bool result = false;
    napi_get_named_property(env, given, name, &value);
    napi_get_value_bool(env, value, &result);
    return result;
  };
  s.failAt = number("failAt");
  state().options = {flag("rude"), flag("onlyRight"), static_cast<uint32_t>(number("unsupported"))};
  return nullptr;
}

// attach(path): to the card of the emulated backend at that path, or to none with ''
napi_value attach(napi_env env, napi_callback_info info) {
  size_t count = 1, length = 0;
  napi_value given;
  char path[4096] = "";
  napi_get_cb_info(env, info, &count, &given, nullptr, nullptr);
  napi_get_value_string_utf8(env, given, path, sizeof path, &length);
  void *library = length ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  const auto card = library ? dlsym(library, "gradline_emulated_card") : nullptr;
  standin_attach(card ? reinterpret_cast<const EmulatedCard *(*)()>(card)() : nullptr);
  napi_value done;
  napi_get_boolean(env, card != nullptr, &done);
  return done;
}

}  // namespace
}  // namespace standin

EXPORT napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value function;
  napi_create_function(env, "report", NAPI_AUTO_LENGTH, standin::report, nullptr, &function);
  napi_set_named_property(env, exports, "report", function);
  napi_create_function(env, "reset", NAPI_AUTO_LENGTH, standin::reset, nullptr, &function);
  napi_set_named_property(env, exports, "reset", function);
  napi_create_function(env, "attach", NAPI_AUTO_LENGTH, standin::attach, nullptr, &function);
  napi_set_named_property(env, exports, "attach", function);
  return exports;
}
