// An executable: ops become launches, those are merged (merge.h), and a step becomes a CUDA graph of what is left or,
// when that is one launch, any number of steps that launch. How many of them a run takes is run.cu; memory and the
// table of the backend are backend.cu.
#include <algorithm>
#include <cstring>

#include "host.h"

namespace gradline::cuda {
namespace {

constexpr size_t kRingBytes = size_t{8} << 20;
constexpr size_t kLibraryAlignment = 256;      // of the workspace of cuBLAS
constexpr size_t kOwnPiece = size_t{1} << 20;  // of workspace, at most, where it is not shared with other ops
// Two launches of the longest graph, or of a whole program: one runs while the other is fetched.
constexpr uint64_t kMostSlots = 64, kMostSlotsOfWhole = 2048;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// "Unary<exp>" of "... [with Kernel = gradline::cuda::{anonymous}::Unary<gradline::OpCode::exp>]".
std::string readable(const char *name) {
  std::string text = name;
  const size_t at = text.find("Kernel = ");
  if (at != std::string::npos) text = text.substr(at + 9, text.rfind(']') - at - 9);
  for (size_t colons; (colons = text.find("::")) != std::string::npos;) {
    size_t begin = colons;
    while (begin > 0 && std::strchr("<, (", text[begin - 1]) == nullptr) begin--;
    text.erase(begin, colons + 2 - begin);
  }
  return text;
}

std::string describe(const Launch &launch) {
  if (launch.work == Work::gemm) return productOf(launch).product->text;
  const std::string text = readable(launch.name());
  const uint64_t blocks = uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
  return text + " " + std::to_string(blocks) + "x" + std::to_string(launch.threads);
}

std::string shapeOf(const Tensor &t) {
  std::string text = "[";
  for (int i = 0; i < t.rank; i++) text += (i ? ", " : "") + std::to_string(t.dims[i]);
  return text + "]";
}

}  // namespace

Executable::Executable(Device &device, Op *ops, uint32_t count, Numerics numerics)
    : device_(device), products_(device), ops_(ops), count_(count) {
  if (numerics == Numerics::fp64) throw std::runtime_error("it computes in float32; float64 programs run on ref");
  size_t sharedBytes = 0, ownBytes = 0;
  size_t end = aligned(sizeof(DeviceStatus));
  for (uint32_t i = 0; i < count; i++) {
    const Op &op = ops[i];
    const auto isKnown = [&](const Table &table) { return table.from == op.segments; };
    if (op.segmentCount > 0 && std::none_of(tables_.begin(), tables_.end(), isKnown)) {
      tables_.push_back({op.segments, op.segmentCount, end});
      end += aligned(static_cast<size_t>(op.segmentCount) * sizeof(SegmentRecord));
    }
    const Launches launches = planOf(op);
    const bool isOwn =
        launches.workspaceBytes <= kOwnPiece && std::all_of(launches.list.begin(), launches.list.end(), isMergeable);
    pieces_.push_back(isOwn ? ownBytes : ~size_t{0});
    size_t &bytes = isOwn ? ownBytes : sharedBytes;
    bytes = isOwn ? bytes + aligned(launches.workspaceBytes) : std::max(bytes, launches.workspaceBytes);
  }
  for (size_t &piece : pieces_) piece = std::min(piece, ownBytes);  // the shared one stands behind the others
  const std::vector<Placed> launches = placed(nullptr);
  const Merged merged = merge(launches, nullptr, device_.multiprocessors);
  isWhole_ = merged.isWhole && device_.graph != GraphMode::unmerged;
  tableAt_ = end;
  scratchAt_ = end + aligned(merged.table.size());
  libraryAt_ = (scratchAt_ + ownBytes + sharedBytes + kLibraryAlignment - 1) / kLibraryAlignment * kLibraryAlignment;
  describeOps(launches, merged);
}

// What becomes of each op, for people: its launches, and the nodes of the graph in which they are.
void Executable::describeOps(const std::vector<Placed> &launches, const Merged &merged) {
  plans_.resize(count_);
  for (uint32_t i = 0; i < count_; i++) {
    size_t first = merged.nodes.size(), last = 0;
    int from = 0, to = 0;
    for (size_t k = 0; k < launches.size(); k++) {
      if (launches[k].op != &ops_[i]) continue;
      plans_[i] += (plans_[i].empty() ? "" : " + ") + cuda::describe(launches[k].launch);
      first = std::min(first, merged.nodeOf[k]);
      last = merged.nodeOf[k];
      to = std::max(to, merged.intervalOf[k]);
      from = from == 0 ? to : std::min(from, merged.intervalOf[k]);
    }
    if (plans_[i].empty()) {
      plans_[i] = "nothing to do";
      continue;
    }
    const auto range = [](const std::string &a, const std::string &b) { return a == b ? a : a + "-" + b; };
    plans_[i] += " (node " + range(std::to_string(first + 1), std::to_string(last + 1)) + "/" +
                 std::to_string(merged.nodes.size());
    if (first == last && to > 0)
      plans_[i] +=
          ", barrier " + range(std::to_string(from), std::to_string(to)) + "/" + std::to_string(merged.barriers[first]);
    plans_[i] += ")";
  }
}

// The launches of a step, in order.
std::vector<Placed> Executable::placed(const void *metrics) {
  std::vector<Placed> all;
  const auto append = [&](const Launches &launches, const Op *op) {
    const size_t at = op ? pieces_[static_cast<size_t>(op - ops_)] : 0;
    for (const Launch &launch : launches.list) all.push_back({launch, op, at, launches.workspaceBytes});
  };
  for (uint32_t i = 0; i < count_; i++) append(planOf(ops_[i]), &ops_[i]);
  Launches end;
  end.status = status_;
  planEndOfStep(end, metrics, ring_.get(), static_cast<int64_t>(slotBytes_ / 4), static_cast<int64_t>(slots_));
  append(end, nullptr);
  return all;
}

Launches Executable::planOf(const Op &op) {
  Launches launches;
  launches.status = status_;
  if (device_.blas) launches.products = &products_;
  for (const Table &table : tables_) {
    if (memory_ && table.from == op.segments && op.segmentCount > 0)
      launches.segments = reinterpret_cast<const SegmentRecord *>(memory_ + table.at);
  }
  const PlanFn plan = plannerOf(op.code);
  if (plan && plan(op, launches)) return launches;
  std::string form;
  for (int i = 0; i < op.inputs; i++) form += (i ? ", " : "") + shapeOf(op.in[i]);
  for (int i = 0; i < op.epilogues; i++) form += std::string(" then ") + nameOf(op.epilogue[i].code);
  throw std::runtime_error("op " + std::to_string(op.index) + ", " + nameOf(op.code) + " of " + form +
                           ", has no CUDA kernel in this form; docs/cuda.md lists what is covered");
}

void Executable::bind(void *workspace, const void *metrics, size_t metricBytes) {
  memory_ = static_cast<char *>(workspace);
  status_ = static_cast<DeviceStatus *>(workspace);
  const cudaStream_t stream = device_.stream.get();
  check(cudaMemsetAsync(status_, 0, sizeof *status_, stream), "clear the state of a program");
  for (const Table &table : tables_) {
    check(cudaMemcpyAsync(memory_ + table.at, table.from, static_cast<size_t>(table.count) * sizeof(SegmentRecord),
                          cudaMemcpyHostToDevice, stream),
          "copy the segments of a program");
  }
  for (uint32_t i = 0; i < count_; i++) ops_[i].workspace = memory_ + scratchAt_ + pieces_[i];
  metricBytes_ = metricBytes;
  slotBytes_ = (metricBytes + 3) / 4 * 4;
  slots_ = std::clamp<uint64_t>(slotBytes_ ? kRingBytes / slotBytes_ : kMostSlotsOfWhole, 2,
                                isWhole_ ? kMostSlotsOfWhole : kMostSlots);
  check(cudaHostAlloc(ring_.out(), std::max<size_t>(slotBytes_ * slots_, 4), cudaHostAllocDefault),
        "allocate pinned memory for metrics");
  check(cudaHostAlloc(statusCopy_.out(), kInFlight * sizeof(DeviceStatus), cudaHostAllocDefault),
        "allocate pinned memory");
  const unsigned flags = cudaEventDisableTiming | (devicesOpen > 1 ? cudaEventBlockingSync : 0);
  for (Event &event : reached_) check(cudaEventCreateWithFlags(event.out(), flags), "create an event");

  const std::vector<Placed> launches = placed(metrics);
  for (const Placed &each : launches) launches_.push_back(each.launch);
  for (uint32_t i = 0; i < count_; i++) {
    const Op &op = ops_[i];
    launchEnds_.push_back(static_cast<size_t>(std::count_if(
        launches.begin(), launches.end(), [&](const Placed &each) { return each.op && each.op <= &op; })));
    for (int k = 0; k < op.outputs; k++) {
      char *begin = op.out[k].as<char>();
      written_.push_back({begin, begin + bytesOf(op.out[k]), lasts(op)});
    }
  }
  const Merged merged = merge(launches, memory_ + tableAt_, device_.multiprocessors);
  nodes_ = device_.graph == GraphMode::unmerged ? launches_ : merged.nodes;
  isNarrow_ = isWhole_ && !nodes_[0].together;
  check(cudaMemcpyAsync(memory_ + tableAt_, merged.table.data(), merged.table.size(), cudaMemcpyHostToDevice, stream),
        "copy the stages of a program");
  for (const std::vector<Launch> *list : {&launches_, &nodes_}) {
    for (const Launch &launch : *list) {
      if (launch.work != Work::kernel) continue;
      // The driver loads a kernel when it is first asked for, which is better done before a capture than in one.
      cudaFuncAttributes attributes;
      check(cudaFuncGetAttributes(&attributes, launch.function), "load a kernel onto the card");
    }
  }

  std::sort(written_.begin(), written_.end(), [](const Range &a, const Range &b) { return a.begin < b.begin; });
  std::vector<Range> joined;
  for (const Range &range : written_) {
    if (!joined.empty() && range.begin <= joined.back().end && range.lasts == joined.back().lasts)
      joined.back().end = std::max(joined.back().end, range.end);
    else
      joined.push_back(range);
  }
  written_ = joined;
}

void launchKernel(const Launch &launch, cudaStream_t stream) {
  void *arguments[] = {const_cast<unsigned char *>(launch.argument)};
  const dim3 grid(launch.grid[0], launch.grid[1], launch.grid[2]), block(launch.threads, 1, 1);
  const cudaError_t error =
      launch.together ? cudaLaunchCooperativeKernel(launch.function, grid, block, arguments, launch.sharedBytes, stream)
                      : cudaLaunchKernel(launch.function, grid, block, arguments, launch.sharedBytes, stream);
  if (error != cudaSuccess) check(error, ("launch " + describe(launch)).c_str());
}

void Executable::launchOne(const Launch &launch) const {
  if (launch.work == Work::kernel) return launchKernel(launch, device_.stream.get());
  const ProductCall call = productOf(launch);
  const int32_t code = device_.blas->run(call.product->plan, &call.operands);
  if (code != 0) throw std::runtime_error(std::string("could not make a product: ") + device_.blas->text(code));
}

// Puts so many steps into the stream, one by one.
void Executable::launchAll(const std::vector<Launch> &launches, uint64_t steps) {
  for (uint64_t i = 0; i < steps; i++) {
    for (const Launch &launch : launches) launchOne(launch);
  }
}

// The same as one launch.
void Executable::launchGraph(uint64_t steps) {
  if (!isWhole_) return launchCaptured(steps);
  Launch whole = nodes_[0];
  setSteps(whole, static_cast<uint32_t>(steps));
  launchOne(whole);
}

// The graph is made when a number of steps is first asked for: many programs run only once.
void Executable::launchCaptured(uint64_t steps) {
  const cudaStream_t stream = device_.stream.get();
  auto known = std::find_if(captured_.begin(), captured_.end(), [&](const Captured &c) { return c.steps == steps; });
  if (known == captured_.end()) {
    Graph graph;
    Captured captured = {steps, {}};
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin a graph");
    try {
      launchAll(nodes_, steps);
    } catch (...) {
      Graph partial;  // the stream must leave the capture whatever happened in it
      (void)cudaStreamEndCapture(stream, partial.out());
      throw;
    }
    check(cudaStreamEndCapture(stream, graph.out()), "end a graph");
    check(cudaGraphInstantiate(captured.executable.out(), graph.get(), 0), "make a graph of the step");
    captured_.push_back(std::move(captured));
    known = captured_.end() - 1;
  }
  check(cudaGraphLaunch(known->executable.get(), stream), "launch a graph");
}

}  // namespace gradline::cuda
