// Memory, copies and a clock of the current context; see device.h.
#include "cublas/device.h"

#include <vector>

namespace gradline::cublas {
namespace {

const Driver &driver() { return loadedWithDriver().driver; }

}  // namespace

void copyToHost(void *to, const void *from, size_t bytes) {
  if (bytes) checkDriver(driver().toHost(to, addressOf(from), bytes), "cuMemcpyDtoH");
}

void copyOnDevice(void *to, const void *from, size_t bytes) {
  std::vector<char> between(bytes);
  copyToHost(between.data(), from, bytes);
  if (bytes) checkDriver(driver().toDevice(addressOf(to), between.data(), bytes), "cuMemcpyHtoD");
}

void fill(void *to, unsigned char value, size_t bytes) {
  if (bytes) checkDriver(driver().fill(addressOf(to), value, bytes), "cuMemsetD8");
}

DeviceMemory::DeviceMemory(size_t bytes) {
  if (bytes) checkDriver(driver().memAlloc(&address_, bytes), "cuMemAlloc");
}

DeviceMemory::~DeviceMemory() {
  if (address_) driver().memFree(address_);
}

EventPair::EventPair() {
  checkDriver(driver().eventCreate(&start_, 0), "cuEventCreate");
  const Result result = driver().eventCreate(&stop_, 0);
  if (result) driver().eventDestroy(start_);
  checkDriver(result, "cuEventCreate");
}

EventPair::~EventPair() {
  driver().eventDestroy(start_);
  driver().eventDestroy(stop_);
}

void EventPair::begin(Stream stream) const { checkDriver(driver().eventRecord(start_, stream), "cuEventRecord"); }

double EventPair::end(Stream stream) const {
  float milliseconds = 0;
  checkDriver(driver().eventRecord(stop_, stream), "cuEventRecord");
  checkDriver(driver().eventWait(stop_), "cuEventSynchronize");
  checkDriver(driver().eventElapsed(&milliseconds, start_, stop_), "cuEventElapsedTime");
  return milliseconds * 1e-3;
}

}  // namespace gradline::cublas
