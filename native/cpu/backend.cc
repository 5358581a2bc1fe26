// The executor of the CPU backend: a step is one job of the team, whose threads walk the schedule together. What the
// schedule is made of stands in plan.cc, threads in workers.cc, kernels in kernels/ and gemm/.
#include "backend.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "../isa.h"
#include "plan.h"
#include "workers.h"

#if defined(__linux__)
#include <sys/mman.h>
#elif defined(_WIN32)
#include <malloc.h>
#endif

namespace gradline::cpu {

namespace {

constexpr size_t kHugePage = size_t{1} << 21;

struct Device {
  const IsaTable *isa;
  bool flush;  // denormals count as zero
  int threads, cores;
  Team team;  // of as many as can run at once; with fewer than `threads`, each does the work of several
};

struct Executable {
  Device *device;
  Op *ops;
  uint32_t count;
  ProgramPlan plan;
  int threads;  // of the team that take part
  char *scratch = nullptr;
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

// Under its own name also where it is that of base.
const IsaTable *portableTable() {
  static const IsaTable table = [] {
    IsaTable named = portable::table;
    named.name = "portable";
    return named;
  }();
  return &table;
}

void *open(const DeviceOptions *options, ErrorText *error) try {
  const std::string wanted(options->isa, strnlen(options->isa, sizeof options->isa));
  if (options->threads < 1 || options->threads > kMaxThreads)
    return fail(error, "cpu: expected 1 to %d threads but received %d.", kMaxThreads, options->threads);
  const bool isPortable = wanted == "portable";
  const IsaTable *isa = isPortable ? portableTable() : chooseIsa(wanted, error);
  if (isa == nullptr) return nullptr;
  const int together = std::min(options->threads, std::max(1, options->cores));
  return new Device{isa, !isPortable, options->threads, options->cores, Team(together, !isPortable)};
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

// `cpu avx512, 2 threads`, and how many of them run at once if not all.
void describe(const void *device, ErrorText *out) {
  const auto *d = static_cast<const Device *>(device);
  std::string text = "cpu " + std::string(d->isa->name) + ", " + count(d->threads, "thread");
  if (d->threads > d->cores) text += " on " + count(d->cores, "core");
  std::snprintf(out->text, sizeof out->text, "%s", text.c_str());
}

int32_t threads(const void *device) { return static_cast<const Device *>(device)->threads; }

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

void *compile(void *device, Op *ops, uint32_t opCount, Numerics numerics, ErrorText *error) try {
  auto *d = static_cast<Device *>(device);
  ProgramPlan plan = planProgram(*d->isa, ops, opCount, numerics, d->threads);
  const int together = std::min(plan.step.shares, d->team.size());
  return new Executable{d, ops, opCount, std::move(plan), together};
} catch (const std::exception &e) {
  return fail(error, "cpu: the program could not be compiled: %s", e.what());
}

size_t workspace(const void *executable) {
  const auto *exe = static_cast<const Executable *>(executable);
  return exe->plan.workspace + exe->plan.scratch * static_cast<size_t>(exe->threads);
}

void bind(void *executable, void *memory, const void *, size_t) {
  auto *exe = static_cast<Executable *>(executable);
  for (uint32_t i = 0; i < exe->count; i++) exe->ops[i].workspace = memory;
  exe->scratch = static_cast<char *>(memory) + exe->plan.workspace;
}

bool failed(const RunStatus &status) { return __atomic_load_n(&status.fault, __ATOMIC_ACQUIRE) != 0; }

// Sections [begin, end) of a schedule, as a job of the team.
struct Stretch {
  Executable *exe;
  const Schedule *schedule;
  size_t begin, end;
};

// What one of `threads` threads does: in each section its shares, then the wait for the others. All of them stop at the
// same wait, since it is the barrier that tells whether any has met a fault.
void walk(void *context, int thread, int threads) {
  const auto &stretch = *static_cast<const Stretch *>(context);
  Executable &exe = *stretch.exe;
  const Schedule &schedule = *stretch.schedule;
  const auto shares = static_cast<size_t>(schedule.shares);
  void *scratch = exe.scratch + exe.plan.scratch * static_cast<size_t>(thread);
  for (size_t section = stretch.begin; section < stretch.end; section++) {
    bool stop = false;
    for (auto share = static_cast<size_t>(thread); share < shares && !stop; share += static_cast<size_t>(threads)) {
      const size_t *starts = schedule.starts.data() + section * shares + share;
      const Piece *piece = schedule.pieces.data() + starts[0], *last = schedule.pieces.data() + starts[1];
      for (; piece != last && !stop; piece++) {
        piece->run(*piece->op, piece->begin, piece->end, scratch);
        stop = failed(*exe.status);
      }
    }
    if (threads > 1 && section + 1 < stretch.end) stop = exe.device->team.meet(threads, stop);
    if (stop) return;
  }
}

void step(void *executable, RunStatus *status, double *seconds) {
  auto *exe = static_cast<Executable *>(executable);
  const Denormals denormals(exe->device->flush);
  if (exe->status != status) {
    exe->status = status;
    for (uint32_t i = 0; i < exe->count; i++) exe->ops[i].status = status;
  }
  Team &team = exe->device->team;
  const ProgramPlan &plan = exe->plan;
  if (seconds == nullptr) {
    Stretch all = {exe, &plan.step, 0, plan.step.sections()};
    team.run(exe->threads, walk, &all);
    return;
  }
  using Clock = std::chrono::steady_clock;
  auto began = Clock::now();
  for (uint32_t i = 0; i < exe->count && !failed(*status); i++) {
    Stretch op = {exe, &plan.timed, plan.timedSections[i], plan.timedSections[i + 1]};
    team.run(plan.threads[i] > 1 ? exe->threads : 1, walk, &op);
    const auto now = Clock::now();
    seconds[i] = std::chrono::duration<double>(now - began).count();
    began = now;
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

void park(void *) {}  // workers without a job sleep by themselves

OpPlan plan(const void *executable, uint32_t op) {
  const auto *exe = static_cast<const Executable *>(executable);
  return {exe->plan.texts[op].c_str(), exe->plan.threads[op]};
}

void destroy(void *executable) { delete static_cast<Executable *>(executable); }

}  // namespace

const Backend backend = {
    kFingerprint, "cpu",   open, close, describe, threads, alloc,   release, copy,    copy,    compile, workspace, bind,
    step,         nullptr, park, peak,  plan,     destroy, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
};

}  // namespace gradline::cpu
