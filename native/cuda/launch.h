// What a planner hands to whoever runs kernels: launches with fixed geometry and arguments, in order. It knows neither
// CUDA headers nor kernels: host code puts a launch into a graph (or the emulator runs it) without knowing what it
// computes, and kernels never call the runtime.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "../abi.h"
#include "blas.h"

namespace gradline::cuda {

constexpr size_t kMaxArgument = 512;  // bytes; the limit of CUDA is 4096
constexpr int kMaxThreads = 1024;

// In device memory, one per executable. The first fault of a step wins, of one op the lowest row, so that a report does
// not depend on which block came first.
struct DeviceStatus {
  RunStatus first;
  uint32_t lock;     // held while `first` is written
  int32_t finished;  // 1: a step before this one failed; nothing runs until the host has read the report
  uint64_t steps;    // ended without a fault since the host cleared this
};

// What a record asks of the host.
enum class Work : uint32_t {
  kernel,  // to launch `function` with `argument`
  gemm,    // to run a plan of the library of blas.h: `argument` is a ProductCall
};

// A product as a library has planned it: of the shape, not of the addresses.
struct PlannedProduct {
  GlGemm gemm;
  int32_t epilogue;  // GL_EPILOGUE_*
  void *plan;        // of GlBlas
  std::string text;  // for people
};
struct ProductCall {
  const PlannedProduct *product;
  GlOperands operands;
};

// What a library offers to the planners of ops that are matrix products. It answers by shape alone, and the same answer
// each time.
class Products {
 public:
  virtual ~Products() = default;
  // Null where the library has none: then the epilogue, or the whole product, is for our own kernels. Addresses in
  // `gemm` are not looked at. What is returned lives as long as this.
  virtual const PlannedProduct *plan(const GlGemm &gemm, int32_t epilogue) = 0;
  // Whether small products are asked of it too, which our own kernels make within the launch of their neighbours.
  virtual bool takesAll() const = 0;
};

// Which word makes a kernel do nothing when it is not 0.
enum class Guard : int32_t {
  fault,     // a fault in this step or before: right for every op that does not report one itself
  finished,  // a fault in a step before: for ops that report, whose own blocks must not stop each other
};

// One kernel of one op, or one product that a library makes. The kernel takes exactly one argument, by value:
// `argument`. So cudaLaunchKernel gets { argument } as its array of pointers.
struct Launch {
  Work work;
  const void *function;  // what the CUDA runtime knows the kernel by; in the emulated build an emulator::Kernel
  const char *(*name)();
  uint32_t grid[3];
  uint32_t threads;      // of a block, in one dimension
  uint32_t sharedBytes;  // dynamic shared memory
  Guard guard;
  bool together;  // its blocks wait for each other, so all of them must fit onto the card at once
  uint32_t argumentBytes;
  alignas(16) unsigned char argument[kMaxArgument];
};

// Collects the launches of one op. Planning twice gives the same list: once without addresses, for the size of the
// workspace and for coverage, and once with them.
class Launches {
 public:
  // Device addresses; null while only planning.
  DeviceStatus *status = nullptr;
  const SegmentRecord *segments = nullptr;  // copy of op.segments
  Guard guard = Guard::fault;
  Products *products = nullptr;  // null where products are our own kernels; the same in both rounds of planning

  std::vector<Launch> list;
  size_t workspaceBytes = 0;  // what this op asked for, from op.workspace on

