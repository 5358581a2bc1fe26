// The cost model, kernels from the tables, and the schedule. What may follow without a wait is found in waits.cc.
#include "plan.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "../ref/table.h"
#include "waits.h"

namespace gradline::cpu {

namespace {

// Nanoseconds that each thread beyond the second adds to a wait: an estimate.
constexpr double kWaitPerThread = 40;
// Nanoseconds that a thread should have to do at the least. Measured on two cores of a Zen 5, work of 220 ns in all is
// as fast on two threads as on one; the rest is reserve, since costs of phases are rough.
constexpr double kLeastShare = 600;

Cuts evenCuts(int64_t units, int threads, int shares) {
  Cuts cuts;
  for (int s = 0; s <= shares; s++) cuts.push_back(std::min(s, threads) * units / threads);
  return cuts;
}

int threadsFor(const Phase &phase, int most) {
  int best = 1;
  double least = phase.nanoseconds;
  const auto limit = std::min(static_cast<double>(most), static_cast<double>(phase.units));
  for (int threads = 2; threads <= limit && phase.nanoseconds >= kLeastShare * threads; threads++) {
    // Cut work needs a wait before it and one behind it.
    const double units = std::ceil(static_cast<double>(phase.units) / threads) / static_cast<double>(phase.units);
    const double time = phase.nanoseconds * units + 2 * (kWait + kWaitPerThread * (threads - 2));
    if (time < least) {
      least = time;
      best = threads;
    }
  }
  return best;
}

void runRef32(const Op &op, int64_t, int64_t, void *) { ref::f32[static_cast<uint32_t>(op.code)](op); }
void runRef64(const Op &op, int64_t, int64_t, void *) { ref::f64[static_cast<uint32_t>(op.code)](op); }

// The plan of one op by the tables: the instruction set's kernel or ref.
KernelPlan kernelOf(const IsaTable &isa, const Op &op, Numerics numerics, bool *isRef) {
  const auto code = static_cast<uint32_t>(op.code);
  KernelPlan plan = {};
  *isRef = numerics == Numerics::fp64 || isa.plan[code] == nullptr || !isa.plan[code](op, plan);
  if (*isRef) {
    plan = {};
    plan.phases[plan.count++] = {numerics == Numerics::fp64 ? runRef64 : runRef32, 1, 0};
  }
  return plan;
}

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Appends the tasks [first, last) as one section.
void addSection(Schedule &schedule, const std::vector<Task> &tasks, size_t first, size_t last) {
  for (int s = 0; s < schedule.shares; s++) {
    for (size_t i = first; i < last; i++) {
      const Task &task = tasks[i];
      const int64_t begin = task.cuts[static_cast<size_t>(s)], end = task.cuts[static_cast<size_t>(s) + 1];
      if (begin < end) schedule.pieces.push_back({task.phase.run, task.op, begin, end});
    }
    schedule.starts.push_back(schedule.pieces.size());
  }
}

// `matmul avx512 2 threads 4|12 units`; a bar stands where all threads wait for each other.
std::string describe(const Op &op, bool isRef, const KernelPlan &plan, const char *isa, const Task *tasks,
                     int threads) {
  std::string text = tasks[0].waits ? "| " : "";
  text.append(isRef ? nameOf(op.code) : plan.name).append(1, ' ').append(isRef ? "ref" : isa);
  text.append(1, ' ').append(std::to_string(threads)).append(threads == 1 ? " thread" : " threads");
  if (isRef) return text;
  std::string units;
  for (int p = 0; p < plan.count; p++) {
    if (p > 0) units += tasks[p].waits ? '|' : '+';
    units += std::to_string(plan.phases[p].units);
  }
  return text.append(1, ' ').append(units).append(units == "1" ? " unit" : " units");
}

}  // namespace

ProgramPlan planProgram(const IsaTable &isa, const Op *ops, uint32_t count, Numerics numerics, int threads) {
  ProgramPlan program;
  std::vector<KernelPlan> kernels(count);
  std::vector<char> isRef(count);
  int shares = 1;
  for (uint32_t i = 0; i < count; i++) {
    bool ref = false;
    kernels[i] = kernelOf(isa, ops[i], numerics, &ref);
    isRef[i] = ref;
    program.workspace = std::max(program.workspace, aligned(kernels[i].workspace));
    program.scratch = std::max(program.scratch, aligned(kernels[i].scratch));
    for (int p = 0; p < kernels[i].count; p++) shares = std::max(shares, threadsFor(kernels[i].phases[p], threads));
  }

  std::vector<Task> tasks;
  std::vector<size_t> firstTask;
  size_t section = 0;  // first task of the section that is being built
  program.step.shares = program.timed.shares = shares;
  for (uint32_t i = 0; i < count; i++) {
    firstTask.push_back(tasks.size());
    for (int p = 0; p < kernels[i].count; p++) {
      const Phase &phase = kernels[i].phases[p];
      const int wide = threadsFor(phase, threads);
      tasks.push_back({&ops[i], phase, accessesOf(ops[i], phase, kernels[i].workspace), wide,
                       evenCuts(phase.units, wide, shares), false});
      if (shares == 1 || join(tasks, section)) continue;
      tasks.back().waits = true;
      section = tasks.size() - 1;
    }
  }
  firstTask.push_back(tasks.size());

  for (size_t first = 0, last; first < tasks.size(); first = last) {
    for (last = first + 1; last < tasks.size() && !tasks[last].waits;) last++;
    addSection(program.step, tasks, first, last);
  }
  for (uint32_t i = 0; i < count; i++) {
    int widest = 1;
    program.timedSections.push_back(program.timed.sections());
    for (size_t t = firstTask[i]; t < firstTask[i + 1]; t++) {
      addSection(program.timed, tasks, t, t + 1);
      widest = std::max(widest, static_cast<int>(std::count_if(tasks[t].cuts.begin() + 1, tasks[t].cuts.end(),
                                                               [&, before = int64_t{0}](int64_t cut) mutable {
                                                                 return std::exchange(before, cut) < cut;
                                                               })));
    }
    program.texts.push_back(describe(ops[i], isRef[i], kernels[i], isa.name, &tasks[firstTask[i]], widest));
    program.threads.push_back(widest);
  }
  program.timedSections.push_back(program.timed.sections());
  return program;
}

}  // namespace gradline::cpu
