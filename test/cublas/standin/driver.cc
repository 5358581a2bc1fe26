// The driver of the stand-in: one device named "stand-in", memory of the host filled with NaN, a clock that only
// products move. Also what all parts share: counting, failing, noting wrong use.
#include <cstdlib>
#include <cstring>

#include "standin.h"

namespace standin {

State &state() {
  static State *made = new State;  // outlives what runs at exit
  return *made;
}

bool violation(const std::string &text) {
  state().violations.push_back(text);
  return false;
}

bool fails(const char *name) {
  State &s = state();
  s.counts[name]++;
  if (++s.calls != s.failAt) return false;
  s.failed = name;
  return true;
}

bool inside(const char *what, const void *at, size_t bytes) {
  if (state().card) {
    return state().card->holds(at, bytes) || violation(std::string(what) + " is not in the memory of the card");
  }
  const auto first = reinterpret_cast<uintptr_t>(at);
  auto next = state().memory.upper_bound(first);
  if (next == state().memory.begin()) return violation(std::string(what) + " is not device memory");
  --next;
  if (first + bytes > next->first + next->second) return violation(std::string(what) + " leaves its memory");
  return true;
}

}  // namespace standin

using namespace standin;

namespace {

constexpr int kInvalid = 1, kOutOfMemory = 2, kNotInitialized = 3, kNoDevice = 100, kInvalidHandle = 400;
constexpr int kLaunchFailed = 719;

int ready(const char *name) {
  if (fails(name)) return kLaunchFailed;
  if (!state().initialised && !state().card) {
    violation(std::string(name) + " before cuInit");
    return kNotInitialized;
  }
  return 0;
}

int inContext(const char *name) {
  if (const int error = ready(name)) return error;
  if (state().card || (state().current > 0 && state().contexts > 0)) return 0;
  violation(std::string(name) + " without a context");
  return 201;
}

}  // namespace

EXPORT int cuInit(unsigned flags) {
  if (fails("cuInit")) return kNoDevice;
  state().initialised = true;
  return flags == 0 ? 0 : kInvalid;
}
EXPORT int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
EXPORT int cuGetErrorString(int code, const char **text) {
  *text = code == kOutOfMemory ? "out of memory" : code == kLaunchFailed ? "unspecified launch failure" : "an error";
  return 0;
}
EXPORT int cuDeviceGetCount(int *count) {
  if (const int error = ready("cuDeviceGetCount")) return error;
  return *count = 1, 0;
}
EXPORT int cuDeviceGet(int *device, int ordinal) {
  if (const int error = ready("cuDeviceGet")) return error;
  return *device = 0, ordinal == 0 ? 0 : 101;
}
EXPORT int cuDeviceGetName(char *name, int length, int) {
  if (const int error = ready("cuDeviceGetName")) return error;
  std::strncpy(name, state().card ? "emulated card" : "stand-in", static_cast<size_t>(length));
  return 0;
}
EXPORT int cuDeviceGetAttribute(int *value, int attribute, int) {
  if (const int error = ready("cuDeviceGetAttribute")) return error;
  *value = attribute == 75 ? 9 : 0;
  return attribute == 75 || attribute == 76 ? 0 : kInvalid;
}
EXPORT int cuDevicePrimaryCtxRetain(void **context, int) {
  if (const int error = ready("cuDevicePrimaryCtxRetain")) return error;
  state().contexts++;
  *context = &state();
  return 0;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int) {
  const bool failed = fails("cuDevicePrimaryCtxRelease");
  if (state().contexts-- <= 0) violation("a context released twice");
  return failed ? kLaunchFailed : 0;
}
EXPORT int cuCtxSetCurrent(void *context) {
  if (const int error = ready("cuCtxSetCurrent")) return error;
  state().current = context == &state() ? 1 : 0;
  return context == &state() || !context ? 0 : 201;
}
EXPORT int cuCtxGetDevice(int *device) {
  if (const int error = inContext("cuCtxGetDevice")) return error;
  return *device = 0, 0;
}

