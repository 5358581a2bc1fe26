// The contract between the core and its backends: data types, the records of an encoded program, the resolved op that a
// kernel receives, the state of a step, and the table of functions that a backend fills.
// It holds no logic and includes nothing of the project; every room below may include it.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Files compiled once per instruction set must not emit weak symbols (the linker could keep the AVX-512 copy for every
// caller), so everything they share is forced inline. Under nvcc it serves host and device alike.
#if defined(__CUDACC__)
#define GL_INLINE __host__ __device__ __forceinline__
#pragma nv_diag_suppress 64  // the attributes of an op that has none
#else
#define GL_INLINE inline __attribute__((always_inline))
#endif

namespace gradline {

constexpr uint32_t kAbiVersion = 6;
constexpr uint32_t kProgramMagic = 0x31504C47;  // "GLP1"
constexpr uint32_t kProgramVersion = 1;
constexpr int kMaxRank = 6;
constexpr int kMaxInputs = 8;
constexpr int kMaxOutputs = 4;
constexpr int kMaxEpilogues = 4;
constexpr int kMaxAttrs = 12;
constexpr uint64_t kMaxElements = uint64_t{1} << 40;  // of one value; keeps every product of sizes far from overflow
constexpr size_t kAlignment = 64;                     // of every region and of every value inside one
constexpr uint32_t kNoValue = 0xffffffff;

enum class DType : uint32_t { f32 = 0, i32 = 1, u8 = 2, f64 = 3 };
// fp64: every float is f64; the ref backend only. All others store f32. fast: kernels may save multiplications; tf32
// and bf16: they may round the operands of matmul and of the convolutions to that type before they multiply. What
// errors stay within says docs/architecture.md, "Numbers"; a backend may take each of the three for fp32.
enum class Numerics : uint32_t { fp32 = 0, fp64 = 1, fast = 2, tf32 = 3, bf16 = 4 };

// Where a value lives. Regions from `param` to `data` outlive the program and are bound to storages when it is loaded;
// the others belong to the program.
enum class RegionKind : uint32_t { param, opt, state, step, data, grad, act, input, metric };
constexpr uint32_t kRegionKinds = 9;
constexpr GL_INLINE bool isExternal(RegionKind kind) { return kind <= RegionKind::data; }

enum OpFlags : uint32_t { kInPlace = 1, kEffect = 2, kEpilogue = 4, kLastOptional = 8, kUpdateRule = 16 };

enum class OpCode : uint32_t {
#define GL_OP(name, ...) name,
#include "ops.def"
#undef GL_OP
  count
};
constexpr uint32_t kOpCount = static_cast<uint32_t>(OpCode::count);

// What core and a backend of its own library must agree on: the version, and every line of ops.def, since an op code is
// the place of a line. FNV-1a (Fowler, Noll, Vo).
constexpr GL_INLINE uint32_t fingerprintOfOps() {
  constexpr char lines[] =
#define GL_OP(name, ...) #name "(" #__VA_ARGS__ ")"
#include "ops.def"
#undef GL_OP
      ;
  uint32_t hash = 2166136261u ^ kAbiVersion;
  for (const char c : lines) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return hash;
}
constexpr uint32_t kFingerprint = fingerprintOfOps();

constexpr GL_INLINE uint32_t flagsOf(OpCode code) {
  switch (code) {
#define GL_OP(name, family, fewest, most, outputs, flags, ...) \
  case OpCode::name:                                           \
    return static_cast<uint32_t>(flags);
#include "ops.def"
#undef GL_OP
    case OpCode::count:
      break;
  }
  return 0;
}
constexpr GL_INLINE const char *nameOf(OpCode code) {
  switch (code) {
#define GL_OP(name, ...) \
  case OpCode::name:     \
    return #name;
#include "ops.def"
#undef GL_OP
    case OpCode::count:
      break;
  }
  return "";
}

// Positions of attributes by name: op.attr[attr::conv2d::strideH].
namespace attr {
#define GL_OP(name, family, fewest, most, outputs, flags, ...) \
  namespace name {                                             \
  enum : int { __VA_ARGS__ };                                  \
  }
#include "ops.def"
#undef GL_OP
}  // namespace attr

// ---- Encoded program: header, then the arrays in the order of the header's counts, all little-endian
//
//   RegionRecord[regions] ValueRecord[values] OpRecord[ops] SegmentRecord[segments]
//   uint32 input values[inputs], uint32 output values[outputs], uint32 filler if inputs + outputs is odd,
//   sites: UTF-8 lines, `siteBytes` long; OpRecord.site counts lines

struct ProgramHeader {
  uint32_t magic, version, numerics, regions, values, ops, segments, inputs, outputs, siteBytes, reserved[2];
};
struct RegionRecord {
  uint32_t kind, reserved;
  uint64_t bytes;
};
struct ValueRecord {
  uint32_t region, dtype;
  uint64_t offset;  // bytes from the start of the region
  uint32_t rank, reserved;
  int64_t dims[kMaxRank];
};
struct EpilogueRecord {
  uint32_t opcode, value;  // value: the second operand, or kNoValue
  double attr;
};
struct OpRecord {
  uint32_t opcode, site, inputs, outputs, epilogues, reserved;
  double attrs[kMaxAttrs];
  uint32_t in[kMaxInputs], out[kMaxOutputs];
  EpilogueRecord epilogue[kMaxEpilogues];
};
// A stretch of a param region with settings of its own. The update ops walk the segments of their parameter's region;
// what no segment covers is never changed.
struct SegmentRecord {
  uint32_t region, flags;  // flags: none yet
  int64_t offset, count;   // elements
  double rate, decay;      // factor on the learning rate; decoupled decay, per unit of learning rate
  double l1, l2;           // penalties l1 sum|w| and l2 / 2 sum w^2: l2 w + l1 sign(w) is added to the clipped gradient
};
static_assert(sizeof(ProgramHeader) == 48 && sizeof(RegionRecord) == 16 && sizeof(ValueRecord) == 72);
static_assert(sizeof(EpilogueRecord) == 16 && sizeof(OpRecord) == 232 && sizeof(SegmentRecord) == 56);

// ---- What changes between steps

// One per optimizer, in region `step`. Everything a kernel may need that differs from step to step stands here, so a
// recorded step never freezes a number. All counters start at 0.
//   advance:        step += 1; then, with a data set (samples > 0):
//                   if cursor >= samples { epoch += 1; cursor = 0; }  first = cursor; cursor += batch
//   countGroup:     begins a group of micro-batches unless one is pending; groupSteps += 1; groupRows += rows;
//                   pending = the group is neither full nor at the end of the data
//   prepareUpdate:  pending: skip = 1 and nothing is counted. Else gradNorm, clipScale = min(1, maxNorm / gradNorm),
//                   skip = gradNorm is not finite; updates += 1, or skipped += 1 when skip is set
struct StepState {
  uint64_t seed;     // key of every random stream
  uint64_t step;     // steps begun; 1 during the first
  uint64_t updates;  // updates applied: Adam's t
  uint64_t skipped;  // updates left out since a gradient was not finite
  uint64_t epoch;    // passes over the data finished
  uint64_t cursor;   // rows of this epoch handed out, this step's included
  uint64_t first;    // position in the epoch of this step's first row
  double rate;       // learning rate, before rateFactor; scheduleRate writes it anew in every step
  double gradNorm;   // global L2 norm of the last gradients, before clipping
  double clipScale;  // factor on the gradients
  uint32_t skip;     // 1: the update ops change nothing this step
  uint32_t reserved0;
  double rateFactor;       // on the learning rate, beside any schedule; 1 unless something lowered it between steps
  double momentumProduct;  // of nadam's momenta up to the last update
  uint64_t groupSteps;     // micro-batches of the group, this step's included
  uint64_t groupRows;      // their rows
  uint64_t pending;        // 1: the group waits for more of them
  uint8_t reserved[128];
};
static_assert(sizeof(StepState) == 256);

// How scheduleRate computes the rate; the formulas stand in ref/schedule.h.
enum class ScheduleKind : uint32_t { constant, exponential, power, polynomial, cosine, steps, table };
constexpr int kScheduleKinds = 7;

// ---- What a kernel receives

struct Tensor {
  void *data;  // null until the program is bound
  DType dtype;
  uint32_t value, region;  // where it came from, for messages and plans
  int32_t rank;
  int64_t dims[kMaxRank];
  int64_t size;  // elements
  uint64_t offset;

