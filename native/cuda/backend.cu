// The table of the CUDA backend: opening a card or saying what is missing, memory, and the doors to executables, which
// are graph.cu. No exception leaves it: what fails inside a call becomes the device's failure, which the core asks for.
#include <cstdio>

#include "lanes.h"

namespace gradline::cuda {
namespace {

constexpr int kOldest = 8;  // major compute capability: Ampere, the first with asynchronous copies and tf32
constexpr size_t kGranule = 256;

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

// Why this machine has no card for us, or how many it has.
int countOfCards() {
  int driver = 0, runtime = 0, count = 0;
  check(cudaRuntimeGetVersion(&runtime), "read the version of the CUDA runtime");
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    throw std::runtime_error("no NVIDIA driver is installed on this machine (libcuda.so.1 is missing)");
  if (driver / 1000 < runtime / 1000)
    throw std::runtime_error("the NVIDIA driver is too old: it supports CUDA " + version(driver) +
                             ", this library needs " + version(runtime / 1000 * 1000) + " or newer");
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
    throw std::runtime_error("the NVIDIA driver finds no card (is one hidden by CUDA_VISIBLE_DEVICES?)");
  check(error, "ask the NVIDIA driver for its cards");
  return count;
}

}  // namespace

Device::~Device() {
  if (lanes) lanes->forget(*this);
  if (blas) (void)blas->close(blasHandle);
  devicesOpen--;
}

namespace {

// The library for products. Unless it was asked for by name, one that cannot be used is told of and done without.
void openLibrary(Device &device, const DeviceOptions &options) {
  const auto &blas = *static_cast<const GlBlas *>(options.blas);
  std::string missing;
  if (blas.abi != GL_BLAS_ABI || blas.size < sizeof blas) {
    missing = "the library for products belongs to another release";
  } else if (const int32_t code = blas.open(&device.blasHandle)) {
    missing = std::string("could not open ") + blas.name + ": " + blas.text(code);
  }
  if (!missing.empty()) {
    if (options.blasNeeded) throw std::runtime_error(missing);
    device.productsBy += " (" + missing + ")";
    return;
  }
  device.blas = &blas;  // from here on the device closes it
  device.allByLibrary = options.blasNeeded;
  device.tune = options.tune;
  const int32_t number = blas.version();
  device.productsBy = std::string(blas.name) + " " + std::to_string(number / 10000) + "." +
                      std::to_string(number / 100 % 100) + "." + std::to_string(number % 100);
  if (!device.allByLibrary) device.productsBy += ", small ones by own kernels";
}

std::unique_ptr<Device> openCard(const DeviceOptions &options) {
  const int count = countOfCards();
  if (options.index < 0 || options.index >= count)
    throw std::runtime_error("there is no cuda:" + std::to_string(options.index) + ", this machine has cuda:0" +
                             (count > 1 ? " to cuda:" + std::to_string(count - 1) : ""));
  cudaDeviceProp card;
  check(cudaGetDeviceProperties(&card, options.index), "read the properties of the card");
  const std::string capability = std::to_string(card.major) + "." + std::to_string(card.minor);
  if (card.major < kOldest)
    throw std::runtime_error(std::string(card.name) + " has compute capability " + capability + ", needed is " +
                             std::to_string(kOldest) + ".0 or newer");
  auto device = std::make_unique<Device>();
  device->index = options.index;
  device->graph = options.graph;
  device->multiprocessors = card.multiProcessorCount;
  device->description = "cuda:" + std::to_string(options.index) + " " + card.name + ", compute capability " +
                        capability + ", " + std::to_string(card.multiProcessorCount) + " multiprocessors";
  check(cudaSetDevice(options.index), "use the card");
  check(cudaStreamCreateWithFlags(device->stream.out(), cudaStreamNonBlocking), "create a stream");
  device->lanes = Lanes::of(options.index);
  device->productsBy = "own kernels";
  if (options.blas) openLibrary(*device, options);
  return device;
}

void tell(ErrorText *error, const std::string &text) {
  std::snprintf(error->text, sizeof error->text, "%s", text.c_str());
}

// Keeps the first failure until it is asked for, and finds out whether the card can go on.
void fail(Device &device, const char *what) {
  if (device.failure.empty()) device.failure = device.description + ": " + what;
  (void)cudaGetLastError();
  const bool isQuiet = !device.uploads.get() || cudaStreamSynchronize(device.uploads.get()) == cudaSuccess;
  if (cudaStreamSynchronize(device.stream.get()) == cudaSuccess && isQuiet) return;
  device.lost = true;
  device.failure += "; the card is lost to this process, with all memory on it. Start the process anew";
}

// Runs the body of an entry of the table; false when it failed. The card belongs to a thread, so it is set each time.
template <class Body>
bool attempt(Device &device, Body body) {
  if (device.lost) return false;
  try {
    check(cudaSetDevice(device.index), "use the card");
    body();
    return true;
  } catch (const std::exception &error) {
    fail(device, error.what());
    return false;
  }
}

Device &of(void *device) { return *static_cast<Device *>(device); }

// What the core holds for an executable; the device stands beside it, to take the failures.
struct Held {
  Device &device;
  Executable executable;
};
Held &held(void *executable) { return *static_cast<Held *>(executable); }

void *open(const DeviceOptions *options, ErrorText *error) {
  try {
    return openCard(*options).release();
  } catch (const std::exception &e) {
    (void)cudaGetLastError();
    tell(error, e.what());
    return nullptr;
  }
}

void close(void *device) {
  const std::unique_ptr<Device> ending(&of(device));
  (void)cudaSetDevice(ending->index);
}

void describe(const void *device, ErrorText *out) {
  const Device &d = *static_cast<const Device *>(device);
  tell(out, d.description + ", products by " + d.productsBy);
}
int32_t threads(const void *) { return 1; }

void *alloc(void *device, size_t bytes) {
  void *memory = nullptr;
  const bool done = attempt(of(device), [&] {
    const size_t rounded = (bytes + kGranule - 1) / kGranule * kGranule;
    const cudaError_t error = cudaMalloc(&memory, rounded);
    if (error == cudaErrorMemoryAllocation) {
      memory = nullptr;
      (void)cudaGetLastError();
      return;
    }
    check(error, "allocate memory");
    check(cudaMemsetAsync(memory, 0, rounded, of(device).stream.get()), "clear memory");
  });
  if (done || !memory) return memory;
  (void)cudaFree(memory);
  return nullptr;
}

// Waits for the work that may use it. It is given back even where the card is lost or cannot be chosen any more.
void release(void *device, void *memory) {
  bool given = false;
  attempt(of(device), [&] {
    given = true;
    check(cudaFree(memory), "free memory");
  });
  if (!given) (void)cudaFree(memory);
}

// Pageable memory: the bytes are taken when the call returns, and everything else on the card comes behind them.
void write(void *device, void *to, const void *from, size_t bytes) {
  if (bytes == 0) return;
  attempt(of(device), [&] {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, of(device).stream.get()), "write memory");
  });
}

