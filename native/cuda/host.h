// What the files of the host code share: a device of the backend table (backend.cu), its executables (graph.cu, run.cu)
// and their products by a library (products.cu), errors and handles of the CUDA runtime. Under g++ the runtime is the
// emulated one. Kernels know nothing of this.
#pragma once
#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "merge.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "emulator/runtime.h"
#endif

namespace gradline::cuda {

constexpr size_t kBlasBytes = size_t{32} << 20;  // most workspace of a product; what its makers advise for Hopper
constexpr double kLongestLaunch = 0.02;          // seconds; a stop waits for what was launched

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Throws when a call of the runtime failed; `what` completes "could not ...".
inline void check(cudaError_t error, const char *what) {
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("could not ") + what + ": " + cudaGetErrorString(error));
}

// A handle that ends with its holder. What ending it returns is left alone: a failure of earlier work shows there, and
// whoever waits for that work reports it.
template <class T, cudaError_t (*end)(T)>
class Owned {
 public:
  Owned() = default;
  Owned(Owned &&other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
  Owned &operator=(Owned &&other) = delete;
  ~Owned() {
    if (handle_ != nullptr) (void)end(handle_);
  }
  T *out() { return &handle_; }  // for the call that makes it, once
  T get() const { return handle_; }

 private:
  T handle_ = nullptr;
};
using Stream = Owned<cudaStream_t, cudaStreamDestroy>;
using Event = Owned<cudaEvent_t, cudaEventDestroy>;
using Graph = Owned<cudaGraph_t, cudaGraphDestroy>;
using GraphExec = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;
using DeviceMemory = Owned<void *, cudaFree>;
using PinnedMemory = Owned<void *, cudaFreeHost>;

// Open in this process. One waits for its card by asking again and again; several of them leave the cores to others.
inline std::atomic<int> devicesOpen{0};

class Lanes;

struct Device {
  Device() { devicesOpen++; }
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  int index = 0;
  GraphMode graph = GraphMode::on;
  std::string description;
  int multiprocessors = 1;
  Stream stream;                 // all work of the device, so that nothing has to wait for anything but on the host
  Stream uploads;                // but batches on their way to it, ordered with it by events; made when first used
  const GlBlas *blas = nullptr;  // null: products are our own kernels
  void *blasHandle = nullptr;
  bool allByLibrary = false;  // small products too
  bool tune = false;          // measure products that the library's file of plans does not know
  std::string productsBy;     // for people
  std::string failure;        // not yet asked for
  bool lost = false;
  std::shared_ptr<Lanes> lanes;  // of the same card, which this one is among
};

// Products of one program by the library of its device.
class PlannedProducts : public Products {
 public:
  explicit PlannedProducts(Device &device) : device_(device) {}
  PlannedProducts(const PlannedProducts &) = delete;
  ~PlannedProducts() override;
  // Throws when the library fails, other than by having no plan.
  const PlannedProduct *plan(const GlGemm &gemm, int32_t epilogue) override;
  bool takesAll() const override { return device_.allByLibrary; }
  bool areMade() const { return !known_.empty(); }
  size_t workspaceBytes() const { return workspaceBytes_; }  // of the product that needs most
  // Before the first product of a run: the stream, and this much memory.
  void use(void *workspace, size_t bytes);

 private:
  bool succeeded(int32_t code, const PlannedProduct &, const char *what) const;
  bool measure(PlannedProduct &, const GlPlanOptions &);

  Device &device_;
  std::vector<std::unique_ptr<PlannedProduct>> known_;  // without a plan: the library has none
  size_t workspaceBytes_ = 0;
};

// Puts a kernel into the stream.
void launchKernel(const Launch &launch, cudaStream_t stream);

// One compiled program: its launches, and graphs of one or several steps of it.
class Executable {
 public:
  // Plans every op without addresses. Throws when an op has no kernel.
  Executable(Device &device, Op *ops, uint32_t count, Numerics numerics);
  size_t workspace() const { return libraryAt_ + products_.workspaceBytes(); }
  const char *plan(uint32_t op) const { return plans_[op].c_str(); }

  void bind(void *workspace, const void *metrics, size_t metricBytes);
  void step(RunStatus *status, double *seconds);
  uint64_t run(uint64_t steps, void *results, StopSign sign, RunStatus *status);
  void feed(const FeedPlace &place, const Feed &feed, RunStatus *status);

 private:
  struct Range {
    char *begin, *end;
    bool lasts;  // beyond the step
    size_t bytes() const { return static_cast<size_t>(end - begin); }
  };
  Launches planOf(const Op &op);
  std::vector<Placed> placed(const void *metrics);
  void describeOps(const std::vector<Placed> &launches, const Merged &merged);
  void launchOne(const Launch &launch) const;
  void launchAll(const std::vector<Launch> &launches, uint64_t steps);
  void launchGraph(uint64_t steps);
  void launchCaptured(uint64_t steps);
  void launchBoth(uint64_t steps);
  std::vector<char> remember();
  void recall(const std::vector<char> &content);
  uint64_t stepsPerLaunch(uint64_t left) const;
  void launch(uint64_t steps);
  void upload(const FeedPlace &place, const void *batch, uint64_t number);
  bool hasReached(uint64_t number);
  uint64_t runAlone(uint64_t steps, void *results, StopSign sign, RunStatus *status);
  uint64_t runBeside(uint64_t steps, void *results, StopSign sign, RunStatus *status);
  void fetch(uint64_t step, void *results) const;
  void begin();
  uint64_t finish(RunStatus *status);
  uint64_t conclude(const DeviceStatus &reached, RunStatus *status);

  Device &device_;
  PlannedProducts products_;
  Op *const ops_;
  const uint32_t count_;
  std::vector<std::string> plans_;  // by op, for people
  // The workspace: DeviceStatus, the segment table of each region, that of sequences (Merged), what ops use, and what
  // the library uses. Ops that may share a sequence, and so an interval of it, have a piece each, all others the same.
  struct Table {
    const SegmentRecord *from;
    int32_t count;
    size_t at;
  };
  std::vector<Table> tables_;
  std::vector<size_t> pieces_;  // by op, from scratchAt_ on
  size_t tableAt_ = 0, scratchAt_ = 0, libraryAt_ = 0;
  char *memory_ = nullptr;
  DeviceStatus *status_ = nullptr;  // on the card

  std::vector<Launch> launches_;    // of a step, its end included
  std::vector<size_t> launchEnds_;  // by op
  std::vector<Launch> nodes_;       // the same, merged
  bool isWhole_ = false;            // into one that makes any number of steps
  bool isNarrow_ = false;           // and has one block, so that it can stand beside those of other lanes
  std::vector<Range> written_;      // what a step may change, sorted and merged
  size_t metricBytes_ = 0, slotBytes_ = 0;
  uint64_t slots_ = 0;
  PinnedMemory ring_, statusCopy_;     // a copy of DeviceStatus for each launch in flight
  static constexpr int kInFlight = 4;  // launches
  Event reached_[kInFlight];
  Event uploaded_[kStagings], taken_[kStagings];  // a batch has arrived in its staging; it has left it
  std::vector<Event> marks_;                      // between ops, once somebody asked for their times
  struct Captured {
    uint64_t steps;
    GraphExec executable;
  };
  std::vector<Captured> captured_;
  uint64_t stepsBefore_ = 0;   // what DeviceStatus counted when the last run ended
  bool unsure_ = false;        // a run failed midway: what the card has counted is not known
  double secondsPerStep_ = 0;  // of the last launches; 0: none was timed
};

}  // namespace gradline::cuda
