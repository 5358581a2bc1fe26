// Opening and closing a device for JavaScript; see session.h. Whatever fails on the way in is undone on the way out.
#include "cublas/session.h"

namespace gradline::cublas {
namespace {

constexpr unsigned kNonBlocking = 1;  // CU_STREAM_NON_BLOCKING: does not wait for the default stream

const Driver &driver() { return loadedWithDriver().driver; }

}  // namespace

Session::Session(int device, size_t workspaceBytes) : ordinal_(device) {
  const Driver &d = driver();
  checkDriver(d.init(0), "cuInit");
  int count = 0, handle = 0;
  checkDriver(d.deviceCount(&count), "cuDeviceGetCount");
  if (device >= count) {
    throw Failure(kInvalidValue, "there is no device " + std::to_string(device) + "; the driver knows " +
                                     std::to_string(count) + (count == 1 ? " device" : " devices"));
  }
  checkDriver(d.deviceGet(&handle, device), "cuDeviceGet");
  ordinal_ = handle;
  char name[128] = "";
  int major = 0, minor = 0;
  checkDriver(d.deviceName(name, sizeof name - 1, handle), "cuDeviceGetName");
  checkDriver(d.deviceAttribute(&major, kAttributeMajor, handle), "cuDeviceGetAttribute");
  checkDriver(d.deviceAttribute(&minor, kAttributeMinor, handle), "cuDeviceGetAttribute");
  this->device = name;
  capability = major * 10 + minor;
  checkDriver(d.contextRetain(&context_, handle), "cuDevicePrimaryCtxRetain");
  try {
    makeCurrent();
    checkDriver(d.streamCreate(&stream_, kNonBlocking), "cuStreamCreate");
    queue_ = openQueue();
    if (workspaceBytes) {
      Address at = 0;
      checkDriver(d.memAlloc(&at, workspaceBytes), "cuMemAlloc of the workspace");
      workspace_ = reinterpret_cast<void *>(at);
    }
    useStream(*queue_, stream_, workspace_, workspaceBytes);
  } catch (...) {
    close();
    throw;
  }
}

void Session::makeCurrent() const { checkDriver(driver().contextSet(context_), "cuCtxSetCurrent"); }

Queue &Session::queue() {
  if (!context_) throw Failure(kNotInitialized, "the device is closed");
  makeCurrent();
  return *queue_;
}

void *Session::alloc(size_t size) {
  queue();
  Address at = 0;
  checkDriver(driver().memAlloc(&at, size), ("cuMemAlloc of " + std::to_string(size) + " bytes").c_str());
  void *address = reinterpret_cast<void *>(at);
  memory_[address] = size;
  bytes += size;
  return address;
}

void Session::free(void *address) {
  const auto known = memory_.find(address);
  if (known == memory_.end()) return;
  queue();  // when this throws, close() frees the memory
  bytes -= known->second;
  memory_.erase(known);
  checkDriver(driver().memFree(addressOf(address)), "cuMemFree");
}

void Session::write(void *to, const void *from, size_t size) {
  // The copy does not wait for the stream by itself, and earlier work may still read the memory.
  synchronize();
  if (size) checkDriver(driver().toDevice(addressOf(to), from, size), "cuMemcpyHtoD");
}

void Session::read(void *to, const void *from, size_t size) {
  synchronize();
  copyToHost(to, from, size);
}

void Session::synchronize() {
  queue();
  checkDriver(driver().streamWait(stream_), "cuStreamSynchronize");
}

// Errors have no one to go to here: the device may be lost, which is why it is closed.
void Session::close() {
  if (!context_) return;
  const Driver &d = driver();
  d.contextSet(context_);
  if (stream_) d.streamWait(stream_);
  if (queue_) {
    loaded().api.destroy(queue_->handle);
    delete queue_;
  }
  for (const auto &[address, size] : memory_) d.memFree(addressOf(address));
  if (workspace_) d.memFree(addressOf(workspace_));
  if (stream_) d.streamDestroy(stream_);
  d.contextRelease(ordinal_);
  memory_.clear();
  bytes = 0;
  context_ = nullptr;
}

}  // namespace gradline::cublas
