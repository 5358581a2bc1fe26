// The executor of the CPU backend: compile turns ops into a flat list of tasks with fixed thread counts, step walks it.
// Kernels and their cutting into units stand in kernels/ and gemm/; threads in workers.cc.
#include "backend.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "../isa.h"
#include "../ref/table.h"
#include "target.h"
#include "workers.h"

#if defined(__linux__)
#include <sys/mman.h>
#elif defined(_WIN32)
#include <malloc.h>
#endif

namespace gradline::cpu {

namespace {

constexpr double kSerialBelow = 5000;    // nanoseconds of a phase that is not worth a hand-off
constexpr double kShareOfThread = 2500;  // nanoseconds that a thread should have to do at the least
constexpr size_t kHugePage = size_t{1} << 21;

struct Device {
  const IsaTable *isa;
  Team team;
};

// One phase of one op.
struct Task {
  void (*run)(const Op &, int64_t begin, int64_t end, void *scratch);
  const Op *op;
  int64_t units;
  int threads;
  bool endsOp;
};

struct Executable {
  Device *device;
  Op *ops;
  uint32_t count;
  std::vector<Task> tasks;
  std::vector<std::string> plans;  // by op, as is
  std::vector<int> opThreads;
  size_t shared = 0;   // bytes at the front of the workspace, used by one op after the other
  size_t scratch = 0;  // bytes of each thread behind it
  int threads = 1;     // of the widest task
  char *scratchMemory = nullptr;
  RunStatus *status = nullptr;
};

template <class... Args>
std::nullptr_t fail(ErrorText *error, const char *format, Args... args) {
  std::snprintf(error->text, sizeof error->text, format, args...);
  return nullptr;
}

struct Isa {
  const IsaTable *table;
  bool supported;
};

// The best first.
std::vector<Isa> instructionSets() {
#if defined(__x86_64__)
  const InstructionSets has = gradline::instructionSets();
  return {{&avx512::table, has.avx512}, {&avx2::table, has.avx2}, {&base::table, true}};
#else
  return {{&base::table, true}};
#endif
}

const IsaTable *chooseIsa(const std::string &wanted, ErrorText *error) {
  std::string names;
  for (const Isa &isa : instructionSets()) {
    if (wanted.empty() ? isa.supported : wanted == isa.table->name) {
      if (isa.supported) return isa.table;
      return fail(error,
                  "cpu: instruction set '%s' was asked for, but this processor does not have it. Leave the option out "
                  "to get the best it has.",
                  wanted.c_str());
    }
    if (!names.empty()) names += ", ";
    names += isa.table->name;
  }
  return fail(error, "cpu: expected an instruction set out of: %s; but received '%s'.", names.c_str(), wanted.c_str());
}

void *open(const DeviceOptions *options, ErrorText *error) try {
  const std::string wanted(options->isa, strnlen(options->isa, sizeof options->isa));
  if (options->threads < 0 || options->threads > kMaxThreads)
    return fail(error, "cpu: expected 0 to %d threads (0: as many as the process may use) but received %d.",
                kMaxThreads, options->threads);
  const IsaTable *isa = chooseIsa(wanted, error);
  if (isa == nullptr) return nullptr;
  return new Device{isa, Team(options->threads > 0 ? options->threads : std::min(usableCores(), kMaxThreads))};
} catch (const std::exception &e) {
  return fail(error, "cpu: the threads could not be started: %s. Ask for fewer threads.", e.what());
}

void close(void *device) { delete static_cast<Device *>(device); }

std::string count(int64_t n, const char *what) {
  std::string text = std::to_string(n);
  text.append(1, ' ').append(what);
  if (n != 1) text += 's';
  return text;
}

void describe(const void *device, ErrorText *out) {
  const auto *d = static_cast<const Device *>(device);
  std::snprintf(out->text, sizeof out->text, "cpu %s, %s", d->isa->name, count(d->team.size(), "thread").c_str());
}

int32_t threads(const void *device) { return static_cast<const Device *>(device)->team.size(); }

void *alloc(void *, size_t bytes) {
  const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kAlignment;
  if (bytes > SIZE_MAX - alignment) return nullptr;
  const size_t rounded = std::max(alignment, (bytes + alignment - 1) / alignment * alignment);
#if defined(_WIN32)
  void *memory = _aligned_malloc(rounded, alignment);
#else
  void *memory = std::aligned_alloc(alignment, rounded);
#endif
  if (memory == nullptr) return nullptr;
#if defined(__linux__)
  // Large regions are walked in long strides; with pages of 4 KB the address translation of each would be a miss.
  if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);
#endif
  std::memset(memory, 0, rounded);
  return memory;
}

#if defined(_WIN32)
void release(void *, void *memory) { _aligned_free(memory); }
#else
void release(void *, void *memory) { std::free(memory); }
#endif

void copy(void *, void *to, const void *from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

void runRef32(const Op &op, int64_t, int64_t, void *) { ref::f32[static_cast<uint32_t>(op.code)](op); }
void runRef64(const Op &op, int64_t, int64_t, void *) { ref::f64[static_cast<uint32_t>(op.code)](op); }

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// The plan of one op by the tables: the instruction set's kernel or ref.
KernelPlan planOf(const Device &device, const Op &op, Numerics numerics, bool *isRef) {
  const auto code = static_cast<uint32_t>(op.code);
  KernelPlan plan = {};
  *isRef = numerics == Numerics::fp64 || device.isa->plan[code] == nullptr || !device.isa->plan[code](op, plan);
  if (*isRef) {
    plan = {};
    plan.phases[plan.count++] = {numerics == Numerics::fp64 ? runRef64 : runRef32, 1, 0};
  }
  return plan;
}

const char *nameOf(OpCode code) {
  static const char *const names[] = {
#define GL_OP(name, ...) #name,
#include "../ops.def"
#undef GL_OP
  };
  return names[static_cast<uint32_t>(code)];
}

void *compile(void *device, Op *ops, uint32_t opCount, Numerics numerics, ErrorText *error) try {
  auto *d = static_cast<Device *>(device);
  auto exe = std::make_unique<Executable>();
  exe->device = d;
  exe->ops = ops;
  exe->count = opCount;
  for (uint32_t i = 0; i < opCount; i++) {
    bool isRef;
    const KernelPlan plan = planOf(*d, ops[i], numerics, &isRef);
    exe->shared = std::max(exe->shared, aligned(plan.workspace));
    exe->scratch = std::max(exe->scratch, aligned(plan.scratch));
    int widest = 1;
    std::string units;
    for (int p = 0; p < plan.count; p++) {
      const Phase &phase = plan.phases[p];
      double most = 1;
      if (phase.nanoseconds >= kSerialBelow)
        most = std::min({static_cast<double>(d->team.size()), static_cast<double>(phase.units),
                         std::max(2.0, phase.nanoseconds / kShareOfThread)});
      const int wide = std::max(1, static_cast<int>(most));
      exe->tasks.push_back({phase.run, &ops[i], phase.units, wide, p == plan.count - 1});
      widest = std::max(widest, wide);
      if (p > 0) units += '+';
      units += std::to_string(phase.units);
    }
    exe->threads = std::max(exe->threads, widest);
    std::string text = isRef ? nameOf(ops[i].code) : plan.name;
    text.append(1, ' ').append(isRef ? "ref" : d->isa->name).append(1, ' ').append(count(widest, "thread"));
    if (!isRef) text.append(1, ' ').append(units).append(units == "1" ? " unit" : " units");
    exe->plans.push_back(std::move(text));
    exe->opThreads.push_back(widest);
  }
  return exe.release();
} catch (const std::exception &e) {
  return fail(error, "cpu: the program could not be compiled: %s", e.what());
}

size_t workspace(const void *executable) {
  const auto *exe = static_cast<const Executable *>(executable);
  return exe->shared + exe->scratch * static_cast<size_t>(exe->threads);
}

void bind(void *executable, void *memory, const void *, size_t) {
  auto *exe = static_cast<Executable *>(executable);
  for (uint32_t i = 0; i < exe->count; i++) exe->ops[i].workspace = memory;
  exe->scratchMemory = static_cast<char *>(memory) + exe->shared;
}

struct Shared {
  const Task *task;
  const Executable *exe;
};

// The share of thread t: contiguous units, so that neighbours in memory stay on one core.
void runShare(const void *context, int t, int threads) {
  const auto *shared = static_cast<const Shared *>(context);
  const Task &task = *shared->task;
  const int64_t begin = t * task.units / threads, end = (t + 1) * task.units / threads;
  task.run(*task.op, begin, end, shared->exe->scratchMemory + shared->exe->scratch * static_cast<size_t>(t));
}

void step(void *executable, RunStatus *status, double *seconds) {
  using Clock = std::chrono::steady_clock;
  auto *exe = static_cast<Executable *>(executable);
  const FlushDenormals flush;
  if (exe->status != status) {
    exe->status = status;
    for (uint32_t i = 0; i < exe->count; i++) exe->ops[i].status = status;
  }
  Clock::time_point began = seconds ? Clock::now() : Clock::time_point{};
  for (const Task &task : exe->tasks) {
    if (task.threads == 1) {
      task.run(*task.op, 0, task.units, exe->scratchMemory);
    } else {
      const Shared shared = {&task, exe};
      exe->device->team.run(task.threads, runShare, &shared);
    }
    if (seconds && task.endsOp) {
      const Clock::time_point now = Clock::now();
      seconds[task.op->index] = std::chrono::duration<double>(now - began).count();
      began = now;
    }
    if (task.endsOp && __atomic_load_n(&status->fault, __ATOMIC_ACQUIRE) != 0) return;
  }
}

double peak(void *device, double seconds) {
  using Clock = std::chrono::steady_clock;
  const IsaTable &isa = *static_cast<Device *>(device)->isa;
  alignas(64) float sink[16];
  double best = 0;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  do {
    const auto begin = Clock::now();
    const int64_t operations = isa.burn(100'000, sink);
    const std::chrono::duration<double> took = Clock::now() - begin;
    best = std::max(best, static_cast<double>(operations) / took.count());
  } while (Clock::now() < end);
  return best;
}

void park(void *device) { static_cast<Device *>(device)->team.park(); }

OpPlan plan(const void *executable, uint32_t op) {
  const auto *exe = static_cast<const Executable *>(executable);
  return {exe->plans[op].c_str(), exe->opThreads[op]};
}

void destroy(void *executable) { delete static_cast<Executable *>(executable); }

}  // namespace

const Backend backend = {
    kAbiVersion, "cpu", open, close,   describe, threads, alloc, release, copy,    copy,    compile,
    workspace,   bind,  step, nullptr, park,     peak,    plan,  destroy, nullptr, nullptr,
};

}  // namespace gradline::cpu
