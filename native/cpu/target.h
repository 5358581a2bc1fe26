// What a CPU kernel file provides and what it may use. Each file under kernels/ and gemm/ is compiled once per
// instruction set into the namespace GL_ISA (avx512, avx2, base); one table per instruction set is chosen when a device
// opens. No standard headers and no symbols outside the namespace here: see GL_INLINE in abi.h.
#pragma once
#include "../abi.h"

namespace gradline::cpu {

// A phase is a loop over `units` independent pieces of work. The number of units follows from shapes only, never from
// the number of threads, and each unit computes the same bits whoever runs it: so any thread count gives equal results.
// Threads take contiguous ranges of units; between two phases all threads wait for each other, where they need to.
struct Phase {
  void (*run)(const Op &op, int64_t begin, int64_t end, void *scratch);
  int64_t units;
  double nanoseconds;  // rough cost of all units on one thread; decides how many threads are worth it
  // Work by rows, if rows > 0: of every operand in `byRow` (inputs from bit 0 on, outputs from bit kMaxInputs on), seen
  // as so many equal rows, unit u meets only the rows [u * rowsPerUnit, (u + 1) * rowsPerUnit), or where rowsPerUnit is
  // 0 [u * rows / units, (u + 1) * rows / units). Epilogue operands of the size of the result go with output 0. With it
  // the executor can see that no thread needs what another one is still making, and leaves out the wait.
  int64_t rows = 0, rowsPerUnit = 0;
  uint32_t byRow = 0;
};
constexpr GL_INLINE uint32_t inputBit(int i) { return 1u << i; }
constexpr GL_INLINE uint32_t outputBit(int i) { return 1u << (kMaxInputs + i); }

constexpr int kMaxPhases = 4;

struct KernelPlan {
  Phase phases[kMaxPhases];
  int count;
  size_t workspace;  // bytes shared by all threads of the op (op.workspace), e.g. partial sums between two phases
  size_t scratch;    // bytes private to each thread (the `scratch` argument), e.g. packed panels
  const char *name;  // for the printout
};

// Fills the plan of one op from its shapes (data pointers are null). Returns false to leave the op to ref.
using PlanFn = bool (*)(const Op &op, KernelPlan &plan);

struct IsaTable {
  const char *name;
  PlanFn plan[kOpCount];  // null: ref
  // Runs multiply-adds at the full rate of one thread and returns how many operations they were; `sink` takes 16
  // floats.
  int64_t (*burn)(int64_t rounds, float *sink);
};

namespace base {
extern const IsaTable table;
}
namespace avx2 {
extern const IsaTable table;
}
namespace avx512 {
extern const IsaTable table;
}

}  // namespace gradline::cpu
