// The `ref` backend: runs the oracle's kernels one after the other on the calling thread. It is the meaning of a
// program and the only backend for fp64; it has no plans, no workspace and no threads of its own.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <new>

#include "table.h"

namespace gradline::ref {
namespace {

struct Executable {
  Op *ops;
  uint32_t count;
  const Kernel *table;
};

// There is nothing to hold per device, but a device must be told from "failed to open".
char theDevice;

void *open(const DeviceOptions *, ErrorText *) { return &theDevice; }
void close(void *) {}
void describe(const void *, ErrorText *out) {
  std::snprintf(out->text, sizeof out->text, "ref: plain loops, 1 thread");
}
int32_t threads(const void *) { return 1; }

void *alloc(void *, size_t bytes) {
  void *memory = ::operator new(bytes, std::align_val_t{kAlignment}, std::nothrow);
  if (memory) std::memset(memory, 0, bytes);
  return memory;
}
void release(void *, void *memory) { ::operator delete(memory, std::align_val_t{kAlignment}); }
void write(void *, void *to, const void *from, size_t bytes) {
  if (bytes) std::memcpy(to, from, bytes);
}
void read(void *, void *to, const void *from, size_t bytes) {
  if (bytes) std::memcpy(to, from, bytes);
}

void *compile(void *, Op *ops, uint32_t count, Numerics numerics, ErrorText *error) {
  auto *executable = new (std::nothrow) Executable{ops, count, numerics == Numerics::fp64 ? f64 : f32};
  if (!executable) std::snprintf(error->text, sizeof error->text, "out of memory while compiling %u ops", count);
  return executable;
}
size_t workspace(const void *) { return 0; }
void bind(void *, void *, const void *, size_t) {}

void step(void *executable, RunStatus *status, double *seconds) {
  using Clock = std::chrono::steady_clock;
  const Executable &program = *static_cast<Executable *>(executable);
  Clock::time_point began = seconds ? Clock::now() : Clock::time_point{};
  for (uint32_t i = 0; i < program.count && status->fault == 0; i++) {
    Op &op = program.ops[i];
    op.status = status;
    program.table[static_cast<uint32_t>(op.code)](op);
    if (seconds) {
      const Clock::time_point now = Clock::now();
      seconds[i] = std::chrono::duration<double>(now - began).count();
      began = now;
    }
  }
}

void park(void *) {}
double peak(void *, double) { return 0; }
OpPlan plan(const void *executable, uint32_t) {
  return {static_cast<const Executable *>(executable)->table == f64 ? "ref f64" : "ref f32", 1};
}
void destroy(void *executable) { delete static_cast<Executable *>(executable); }

}  // namespace

const Backend backend = {
    kFingerprint, "ref",   open, close, describe, threads, alloc,   release, write,   read,    compile, workspace, bind,
    step,         nullptr, park, peak,  plan,     destroy, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
};

}  // namespace gradline::ref