  template <class T>
  GL_INLINE T *as() const {
    return static_cast<T *>(data);
  }
  GL_INLINE int64_t channels() const { return rank ? dims[rank - 1] : 1; }
  GL_INLINE int64_t rows() const { return channels() ? size / channels() : 0; }
};

struct Epilogue {
  OpCode code;
  bool hasOperand;
  Tensor operand;
  double attr;
};

// A failure that depends on data and so is found while running; it stops the step.
enum class Fault : int32_t { none = 0, labelOutOfRange = 1, indexOutOfRange = 2, notFinite = 3 };
struct RunStatus {
  int32_t fault;
  uint32_t op;
  // Row (or element) of the operand, the number found there, the first number that is too large. For notFinite: got is
  // 0 for NaN, 1 for infinity, -1 for -infinity.
  int64_t row, got, limit;
};

struct Op {
  OpCode code;
  uint32_t index;
  int32_t inputs, outputs, epilogues;
  bool fp64;
  bool lasting;       // writes memory that outlives the step, so it must not begin once an op before it has failed
  Numerics numerics;  // class of the program
  Tensor in[kMaxInputs], out[kMaxOutputs];
  Epilogue epilogue[kMaxEpilogues];
  double attr[kMaxAttrs];
  const SegmentRecord *segments;  // of the region of in[0]
  int32_t segmentCount;
  void *workspace;  // bytes asked for at compile; shared by the threads of this op, undefined content
  RunStatus *status;