void read(void *device, void *to, const void *from, size_t bytes) {
  if (bytes == 0) return;
  attempt(of(device), [&] {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, of(device).stream.get()), "read memory");
    check(cudaStreamSynchronize(of(device).stream.get()), "read memory");
  });
}

void *compile(void *device, Op *ops, uint32_t count, Numerics numerics, ErrorText *error) {
  try {
    check(cudaSetDevice(of(device).index), "use the card");
    return new Held{of(device), {of(device), ops, count, numerics}};
  } catch (const std::exception &e) {
    (void)cudaGetLastError();
    tell(error, std::string("cuda: ") + e.what());
    return nullptr;
  }
}

size_t workspace(const void *executable) { return static_cast<const Held *>(executable)->executable.workspace(); }

void bind(void *executable, void *memory, const void *metrics, size_t metricBytes) {
  attempt(held(executable).device, [&] { held(executable).executable.bind(memory, metrics, metricBytes); });
}

void step(void *executable, RunStatus *status, double *seconds) {
  attempt(held(executable).device, [&] { held(executable).executable.step(status, seconds); });
}

uint64_t run(void *executable, uint64_t steps, void *results, StopSign sign, RunStatus *status) {
  uint64_t completed = 0;
  attempt(held(executable).device, [&] { completed = held(executable).executable.run(steps, results, sign, status); });
  return completed;
}

void *pin(void *device, size_t bytes) {
  void *memory = nullptr;
  const bool done = attempt(of(device), [&] {
    const cudaError_t error = cudaHostAlloc(&memory, bytes, cudaHostAllocDefault);
    if (error == cudaSuccess) return;
    memory = nullptr;
    (void)cudaGetLastError();
    if (error != cudaErrorMemoryAllocation) check(error, "allocate pinned memory");
  });
  return done ? memory : nullptr;
}

void unpin(void *device, void *memory) {
  (void)cudaSetDevice(of(device).index);
  (void)cudaFreeHost(memory);
}

void feed(void *executable, const FeedPlace *place, const Feed *feed, RunStatus *status) {
  attempt(held(executable).device, [&] { held(executable).executable.feed(*place, *feed, status); });
}

void park(void *) {}
double peak(void *, double) { return 0; }

OpPlan plan(const void *executable, uint32_t op) {
  return {static_cast<const Held *>(executable)->executable.plan(op), 1};
}

void destroy(void *executable) {
  (void)cudaSetDevice(held(executable).device.index);
  delete &held(executable);
}

int32_t failure(void *device, ErrorText *what) {
  Device &d = of(device);
  if (d.failure.empty()) return 0;
  tell(what, d.failure);
  if (!d.lost) d.failure.clear();
  return d.lost ? 2 : 1;
}

int32_t count() {
  try {
    return countOfCards();
  } catch (const std::exception &) {
    (void)cudaGetLastError();
    return 0;
  }
}

bool room(void *device, uint64_t *left, uint64_t *total) {
  return attempt(of(device), [&] {
    size_t free = 0, all = 0;
    check(cudaMemGetInfo(&free, &all), "ask the card for its memory");
    *left = free;
    *total = all;
  });
}

const Backend table = {
    kFingerprint, "cuda", open, close, describe, threads, alloc,   release, write, read,  compile, workspace, bind,
    step,         run,    park, peak,  plan,     destroy, failure, count,   pin,   unpin, feed,    room,
};

}  // namespace
}  // namespace gradline::cuda

extern "C" __attribute__((visibility("default"))) const gradline::Backend *gradline_backend() {
  return &gradline::cuda::table;
}