EXPORT int cuMemAlloc_v2(unsigned long long *at, size_t bytes) {
  if (const int error = inContext("cuMemAlloc")) return error;
  if (bytes == 0) return kInvalid;
  if (state().card) {
    if (inCapture("cuMemAlloc")) return kLaunchFailed;
    void *memory = nullptr;
    const int error = state().card->alloc(&memory, bytes);
    *at = reinterpret_cast<uintptr_t>(memory);
    return error;
  }
  if (bytes > (size_t{1} << 32)) return kOutOfMemory;
  void *made = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!made) return kOutOfMemory;
  std::memset(made, 0xff, bytes);  // NaN
  state().memory[reinterpret_cast<uintptr_t>(made)] = bytes;
  *at = reinterpret_cast<uintptr_t>(made);
  return 0;
}
EXPORT int cuMemFree_v2(unsigned long long at) {
  const bool failed = fails("cuMemFree");
  if (state().card) {
    inCapture("cuMemFree");
    const int error = state().card->release(reinterpret_cast<void *>(at));
    return failed ? kLaunchFailed : error;
  }
  if (!state().memory.erase(at)) return violation("memory freed that was not given out"), kInvalid;
  std::free(reinterpret_cast<void *>(at));
  return failed ? kLaunchFailed : 0;
}
EXPORT int cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t bytes) {
  if (const int error = inContext("cuMemcpyHtoD")) return error;
  if (!inside("the target of cuMemcpyHtoD", reinterpret_cast<void *>(to), bytes)) return kInvalid;
  if (inCapture("cuMemcpyHtoD")) return kLaunchFailed;
  std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  if (state().card) state().card->define(reinterpret_cast<void *>(to), bytes);
  return 0;
}
EXPORT int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t bytes) {
  if (const int error = inContext("cuMemcpyDtoH")) return error;
  if (!inside("the source of cuMemcpyDtoH", reinterpret_cast<void *>(from), bytes)) return kInvalid;
  if (inCapture("cuMemcpyDtoH")) return kLaunchFailed;
  std::memcpy(to, reinterpret_cast<void *>(from), bytes);
  return 0;
}
EXPORT int cuMemsetD8_v2(unsigned long long at, unsigned char value, size_t bytes) {
  if (const int error = inContext("cuMemsetD8")) return error;
  if (!inside("the target of cuMemsetD8", reinterpret_cast<void *>(at), bytes)) return kInvalid;
  if (inCapture("cuMemsetD8")) return kLaunchFailed;
  std::memset(reinterpret_cast<void *>(at), value, bytes);
  if (state().card) state().card->define(reinterpret_cast<void *>(at), bytes);
  return 0;
}

EXPORT int cuStreamCreate(void **stream, unsigned flags) {
  if (const int error = inContext("cuStreamCreate")) return error;
  if (flags > 1) return kInvalid;
  *stream = new char;
  state().streams.insert(*stream);
  return 0;
}
EXPORT int cuStreamDestroy_v2(void *stream) {
  const bool failed = fails("cuStreamDestroy");
  if (!state().streams.erase(stream)) return violation("a stream destroyed that is none"), kInvalidHandle;
  delete static_cast<char *>(stream);
  return failed ? kLaunchFailed : 0;
}
EXPORT int cuStreamSynchronize(void *stream) {
  if (const int error = inContext("cuStreamSynchronize")) return error;
  if (inCapture("cuStreamSynchronize")) return kLaunchFailed;
  if (!isStream(stream)) return violation("waiting for a stream that is none"), kInvalidHandle;
  return state().card ? state().card->wait(stream) : 0;
}

EXPORT int cuEventCreate(Event **event, unsigned) {
  if (const int error = inContext("cuEventCreate")) return error;
  state().events.insert(*event = new Event);
  return 0;
}
EXPORT int cuEventDestroy_v2(Event *event) {
  const bool failed = fails("cuEventDestroy");
  if (!state().events.erase(event)) return violation("an event destroyed that is none"), kInvalidHandle;
  delete event;
  return failed ? kLaunchFailed : 0;
}
EXPORT int cuEventRecord(Event *event, void *stream) {
  if (const int error = inContext("cuEventRecord")) return error;
  if (!state().events.count(event) || !isStream(stream)) return kInvalidHandle;
  event->stream = stream;
  return onStream(stream, [event] {
    if (state().events.count(event)) event->time = state().clock;
  });
}
EXPORT int cuEventSynchronize(Event *event) {
  if (const int error = inContext("cuEventSynchronize")) return error;
  if (!state().events.count(event) || inCapture("cuEventSynchronize")) return kInvalidHandle;
  return state().card ? state().card->wait(event->stream) : 0;
}
EXPORT int cuEventElapsedTime(float *milliseconds, Event *from, Event *to) {
  if (const int error = inContext("cuEventElapsedTime")) return error;
  if (!state().events.count(from) || !state().events.count(to) || from->time < 0 || to->time < 0) return kInvalidHandle;
  *milliseconds = static_cast<float>((to->time - from->time) * 1e3);
  return 0;
}