  GL_INLINE int64_t iattr(int i) const { return static_cast<int64_t>(attr[i]); }
};

// Threads find failures in any order; the one of the first op and its first row stays.
GL_INLINE void report(const Op &op, Fault fault, int64_t row, int64_t got, int64_t limit) {
  constexpr int32_t kBusy = -1;  // claimed first, published last, so that the numbers belong to one report
  int32_t seen = __atomic_load_n(&op.status->fault, __ATOMIC_RELAXED);
  do {
    while (seen == kBusy) seen = __atomic_load_n(&op.status->fault, __ATOMIC_RELAXED);
  } while (!__atomic_compare_exchange_n(&op.status->fault, &seen, kBusy, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
  const bool later = op.status->op > op.index || (op.status->op == op.index && op.status->row > row);
  if (seen != static_cast<int32_t>(Fault::none) && !later) {
    __atomic_store_n(&op.status->fault, seen, __ATOMIC_RELEASE);
    return;
  }
  op.status->op = op.index;
  op.status->row = row;
  op.status->got = got;
  op.status->limit = limit;
  __atomic_store_n(&op.status->fault, static_cast<int32_t>(fault), __ATOMIC_RELEASE);
}

// ---- What a backend fills

// cuda: steps are launched as graphs of merged launches; or the launches of each op one by one; or both, and their bits
// are compared; or as graphs of those launches, unmerged.
enum class GraphMode : int32_t { on, off, check, unmerged };

struct DeviceOptions {
  int32_t threads;  // that share the work, at least 1
  int32_t cores;    // that the process may use: more threads than these would only wait for each other
  char isa[16];   // cpu: "" best of the machine, else "avx512", "avx2", "base"; "portable": equal bits on all machines
  int32_t index;  // cuda: which card
  GraphMode graph;
  const void *blas;    // cuda: a GlBlas of cuda/blas.h, or null: products are the backend's own kernels
  int32_t blasNeeded;  // cuda: it makes every product, and is an error when it cannot; else only large ones
  int32_t tune;        // cuda: measure products that its file of measured plans does not know
};

// Whether a run is to end before its steps are done; asked on the calling thread between launches.
struct StopSign {
  bool (*wanted)(const void *context);
  const void *context;
};
// Batches that come from the host one by one while steps run; called on the thread that called the backend.
struct Feed {
  // The batch of the next step, in memory made by `pin`; null while there is none.
  const void *(*next)(void *context);
  // The step of the oldest batch taken ended well, and its metrics; the memory of its batch may be filled anew.
  void (*done)(void *context, const void *metrics);
  void *context;
};
// Where they go: the region of the inputs, and kStagings times as much memory of the device to wait in.
constexpr int kStagings = 2;
struct FeedPlace {
  void *inputs, *staging;
  size_t bytes;  // of the region and of a batch; a multiple of kAlignment
};
struct ErrorText {
  char text[512];
};
struct OpPlan {
  const char *text;  // kernel, instruction set, threads, units: for people; lives as long as the executable
  int32_t threads;   // that share the op
};

// Calls come from one thread at a time. A device outlives its executables. Members marked optional are null where they
// do not apply.
struct Backend {
  uint32_t fingerprint;  // kFingerprint
  const char *name;
  void *(*open)(const DeviceOptions *, ErrorText *);  // null: failed, text says why
  void (*close)(void *device);
  void (*describe)(const void *device, ErrorText *out);  // one line for people: instruction set, threads
  int32_t (*threads)(const void *device);

  void *(*alloc)(void *device, size_t bytes);  // zeroed, aligned to kAlignment; null when out of memory
  void (*release)(void *device, void *memory);
  void (*write)(void *device, void *to, const void *from, size_t bytes);
  void (*read)(void *device, void *to, const void *from, size_t bytes);

  // Chooses a kernel and a thread plan for each op from shapes alone. `ops` stays valid and in place until destroy;
  // its data pointers are null during compile. Allocates nothing that grows with the shapes.
  void *(*compile)(void *device, Op *ops, uint32_t count, Numerics, ErrorText *);
  size_t (*workspace)(const void *executable);  // bytes that bind must be given
  // Ops now carry data pointers. `metrics`: what a step leaves for its caller, in memory of the device.
  void (*bind)(void *executable, void *workspace, const void *metrics, size_t metricBytes);
  // Every op once, in order, stopping at the first fault. With `seconds`, one number per op, each op is waited for and
  // its time written there; null costs nothing.
  void (*step)(void *executable, RunStatus *, double *seconds);
  // Optional: several steps without waiting in between, at least one and up to `steps`; returns how many ended without
  // a fault. It may end early, when it is told to stop or so that others get their turn. `results` gets the metrics of
  // each step, one after the other.
  uint64_t (*run)(void *executable, uint64_t steps, void *results, StopSign, RunStatus *);
  void (*park)(void *device);                    // no step follows soon: workers may sleep
  double (*peak)(void *device, double seconds);  // multiply-adds of one thread, operations per second, measured now:
                                                 // the ceiling for benchmarks; 0 if not measured
  OpPlan (*plan)(const void *executable, uint32_t op);
  void (*destroy)(void *executable);

  // Optional, for devices whose every call can fail. 0: nothing failed since this was asked last. 1: `what` says what
  // did; 2: so it does, and the device is lost with all its memory, whatever is asked of it.
  int32_t (*failure)(void *device, ErrorText *what);
  int32_t (*count)();  // optional: of devices that this machine has; 0 where the driver is missing

  // Optional, these three together, for devices with memory of their own. Memory of the host that the device reads
  // while steps run; null when there is none left.
  void *(*pin)(void *device, size_t bytes);
  void (*unpin)(void *device, void *memory);
  // A step for each batch that `next` gives, without waiting in between: the upload of a batch runs beside the step of
  // the one before it. Returns when all taken have ended and there is no other, or at a fault, behind which steps do
  // nothing.
  void (*feed)(void *executable, const FeedPlace *, const Feed *, RunStatus *);

  // Optional: bytes of its memory that are free, and all of them; false when they are not known.
  bool (*room)(void *device, uint64_t *left, uint64_t *total);
};

}  // namespace gradline