  // The next bytes of the op's workspace, as an offset from op.workspace.
  size_t take(size_t bytes) {
    const size_t at = workspaceBytes;
    workspaceBytes += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  }
  const int32_t *guardWord() const {
    if (status == nullptr) return nullptr;
    return guard == Guard::fault ? &status->first.fault : &status->finished;
  }
};

// Appends a product for the library. It has no guard: behind a fault it still runs, so its result must be memory that
// the program owns (activations, gradients), which no later step trusts.
inline void appendProduct(Launches &launches, const ProductCall &call) {
  static_assert(sizeof call <= kMaxArgument);
  Launch record = {};
  record.work = Work::gemm;
  record.argumentBytes = sizeof call;
  std::memcpy(record.argument, &call, sizeof call);
  launches.list.push_back(record);
}
inline ProductCall productOf(const Launch &launch) {
  ProductCall call;
  std::memcpy(&call, launch.argument, sizeof call);
  return call;
}

// Appends the launches of one op, from shapes alone. False: this form of the op has no kernel; nothing was appended.
using PlanFn = bool (*)(const Op &op, Launches &launches);

// Appends what ends a step: its metrics, `words` of four bytes, go to the ring of `slots` steps, and the step is
// counted or, after a fault, nothing runs any more. The ring may be memory of the host that the card can write.
void planEndOfStep(Launches &launches, const void *metrics, void *ring, int64_t words, int64_t slots);

// ---- Several launches as one (kernels/sequence.cuh; merge.h decides which)

// A launch within a sequence: blocks of the card make its blocks, in turn.
struct Stage {
  int32_t kernel;     // place in the list of sequence.cuh
  uint32_t argument;  // words from the begin of the table to its argument
  uint32_t grid[3];
  uint32_t stretch;  // neighbours among its blocks that one block of the card makes, those of a stretch of rows
  uint32_t shift;    // the block of the card that makes the first of them
  uint32_t op;       // where byOp holds, its guard stops it for what ops before this one have found, and nothing else
  bool byOp;
  bool inGap;  // it has one block, made by who comes last to the barrier before it while all others wait there
  bool waits;  // not before all blocks of the card have done what stands before it
};
// That a stage touches some operands by rows only: its block b those from b * perBlock on, a divisor of kStretchRows.
// All 0: it does not.
struct Rows {
  int64_t all;
  int perBlock;
};
constexpr int kStretchRows = 8;  // rows that stages of one block of the card have in common
// In device memory, zeroed once: where the blocks of a sequence wait for each other.
struct Meeting {
  uint32_t arrived, generation;
};

// A launch as a stage, and the argument that its kernel takes there. False: it cannot be one.
bool asStage(const Launch &launch, Stage &stage, std::vector<unsigned char> &argument);
// A product as one stage whose blocks need nobody to end it: in rows where it is narrow, with the sum of its splits
// where it is short. `second`: the launch behind it, or null. How many of the two it stands for; 0: it is no such
// product.
int asWholeProduct(const Launch &first, const Launch *second, Stage &stage, std::vector<unsigned char> &argument);
Rows rowsOf(const Stage &stage, const std::vector<unsigned char> &argument);
// Bytes of stages and arguments that a sequence has room for; they stand in device memory, stages first, each argument
// at a multiple of kStageAlignment.
size_t sequenceRoom();
constexpr size_t kStageAlignment = 16;
// Appends the launch that makes all `stages`, in order, by so many blocks of the card.
void planSequence(Launches &launches, const void *table, size_t bytes, int stages, int blocks, Meeting *meeting);
// The same launch for another number of steps; it is planned for one.
void setSteps(Launch &sequence, uint32_t steps);

// ---- Sequences of one block each, of several programs, as one launch (lanes.h decides which)

// What a block leaves for the host when it has made its program, in memory of the host that the card can write.
struct Landing {
  DeviceStatus status;
  uint64_t nanoseconds;  // that it took
};
// The records of the programs stand side by side in memory that the card can read, each of so many bytes.
size_t programBytes();
void writeProgram(void *programs, int place, const Launch &sequence, uint32_t steps, const DeviceStatus *status,
                  Landing *landing);
// Appends the launch whose block i makes the i-th program.
void planSideBySide(Launches &launches, const void *programs, int count);

// The planner of an op code, null where there is none (kernels/table.cc).
PlanFn plannerOf(OpCode code);

}  // namespace gradline::cuda
